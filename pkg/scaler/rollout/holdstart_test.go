package rollout

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// TestStartIsToldOnce: whichever write a process dies at, the start of a hold is told once, before all else and in the sentence of the command set.
func TestStartIsToldOnce(t *testing.T) {
	t.Parallel()
	for name, bounds := range autoscaledAndPlain {
		for writes := range 24 {
			for _, arrives := range []bool{true, false} {
				b := newBench()
				w := b.addWorkload("shop", 2, bounds)
				b.apply(t, "shop", saleHold())
				b.writesLeft, b.afterWrite = writes+1, arrives
				for range 3 {
					_ = b.pass(t.Context())
					w.ready = w.replicas
				}
				b.restart()
				b.mustPass(t)
				w.ready = w.replicas
				b.mustPass(t)
				b.release(t, "shop", "event/sale")
				b.mustPass(t)
				told := b.notifier.all["shop event/sale"]
				if want := []string{"Started: asked for 20 replicas, from 2", "Up: up: 20 replicas"}; len(told) != 3 || !slices.Equal(told[:2], want) || !strings.HasPrefix(told[2], "Ended: ") {
					t.Fatalf("%s, killed after %d writes (arrives %v): told %q", name, writes+1, arrives, told)
				}
			}
		}
	}
}

// TestStartWaitsForItsReceiver: a start that waits for its receiver is told by the next leader, once.
func TestStartWaitsForItsReceiver(t *testing.T) {
	t.Parallel()
	b := newBench()
	b.addWorkload("shop", 2, hold.ReplicaBounds{})
	b.notifier.down = true
	b.apply(t, "shop", saleHold())
	b.mustPass(t)
	b.wantStarts(t, "event/sale", 0)
	b.notifier.down = false
	if err := b.engine.SettleMessages(t.Context(), []string{"sale"}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		b.restart()
		b.mustPass(t)
		b.wantStarts(t, "event/sale", 1)
	}
}

// TestStartOfEachWindow: a schedule starts once in each window that asks for more, however many steps its ramp has, and with each raise of another hold.
func TestStartOfEachWindow(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		window bool
		want   int // starts
	}{"one window": {true, 1}, "no window": {false, 3}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench()
			w := b.addWorkload("shop", 2, hold.ReplicaBounds{})
			h, start := nightHold(0), b.now
			h.Notify = []string{"oncall"}
			h.WindowStart = time.Time{}
			if c.window {
				h.WindowStart = start
			}
			for step := range 3 {
				h.Replicas = int32(4 + 2*step)
				b.apply(t, "shop", h)
				b.mustPass(t)
				w.ready = w.replicas
				b.mustPass(t)
				b.now = b.now.Add(10 * time.Minute)
			}
			b.wantStarts(t, h.ID, c.want)
			h.Replicas, h.WindowStart = 20, b.now
			b.apply(t, "shop", h)
			b.mustPass(t)
			b.wantStarts(t, h.ID, c.want+1)
			h.Within = time.Hour
			b.apply(t, "shop", h)
			b.mustPass(t)
			b.wantStarts(t, h.ID, c.want+1)
		})
	}
}

// wantStarts checks how many starts of a hold on shop were told.
func (b *bench) wantStarts(t *testing.T, id string, want int) {
	t.Helper()
	starts := 0
	for _, told := range b.notifier.all["shop "+id] {
		if strings.HasPrefix(told, "Started: ") {
			starts++
		}
	}
	if starts != want {
		t.Errorf("%d starts; want %d: %q", starts, want, b.notifier.all["shop "+id])
	}
}

// TestCommandLeavesMessages: a command that reconciles the workload leaves the controller's messages to the controller, at whatever moment it comes, and
// does not take the start of a hold that it began itself.
func TestCommandLeavesMessages(t *testing.T) {
	t.Parallel()
	for name, controllerFirst := range map[string]bool{"the controller starts the hold": true, "the command starts the hold": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench()
			w := b.addWorkload("shop", 2, hold.ReplicaBounds{})
			b.notifier.down = true
			b.apply(t, "shop", saleHold())
			if controllerFirst {
				b.mustPass(t)
			}
			command := New(Options{Cluster: b.memoryCluster, Checker: b.checker})
			for range 3 {
				if _, err := command.ReconcileOnce(t.Context(), memoryRef("shop"), b.now); err != nil {
					t.Fatal(err)
				}
			}
			b.notifier.down = false
			b.restart()
			b.mustPass(t)
			w.ready = 20
			b.mustPass(t)
			b.wantStarts(t, "event/sale", 1)
			b.wantTold(t, "event/sale", "Up")
			if left := b.find("shop", "event/sale").Status.Outbox; len(left) > 0 {
				t.Errorf("still owed: %+v", left)
			}
		})
	}
}
