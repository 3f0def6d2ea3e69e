package rollout

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

// wantPersonsNumber releases the schedule's hold, after which the workload has the number that a person set.
func (b *bench) wantPersonsNumber(t *testing.T, w *memoryWorkload, want int32) {
	t.Helper()
	b.release(t, "shop", "schedule/hours")
	b.mustPass(t)
	if got := shopNumber(w); got != want {
		t.Errorf("released: %d; want the person's %d", got, want)
	}
}

// shopNumber returns the number of a workload that a hold sets.
func shopNumber(w *memoryWorkload) int32 {
	if w.hpa != nil {
		return w.hpa.bounds.MinReplicas
	}
	return w.replicas
}

// setByPerson sets that number, as a person does.
func (b *bench) setByPerson(w *memoryWorkload, n int32) {
	if w.hpa != nil {
		w.setBounds(b.memoryCluster, hold.ReplicaBounds{MinReplicas: n, MaxReplicas: w.hpa.bounds.MaxReplicas})
		return
	}
	w.scale(b.memoryCluster, n)
}

// TestD5ScheduleEditedInItsWindow: a person's number stays until the end of the window in which it was set, whatever changes in the schedule meanwhile. A
// window that starts later states its number anew.
func TestD5ScheduleEditedInItsWindow(t *testing.T) {
	t.Parallel()
	day := benchStart.Add(-time.Hour)
	for name, c := range map[string]struct {
		edit func(h *hold.Hold)
		want int32
	}{
		"its end comes later":                       {func(h *hold.Hold) { h.Until = h.Until.Add(time.Hour) }, 3},
		"its end comes earlier":                     {func(h *hold.Hold) { h.Until = h.Until.Add(-time.Hour) }, 3},
		"another zone":                              {func(h *hold.Hold) { h.Until, h.WindowStart = h.Until.Add(-time.Hour), day.Add(-time.Hour) }, 3},
		"a zone in which it starts now":             {func(h *hold.Hold) { h.WindowStart = benchStart.Add(2 * time.Hour) }, 8},
		"another name":                              {func(h *hold.Hold) { h.Reason = "office" }, 3},
		"more replicas and a later end":             {func(h *hold.Hold) { h.Replicas, h.Until = 12, h.Until.Add(time.Hour) }, 3},
		"fewer replicas and a later end":            {func(h *hold.Hold) { h.Replicas, h.Until = 2, h.Until.Add(time.Hour) }, 3},
		"a verification":                            {func(h *hold.Hold) { h.Verify = &verify.Spec{URL: "/"} }, 3},
		"a maximum":                                 {func(h *hold.Hold) { h.MaxReplicas, h.Until = 40, h.Until.Add(time.Minute) }, 3},
		"notifiers":                                 {func(h *hold.Hold) { h.Notify = []string{"team"} }, 3},
		"a higher window starts, with the same end": {func(h *hold.Hold) { h.Reason, h.Replicas, h.WindowStart = "peak", 12, benchStart.Add(2*time.Hour) }, 12},
		"it goes on over a holiday":                 {func(h *hold.Hold) { h.Until = h.Until.Add(24 * time.Hour) }, 3},
		"the next day's window starts": {func(h *hold.Hold) {
			h.WindowStart, h.Until = day.Add(24*time.Hour), h.Until.Add(24*time.Hour)
		}, 8},
	} {
		for kind, bounds := range autoscaledAndPlain {
			t.Run(name+", "+kind, func(t *testing.T) {
				t.Parallel()
				b := newBench()
				w := b.addWorkload("shop", 2, bounds)
				h := nightHold(8)
				h.Reason, h.WindowStart = "day", day
				b.apply(t, "shop", h)
				b.mustPass(t)
				w.ready = w.replicas
				b.mustPass(t)
				b.now = b.now.Add(time.Hour)
				b.setByPerson(w, 3)
				b.mustPass(t)
				b.now = b.now.Add(time.Hour)
				c.edit(&h)
				b.applyAgain(t, w, h)
				if got := shopNumber(w); got != c.want {
					t.Errorf("%d; want %d: %+v", got, c.want, b.find("shop", "schedule/hours").Status)
				}
				b.wantPersonsNumber(t, w, 3)
			})
		}
	}
}

