// Package attack has the real adapter attacked from below: as a tenant of one namespace, as a reader, as anybody with the reach of its
// port. Each attack has its bound, and the reads of a good HPA keep answering.
package attack

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

const (
	containerLimit = 512 << 20 // of the shipped manifest
	goMemoryLimit  = "460MiB"
	// maxResident is half the container's limit.
	maxResident = 256 << 20

	hpaController = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"
	evilReader    = "system:serviceaccount:evil:reader"
)

var (
	adapterProgram string
	cgroupFolder   = flag.String("attack.cgroup", "", "cgroup folder with the memory controller, in which the tests may make folders")
)

// pause waits for a time of a real process, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func TestMain(m *testing.M) {
	os.Exit(runAttacks(m)) //nolint:forbidigo // TestMain has no other way to return the code
}

func runAttacks(m *testing.M) int {
	dir, err := os.MkdirTemp("", "attack-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	root, err := stack.Root(context.Background())
	if err == nil {
		adapterProgram = filepath.Join(dir, "adapter")
		build := exec.Command("go", "build", "-o", adapterProgram, "./cmd/tachometer-adapter")
		build.Dir, build.Stderr = root, os.Stderr
		err = build.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "build the adapter:", err)
		return 1
	}
	return m.Run()
}

// attackedAdapter is an adapter as a process, in a memory cgroup of the shipped limit where cgroups can be written.
type attackedAdapter struct {
	*testing.T
	cluster *fakeCluster
	process *exec.Cmd
	ended   chan struct{}
	base    string
	client  *http.Client
	goods   atomic.Int64 // good reads that were answered
	fault   atomic.Value // the first good read that was not: its error's text
}

// startAdapter runs an adapter until the test ends, and reads the good HPA's metric four times a second from its first answer on.
func startAdapter(t *testing.T, c *fakeCluster) *attackedAdapter {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	_, port, _ := net.SplitHostPort(address)
	dir := t.TempDir()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	a := &attackedAdapter{T: t, cluster: c, ended: make(chan struct{}), base: "https://" + address}
	a.client = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConnsPerHost: 64, //nolint:gosec // a certificate of the adapter's own
	}}
	a.process = exec.Command(adapterProgram, "--allow-host-network", "--kubeconfig", c.startCluster(t), "--bind-address", "127.0.0.1", "--secure-port", port,
		"--cert-dir", filepath.Join(dir, "certificates"), "--shutdown-delay-duration", "0s")
	a.process.Stdout, a.process.Stderr = log, log
	a.process.Env = append(os.Environ(), "GOMEMLIMIT="+goMemoryLimit, "GOMAXPROCS=2")
	a.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := a.process.Start(); err != nil {
		t.Fatal(err)
	}
	limitMemory(t, a.process.Process.Pid) // before the cleanup that ends the process: the last cleanup runs first
	go func() { defer close(a.ended); _ = a.process.Wait() }()
	t.Cleanup(func() {
		_ = a.process.Process.Kill()
		<-a.ended
		log.Close()
		if t.Failed() {
			a.showLog(filepath.Join(dir, "log"))
		}
	})
	a.awaitGoodReads()
	return a
}

// showLog shows the end of the adapter's log.
func (a *attackedAdapter) showLog(path string) {
	text, err := os.ReadFile(path)
	if err != nil {
		a.Log(err)
		return
	}
	a.Logf("the adapter's log ends:\n%s", text[max(0, len(text)-4000):])
}

// limitMemory moves a process into a memory cgroup of the container's limit, below the folder that the flag names.
func limitMemory(t *testing.T, pid int) {
	t.Helper()
	if *cgroupFolder == "" {
		t.Logf("NO MEMORY CGROUP of %d MiB: -attack.cgroup names none. The resident memory alone is judged, by half of it", containerLimit>>20)
		return
	}
	dir := filepath.Join(*cgroupFolder, "tachometer-attack-"+strconv.Itoa(pid))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatalf("make a cgroup: %v", err)
	}
	t.Cleanup(func() { _ = os.Remove(dir) }) // after the process has ended: cleanups run last first
	limitFile := filepath.Join(dir, "memory.max")
	if _, err := os.Stat(limitFile); err != nil {
		limitFile = filepath.Join(dir, "memory.limit_in_bytes") // version 1
	}
	for file, text := range map[string]int{limitFile: containerLimit, filepath.Join(dir, "cgroup.procs"): pid} {
		if err := os.WriteFile(file, []byte(strconv.Itoa(text)), 0o644); err != nil {
			t.Fatalf("limit the adapter's memory: %v", err)
		}
	}
}

// get reads a path as a user and returns the status; 0 if there is no answer.
func (a *attackedAdapter) get(ctx context.Context, user, path string) (int, string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, a.base+path, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("Authorization", "Bearer "+user)
	response, err := a.client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}

// podsPath is the path of a metric of the pods of a namespace that a selector matches.
func podsPath(namespace, metric, selector string) string {
	return "/apis/custom.metrics.k8s.io/v1beta2/namespaces/" + namespace + "/pods/*/" + url.PathEscape(metric) + "?labelSelector=" + url.QueryEscape(selector)
}

// awaitGoodReads waits for the first answer to the good HPA, and then goes on reading.
func (a *attackedAdapter) awaitGoodReads() {
	a.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	read := func() error {
		code, body, err := a.get(ctx, hpaController, podsPath("shop", goodMetric, "app=web"))
		if err == nil && code != http.StatusOK {
			err = fmt.Errorf("%d: %s", code, body)
		}
		return err
	}
	for end := time.Now().Add(time.Minute); ; pause(ctx, 200*time.Millisecond) {
		err := read()
		if err == nil {
			break
		}
		ended := false
		select {
		case <-a.ended:
			ended, err = true, fmt.Errorf("the adapter ended: %s", a.process.ProcessState)
		default:
		}
		if ended || time.Now().After(end) {
			cancel()
			a.Fatalf("no answer to the good HPA: %v", err)
		}
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for ctx.Err() == nil {
			err := read()
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				a.fault.CompareAndSwap(nil, err.Error())
			} else {
				a.goods.Add(1)
			}
			pause(ctx, 250*time.Millisecond)
		}
	}()
	a.Cleanup(func() { cancel(); <-stopped })
}

// peakResident returns the largest resident memory of the adapter so far.
func (a *attackedAdapter) peakResident() int64 {
	a.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.process.Process.Pid))
	if err != nil {
		a.Fatalf("the adapter ended: %v", err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err != nil {
				a.Fatal(err)
			}
			return kib << 10
		}
	}
	a.Fatal("/proc has no VmHWM: this test needs Linux")
	return 0
}

// judge holds the adapter to its bounds after an attack: memory, and the good HPA's reads.
func (a *attackedAdapter) judge() {
	a.Helper()
	select {
	case <-a.ended:
		a.Fatalf("the adapter ended: %s", a.process.ProcessState)
	default:
	}
	peak, goods := a.peakResident(), a.goods.Load()
	if peak > maxResident {
		a.Errorf("resident memory rose to %d MiB, want at most %d MiB", peak>>20, maxResident>>20)
	}
	if fault := a.fault.Load(); fault != nil || goods == 0 {
		a.Errorf("a read of the good HPA failed: %v (%d were answered)", fault, goods)
	}
	a.Logf("resident memory at most %d MiB; %d reads of the good HPA answered", peak>>20, goods)
}
