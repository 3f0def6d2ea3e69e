// Random walks in a world that does more than people: autoscalers and workloads come and go, gates fail, and holds share gates.

package rollout

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

// wildWalker makes one walk in the wild.
type wildWalker struct {
	*walker

	number *memoryWatcher
}

// applyWild stores a hold on any gates, with or without a maximum.
func (w *wildWalker) applyWild() {
	name := []string{"shop", "cart"}[w.IntN(2)]
	h := hold.Hold{ID: fmt.Sprintf("wild-%d", w.IntN(4)), By: "walk", Replicas: int32(w.IntN(9) + 1), Lower: w.IntN(2) == 0, Notify: []string{"oncall"}}
	for _, g := range []string{"a", "b", "c"} {
		if w.IntN(2) == 0 {
			h.Gates = append(h.Gates, g)
		}
	}
	if w.IntN(3) == 0 {
		h.MaxReplicas = int32(w.IntN(8) + 13)
	}
	if w.IntN(3) > 0 {
		h.Until = w.now.Add(time.Duration(w.IntN(7200)) * time.Second)
	}
	if w.IntN(2) == 0 {
		h.Verify = &verify.Spec{URL: "/"}
	}
	_, err := w.engine.ApplyHold(w.t.Context(), memoryRef(name), h)
	w.note("apply %s on %s: %d replicas of %d, gates %v, until %s: %v", h.ID, name, h.Replicas, h.MaxReplicas, h.Gates, h.Until.Format("15:04:05"), err)
}

// changeAutoscaler deletes the autoscaler of cart, or makes one.
func (w *wildWalker) changeAutoscaler() {
	cart := w.workloads["cart"]
	delete(w.edits, "cart replicas")
	delete(w.edits, "cart minReplicas")
	if cart.hpa != nil {
		w.note("the autoscaler of cart goes")
		cart.hpa = nil
		return
	}
	bounds := hold.ReplicaBounds{MinReplicas: int32(w.IntN(3) + 1), MaxReplicas: int32(w.IntN(9) + 4)}
	if w.looksCopied(bounds.MinReplicas) {
		return
	}
	w.note("cart gets an autoscaler %v", bounds)
	if shop := w.workloads["shop"]; shop.hpa.scales == "cart" { // two would undo each other
		clear(w.edits)
		shop.retarget(w.memoryCluster, "")
	}
	cart.hpa = &memoryAutoscaler{version: w.nextVersion(), bounds: bounds, active: w.IntN(3) > 0, life: w.nextVersion()}
	w.keepBounds(cart)
}

// retargetAutoscaler points the autoscaler of shop at another workload, or at shop again.
func (w *wildWalker) retargetAutoscaler() {
	shop, to := w.workloads["shop"], ""
	if shop.hpa.scales == "" {
		to = []string{"elsewhere", "cart"}[w.IntN(2)]
	}
	if to == "cart" && (w.workloads["cart"].hpa != nil || w.looksCopied(shop.hpa.bounds.MinReplicas)) {
		to = "elsewhere"
	}
	clear(w.edits) // its holds state their numbers anew, and those of its new workload do
	w.note("the autoscaler of shop scales %q", to)
	shop.retarget(w.memoryCluster, to)
}

// changeWorkload deletes shop, brings it back, or replaces it at once: its holds begin anew, and state their numbers anew.
func (w *wildWalker) changeWorkload() {
	shop := w.workloads["shop"]
	for _, field := range []string{fieldReplicas, fieldMinReplicas, fieldMaxReplicas} {
		delete(w.edits, "shop "+field)
	}
	if !shop.gone && w.IntN(2) == 0 {
		w.note("shop goes")
		shop.gone = true
		return
	}
	w.note("shop is another workload")
	shop.replace(w.memoryCluster, int32(w.IntN(5)+1))
}

