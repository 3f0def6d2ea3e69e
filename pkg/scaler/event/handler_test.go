package event

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory remembers ids as long as it lives, which may be longer than a handler.
type memory struct {
	mu  sync.Mutex
	ids map[string]time.Time
}

func (m *memory) Has(_ context.Context, id string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	until, ok := m.ids[id]
	return ok && time.Now().Before(until), nil
}

func (m *memory) Add(id string, until time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ids[id] = until
}

// recorder is a sink that keeps what it is told, and fails as it is told.
type recorder struct {
	mu    sync.Mutex
	calls []string
	holds []hold.Hold
	fail  func(t hold.Target, id string) error
}

func (r *recorder) Raise(ctx context.Context, t hold.Target, h hold.Hold) error {
	return r.call(ctx, t, h, fmt.Sprintf("raise %s %s %d", t.Name, h.ID, h.Replicas))
}

func (r *recorder) Release(ctx context.Context, t hold.Target, id, _ string) error {
	return r.call(ctx, t, hold.Hold{ID: id}, fmt.Sprintf("release %s %s", t.Name, id))
}

func (r *recorder) call(ctx context.Context, t hold.Target, h hold.Hold, text string) error {
	r.mu.Lock()
	fail := r.fail
	r.mu.Unlock()
	if fail != nil {
		if err := fail(t, h.ID); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, text)
	r.holds = append(r.holds, h)
	return nil
}

func (r *recorder) failing(f func(t hold.Target, id string) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = f
}

func (r *recorder) took() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.calls)
}

func deployment(name string) hold.Target {
	return hold.Target{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "sale", Name: name}
}

func wants(replicas int32, names ...string) (all []Want) {
	for _, n := range names {
		all = append(all, Want{Target: deployment(n), Replicas: Number{Value: replicas}})
	}
	return all
}

// sale is the rule of most tests.
func sale() Rule {
	return Rule{Name: "sale", Type: "START", ReleaseOn: "END", Targets: wants(20, "shop", "cart")}
}

// bench is a handler that runs, with what it works on.
type bench struct {
	*Handler
	sink *recorder
	seen *memory
	reg  *prometheus.Registry
	stop func()
}

// newBench starts a handler on a new sink, with the memory of another if there was one.
func newBench(t *testing.T, seen *memory, opts Options, rules ...Rule) *bench {
	t.Helper()
	if seen == nil {
		seen = &memory{ids: map[string]time.Time{}}
	}
	b := &bench{sink: &recorder{}, seen: seen, reg: prometheus.NewRegistry()}
	opts.Registerer = b.reg
	b.Handler = NewHandler(rules, b.sink, seen, opts)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := b.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	b.stop = func() { cancel(); <-ended }
	t.Cleanup(b.stop)
	return b
}

// raw is an event of now.
func raw(id, kind, ttl, more string) []byte {
	return fmt.Appendf(nil, `{"id":%q,"type":%q,"at":%q,"ttl":%q%s}`, id, kind, time.Now().UTC().Format(time.RFC3339Nano), ttl, more)
}

func (b *bench) accept(t *testing.T, data []byte) *Delivery {
	t.Helper()
	d, err := b.Accept(t.Context(), data, Kafka)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (b *bench) counted(o Outcome) int {
	return int(testutil.ToFloat64(b.m.events.WithLabelValues(Kafka, string(o))))
}

// outcome is that of an error of Handle.
func outcome(t *testing.T, err error) Outcome {
	t.Helper()
	var r *Refusal
	switch {
	case err == nil:
		return Delivered
	case errors.As(err, &r):
		return r.Outcome
	}
	t.Fatal(err)
	return ""
}

func TestEventBecomesHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sale()
		r.Key, r.For, r.Within, r.Verify, r.Notify = "sale", time.Hour, 2*time.Minute, "quick", []string{"slack"}
		r.Targets = []Want{{Target: deployment("shop"), Replicas: Number{Field: "pods", Max: 50}, Floor: Number{Value: 5}, Ceiling: Number{Field: "pods", Max: 50}}}
		b := newBench(t, nil, Options{Verify: map[string]verify.Spec{"quick": {URL: "/work", Requests: 3}}}, r)
		now := time.Now().UTC()
		if err := b.Handle(t.Context(), raw("a", "START", "10m", `,"sale":"friday","pods":20`), Kafka); err != nil {
			t.Fatal(err)
		}
		want := []hold.Hold{{
			ID: "event/sale/friday", Reason: "START", By: "event a", Replicas: 20, Floor: 5, Ceiling: 20, Until: now.Add(time.Hour), Within: 2 * time.Minute,
			Verify: &verify.Spec{URL: "/work", Requests: 3}, Notify: []string{"slack"}, State: hold.Received,
		}}
		if diff := cmp.Diff(want, b.sink.holds); diff != "" {
			t.Errorf("holds (-want +got):\n%s", diff)
		}
		if err := b.Handle(t.Context(), raw("b", "END", "10m", `,"sale":"friday"`), Kafka); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"raise shop event/sale/friday 20", "release shop event/sale/friday"}, b.sink.took()); diff != "" {
			t.Errorf("calls (-want +got):\n%s", diff)
		}
	})
}

