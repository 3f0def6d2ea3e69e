package attack

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/retry"
)

const (
	// doorSlowest is the bound of the 99th percentile of the HPA's reads: half of --request-timeout. It is generous, because
	// attackers, readers and the adapter share a machine that may be busy; the ratio to quiet reads is the figure to look at.
	doorSlowest = 5 * time.Second
	doorTime    = 4 * time.Second
	doorRate    = 50 // reads of the HPA a second: as of 750 HPAs with a metric each
)

// doorAttacks are what callers without the HPA's rights do, by the number of their requests a second (0: as many as there are answers).
var doorAttacks = []struct {
	name    string
	callers map[string]int
}{
	{"names and selectors that are too long", map[string]int{"long": 0}},
	{"frames of HTTP/2", map[string]int{"frames": 0}},
	{"anonymous requests", map[string]int{"anonymous": 10_000}},
	{"unknown tokens", map[string]int{"tokens": 10_000}},
	{"long tokens and headers", map[string]int{"headers": 0}},
	{"streams opened and reset", map[string]int{"resets": 0}},
	{"idle connections", map[string]int{"connections": 0}},
	{"hellos whose clients leave", map[string]int{"hellos": 0}},
	{"connections that dribble", map[string]int{"dribbles": 0}},
	{"headers of thousands of fields that dribble", map[string]int{"fields": 0}},
	{"callers without a right", map[string]int{"known": 10_000}},
	{"probes of strangers", map[string]int{"probes": 0}},
	{"probes of the node's neighbours", map[string]int{"neighbours": 0}},
	{"connections of the node's neighbours that say nothing", map[string]int{"node connections": 0}},
	{"hellos of the node's neighbours", map[string]int{"node hellos": 0}},
	{"dribbles of the node's neighbours", map[string]int{"node dribbles": 0}},
	{"complete handshakes", map[string]int{"handshakes": 0}},
	{"probes that impersonate", map[string]int{"impersonations": 0}},
	{"bodies that do not come", map[string]int{"bodies": 0}},
	{"strangers and readers", map[string]int{"anonymous": 10_000, "readers": 1_000}},
}

// TestDoors: whatever comes through the port, the HPA's reads are answered and the memory holds. Each attack stands beside quiet reads of
// the same length just before.
func TestDoors(t *testing.T) {
	joinShare(t)
	w := startDoorWorld(t)
	attacks := doorAttacks
	if testing.Short() {
		attacks = attacks[:2] // the share judges memory and rejections
	}
	for _, attack := range attacks {
		t.Run(attack.name, func(t *testing.T) {
			quiet := w.readDoors(t, attackTime(doorTime))
			if _, err := w.ReadPeakMemory(); err != nil { // begins anew
				t.Fatal(err)
			}
			var floods []*doorFlood
			for kind, rate := range attack.callers {
				floods = append(floods, w.startDoorFlood(t, kind, rate))
			}
			retry.Sleep(t.Context(), 500*time.Millisecond)
			before, _ := w.kube.CountRequests()
			probes := make(chan doorReads, 1)
			go func() { probes <- w.probeDoors(t.Context(), t, attackTime(doorTime)) }()
			got, probed := w.readDoors(t, attackTime(doorTime)), <-probes
			after, _ := w.kube.CountRequests()
			var answers []string
			for _, f := range floods {
				answers = append(answers, f.end(t))
			}
			t.Logf("HPA: %s\nquiet: %s\nprobes: %s\np99 %.1f times the quiet one, %.0f reviews a second at kube-apiserver; %s", got, quiet, probed,
				got.p99.Seconds()/quiet.p99.Seconds(), float64(after-before)/attackTime(doorTime).Seconds(), strings.Join(answers, "; "))
			w.judgeDoors(t, got)
			judgeProbes(t, probed)
		})
	}
}

