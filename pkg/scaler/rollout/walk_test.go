// Random walks over events, people's edits, moves of the autoscaler, kills and time, with the invariants of holds.

package rollout

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

var (
	walks    = flag.Int("walks", 2000, "number of random walks")
	walkSeed = flag.Uint64("walk-seed", 1, "seed of the first random walk")
)

// walker makes one walk, and keeps what the invariants need to know.
type walker struct {
	*bench
	*rand.Rand
	t     *testing.T
	log   []string
	edits map[string]*edit  // the last edit of a number by a person, by workload and field
	was   map[string]int32  // the number that must come back, by workload and field
	last  map[string]string // the bound that a person edited last, by workload: it displaces the other

	told  map[string][]toldOutcome // messages, by the hold's UID
	truth *gateTruth

	wild bool // autoscalers come and go, and receivers: the replicas may be an autoscaler's, and messages wait
}

// edit is a person's number, with the holds of that moment and their generations.
type edit struct {
	value int32
	holds map[string]string // UID and generation, by name
}

// newWalker returns a walker with a seed and the number of its test.
func newWalker(t *testing.T, seed, test uint64) *walker {
	w := &walker{
		bench: newBench(), Rand: rand.New(rand.NewPCG(seed, test)), t: t,
		edits: map[string]*edit{}, was: map[string]int32{}, last: map[string]string{}, told: map[string][]toldOutcome{},
	}
	w.cache.trustsVersions = true
	w.note("seed %d", seed)
	w.judgeGates()
	return w
}

// judgeGates makes the world judge each opening of a gate.
func (w *walker) judgeGates() {
	w.truth = newGateTruth(w.memoryCluster)
	w.verifier = &truthChecker{w.checker, w.truth, w.bench}
	w.gates.onOpen, w.gates.onShut = w.checkOpen, func(gate string) {
		w.note("gate %s is shut", gate)
		delete(w.truth.opened, gate)
	}
	w.restart()
}

// addOldWorkload adds a workload whose pods are an hour old.
func (w *walker) addOldWorkload(name string, replicas int32, bounds hold.ReplicaBounds) {
	work := w.addWorkload(name, replicas, bounds)
	for i := range work.pods {
		work.pods[i].birth, work.pods[i].readyAt = w.now.Add(-time.Hour), w.now.Add(-time.Hour)
	}
}

// noteStatus is called after each write of a status.
func (w *walker) noteStatus(before, after *hold.Object) {
	w.truth.noteBegin(before, after)
	w.noteMessages(before, after)
}

func (w *walker) note(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("%s ", w.now.Format("15:04:05"))+fmt.Sprintf(format, args...))
}

func (w *walker) fail(format string, args ...any) {
	w.t.Helper()
	for _, line := range w.log {
		w.t.Log(line)
	}
	for _, h := range w.holds {
		w.t.Logf("%s %+v %+v", h.Name, h.Spec, h.Status)
	}
	w.t.Fatalf(format, args...)
}

// checkSet is called before the scaler sets a number: a person's number stays for as long as the holds of that moment last.
func (w *walker) checkSet(work *memoryWorkload, field string, to int32) {
	w.note("scaler sets %s %s to %d", work.name, field, to)
	e := w.edits[work.name+" "+field]
	if e == nil || to == e.value {
		return
	}
	another, lasts := false, false
	for name, h := range w.holds {
		if h.HeldWorkload().Name != work.name || h.IsOver(w.now) && !h.Status.GateOpen { // the pods of an open gate stay
			continue
		}
		another = another || e.holds[name] != holdKey(h) // another hold, or the next window: it states its number anew
		lasts = lasts || e.holds[name] == holdKey(h)
	}
	if another && (!lasts || to > e.value) {
		return
	}
	w.fail("the person's %s %s %d is taken back to %d", work.name, field, e.value, to)
}

// holdKey tells a hold in one window from all others: each change of a schedule in a window is of that window.
func holdKey(h *hold.Object) string {
	if h.Spec.WindowStart != nil {
		return fmt.Sprint(h.UID, " ", h.Spec.WindowStart)
	}
	return fmt.Sprint(h.UID, " ", h.Generation)
}

// checkOpen is called when a gate opens: a hold that asks for it has all its pods, ready and verified, in all workloads of its group.
func (w *walker) checkOpen(gate string, percent int) {
	w.note("gate %s opens to %d %%", gate, percent)
	if lack := w.truth.judgeOpening(gate); lack != "" {
		w.fail("gate %s opens: %s", gate, lack)
	}
}

