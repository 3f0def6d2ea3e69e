// Package rollout moves a workload through the states of its holds: it scales, verifies pods, opens gates, restores the original
// numbers, and keeps the messages that it owes.
//
// Everything is level-triggered: a pass observes the workload, its scale, its autoscaler and its pods; nextStep decides on one step, as
// a pure function; apply makes it. The next pass, of this process or of another, finishes an interrupted pass. Every write names the
// observed resource version, so that two processes do not overwrite each other.
package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/retry"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/notify"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

// Checker sends test requests to pods and judges the responses.
type Checker interface {
	// Run returns an error if it cannot test the pods at all; a verdict against them is in the report.
	Run(ctx context.Context, spec verify.Spec, now, old []corev1.Pod) (verify.Report, error)
}

// Gates opens and shuts the gates of the configuration. Opening or shutting a gate twice is harmless.
type Gates interface {
	// Fault returns why no hold of the namespace may use the gate; empty: holds may use it.
	Fault(namespace, gate string) string
	// Plan returns how the gate opens.
	Plan(gate string) action.Plan
	// Record returns the coming changes of the gate, to be stored before it opens, and given to Open and Shut.
	Record(ctx context.Context, namespace, gate string) ([]action.Change, error)
	// ShutFault returns why a gate cannot be shut for a hold of the namespace that has it open, and how a person shuts it; empty: it can. key is the
	// gate's GateKeys.Key when the hold began.
	ShutFault(namespace, gate, key string, changes []action.Change) string
	Open(ctx context.Context, namespace, gate string, percent int, changes []action.Change) error
	Shut(ctx context.Context, namespace, gate string, changes []action.Change) error
}

// GateKeys tells which gates of Gates do the same. It is optional: without it, each name is a gate of its own.
type GateKeys interface {
	// Key identifies the effects of the gate for holds of the namespace: gates with the same key are one gate. Empty: the gate does not exist.
	Key(namespace, gate string) string
	// FindGate returns the name of a gate by its key, before all others of one that holds of the namespace may use. Empty: there is none.
	FindGate(namespace, key string) string
}

// GateConflicts tells which gates of Gates would shut each other. It is optional.
type GateConflicts interface {
	// Conflict returns why no hold may begin to use the gate, as far as only a cluster tells; empty: holds may.
	Conflict(gate string) string
}

var (
	_ Gates         = (*action.Runner)(nil)
	_ GateKeys      = (*action.Runner)(nil)
	_ GateConflicts = (*action.Runner)(nil)
)

// Watcher reads the numbers that gates are watched by. Its methods may be called concurrently.
type Watcher interface {
	// ReadWatch returns the number now; the selector is of the workload's pods.
	ReadWatch(ctx context.Context, namespace, selector string, w action.Watch) (float64, error)
}

// Notifier sends messages to people. Its methods may be called concurrently.
type Notifier interface {
	// Post queues a message, once for each notifier and key. It does not block.
	Post(names []string, m notify.Message) error
	// Delivery returns the state of the message with a key at a notifier.
	Delivery(name, key string) notify.Delivery
	// Withdraw takes the messages back that no receiver is getting, and waits for the others until ctx ends.
	Withdraw(ctx context.Context)
}

// Options are the parts of an Engine. Cluster and Checker are required.
type Options struct {
	Cluster Cluster
	Reader  Reader // caches; nil: Cluster
	Checker Checker
	// Gates and Notifier are the configuration's. Without Gates, another process opens and shuts gates, and tells the outcomes.
	Gates    Gates
	Notifier Notifier
	// NotifierFault returns why no hold of the namespace may use a notifier; empty: holds may use it. nil: holds may use all.
	NotifierFault func(namespace, notifier string) string
	Watcher       Watcher  // nil: no gate is watched
	Metrics       *Metrics // nil: not registered
	Identity      string   // reporting instance of Events: the name of a pod or a user
	Owner         string   // of the holds that ApplyHold makes: the value of hold.OwnerLabel; empty: none
}