// judgeDoors holds the adapter to its bounds after an attack.
func (w *doorWorld) judgeDoors(t *testing.T, got doorReads) {
	t.Helper()
	if got.failed > 0 {
		t.Errorf("%d of %d reads of the HPA failed, such as: %v", got.failed, got.all, got.failure)
	}
	if got.p99 > doorSlowest && !testing.Short() {
		t.Errorf("p99 of the HPA's reads is %v, bound %v", got.p99, doorSlowest)
	}
	peak, err := w.ReadPeakMemory()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("resident memory at most %d MiB; in a cgroup: %t", peak>>20, w.Limited)
	if peak > maxResident {
		t.Errorf("resident memory rose to %d MiB, want at most %d MiB", peak>>20, maxResident>>20)
	}
}

// doorReads are the results of the HPA's reads.
type doorReads struct {
	all, failed   int
	failure       error
	p50, p99, max time.Duration
}

func (r doorReads) String() string {
	return fmt.Sprintf("%d of %d answered, p50 %.1f ms, p99 %.1f ms, slowest %.1f ms",
		r.all-r.failed, r.all, 1e3*r.p50.Seconds(), 1e3*r.p99.Seconds(), 1e3*r.max.Seconds())
}

// doorHPAWorkers is the number of reads in flight of a kube-controller-manager, by its default.
const doorHPAWorkers = 5

// readDoors reads as the HPA controller does, at a steady rate as long as its workers are free.
func (w *doorWorld) readDoors(t *testing.T, d time.Duration) doorReads {
	t.Helper()
	return measureRequests(doorHPAWorkers, doorRate, d, func() error {
		code, err := askDoor(t.Context(), w.hpa, w.URL+doorReadPath, doorHPAHeader())
		if isBusyMachine(code, err) {
			return nil
		}
		return err
	})
}