// checkGates is called after a whole pass: an open gate has a hold that keeps it, neither failed nor over.
func (w *walker) checkGates() {
	if w.gates.fail != nil {
		return // they cannot be shut
	}
	for gate, open := range w.gates.open {
		ok := false
		for _, h := range w.holds {
			ok = ok || slices.Contains(h.Spec.Gates, gate) && h.Status.GateOpen && (h.Status.State.IsActive() || h.IsKept()) && !h.IsOver(w.now)
		}
		if open && !ok {
			w.fail("gate %s is open, and no hold keeps it open", gate)
		}
		if open && !w.truth.hasLastingHold(gate) {
			w.fail("gate %s is open, and each hold that it opened for is over", gate)
		}
	}
}

// checkMaximums is called after a whole pass: an open hold that asks for more than its autoscaler allows says so.
func (w *walker) checkMaximums() {
	for _, h := range w.holds {
		a := w.workloads[h.HeldWorkload().Name].hpa
		if h.Status.State != hold.Open || h.IsOver(w.now) || a == nil || a.scales != "" || w.workloads[h.HeldWorkload().Name].gone {
			continue
		}
		if lacks := h.Spec.Replicas > a.bounds.MaxReplicas; lacks && !isHoldYielded(h) {
			w.fail("hold %s is open for %d replicas, its autoscaler allows %d, and nothing says so", h.Name, h.Spec.Replicas, a.bounds.MaxReplicas)
		} else if c := findHoldCondition(h, conditionYielded); !lacks && isHoldYielded(h) && c.Reason == yieldedToMaximum {
			w.fail("hold %s is open for %d replicas, and its autoscaler allows %d: %s", h.Name, h.Spec.Replicas, a.bounds.MaxReplicas, c.Message)
		}
	}
}

// looksCopied reports whether another autoscaler with a minimum cannot be told from a copy of one before: it has a number of a hold, also the one
// that a changed hold asked for before. The hold may be of a workload that the one before was pointed at for a while.
func (w *walker) looksCopied(least int32) bool {
	for _, h := range w.holds {
		if n := h.Status.Numbers; h.Spec.Replicas == least || h.Status.Up != nil && h.Status.Up.Replicas == least || n != nil && n.MinReplicas.Set == least {
			return true
		}
	}
	return false
}

// replaceAutoscaler makes a person replace the autoscaler of shop by another, with any maximum.
func (w *walker) replaceAutoscaler() {
	shop := w.workloads["shop"]
	bounds := hold.ReplicaBounds{MinReplicas: int32(w.IntN(3) + 1), MaxReplicas: int32(w.IntN(9) + 4)}
	if shop.hpa.scales != "" || w.looksCopied(bounds.MinReplicas) {
		return
	}
	w.note("shop gets another autoscaler %v", bounds)
	shop.hpa = &memoryAutoscaler{version: w.nextVersion(), bounds: bounds, active: w.IntN(3) > 0, life: w.nextVersion()}
	for _, field := range []string{fieldReplicas, fieldMinReplicas, fieldMaxReplicas} {
		delete(w.edits, "shop "+field) // its holds state their numbers anew
	}
	w.keepBounds(shop)
	if err := w.pass(w.t.Context()); err != nil { // what a person sets there before is the autoscaler's own
		w.fail("pass: %v", err)
	}
}

// isScaledByAnother reports whether the autoscaler of another workload was pointed at this one: it decides on the replicas.
func (w *walker) isScaledByAnother(work *memoryWorkload) bool {
	for _, other := range w.workloads {
		if other.hpa != nil && other.hpa.scales == work.name {
			return true
		}
	}
	return false
}

// edit makes a person's change of a number, other than the scaler's own numbers.
func (w *walker) edit(work *memoryWorkload) {
	value := int32(w.IntN(8) + 1)
	if work.hpa != nil && work.hpa.scales != "" || w.isScaledByAnother(work) {
		return
	}
	field, now := fieldReplicas, work.replicas
	if work.hpa == nil && w.IntN(8) == 0 {
		value = 0 // switched off
	}
	if work.hpa != nil {
		field, now = fieldMinReplicas, work.hpa.bounds.MinReplicas
		if w.IntN(3) == 0 {
			value += 8 // beyond the original maximum
		}
		if value > work.hpa.bounds.MaxReplicas {
			return // the API server rejects it
		}
	}
	e := &edit{value: value, holds: map[string]string{}}
	recorded := false
	for name, h := range w.holds {
		if h.HeldWorkload().Name != work.name {
			continue
		}
		if h.Status.State.IsActive() || !h.Status.RetryAt.IsZero() { // a hold that failed for good has no numbers to leave
			e.holds[name] = holdKey(h)
		}
		if n := h.Status.Numbers; n != nil {
			recorded = true
			for _, c := range []hold.Change{n.MinReplicas, n.Replicas} {
				if value == c.Set || c.From != nil && value == *c.From {
					return // it cannot be told from the scaler's own
				}
			}
		}
		if h.Status.ObservedGeneration != h.Generation || h.Status.State == "" {
			return // set before the hold began: the hold states its number anew
		}
	}
	if value == now {
		return
	}
	if !recorded {
		e = nil // before the first hold began: the hold states its number anew
		w.checkBounds()
	}
	w.note("person sets %s %s to %d", work.name, field, value)
	if work.hpa != nil {
		work.setBounds(w.memoryCluster, hold.ReplicaBounds{MinReplicas: value, MaxReplicas: work.hpa.bounds.MaxReplicas})
		work.follow(w.memoryCluster)
	} else {
		work.scale(w.memoryCluster, value)
	}
	w.edits[work.name+" "+field], w.was[work.name+" "+field], w.last[work.name] = e, value, field
	if high := w.edits[work.name+" "+fieldMaxReplicas]; high != nil && field == fieldMinReplicas && high.value < value {
		delete(w.edits, work.name+" "+fieldMaxReplicas) // the later edit displaces the earlier
	}
}

