// Package attack has attacks on the real programs, each with the bound that holds against it.
package attack

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const (
	doorPeakMiB = 256 // half of the container's limit
	// doorSlowest is the bound of the 99th percentile of the HPA's reads: half of --request-timeout. It is generous, because
	// attackers, readers and the adapter share a machine that may be busy; the ratio to quiet reads is the figure to look at.
	doorSlowest = 5 * time.Second
	doorTime    = 4 * time.Second
	doorRate    = 50 // reads of the HPA a second: as of 750 HPAs with a metric each
)

var attackTime = flag.Duration("doors.time", doorTime, "time of each attack")

// doorAttacks are what callers without the HPA's rights do, by the number of their requests a second (0: as many as there are answers).
var doorAttacks = []struct {
	name    string
	callers map[string]int
}{
	{"anonymous requests", map[string]int{"anonymous": 10_000}},
	{"unknown tokens", map[string]int{"tokens": 10_000}},
	{"long tokens and headers", map[string]int{"headers": 0}},
	{"streams opened and reset", map[string]int{"resets": 0}},
	{"idle connections", map[string]int{"connections": 0}},
	{"names and selectors that are too long", map[string]int{"long": 0}},
	{"strangers and readers", map[string]int{"anonymous": 10_000, "readers": 1_000}},
}

// TestDoors: whatever comes through the port, the HPA's reads are answered and the memory holds.
func TestDoors(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: attacks take a minute; run without -short")
	}
	w := startDoorWorld(t)
	hpa := w.awaitDoorValues(t)
	quiet := w.readDoors(t, hpa, *attackTime)
	t.Logf("quiet: %s, %d MiB, in a cgroup of %d MiB: %t", quiet, w.readDoorPeak(t), doorMemoryLimit>>20, w.limited)
	for _, attack := range doorAttacks {
		var floods []*doorFlood
		for kind, rate := range attack.callers {
			floods = append(floods, w.startDoorFlood(t, kind, rate))
		}
		pause(t.Context(), 500*time.Millisecond)
		before := w.reviews.Load()
		got := w.readDoors(t, hpa, *attackTime)
		reviews := float64(w.reviews.Load()-before) / attackTime.Seconds()
		var answers []string
		for _, f := range floods {
			answers = append(answers, f.end(t))
		}
		peak := w.readDoorPeak(t)
		t.Logf("%s: %s, p99 %.1f times the quiet one, %d MiB, %.0f reviews a second at kube-apiserver; %s",
			attack.name, got, got.p99.Seconds()/quiet.p99.Seconds(), peak, reviews, strings.Join(answers, "; "))
		if got.failed > 0 {
			t.Errorf("%s: %d of %d reads of the HPA failed, such as: %v", attack.name, got.failed, got.all, got.failure)
		}
		if got.p99 > doorSlowest {
			t.Errorf("%s: p99 of the HPA's reads is %v, bound %v", attack.name, got.p99, doorSlowest)
		}
		if peak > doorPeakMiB {
			t.Errorf("%s: %d MiB, bound %d", attack.name, peak, doorPeakMiB)
		}
	}
}

// awaitDoorValues waits for the value of every pod, and returns the HPA's client.
func (w *doorWorld) awaitDoorValues(t *testing.T) *http.Client {
	t.Helper()
	var hpa *http.Client
	var err error
	for range 300 {
		if hpa, err = newDoorClient(w.authority, 1, w.proxy); err == nil {
			if _, err = askDoor(t.Context(), hpa, w.base+"/readyz", doorHPAHeader()); err == nil {
				_, err = askDoor(t.Context(), hpa, w.base+doorReadPath, doorHPAHeader())
			}
			if err == nil {
				return hpa
			}
		}
		select {
		case <-w.ended:
			t.Fatalf("the adapter ended: %s", w.readDoorLog())
		case <-time.After(200 * time.Millisecond):
		}
	}
	t.Fatalf("no values: %v\n%s", err, w.readDoorLog())
	return nil
}

func doorHPAHeader() http.Header {
	return http.Header{
		"X-Remote-User":  {doorHPAUser},
		"X-Remote-Group": {"system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"},
	}
}

// doorReads are the results of the HPA's reads.
type doorReads struct {
	all, failed   int
	failure       error
	p50, p99, max time.Duration
}

func (r doorReads) String() string {
	return fmt.Sprintf("%d of %d reads of the HPA answered, p50 %.1f ms, p99 %.1f ms, slowest %.1f ms",
		r.all-r.failed, r.all, 1e3*r.p50.Seconds(), 1e3*r.p99.Seconds(), 1e3*r.max.Seconds())
}

// doorHPAWorkers is the number of reads in flight of a kube-controller-manager, by its default.
const doorHPAWorkers = 5

