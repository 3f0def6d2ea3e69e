package sample

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
)

// pipeListener is a listener without a network, so that the service can run in a bubble of synthetic time.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (p *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipeListener) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "pipe"} }

// dialPipe returns the client's end of a new connection, or an error without a listener.
func (p *pipeListener) dialPipe(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.done:
		return nil, errors.New("connection refused")
	}
}

// runningService is a service that runs in a bubble.
type runningService struct {
	t       *testing.T
	service *Service
	pipes   *pipeListener
	client  *http.Client
	stop    context.CancelFunc
	ended   chan error
}

func startService(t *testing.T, change func(*Config), opts Options, checks ...*dependencyCheck) *runningService {
	t.Helper()
	cfg, err := LoadConfig(lookupEnv(nil))
	if err != nil {
		t.Fatal(err)
	}
	change(&cfg)
	r := &runningService{t: t, pipes: newPipeListener(), ended: make(chan error, 1)}
	opts.Listener, opts.Log = r.pipes, zap.NewNop()
	r.service = New(cfg, opts)
	r.service.ready.checks = checks
	r.client = &http.Client{Transport: &http.Transport{DialContext: r.pipes.dialPipe}}
	ctx, cancel := context.WithCancel(t.Context())
	r.stop = cancel
	go func() { r.ended <- r.service.Run(ctx) }()
	synctest.Wait()
	return r
}

// getStatus returns the status code, or 0 if there was no answer.
func (r *runningService) getStatus(path string) (code int, closes bool) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "http://sample"+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return 0, true
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Close
}

func (r *runningService) expectStatus(when, path string, code int) {
	r.t.Helper()
	if got, _ := r.getStatus(path); got != code {
		r.t.Errorf("%s: %s answers %d, want %d", when, path, got, code)
	}
}

// sleepAndSettle lets d go by on the bubble's clock.
func sleepAndSettle(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestLifeOfAService(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := startService(t, func(c *Config) { c.StartJitter = 10 * time.Second },
			Options{Jitter: func(most time.Duration) time.Duration { return most / 2 }})
		r.expectStatus("while jittering", "/readyz", 503)
		r.expectStatus("while jittering", "/healthz", 200)
		sleepAndSettle(5 * time.Second)
		r.expectStatus("after the jitter", "/readyz", 200)
		if _, closes := r.getStatus("/"); closes {
			t.Error("a serving pod closes a kept-alive connection")
		}

		told := time.Now()
		r.stop()
		synctest.Wait()
		r.expectStatus("told to end", "/readyz", 503)
		r.expectStatus("told to end", "/healthz", 200)
		r.expectStatus("told to end", "/", 200)
		sleepAndSettle(4900 * time.Millisecond)
		if code, closes := r.getStatus("/"); code != 200 || !closes {
			t.Errorf("at the end of the drain delay: %d, closes its connection: %v", code, closes)
		}
		if err := <-r.ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		if took := time.Since(told); took < 5*time.Second || took > 6*time.Second {
			t.Errorf("ended %v after it was told to, want the drain delay of 5 s", took)
		}
		r.expectStatus("ended", "/", 0)
		r.client.CloseIdleConnections()
	})
}

func TestTheJitterKeepsADependencyAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		r := startService(t, func(c *Config) { c.StartJitter = 4 * time.Second },
			Options{Jitter: func(most time.Duration) time.Duration { return most }},
			&dependencyCheck{name: "redis", timeout: time.Second, ping: func(context.Context) error {
				asked.Add(1)
				return errors.New("refused")
			}})
		for range 4 {
			r.expectStatus("while jittering", "/readyz", 503)
			if asked.Load() > 0 {
				t.Error("asked during the jitter")
			}
			sleepAndSettle(time.Second)
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("asked %d times at the end of the jitter, before any probe", n)
		}
		r.expectStatus("dependency down", "/readyz", 503)
		r.stop()
		<-r.ended
		r.client.CloseIdleConnections()
	})
}

