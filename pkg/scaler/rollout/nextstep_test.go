// Rows of nextStep: every state and every step, without a cluster.

package rollout

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	autoscalingv2 "k8s.io/api/autoscaling/v2"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/notify"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

// row is an observation of one hold for 5 replicas, on a workload of 2 with an autoscaler of 2..10; a row changes it.
func rowObserved(change func(o *HeldWorkload, h *hold.Object)) HeldWorkload {
	h := hold.NewObject(memoryRef("shop"), hold.Hold{ID: "a", By: "row", Replicas: 5, Until: benchStart.Add(time.Hour), Notify: []string{"oncall"}, Gates: []string{"sale"}, Verify: &verify.Spec{}}, "")
	h.UID, h.Generation = "uid", 1
	since := metav1.NewMicroTime(benchStart)
	h.Status = hold.Status{
		ObservedGeneration: 1, State: hold.Received, Since: since, Entered: since, ReplicasBefore: 2, ReplicasAsked: 5, Told: []string{outcomeStarted},
		Numbers: &hold.Numbers{Sequence: 1, Autoscaler: "shop", AutoscalerUID: "hpa", MinReplicas: hold.Change{Was: 2, Set: 5}, MaxReplicas: hold.Change{Was: 10, Set: 10}, Replicas: hold.Change{Was: 2, Set: 5}},
	}
	o := HeldWorkload{
		Workload: memoryRef("shop"), Holds: []hold.Object{*h}, Scale: &Scale{Replicas: 5, Owned: true}, Gated: true, GateErrors: map[types.UID]string{},
		Autoscaler: &Autoscaler{Name: "shop", UID: "hpa", Bounds: hold.ReplicaBounds{MinReplicas: 5, MaxReplicas: 10}, Active: true, Owned: true},
		Pods:       newReadyPods(0, 0, 0, 0, 0),
	}
	change(&o, &o.Holds[0])
	return o
}

func pendingPods(pods []corev1.Pod, n int) []corev1.Pod {
	for i := range n {
		pods[i].Status = corev1.PodStatus{Phase: corev1.PodPending}
	}
	return pods
}

