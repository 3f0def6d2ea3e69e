// The watch over an open gate.

package rollout

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// memoryWatcher reads a number, or fails.
type memoryWatcher struct {
	value    float64
	err      error
	selector string
}

func (w *memoryWatcher) ReadWatch(_ context.Context, _, selector string, _ action.Watch) (float64, error) {
	w.selector = selector
	return w.value, w.err
}

// newWatchedSale returns a bench with an open sale that is watched.
func newWatchedSale(t *testing.T) (*bench, *memoryWorkload, *memoryWatcher) {
	t.Helper()
	b, w := newSteppedSale(t, action.Plan{After: &action.Watch{For: 5 * time.Minute, Breach: 30 * time.Second, Max: 0.01, Metric: "error_ratio"}})
	number := &memoryWatcher{value: 0.001}
	b.engine.Watcher = number
	wantState(t, b.find("shop", "event/sale"), hold.Open, "")
	return b, w, number
}

// live makes passes for a time, with the reads that they ask for.
func (b *bench) live(t *testing.T, d time.Duration) {
	t.Helper()
	for end := b.now.Add(d); ; b.now = b.now.Add(watchInterval) {
		r, err := b.engine.ReconcileOnce(t.Context(), memoryRef("shop"), b.now)
		if err != nil {
			t.Fatal(err)
		}
		if r.HoldToWatch != "" {
			b.engine.ReadHoldWatch(t.Context(), memoryRef("shop"), r.HoldToWatch, b.now)
			b.mustPass(t)
		}
		if !b.now.Before(end) {
			return
		}
	}
}

// wantWatched checks the reason and the message of the condition Watched.
func wantWatched(t *testing.T, h *hold.Object, reason, message string) {
	t.Helper()
	if c := findHoldCondition(h, conditionWatched); c == nil || c.Reason != reason || !strings.Contains(c.Message, message) {
		t.Fatalf("%+v; want %s, %q", c, reason, message)
	}
}

// TestWatchPasses: a number within its bound ends the watch at its end, and the gate stays open.
func TestWatchPasses(t *testing.T) {
	t.Parallel()
	b, _, number := newWatchedSale(t)
	b.live(t, 4*time.Minute)
	wantWatched(t, b.find("shop", "event/sale"), watchReading, "error_ratio is 0.001; the maximum is 0.01")
	b.live(t, 2*time.Minute)
	wantWatched(t, b.find("shop", "event/sale"), watchPassed, "error_ratio is 0.001")
	number.value = 1
	b.live(t, time.Minute)
	wantState(t, b.find("shop", "event/sale"), hold.Open, "")
	if !b.gates.open["sale"] || number.selector != "app=shop" {
		t.Errorf("open %v, selector %q", b.gates.open["sale"], number.selector)
	}
	b.wantTold(t, "event/sale", "Up")
}

// TestWatchShutsTheGate: a number above its bound for the breach shuts the gate, undoes the numbers, and is told once, whoever lives.
func TestWatchShutsTheGate(t *testing.T) {
	t.Parallel()
	b, w, number := newWatchedSale(t)
	b.live(t, time.Minute)
	number.value = 0.2
	b.live(t, 20*time.Second)
	wantWatched(t, b.find("shop", "event/sale"), watchAbove, "error_ratio is 0.2")
	b.restart()
	b.engine.Watcher = number
	b.live(t, 15*time.Second)
	wantState(t, b.find("shop", "event/sale"), hold.RolledBack, "after the gate opened: error_ratio is 0.2; the maximum is 0.01, for 30s")
	if b.gates.open["sale"] || w.replicas != 2 {
		t.Errorf("open %v, %d replicas", b.gates.open["sale"], w.replicas)
	}
	b.live(t, 3*time.Hour)
	b.wantTold(t, "event/sale", "Up", "RolledBack")
	if open := b.find("shop", "event/sale").Status; b.gates.open["sale"] || !open.RetryAt.IsZero() {
		t.Errorf("it tries again: %+v", open)
	}
}

// TestWatchNeedsAnUnbrokenBreach: one number within its bound, or one that cannot be read, begins the breach anew.
func TestWatchNeedsAnUnbrokenBreach(t *testing.T) {
	t.Parallel()
	for name, rest := range map[string]memoryWatcher{"within": {value: 0}, "unread": {err: errors.New("no traffic")}} {
		b, _, number := newWatchedSale(t)
		for range 8 {
			*number = memoryWatcher{value: 0.2}
			b.live(t, 20*time.Second)
			*number = rest
			b.live(t, 5*time.Second)
			b.now = b.now.Add(watchInterval)
		}
		wantState(t, b.find("shop", "event/sale"), hold.Open, "")
		if !b.gates.open["sale"] {
			t.Errorf("%s: the gate is shut", name)
		}
	}
}

// TestWatchUnread: a number that cannot be read is told and counted, and shuts nothing. The watch ends without a word of success.
func TestWatchUnread(t *testing.T) {
	t.Parallel()
	b, _, number := newWatchedSale(t)
	number.err = errors.New("Prometheus is away")
	b.live(t, 6*time.Minute)
	wantState(t, b.find("shop", "event/sale"), hold.Open, "")
	wantWatched(t, b.find("shop", "event/sale"), watchUnread, "Prometheus is away")
	b.wantTold(t, "event/sale", "Up", "Unwatched")
	if n := testutil.ToFloat64(b.engine.Metrics.watchReads.WithLabelValues("error")); n < 10 {
		t.Errorf("%v failed reads counted", n)
	}
	if !b.gates.open["sale"] || !b.find("shop", "event/sale").Status.WatchUntil.IsZero() {
		t.Errorf("open %v, %+v", b.gates.open["sale"], b.find("shop", "event/sale").Status)
	}
}

// TestWatchOfAGroup: a breach rolls the whole group back.
func TestWatchOfAGroup(t *testing.T) {
	t.Parallel()
	b := newBench()
	b.gates.plans = map[string]action.Plan{"sale": {After: &action.Watch{For: 5 * time.Minute, Breach: 10 * time.Second, Max: 1, Metric: "m"}}}
	b.engine.Watcher = &memoryWatcher{value: 2}
	shop, cart := b.addWorkload("shop", 2, hold.ReplicaBounds{}), b.addWorkload("cart", 2, hold.ReplicaBounds{})
	h := saleHold()
	h.Group, h.GroupSize = "event/sale", 2
	b.apply(t, "shop", h)
	b.apply(t, "cart", h)
	b.mustPass(t)
	shop.ready, cart.ready = 20, 20
	b.mustPass(t)
	if !b.gates.open["sale"] {
		t.Fatal("the gate is shut")
	}
	b.live(t, 20*time.Second)
	b.mustPass(t)
	wantState(t, b.find("cart", "event/sale"), hold.RolledBack, "group event/sale")
	if b.gates.open["sale"] || shop.replicas != 2 || cart.replicas != 2 {
		t.Errorf("open %v, %d and %d replicas", b.gates.open["sale"], shop.replicas, cart.replicas)
	}
}
