// A cluster in memory, with resource versions, finalizers, generations and field managers, and one writer that may die.

package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/notify"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

// memoryCluster is one namespace with workloads. It is used by one goroutine.
type memoryCluster struct {
	now        time.Time
	version    int
	holds      map[string]*hold.Object
	workloads  map[string]*memoryWorkload
	writesLeft int                                             // before the process dies; negative: it lives
	afterWrite bool                                            // the last write of a dying process still arrives
	away       bool                                            // no request succeeds
	deny       error                                           // the API server denies each number with it
	hidePods   error                                           // the API server answers each list of pods with it
	denyOwner  error                                           // the API server denies each change of field managers with it
	failScale  map[string]error                                // the API server answers each read of the workload with it
	denyStatus error                                           // a webhook denies each status of a hold with it
	events     []string                                        // reasons and messages
	onStatus   func(before, after *hold.Object)                // after each write of a status
	onSet      func(w *memoryWorkload, field string, to int32) // before each write of a number by the scaler
}

// memoryWorkload is a Deployment with its pods and, unless hpa is nil, its autoscaler.
type memoryWorkload struct {
	name     string
	version  int
	replicas int32
	owned    bool
	ready    int32 // pods that are ready, of replicas
	pods     []memoryPod
	selector string // of its scale; empty: its own, none: it has none
	gone     bool   // deleted; its autoscaler stays
	life     int    // of how many workloads of this name it is the last
	hpa      *memoryAutoscaler
}

// memoryPod is a pod of a workload. It is ready if it is among the first.
type memoryPod struct {
	uid   types.UID
	birth time.Time
	// readyAt is the time at which it became ready, where a test says so.
	readyAt time.Time
}

type memoryAutoscaler struct {
	version      int
	bounds       hold.ReplicaBounds
	active       bool
	owned        bool
	scaledObject string
	setAt        time.Time     // at which the scaler last set the bounds
	clockAhead   time.Duration // of the API server, whose clock says so; 0: the time is unknown
	scales       string        // the name of its workload; empty: its own
	life         int
}

var errDead = errors.New("the process is dead")

func newMemoryCluster(now time.Time) *memoryCluster {
	return &memoryCluster{now: now, holds: map[string]*hold.Object{}, workloads: map[string]*memoryWorkload{}, writesLeft: -1}
}

// addWorkload adds a workload with ready pods; bounds: of an active autoscaler, zero for none.
func (c *memoryCluster) addWorkload(name string, replicas int32, bounds hold.ReplicaBounds) *memoryWorkload {
	w := &memoryWorkload{name: name, version: c.nextVersion(), replicas: replicas, ready: replicas}
	if bounds.MaxReplicas > 0 {
		w.hpa = &memoryAutoscaler{version: c.nextVersion(), bounds: bounds, active: true}
	}
	w.makePods(c)
	c.workloads[name] = w
	return w
}

func (c *memoryCluster) nextVersion() int { c.version++; return c.version }

func memoryRef(name string) hold.Workload {
	return hold.Workload{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "sale", Name: name}
}

// write makes a write, unless the process is dead or the version is old.
func (c *memoryCluster) write(have, want string, do func()) error {
	if c.writesLeft == 0 || c.away {
		return errDead
	}
	if c.writesLeft > 0 {
		if c.writesLeft--; c.writesLeft == 0 && !c.afterWrite {
			return errDead
		}
	}
	if have != want {
		return apierrors.NewConflict(schema.GroupResource{Resource: "x"}, "x", errors.New("changed"))
	}
	do()
	if c.writesLeft == 0 {
		return errDead
	}
	return nil
}

