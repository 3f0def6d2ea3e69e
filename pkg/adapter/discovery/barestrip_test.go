package discovery

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/panics"
)

// badObserver panics over the autoscaler bad.
type badObserver struct{ AutoscalerObserver }

func (badObserver) ObserveAutoscaler(o *autoscalingv2.HorizontalPodAutoscaler) {
	if o.Name == "bad" {
		panic("text of an autoscaler")
	}
}

func newTestGuard() *panics.Guard {
	return panics.NewGuard("read of an object", prometheus.NewCounter(prometheus.CounterOpts{Name: "panics"}))
}

// TestPanicLosesOnePod: a pod that makes the program panic has no labels and no target, in a list, a stream and an event alike. All others are there.
func TestPanicLosesOnePod(t *testing.T) {
	t.Parallel()
	guard, policy := newTestGuard(), endpointPolicy{}
	strip := func(obj any) (*storedPod, error) {
		if pod, ok := obj.(*corev1.Pod); ok && pod.Labels["bad"] != "" {
			panic("text of a pod")
		}
		return policy.stripPod(obj)
	}
	table := newWatchedPodTable()
	store := &reflectorStore[*storedPod]{
		resource: "pods", strip: guardStrip(guard, strip, policy.stripPod), sink: table, onChange: func() {}, onError: func() {},
	}
	good, bad := apiPod("shop", "good"), apiPod("shop", "bad")
	bad.Labels = map[string]string{"bad": "yes", "app": "web"}

	page, err := store.stripListPage(&corev1.PodList{Items: []corev1.Pod{*bad, *good}})
	if err != nil {
		t.Fatal(err)
	}
	list, ok := page.(*metainternalversion.List)
	if !ok || len(list.Items) != 2 {
		t.Fatalf("%T %+v", page, page)
	}
	for _, add := range []func(any) error{store.Add, store.Update, func(o any) error { _, err := store.Transformer()(o); return err }} {
		for _, pod := range []*corev1.Pod{bad, good} {
			if err := add(pod); err != nil {
				t.Fatal(err)
			}
		}
	}
	if pods, _ := table.countStoredPods(); pods != 2 {
		t.Errorf("%d pods, want 2", pods)
	}
	if n := testutil.ToFloat64(guard.Counter()); n != 4 {
		t.Errorf("%v panics counted, want 4", n)
	}
	if err := store.Delete(bad); err != nil {
		t.Fatal(err)
	}
	if pods, _ := table.countStoredPods(); pods != 1 {
		t.Errorf("%d pods after the end of the bad one, want 1", pods)
	}
}

// TestPanicLosesOneAutoscaler: the record of an autoscaler, whose whole object is a tenant's text, ends no other's.
func TestPanicLosesOneAutoscaler(t *testing.T) {
	t.Parallel()
	observed := observedAutoscalers{observer: badObserver{}}
	strip := guardStrip(newTestGuard(), observed.stripObservedAutoscaler, stripAutoscaler)
	for _, name := range []string{"bad", "good"} {
		a, err := strip(&autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: "7"}})
		if err != nil || a == nil || a.name != name || a.uid != "7" {
			t.Errorf("%s: %+v %v", name, a, err)
		}
	}
}