func TestUntil(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rule Rule
		ttl  time.Duration
		want time.Duration
	}{
		"the ttl":                     {Rule{}, 30 * time.Minute, 30 * time.Minute},
		"for":                         {Rule{For: time.Hour}, 30 * time.Minute, time.Hour},
		"the ttl, bounded":            {Rule{MaxFor: 10 * time.Minute}, 30 * time.Minute, 10 * time.Minute},
		"the ttl, bounded by default": {Rule{}, MaxTTL, DefaultMaxFor},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := c.rule.span(&Event{TTL: c.ttl}); got != c.want {
				t.Errorf("%s; want %s", got, c.want)
			}
		})
	}
}

func TestNumbersOfEvents(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		field string
		want  int32
		ok    bool
	}{
		"whole": {`7`, 7, true}, "zero": {`0`, 0, true}, "cut": {`51`, 50, true}, "cut, however large": {`99999999999999999999`, 50, true},
		"negative": {`-1`, 0, false}, "negative and large": {`-99999999999999999999`, 0, false}, "fraction": {`1.5`, 0, false}, "exponent": {`1e1`, 0, false},
		"text": {`"7"`, 0, false}, "none": {`null`, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, err := Parse(raw("a", "T", "1m", `,"pods":`+c.field))
			if err != nil {
				t.Fatal(err)
			}
			got, err := (Number{Field: "pods", Max: 50}).of(&e)
			if got != c.want || (err == nil) != c.ok {
				t.Errorf("%d, %v; want %d, %t", got, err, c.want, c.ok)
			}
		})
	}
}

func TestEventsThatAreSkipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sale()
		r.Match, r.Key = map[string]string{"region": "eu", "vip": "true"}, "sale"
		odd := sale()
		odd.Name, odd.Type, odd.Verify = "odd", "ODD", "missing"
		b := newBench(t, nil, Options{}, r, odd)
		const fields = `,"region":"eu","vip":true,"sale":"friday"`
		late, early := raw("late", "START", "5s", fields), raw("early", "START", "1h", fields)
		early = bytes.Replace(early, []byte(time.Now().UTC().Format(time.RFC3339Nano)), []byte(time.Now().Add(2*time.Minute).UTC().Format(time.RFC3339Nano)), 1)
		time.Sleep(5 * time.Second) //nolint:forbidigo // the clock of the bubble
		for _, c := range []struct {
			name string
			data []byte
			want Outcome
		}{
			{"malformed", []byte("{"), Malformed},
			{"unknown type", raw("1", "OTHER", "1m", fields), Unknown},
			{"another region", raw("2", "START", "1m", `,"region":"us","vip":true,"sale":"friday"`), Unmatched},
			{"no region", raw("3", "START", "1m", ``), Unmatched},
			{"no key", raw("4", "START", "1m", `,"region":"eu","vip":true`), Malformed},
			{"a key that is no id", raw("5", "START", "1m", `,"region":"eu","vip":true,"sale":"a b"`), Malformed},
			{"expired", late, Expired},
			{"from a clock that is ahead", early, Future},
			{"a verification that is not there", raw("6", "ODD", "1m", ""), Malformed},
			{"good", raw("7", "START", "1m", fields), Delivered},
			{"again", raw("7", "START", "1m", fields), Duplicate},
			{"the same id for something else", raw("7", "END", "1m", fields), Duplicate},
		} {
			if got := outcome(t, b.Handle(t.Context(), c.data, Kafka)); got != c.want {
				t.Errorf("%s: %s; want %s", c.name, got, c.want)
			}
		}
		if got := b.sink.took(); len(got) != 2 {
			t.Errorf("calls %q; want one for each target", got)
		}
		for o, want := range map[Outcome]int{Malformed: 4, Unknown: 1, Unmatched: 2, Expired: 1, Future: 1, Delivered: 1, Duplicate: 2} {
			if got := b.counted(o); got != want {
				t.Errorf("%d counted as %s; want %d", got, o, want)
			}
		}
	})
}