func (c *memoryCluster) ListHolds(context.Context, string) (all []hold.Object, err error) {
	if c.away {
		return nil, errDead
	}
	for _, h := range c.holds {
		all = append(all, *h.DeepCopy())
	}
	slices.SortFunc(all, func(a, b hold.Object) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

func (c *memoryCluster) GetScale(_ context.Context, t hold.Workload) (*Scale, error) {
	w := c.workloads[t.Name]
	if err := c.failScale[t.Name]; err != nil {
		return nil, err
	}
	if w == nil || w.gone {
		return nil, nil //nolint:nilnil // as the API server
	}
	s := &Scale{UID: types.UID(fmt.Sprint(w.name, "-", w.life)), Version: fmt.Sprint(w.version), Replicas: w.replicas, Selector: "app=" + w.name, Owned: w.owned}
	if w.selector == "none" {
		s.Selector = ""
	}
	return s, nil
}

func (c *memoryCluster) ListAutoscalers(context.Context, string) (all []*autoscalingv2.HorizontalPodAutoscaler, err error) {
	for _, w := range c.workloads {
		if w.hpa != nil {
			all = append(all, w.object())
		}
	}
	return all, nil
}

func (w *memoryWorkload) object() *autoscalingv2.HorizontalPodAutoscaler {
	a := w.hpa
	status := corev1.ConditionTrue
	if !a.active {
		status = corev1.ConditionFalse
	}
	o := &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Name: w.name, Namespace: "sale", UID: types.UID(fmt.Sprint("hpa-", w.name, a.life)), ResourceVersion: fmt.Sprint(a.version)},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: cmp.Or(a.scales, w.name)},
			MinReplicas:    &a.bounds.MinReplicas, MaxReplicas: a.bounds.MaxReplicas,
		},
		Status: autoscalingv2.HorizontalPodAutoscalerStatus{Conditions: []autoscalingv2.HorizontalPodAutoscalerCondition{{Type: autoscalingv2.ScalingActive, Status: status}}},
	}
	if a.owned {
		o.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: hold.Manager}}
		if a.clockAhead > 0 {
			o.ManagedFields[0].Time = &metav1.Time{Time: a.setAt.Add(a.clockAhead)}
		}
	}
	if a.scaledObject != "" {
		o.OwnerReferences = []metav1.OwnerReference{{APIVersion: "keda.sh/v1alpha1", Kind: "ScaledObject", Name: a.scaledObject}}
	}
	return o.DeepCopy()
}

func (c *memoryCluster) ListPods(_ context.Context, _, selector string) (all []corev1.Pod, err error) {
	if selector == "" || c.hidePods != nil {
		return nil, c.hidePods
	}
	return c.workloads[strings.TrimPrefix(selector, "app=")].listPods(c), nil
}

// listPods lists the pods of the workload.
func (w *memoryWorkload) listPods(c *memoryCluster) []corev1.Pod {
	all := make([]corev1.Pod, 0, w.replicas)
	w.makePods(c)
	for i := range w.replicas {
		pod := corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", w.name, i), UID: w.pods[i].uid, CreationTimestamp: metav1.NewTime(w.pods[i].birth)},
			Status:     corev1.PodStatus{Phase: corev1.PodPending, PodIP: "10.0.0.1"},
		}
		if i < w.ready {
			pod.Status.Phase = corev1.PodRunning
			pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(w.pods[i].readyAt)}}
		}
		all = append(all, pod)
	}
	return all
}

// makePods makes the pods that are missing.
func (w *memoryWorkload) makePods(c *memoryCluster) {
	for len(w.pods) < int(w.replicas) {
		w.pods = append(w.pods, c.newPod(w.name))
	}
}

func (c *memoryCluster) newPod(workload string) memoryPod {
	return memoryPod{uid: types.UID(fmt.Sprint(workload, "-pod-", c.nextVersion())), birth: c.now}
}

// setReady makes the first pods ready, each at this time unless it was ready before.
func (w *memoryWorkload) setReady(c *memoryCluster, n int32) {
	w.makePods(c)
	for i := w.ready; i < n; i++ {
		w.pods[i].readyAt = c.now
	}
	w.ready = n
}

