package servers_test

import (
	"context"
	"errors"
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
	// maxAge is the maximum age of a served value while the server is away, unless the test waits for no value that long.
	maxAge = 3 * time.Second
)

// reader is a remote backend on a server, refreshed until the test ends, and a rule to query.
type reader struct {
	*testing.T
	backend *remote.Backend
	query   rule.Query
}

func read(t *testing.T, s *servers.Server, expr string, maxAge time.Duration) *reader {
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
func (r *reader) value(ctx context.Context) (metric.Value, error) {
	values, err := r.backend.Evaluate(ctx, r.query, time.Now())
	if err != nil {
		return metric.Value{}, err
	}
	if len(values) != 1 {
		return metric.Value{}, fmt.Errorf("%d values, want 1", len(values))
	}
	return values[0], nil
}

// until reads until done returns true, and returns the time that this took. The timeout of the whole run is its only bound.
func (r *reader) until(what string, done func(metric.Value, error) bool) time.Duration {
	r.Helper()
	r.Logf("waits for: %s", what)
	for began := time.Now(); ; <-time.After(20 * time.Millisecond) {
		if done(r.value(r.Context())) {
			return time.Since(began)
		}
	}
}

// untilFresh writes a value until it is read, however long that takes.
func (r *reader) untilFresh(s *servers.Server, n float64) {
	r.Helper()
	r.until(fmt.Sprint(n), func(v metric.Value, err error) bool {
		if is(n)(v, err) {
			return true
		}
		s.Write(now(n))
		return false
	})
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
	r := read(t, s, "m", maxAge)
	if _, err := r.value(t.Context()); !fails("connection refused", "since", "no answer yet")(metric.Value{}, err) {
		t.Errorf("before its start: %v", err)
	}
	s.Start()
	r.untilFresh(s, 1)
}

func TestKilled(t *testing.T) {
	t.Parallel()
	s := servers.Prometheus(t, servers.Options{})
	r := read(t, s, "m", maxAge)
	r.untilFresh(s, 1)
	s.Kill()
	newest := time.Time{}
	served := r.until("an error", func(v metric.Value, err error) bool {
		if err == nil {
			newest = v.Time
		}
		return fails("connection refused", "since", "last answer")(v, err)
	})
	if age := time.Since(newest); age < maxAge {
		t.Errorf("an error at the age of %v, want %v", age, maxAge)
	}
	t.Logf("served from memory for %v", served)
	s.Start()
	r.untilFresh(s, 2)
}

// TestRestarted: readers do not notice a restart shorter than maxAge.
func TestRestarted(t *testing.T) {
	t.Parallel()
	s := servers.Prometheus(t, servers.Options{})
	r := read(t, s, "m", 5*time.Minute)
	r.untilFresh(s, 1)
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
			if _, err := r.value(t.Context()); err != nil {
				t.Errorf("during the restart: %v", err)
				<-stop
			}
			reads++
		}
	}()
	s.Restart()
	r.untilFresh(s, 2)
	close(stop)
	t.Logf("%d reads", <-done)
}

// TestFrozen: a server that accepts connections and does not respond blocks no reader.
func TestFrozen(t *testing.T) {
	t.Parallel()
	s := servers.Prometheus(t, servers.Options{})
	r := read(t, s, "m", maxAge)
	r.untilFresh(s, 1)
	s.Freeze()
	impatient, cancel := context.WithCancel(t.Context())
	cancel() // a read that waits for anything has this error
	r.until("an error", func(v metric.Value, err error) bool {
		if _, err := r.value(impatient); errors.Is(err, context.Canceled) {
			t.Errorf("a read waits while the server does not answer: %v", err)
		}
		return fails("timeout after", "since")(v, err)
	})
	s.Thaw()
	r.untilFresh(s, 2)
}

// TestRejected: a query that Prometheus rejects is an error of the rule, with Prometheus's message.
func TestRejected(t *testing.T) {
	t.Parallel()
	one, other := now(1), now(1)
	other.Labels = labels.FromStrings("__name__", "m", "namespace", "shop", "pod", "a", "route", "/")
	s := servers.Prometheus(t, servers.Options{Series: []servers.Series{one, other}})
	r := read(t, s, "sum by (namespace, pod) (m * ignoring (route) m)", maxAge)
	_, err := r.value(t.Context())
	if err == nil || metric.KindOf(err) != metric.KindInternal || !strings.Contains(err.Error(), "many-to-many") {
		t.Errorf("%v, want the words of Prometheus on many-to-many", err)
	}
}
