package rollout

import (
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// TestD12OrderOfCaches: caches list objects in a random order. It neither changes a message, nor the hold that a decision names.
func TestD12OrderOfCaches(t *testing.T) {
	t.Parallel()
	scaler := func(name string) *autoscalingv2.HorizontalPodAutoscaler {
		ref := autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "shop"}
		return &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: autoscalingv2.HorizontalPodAutoscalerSpec{ScaleTargetRef: ref}}
	}
	recorded := func(name string) hold.Object {
		h := hold.NewObject(memoryRef(name), saleHold(), "")
		n := hold.Numbers{AutoscalerUID: "moved", MinReplicas: hold.Change{Was: 2, Set: 20}}
		h.Status.Numbers = &n
		return *h
	}
	var messages, awaited []string
	for _, names := range [][]string{{"second", "third"}, {"third", "second"}} {
		_, err := pickHeldAutoscaler([]*autoscalingv2.HorizontalPodAutoscaler{scaler(names[0]), scaler(names[1])}, memoryRef("shop"), hold.Numbers{})
		messages = append(messages, err.Error())
		o := HeldWorkload{Workload: memoryRef("shop"), Autoscaler: &Autoscaler{UID: "moved"}}
		o.addHolds([]hold.Object{recorded(names[0]), recorded(names[1])})
		awaited = append(awaited, o.awaitedWorkload().Name)
	}
	if messages[0] != messages[1] || messages[0] != "2 autoscalers scale it (second, third) and undo each other: delete all but one" {
		t.Errorf("%q", messages)
	}
	if awaited[0] != awaited[1] || awaited[0] != "second" {
		t.Errorf("waits for %q", awaited)
	}
}