func (c *memoryCluster) CreateHold(_ context.Context, o *hold.Object) (*hold.Object, error) {
	if c.holds[o.Name] != nil {
		return nil, apierrors.NewAlreadyExists(schema.GroupResource{Resource: "holds"}, o.Name)
	}
	made := o.DeepCopy()
	err := c.write("", "", func() {
		made.UID, made.Generation, made.ResourceVersion = types.UID(fmt.Sprint("uid-", c.nextVersion())), 1, fmt.Sprint(c.nextVersion())
		made.CreationTimestamp = metav1.NewTime(c.now)
		c.holds[o.Name] = made
	})
	return made.DeepCopy(), err
}

func (c *memoryCluster) UpdateHold(_ context.Context, o *hold.Object) (*hold.Object, error) {
	there := c.holds[o.Name]
	if there == nil {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "holds"}, o.Name)
	}
	made := o.DeepCopy()
	err := c.write(o.ResourceVersion, there.ResourceVersion, func() {
		made.Status = there.DeepCopy().Status
		if !hold.EqualSpecs(made.Spec, there.Spec) {
			made.Generation++
		}
		made.ResourceVersion = fmt.Sprint(c.nextVersion())
		c.holds[o.Name] = made
		if made.DeletionTimestamp != nil && len(made.Finalizers) == 0 {
			delete(c.holds, o.Name)
		}
	})
	return made.DeepCopy(), err
}

func (c *memoryCluster) UpdateHoldStatus(_ context.Context, o *hold.Object) (*hold.Object, error) {
	there := c.holds[o.Name]
	if there == nil {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "holds"}, o.Name)
	}
	if c.denyStatus != nil {
		return nil, c.denyStatus
	}
	made := there.DeepCopy()
	err := c.write(o.ResourceVersion, there.ResourceVersion, func() {
		made.Status = o.DeepCopy().Status
		if c.onStatus != nil {
			c.onStatus(there, made)
		}
		made.ResourceVersion = fmt.Sprint(c.nextVersion())
		c.holds[o.Name] = made
	})
	return made.DeepCopy(), err
}

func (c *memoryCluster) DeleteHold(_ context.Context, o *hold.Object) error {
	name, there := o.Name, c.holds[o.Name]
	if there == nil {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "holds"}, name)
	}
	return c.write(o.ResourceVersion, there.ResourceVersion, func() {
		if len(there.Finalizers) == 0 {
			delete(c.holds, name)
			return
		}
		if there.DeletionTimestamp == nil {
			there.DeletionTimestamp, there.ResourceVersion = &metav1.Time{Time: c.now}, fmt.Sprint(c.nextVersion())
			there.Generation++
		}
	})
}

func (c *memoryCluster) SetBounds(_ context.Context, _ string, a *Autoscaler, to hold.ReplicaBounds) (*Autoscaler, error) {
	w := c.workloads[a.Name]
	if c.deny != nil {
		return nil, c.deny
	}
	if w.hpa == nil {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "horizontalpodautoscalers"}, a.Name)
	}
	err := c.write(a.Version, fmt.Sprint(w.hpa.version), func() {
		if c.onSet != nil && to.MinReplicas != w.hpa.bounds.MinReplicas {
			c.onSet(w, fieldMinReplicas, to.MinReplicas)
		}
		if c.onSet != nil && to.MaxReplicas != w.hpa.bounds.MaxReplicas {
			c.onSet(w, fieldMaxReplicas, to.MaxReplicas)
		}
		w.hpa.bounds, w.hpa.owned, w.hpa.setAt, w.hpa.version = to, true, c.now, c.nextVersion()
	})
	return convertHeldAutoscaler(w.object()), err
}

func (c *memoryCluster) DropBoundsOwner(_ context.Context, _ string, a *Autoscaler) (*Autoscaler, error) {
	w := c.workloads[a.Name]
	if c.deny != nil || c.denyOwner != nil {
		return nil, cmp.Or(c.deny, c.denyOwner)
	}
	err := c.write(a.Version, fmt.Sprint(w.hpa.version), func() { w.hpa.owned, w.hpa.version = false, c.nextVersion() })
	return convertHeldAutoscaler(w.object()), err
}