// editMaximum makes a person's change of shop's maximum.
func (w *wildWalker) editMaximum() {
	shop := w.workloads["shop"]
	if shop.hpa.scales != "" {
		return
	}
	value := int32(w.IntN(3) + 10)
	e := &edit{value: value, holds: map[string]string{}}
	recorded := false
	for name, h := range w.holds {
		if h.HeldWorkload().Name != "shop" {
			continue
		}
		if h.Status.State.IsActive() || !h.Status.RetryAt.IsZero() {
			e.holds[name] = holdKey(h)
		}
		if n := h.Status.Numbers; n != nil {
			recorded = true
			if c := n.MaxReplicas; value == c.Set || c.From != nil && value == *c.From {
				return // it cannot be told from the scaler's own
			}
		}
		if h.Status.ObservedGeneration != h.Generation || h.Status.State == "" {
			return // set before the hold began: the hold states its number anew
		}
	}
	if value == shop.hpa.bounds.MaxReplicas || value < shop.hpa.bounds.MinReplicas {
		return
	}
	if !recorded {
		e = nil
		w.checkBounds()
	}
	w.note("person sets shop maxReplicas to %d", value)
	shop.setBounds(w.memoryCluster, hold.ReplicaBounds{MinReplicas: shop.hpa.bounds.MinReplicas, MaxReplicas: value})
	w.edits["shop maxReplicas"], w.was["shop maxReplicas"], w.last["shop"] = e, value, fieldMaxReplicas
	if low := w.edits["shop minReplicas"]; low != nil && low.value > value {
		delete(w.edits, "shop minReplicas")
	}
}

// pickHold returns a copy of any hold; nil if there is none, or if it is being deleted.
func (w *wildWalker) pickHold() *hold.Object {
	names := slices.Sorted(maps.Keys(w.holds))
	if len(names) == 0 {
		return nil
	}
	h := w.holds[names[w.IntN(len(names))]].DeepCopy()
	if h.DeletionTimestamp != nil {
		return nil
	}
	return h
}

// editHold makes a person's change of a hold.
func (w *wildWalker) editHold() {
	h := w.pickHold()
	if h == nil {
		return
	}
	h.Spec.Replicas, h.Spec.MaxReplicas = int32(w.IntN(9)+1), 0
	_, err := w.UpdateHold(w.t.Context(), h)
	w.note("person sets %s to %d replicas: %v", h.Name, h.Spec.Replicas, err)
}

// changeHold makes a person pause, resume, prolong or shorten a hold.
func (w *wildWalker) changeHold() {
	h := w.pickHold()
	if h == nil {
		return
	}
	later := metav1.NewTime(w.now.Add(time.Duration(w.IntN(7200)-600) * time.Second).Truncate(time.Second))
	h.Spec.Paused, h.Spec.PausedUntil = false, nil
	for _, e := range w.edits {
		if e != nil {
			delete(e.holds, h.Name) // resumed, it states its number anew
		}
	}
	switch w.IntN(4) {
	case 0:
		h.Spec.Paused = true
	case 1:
		h.Spec.Paused, h.Spec.PausedUntil = true, &later
	case 2:
		h.Spec.Until = &later
	}
	_, err := w.UpdateHold(w.t.Context(), h)
	w.note("person sets %s to paused %v until %v, until %v: %v", h.Name, h.Spec.Paused, h.Spec.PausedUntil, h.Spec.Until, err)
}

// applySchedule stores the hold of one of two schedules, with windows of two hours and of 90 minutes, which are edited at any time.
func (w *wildWalker) applySchedule() {
	id, window := "schedule/hours", 2*time.Hour
	if w.IntN(3) == 0 {
		id, window = "schedule/peaks", 90*time.Minute
	}
	name, start := []string{"shop", "cart"}[w.IntN(2)], w.now.Truncate(window)
	h := hold.Hold{
		ID: id, By: "walk", Reason: []string{"day", "office"}[w.IntN(2)], Replicas: int32(w.IntN(9) + 1), Lower: true, WindowStart: start,
		Until: start.Add(window + time.Duration(w.IntN(60))*time.Minute), Notify: []string{"oncall"},
	}
	if w.IntN(3) == 0 {
		h.MaxReplicas = int32(w.IntN(8) + 13)
	}
	_, err := w.engine.ApplyHold(w.t.Context(), memoryRef(name), h)
	w.note("%s, %s, on %s: %d replicas of %d, from %s until %s: %v", id, h.Reason, name, h.Replicas, h.MaxReplicas, start.Format("15:04:05"), h.Until.Format("15:04:05"), err)
}