// applyAgain applies an edited hold of shop twice, each time to a new process.
func (b *bench) applyAgain(t *testing.T, w *memoryWorkload, h hold.Hold) {
	t.Helper()
	for range 2 {
		b.apply(t, "shop", h)
		b.restart()
		b.mustPass(t)
		w.ready = w.replicas
	}
}

// TestD5NumberSetTwice: of two numbers in one window, the time of the last one counts: a start of the window that an edit moves between them leaves it.
func TestD5NumberSetTwice(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		start time.Duration
		want  int32
	}{"between the numbers": {2 * time.Hour, 4}, "before both": {30 * time.Minute, 4}, "after both": {4 * time.Hour, 8}} {
		for kind, bounds := range autoscaledAndPlain {
			t.Run(name+", "+kind, func(t *testing.T) {
				t.Parallel()
				b := newBench()
				w := b.addWorkload("shop", 2, bounds)
				h := nightHold(8)
				h.WindowStart, h.Notify = benchStart.Add(-time.Hour), []string{"oncall"}
				b.apply(t, "shop", h)
				b.mustPass(t)
				w.ready = w.replicas
				b.mustPass(t)
				for i, n := range []int32{3, 4} {
					b.now = benchStart.Add(time.Duration(2*i+1) * time.Hour)
					b.setByPerson(w, n)
					b.mustPass(t)
					if c := findHoldCondition(b.find("shop", h.ID), conditionYielded); !strings.Contains(c.Message, fmt.Sprint(" ", n)) || !c.LastTransitionTime.Time.Equal(b.now) {
						t.Errorf("after %d: %+v", n, c)
					}
				}
				b.wantTold(t, h.ID, "Up", "Yielded")
				b.now = benchStart.Add(5 * time.Hour)
				h.WindowStart = benchStart.Add(c.start)
				b.applyAgain(t, w, h)
				if got := shopNumber(w); got != c.want {
					t.Errorf("%d; want %d: %+v", got, c.want, b.find("shop", h.ID).Status)
				}
			})
		}
	}
}

// TestD5WindowInAWindow: a person's number goes with the window in which it was set, also if a window around it, which began before, goes on.
func TestD5WindowInAWindow(t *testing.T) {
	t.Parallel()
	for kind, bounds := range autoscaledAndPlain {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			b := newBench()
			w := b.addWorkload("shop", 2, bounds)
			day, peak := nightHold(8), nightHold(12)
			day.Reason, day.WindowStart = "day", benchStart.Add(-time.Hour)
			peak.Reason, peak.WindowStart, peak.Until = "peak", benchStart, benchStart.Add(2*time.Hour+hold.WindowOverlap)
			b.apply(t, "shop", peak)
			b.mustPass(t)
			b.now = b.now.Add(time.Hour)
			b.setByPerson(w, 6)
			b.mustPass(t)
			peak.Until = peak.Until.Add(30 * time.Minute) // by an edit
			b.apply(t, "shop", peak)
			b.mustPass(t)
			b.now = b.now.Add(80 * time.Minute)
			peak.Replicas = 14
			b.apply(t, "shop", peak)
			b.mustPass(t)
			if got := shopNumber(w); got != 6 {
				t.Errorf("in the peak: %d; want the person's 6", got)
			}
			b.now = b.now.Add(10 * time.Minute)
			b.apply(t, "shop", day)
			b.mustPass(t)
			if got := shopNumber(w); got != 8 {
				t.Errorf("after the peak: %d; want 8", got)
			}
		})
	}
}

