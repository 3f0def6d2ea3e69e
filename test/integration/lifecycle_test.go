package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tachometer-metrics/tachometer/pkg/domain"
	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// atOnce is a watch event's time from the API server to the adapter on a busy machine. The pages stay: without the event, their
// values would be served for maxAge, 10 s, and the pages scraped for longer.
const atOnce = 3 * time.Second

// TestEndedPods ends pods in every way while their pages continue to count: the adapter omits them at once. It is not
// parallel: others would delay the events.
func TestEndedPods(t *testing.T) {
	requireCluster(t)
	namespace := newNamespace(t)
	want := map[string]float64{"stays": 1000, "terminates": 2000, "succeeds": 3000, "fails": 4000, "goes": 5000}
	counters := map[string]*counter{}
	for name, rate := range want {
		counters[name] = newCounter(rate)
		newPod(t, namespace, name, nil, counters[name])
	}
	all := podsPath(namespace, requests, "", "")
	// On a busy machine a first sample may be dated late, and the first values are off (docs/correctness.md): only their end matters here.
	eventually(t, 20*time.Second, func(ctx context.Context) error {
		found, err := admin.values(ctx, all)
		if err != nil {
			return err
		}
		return agree(found, want, close5)
	})

	pods := client.CoreV1().Pods(namespace)
	patch := func(name, text string, subresources ...string) {
		t.Helper()
		if _, err := pods.Patch(t.Context(), name, types.StrategicMergePatchType, []byte(text), metav1.PatchOptions{}, subresources...); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(name string) {
		t.Helper()
		if err := pods.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	patch("terminates", `{"metadata":{"finalizers":["test.example/stay"]}}`)
	t.Cleanup(func() { // without it the namespace could not be deleted
		_, _ = pods.Patch(context.Background(), "terminates", types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	})
	for _, end := range []struct {
		pod  string
		how  func()
		code int32
		says string
	}{
		{"terminates", func() { remove("terminates") }, http.StatusServiceUnavailable, "terminating"},
		{"succeeds", func() { patch("succeeds", `{"status":{"phase":"Succeeded"}}`, "status") }, http.StatusServiceUnavailable, "pod has succeeded"},
		{"fails", func() { patch("fails", `{"status":{"phase":"Failed"}}`, "status") }, http.StatusServiceUnavailable, "pod has failed"},
		{"goes", func() { remove("goes") }, http.StatusNotFound, "goes"},
	} {
		end.how()
		counters[end.pod].set(0) // what it went on counting would be a part of the total
		delete(want, end.pod)
		eventually(t, atOnce, func(ctx context.Context) error {
			found, err := admin.values(ctx, all)
			if err != nil {
				t.Errorf("when %s ends: %v", end.pod, err)
			}
			if !maps.EqualFunc(found, want, func(float64, float64) bool { return true }) {
				return fmt.Errorf("values %v, want those of %v", found, slices.Sorted(maps.Keys(want)))
			}
			return nil
		})
		eventually(t, 20*time.Second, func(ctx context.Context) error { // the others have its counts until the window begins after its end
			found, err := admin.values(ctx, all)
			if err != nil {
				return err
			}
			return agree(found, want, never)
		})
		_, err := admin.raw(t.Context(), stack.CustomMetrics+"/namespaces/"+namespace+"/pods/"+end.pod+"/"+requests)
		if err := rejected(err, end.code, end.says); err != nil {
			t.Errorf("%s: %v", end.pod, err)
		}
	}

	// Another pod of the same name has another load: no value of the first pod is in its values. A kubelet needs seconds to start it;
	// by then the adapter has removed the first pod's target.
	eventually(t, 20*time.Second, func(ctx context.Context) error {
		targets, err := listTargets(ctx, namespace)
		if err == nil && !slices.Equal(targets, []string{"stays", "terminates"}) { // "terminates" is one for as long as it answers
			err = fmt.Errorf("the targets are %v", targets)
		}
		return err
	})
	list, err := pods.List(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=terminates"})
	if err != nil || len(list.Items) != 1 || list.Items[0].Status.Phase != corev1.PodRunning {
		t.Errorf("the terminating pod does not terminate any more, so nothing was shown with it: %v", err)
	}
	gone := time.Now()
	want["goes"] = 500
	newPod(t, namespace, "goes", nil, newCounter(want["goes"]))
	// A window that began before has the counts of both. Until it begins after the new pod, that has a share of it, less than it counts now.
	eventually(t, 20*time.Second, func(ctx context.Context) error {
		found, begin, err := admin.valuesSince(ctx, all, "goes")
		if err != nil {
			return err
		}
		if found["goes"] > (1+close5)*want["goes"] && begin.After(gone) {
			t.Errorf("goes: served %v, %v after the first pod was gone; the truth is %v", found["goes"], begin.Sub(gone), want["goes"])
		}
		return agree(found, want, close5)
	})
}

// listTargets returns the names of a namespace's targets, ascending.
func listTargets(ctx context.Context, namespace string) (names []string, err error) {
	body, err := admin.raw(ctx, "/apis/"+domain.ExplainGroup+"/v1alpha1/namespaces/"+namespace+"/targets")
	if err != nil {
		return nil, err
	}
	var list explainapi.TargetList
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, err
	}
	for i := range list.Items {
		names = append(names, list.Items[i].Name)
	}
	slices.Sort(names)
	return names, nil
}