// editField makes a person's change of one field of a hold other than its numbers.
func (w *wildWalker) editField() {
	h := w.pickHold()
	if h == nil {
		return
	}
	field := []string{"notify", "within", "reason", "verify", "group", "lower"}[w.IntN(6)]
	switch field {
	case "notify":
		h.Spec.Notify = [][]string{nil, {"oncall"}, {"oncall", "team"}}[w.IntN(3)]
	case "within":
		h.Spec.Within.Duration = time.Duration(w.IntN(30)) * time.Minute
	case "reason":
		h.Spec.Reason = fmt.Sprint(w.IntN(9))
	case "verify":
		h.Spec.Verify = []*verify.Spec{nil, {URL: "/"}}[w.IntN(2)]
	case "group":
		h.Spec.Group = []*hold.GroupReference{nil, {Name: "both", Size: 2}}[w.IntN(2)]
	case "lower":
		h.Spec.Lower = !h.Spec.Lower
	}
	_, err := w.UpdateHold(w.t.Context(), h)
	w.note("person edits %s of %s: %v", field, h.Name, err)
}

// applyFromGit makes a hold as kubectl apply does: with few fields, no label and no finalizer.
func (w *wildWalker) applyFromGit() {
	name := []string{"shop", "cart"}[w.IntN(2)]
	h := hold.Hold{ID: fmt.Sprintf("git-%d", w.IntN(2)), Replicas: int32(w.IntN(9)), Lower: w.IntN(2) == 0}
	if w.IntN(2) == 0 {
		h.Until = w.now.Add(time.Duration(w.IntN(7200)-600) * time.Second)
	}
	if w.IntN(3) == 0 {
		h.Gates = []string{"a"}
	}
	o := hold.NewObject(memoryRef(name), h, "")
	o.Labels, o.Finalizers, o.Spec.ID = nil, nil, ""
	_, err := w.CreateHold(w.t.Context(), o)
	w.note("Git makes %s on %s: %d replicas, lower %v, until %s, gates %v: %v", o.Name, name, h.Replicas, h.Lower, h.Until.Format("15:04:05"), h.Gates, err)
}

// failPass passes once while the cluster answers with an error.
func (w *wildWalker) failPass(note string, answer *error, err error) {
	w.note("%s", note)
	*answer = err
	_ = w.pass(w.t.Context())
	*answer = nil
}

// hidePodsOnce takes the right to list pods away for a pass.
func (w *wildWalker) hidePodsOnce() {
	w.failPass("the pods cannot be read", &w.hidePods, apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "", errors.New("no role")))
}

// failScaleForLong has the reads of a workload fail until that is its trouble.
func (w *wildWalker) failScaleForLong() {
	name := []string{"shop", "cart"}[w.IntN(2)]
	w.note("%s cannot be read for a minute", name)
	w.failScale = map[string]error{name: apierrors.NewInternalError(errors.New("a webhook is away"))}
	_ = w.pass(w.t.Context())
	w.now = w.now.Add(lastingFaultAfter)
	_ = w.pass(w.t.Context())
	w.failScale = nil
}

// addAutoscalerOnce points a second autoscaler at shop for a pass.
func (w *wildWalker) addAutoscalerOnce() {
	w.note("two autoscalers scale shop")
	w.addWorkload("other", 1, hold.ReplicaBounds{MinReplicas: 1, MaxReplicas: 5}).hpa.scales = "shop"
	_ = w.pass(w.t.Context())
	delete(w.workloads, "other")
}

// drainPods replaces the first pods of a workload.
func (w *wildWalker) drainPods() {
	work := w.workloads[[]string{"shop", "cart"}[w.IntN(2)]]
	pods := w.IntN(3) + 1
	w.note("%d pods of %s are replaced", pods, work.name)
	work.drain(w.memoryCluster, pods)
}

