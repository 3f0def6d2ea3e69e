// Package servers starts real servers for remote backends, as children of a test.
package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/prompb"

	"github.com/tachometer-metrics/tachometer/test/harness/loopback"
)

// serverTimeout bounds the end of a server that ignores its signal, and a request: far above the usual time on a busy machine.
const serverTimeout = 5 * time.Minute

// Sample is a value at a time, in milliseconds since the epoch. Its bits tell NaN from the staleness marker.
type Sample struct {
	T int64
	V float64
}

// Series is a time series, its name among the labels.
type Series struct {
	Labels  labels.Labels
	Samples []Sample // in order of time
}

// Target is an endpoint that a Prometheus scrapes at /metrics.
type Target struct {
	Address string            // host:port
	Labels  map[string]string // added to all its series
}

// Options configure a server. The zero value means an empty server.
type Options struct {
	// Series are written before the constructor returns. Times are exact to the millisecond. Prometheus keeps values bit by bit,
	// VictoriaMetrics keeps some ten digits.
	Series []Series
	// Targets are scraped by a Prometheus; a VictoriaMetrics ignores them.
	Targets []Target
	// Interval is the time between two scrapes. 0 means 1 s.
	Interval time.Duration
	// Config is a whole configuration file of a Prometheus, in place of Targets and Interval.
	Config []byte
	// Stopped returns a stopped server, which the test starts; Series must be empty.
	Stopped bool
}

// Server is a server under test. It ends with the test. Only the test's goroutine may call its methods, which fail the test.
type Server struct {
	// URL is the server's address on loopback, also while it is stopped.
	URL string

	t     testing.TB
	kind  kind
	bin   string
	dir   string
	child *child // nil while stopped
}

// kind has the differences between the servers.
type kind struct {
	name, program, install string
	ready                  string // path that returns 200 once the server is ready
	flush                  string // path that makes written samples readable; empty: they are readable at once
	args                   func(address, dir string) []string
}

// child is a process and its end.
type child struct {
	cmd  *exec.Cmd
	done chan struct{}
}

// startTestServer creates the server and, unless opts.Stopped is set, starts it.
func startTestServer(t testing.TB, k kind, opts Options) *Server {
	t.Helper()
	bin, err := exec.LookPath(k.program)
	if err != nil {
		t.Skipf("SKIPPED: needs a real %s, and %s is not in PATH; on Debian: %s", k.name, k.program, k.install)
	}
	s := &Server{t: t, kind: k, bin: bin, dir: t.TempDir()}
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() {
			s.dumpServerLog()
		}
	})
	s.URL = "http://" + loopback.MustChooseAddress(t)
	if opts.Stopped {
		return s
	}
	s.Start()
	s.Write(opts.Series...)
	return s
}

// Start starts a stopped server with its data, and waits until it is ready or has ended.
func (s *Server) Start() {
	s.t.Helper()
	if err := s.runServer(); err != nil {
		s.t.Fatal(err)
	}
}

// Stop sends SIGTERM and waits for the end. The data stays.
func (s *Server) Stop() { s.endServer(syscall.SIGTERM) }

// Kill ends the server at once, which may lose the writes of the last seconds.
func (s *Server) Kill() { s.endServer(syscall.SIGKILL) }

// Restart is Stop and Start.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	s.Start()
}

// Freeze stops the server from responding until Thaw; the kernel still accepts connections.
func (s *Server) Freeze() {
	s.t.Helper()
	s.signalServerGroup(syscall.SIGSTOP)
	// The threads stop one by one.
	for until := time.Now().Add(serverTimeout); time.Now().Before(until); {
		ctx, cancel := context.WithTimeout(s.t.Context(), 100*time.Millisecond)
		_, err := doServerRequest(ctx, http.MethodGet, s.URL+s.kind.ready, nil)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			return
		}
	}
	s.t.Fatalf("%s answers though it was stopped", s.kind.name)
}

// Thaw ends a Freeze.
func (s *Server) Thaw() { s.signalServerGroup(syscall.SIGCONT) }