// keepBounds makes the present bounds of a workload without a record those that must come back.
func (w *walker) keepBounds(work *memoryWorkload) {
	if work.hpa != nil {
		w.was[work.name+" "+fieldMinReplicas], w.was[work.name+" "+fieldMaxReplicas] = work.hpa.bounds.MinReplicas, work.hpa.bounds.MaxReplicas
	}
}

// checkBounds may be called at any time: an autoscaler that no record names has the bounds that must come back.
func (w *walker) checkBounds() {
	for name, work := range w.workloads {
		isRecorded := work.hpa == nil
		for _, h := range w.holds {
			n := h.Status.Numbers
			isRecorded = isRecorded || n != nil && (n.Autoscaler == name || h.HeldWorkload().Name == name)
		}
		if isRecorded {
			continue
		}
		if want := w.wantBounds(work); work.hpa.bounds != want {
			w.fail("no record names the autoscaler of %s, and its bounds are %+v; want %+v", name, work.hpa.bounds, want)
		}
		w.keepBounds(work) // a displaced bound is gone
	}
}

// wantBounds returns the bounds that must come back: the last edit counts where both do not fit.
func (w *walker) wantBounds(work *memoryWorkload) hold.ReplicaBounds {
	low, high := w.was[work.name+" "+fieldMinReplicas], w.was[work.name+" "+fieldMaxReplicas]
	if w.last[work.name] == fieldMaxReplicas {
		return hold.ReplicaBounds{MinReplicas: min(low, high), MaxReplicas: high}
	}
	return hold.ReplicaBounds{MinReplicas: low, MaxReplicas: max(low, high)}
}

// follow moves the replicas into the bounds, as an autoscaler does.
func (w *memoryWorkload) follow(c *memoryCluster) {
	if w.hpa != nil && w.hpa.scales != "" {
		w.hpa.follow(c)
		return
	}
	if w.hpa != nil && w.hpa.active && w.replicas > 0 {
		if to := min(max(w.replicas, w.hpa.bounds.MinReplicas), w.hpa.bounds.MaxReplicas); to != w.replicas {
			w.scale(c, to)
		}
	}
}

// follow moves the replicas of the workload that the autoscaler was pointed at into its bounds.
func (a *memoryAutoscaler) follow(c *memoryCluster) {
	w := c.workloads[a.scales]
	if w == nil || w.gone || !a.active || w.replicas == 0 {
		return
	}
	if to := min(max(w.replicas, a.bounds.MinReplicas), a.bounds.MaxReplicas); to != w.replicas {
		w.scale(c, to)
	}
}

// apply stores a random hold.
func (w *walker) applyRandom() {
	name := []string{"shop", "cart"}[w.IntN(2)]
	h := hold.Hold{ID: fmt.Sprintf("hold-%d", w.IntN(3)), By: "walk", Replicas: int32(w.IntN(9) + 1), Lower: w.IntN(2) == 0, Notify: []string{"oncall"}}
	if w.IntN(3) > 0 {
		h.Until = w.now.Add(time.Duration(w.IntN(7200)) * time.Second)
	}
	if w.IntN(2) == 0 {
		h.Verify = &verify.Spec{URL: "/"}
	}
	if w.IntN(3) == 0 {
		h.MaxReplicas = int32(w.IntN(8) + 13)
	}
	workloads := []string{name}
	switch w.IntN(3) {
	case 0:
		h.Gates = []string{"a"}
	case 1:
		h.ID, h.Group, h.GroupSize, h.Gates = "both", "both", 2, []string{"b"}
		workloads = []string{"shop", "cart"}
	}
	for _, name := range workloads {
		_, err := w.engine.ApplyHold(w.t.Context(), memoryRef(name), h)
		w.note("apply %s on %s: %d replicas, lower %v, until %s: %v", h.ID, name, h.Replicas, h.Lower, h.Until.Format("15:04:05"), err)
	}
}