// approveHold makes a person approve a hold.
func (w *wildWalker) approveHold() {
	if h := w.pickHold(); h != nil {
		h.Spec.Approved = true
		_, err := w.UpdateHold(w.t.Context(), h)
		w.note("person approves %s: %v", h.Name, err)
	}
}

// moveGate makes a configuration that has any of the gates for another namespace, or none of them.
func (w *wildWalker) moveGate() {
	w.gates.moved = []string{"", "a", "b", "c"}[w.IntN(4)]
	w.note("gate %q is for another namespace", w.gates.moved)
	w.restart()
}

// takeOverAutoscaler makes KEDA the owner of shop's autoscaler, or ends that: its holds state their numbers anew.
func (w *wildWalker) takeOverAutoscaler() {
	shop := w.workloads["shop"]
	if shop.hpa.scales != "" {
		return
	}
	if shop.hpa.scaledObject == "" {
		shop.hpa.scaledObject = "orders"
	} else {
		shop.hpa.scaledObject = ""
	}
	shop.hpa.version = w.nextVersion()
	for _, field := range []string{fieldReplicas, fieldMinReplicas, fieldMaxReplicas} {
		delete(w.edits, "shop "+field)
	}
	w.note("the autoscaler of shop belongs to %q", shop.hpa.scaledObject)
}

// disturb makes one random event.
func (w *wildWalker) disturb() {
	w.now = w.now.Add(2 * time.Second)
	switch w.IntN(33) {
	case 32:
		w.failScaleForLong()
	case 30, 31:
		w.pauseWorkloads()
	case 29:
		w.denyStatuses()
	case 23, 24:
		w.applySchedule()
	case 25:
		w.editField()
	case 26:
		w.applyFromGit()
	case 27:
		w.hidePodsOnce()
	case 28:
		w.addAutoscalerOnce()
	case 22:
		w.takeOverAutoscaler()
	case 18, 19:
		w.approveHold()
	case 20:
		w.moveGate()
	case 21:
		w.number.value = float64(w.IntN(2))
		w.note("the number that watches gate a is %v", w.number.value)
	case 14:
		w.changeHold()
	case 15:
		w.denyNumbers()
	case 16:
		w.drainPods()
	case 17:
		w.notifier.down = w.IntN(2) == 0
		w.note("the receiver is down: %v", w.notifier.down)
	case 0, 1:
		w.applyWild()
	case 13:
		jump := []time.Duration{-time.Hour, -time.Minute, 24 * time.Hour}[w.IntN(3)]
		w.now = w.now.Add(jump)
		w.note("the clock jumps by %s", jump)
		clear(w.edits) // a window may start after the number was set, by this clock
	case 12:
		w.retargetAutoscaler()
	case 2:
		w.changeAutoscaler()
	case 3:
		w.changeWorkload()
	case 4:
		w.editMaximum()
	case 5:
		w.editHold()
	case 6:
		w.gates.fail = nil
		if w.IntN(2) == 0 {
			w.gates.fail = errors.New("away")
		}
		w.note("gates fail with %v", w.gates.fail)
	case 7:
		w.away = true
		_ = w.pass(w.t.Context())
		w.away = false
	default:
		w.step()
		return
	}
	for _, work := range w.workloads {
		work.follow(w.memoryCluster)
	}
	if err := w.pass(w.t.Context()); err != nil {
		w.fail("pass: %v", err)
	}
	w.checkGates()
	w.checkMaximums()
	w.checkBounds()
	w.checkOpenHolds()
}

// checkOpenHolds is called after a whole pass: the gates of an open hold are open to the full.
func (w *wildWalker) checkOpenHolds() {
	if w.gates.fail != nil {
		return
	}
	for _, h := range w.holds {
		if h.Status.State != hold.Open || h.IsOver(w.now) || len(h.Spec.Gates) == 0 {
			continue
		}
		if h.Spec.Group != nil {
			if !h.Status.GateOpen && w.isGroupOpen(h.Spec.Group) {
				w.fail("all holds of group %s are open, and the gates of %s are shut", h.Spec.Group.Name, h.Name)
			}
			continue
		}
		if !h.Status.GateOpen {
			w.fail("hold %s is open, and its gates are shut", h.Name)
		}
		for _, g := range h.Spec.Gates {
			if !w.gates.open[g] || w.gates.places[g] != "100" {
				w.fail("hold %s is open, and its gate %s is open %v at %s", h.Name, g, w.gates.open[g], w.gates.places[g])
			}
		}
	}
}

