package rollout

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// gateDisturbances are what may happen to a sale while its gate opens.
var gateDisturbances = map[string]func(t *testing.T, b *bench, w *memoryWorkload){
	"approve": func(t *testing.T, b *bench, _ *memoryWorkload) { t.Helper(); b.approveHold(t, "shop", "event/sale") },
	"pause": func(t *testing.T, b *bench, _ *memoryWorkload) {
		t.Helper()
		for _, paused := range []bool{true, false} {
			o := b.find("shop", "event/sale").DeepCopy()
			o.Spec.Paused = paused
			if _, err := b.UpdateHold(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			b.mustPass(t)
			if paused && (b.gates.open["sale"] || b.gates.places["sale"] != "closed") {
				t.Fatalf("paused, and the gate is open at %s", b.gates.places["sale"])
			}
		}
	},
	"kill": func(t *testing.T, b *bench, _ *memoryWorkload) {
		t.Helper()
		for writes := 1; writes < 6; writes++ {
			b.writesLeft, b.afterWrite = writes, writes%2 == 0
			_ = b.pass(t.Context())
			b.restart()
		}
	},
	"fail": func(t *testing.T, b *bench, w *memoryWorkload) { // pods go for longer than they may, and come back
		t.Helper()
		w.ready = 0
		b.now = b.now.Add(hold.DefaultWithin + gateOpenTimeout)
		b.mustPass(t)
		b.now = b.now.Add(hold.DefaultWithin + gateOpenTimeout)
		b.mustPass(t)
	},
	"away": func(t *testing.T, b *bench, _ *memoryWorkload) {
		t.Helper()
		b.gates.fail = errors.New("away")
		b.mustPass(t)
		b.gates.fail = nil
	},
}

// TestGateInEachOrder: a gate with steps, an approval and a watch opens over all pods whatever happened to the sale before, in each order; without an approval
// it never does. After the sale it is as before.
func TestGateInEachOrder(t *testing.T) {
	t.Parallel()
	for _, order := range permuteNames([]string{"approve", "pause", "kill", "fail", "away"}) {
		t.Run(strings.Join(order, ","), func(t *testing.T) {
			t.Parallel()
			b, w := newSteppedSale(t, action.Plan{Approval: true, Steps: []int{10, 50, 100}, Pause: time.Minute, After: &action.Watch{For: time.Minute, Breach: 30 * time.Second, Max: 1, Metric: "errors"}})
			b.engine.Watcher = &memoryWatcher{}
			b.gates.onOpen = func(_ string, percent int) {
				if w.ready < 20 || !b.find("shop", "event/sale").Spec.Approved {
					t.Errorf("open at %d %% with %d pods, approved %v", percent, w.ready, b.find("shop", "event/sale").Spec.Approved)
				}
			}
			for _, name := range order {
				gateDisturbances[name](t, b, w)
				b.mustPass(t)
				w.ready = w.replicas
				b.now = b.now.Add(30 * time.Second)
				b.mustPass(t)
			}
			for range 20 { // the next try, and all steps
				w.ready = w.replicas
				b.mustPass(t)
				b.now = b.now.Add(time.Minute)
			}
			h := b.find("shop", "event/sale")
			wantState(t, h, hold.Open, "")
			if b.gates.places["sale"] != "100" || !h.Status.WatchUntil.IsZero() || findWatchedReason(h) != watchPassed {
				t.Errorf("open at %s, watched until %s: %s", b.gates.places["sale"], h.Status.WatchUntil, findWatchedReason(h))
			}
			if told := b.notifier.told["shop event/sale"]; len(told) == 0 || !strings.HasPrefix(told[len(told)-1], "Up") {
				t.Errorf("told %q", told)
			}
			b.release(t, "shop", "event/sale")
			b.mustPass(t)
			if w.replicas != 2 || b.gates.open["sale"] || b.gates.places["sale"] != "closed" || len(b.holds) > 0 {
				t.Errorf("released: %d replicas, open %v at %s", w.replicas, b.gates.open["sale"], b.gates.places["sale"])
			}
		})
	}
}

// permuteNames returns all orders of some names.
func permuteNames(names []string) (all [][]string) {
	if len(names) == 0 {
		return [][]string{nil}
	}
	for i, first := range names {
		for _, rest := range permuteNames(slices.Delete(slices.Clone(names), i, i+1)) {
			all = append(all, append([]string{first}, rest...))
		}
	}
	return all
}