func (c *memoryCluster) SetReplicas(ctx context.Context, t hold.Workload, s *Scale, n int32) (*Scale, error) {
	w := c.workloads[t.Name]
	if c.deny != nil {
		return nil, c.deny
	}
	err := c.write(s.Version, fmt.Sprint(w.version), func() {
		if c.onSet != nil {
			c.onSet(w, fieldReplicas, n)
		}
		w.scale(c, n)
		w.owned = true
	})
	made, _ := c.GetScale(ctx, t)
	return made, err
}

func (c *memoryCluster) DropScaleOwner(ctx context.Context, t hold.Workload, s *Scale) (*Scale, error) {
	w := c.workloads[t.Name]
	if c.denyOwner != nil {
		return nil, c.denyOwner
	}
	err := c.write(s.Version, fmt.Sprint(w.version), func() { w.owned, w.version = false, c.nextVersion() })
	made, _ := c.GetScale(ctx, t)
	return made, err
}

func (c *memoryCluster) WriteEvent(_ context.Context, e *corev1.Event) error {
	c.events = append(c.events, e.Reason+": "+e.Message)
	return nil
}

// scale sets the replicas, as another client: that client owns them.
func (w *memoryWorkload) scale(c *memoryCluster, n int32) {
	w.replicas, w.ready, w.owned, w.version = n, min(w.ready, n), false, c.nextVersion()
	w.pods = w.pods[:min(len(w.pods), int(n))]
	w.makePods(c)
}

// drain replaces the first pods.
func (w *memoryWorkload) drain(c *memoryCluster, pods int) {
	for i := range min(pods, len(w.pods)) {
		w.pods[i] = c.newPod(w.name)
		w.pods[i].readyAt = c.now
	}
}

// replace deletes the workload and makes another of its name.
func (w *memoryWorkload) replace(c *memoryCluster, replicas int32) {
	w.gone, w.life, w.pods = false, w.life+1, nil
	w.scale(c, replicas)
	w.ready = 0
}

// setBounds sets the autoscaler's bounds, as another client.
func (w *memoryWorkload) setBounds(c *memoryCluster, to hold.ReplicaBounds) {
	w.hpa.bounds, w.hpa.owned, w.hpa.version = to, false, c.nextVersion()
}

// memoryGates are gates that remember whether they are open, and how far. Each changes the place /NAME, or that of another gate with the same actions.
type memoryGates struct {
	same     map[string]string // the gate with the same actions, by gate
	open     map[string]bool
	percents []int
	plans    map[string]action.Plan
	places   map[string]string // what is there, by gate
	onOpen   func(gate string, percent int)
	onShut   func(gate string)
	fail     error
	lost     string // the gate that the configuration no longer has
	moved    string // the gate that is for another namespace by now
}

func (g *memoryGates) Fault(_, gate string) string {
	if gate == g.lost {
		return "gate " + gate + " is not in the scaler's configuration"
	}
	if gate == g.moved {
		return "gate " + gate + " is not allowed for namespace sale"
	}
	if gate == "forbidden" {
		return "gate forbidden is not allowed for namespace sale"
	}
	return ""
}

func (g *memoryGates) ShutFault(_, gate, key string, _ []action.Change) string {
	if gate == g.moved && g.Key("", gate) == key {
		return ""
	}
	return g.Fault("", gate)
}

func (g *memoryGates) Plan(gate string) action.Plan { return g.plans[gate] }

func (g *memoryGates) Key(_, gate string) string {
	if gate == g.lost {
		return ""
	}
	return cmp.Or(g.same[gate], gate)
}

func (g *memoryGates) FindGate(_, key string) string {
	for _, name := range append(slices.Sorted(maps.Keys(g.same)), key) {
		if g.Fault("", name) == "" && g.Key("", name) == key {
			return name
		}
	}
	return ""
}