func TestARequestTakenLastIsAnswered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := startService(t, func(*Config) {}, Options{})
		// A body that comes slowly keeps the request in flight for as long as is wanted.
		conn, err := r.pipes.dialPipe(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		body := `{"item":"a","quantity":1}`
		r.service.orders = &memoryStore{docs: map[string][]byte{}}
		r.stop()
		sleepAndSettle(4900 * time.Millisecond)
		sendText(t, conn, "POST /orders HTTP/1.1\r\nHost: sample\r\nContent-Length: 25\r\n\r\n"+body[:10])
		sleepAndSettle(5 * time.Second) // the listener is closed by now
		r.expectStatus("draining", "/", 0)
		sendText(t, conn, body[10:])
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != http.StatusCreated {
			t.Errorf("the request taken last: %v, %v", resp, err)
		}
		if err := <-r.ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestARequestThatDoesNotEndIsCutOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := startService(t, func(c *Config) { c.GracePeriod = 15 * time.Second }, Options{})
		hang := make(chan struct{})
		r.service.orders = stuckStore{hang}
		conn, err := r.pipes.dialPipe(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		sendText(t, conn, "GET /orders/"+strings.Repeat("A", 26)+" HTTP/1.1\r\nHost: sample\r\n\r\n")
		synctest.Wait()
		told := time.Now()
		r.stop()
		err = <-r.ended
		if took := time.Since(told); took != 15*time.Second {
			t.Errorf("ended after %v, want the grace period of 15 s", took)
		}
		if err == nil || !strings.Contains(err.Error(), "shut down with 1 requests unanswered") {
			t.Errorf("Run: %v", err)
		}
		close(hang)
		conn.Close()
	})
}

func TestToldToEndBeforeItWasReady(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := startService(t, func(c *Config) { c.StartJitter = time.Hour }, Options{})
		told := time.Now()
		r.stop()
		if err := <-r.ended; err != nil || time.Since(told) > time.Second {
			t.Errorf("ended after %v with %v: nobody was sent here, so there is nothing to wait for", time.Since(told), err)
		}
	})
}

func TestListenerThatBreaks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := startService(t, func(*Config) {}, Options{})
		r.pipes.Close()
		if err := <-r.ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestPprofIsOffUnlessAsked(t *testing.T) {
	t.Parallel()
	_, h := newTestService(t, nil)
	if got := recordResponse(h, newTestRequest(t, http.MethodGet, "/debug/pprof/", "")); got.Code != 404 {
		t.Errorf("/debug/pprof/ on the service's port answers %d", got.Code)
	}
	if got := recordResponse(newPprofHandler(), newTestRequest(t, http.MethodGet, "/debug/pprof/cmdline", "")); got.Code != 200 {
		t.Errorf("/debug/pprof/cmdline on its own port answers %d", got.Code)
	}
	cfg, err := LoadConfig(lookupEnv(map[string]string{"PPROF_ADDR": "127.0.0.1:0", "LISTEN_ADDR": "localhost:0", "DRAIN_DELAY": "0s"}))
	if err != nil {
		t.Fatal(err)
	}
	s := New(cfg, Options{})
	main, profiles, err := s.openHTTPListeners(t.Context())
	if err != nil || profiles == nil {
		t.Fatalf("listen: %v", err)
	}
	main.Close()
	defer profiles.Close()
	cfg.PprofAddr = profiles.Addr().String() // taken
	if err := New(cfg, Options{}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "listen for pprof") {
		t.Errorf("Run: %v", err)
	}
}

// stuckStore is an orderStore that ignores its context: a fault that a dependency must never have, and one day has.
type stuckStore struct{ until chan struct{} }

func (s stuckStore) saveOrder(context.Context, string, []byte) error { <-s.until; return nil }

func (s stuckStore) getOrder(context.Context, string) ([]byte, error) {
	<-s.until
	return nil, errOrderNotFound
}

func sendText(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}