// The API server is away for 30 s: nothing is lost, targets do not wait for each other, and each has its events in order.
func TestSinkIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := sale(), sale()
		one.Key, one.Targets = "sale", wants(20, "shop")
		two.Name, two.Type, two.Targets = "cart", "CART", wants(5, "cart")
		b := newBench(t, nil, Options{}, one, two)
		down := time.Now().Add(30 * time.Second)
		b.sink.failing(func(t hold.Target, _ string) error {
			if t.Name == "shop" && time.Now().Before(down) {
				return errors.New("connection refused")
			}
			return nil
		})
		first := b.accept(t, raw("1", "START", "10m", `,"sale":"a"`))
		second := b.accept(t, raw("2", "START", "10m", `,"sale":"b"`))
		third := b.accept(t, raw("3", "END", "10m", `,"sale":"c"`))
		if err := b.Handle(t.Context(), raw("4", "CART", "10m", ""), Kafka); err != nil {
			t.Fatal(err)
		}
		if got, want := b.sink.took(), []string{"raise cart event/cart 5"}; !slices.Equal(got, want) {
			t.Errorf("while one target fails: %q; want %q", got, want)
		}
		for _, d := range []*Delivery{first, second, third} {
			if err := b.Wait(t.Context(), d); err != nil {
				t.Fatal(err)
			}
		}
		if late := time.Since(down); late > maxPause {
			t.Errorf("delivered %s after the sink was back; want at most %s", late, maxPause)
		}
		want := []string{"raise cart event/cart 5", "raise shop event/sale/a 20", "raise shop event/sale/b 20", "release shop event/sale/c"}
		if diff := cmp.Diff(want, b.sink.took()); diff != "" {
			t.Errorf("calls (-want +got):\n%s", diff)
		}
	})
}

func TestNothingIsDeliveredAfterItsExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sale()
		r.Targets = wants(20, "shop")
		b := newBench(t, nil, Options{}, r)
		begun := time.Now()
		var last time.Time
		b.sink.failing(func(hold.Target, string) error { last = time.Now(); return errors.New("no route to host") })
		err := b.Handle(t.Context(), raw("1", "START", "1m", ""), Kafka)
		if got := outcome(t, err); got != Undelivered || !strings.Contains(err.Error(), "no route to host") {
			t.Errorf("%v; want it undelivered, and why", err)
		}
		if took := time.Since(begun); took != time.Minute || !last.Before(begun.Add(time.Minute)) {
			t.Errorf("given up after %s, last tried after %s; want tries until a minute is over", took, last.Sub(begun))
		}
		if got := b.sink.took(); len(got) != 0 {
			t.Errorf("calls %q", got)
		}
	})
}

// A sink that hangs is left at the expiry, and what it does then is its context's matter.
func TestCallEndsAtExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := sale()
		r.Targets = wants(20, "shop")
		sink := hanging{deadlines: make(chan time.Time, 10)}
		h := NewHandler([]Rule{r}, sink, &memory{ids: map[string]time.Time{}}, Options{})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- h.Run(ctx) }()
		expiry := time.Now().Add(4 * time.Second)
		if got := outcome(t, h.Handle(t.Context(), raw("1", "START", "4s", ""), HTTP)); got != Undelivered {
			t.Errorf("%s", got)
		}
		if got := <-sink.deadlines; !got.Equal(expiry) {
			t.Errorf("deadline %s; want the expiry, %s", got, expiry)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

type hanging struct{ deadlines chan time.Time }

func (h hanging) Raise(ctx context.Context, _ hold.Target, _ hold.Hold) error {
	d, _ := ctx.Deadline()
	h.deadlines <- d
	<-ctx.Done()
	return ctx.Err()
}

func (h hanging) Release(context.Context, hold.Target, string, string) error { return nil }

func TestSinkRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil, Options{}, sale())
		b.sink.failing(func(t hold.Target, _ string) error {
			if t.Name == "cart" {
				return fmt.Errorf("20 above the maximum: %w", hold.ErrRefused)
			}
			return nil
		})
		err := b.Handle(t.Context(), raw("1", "START", "1m", ""), Kafka)
		if got := outcome(t, err); got != Refused || !strings.Contains(err.Error(), "above the maximum") {
			t.Errorf("%v; want it refused, and why", err)
		}
		if got := b.sink.took(); len(got) != 1 {
			t.Errorf("calls %q; want the other target's", got)
		}
		if got := outcome(t, b.Handle(t.Context(), raw("1", "START", "1m", ""), Kafka)); got != Duplicate {
			t.Errorf("again: %s; want a duplicate: it is refused for good", got)
		}
	})
}

func TestHandleEndsWithTheHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil, Options{Waiting: 1}, sale())
		b.sink.failing(func(hold.Target, string) error { return errors.New("down") })
		d := b.accept(t, raw("1", "START", "10m", ""))
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.Wait(short, d); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v; want the caller's own end", err)
		}
		b.stop()
		if err := b.Wait(t.Context(), d); !errors.Is(err, ErrStopped) {
			t.Errorf("%v; want %v", err, ErrStopped)
		}
	})
}