// TestD5HigherNumberInAWindow: a window inside the one in which a person set a number may raise above it, and takes nothing of it back.
func TestD5HigherNumberInAWindow(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ peak, inPeak, after int32 }{
		"a lower peak":  {12, 16, 16},
		"a higher peak": {20, 20, 16},
	} {
		for kind, bounds := range autoscaledAndPlain {
			t.Run(name+", "+kind, func(t *testing.T) {
				t.Parallel()
				b := newBench()
				w := b.addWorkload("shop", 2, bounds)
				day, peak := nightHold(8), nightHold(c.peak)
				day.Reason, day.WindowStart = "day", benchStart.Add(-time.Hour)
				peak.Reason, peak.WindowStart, peak.Until = "peak", benchStart.Add(2*time.Hour), benchStart.Add(4*time.Hour+hold.WindowOverlap)
				b.apply(t, "shop", day)
				b.mustPass(t)
				w.ready = w.replicas
				b.mustPass(t)
				b.now = b.now.Add(time.Hour)
				b.setByPerson(w, 16)
				b.mustPass(t)
				for i, h := range []struct {
					hold hold.Hold
					want int32
				}{{peak, c.inPeak}, {peak, c.inPeak}, {day, c.after}} {
					b.now = b.now.Add(time.Hour)
					h.hold.Notify = []string{"oncall", "team"}[:i%2+1] // an edit
					b.apply(t, "shop", h.hold)
					b.restart()
					b.mustPass(t)
					w.ready = w.replicas
					if got := shopNumber(w); got != h.want {
						t.Errorf("%s in %s: %d; want %d: %+v", b.now.Format("15:04"), h.hold.Reason, got, h.want, b.find("shop", "schedule/hours").Status)
					}
				}
				b.wantPersonsNumber(t, w, 16)
			})
		}
	}
}

// TestD5WindowGoesOn: a window that goes on over a holiday, from the moment of its end, leaves the person's number.
func TestD5WindowGoesOn(t *testing.T) {
	t.Parallel()
	b := newBench()
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 30})
	night := nightHold(4)
	night.Reason, night.WindowStart, night.Until = "night", benchStart, benchStart.Add(10*time.Hour+hold.WindowOverlap)
	b.apply(t, "shop", night)
	b.mustPass(t)
	b.now = b.now.Add(5 * time.Hour)
	b.setByPerson(w, 6)
	b.mustPass(t)
	for range 3 {
		b.now = b.now.Add(5 * time.Hour)
		night.Until = b.now.Add(14*time.Hour + hold.WindowOverlap)
		b.apply(t, "shop", night)
		b.mustPass(t)
		if got := shopNumber(w); got != 6 {
			t.Fatalf("%d; want the person's 6", got)
		}
	}
}

// TestD5HoldEditedAfterAYield: an edit of an open Hold that asks for no other numbers leaves a person's number. Another number, or another end, is another
// request.
func TestD5HoldEditedAfterAYield(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		edit func(s *hold.Spec)
		want int32
	}{
		"notifiers":      {func(s *hold.Spec) { s.Notify = []string{"oncall", "team"} }, 6},
		"no notifiers":   {func(s *hold.Spec) { s.Notify = nil }, 6},
		"reason":         {func(s *hold.Spec) { s.Reason, s.By = "launch", "alice" }, 6},
		"within":         {func(s *hold.Spec) { s.Within.Duration = time.Hour }, 6},
		"verification":   {func(s *hold.Spec) { s.Verify = &verify.Spec{URL: "/other"} }, 6},
		"approval":       {func(s *hold.Spec) { s.Approved = true }, 6},
		"more replicas":  {func(s *hold.Spec) { s.Replicas = 21 }, 21},
		"fewer replicas": {func(s *hold.Spec) { s.Replicas = 19 }, 19},
		"another end":    {func(s *hold.Spec) { s.Until = &metav1.Time{Time: benchStart.Add(9 * time.Hour)} }, 20},
		"no end":         {func(s *hold.Spec) { s.Until = nil }, 20},
	} {
		for kind, bounds := range autoscaledAndPlain {
			t.Run(name+", "+kind, func(t *testing.T) {
				t.Parallel()
				b := newBench()
				w := b.addWorkload("shop", 2, bounds)
				h := saleHold()
				h.ID, h.Gates = "git", nil
				b.apply(t, "shop", h)
				b.mustPass(t)
				w.ready = 20
				b.mustPass(t)
				b.setByPerson(w, 6)
				b.mustPass(t)
				o := b.find("shop", "git").DeepCopy()
				c.edit(&o.Spec)
				if _, err := b.UpdateHold(t.Context(), o); err != nil {
					t.Fatal(err)
				}
				b.restart()
				b.mustPass(t)
				if got := shopNumber(w); got != c.want {
					t.Errorf("%d; want %d: %+v", got, c.want, b.find("shop", "git").Status)
				}
				if yielded := isHoldYielded(b.find("shop", "git")); yielded != (c.want == 6) {
					t.Errorf("yielded %v: %+v", yielded, b.find("shop", "git").Status)
				}
			})
		}
	}
}

