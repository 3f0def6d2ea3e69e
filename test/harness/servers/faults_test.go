package servers_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/remote"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/test/harness/servers"
)

const (
	refresh = 200 * time.Millisecond
	timeout = 500 * time.Millisecond
	// maxAge is the maximum age of a served value while the server is away.
	maxAge = 3 * time.Second
	// patience is far above any reaction time on a busy machine.
	patience = 30 * time.Second
)

// reader is a remote backend on a server, refreshed until the test ends, and a rule to query.
type reader struct {
	*testing.T
	backend *remote.Backend
	query   rule.Query
}

func read(t *testing.T, s *servers.Server, expr string) *reader {
	t.Helper()
	text := fmt.Sprintf("apiVersion: config.tachometer.dev/v1alpha1\nkind: AdapterConfig\nbackends:\n- name: real\n  url: %s\n  refresh: 1s\n"+
		"rules:\n- metric: m\n  resource: pods\n  aggregate: max\n  backend: real\n  maxAge: %s\n  query: '%s'\n", s.URL, maxAge, expr)
	cfg, set, err := rule.Load([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	r, err := set.Lookup("pods", "m")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Backends[0].Refresh, cfg.Backends[0].Timeout = refresh, timeout // shorter than a configuration may set
	b, err := remote.New(cfg.Backends[0], remote.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(klog.NewContext(context.Background(), klog.Logger{})) // discards the log
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := b.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return &reader{T: t, backend: b, query: rule.Query{Rule: r, Namespace: "shop"}}
}

// value returns the pod's value now.
func (r *reader) value() (metric.Value, error) {
	values, err := r.backend.Evaluate(r.Context(), r.query, time.Now())
	if err != nil {
		return metric.Value{}, err
	}
	if len(values) != 1 {
		return metric.Value{}, fmt.Errorf("%d values, want 1", len(values))
	}
	return values[0], nil
}

// until reads until done returns true, and returns the time that this took.
func (r *reader) until(what string, done func(metric.Value, error) bool) time.Duration {
	r.Helper()
	began := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		v, err := r.value()
		if done(v, err) {
			return time.Since(began)
		}
		if time.Since(began) > patience {
			r.Fatalf("not %s: %v, %v", what, v, err)
		}
		<-tick.C
	}
}

func is(n float64) func(metric.Value, error) bool {
	return func(v metric.Value, err error) bool { return err == nil && v.Value == n }
}

// fails returns a check for an unavailable error that contains all words.
func fails(words ...string) func(metric.Value, error) bool {
	return func(_ metric.Value, err error) bool {
		if err == nil || metric.KindOf(err) != metric.KindUnavailable {
			return false
		}
		for _, w := range words {
			if !strings.Contains(err.Error(), w) {
				return false
			}
		}
		return true
	}
}

// now returns a series of one pod with a sample at the current time.
func now(v float64) servers.Series {
	l := labels.FromStrings("__name__", "m", "namespace", "shop", "pod", "a")
	return servers.Series{Labels: l, Samples: []servers.Sample{{T: time.Now().UnixMilli(), V: v}}}
}

func TestDownAtStart(t *testing.T) {
	t.Parallel()
	s := servers.Prometheus(t, servers.Options{Stopped: true})
	r := read(t, s, "m")
	if _, err := r.value(); !fails("connection refused", "since", "no answer yet")(metric.Value{}, err) {
		t.Errorf("before its start: %v", err)
	}
	s.Start()
	s.Write(now(1))
	t.Logf("up after %v", r.until("1 after the start", is(1)))
}

func TestKilled(t *testing.T) {
	t.Parallel()
	s := servers.Prometheus(t, servers.Options{Series: []servers.Series{now(1)}})
	r := read(t, s, "m")
	r.until("1", is(1))
	v, _ := r.value()
	s.Kill()
	killed := time.Now()
	served := r.until("an error", fails("connection refused", "since "+killed.UTC().Format("15:04:"), "last answer"))
	if age := time.Since(v.Time); age < maxAge || age > maxAge+time.Second {
		t.Errorf("served from memory until the age of %v, want %v", age, maxAge)
	}
	t.Logf("served from memory for %v", served)
	s.Start()
	s.Write(now(2))
	t.Logf("back after %v", r.until("2 after the start", is(2)))
}

// TestRestarted: readers do not notice a restart shorter than maxAge.
func TestRestarted(t *testing.T) {
	t.Parallel()
	s := servers.Prometheus(t, servers.Options{Series: []servers.Series{now(1)}})
	r := read(t, s, "m")
	r.until("1", is(1))
	stop := make(chan struct{})
	done := make(chan int)
	go func() {
		reads := 0
		for {
			select {
			case <-stop:
				done <- reads
				return
			default:
			}
			if _, err := r.value(); err != nil {
				t.Errorf("during the restart: %v", err)
				<-stop
			}
			reads++
		}
	}()
	s.Restart()
	s.Write(now(2))
	r.until("2 after the restart", is(2))
	close(stop)
	t.Logf("%d reads", <-done)
}

// TestFrozen: a server that accepts connections and does not respond blocks no reader.
func TestFrozen(t *testing.T) {
	t.Parallel()
	s := servers.Prometheus(t, servers.Options{Series: []servers.Series{now(1)}})
	r := read(t, s, "m")
	r.until("1", is(1))
	s.Freeze()
	slowest := time.Duration(0)
	r.until("an error", func(v metric.Value, err error) bool {
		began := time.Now()
		_, _ = r.value()
		slowest = max(slowest, time.Since(began))
		return fails("timeout after", "since")(v, err)
	})
	if slowest > timeout/2 {
		t.Errorf("a read took %v while the server did not answer", slowest)
	}
	t.Logf("the slowest read took %v", slowest)
	s.Thaw()
	s.Write(now(2))
	t.Logf("back after %v", r.until("2 after the thaw", is(2)))
}

// TestRefused: a query that Prometheus rejects is an error of the rule, with Prometheus's message.
func TestRefused(t *testing.T) {
	t.Parallel()
	one, other := now(1), now(1)
	other.Labels = labels.FromStrings("__name__", "m", "namespace", "shop", "pod", "a", "route", "/")
	s := servers.Prometheus(t, servers.Options{Series: []servers.Series{one, other}})
	r := read(t, s, "sum by (namespace, pod) (m * ignoring (route) m)")
	_, err := r.value()
	if err == nil || metric.KindOf(err) != metric.KindInternal || !strings.Contains(err.Error(), "many-to-many") {
		t.Errorf("%v, want the words of Prometheus on many-to-many", err)
	}
}
