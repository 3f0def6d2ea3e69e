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

// rememberedIDs is an IDSet in memory. It may outlive a handler.
type rememberedIDs struct {
	mu  sync.Mutex
	ids map[string]time.Time
}

func (m *rememberedIDs) Has(_ context.Context, id string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	until, ok := m.ids[id]
	return ok && time.Now().Before(until), nil
}

func (m *rememberedIDs) Add(id string, until time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ids[id] = until
}

// recordingSink is a Sink that records its calls, and fails on demand.
type recordingSink struct {
	mu    sync.Mutex
	calls []string
	holds []hold.Hold
	fail  func(t hold.Workload, id string) error
}

func (r *recordingSink) Raise(ctx context.Context, t hold.Workload, h hold.Hold) error {
	return r.recordCall(ctx, t, h, fmt.Sprintf("raise %s %s %d", t.Name, h.ID, h.Replicas))
}

func (r *recordingSink) Release(ctx context.Context, t hold.Workload, id, _ string) error {
	return r.recordCall(ctx, t, hold.Hold{ID: id}, fmt.Sprintf("release %s %s", t.Name, id))
}

func (r *recordingSink) recordCall(ctx context.Context, t hold.Workload, h hold.Hold, text string) error {
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

func (r *recordingSink) setFailure(f func(t hold.Workload, id string) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = f
}

func (r *recordingSink) listCalls() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.calls)
}

func newDeployment(name string) hold.Workload {
	return hold.Workload{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "sale", Name: name}
}

func newWorkloadSpecs(replicas int32, names ...string) (all []WorkloadSpec) {
	for _, n := range names {
		all = append(all, WorkloadSpec{Workload: newDeployment(n), Replicas: ReplicaCount{Value: replicas}})
	}
	return all
}

// newSaleRule returns the rule of most tests.
func newSaleRule() HoldRule {
	return HoldRule{Name: "sale", Type: "START", ReleaseOn: "END", Workloads: newWorkloadSpecs(20, "shop", "cart")}
}

// handlerBench is a running handler with its sink and ids.
type handlerBench struct {
	*Handler
	sink *recordingSink
	seen *rememberedIDs
	reg  *prometheus.Registry
	stop func()
}

// newHandlerBench starts a handler on a new sink. A non-nil seen holds the ids of an earlier handler.
func newHandlerBench(t *testing.T, seen *rememberedIDs, opts Options, rules ...HoldRule) *handlerBench {
	t.Helper()
	if seen == nil {
		seen = &rememberedIDs{ids: map[string]time.Time{}}
	}
	b := &handlerBench{sink: &recordingSink{}, seen: seen, reg: prometheus.NewRegistry()}
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

// newEventJSON returns an event of the current time.
func newEventJSON(id, kind, ttl, more string) []byte {
	return fmt.Appendf(nil, `{"id":%q,"type":%q,"at":%q,"ttl":%q%s}`, id, kind, time.Now().UTC().Format(time.RFC3339Nano), ttl, more)
}

// Handle reads an event without attributes, and waits for its delivery.
func (b *handlerBench) Handle(ctx context.Context, data []byte, source string) error {
	return b.HandleMessage(ctx, Message{Source: source, Data: data})
}

// Accept reads an event without attributes.
func (b *handlerBench) Accept(ctx context.Context, data []byte, source string) (*Delivery, error) {
	return b.AcceptMessage(ctx, Message{Source: source, Data: data})
}

func (b *handlerBench) acceptEvent(t *testing.T, data []byte) *Delivery {
	t.Helper()
	d, err := b.Accept(t.Context(), data, SourceKafka)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (b *handlerBench) countOutcome(o Outcome) int {
	return int(testutil.ToFloat64(b.metrics.events.WithLabelValues(SourceKafka, string(o))))
}

// errorOutcome returns the outcome in an error of Handle.
func errorOutcome(t *testing.T, err error) Outcome {
	t.Helper()
	var r *OutcomeError
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
		r := newSaleRule()
		r.Key, r.For, r.Within, r.Verify, r.Notify = "sale", time.Hour, 2*time.Minute, "quick", []string{"slack"}
		r.Workloads = []WorkloadSpec{{Workload: newDeployment("shop"), Replicas: ReplicaCount{Field: "pods", MaxValue: 50}, MinReplicas: ReplicaCount{Value: 5}, MaxReplicas: ReplicaCount{Field: "pods", MaxValue: 50}}}
		b := newHandlerBench(t, nil, Options{VerifySpecs: map[string]verify.Spec{"quick": {URL: "/work", Requests: 3}}}, r)
		now := time.Now().UTC()
		if err := b.Handle(t.Context(), newEventJSON("a", "START", "10m", `,"sale":"friday","pods":20`), SourceKafka); err != nil {
			t.Fatal(err)
		}
		want := []hold.Hold{{
			ID: "event/sale/friday", Reason: "START", By: "event a", Replicas: 20, MinReplicas: 5, MaxReplicas: 20, Until: now.Add(time.Hour), Within: 2 * time.Minute,
			Verify: &verify.Spec{URL: "/work", Requests: 3}, Notify: []string{"slack"},
		}}
		if diff := cmp.Diff(want, b.sink.holds); diff != "" {
			t.Errorf("holds (-want +got):\n%s", diff)
		}
		if err := b.Handle(t.Context(), newEventJSON("b", "END", "10m", `,"sale":"friday"`), SourceKafka); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"raise shop event/sale/friday 20", "release shop event/sale/friday"}, b.sink.listCalls()); diff != "" {
			t.Errorf("calls (-want +got):\n%s", diff)
		}
	})
}