// Engine moves workloads through the states of their holds. It keeps no state between passes for another process. Its methods may
// be called concurrently, also for the same workload.
type Engine struct {
	Options

	gates   gateLocks
	faults  readFaults
	mu      sync.Mutex // guards all below
	results map[hold.Workload]holdResults
}

// New returns an engine.
func New(opts Options) *Engine {
	if opts.Metrics == nil {
		opts.Metrics = NewMetrics(nil)
	}
	if opts.Reader == nil {
		opts.Reader = opts.Cluster
	}
	return &Engine{Options: opts, faults: readFaults{failed: map[failedRead]readFault{}}, results: map[hold.Workload]holdResults{}}
}

// cachedWaitInterval replaces waitInterval where a change of a pod wakes the next pass.
const cachedWaitInterval = 2 * time.Second

// missingPause is the pause between two passes over a workload that does not exist.
const missingPause = 30 * time.Second

// Result is the state of a workload after a pass.
type Result struct {
	Holds []hold.Object
	// NextPass is the latest time of the next pass; zero: after the next change of a hold.
	NextPass time.Time
	// HoldToVerify is the UID of the hold that needs Engine.VerifyHold; empty: no hold does.
	HoldToVerify types.UID
	// PodsMissing is set while too few pods are ready to verify that hold.
	PodsMissing bool
	// HoldToWatch is the UID of the hold with gates that need Engine.ReadHoldWatch; empty: no hold's do.
	HoldToWatch types.UID
	// Autoscaler is the name of the workload's autoscaler; empty: it has no autoscaler.
	Autoscaler string
	Bounds     hold.ReplicaBounds
	Replicas   int32 // of the scale
	ReadyPods  int32 // ready pods of the workload; known while a hold waits for them
	// Gone is set if the workload does not exist.
	Gone bool
	// EndedHolds are the holds that this pass ended, in their last state.
	EndedHolds []hold.Object
}

// IsHeld reports whether the workload has a hold, ended ones included: another pass must follow.
func (r Result) IsHeld() bool { return len(r.Holds) > 0 }

// FindHold returns the hold with the ID, or nil. It points into the result.
func (r Result) FindHold(id string) *hold.Object {
	for i := range r.Holds {
		if r.Holds[i].HoldID() == id {
			return &r.Holds[i]
		}
	}
	return nil
}

// The bounds of a pass: a workload needs some ten steps for each hold.
const (
	maxPassSteps     = 400
	maxHoldSteps     = 20
	maxPassConflicts = 12
)

// workloadPass is the state of one pass.
type workloadPass struct {
	*Engine
	workload  hold.Workload
	now       time.Time
	reader    Reader
	observed  HeldWorkload
	events    []passEvent
	ended     []hold.Object
	conflicts int
}

// errTrouble marks a workload that cannot be scaled before a person helps.
var errTrouble = errors.New("cannot be scaled")

// ReconcileOnce makes all changes that a workload needs now, without waiting. It returns an error if the API server is away or rejects a
// request. The changes until then stay, and the next pass continues.
func (e *Engine) ReconcileOnce(ctx context.Context, t hold.Workload, now time.Time) (Result, error) {
	p := &workloadPass{Engine: e, workload: t, now: now, reader: e.Reader}
	err := p.makeHoldSteps(ctx)
	p.writePassEvents(ctx)
	r := p.buildResult()
	if err == nil && p.observed.Trouble != "" && len(p.observed.Holds) > 0 {
		err = fmt.Errorf("%w: %s", errTrouble, p.observed.Trouble)
	}
	if err == nil {
		err = p.observed.pendingNumberError(now)
	}
	if err != nil {
		return r, fmt.Errorf("scale %s: %w", t, err)
	}
	return r, nil
}

