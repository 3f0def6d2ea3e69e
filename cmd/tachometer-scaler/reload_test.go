package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/config"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/event"
)

// runnerTrace records the steps of a configRunner.
type runnerTrace struct {
	started, stopped chan *config.Config
	records          chan error
}

func newRunnerTrace() *runnerTrace {
	return &runnerTrace{make(chan *config.Config, 9), make(chan *config.Config, 9), make(chan error, 99)}
}

// run is the components of a configuration.
func (r *runnerTrace) run(ctx context.Context, cfg *preparedConfig) error {
	r.started <- cfg.Config
	<-ctx.Done()
	r.stopped <- cfg.Config
	return nil
}

func (r *runnerTrace) record(err error, _ time.Time) { r.records <- err }

// TestD7CannotStart: a configuration that cannot start stops nothing. It is tried again, unless another one comes.
func TestD7CannotStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		first, second, third := &config.Config{}, &config.Config{}, &config.Config{}
		failures := map[*config.Config]int{second: 3, third: 0}
		trace := newRunnerTrace()
		r := configRunner{run: trace.run, record: trace.record, prepare: func(_ context.Context, next *config.Config, _ *preparedConfig) (*preparedConfig, error) {
			if failures[next] > 0 {
				failures[next]--
				return nil, errors.New("address in use")
			}
			return &preparedConfig{Config: next}, nil
		}}
		ctx, stop := context.WithCancel(t.Context())
		changes := make(chan *config.Config)
		ended := make(chan error, 1)
		go func() { ended <- r.runEachConfig(ctx, first, changes) }()
		changes <- second
		synctest.Wait()
		if <-trace.started != first || len(trace.stopped) > 0 || <-trace.records != nil || <-trace.records == nil {
			t.Fatal("the first configuration does not run on")
		}
		before := time.Now()
		if cfg := <-trace.started; cfg != second || time.Since(before) != 3*configRetryInterval || <-trace.stopped != first {
			t.Errorf("after %s", time.Since(before))
		}
		failures[first] = 1
		changes <- first // cannot start, and is replaced before the next attempt
		changes <- third
		if cfg := <-trace.started; cfg != third || <-trace.stopped != second {
			t.Error("the third configuration does not run")
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestD7FirstCannotStart: without a previous configuration, the error ends the program. So does an error of the components.
func TestD7FirstCannotStart(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	trace := newRunnerTrace()
	prepared := func(_ context.Context, next *config.Config, _ *preparedConfig) (*preparedConfig, error) {
		return &preparedConfig{Config: next}, nil
	}
	for name, r := range map[string]configRunner{
		"prepare": {record: trace.record, run: trace.run, prepare: func(context.Context, *config.Config, *preparedConfig) (*preparedConfig, error) { return nil, broken }},
		"run":     {record: trace.record, prepare: prepared, run: func(context.Context, *preparedConfig) error { return broken }},
	} {
		if err := r.runEachConfig(t.Context(), &config.Config{}, nil); !errors.Is(err, broken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// newHTTPEventConfig returns a configuration with events over HTTP.
func newHTTPEventConfig(address string) *config.Config {
	return &config.Config{Events: event.Config{HTTP: &event.HTTPConfig{Address: address}, Rules: []event.HoldRule{{Name: "sale"}}}}
}

// TestD7PortInUse: a port in use is an error with a way out, and the same address is shared with the running configuration.
func TestD7PortInUse(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if _, err := openPortsOfConfig(t.Context(), newHTTPEventConfig(taken.Addr().String()), nil); err == nil || !strings.Contains(err.Error(), "change events.http.address") {
		t.Errorf("a port in use: %v", err)
	}
	running, err := openPortsOfConfig(t.Context(), newHTTPEventConfig("127.0.0.1:0"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer running.events.closeEventListener()
	next, err := openPortsOfConfig(t.Context(), newHTTPEventConfig("127.0.0.1:0"), running)
	if err != nil || next.events != running.events {
		t.Errorf("the same address: %v", err)
	}
	without, err := openPortsOfConfig(t.Context(), &config.Config{}, running)
	if err != nil || without.events != nil {
		t.Errorf("no events: %v", err)
	}
	kafka := &config.Config{Events: event.Config{Kafka: &event.KafkaConfig{Brokers: []string{"kafka:port"}, Topic: "sales"}}}
	if _, err := openPortsOfConfig(t.Context(), kafka, running); err == nil {
		t.Error("a broker without a port can start")
	}
}

// TestD34EventsWait: between two receivers a connection waits, and is served by the next one. None is refused.
func TestD34EventsWait(t *testing.T) {
	t.Parallel()
	l, err := openEventListener(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve := func(answer string) *http.Server {
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer) }), ReadHeaderTimeout: time.Minute}
		go func() { _ = s.Serve(l.lendEventListener()) }()
		return s
	}
	transport := &http.Transport{DisableKeepAlives: true}
	get := func() string {
		answer, err := (&http.Client{Transport: transport}).Get("http://" + l.listener.Addr().String())
		if err != nil {
			return err.Error()
		}
		defer answer.Body.Close()
		text, _ := io.ReadAll(answer.Body)
		return string(text)
	}
	old := serve("old")
	if got := get(); got != "old" {
		t.Errorf("old receiver: %s", got)
	}
	if err := old.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	answers := make(chan string)
	go func() { answers <- get() }()
	next := serve("new")
	if got := <-answers; got != "new" {
		t.Errorf("between the receivers: %s", got)
	}
	if err := next.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.closeEventListener()
	// Not by a request to the address: another test may listen there by now.
	if _, err := l.listener.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the port after its end: %v", err)
	}
	if _, err := l.lendEventListener().Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a receiver after the end of the port: %v", err)
	}
}