func TestUntil(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rule HoldRule
		ttl  time.Duration
		want time.Duration
	}{
		"the ttl":                     {HoldRule{}, 30 * time.Minute, 30 * time.Minute},
		"for":                         {HoldRule{For: time.Hour}, 30 * time.Minute, time.Hour},
		"the ttl, bounded":            {HoldRule{MaxFor: 10 * time.Minute}, 30 * time.Minute, 10 * time.Minute},
		"the ttl, bounded by default": {HoldRule{}, MaxTTL, DefaultMaxFor},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := c.rule.eventHoldDuration(&Event{TTL: c.ttl}); got != c.want {
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
		"text": {`"7"`, 7, true}, "a word": {`"seven"`, 0, false}, "an object": {`{}`, 0, false}, "none": {`null`, 0, false}, "a fraction of zeros": {`20.0`, 20, true}, "large with a fraction of zeros": {`99999999999999999999.00`, 50, true},
		"negative with a fraction of zeros": {`-1.0`, 0, false}, "a fraction with an exponent": {`2.0e1`, 0, false}, "a small fraction": {`7.0001`, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, err := Parse(newEventJSON("a", "T", "1m", `,"pods":`+c.field))
			if err != nil {
				t.Fatal(err)
			}
			got, err := (ReplicaCount{Field: "pods", MaxValue: 50}).resolveEventReplicas(&e)
			if got != c.want || (err == nil) != c.ok {
				t.Errorf("%d, %v; want %d, %t", got, err, c.want, c.ok)
			}
		})
	}
}

func TestEventsThatAreSkipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSaleRule()
		r.Match, r.Key = map[string]string{"region": "eu", "vip": "true"}, "sale"
		odd := newSaleRule()
		odd.Name, odd.Type, odd.ReleaseOn, odd.Verify = "odd", "ODD", "", "missing"
		b := newHandlerBench(t, nil, Options{}, r, odd)
		const fields = `,"region":"eu","vip":true,"sale":"friday"`
		late, early := newEventJSON("late", "START", "5s", fields), newEventJSON("early", "START", "1h", fields)
		early = bytes.Replace(early, []byte(time.Now().UTC().Format(time.RFC3339Nano)), []byte(time.Now().Add(2*time.Minute).UTC().Format(time.RFC3339Nano)), 1)
		time.Sleep(5 * time.Second) //nolint:forbidigo // the clock of the bubble
		for _, c := range []struct {
			name string
			data []byte
			want Outcome
		}{
			{"malformed", []byte("{"), Malformed},
			{"unknown type", newEventJSON("1", "OTHER", "1m", fields), Unknown},
			{"another region", newEventJSON("2", "START", "1m", `,"region":"us","vip":true,"sale":"friday"`), Unmatched},
			{"no region", newEventJSON("3", "START", "1m", ``), Unmatched},
			{"no key", newEventJSON("4", "START", "1m", `,"region":"eu","vip":true`), Malformed},
			{"a key that is no id", newEventJSON("5", "START", "1m", `,"region":"eu","vip":true,"sale":"a b"`), Malformed},
			{"expired", late, Expired},
			{"from a clock that is ahead", early, Future},
			{"a verification that is not there", newEventJSON("6", "ODD", "1m", ""), Malformed},
			{"good", newEventJSON("7", "START", "1m", fields), Delivered},
			{"again", newEventJSON("7", "START", "1m", fields), Duplicate},
			{"the same id for the end", newEventJSON("7", "END", "1m", fields), Delivered},
		} {
			if got := errorOutcome(t, b.Handle(t.Context(), c.data, SourceKafka)); got != c.want {
				t.Errorf("%s: %s; want %s", c.name, got, c.want)
			}
		}
		if got := b.sink.listCalls(); len(got) != 4 {
			t.Errorf("calls %q; want two for each workload", got)
		}
		for o, want := range map[Outcome]int{Malformed: 4, Unknown: 1, Unmatched: 2, Expired: 1, Future: 1, Delivered: 2, Duplicate: 1} {
			if got := b.countOutcome(o); got != want {
				t.Errorf("%d counted as %s; want %d", got, o, want)
			}
		}
	})
}

// TestSinkIsDown checks that an outage of the API server of 30 s loses no event, delays no other workload, and keeps the order of each workload.
func TestSinkIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := newSaleRule(), newSaleRule()
		one.Key, one.Workloads = "sale", newWorkloadSpecs(20, "shop")
		two.Name, two.Type, two.ReleaseOn, two.Workloads = "cart", "CART", "", newWorkloadSpecs(5, "cart")
		b := newHandlerBench(t, nil, Options{}, one, two)
		down := time.Now().Add(30 * time.Second)
		b.sink.setFailure(func(t hold.Workload, _ string) error {
			if t.Name == "shop" && time.Now().Before(down) {
				return errors.New("connection refused")
			}
			return nil
		})
		first := b.acceptEvent(t, newEventJSON("1", "START", "10m", `,"sale":"a"`))
		second := b.acceptEvent(t, newEventJSON("2", "START", "10m", `,"sale":"b"`))
		third := b.acceptEvent(t, newEventJSON("3", "END", "10m", `,"sale":"c"`))
		if err := b.Handle(t.Context(), newEventJSON("4", "CART", "10m", ""), SourceKafka); err != nil {
			t.Fatal(err)
		}
		if got, want := b.sink.listCalls(), []string{"raise cart event/cart 5"}; !slices.Equal(got, want) {
			t.Errorf("while one workload fails: %q; want %q", got, want)
		}
		for _, d := range []*Delivery{first, second, third} {
			if err := b.WaitDelivered(t.Context(), d); err != nil {
				t.Fatal(err)
			}
		}
		if late := time.Since(down); late > maxRetryPause {
			t.Errorf("delivered %s after the sink was back; want at most %s", late, maxRetryPause)
		}
		want := []string{"raise cart event/cart 5", "raise shop event/sale/a 20", "raise shop event/sale/b 20", "release shop event/sale/c"}
		if diff := cmp.Diff(want, b.sink.listCalls()); diff != "" {
			t.Errorf("calls (-want +got):\n%s", diff)
		}
	})
}

