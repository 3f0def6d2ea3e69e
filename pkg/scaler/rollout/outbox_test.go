package rollout

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// newFailedSale returns a bench with a hold whose verification is about to fail.
func newFailedSale(t *testing.T) *bench {
	t.Helper()
	b := newBench()
	b.checker.passed = false
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{})
	h := saleHold()
	h.Until = benchStart.Add(20 * time.Minute)
	b.apply(t, "shop", h)
	b.mustPass(t)
	w.ready = 20
	return b
}

func (b *bench) wantTold(t *testing.T, id string, want ...string) {
	t.Helper()
	told := b.notifier.told["shop "+id]
	if len(told) != len(want) {
		t.Fatalf("told %q; want %q", told, want)
	}
	for i := range want {
		if !strings.HasPrefix(told[i], want[i]+": ") {
			t.Fatalf("told %q; want %q", told, want)
		}
	}
}

// TestD12WaitingAlertSurvives: an alert that waits for its receiver when the process dies is told by the next process, once.
func TestD12WaitingAlertSurvives(t *testing.T) {
	t.Parallel()
	b := newFailedSale(t)
	b.notifier.down = true
	b.mustPass(t)
	wantState(t, b.find("shop", "event/sale"), hold.RolledBack, "")
	b.restart()
	b.mustPass(t)
	b.wantTold(t, "event/sale")
	b.restart()
	b.notifier.down = false
	b.mustPass(t)
	b.wantTold(t, "event/sale", "RolledBack")
	b.restart()
	b.mustPass(t)
	if b.wantTold(t, "event/sale", "RolledBack"); b.notifier.posts != 1 {
		t.Errorf("%d posts", b.notifier.posts)
	}
	if h := b.find("shop", "event/sale"); h != nil && len(h.Status.Outbox) > 0 {
		t.Errorf("still owed: %+v", h.Status.Outbox)
	}
}

// TestD12KeyIsOneForAllProcesses: whichever write a process dies at, all that it and the next process post has one key.
func TestD12KeyIsOneForAllProcesses(t *testing.T) {
	t.Parallel()
	for writes := 1; writes < 14; writes++ {
		for _, arrives := range []bool{true, false} {
			t.Run(fmt.Sprint(writes, arrives), func(t *testing.T) {
				t.Parallel()
				b := newFailedSale(t)
				b.writesLeft, b.afterWrite = writes, arrives
				_ = b.pass(t.Context())
				b.now = b.now.Add(time.Second)
				b.restart()
				b.mustPass(t)
				b.wantTold(t, "event/sale", "RolledBack")
			})
		}
	}
}

// TestD12LeaderChange: a leader that stops to lead leaves its waiting alerts to the next, and confirms the others.
func TestD12LeaderChange(t *testing.T) {
	t.Parallel()
	b := newFailedSale(t)
	b.notifier.down = true
	b.mustPass(t)
	if err := b.engine.SettleMessages(t.Context(), []string{"sale"}); err != nil || b.notifier.countWaiting() != 0 {
		t.Fatalf("%v, and the first leader still has %v", err, b.notifier.queue)
	}
	b.notifier.down = false
	b.mustPass(t)
	b.wantTold(t, "event/sale", "RolledBack")
	b = newFailedSale(t)
	b.notifier.onTaken = func() { b.writesLeft = 0 } // it stops between the post and the confirmation
	if err := b.pass(t.Context()); err == nil || b.notifier.posts != 1 {
		t.Fatalf("%v, %d posts", err, b.notifier.posts)
	}
	b.writesLeft, b.notifier.onTaken = -1, nil
	if err := b.engine.SettleMessages(t.Context(), []string{"sale"}); err != nil {
		t.Fatal(err)
	}
	b.restart()
	b.mustPass(t)
	if b.wantTold(t, "event/sale", "RolledBack"); b.notifier.posts != 1 {
		t.Errorf("%d posts", b.notifier.posts)
	}
}

// TestD11GivenUp: a message that nobody got is a condition of its hold.
func TestD11GivenUp(t *testing.T) {
	t.Parallel()
	b := newFailedSale(t)
	b.notifier.err = errors.New("status 404")
	b.mustPass(t)
	c := findHoldCondition(b.find("shop", "event/sale"), conditionNotified)
	if c == nil || c.Status != metav1.ConditionFalse || !strings.Contains(c.Message, "oncall did not get") || !strings.Contains(c.Message, "status 404") {
		t.Errorf("condition %+v", c)
	}
}

// newToldHold returns a bench with a hold that is up, of which the notifier was told.
func newToldHold(t *testing.T) (*bench, *memoryWorkload, hold.Hold) {
	t.Helper()
	b := newBench()
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{})
	h := nightHold(8)
	h.Notify = []string{"oncall"}
	b.apply(t, "shop", h)
	b.mustPass(t)
	w.ready = 8
	b.mustPass(t)
	return b, w, h
}

// TestSlackDownDelaysNoHold: a hold whose end waits to be told makes room for the next of its name, which tells both.
func TestSlackDownDelaysNoHold(t *testing.T) {
	t.Parallel()
	b, w, h := newToldHold(t)
	b.notifier.down = true
	b.release(t, "shop", h.ID)
	b.mustPass(t)
	if there := b.find("shop", h.ID); there == nil || len(there.Status.Outbox) != 1 {
		t.Fatalf("the end is not owed: %+v", there)
	}
	b.apply(t, "shop", h)
	b.mustPass(t)
	if w.replicas != 8 {
		t.Fatalf("%d replicas", w.replicas)
	}
	w.ready = 8
	b.restart()
	b.notifier.down = false
	b.mustPass(t)
	b.wantTold(t, h.ID, "Up", "Ended", "Up")
}

// TestEndIsToldBeforeItsNextHold: a hold that was released, of a process that died after any of its writes, tells its end before the next of its
// name begins.
func TestEndIsToldBeforeItsNextHold(t *testing.T) {
	t.Parallel()
	for writes := range 12 {
		b, w, h := newToldHold(t)
		b.release(t, "shop", h.ID)
		b.writesLeft, b.afterWrite = writes+1, true
		if err := b.pass(t.Context()); err != nil && !errors.Is(err, errDead) {
			t.Fatal(err)
		}
		b.restart()
		if _, err := b.engine.ApplyHold(t.Context(), memoryRef("shop"), h); errors.Is(err, errBeingReleased) {
			b.mustPass(t)
			b.apply(t, "shop", h)
		} else if err != nil {
			t.Fatalf("after %d writes: %v", writes+1, err)
		}
		b.mustPass(t)
		w.ready = 8
		b.mustPass(t)
		b.wantTold(t, h.ID, "Up", "Ended", "Up")
	}
}
