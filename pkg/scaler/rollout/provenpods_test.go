// Pods that were not tested, although the hold is verified.

package rollout

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

// TestD1AllReplacedPodsAreTested: all pods that took the place of verified ones while a gate waits are tested, and not only as many as the hold added.
func TestD1AllReplacedPodsAreTested(t *testing.T) {
	t.Parallel()
	for _, before := range []int32{2, 18, 20, 30} {
		b := newBench()
		b.gates.plans = map[string]action.Plan{"sale": {Approval: true}}
		w := b.addWorkload("shop", before, hold.ReplicaBounds{})
		h := saleHold()
		h.Lower, h.Gates = true, []string{"sale"}
		b.apply(t, "shop", h)
		b.mustPass(t)
		w.ready = 20
		b.mustPass(t)
		wantState(t, b.find("shop", "event/sale"), hold.Verified, "waits for approval")
		b.checker.tested = nil
		b.now = b.now.Add(time.Hour)
		w.drain(b.memoryCluster, 15)
		drained := b.now
		b.now = b.now.Add(5 * time.Second) // they became ready meanwhile
		b.mustPass(t)
		tested := map[string]bool{}
		for _, pod := range b.checker.tested {
			if pod.CreationTimestamp.Time.Equal(drained) {
				tested[pod.Name] = true
			}
		}
		if len(tested) != 15 {
			t.Errorf("from %d replicas: %d of 15 new pods are tested", before, len(tested))
		}
	}
}

// TestD1PodsThatWereNotReadyAreNotProven: a pod that is as old as the verified ones, and became ready after their verification, does not count for them:
// the autoscaler may have asked for more pods than the hold.
func TestD1PodsThatWereNotReadyAreNotProven(t *testing.T) {
	t.Parallel()
	pods := newReadyPods(0, 0, 0, 0)
	for i := range pods {
		pods[i].Status.PodIP = "10.0.0.1"
		pods[i].Status.Conditions[0].LastTransitionTime = metav1.NewTime(podStart.Add(time.Duration(10*i) * time.Second))
	}
	now := podStart.Add(time.Minute)
	h := newPodsHold(now, 2, 2)
	h.Spec.Verify, h.Status.State = &verify.Spec{}, hold.Ready
	p := &workloadPass{Engine: New(Options{Cluster: newMemoryCluster(podStart), Checker: &memoryChecker{passed: true}}), now: now, observed: HeldWorkload{Scale: &Scale{Replicas: 4}, Pods: pods[:2]}}
	v := p.verifyNewPods(t.Context(), h)
	o := HeldWorkload{Scale: p.observed.Scale, Holds: []hold.Object{*h}, Verdicts: map[types.UID]Verdict{h.UID: v}, Pods: pods[:2]}
	verified, _ := o.verifyHoldPods(now)
	o.Holds[0].Status = verified.Status
	for name, c := range map[string]struct {
		pods  []corev1.Pod
		again int // pods that are tested again
	}{"the verified": {pods[:2], 0}, "and more": {pods, 0}, "one each": {pods[1:3], 1}, "the others": {pods[2:], 2}} {
		o.Pods = c.pods
		missing := o.describeMissingPods(&o.Holds[0], now)
		step, again := o.verifyReplacedPods(now)
		if (missing == "") != (c.again == 0) || again != (c.again > 0) {
			t.Errorf("%s: %q, %+v", name, missing, step.Message)
		}
		if !again {
			continue
		}
		next := o.Holds[0]
		next.Status = step.Status
		if tested, _ := splitRolloutPods(c.pods, &next); len(tested) != c.again {
			t.Errorf("%s: %d pods are tested again; want %d", name, len(tested), c.again)
		}
	}
}

// TestD1KeptPodsAreTested: of a hold that failed, its autoscaler kept the pods. When the hold is tried again, begins after a pause, or has changed, all of
// them are tested, also after the pods of before were replaced.
func TestD1KeptPodsAreTested(t *testing.T) {
	t.Parallel()
	for name, again := range map[string]func(b *bench){
		"tried again": func(b *bench) { b.now = b.now.Add(time.Hour) },
		"changed": func(b *bench) {
			h := saleHold()
			h.Replicas = 21
			b.apply(t, "shop", h)
		},
		"paused": func(b *bench) {
			b.pauseHold(t, "shop", "event/sale", true, nil)
			b.mustPass(t)
			b.pauseHold(t, "shop", "event/sale", false, nil)
		},
	} {
		b := newBench()
		b.checker.passed = false
		w := b.addWorkload("shop", 2, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 30})
		b.now = b.now.Add(time.Hour)
		h := saleHold()
		h.Until = b.now.Add(5 * time.Hour)
		b.apply(t, "shop", h)
		b.mustPass(t)
		w.ready = 20
		b.mustPass(t)
		wantState(t, b.find("shop", "event/sale"), hold.RolledBack, "")
		b.now = b.now.Add(time.Minute)
		w.drain(b.memoryCluster, 2)
		b.now = b.now.Add(time.Minute)
		b.checker.passed, b.checker.tested = true, nil
		again(b)
		b.mustPass(t)
		w.ready = w.replicas
		b.mustPass(t)
		wantState(t, b.find("shop", "event/sale"), hold.Open, "")
		tested := map[types.UID]bool{}
		for _, pod := range b.checker.tested {
			tested[pod.UID] = true
		}
		if len(tested) != int(w.replicas) {
			t.Errorf("%s: %d of %d pods are tested", name, len(tested), w.replicas)
		}
	}
}
