// The messages of a walk: an alert that was owed is told once, whatever process lives to tell it.

package rollout

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/notify"
)

// toldOutcome is a message that a hold stored.
type toldOutcome struct {
	kind      notify.Kind
	outcome   string
	attempt   string // generation and start of the hold, and the life of its workload
	key       string
	notifiers []string
}

// noteMessages is called after each write of a status: no hold tells one outcome of an attempt twice in a row.
func (w *walker) noteMessages(before, after *hold.Object) {
	attempt := fmt.Sprint(before.Status.ObservedGeneration, before.Status.Since, w.workloads[after.HeldWorkload().Name].life)
	for _, m := range after.Status.Outbox {
		uid, _, _ := strings.Cut(m.Key, "/") // a hold made again has the messages of the one before
		now, told := toldOutcome{kindOfHoldOutcome(m.Outcome), m.Outcome, attempt, m.Key, m.Notifiers}, w.told[uid]
		if slices.ContainsFunc(told, func(t toldOutcome) bool { return t.key == m.Key }) {
			continue
		}
		w.note("hold %s tells %s: %s", after.Name, m.Outcome, m.Text)
		if isToldTwice(told, now) {
			w.fail("hold %s tells %s twice", after.Name, m.Outcome)
		}
		w.told[uid] = append(told, now)
	}
}

// isToldTwice reports whether an outcome was told in the same attempt with nothing since or, of a trouble, nothing but other troubles. A hold may yield
// another number.
func isToldTwice(told []toldOutcome, now toldOutcome) bool {
	for _, t := range slices.Backward(told) {
		if t.outcome == now.outcome && t.attempt == now.attempt && now.kind != notify.KindYielded {
			return true
		}
		if t.kind != notify.KindStuck || now.kind != notify.KindStuck {
			return false
		}
	}
	return false
}

// lastToldState returns the last message about the state of a hold; empty: there is none.
func (w *walker) lastToldState(uid string) (last notify.Kind) {
	for _, m := range w.told[uid] {
		if m.kind != notify.KindStarted && m.kind != notify.KindYielded && m.kind != notify.KindStuck && m.kind != notify.KindUnwatched {
			last = m.kind
		}
	}
	return last
}

// checkTold is called after a whole pass: the receivers have all messages, and the first one of each hold tells its
// start, and the last one its state.
func (w *walker) checkTold() {
	if w.wild {
		return
	}
	w.checkDelivered()
	there := map[string]bool{}
	for _, h := range w.holds {
		there[string(h.UID)] = true
		want := map[hold.State]notify.Kind{hold.Open: notify.KindUp, hold.RolledBack: notify.KindRolledBack}[h.Status.State]
		if told := w.told[string(h.UID)]; h.Status.State != "" && h.Status.State != hold.Released && (len(told) == 0 || told[0].kind != notify.KindStarted) {
			w.fail("hold %s is %s, and its start was not told first: %+v", h.Name, h.Status.State, told)
		}
		if last := w.lastToldState(string(h.UID)); want != "" && last != want && !h.IsOver(w.now) {
			w.fail("hold %s is %s, and the last message is %q", h.Name, h.Status.State, last)
		}
	}
	for uid := range w.told {
		if last := w.lastToldState(uid); !there[uid] && last != notify.KindEnded && last != notify.KindRolledBack {
			w.fail("hold %s has ended, and its last message is %q: %+v", uid, last, w.told[uid])
		}
	}
}

// checkDelivered is called while all receivers are up: they have all messages.
func (w *walker) checkDelivered() {
	for _, told := range w.told {
		for _, m := range told {
			for _, name := range m.notifiers {
				if !w.notifier.taken[name+" "+m.key] {
					w.fail("notifier %s was not told %s", name, m.key)
				}
			}
		}
	}
}