// TestNextStep has a row for every state and every step.
func TestNextStep(t *testing.T) {
	t.Parallel()
	two := int32(2)
	over := func(h *hold.Object) { h.Spec.Until = &metav1.Time{Time: benchStart} }
	back := func(o *HeldWorkload, h *hold.Object) {
		over(h)
		n := h.Status.Numbers
		n.MinReplicas.Set, n.Replicas.Set = 2, 2
		o.Scale.Replicas, o.Autoscaler.Bounds.MinReplicas = 2, 2
	}
	for name, row := range map[string]struct {
		change func(o *HeldWorkload, h *hold.Object)
		kind   StepKind
		state  hold.State // of the hold after a WriteStatus
	}{
		"another client's hold": {func(o *HeldWorkload, h *hold.Object) { h.Finalizers = nil }, AddFinalizer, ""},
		"new":                   {func(o *HeldWorkload, h *hold.Object) { h.Status = hold.Status{} }, WriteStatus, hold.Received},
		"changed while up": {func(o *HeldWorkload, h *hold.Object) {
			h.Generation, h.Status.State, h.Spec.Replicas = 2, hold.Scaled, 6
		}, WriteStatus, hold.Received},
		"open, and asks for less": {func(o *HeldWorkload, h *hold.Object) {
			h.Generation, h.Status.State, h.Spec.Replicas, h.Status.YoungestVerified = 2, hold.Open, 4, o.Pods[0].CreationTimestamp
		}, WriteStatus, hold.Open},
		"open, and asks for its first verification": {func(o *HeldWorkload, h *hold.Object) {
			h.Generation, h.Status.State, h.Spec.Replicas = 2, hold.Open, 4
		}, WriteStatus, hold.Received},
		"open, and asks for more": {func(o *HeldWorkload, h *hold.Object) { h.Generation, h.Status.State, h.Spec.Replicas = 2, hold.Open, 6 }, WriteStatus, hold.Received},
		"no workload":             {func(o *HeldWorkload, h *hold.Object) { o.Scale, o.Autoscaler, o.Missing = nil, nil, "no kind" }, WriteStatus, hold.Received},
		"two autoscalers":         {func(o *HeldWorkload, h *hold.Object) { o.Trouble = "two" }, WriteStatus, hold.Received},
		"above the maximum":       {func(o *HeldWorkload, h *hold.Object) { h.Spec.Replicas = 11 }, WriteStatus, hold.RolledBack},
		"zero":                    {func(o *HeldWorkload, h *hold.Object) { h.Spec.Replicas = 0 }, WriteStatus, hold.RolledBack},
		"slow verification":       {func(o *HeldWorkload, h *hold.Object) { h.Spec.Verify.Timeout.Duration = 2 * time.Minute }, WriteStatus, hold.RolledBack},
		"of KEDA":                 {func(o *HeldWorkload, h *hold.Object) { o.Autoscaler.ScaledObject = "x" }, WriteStatus, hold.RolledBack},
		"forbidden gate":          {func(o *HeldWorkload, h *hold.Object) { o.GateFaults = map[string]string{"sale": "forbidden"} }, WriteStatus, hold.RolledBack},
		"nothing recorded":        {func(o *HeldWorkload, h *hold.Object) { h.Status.Numbers = nil }, WriteStatus, hold.Received},
		"bounds not set": {func(o *HeldWorkload, h *hold.Object) {
			h.Status.Numbers.MinReplicas.From, o.Autoscaler.Bounds.MinReplicas = &two, 2
		}, SetBounds, ""},
		"bounds set": {func(o *HeldWorkload, h *hold.Object) {}, WriteStatus, hold.Raised},
		"replicas not set": {func(o *HeldWorkload, h *hold.Object) {
			h.Status.State, h.Status.Numbers.Replicas.From, o.Scale.Replicas = hold.Raised, &two, 2
		}, SetReplicas, ""},
		"replicas lowered right after the bounds": {func(o *HeldWorkload, h *hold.Object) {
			back(o, h)
			five := int32(5)
			h.Status.Numbers.Replicas.From, o.Scale.Replicas, o.Autoscaler.BoundsSet = &five, 5, benchStart.Add(-time.Second)
		}, Rest, ""},
		"replicas cut to the bounds before they are lowered": {func(o *HeldWorkload, h *hold.Object) {
			back(o, h)
			twelve := int32(12)
			h.Status.State, h.Status.Numbers.Replicas.From, o.Scale.Replicas, o.Autoscaler.Active = hold.Open, &twelve, 10, false
		}, WriteStatus, hold.Open},
		"replicas cut to the bounds, and recorded": {func(o *HeldWorkload, h *hold.Object) {
			back(o, h)
			ten := int32(10)
			h.Status.State, h.Status.Numbers.Replicas.From, o.Scale.Replicas, o.Autoscaler.Active = hold.Open, &ten, 10, false
		}, SetReplicas, ""},
		"replicas lowered later": {func(o *HeldWorkload, h *hold.Object) {
			back(o, h)
			five := int32(5)
			h.Status.Numbers.Replicas.From, o.Scale.Replicas, o.Autoscaler.BoundsSet = &five, 5, benchStart.Add(-boundsLag)
		}, SetReplicas, ""},
		"replicas set":   {func(o *HeldWorkload, h *hold.Object) { h.Status.State = hold.Raised }, WriteStatus, hold.Scaled},
		"pods ready":     {func(o *HeldWorkload, h *hold.Object) { h.Status.State = hold.Scaled }, WriteStatus, hold.Ready},
		"pods not ready": {func(o *HeldWorkload, h *hold.Object) { h.Status.State = hold.Scaled; pendingPods(o.Pods, 1) }, Rest, ""},
		"pods never ready": {func(o *HeldWorkload, h *hold.Object) {
			h.Status.State, h.Status.Entered = hold.Scaled, metav1.NewMicroTime(benchStart.Add(-hold.DefaultWithin))
			pendingPods(o.Pods, 1)
		}, WriteStatus, hold.RolledBack},
		"verified pods replaced": {func(o *HeldWorkload, h *hold.Object) {
			h.Status.State, h.Status.YoungestVerified = hold.Verified, metav1.NewTime(o.Pods[0].CreationTimestamp.Add(-time.Second))
		}, WriteStatus, hold.Ready},
		"pods gone before they are verified": {func(o *HeldWorkload, h *hold.Object) {
			h.Status.State, h.Status.Entered, h.Spec.Verify = hold.Ready, metav1.NewMicroTime(benchStart.Add(-hold.DefaultWithin)), &verify.Spec{URL: "/"}
			pendingPods(o.Pods, 1)
		}, WriteStatus, hold.RolledBack},
		"somebody lowered it": {func(o *HeldWorkload, h *hold.Object) {
			h.Status.State, o.Autoscaler.Bounds.MinReplicas = hold.Scaled, 3
		}, WriteStatus, hold.Scaled},
		"yielded": {func(o *HeldWorkload, h *hold.Object) {
			h.Status.State, o.Autoscaler.Bounds.MinReplicas, h.Status.Yielded, h.Status.Numbers.MinReplicas = hold.Scaled, 3, []string{fieldMinReplicas}, hold.Change{Was: 3, Set: 3}
		}, WriteStatus, hold.RolledBack},
		"open, and the autoscaler allows fewer": {func(o *HeldWorkload, h *hold.Object) {
			h.Status.State, h.Status.Numbers.MaxReplicas, o.Autoscaler.Bounds.MaxReplicas = hold.Open, hold.Change{Was: 4, Set: 4}, 4
			h.Status.Numbers.MinReplicas.Set, o.Autoscaler.Bounds.MinReplicas = 4, 4
		}, WriteStatus, hold.Open},
		"open, and told that the autoscaler allows fewer": {func(o *HeldWorkload, h *hold.Object) {
			h.Status.State, h.Status.Numbers.MaxReplicas, o.Autoscaler.Bounds.MaxReplicas = hold.Open, hold.Change{Was: 4, Set: 4}, 4
			h.Status.Numbers.MinReplicas.Set, o.Autoscaler.Bounds.MinReplicas, h.Status.Told = 4, 4, []string{"Open", "Yielded"}
			h.Status.Conditions = setHoldCondition(nil, conditionYielded, metav1.ConditionTrue, yieldedToMaximum, o.maxReplicasFailure(h, benchStart), benchStart)
		}, Rest, ""},
		"ready, and the autoscaler allows fewer": {func(o *HeldWorkload, h *hold.Object) {
			h.Status.State, h.Status.Numbers.MaxReplicas, o.Autoscaler.Bounds.MaxReplicas = hold.Ready, hold.Change{Was: 4, Set: 4}, 4
			h.Status.Numbers.MinReplicas.Set, o.Autoscaler.Bounds.MinReplicas = 4, 4
		}, WriteStatus, hold.RolledBack},
		"no verdict": {func(o *HeldWorkload, h *hold.Object) { h.Status.State = hold.Ready }, Rest, ""},
		"verdict of an earlier try": {func(o *HeldWorkload, h *hold.Object) {
			h.Status.State = hold.Ready
			o.Verdicts = map[types.UID]Verdict{"uid": {Passed: true}}
		}, Rest, ""},
		"verdict of another request": {func(o *HeldWorkload, h *hold.Object) {
			h.Status.State = hold.Ready
			o.Verdicts = map[types.UID]Verdict{"uid": {Passed: true, Since: benchStart, Asked: newVerifiedRequest(h)}}
			h.Spec.Verify = &verify.Spec{URL: "/other"}
		}, Rest, ""},
		"passed": {func(o *HeldWorkload, h *hold.Object) {
			h.Status.State = hold.Ready
			o.Verdicts = map[types.UID]Verdict{"uid": {Passed: true, Since: benchStart, Asked: newVerifiedRequest(h)}}
		}, WriteStatus, hold.Verified},
		"failed": {func(o *HeldWorkload, h *hold.Object) {
			h.Status.State = hold.Ready
			o.Verdicts = map[types.UID]Verdict{"uid": {Message: "slow", Since: benchStart, Asked: newVerifiedRequest(h)}}
		}, WriteStatus, hold.RolledBack},
		"no verification": {func(o *HeldWorkload, h *hold.Object) { h.Status.State, h.Spec.Verify = hold.Ready, nil }, WriteStatus, hold.Verified},
		"verified":        {func(o *HeldWorkload, h *hold.Object) { h.Status.State = hold.Verified }, RecordGate, ""},
		"waits for approval": {func(o *HeldWorkload, h *hold.Object) {
			h.Status.State, o.GatePlans = hold.Verified, map[string]action.Plan{"sale": {Approval: true}}
		}, WriteStatus, hold.Verified},
		"approved": {func(o *HeldWorkload, h *hold.Object) {
			h.Status.State, h.Spec.Approved, h.Generation, o.GatePlans = hold.Verified, true, 2, map[string]action.Plan{"sale": {Approval: true}}
		}, WriteStatus, hold.Verified},
		"the pause of a step": {func(o *HeldWorkload, h *hold.Object) {
			h.Status.State, h.Status.GateOpen, h.Status.GateSteps, h.Status.GateStepAt = hold.Verified, true, 1, metav1.NewMicroTime(benchStart)
			h.Status.Message = "the gate is open at 10 %; 100 % follow at 07:01:00"
			o.GatePlans = map[string]action.Plan{"sale": {Steps: []int{10, 100}, Pause: time.Minute}}
		}, Rest, ""},
		"the second step": {func(o *HeldWorkload, h *hold.Object) {
			h.Status.State, h.Status.GateOpen, h.Status.GateSteps, h.Status.GateStepAt = hold.Verified, true, 1, metav1.NewMicroTime(benchStart.Add(-time.Minute))
			o.GatePlans = map[string]action.Plan{"sale": {Steps: []int{10, 100}, Pause: time.Minute}}
		}, OpenGate, ""},
		"gate noted as open":      {func(o *HeldWorkload, h *hold.Object) { h.Status.State, h.Status.GateOpen = hold.Verified, true }, OpenGate, ""},
		"verified, and pods gone": {func(o *HeldWorkload, h *hold.Object) { h.Status.State = hold.Verified; pendingPods(o.Pods, 1) }, Rest, ""},
		"gate fails": {func(o *HeldWorkload, h *hold.Object) {
			h.Status.State, h.Status.GateOpen = hold.Verified, true
			o.GateErrors["uid"] = "away"
		}, WriteStatus, hold.Verified},
		"gate fails again": {func(o *HeldWorkload, h *hold.Object) {
			h.Status.State, h.Status.GateOpen, h.Status.Message = hold.Verified, true, gateErrorPrefix+"away"
			o.GateErrors["uid"] = "away again"
		}, Rest, ""},
		"gate fails for a minute": {func(o *HeldWorkload, h *hold.Object) {
			h.Status.State, h.Status.GateOpen, h.Status.Entered = hold.Verified, true, metav1.NewMicroTime(benchStart.Add(-gateOpenTimeout))
			o.GateErrors["uid"] = "away"
		}, WriteStatus, hold.RolledBack},
		"a command opens no gate": {func(o *HeldWorkload, h *hold.Object) { h.Status.State, o.Gated = hold.Verified, false }, Rest, ""},
		"no gate":                 {func(o *HeldWorkload, h *hold.Object) { h.Status.State, h.Spec.Gates = hold.Verified, nil }, WriteStatus, hold.Open},
		"open":                    {func(o *HeldWorkload, h *hold.Object) { h.Status.State, h.Status.GateOpen = hold.Open, true }, WriteStatus, hold.Open},
		"open, and owed": {func(o *HeldWorkload, h *hold.Object) {
			h.Status.State, h.Status.GateOpen, h.Status.Told, h.Status.Outbox = hold.Open, true, []string{"Open"}, []hold.OutboxMessage{{Key: "k", Notifiers: []string{"oncall"}}}
		}, PostMessage, ""},
		"open, and posted": {func(o *HeldWorkload, h *hold.Object) {
			h.Status.State, h.Status.GateOpen, h.Status.Told, h.Status.Outbox = hold.Open, true, []string{"Open"}, []hold.OutboxMessage{{Key: "k", Notifiers: []string{"oncall"}}}
			o.Deliveries = map[messageAddress]notify.Delivery{{"k", "oncall"}: {Posted: true}}
		}, Rest, ""},
		"open, and delivered": {func(o *HeldWorkload, h *hold.Object) {
			h.Status.State, h.Status.GateOpen, h.Status.Told, h.Status.Outbox = hold.Open, true, []string{"Open"}, []hold.OutboxMessage{{Key: "k", Notifiers: []string{"oncall"}}}
			o.Deliveries = map[messageAddress]notify.Delivery{{"k", "oncall"}: {Posted: true, Done: true}}
		}, WriteStatus, hold.Open},
		"open and told": {func(o *HeldWorkload, h *hold.Object) {
			h.Status.State, h.Status.GateOpen, h.Status.Told = hold.Open, true, []string{"Open"}
		}, Rest, ""},
		"over, gate open":   {func(o *HeldWorkload, h *hold.Object) { h.Status.State, h.Status.GateOpen = hold.Open, true; over(h) }, ShutGate, ""},
		"failed, gate open": {func(o *HeldWorkload, h *hold.Object) { h.Status.State, h.Status.GateOpen = hold.RolledBack, true }, ShutGate, ""},
		"paused, gate open": {func(o *HeldWorkload, h *hold.Object) {
			h.Status.State, h.Status.GateOpen, h.Spec.Paused = hold.Open, true, true
		}, WriteStatus, hold.Open},
		"paused and noted, gate open": {func(o *HeldWorkload, h *hold.Object) {
			h.Status.State, h.Status.GateOpen, h.Spec.Paused = hold.Open, true, true
			h.Status.Conditions = []metav1.Condition{{Type: conditionPaused, Status: metav1.ConditionTrue, Message: "paused by a person"}}
		}, ShutGate, ""},
		"over":       {func(o *HeldWorkload, h *hold.Object) { h.Status.State = hold.Open; over(h) }, WriteStatus, hold.Open},
		"given back": {func(o *HeldWorkload, h *hold.Object) { h.Status.State = hold.Open; back(o, h) }, DropBoundsOwner, ""},
		"given back, just now, and may go to zero": {func(o *HeldWorkload, h *hold.Object) {
			h.Status.State = hold.Open
			back(o, h)
			h.Status.Numbers.MinReplicas, o.Autoscaler.Bounds.MinReplicas = hold.Change{}, 0
			o.Autoscaler.BoundsSet = benchStart.Add(-time.Second)
		}, Rest, ""},
		"given back, and may go to zero": {func(o *HeldWorkload, h *hold.Object) {
			h.Status.State = hold.Open
			back(o, h)
			h.Status.Numbers.MinReplicas, o.Autoscaler.Bounds.MinReplicas = hold.Change{}, 0
			o.Autoscaler.BoundsSet = benchStart.Add(-boundsLag)
		}, DropBoundsOwner, ""},
		"given back, scale owned": {func(o *HeldWorkload, h *hold.Object) {
			h.Status.State = hold.Open
			back(o, h)
			o.Autoscaler.Owned = false
		}, DropScaleOwner, ""},
		"given back, owner of nothing": {func(o *HeldWorkload, h *hold.Object) {
			h.Status.State = hold.Open
			back(o, h)
			o.Autoscaler.Owned, o.Scale.Owned = false, false
		}, WriteStatus, hold.Open},
		"record dropped": {func(o *HeldWorkload, h *hold.Object) { h.Status.State = hold.Open; back(o, h); h.Status.Numbers = nil }, WriteStatus, hold.Released},
		"released, start told": {func(o *HeldWorkload, h *hold.Object) {
			h.Status.State, h.Status.Told = hold.Released, []string{"Open"}
			back(o, h)
			h.Status.Numbers = nil
		}, WriteStatus, hold.Released},
		"released, and owed": {func(o *HeldWorkload, h *hold.Object) {
			h.Status.State, h.Status.Outbox = hold.Released, []hold.OutboxMessage{{Key: "k", Notifiers: []string{"oncall"}}}
			back(o, h)
			h.Status.Told = []string{outcomeStarted, "Released"}
			h.Status.Numbers, o.Deliveries = nil, map[messageAddress]notify.Delivery{{"k", "oncall"}: {Posted: true}}
		}, Rest, ""},
		"released": {func(o *HeldWorkload, h *hold.Object) {
			h.Status.State, h.Status.Told = hold.Released, []string{outcomeStarted, "Released"}
			back(o, h)
			h.Status.Numbers = nil
		}, DeleteHold, ""},
		"start not told": {func(o *HeldWorkload, h *hold.Object) {
			h.Status.State, h.Status.Told = hold.Scaled, nil
			pendingPods(o.Pods, 1)
		}, WriteStatus, hold.Scaled},
		"end after the start not told": {func(o *HeldWorkload, h *hold.Object) {
			h.Status.State = hold.Released
			back(o, h)
			h.Status.Numbers = nil
		}, WriteStatus, hold.Released},
		"deleted": {func(o *HeldWorkload, h *hold.Object) {
			h.Status.State, h.Status.Told = hold.Released, []string{outcomeStarted, "Released"}
			back(o, h)
			h.Status.Numbers = nil
			h.DeletionTimestamp = &metav1.Time{}
		}, RemoveFinalizer, ""},
		"released, of another client": {func(o *HeldWorkload, h *hold.Object) {
			h.Status.State, h.Labels, h.Status.Told = hold.Released, nil, []string{outcomeStarted, "Released"}
			back(o, h)
			h.Status.Numbers = nil
		}, Rest, ""},
		"rolled back, untold": {func(o *HeldWorkload, h *hold.Object) {
			h.Status.State = hold.RolledBack
			back(o, h)
			h.Spec.Until = nil
			h.Status.Numbers = nil
		}, WriteStatus, hold.RolledBack},
		"rolled back, to be tried": {func(o *HeldWorkload, h *hold.Object) {
			h.Status.State, h.Status.RetryAt, h.Status.Told = hold.RolledBack, metav1.NewMicroTime(benchStart), []string{"RolledBack"}
			h.Status.Numbers = nil
		}, WriteStatus, hold.Received},
	} {
		s := nextStep(rowObserved(row.change), benchStart)
		if s.Kind != row.kind || row.kind == WriteStatus && s.Status.State != row.state {
			t.Errorf("%s: %s %s %q; want %s %s", name, s.Kind, s.Status.State, s.Message, row.kind, row.state)
		}
	}
}