// readDoors reads as the HPA controller does, at a steady rate as long as its workers are free. A latency counts from the time at
// which a worker began.
func (w *doorWorld) readDoors(t *testing.T, hpa *http.Client, d time.Duration) doorReads {
	t.Helper()
	var workers sync.WaitGroup
	var mu sync.Mutex // guards r and latencies
	var r doorReads
	var latencies []time.Duration
	for range doorHPAWorkers {
		workers.Go(func() {
			tick := time.NewTicker(time.Second * doorHPAWorkers / doorRate)
			defer tick.Stop()
			for end := time.Now().Add(d); time.Now().Before(end); <-tick.C {
				began := time.Now()
				_, err := askDoor(t.Context(), hpa, w.base+doorReadPath, doorHPAHeader())
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

// doorFlood is a process that attacks, so that its own load is not in the latencies.
type doorFlood struct {
	kind    string
	command *exec.Cmd
	out     *strings.Builder
	began   time.Time
}

const doorFlooderVariable = "TACHOMETER_DOOR_FLOOD"

// doorOrder tells the process what to do.
type doorOrder struct {
	Kind, Base, Authority string
	Rate                  int
}

func (w *doorWorld) startDoorFlood(t *testing.T, kind string, rate int) *doorFlood {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	order, err := json.Marshal(doorOrder{kind, w.base, w.authority, rate})
	if err != nil {
		t.Fatal(err)
	}
	f := &doorFlood{kind: kind, command: exec.Command(self, "-test.run=^TestDoorFlooder$", "-test.v"), out: &strings.Builder{}, began: time.Now()}
	f.command.Env = append(os.Environ(), doorFlooderVariable+"="+string(order), "GOMAXPROCS=1")
	f.command.Stdout, f.command.Stderr = f.out, f.out
	if err := f.command.Start(); err != nil {
		t.Fatal(err)
	}
	return f
}

// end stops the flood and returns what it was answered.
func (f *doorFlood) end(t *testing.T) string {
	t.Helper()
	_ = f.command.Process.Signal(syscall.SIGINT)
	kill := time.AfterFunc(30*time.Second, func() { _ = f.command.Process.Kill() })
	defer kill.Stop()
	_ = f.command.Wait()
	for line := range strings.Lines(f.out.String()) {
		if _, answers, found := strings.Cut(line, "ANSWERS "); found {
			return f.kind + " " + strings.TrimSpace(answers)
		}
	}
	t.Errorf("the flood of %s told nothing: %.2000s", f.kind, f.out)
	return ""
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
	// Attackers have machines of their own: here they get what the adapter leaves.
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, 10)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	f := doorFlooder{order: order, begin: time.Now()}
	f.run(ctx, t)
	fmt.Printf("ANSWERS %s\n", f.describe())
}

// doorFlooder counts its requests by status; 0: no answer.
type doorFlooder struct {
	order doorOrder
	begin time.Time
	sent  atomic.Int64
	codes [600]atomic.Int64
	fault atomic.Pointer[string] // the text of a 5xx
}

func (f *doorFlooder) countDoorAnswer(code int, err error) {
	f.codes[code].Add(1)
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
		client, err := newDoorClient(f.order.Authority, 2+host)
		if err != nil {
			t.Fatal(err)
		}
		for range doorWorkers {
			workers.Go(func() { f.work(ctx, client, 2+host) })
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
			pause(ctx, wait)
		}
		n := f.sent.Add(1)
		f.send(ctx, client, host, n)
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
	case "headers":
		header = bearer(fmt.Sprintf("unknown-%d-%s", n, strings.Repeat("x", []int{8_000, 15_000, 60_000, 900_000}[n%4])))
	case "resets":
		short, cancel := context.WithTimeout(ctx, time.Duration(n%3)*300*time.Microsecond)
		defer cancel()
		ctx = short
	case "connections":
		f.holdConnections(ctx, host)
		return
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
	const pods = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/" + doorNamespace + "/pods/*/"
	switch n % 4 {
	case 0:
		return pods + fmt.Sprintf("m%d_%s", n, strings.Repeat("x", 20_000))
	case 1:
		return pods + "request_per_second?metricLabelSelector=" + strings.Repeat("c%21%3Dv%2C", 2_000) + fmt.Sprintf("d%d", n)
	case 2:
		var values strings.Builder
		for i := range 2_000 {
			fmt.Fprintf(&values, "v%d-%d,", n, i)
		}
		return pods + "request_per_second?labelSelector=app+notin+%28" + values.String() + "x%29"
	}
	return pods + "request_per_second?labelSelector=" + strings.Repeat("x", 900_000)
}

// holdConnections opens connections and leaves them idle for a while.
func (f *doorFlooder) holdConnections(ctx context.Context, host int) {
	var held sync.WaitGroup
	defer held.Wait()
	for range 15 { // 20 addresses, 10 workers: 3,000
		held.Go(func() {
			client, err := newDoorClient(f.order.Authority, host)
			if err != nil {
				return
			}
			defer client.CloseIdleConnections()
			f.countDoorAnswer(askDoor(ctx, client, f.order.Base+"/readyz", http.Header{}))
			select {
			case <-ctx.Done():
			case <-time.After(2 * time.Second): // 1,500 new ones a second
			}
		})
	}
}
