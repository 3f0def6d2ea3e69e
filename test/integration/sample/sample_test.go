// Package sample_test runs the sample service as a process, as in its image.
package sample_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tachometer-metrics/tachometer/test/harness/load"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// propagation is the time for which the balancer of these tests still sends to an instance that is not ready. Endpoints take less to
// reach every node.
const propagation = 500 * time.Millisecond

// TestProgram builds the program once, as for an image, and runs it.
func TestProgram(t *testing.T) {
	t.Parallel()
	binary := build(t)
	t.Run("SIGTERM under load", func(t *testing.T) { testSIGTERMUnderLoad(t, binary) })
	t.Run("bad environment", func(t *testing.T) {
		t.Parallel()
		cmd := exec.CommandContext(t.Context(), binary)
		cmd.Env = []string{"LISTEN_ADDR=8080", "WORK_MAX_MS=many"}
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "LISTEN_ADDR: ") || !strings.Contains(string(out), "WORK_MAX_MS: ") {
			t.Errorf("%v, output %q, want both faults", err, out)
		}
	})
	t.Run("version is stamped", func(t *testing.T) {
		t.Parallel()
		out, err := exec.CommandContext(t.Context(), binary, "--version").Output()
		if err != nil || string(out) != "v0.0.0-test\n" {
			t.Errorf("--version prints %q, %v", out, err)
		}
	})
}

// testSIGTERMUnderLoad ends one of two instances under a constant load. A balancer spreads the load; it learns of the end only
// through /readyz, and late. Every request must get a 2xx response without a retry.
func testSIGTERMUnderLoad(t *testing.T, binary string) {
	t.Parallel()
	for _, tc := range []struct {
		name           string
		drain          string
		newConnections bool
		lossless       bool
	}{
		{"kept-alive connections", "1500ms", false, true},
		{"new connections", "1500ms", true, true},
		// The control without the drain must fail, or the other cases would prove nothing.
		{"no drain delay", "0s", true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			first, second := launch(t, binary, "DRAIN_DELAY="+tc.drain), launch(t, binary, "DRAIN_DELAY="+tc.drain)
			b := newBalancer(t, first.url, second.url)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			generator := load.New(load.Options{
				Targets: b.targets, Rate: func(time.Time) float64 { return 200 }, NewConnections: tc.newConnections,
			})
			var running sync.WaitGroup
			running.Go(func() { generator.Run(ctx) })

			waitFor(t, "requests to both", func() bool { return sentTo(generator, first) > 50 && sentTo(generator, second) > 50 })
			first.signal(syscall.SIGTERM)
			told, before := time.Now(), sentTo(generator, first)
			exit := first.wait()
			took := time.Since(told)
			waitFor(t, "the balancer learns", func() bool { return len(b.targets()) == 2 })
			cancel()
			running.Wait()

			total := generator.Result().Total()
			t.Logf("%d requests, %d of them to the ended instance after SIGTERM; %d failed %v, %d sent again; it ended after %v",
				total.Sent, sentTo(generator, first)-before, total.Failed, total.Causes, total.Resent, took.Round(time.Millisecond))
			if !tc.lossless {
				if total.Failed == 0 {
					t.Error("no request was lost without a drain delay: this test cannot see a loss")
				}
				return
			}
			if sentTo(generator, first) == before {
				t.Error("no request was sent to the instance after SIGTERM: this test shows nothing")
			}
			if total.Failed > 0 || total.Resent > 0 || total.OK != total.Sent {
				t.Errorf("of %d requests %d were answered 2xx, %d failed (%v), %d had to be sent again",
					total.Sent, total.OK, total.Failed, total.Causes, total.Resent)
			}
			if exit != nil {
				t.Errorf("the service ended with %v, want exit code 0", exit)
			}
			if took > 25*time.Second {
				t.Errorf("the service ended after %v, want within its grace period of 25 s", took)
			}
		})
	}
}

// build returns the path of the program, built as for an image.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sample")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath",
		"-ldflags", "-s -w -X github.com/tachometer-metrics/tachometer/pkg/version.stamped=v0.0.0-test", "-o", path, "./cmd/sample")
	cmd.Dir = "../../.." // the module of the programs
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// instance is one running process of the service.
type instance struct {
	t     *testing.T
	url   string
	cmd   *exec.Cmd
	ended chan error
}

// launch starts the service on a free port and returns when it serves.
func launch(t *testing.T, binary string, env ...string) *instance {
	t.Helper()
	i := &instance{t: t, cmd: exec.Command(binary), ended: make(chan error, 1)}
	i.cmd.Env = append([]string{"LISTEN_ADDR=127.0.0.1:0", "RATE_LIMIT=0"}, env...)
	stderr, err := i.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := i.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address := make(chan string, 1)
	go func() {
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			var line struct{ Msg, Address string }
			if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
				t.Errorf("log line %q: %v", lines.Text(), err)
			}
			if line.Msg == "Serving" {
				address <- line.Address
			}
		}
		i.ended <- i.cmd.Wait()
		close(i.ended)
	}()
	t.Cleanup(func() {
		_ = i.cmd.Process.Kill()
		for range i.ended {
		}
	})
	select {
	case a := <-address:
		i.url = "http://" + a
	case <-time.After(30 * time.Second):
		t.Fatal("the service did not serve within 30 s")
	}
	return i
}

func (i *instance) signal(s os.Signal) {
	i.t.Helper()
	if err := i.cmd.Process.Signal(s); err != nil {
		i.t.Fatal(err)
	}
}

// wait returns the process's error; nil means exit code 0.
func (i *instance) wait() error {
	i.t.Helper()
	select {
	case err := <-i.ended:
		return err
	case <-time.After(time.Minute):
		i.t.Fatal("the service did not end within a minute")
		return nil
	}
}

// balancer spreads requests like a Service: over the instances that were ready a while ago.
type balancer struct {
	urls atomic.Pointer[[]string]
}

// newBalancer watches the instances until the test ends.
func newBalancer(t *testing.T, instances ...string) *balancer {
	t.Helper()
	b := &balancer{}
	var urls []string
	for _, i := range instances {
		urls = append(urls, i+"/", i+"/work?ms=2")
	}
	b.urls.Store(&urls)
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	var mu sync.Mutex
	for _, i := range instances {
		watching.Go(func() {
			unready(ctx, i+"/readyz")
			select {
			case <-time.After(propagation):
			case <-ctx.Done():
			}
			mu.Lock()
			defer mu.Unlock()
			left := slices.DeleteFunc(slices.Clone(*b.urls.Load()), func(u string) bool { return strings.HasPrefix(u, i) })
			b.urls.Store(&left)
		})
	}
	t.Cleanup(func() { cancel(); watching.Wait() })
	return b
}

func (b *balancer) targets() []string { return *b.urls.Load() }

// unready returns when the probe fails, or ctx ends.
func unready(ctx context.Context, probe string) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, probe, nil)
		if err != nil {
			return
		}
		resp, err := client.Do(req)
		if err != nil {
			return
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return
		}
	}
}

func sentTo(g *load.Generator, i *instance) (n int) {
	for url, c := range g.Result().URLs {
		if strings.HasPrefix(url, i.url) {
			n += c.Sent
		}
	}
	return n
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for tick := time.NewTicker(10 * time.Millisecond); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}