// TestKilledAfterEveryRow follows the steps up and back, and forgets after each step what a process keeps in memory: the next process
// comes to the same end.
func TestKilledAfterEveryRow(t *testing.T) {
	t.Parallel()
	for killed := range 40 {
		o := rowObserved(func(o *HeldWorkload, h *hold.Object) {
			h.Status, o.Scale.Replicas, o.Autoscaler.Bounds.MinReplicas, o.Scale.Owned, o.Autoscaler.Owned = hold.Status{}, 2, 2, false, false
		})
		steps := 0
		run := func(now time.Time) {
			for range 40 {
				s := nextStep(o, now)
				if i := o.holdToVerify(now); i >= 0 {
					o.Verdicts = map[types.UID]Verdict{"uid": {Passed: true, Since: o.Holds[i].Status.Since.Time, Asked: newVerifiedRequest(&o.Holds[i])}}
					continue
				}
				if s.Kind == Rest {
					return
				}
				if o = o.Simulate(s); steps == killed {
					o.Verdicts, o.GateErrors = nil, map[types.UID]string{}
				}
				steps++
			}
			t.Fatalf("killed after step %d: no end", killed)
		}
		run(benchStart)
		if h := o.Holds[0]; h.Status.State != hold.Open || o.Autoscaler.Bounds.MinReplicas != 5 || o.Scale.Replicas != 5 || !h.Status.GateOpen {
			t.Fatalf("killed after step %d: %+v, %+v", killed, h.Status, o.Autoscaler)
		}
		run(benchStart.Add(2 * time.Hour))
		if len(o.Holds) != 0 || o.Autoscaler.Bounds.MinReplicas != 2 || o.Autoscaler.Owned || o.Scale.Owned {
			t.Fatalf("killed after step %d, and after the end: %+v %+v", killed, o.Holds, o.Autoscaler)
		}
	}
}