// measureRequests sends requests by so many workers, together so many a second as long as workers are free. A latency counts from the time at which
// a worker began.
func measureRequests(count, perSecond int, d time.Duration, send func() error) (r doorReads) {
	var workers sync.WaitGroup
	var mu sync.Mutex // guards r and latencies
	var latencies []time.Duration
	for range count {
		workers.Go(func() {
			tick := time.NewTicker(time.Second * time.Duration(count) / time.Duration(perSecond))
			defer tick.Stop()
			for end := time.Now().Add(d); time.Now().Before(end); <-tick.C {
				began := time.Now()
				err := send()
				mu.Lock()
				latencies = append(latencies, time.Since(began))
				if err != nil {
					r.failed, r.failure = r.failed+1, err
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	slices.Sort(latencies)
	n := len(latencies)
	r.all = n
	r.p50, r.p99, r.max = latencies[n/2], latencies[n*99/100], latencies[n-1]
	return r
}

// doorFlood is a process that attacks, so that its own load is not in the latencies. Attackers have machines of their own: here they get
// what the adapter leaves of one processor.
type doorFlood struct {
	kind    string
	command *exec.Cmd
	out     *bufio.Scanner
}

const doorFlooderVariable = "TACHOMETER_DOOR_FLOOD"

// doorOrder tells the process what to do.
type doorOrder struct {
	Kind, Base, Certificate string
	Rate                    int
}

func (w *doorWorld) startDoorFlood(t *testing.T, kind string, rate int) *doorFlood {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	order, err := json.Marshal(doorOrder{kind, w.URL, w.Certificate(), rate})
	if err != nil {
		t.Fatal(err)
	}
	command := []string{"nice", "-n", "10", self, "-test.run=^TestDoorFlooder$", "-test.v"}
	if pin, err := exec.LookPath("taskset"); err == nil && runtime.NumCPU() > 1 {
		command = append([]string{pin, "-c", "0"}, command...)
	}
	f := &doorFlood{kind: kind, command: exec.Command(command[0], command[1:]...)}
	f.command.Env = append(os.Environ(), doorFlooderVariable+"="+string(order), "GOMAXPROCS=1")
	out, err := f.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	f.out, f.command.Stderr = bufio.NewScanner(out), os.Stderr
	if err := f.command.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(3*time.Minute, func() { _ = f.command.Process.Kill() })
	defer kill.Stop()
	if _, found := f.awaitDoorFloodLine(doorFloodBegins); !found {
		t.Fatalf("the flood of %s did not begin: %v", kind, f.command.Wait())
	}
	return f
}

// doorFloodStart is the number of answers after which a flood counts as begun.
const doorFloodStart = 20

// The lines of a flood's process: it is under way, and what it was answered.
const (
	doorFloodBegins  = "BEGINS"
	doorFloodAnswers = "ANSWERS "
)

// awaitDoorFloodLine returns the rest of the next line that begins with a prefix, and whether there is one.
func (f *doorFlood) awaitDoorFloodLine(prefix string) (rest string, found bool) {
	for f.out.Scan() {
		if rest, found = strings.CutPrefix(f.out.Text(), prefix); found {
			return rest, true
		}
	}
	return "", false
}

// end stops the flood and returns what it was answered.
func (f *doorFlood) end(t *testing.T) string {
	t.Helper()
	_ = f.command.Process.Signal(syscall.SIGINT)
	kill := time.AfterFunc(time.Minute, func() { _ = f.command.Process.Kill() })
	defer kill.Stop()
	answers, found := f.awaitDoorFloodLine(doorFloodAnswers)
	if err := f.command.Wait(); !found {
		t.Errorf("the flood of %s told nothing: %v", f.kind, err)
	}
	return f.kind + " " + answers
}

// TestDoorFlooder is the process of a flood, and no test.
func TestDoorFlooder(t *testing.T) {
	text := os.Getenv(doorFlooderVariable)
	if text == "" {
		t.Skip("SKIPPED: only TestDoors runs this, in a process of its own")
	}
	var order doorOrder
	if err := json.Unmarshal([]byte(text), &order); err != nil {
		t.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	f := doorFlooder{order: order, begin: time.Now()}
	f.run(ctx, t)
	fmt.Printf("\n%s%s\n", doorFloodAnswers, f.describe())
}

// doorFlooder counts its requests by status; 0: no answer.
type doorFlooder struct {
	order doorOrder
	begin time.Time
	sent  atomic.Int64
	codes [600]atomic.Int64
	fault atomic.Pointer[string] // the text of a 5xx

	answered atomic.Int64
}

func (f *doorFlooder) countDoorAnswer(code int, err error) {
	f.codes[code].Add(1)
	// Streams that are reset have no answers, and frames and bytes never.
	if (code > 0 || slices.Contains([]string{"resets", "frames", "dribbles", "fields", "bodies", "hellos", "node connections", "node hellos", "node dribbles"}, f.order.Kind)) && f.answered.Add(1) == doorFloodStart {
		fmt.Printf("\n%s\n", doorFloodBegins)
	}
	if code >= http.StatusInternalServerError {
		text := strings.Join(strings.Fields(err.Error()), " ")
		f.fault.CompareAndSwap(nil, &text)
	}
}

func (f *doorFlooder) describe() string {
	seconds := time.Since(f.begin).Seconds()
	var codes []string
	for code := range f.codes {
		if n := f.codes[code].Load(); n > 0 {
			codes = append(codes, fmt.Sprintf("%d: %d", code, n))
		}
	}
	text := fmt.Sprintf("%.0f/s (%s)", float64(f.sent.Load())/seconds, strings.Join(codes, ", "))
	if fault := f.fault.Load(); fault != nil {
		text += ", such as " + *fault
	}
	return text
}

const (
	doorAddresses = 20 // 127.0.0.2 to 127.0.0.21
	doorWorkers   = 10 // of each address
)

func (f *doorFlooder) run(ctx context.Context, t *testing.T) {
	t.Helper()
	var workers sync.WaitGroup
	for host := range doorAddresses {
		address := 2 + host
		if f.order.Kind == "neighbours" || strings.HasPrefix(f.order.Kind, "node ") {
			address = probeHost
		}
		client, err := newDoorClient(f.order.Certificate, byte(address))
		if err != nil {
			t.Fatal(err)
		}
		for range doorWorkers {
			workers.Go(func() { f.work(ctx, client, address) })
		}
	}
	workers.Wait()
}

// work sends requests until ctx ends, at its share of the rate.
func (f *doorFlooder) work(ctx context.Context, client *http.Client, host int) {
	gap := time.Duration(0)
	if f.order.Rate > 0 {
		gap = time.Second * doorAddresses * doorWorkers / time.Duration(f.order.Rate)
	}
	for due := time.Now(); ctx.Err() == nil; due = due.Add(gap) {
		if wait := time.Until(due); wait > 0 {
			retry.Sleep(ctx, wait)
		}
		f.send(ctx, client, host, f.sent.Add(1))
	}
}

func (f *doorFlooder) send(ctx context.Context, client *http.Client, host int, n int64) {
	bearer := func(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }
	url, header := f.order.Base+doorReadPath, http.Header{}
	switch f.order.Kind {
	case "anonymous":
		url = fmt.Sprintf("%s/apis/x%d", f.order.Base, n)
	case "tokens":
		header = bearer(fmt.Sprintf("unknown-%d", n))
	case "probes", "impersonations":
		url = f.order.Base + probePaths[n%3]
		if f.order.Kind == "impersonations" {
			header = http.Header{"Impersonate-User": {fmt.Sprintf("somebody-%d", n)}}
		}
	case "neighbours", "handshakes":
		defer client.CloseIdleConnections()
		url = f.order.Base + []string{"/readyz", "/apis/x"}[n%2]
	case "headers":
		header = bearer(fmt.Sprintf("unknown-%d-%s", n, strings.Repeat("x", []int{8_000, 15_000, 60_000, 900_000}[n%4])))
	case "resets":
		short, cancel := context.WithTimeout(ctx, time.Duration(n%3)*300*time.Microsecond)
		defer cancel()
		ctx = short
	case "connections":
		f.holdConnections(ctx, host)
		return
	case "frames":
		f.holdFrames(ctx, host)
		return
	case "node connections":
		f.holdSilentConnections(ctx, host)
		return
	case "hellos", "node hellos":
		f.countDoorAnswer(0, f.sendHello(ctx, host))
		return
	case "bodies":
		f.holdDribbles(ctx, host, bodyDribbles)
		return
	case "dribbles", "node dribbles":
		f.holdDribbles(ctx, host, dribbles)
		return
	case "fields":
		f.holdDribbles(ctx, host, fieldDribbles)
		return
	case "known": // each request of another caller, for another path
		url, header = fmt.Sprintf("%s/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/*/m%d", f.order.Base, n), bearer(fmt.Sprintf("known-%d", n))
	case "long":
		url, header = f.order.Base+newDoorLongPath(n), bearer(fmt.Sprintf("reader-%d", host))
	case "readers":
		header = bearer(fmt.Sprintf("reader-%d", host))
	}
	code, err := askDoor(ctx, client, url, header)
	f.countDoorAnswer(code, err)
}

// newDoorLongPath returns a path with a name or a selector that is too long.
func newDoorLongPath(n int64) string {
	const pods = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/*/"
	switch n % 4 {
	case 0:
		return pods + fmt.Sprintf("m%d_%s", n, strings.Repeat("x", 20_000))
	case 1:
		return pods + goodMetric + "?metricLabelSelector=" + strings.Repeat("c%21%3Dv%2C", 2_000) + fmt.Sprintf("d%d", n)
	case 2:
		var values strings.Builder
		for i := range 2_000 {
			fmt.Fprintf(&values, "v%d-%d,", n, i)
		}
		return pods + goodMetric + "?labelSelector=app+notin+%28" + values.String() + "x%29"
	}
	return pods + goodMetric + "?labelSelector=" + strings.Repeat("x", 900_000)
}

// holdConnections opens connections and leaves them idle for a while.
func (f *doorFlooder) holdConnections(ctx context.Context, host int) {
	var held sync.WaitGroup
	defer held.Wait()
	for range 15 { // 20 addresses, 10 workers: 3,000
		held.Go(func() {
			client, err := newDoorClient(f.order.Certificate, byte(host))
			if err != nil {
				return
			}
			defer client.CloseIdleConnections()
			f.countDoorAnswer(askDoor(ctx, client, f.order.Base+"/readyz", http.Header{}))
			retry.Sleep(ctx, 2*time.Second) // 1,500 new ones a second
		})
	}
}