// makeHoldSteps observes and applies steps until none is left. After a conflict, and before a step that has an effect outside of the
// cluster's objects, it reads from the API server itself: a cache may be late.
func (p *workloadPass) makeHoldSteps(ctx context.Context) error {
	if err := p.observeWorkload(ctx); err != nil {
		return err
	}
	for range max(maxPassSteps, maxHoldSteps*len(p.observed.Holds)) {
		s := nextStep(p.observed, p.now)
		if s.Kind == Rest {
			return nil
		}
		if s.Confirm && p.reader != Reader(p.Cluster) {
			if err := p.observeLiveWorkload(ctx); err != nil {
				return err
			}
			continue
		}
		before := p.holdStateBefore(s)
		err := p.applyStep(ctx, s)
		switch {
		case err == nil:
			p.recordStep(s, before)
		case p.isDeniedStep(s, err):
			p.observed.Denied = err.Error()
		case !isStaleHoldError(err):
			return err
		default:
			if err := p.retryAfterConflict(ctx, err); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("%d holds have still more steps to make: this is a bug", len(p.observed.Holds))
}

// holdStateBefore returns the state of the step's hold.
func (p *workloadPass) holdStateBefore(s Step) hold.State {
	if s.Hold < 0 {
		return ""
	}
	return p.observed.Holds[s.Hold].Status.State
}

// isStaleHoldError reports whether an object changed, or went, since it was observed.
func isStaleHoldError(err error) bool { return apierrors.IsConflict(err) || apierrors.IsNotFound(err) }

// observeLiveWorkload observes again, from the API server itself.
func (p *workloadPass) observeLiveWorkload(ctx context.Context) error {
	p.reader = p.Cluster
	return p.observeWorkload(ctx)
}

// retryAfterConflict waits a little, and observes again. After maxPassConflicts it returns the conflict.
func (p *workloadPass) retryAfterConflict(ctx context.Context, conflict error) error {
	p.Metrics.conflicts.Inc()
	if p.conflicts++; p.conflicts > maxPassConflicts {
		return conflict
	}
	if !retry.Sleep(ctx, delayAfterHoldConflict(p.conflicts)) {
		return context.Cause(ctx)
	}
	return p.observeLiveWorkload(ctx)
}

// delayAfterHoldConflict returns the delay after the i-th try, from 1: 10 ms, doubling up to half a second.
func delayAfterHoldConflict(i int) time.Duration {
	return retry.Backoff{First: 10 * time.Millisecond, Max: 500 * time.Millisecond}.Delay(i)
}

// observeWorkload reads all that nextStep needs.
func (p *workloadPass) observeWorkload(ctx context.Context) error {
	o := HeldWorkload{Workload: p.workload, Owner: p.Owner, Gated: p.Gates != nil, GateErrors: p.observed.GateErrors, Denied: p.observed.Denied, GateFaults: map[string]string{}, GatePlans: map[string]action.Plan{}, GateKeys: map[string]string{}, WaitInterval: waitInterval}
	if o.GateErrors == nil {
		o.GateErrors = map[types.UID]string{}
	}
	if p.reader != Reader(p.Cluster) {
		o.WaitInterval = cachedWaitInterval
	}
	all, err := p.listPassHolds(ctx)
	if err != nil {
		return err
	}
	o.addHolds(all)
	results := p.findHoldResults(p.workload, o.Holds)
	o.Verdicts, o.Readings = results.verdicts, results.readings
	p.observed = o
	if len(o.Holds) == 0 {
		p.faults.forgetReadFaults(p.workload)
		return nil
	}
	p.addGateFaults()
	p.addNotifierFaults()
	p.observeDeliveries()
	if err := p.observeWorkloadScale(ctx); err != nil {
		return err
	}
	if p.observed.waitsForPods(p.now) {
		if err := p.observeWorkloadPods(ctx); err != nil {
			return err
		}
	}
	return p.observeHoldGroup(ctx)
}

// observeWorkloadPods reads the pods of the workload. Without a right to them, with a selector that the API server rejects, above the bound of a list, or after
// lastingFaultAfter, they are not known: the holds that wait for pods fail with that in their time.
func (p *workloadPass) observeWorkloadPods(ctx context.Context) error {
	o := &p.observed
	if o.Scale == nil || o.Scale.Selector == "" {
		return nil
	}
	pods, err := p.reader.ListPods(ctx, o.Workload.Namespace, o.Scale.Selector)
	lasting := p.faults.describeLastingFault(ctx, failedRead{o.Workload, readOfPods}, err, p.now)
	if apierrors.IsForbidden(err) || apierrors.IsBadRequest(err) || errors.Is(err, errLargeList) {
		lasting = err.Error()
	}
	if lasting != "" {
		o.PodsFault = shortenHoldStatus("the pods of the workload cannot be read: " + lasting)
		return nil
	}
	o.Pods = keepWorkloadPods(pods, o.Workload, o.Scale.UID)
	return err
}

// observeHoldGroup reads the lacks of the other workloads in the groups with a gate that may open now. One that cannot be read keeps the gate shut, and
// nothing else of this workload.
func (p *workloadPass) observeHoldGroup(ctx context.Context) error {
	o := &p.observed
	o.MissingMembers = map[types.UID]string{}
	for _, i := range slices.Concat(o.listHoldsInState(hold.Ready, p.now), o.listHoldsInState(hold.Verified, p.now)) {
		for _, m := range o.listHoldGroupMembers(&o.Holds[i]) {
			missing, err := p.readMissingPods(ctx, m)
			if ctx.Err() != nil {
				return err
			}
			if err != nil {
				missing = shortenHoldStatus("the workload cannot be read: " + err.Error())
			}
			o.MissingMembers[m.UID] = missing
		}
	}
	return nil
}

// readMissingPods returns what the workload of a hold lacks for it; empty: nothing.
func (p *workloadPass) readMissingPods(ctx context.Context, m *hold.Object) (string, error) {
	other := &workloadPass{Engine: p.Engine, workload: m.HeldWorkload(), now: p.now, reader: p.reader}
	other.observed = HeldWorkload{Workload: other.workload, Holds: []hold.Object{*m}}
	if err := other.observeWorkloadScale(ctx); err != nil {
		return "", err
	}
	if trouble := other.observed.Trouble; trouble != "" {
		return shortenHoldStatus("the workload cannot be scaled: " + trouble), nil
	}
	if other.observed.Scale == nil {
		return "the workload does not exist", nil
	}
	if err := other.observeWorkloadPods(ctx); err != nil {
		return "", err
	}
	return other.observed.describeMissingPods(m, p.now), nil
}

// listPassHolds lists the holds that a pass may need: from a HoldFinder without the many others of the namespace.
func (p *workloadPass) listPassHolds(ctx context.Context) ([]hold.Object, error) {
	if finder, ok := p.reader.(HoldFinder); ok {
		return finder.FindHolds(ctx, p.workload)
	}
	return p.reader.ListHolds(ctx, p.workload.Namespace)
}

// addHolds sorts the holds of a namespace: of the workload, oldest first, and of others that matter to it. A namespace may have thousands.
func (o *HeldWorkload) addHolds(all []hold.Object) {
	groups := map[string]bool{}
	for i := range all {
		if h := &all[i]; h.HeldWorkload().IsSameObject(o.Workload) {
			o.Holds = append(o.Holds, *h)
			if h.Spec.Group != nil {
				groups[h.Spec.Group.Name] = true
			}
		}
	}
	for i := range all {
		h := &all[i]
		if matters := h.IsShared() || h.Spec.Group != nil && groups[h.Spec.Group.Name]; matters && !h.HeldWorkload().IsSameObject(o.Workload) {
			o.Others = append(o.Others, *h)
		}
	}
	slices.SortFunc(o.Holds, compareHoldAges)
	slices.SortFunc(o.Others, compareHoldAges) // caches list them in a random order: each pass decides on the same one
}

// compareHoldAges orders holds, the oldest first.
func compareHoldAges(a, b hold.Object) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
}

// addGatePlans asks for the plans and keys of all gates of the namespace's holds.
func (p *workloadPass) addGatePlans(o *HeldWorkload) {
	keys, _ := p.Gates.(GateKeys)
	if keys != nil {
		p.addGateNames(o, keys)
	}
	for _, list := range [][]hold.Object{o.Holds, o.Others} {
		for i := range list {
			for _, g := range list[i].Spec.Gates {
				if _, known := o.GateKeys[g]; !known {
					o.GatePlans[g], o.GateKeys[g] = p.Gates.Plan(o.currentGate(g)), g
					if keys != nil {
						o.GateKeys[g] = keys.Key(p.workload.Namespace, o.currentGate(g))
					}
				}
			}
		}
	}
}

// addGateFaults asks for the faults of all gates that the holds name, and for the plans of all gates of the namespace's holds.
func (p *workloadPass) addGateFaults() {
	if p.Gates == nil {
		return
	}
	p.addGatePlans(&p.observed)
	conflicts, _ := p.Gates.(GateConflicts)
	for i := range p.observed.Holds {
		h := &p.observed.Holds[i]
		for _, g := range h.Spec.Gates {
			fault := p.Gates.Fault(p.workload.Namespace, p.observed.currentGate(g))
			if conflicts != nil && fault == "" && (!h.Status.State.IsActive() || h.Status.State == hold.Received) { // it begins
				fault = conflicts.Conflict(p.observed.currentGate(g))
			}
			p.observed.GateFaults[g] = cmp.Or(fault, p.observed.GateFaults[g])
		}
	}
}

// waitsForPods reports whether a hold needs to know the pods.
func (o *HeldWorkload) waitsForPods(now time.Time) bool {
	return slices.ContainsFunc(o.Holds, func(h hold.Object) bool {
		return (h.Status.State != hold.Open || h.Status.ObservedGeneration != h.Generation) && !h.IsOver(now)
	})
}

// observeWorkloadScale reads the scale and the autoscaler. A fault that a person must mend, or that lasts, is trouble of this workload, and no error.
func (p *workloadPass) observeWorkloadScale(ctx context.Context) error {
	o := &p.observed
	n, _ := o.findHoldNumbers()
	hpas, err := p.reader.ListAutoscalers(ctx, p.workload.Namespace)
	if err == nil {
		o.Former = findFormerAutoscaler(hpas, p.workload, n)
		o.Autoscaler, err = pickHeldAutoscaler(hpas, p.workload, n)
	}
	if err == nil {
		o.Scale, err = p.reader.GetScale(ctx, p.workload)
	}
	lasting := p.faults.describeLastingFault(ctx, failedRead{p.workload, readOfScale}, err, p.now)
	switch {
	case err == nil:
	case meta.IsNoMatchError(err):
		o.Missing = err.Error()
	case isTroubleError(err):
		o.Trouble = err.Error()
	case lasting != "":
		o.Trouble = "it has been unreadable for a minute: " + lasting
	default:
		return err
	}
	return nil
}

// buildResult returns the state of the workload after the pass.
func (p *workloadPass) buildResult() Result {
	o := &p.observed
	r := Result{Holds: o.Holds, NextPass: o.nextLook(p.now), Gone: o.Scale == nil, EndedHolds: p.ended, ReadyPods: o.countReadyPods()}
	if o.Scale != nil {
		r.Replicas = o.Scale.Replicas
	} else if len(o.Holds) > 0 && o.Trouble == "" {
		r.NextPass = p.now.Add(missingPause)
	}
	if o.Autoscaler != nil {
		r.Autoscaler, r.Bounds = o.Autoscaler.Name, o.Autoscaler.Bounds
	}
	if i := o.holdToVerify(p.now); i >= 0 {
		r.HoldToVerify, r.PodsMissing = o.Holds[i].UID, o.describeMissingPods(&o.Holds[i], p.now) != ""
	}
	if i := o.holdToWatch(p.now); i >= 0 && p.Watcher != nil {
		r.HoldToWatch = o.Holds[i].UID
	}
	return r
}

func (p *workloadPass) passLogger(ctx context.Context) klog.Logger {
	return klog.FromContext(ctx).WithValues("workload", p.workload.String())
}