// countingReader counts reads.
type countingReader struct {
	Cluster
	reads int
}

func (c *countingReader) ListHolds(ctx context.Context, namespace string) ([]hold.Object, error) {
	c.reads++
	return c.Cluster.ListHolds(ctx, namespace)
}

func (c *countingReader) GetScale(ctx context.Context, t hold.Workload) (*Scale, error) {
	c.reads++
	return c.Cluster.GetScale(ctx, t)
}

func (c *countingReader) ListAutoscalers(ctx context.Context, namespace string) ([]*autoscalingv2.HorizontalPodAutoscaler, error) {
	c.reads++
	return c.Cluster.ListAutoscalers(ctx, namespace)
}

func (c *countingReader) ListPods(ctx context.Context, namespace, selector string) ([]corev1.Pod, error) {
	c.reads++
	return c.Cluster.ListPods(ctx, namespace, selector)
}

// TestD15: a workload that waits makes no request: an event has the whole client for itself.
func TestD15WaitingReadsCachesOnly(t *testing.T) {
	t.Parallel()
	b := newBench()
	live := &countingReader{Cluster: b.memoryCluster}
	b.engine = New(Options{Cluster: live, Reader: b.memoryCluster, Checker: b.checker, Gates: b.gates, Notifier: b.notifier})
	b.addWorkload("shop", 2, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 30})
	b.apply(t, "shop", saleHold())
	b.mustPass(t)
	wantState(t, b.find("shop", "event/sale"), hold.Scaled, "")
	live.reads = 0
	for range 100 {
		b.mustPass(t)
	}
	if live.reads > 0 {
		t.Errorf("%d requests while waiting", live.reads)
	}
	r, err := b.engine.ReconcileOnce(t.Context(), memoryRef("shop"), b.now)
	if err != nil || r.NextPass.Sub(b.now) < cachedWaitInterval {
		t.Errorf("the next pass is after %s, %v", r.NextPass.Sub(b.now), err)
	}
}

