package integration

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tachometer-metrics/tachometer/pkg/kube"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
)

// httpRoutes is a minimal definition of Gateway API's HTTPRoute for patches: a name, and a spec of any form.
const httpRoutes = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: httproutes.gateway.networking.k8s.io
  annotations: {api-approved.kubernetes.io: "https://github.com/kubernetes-sigs/gateway-api/pull/2997"}
spec:
  group: gateway.networking.k8s.io
  scope: Namespaced
  names: {kind: HTTPRoute, plural: httproutes, singular: httproute}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, x-kubernetes-preserve-unknown-fields: true}}}}
`

// TestGates: a route's weights and a Service's selector admit traffic and shut it out again, including a kind that was installed
// after the scaler's start.
func TestGates(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	objects := newDynamicClient(t)
	gates := action.New(objects, kube.NewLazyRESTMapper(client.Discovery()), action.Options{})
	_, err := client.CoreV1().Services(namespace).Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "shop"},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "waiting-room"}, Ports: []corev1.ServicePort{{Port: 80}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	service := func(app string) action.Action {
		return action.Action{Patch: &action.Patch{APIVersion: "v1", Kind: "Service", Name: "shop", Merge: []byte(`{"spec":{"selector":{"app":"` + app + `"}}}`)}}
	}
	if err := gates.Do(t.Context(), namespace, []action.Action{service("shop")}); err != nil {
		t.Fatal(err)
	}

	routes := createRoute(t, objects, namespace)
	const weights = `{"spec":{"rules":[{"backendRefs":[{"name":"waiting-room","port":80,"weight":0},{"name":"shop","port":80,"weight":1}]}]}}`
	route := action.Action{Patch: &action.Patch{APIVersion: "gateway.networking.k8s.io/v1", Kind: "HTTPRoute", Name: "shop", Merge: []byte(weights)}}
	for range 2 { // twice is harmless
		if err := gates.Do(t.Context(), namespace, []action.Action{route, service("shop")}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := routes.Get(t.Context(), "shop", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"hostnames": []any{"shop.example"}, "rules": rules(0, 1)}
	if diff := cmp.Diff(want, got.Object["spec"]); diff != "" {
		t.Errorf("the route (-want +got):\n%s", diff)
	}
	svc, err := client.CoreV1().Services(namespace).Get(t.Context(), "shop", metav1.GetOptions{})
	if err != nil || svc.Spec.Selector["app"] != "shop" {
		t.Errorf("the Service selects %v, %v", svc.Spec.Selector, err)
	}
}

func newDynamicClient(t *testing.T) dynamic.Interface {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", shared.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// createRoute creates a route of all traffic to the waiting room.
func createRoute(t *testing.T, objects dynamic.Interface, namespace string) dynamic.ResourceInterface {
	t.Helper()
	if err := shared.Apply(t.Context(), httpRoutes); err != nil {
		t.Fatal(err)
	}
	routes := objects.Resource(schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"}).Namespace(namespace)
	eventually(t, 20*time.Second, func(ctx context.Context) error {
		_, err := routes.Create(ctx, &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": map[string]any{"name": "shop"},
			"spec": map[string]any{"hostnames": []any{"shop.example"}, "rules": rules(100, 0)},
		}}, metav1.CreateOptions{})
		return err
	})
	return routes
}

// TestGateKeepsEdits: a person's rule, added between two steps of a gate, stays at the next step and after the gate is shut, wherever it is, and with or
// without actions that shut the gate.
func TestGateKeepsEdits(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	for name, c := range map[string]struct {
		place, backend string // of the person's rule
		shut           bool
	}{
		"last": {"-", "shop", false}, "first": {"0", "maintenance", false}, "last, with shut": {"-", "shop", true}, "first, with shut": {"0", "maintenance", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkGateKeepsEdit(t, c.place, c.backend, c.shut)
		})
	}
}

// checkGateKeepsEdit opens and shuts a gate around a person's rule.
func checkGateKeepsEdit(t *testing.T, place, backend string, shut bool) {
	t.Helper()
	namespace := newNamespace(t)
	objects := newDynamicClient(t)
	routes := createRoute(t, objects, namespace)
	patchRoute := func(room, shop string) []action.Action {
		merge := `{"spec":{"rules":[{"backendRefs":[{"name":"waiting-room","port":80,"weight":` + room + `},{"name":"shop","port":80,"weight":` + shop + `}]}]}}`
		return []action.Action{{Patch: &action.Patch{APIVersion: "gateway.networking.k8s.io/v1", Kind: "HTTPRoute", Name: "shop", Merge: []byte(merge)}}}
	}
	gate := action.Gate{Namespaces: []string{namespace}, Open: patchRoute(`"<<.Remainder>>"`, `"<<.Percent>>"`), Plan: action.Plan{Steps: []int{10, 100}}}
	if shut {
		gate.Shut = patchRoute("100", "0")
	}
	gates := action.New(objects, kube.NewLazyRESTMapper(client.Discovery()), action.Options{Gates: map[string]action.Gate{"sale": gate}})
	changes, err := gates.Record(t.Context(), namespace, "sale")
	if err != nil {
		t.Fatal(err)
	}
	var added any
	check := func(when string, want []any) {
		t.Helper()
		got, err := routes.Get(t.Context(), "shop", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case added != nil && place == "0":
			want = append([]any{added}, want...)
		case added != nil:
			want = append(want, added)
		}
		if diff := cmp.Diff(map[string]any{"hostnames": []any{"shop.example"}, "rules": want}, got.Object["spec"]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	if err := gates.Open(t.Context(), namespace, "sale", 10, changes); err != nil {
		t.Fatal(err)
	}
	check("after the first step", rules(90, 10))
	edit := []byte(`[{"op":"add","path":"/spec/rules/` + place + `","value":{"backendRefs":[{"name":"waiting-room","port":80,"weight":1},{"name":"` + backend + `","port":80,"weight":1}]}}]`)
	if _, err := routes.Patch(t.Context(), "shop", types.JSONPatchType, edit, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	added = map[string]any{"backendRefs": []any{
		map[string]any{"name": "waiting-room", "port": int64(80), "weight": int64(1)}, map[string]any{"name": backend, "port": int64(80), "weight": int64(1)},
	}}
	if err := gates.Open(t.Context(), namespace, "sale", 100, changes); err != nil {
		t.Fatal(err)
	}
	check("after the second step", rules(0, 100))
	if err := gates.Shut(t.Context(), namespace, "sale", changes); err != nil {
		t.Fatal(err)
	}
	check("shut", rules(100, 0))
}

// rules returns the rules of a route to a waiting room and a shop.
func rules(room, shop int64) []any {
	backend := func(name string, weight int64) any {
		return map[string]any{"name": name, "port": int64(80), "weight": weight}
	}
	return []any{map[string]any{"backendRefs": []any{backend("waiting-room", room), backend("shop", shop)}}}
}