func (g *memoryGates) Record(_ context.Context, _, gate string) ([]action.Change, error) {
	place := g.Key("", gate)
	return []action.Change{{Gate: gate, Path: "/" + place, Was: g.places[place]}}, g.fail
}

func (g *memoryGates) Open(_ context.Context, _, gate string, percent int, _ []action.Change) error {
	if g.fail != nil {
		return g.fail
	}
	if g.onOpen != nil {
		g.onOpen(gate, percent)
	}
	place := g.Key("", gate)
	g.open[place], g.percents, g.places[place] = true, append(g.percents, percent), fmt.Sprint(percent)
	return nil
}

func (g *memoryGates) Shut(_ context.Context, _, gate string, changes []action.Change) error {
	if g.fail != nil {
		return g.fail
	}
	if g.onShut != nil {
		g.onShut(gate)
	}
	place := g.Key("", gate)
	g.open[place] = false
	for _, c := range changes {
		if c.Gate == gate {
			g.places[place] = c.Was
		}
	}
	return nil
}

// memoryNotifier is the queue of a process and, across processes, a receiver that takes each key once.
type memoryNotifier struct {
	all   map[string][]string // kinds and outcomes by hold
	told  map[string][]string // all without the starts
	whys  []string            // the reasons of all messages
	taken map[string]bool     // by notifier and key
	posts int                 // that arrived at the receiver, repeated ones included, without the starts
	queue map[string]notify.Delivery
	down  bool  // the receiver is away
	err   error // the queue gives up with it
	// rejected are the notifiers that no hold may use.
	rejected map[string]bool
	// onTaken is called after a message arrived; optional.
	onTaken func()
	// onArrival is called after each arrival of a message by notifier and key; optional.
	onArrival func(address string, isNew bool)
}

func (n *memoryNotifier) Post(names []string, m notify.Message) error {
	for _, name := range names {
		address := name + " " + m.Key
		switch {
		case n.queue[address].Posted:
			continue
		case n.err != nil:
			n.queue[address] = notify.Delivery{Posted: true, Done: true, Err: n.err}
			continue
		case n.down:
			n.queue[address] = notify.Delivery{Posted: true}
			continue
		}
		n.queue[address] = notify.Delivery{Posted: true, Done: true}
		n.take(address, m)
	}
	return nil
}

// take is the receiver's: it keeps each key once.
func (n *memoryNotifier) take(address string, m notify.Message) {
	isNew, id, text := !n.taken[address], m.Workload.Name+" "+m.Hold, string(m.Kind)+": "+m.Outcome
	if n.onArrival != nil {
		n.onArrival(address, isNew)
	}
	if n.taken[address] = true; isNew {
		n.all[id] = append(n.all[id], text)
	}
	if m.Kind == notify.KindStarted {
		return
	}
	n.posts++
	if n.onTaken != nil {
		n.onTaken()
	}
	if isNew {
		n.whys, n.told[id] = append(n.whys, m.Why), append(n.told[id], text)
	}
}

func (n *memoryNotifier) Delivery(name, key string) notify.Delivery { return n.queue[name+" "+key] }

func (n *memoryNotifier) fault(namespace, name string) string {
	if n.rejected[name] {
		return "notifier " + name + " is not allowed for namespace " + namespace
	}
	return ""
}

// countWaiting counts the messages that wait for the receiver.
func (n *memoryNotifier) countWaiting() (waiting int) {
	for _, d := range n.queue {
		if !d.Done {
			waiting++
		}
	}
	return waiting
}

// Withdraw forgets what waits.
func (n *memoryNotifier) Withdraw(context.Context) {
	maps.DeleteFunc(n.queue, func(_ string, d notify.Delivery) bool { return !d.Done })
}

// memoryChecker passes or fails every verification.
type memoryChecker struct {
	passed bool
	onRun  func() // is called during each verification; optional
	tested []corev1.Pod
}