// step makes one random move.
func (w *walker) step() {
	w.now = w.now.Add(2 * time.Second) // Kubernetes knows the births of pods to the second
	work := w.workloads[[]string{"shop", "cart"}[w.IntN(2)]]
	switch w.IntN(12) {
	case 0, 1:
		w.applyRandom()
	case 2:
		_, _ = w.engine.EndHolds(w.t.Context(), memoryRef(work.name), func(*hold.Object) bool { return w.IntN(2) == 0 })
		w.note("release on %s", work.name)
	case 3:
		w.edit(work)
	case 4:
		if work.hpa != nil && work.hpa.active {
			work.scale(w.memoryCluster, work.hpa.bounds.MinReplicas+int32(w.IntN(int(work.hpa.bounds.MaxReplicas-work.hpa.bounds.MinReplicas)+1)))
			w.note("autoscaler sets %s to %d", work.name, work.replicas)
		}
	case 5, 6:
		work.setReady(w.memoryCluster, work.replicas)
	case 7:
		work.setReady(w.memoryCluster, int32(w.IntN(int(work.replicas)+1)))
	case 8:
		w.checker.passed = w.IntN(4) > 0
		if work.hpa != nil {
			work.hpa.active = w.IntN(3) > 0
		}
	case 9:
		w.now = w.now.Add(time.Duration(w.IntN(900)) * time.Second)
	case 10:
		w.writesLeft, w.afterWrite = w.IntN(8)+1, w.IntN(2) == 0
		w.note("a process that dies after %d writes", w.writesLeft)
		_ = w.pass(w.t.Context())
		if w.writesLeft > 0 { // it lives, and hands over
			_ = w.engine.SettleMessages(w.t.Context(), []string{"sale"})
		}
		w.restart()
		w.checkBounds()
	case 11:
		w.replaceAutoscaler()
	}
	work.follow(w.memoryCluster)
	if w.IntN(2) == 0 {
		if err := w.pass(w.t.Context()); err != nil {
			w.fail("pass: %v", err)
		}
		w.checkGates()
		w.checkMaximums()
		w.checkBounds()
		w.checkTold()
	}
}

// end releases everything, and checks that what was there is back, with nothing left and nothing untold.
func (w *walker) end() {
	for range 4 {
		for _, name := range []string{"shop", "cart"} {
			if _, err := w.engine.EndHolds(w.t.Context(), memoryRef(name), func(h *hold.Object) bool { return h.DeletionTimestamp == nil }); err != nil {
				w.fail("release: %v", err)
			}
		}
		if err := w.pass(w.t.Context()); err != nil {
			w.fail("pass: %v", err)
		}
	}
	w.checkGates()
	w.checkTold()
	w.checkDelivered()
	if len(w.holds) > 0 {
		w.fail("holds are left")
	}
	for _, work := range w.workloads {
		if want := w.wantBounds(work); work.hpa != nil && work.hpa.bounds != want {
			w.fail("the bounds of %s are %+v; want %+v back", work.name, work.hpa.bounds, want)
		}
		if want := w.was[work.name+" "+fieldReplicas]; work.hpa == nil && work.replicas != want && !w.wild {
			w.fail("%s has %d replicas; want %d back", work.name, work.replicas, want)
		}
		if work.owned && !w.wasOwnershipKept("the workload's replicas") || work.hpa != nil && work.hpa.owned && !w.wasOwnershipKept("autoscaler "+work.name) {
			w.fail("the scaler still owns numbers of %s", work.name)
		}
	}
}

// wasOwnershipKept reports whether an Event says that the API server denied the scaler to give up an ownership.
func (w *walker) wasOwnershipKept(of string) bool {
	return slices.ContainsFunc(w.events, func(e string) bool {
		return strings.HasPrefix(e, reasonOwnershipKept+": ") && strings.Contains(e, of+": ")
	})
}

// TestWalks asserts the invariants of holds in random walks: a gate is open only over the pods that were asked for, and shut after any
// other end; a person's number stays for as long as the holds of that moment last; what was there comes back, the field manager too.
func TestWalks(t *testing.T) {
	t.Parallel()
	for i := range *walks {
		seed := *walkSeed + uint64(i)
		w := newWalker(t, seed, 0)
		if seed%2 == 0 {
			w.readLive()
		}
		w.addOldWorkload("cart", 2, hold.ReplicaBounds{})
		w.was["cart replicas"] = 2
		w.addOldWorkload("shop", 3, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 12})
		w.was["shop minReplicas"], w.was["shop maxReplicas"] = 2, 12
		w.onSet, w.onStatus = w.checkSet, w.noteStatus
		for range 40 {
			w.step()
		}
		w.end()
	}
}