// TestD7PodsCannotBeRead: a missing right to pods, or the selector of a custom resource that is none, fails the holds that wait for pods, and tells so. The
// numbers come back, and the next try finds the pods.
func TestD7PodsCannotBeRead(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{
		"right":    apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", errors.New("no role")),
		"selector": apierrors.NewBadRequest(`unable to parse requirement: found '{', expected: ')'`),
	} {
		for kind, bounds := range autoscaledAndPlain {
			t.Run(name+", "+kind, func(t *testing.T) {
				t.Parallel()
				b := newBench()
				shop, cart := b.addWorkload("shop", 2, bounds), b.addWorkload("cart", 2, hold.ReplicaBounds{})
				b.hidePods = err
				b.readLive()
				h := saleHold()
				h.Group, h.GroupSize = "event/sale", 2
				b.apply(t, "shop", h)
				b.apply(t, "cart", h)
				b.mustPass(t)
				wantState(t, b.find("shop", "event/sale"), hold.Scaled, "")
				if shop.replicas != 20 || cart.replicas != 20 {
					t.Fatalf("%d and %d replicas", shop.replicas, cart.replicas)
				}
				b.now = b.now.Add(hold.DefaultWithin)
				b.mustPass(t)
				wantState(t, b.find("shop", "event/sale"), hold.RolledBack, "cannot be read")
				b.wantTold(t, "event/sale", "RolledBack")
				if shopNumber(shop) != 2 || cart.replicas != 2 || b.gates.open["sale"] {
					t.Fatalf("%+v, %+v, gate %v", shop, cart, b.gates.open)
				}
				b.hidePods = nil
				b.now = b.now.Add(firstRetryPause)
				b.mustPass(t)
				shop.ready, cart.ready = 20, 20
				b.mustPass(t)
				wantState(t, b.find("shop", "event/sale"), hold.Open, "")
				if !b.gates.open["sale"] {
					t.Error("the gate is shut")
				}
			})
		}
	}
}

// TestD12TroubleOfAFastClock: what began under a clock that was a day ahead is told in its time after the clock is right again.
func TestD12TroubleOfAFastClock(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(b *bench){
		"gate": func(b *bench) {
			b.gates.fail = errors.New("away")
			b.find("shop", "event/sale").Spec.Until = &metav1.Time{Time: benchStart}
		},
		"workload": func(b *bench) {
			b.deny = nil
			b.workloads["shop"].hpa = &memoryAutoscaler{version: b.nextVersion(), bounds: hold.ReplicaBounds{MinReplicas: 1, MaxReplicas: 30}, active: true, scales: "shop"}
			b.addWorkload("other", 2, hold.ReplicaBounds{MinReplicas: 1, MaxReplicas: 30}).hpa.scales = "shop"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, _ := newOpenSale(t)
			b.find("shop", "event/sale").Spec.Until = &metav1.Time{Time: benchStart.Add(72 * time.Hour)}
			b.now = b.now.Add(24 * time.Hour)
			begin(b)
			_ = b.pass(t.Context())
			b.now = b.now.Add(-24 * time.Hour)
			_ = b.pass(t.Context())
			b.wantTold(t, "event/sale", "Up")
			b.now = b.now.Add(hold.DefaultWithin)
			_ = b.pass(t.Context())
			b.wantTold(t, "event/sale", "Up", "Stuck")
		})
	}
}