// isGroupOpen reports whether all holds of a group are there, open, and last.
func (w *wildWalker) isGroupOpen(g *hold.GroupReference) bool {
	members := 0
	for _, m := range w.holds {
		if m.Spec.Group == nil || m.Spec.Group.Name != g.Name {
			continue
		}
		if members++; m.Status.State != hold.Open || m.IsOver(w.now) {
			return false
		}
	}
	return members >= g.Size
}

// TestWildWalks asserts the invariants of TestWalks in the wild, and that a gate is open to the full for as long as one open hold has it.
func TestWildWalks(t *testing.T) {
	t.Parallel()
	for i := range max(*walks/20, 1) {
		seed := *walkSeed + uint64(i)
		w := &wildWalker{newWalker(t, seed, 2), &memoryWatcher{}}
		w.wild = true
		if seed%2 == 0 {
			w.readLive()
		}
		w.gates.plans = map[string]action.Plan{
			"a": {After: &action.Watch{For: 10 * time.Minute, Breach: 30 * time.Second, Max: 0.5, Metric: "errors"}},
			"b": {Approval: true}, "c": {Steps: []int{10, 50, 100}, Pause: time.Minute},
		}
		w.engine.Watcher = w.number
		w.addOldWorkload("cart", 2, hold.ReplicaBounds{})
		w.addOldWorkload("shop", 3, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 12})
		w.was["shop minReplicas"], w.was["shop maxReplicas"] = 2, 12
		w.onSet, w.onStatus = w.checkSet, w.checkBegin
		for range 60 {
			w.disturb()
		}
		w.gates.fail, w.notifier.down = nil, false
		w.restart() // what waited for the receiver is posted again
		if shop := w.workloads["shop"]; shop.gone {
			shop.replace(w.memoryCluster, 3)
		}
		cart := w.workloads["cart"]
		if cart.hpa == nil { // its replicas were an autoscaler's in between
			delete(w.edits, "cart replicas")
		}
		w.end()
	}
}

// copyWorkload deletes cart, which has no autoscaler, and makes it again from its copy, with or without a pass in between.
func (w *walker) copyWorkload() {
	cart := w.workloads["cart"]
	if err := w.pass(w.t.Context()); err != nil { // what ended before is given back
		w.fail("pass: %v", err)
	}
	delete(w.edits, "cart replicas") // its holds begin anew
	if cart.gone = w.IntN(2) == 0; cart.gone {
		_ = w.pass(w.t.Context())
	}
	w.note("cart is made again from its copy with %d replicas, after a pass: %v", cart.replicas, cart.gone)
	cart.replace(w.memoryCluster, cart.replicas)
	if err := w.pass(w.t.Context()); err != nil {
		w.fail("pass: %v", err)
	}
	w.checkGates()
}

// TestCopyWalks asserts the invariants of TestWalks, with a workload that is made again from its copy at any time: what was there before its holds comes back.
func TestCopyWalks(t *testing.T) {
	t.Parallel()
	for i := range max(*walks/20, 1) {
		seed := *walkSeed + uint64(i)
		w := newWalker(t, seed, 3)
		w.addOldWorkload("cart", 2, hold.ReplicaBounds{})
		w.addOldWorkload("shop", 3, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 12})
		w.was["cart replicas"], w.was["shop minReplicas"], w.was["shop maxReplicas"] = 2, 2, 12
		w.onSet, w.onStatus = w.checkSet, w.noteStatus
		for range 40 {
			if w.step(); w.IntN(6) == 0 {
				w.copyWorkload()
			}
		}
		w.end()
	}
}