func (v *memoryChecker) Run(_ context.Context, _ verify.Spec, now, _ []corev1.Pod) (verify.Report, error) {
	v.tested = append(v.tested, now...)
	if v.onRun != nil {
		v.onRun()
	}
	return verify.Report{Passed: v.passed}, nil
}

// bench is a cluster with one scaler.
type bench struct {
	*memoryCluster
	gates    *memoryGates
	notifier *memoryNotifier
	checker  *memoryChecker
	engine   *Engine
	verifier Checker      // of the engine; nil: checker
	cache    *sharedCache // that the engine reads; nil: it reads the cluster

	verifying types.UID // the hold whose pods are tested
}

var benchStart = time.Date(2026, 11, 23, 7, 0, 0, 0, time.UTC)

func newBench() *bench {
	b := &bench{
		memoryCluster: newMemoryCluster(benchStart), gates: &memoryGates{open: map[string]bool{}, places: map[string]string{}},
		notifier: &memoryNotifier{all: map[string][]string{}, told: map[string][]string{}, taken: map[string]bool{}}, checker: &memoryChecker{passed: true},
	}
	b.cache = newSharedCache(b.memoryCluster)
	b.restart()
	return b
}

// autoscaledAndPlain are the bounds of a workload with an autoscaler, and of one without.
var autoscaledAndPlain = map[string]hold.ReplicaBounds{"autoscaled": {MinReplicas: 2, MaxReplicas: 30}, "plain": {}}

// newOpenSale returns a bench whose only workload, without an autoscaler, is raised for a sale, with its gate open.
func newOpenSale(t *testing.T) (*bench, *memoryWorkload) {
	t.Helper()
	b := newBench()
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{})
	b.apply(t, "shop", saleHold())
	b.mustPass(t)
	w.ready = 20
	b.mustPass(t)
	return b, w
}

// readLive makes the scaler read the cluster itself.
func (b *bench) readLive() {
	b.cache = nil
	b.restart()
}

// restart replaces the scaler by a new process.
func (b *bench) restart() {
	b.writesLeft, b.notifier.queue = -1, map[string]notify.Delivery{}
	opts := Options{Cluster: b.memoryCluster, Checker: b.checker, Gates: b.gates, Notifier: b.notifier, NotifierFault: b.notifier.fault, Owner: "bench"}
	if b.cache != nil {
		opts.Reader = b.cache
	}
	if b.verifier != nil {
		opts.Checker = b.verifier
	}
	if b.engine != nil {
		opts.Watcher = b.engine.Watcher
	}
	b.engine = New(opts)
}

// pass makes a pass over each workload, with the verifications that it asks for.
func (b *bench) pass(ctx context.Context) error {
	ctx = klog.NewContext(ctx, logr.Discard())
	var errs []error
	for range 3 {
		for _, name := range []string{"shop", "cart"} {
			if b.workloads[name] == nil && len(b.holds) == 0 {
				continue
			}
			r, err := b.engine.ReconcileOnce(ctx, memoryRef(name), b.now)
			if err == nil && r.HoldToVerify != "" {
				b.verifying = r.HoldToVerify
				b.engine.VerifyHold(ctx, memoryRef(name), b.verifying, b.now)
			}
			if err == nil && r.HoldToWatch != "" {
				b.engine.ReadHoldWatch(ctx, memoryRef(name), r.HoldToWatch, b.now)
			}
			errs = append(errs, err)
		}
	}
	if b.cache != nil {
		for _, w := range b.cache.listWrites() {
			errs = append(errs, fmt.Errorf("the scaler writes to its cache: %s", w))
		}
	}
	return errors.Join(errs...)
}

// find returns the hold of a workload with the ID; nil: it is gone.
func (b *bench) find(workload, id string) *hold.Object {
	return b.holds[hold.ObjectName(memoryRef(workload), id)]
}