// TestOpenHoldEdited: an edit of one field of an open Hold moves what it names, and nothing else.
func TestOpenHoldEdited(t *testing.T) {
	t.Parallel()
	at := func(d time.Duration) *metav1.Time { return &metav1.Time{Time: benchStart.Add(d)} }
	for name, c := range map[string]struct {
		edit     func(s *hold.Spec)
		state    hold.State
		replicas int32
		open     bool
		told     string
	}{
		"nothing":            {func(*hold.Spec) {}, hold.Open, 20, true, "Up"},
		"notify":             {func(s *hold.Spec) { s.Notify = nil }, hold.Open, 20, true, "Up"},
		"within":             {func(s *hold.Spec) { s.Within.Duration = time.Hour }, hold.Open, 20, true, "Up"},
		"no verification":    {func(s *hold.Spec) { s.Verify = nil }, hold.Open, 20, true, "Up"},
		"lower":              {func(s *hold.Spec) { s.Lower = true }, hold.Open, 20, true, "Up"},
		"minReplicas":        {func(s *hold.Spec) { s.MinReplicas = 3 }, hold.Open, 20, true, "Up"},
		"maxReplicas":        {func(s *hold.Spec) { s.MaxReplicas = 40 }, hold.Open, 20, true, "Up"},
		"a later end":        {func(s *hold.Spec) { s.Until = at(9 * time.Hour) }, hold.Open, 20, true, "Up"},
		"no end":             {func(s *hold.Spec) { s.Until = nil }, hold.Open, 20, true, "Up"},
		"an end in the past": {func(s *hold.Spec) { s.Until = at(-time.Hour) }, hold.Released, 2, false, "Up Ended"},
		"fewer":              {func(s *hold.Spec) { s.Replicas = 10 }, hold.Open, 10, true, "Up"},
		"below the present":  {func(s *hold.Spec) { s.Replicas = 1 }, hold.Open, 2, true, "Up"},
		"zero":               {func(s *hold.Spec) { s.Replicas = 0 }, hold.Open, 2, true, "Up"},
		"zero, lower":        {func(s *hold.Spec) { s.Replicas, s.Lower = 0, true }, hold.Open, 0, true, "Up"},
		"more":               {func(s *hold.Spec) { s.Replicas = 30 }, hold.Scaled, 30, true, "Up"},
		"a group of two":     {func(s *hold.Spec) { s.Group = &hold.GroupReference{Name: "g", Size: 2} }, hold.Open, 20, false, "Up"},
		"pause":              {func(s *hold.Spec) { s.Paused = true }, hold.Released, 2, false, "Up Paused"},
		"pause in the past":  {func(s *hold.Spec) { s.Paused, s.PausedUntil = true, at(-time.Minute) }, hold.Open, 20, true, "Up"},
		"pause, then more":   {func(s *hold.Spec) { s.Paused, s.Replicas = true, 40 }, hold.Released, 2, false, "Up Paused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, w := newOpenSale(t)
			o := b.find("shop", "event/sale")
			o.Labels = nil // of a person: it stays after its end
			o = o.DeepCopy()
			c.edit(&o.Spec)
			if _, err := b.UpdateHold(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				b.mustPass(t)
				b.restart()
			}
			wantState(t, b.find("shop", "event/sale"), c.state, "")
			if w.replicas != c.replicas || b.gates.open["sale"] != c.open {
				t.Errorf("%d replicas, gate %v; want %d, %v", w.replicas, b.gates.open["sale"], c.replicas, c.open)
			}
			b.wantTold(t, "event/sale", strings.Fields(c.told)...)
		})
	}
}
