// Tests of new and old pods, unready pods, and the delays between conflicting writes.

package rollout

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

var podStart = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// newReadyPods returns ready pods, created the given seconds after podStart.
func newReadyPods(seconds ...int) (pods []corev1.Pod) {
	for i, s := range seconds {
		pods = append(pods, corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("p%d", i), CreationTimestamp: metav1.NewTime(podStart.Add(time.Duration(s) * time.Second))},
			Status: corev1.PodStatus{
				Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
			},
		})
	}
	return pods
}

func TestSplit(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		made []int
		hold *hold.Object
		want int // new pods
	}{
		"created since":            {[]int{-60, -60, 0, 1, 2}, newPodsHold(podStart.Add(900*time.Millisecond), 5, 2), 3},
		"more, as the load asks":   {[]int{-60, -60, 1, 2, 3, 4}, newPodsHold(podStart, 5, 2), 4},
		"same scale":               {[]int{-60, -60}, newPodsHold(podStart, 2, 2), 0},
		"lower":                    {[]int{-60, -60}, newPodsHold(podStart, 1, 2), 0},
		"kept after a failed hold": {[]int{-60, -60, -2, -2, -1}, newPodsHold(podStart, 5, 2), 3},
		"more kept than asked for": {[]int{-60, -60, -2, -2, -1}, newPodsHold(podStart, 3, 0), 5},
		"fewer than asked for":     {[]int{-60}, newPodsHold(podStart, 5, 2), 1},
	} {
		now, old := splitRolloutPods(newReadyPods(c.made...), c.hold)
		if len(now) != c.want || len(now)+len(old) != len(c.made) {
			t.Errorf("%s: %d new and %d old, want %d new", name, len(now), len(old), c.want)
		}
		for i := range now {
			for j := range old {
				if now[i].CreationTimestamp.Before(&old[j].CreationTimestamp) {
					t.Errorf("%s: %s is new, and older than %s", name, now[i].Name, old[j].Name)
				}
			}
		}
	}
}

func TestMissing(t *testing.T) {
	t.Parallel()
	waiting := func(reason string) corev1.PodStatus {
		return corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{{
			State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}},
		}}}
	}
	unscheduled := corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "0/1 nodes are available",
	}}}
	ended := corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{
		State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "OOMKilled", ExitCode: 137}},
	}}}
	for want, statuses := range map[string][]corev1.PodStatus{
		"":                         {},
		"1 waiting (ErrImagePull)": {waiting("ErrImagePull")},
		"2 waiting (ErrImagePull)": {waiting("ErrImagePull"), waiting("ErrImagePull")},
		"1 not scheduled (0/1 nodes are available), 1 terminated (OOMKilled, exit code 137)": {ended, unscheduled},
		"1 running, not ready": {{Phase: corev1.PodRunning}},
		"1 pending":            {{Phase: corev1.PodPending}},
	} {
		pods := newReadyPods(1, 1, 1)
		for i, s := range statuses {
			pods[i].Status = s
		}
		o := HeldWorkload{Pods: pods, Scale: &Scale{Selector: "app=shop", Replicas: 3}}
		got := o.describeMissingPods(newPodsHold(podStart, 3, 0), podStart.Add(time.Minute))
		if want != "" {
			want = fmt.Sprintf("%d of 3 pods not ready after 1m0s: %s", len(statuses), want)
		}
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	o := HeldWorkload{Pods: newReadyPods(1), Scale: &Scale{Selector: "app=shop", Replicas: 3}}
	if got := o.describeMissingPods(newPodsHold(podStart, 3, 0), podStart.Add(time.Minute)); got != "2 of 3 pods not ready after 1m0s: 2 not created" {
		t.Errorf("%q", got)
	}
}

func newPodsHold(since time.Time, replicas, before int32) *hold.Object {
	return &hold.Object{Spec: hold.Spec{Replicas: replicas}, Status: hold.Status{Since: metav1.NewMicroTime(since), ReplicasBefore: before}}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	total := time.Duration(0)
	for i := 1; i < maxPassConflicts; i++ {
		if delayAfterHoldConflict(i) > 500*time.Millisecond || delayAfterHoldConflict(i) < delayAfterHoldConflict(max(1, i-1)) {
			t.Errorf("try %d waits %s", i, delayAfterHoldConflict(i))
		}
		total += delayAfterHoldConflict(i)
	}
	if total > 5*time.Second {
		t.Errorf("a pass gives up after %s", total)
	}
}