func (s *Server) runServer() error {
	log, err := os.OpenFile(s.serverLog(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(s.bin, s.kind.args(s.URL[len("http://"):], s.dir)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = s.dir, log, log, serverAttributes()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", s.kind.name, err)
	}
	s.child = &child{cmd: cmd, done: make(chan struct{})}
	go func(c *child) {
		defer close(c.done)
		_ = c.cmd.Wait() // the log has the reason of the end
	}(s.child)
	return s.awaitServerReady()
}

func (s *Server) awaitServerReady() error {
	ctx := s.t.Context()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := doServerRequest(ctx, http.MethodGet, s.URL+s.kind.ready, nil)
		if err == nil {
			return nil
		}
		select {
		case <-s.child.done:
			return fmt.Errorf("%s ended before it was ready: %v", s.kind.name, s.child.cmd.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w", s.kind.name, err)
		case <-tick.C:
		}
	}
}

// endServer sends a signal and waits for the end; it kills a server that ignores the signal.
func (s *Server) endServer(sig syscall.Signal) {
	if s.child == nil {
		return
	}
	s.signalServerGroup(syscall.SIGCONT) // a frozen process would not receive it
	s.signalServerGroup(sig)
	late := time.AfterFunc(serverTimeout, func() { s.signalServerGroup(syscall.SIGKILL) })
	<-s.child.done
	late.Stop()
	s.child = nil
}

// signalServerGroup signals the server and all its children, which are one process group.
func (s *Server) signalServerGroup(sig syscall.Signal) {
	if s.child != nil {
		_ = syscall.Kill(-s.child.cmd.Process.Pid, sig) // it may have ended already
	}
}

// Write appends samples through the remote-write protocol and waits until they are readable.
func (s *Server) Write(series ...Series) {
	s.t.Helper()
	if len(series) == 0 {
		return
	}
	var request prompb.WriteRequest
	for _, one := range series {
		ts := prompb.TimeSeries{Labels: prompb.FromLabels(one.Labels, nil)}
		for _, sample := range one.Samples {
			ts.Samples = append(ts.Samples, prompb.Sample{Timestamp: sample.T, Value: sample.V})
		}
		request.Timeseries = append(request.Timeseries, ts)
	}
	body, err := request.Marshal()
	if err == nil {
		_, err = doServerRequest(s.t.Context(), http.MethodPost, s.URL+"/api/v1/write", snappy.Encode(nil, body))
	}
	if err == nil && s.kind.flush != "" {
		_, err = doServerRequest(s.t.Context(), http.MethodGet, s.URL+s.kind.flush, nil)
	}
	if err != nil {
		s.t.Fatalf("write %d series to %s: %v", len(series), s.kind.name, err)
	}
}

// Get reads a path of the server, with an optional query.
func (s *Server) Get(path string) []byte {
	s.t.Helper()
	body, err := doServerRequest(s.t.Context(), http.MethodGet, s.URL+path, nil)
	if err != nil {
		s.t.Fatalf("ask %s: %v", s.kind.name, err)
	}
	return body
}

// client keeps no connections, so that no goroutine outlives a test.
var client = &http.Client{Timeout: serverTimeout, Transport: &http.Transport{DisableKeepAlives: true}}

func doServerRequest(ctx context.Context, method, url string, body []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		request.Header.Set("Content-Encoding", "snappy")
		request.Header.Set("Content-Type", "application/x-protobuf")
		request.Header.Set("X-Prometheus-Remote-Write-Version", "0.1.0")
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s: %s", method, request.URL.Path, response.Status, bytes.TrimSpace(answer))
	}
	return answer, err
}

func (s *Server) serverLog() string { return filepath.Join(s.dir, "log") }

// dumpServerLog shows the end of the server's log.
func (s *Server) dumpServerLog() {
	const most = 4 << 10
	text, err := os.ReadFile(s.serverLog())
	s.t.Logf("the log of %s (%v):\n%s", s.kind.name, err, text[max(0, len(text)-most):])
}