// TestPanicEndsOneAttempt: an attempt that panics is counted and made again, and the queue of its workload goes on.
func TestPanicEndsOneAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSaleRule()
		r.Workloads = newWorkloadSpecs(20, "shop")
		b := newHandlerBench(t, nil, Options{}, r)
		panicked := false
		b.sink.setFailure(func(hold.Workload, string) error {
			if !panicked {
				panicked = true
				panic("text of an event")
			}
			return nil
		})
		if err := b.Handle(t.Context(), newEventJSON("1", "START", "10m", ""), SourceKafka); err != nil {
			t.Error(err)
		}
		if n := testutil.ToFloat64(b.metrics.panics.Counter()); n != 1 || len(b.sink.listCalls()) != 1 {
			t.Errorf("%v panics, calls %q; want one each", n, b.sink.listCalls())
		}
	})
}

func TestNothingIsDeliveredAfterItsExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSaleRule()
		r.Workloads = newWorkloadSpecs(20, "shop")
		b := newHandlerBench(t, nil, Options{}, r)
		begun := time.Now()
		var last time.Time
		b.sink.setFailure(func(hold.Workload, string) error { last = time.Now(); return errors.New("no route to host") })
		err := b.Handle(t.Context(), newEventJSON("1", "START", "1m", ""), SourceKafka)
		if got := errorOutcome(t, err); got != Undelivered || !strings.Contains(err.Error(), "no route to host") {
			t.Errorf("%v; want it undelivered, and why", err)
		}
		if took := time.Since(begun); took != time.Minute || !last.Before(begun.Add(time.Minute)) {
			t.Errorf("given up after %s, last tried after %s; want tries until a minute is over", took, last.Sub(begun))
		}
		if got := b.sink.listCalls(); len(got) != 0 {
			t.Errorf("calls %q", got)
		}
	})
}

// TestCallEndsAtExpiry checks that a call of a hanging sink is abandoned at the expiry; its context ends it.
func TestCallEndsAtExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSaleRule()
		r.Workloads = newWorkloadSpecs(20, "shop")
		sink := hangingSink{deadlines: make(chan time.Time, 10)}
		h := NewHandler([]HoldRule{r}, sink, &rememberedIDs{ids: map[string]time.Time{}}, Options{})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- h.Run(ctx) }()
		expiry := time.Now().Add(4 * time.Second)
		if got := errorOutcome(t, h.HandleMessage(t.Context(), Message{Source: SourceHTTP, Data: newEventJSON("1", "START", "4s", "")})); got != Undelivered {
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

type hangingSink struct{ deadlines chan time.Time }

func (h hangingSink) Raise(ctx context.Context, _ hold.Workload, _ hold.Hold) error {
	d, _ := ctx.Deadline()
	h.deadlines <- d
	<-ctx.Done()
	return ctx.Err()
}

func (h hangingSink) Release(context.Context, hold.Workload, string, string) error { return nil }

func TestSinkRejects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newHandlerBench(t, nil, Options{}, newSaleRule())
		b.sink.setFailure(func(t hold.Workload, _ string) error {
			if t.Name == "cart" {
				return fmt.Errorf("20 above the maximum: %w", hold.ErrRejected)
			}
			return nil
		})
		err := b.Handle(t.Context(), newEventJSON("1", "START", "1m", ""), SourceKafka)
		if got := errorOutcome(t, err); got != Refused || !strings.Contains(err.Error(), "above the maximum") {
			t.Errorf("%v; want it rejected, and why", err)
		}
		if got := b.sink.listCalls(); len(got) != 1 {
			t.Errorf("calls %q; want the other workload's", got)
		}
		if got := errorOutcome(t, b.Handle(t.Context(), newEventJSON("1", "START", "1m", ""), SourceKafka)); got != Duplicate {
			t.Errorf("again: %s; want a duplicate: it is rejected for good", got)
		}
	})
}

func TestHandleEndsWithTheHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newHandlerBench(t, nil, Options{MaxWaiting: 1}, newSaleRule())
		b.sink.setFailure(func(hold.Workload, string) error { return errors.New("down") })
		d := b.acceptEvent(t, newEventJSON("1", "START", "10m", ""))
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.WaitDelivered(short, d); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v; want the caller's own end", err)
		}
		b.stop()
		if err := b.WaitDelivered(t.Context(), d); !errors.Is(err, ErrStopped) {
			t.Errorf("%v; want %v", err, ErrStopped)
		}
	})
}
