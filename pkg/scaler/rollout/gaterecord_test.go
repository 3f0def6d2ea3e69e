package rollout

import (
	"encoding/json"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	dynamicfake "k8s.io/client-go/dynamic/fake"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// TestSecondHoldRestoresTheFirst: a hold that begins while another has its gate open restores what was there before both, also a list of another
// length, and an object that was not there.
func TestSecondHoldRestoresTheFirst(t *testing.T) {
	t.Parallel()
	const before = `{"refs":[{"name":"old","weight":100}]}`
	const merge = `{"spec":{"refs":[{"name":"old","weight":"<<.Remainder>>"},{"name":"new","weight":"<<.Percent>>"}],"limits":{"rate":{"burst":"<<.Percent>>"}}}}`
	route := &unstructured.Unstructured{}
	if err := json.Unmarshal([]byte(`{"apiVersion":"example.org/v1","kind":"Route","metadata":{"name":"r","namespace":"shop"},"spec":`+before+`}`), &route.Object); err != nil {
		t.Fatal(err)
	}
	routes := dynamicfake.NewSimpleDynamicClient(runtime.NewScheme(), route)
	kinds := meta.NewDefaultRESTMapper(nil)
	kinds.Add(schema.GroupVersionKind{Group: "example.org", Version: "v1", Kind: "Route"}, meta.RESTScopeNamespace)
	gate := action.Gate{Namespaces: []string{"shop"}, Plan: action.Plan{Steps: []int{10, 100}},
		Open: []action.Action{{Patch: &action.Patch{APIVersion: "example.org/v1", Kind: "Route", Name: "r", Merge: json.RawMessage(merge)}}}}
	runner := action.New(routes, kinds, action.Options{Gates: map[string]action.Gate{"sale": gate}})
	o := &HeldWorkload{}
	for _, id := range []string{"first", "second"} {
		h := hold.Object{ObjectMeta: metav1.ObjectMeta{UID: types.UID(id)}}
		changes, err := runner.Record(t.Context(), "shop", "sale")
		if err != nil {
			t.Fatal(err)
		}
		h.Status.GateOpen, h.Status.GateChanges = true, o.mergeGateRecord(&h, "sale", changes)
		o.Holds = append(o.Holds, h)
		for _, percent := range []int{10, 100} {
			if err := runner.Open(t.Context(), "shop", "sale", percent, h.Status.GateChanges); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := runner.Shut(t.Context(), "shop", "sale", o.Holds[1].Status.GateChanges); err != nil {
		t.Fatal(err)
	}
	got, err := routes.Resource(schema.GroupVersionResource{Group: "example.org", Version: "v1", Resource: "routes"}).Namespace("shop").Get(t.Context(), "r", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if text, err := json.Marshal(got.Object["spec"]); err != nil || string(text) != before {
		t.Errorf("%s, %v; want %s", text, err, before)
	}
}