// TestPlan: a dry run shows the steps, and makes none.
func TestPlan(t *testing.T) {
	t.Parallel()
	b := newBench()
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 10})
	h := saleHold()
	h.Replicas = 6
	plan, err := b.engine.PlanHold(t.Context(), memoryRef("shop"), h, b.now)
	if err != nil || plan.ToReplicas != 6 || plan.ToBounds.MinReplicas != 6 || plan.RejectReason != "" || len(plan.Steps) < 5 || len(b.holds) > 0 || w.replicas != 2 {
		t.Errorf("%+v, %v", plan, err)
	}
	h.Replicas = 11
	if plan, err := b.engine.PlanHold(t.Context(), memoryRef("shop"), h, b.now); err != nil || plan.RejectReason == "" || plan.ToReplicas != 2 {
		t.Errorf("%+v, %v", plan, err)
	}
}

// TestWorkloadGoesAndComes: the autoscaler of a deleted workload gets its bounds back, and the hold begins again with the workload. The record
// stays: both may be made again from their copies.
func TestWorkloadGoesAndComes(t *testing.T) {
	t.Parallel()
	b := newBench()
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 10})
	b.apply(t, "shop", nightHold(8))
	b.mustPass(t)
	o := HeldWorkload{Workload: memoryRef("shop"), Holds: []hold.Object{*b.find("shop", "schedule/hours")}, Autoscaler: convertHeldAutoscaler(w.object()), Gated: true}
	sawBounds := false
	for range 20 {
		s := nextStep(o, b.now)
		if s.Kind == Rest {
			break
		}
		sawBounds = sawBounds || s.Kind == SetBounds && s.Bounds.MinReplicas == 2
		o = o.Simulate(s)
	}
	if h := &o.Holds[0]; !sawBounds || h.Status.State != hold.Received || h.Status.Numbers == nil || hasRaisedBounds(*h.Status.Numbers) {
		t.Errorf("bounds set back: %v; %+v", sawBounds, h.Status)
	}
}

// TestPlanBesideAFailingHold: a hold of another client that fails in this moment, since no controller runs, does not reject a person's.
func TestPlanBesideAFailingHold(t *testing.T) {
	t.Parallel()
	b := newBench()
	b.addWorkload("shop", 2, hold.ReplicaBounds{})
	b.apply(t, "shop", saleHold())
	b.mustPass(t)
	b.now = b.now.Add(time.Hour)
	h := hold.Hold{ID: "set/alice", Replicas: 30}
	plan, err := b.engine.PlanHold(t.Context(), memoryRef("shop"), h, b.now)
	if err != nil || plan.RejectReason != "" || plan.ToReplicas != 30 {
		t.Errorf("%+v, %v", plan, err)
	}
}
