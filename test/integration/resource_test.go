package integration

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// gadgets is a custom resource with a scale subresource.
const gadgets = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.example.test}
spec:
  group: example.test
  names: {kind: Gadget, plural: gadgets, singular: gadget}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
    subresources:
      scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas, labelSelectorPath: .status.selector}
`

// TestNewResource adds a resource that the cluster did not have when the adapter started. Its metric is the sum over the pods that
// its scale subresource selects; the shipped rights suffice to find them.
func TestNewResource(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	newPod(t, namespace, "one", map[string]string{"app": "gadget"}, newCounter(1000))
	newPod(t, namespace, "two", map[string]string{"app": "gadget"}, newCounter(2000))
	newPod(t, namespace, "other", map[string]string{"app": "other"}, newCounter(4000))
	path := stack.CustomMetrics + "/namespaces/" + namespace + "/gadgets.example.test/%s/" + requests
	_, err := admin.raw(t.Context(), fmt.Sprintf(path, "big"))
	if err := rejected(err, http.StatusNotFound, "gadgets"); err != nil {
		t.Errorf("before there are gadgets: %v", err)
	}

	if err := shared.Apply(t.Context(), gadgets); err != nil {
		t.Fatal(err)
	}
	const gadget = `{"apiVersion":"example.test/v1","kind":"Gadget","metadata":{"name":"big","namespace":%q},` +
		`"spec":{"replicas":2},"status":{"replicas":2,"selector":"app=gadget"}}`
	eventually(t, 20*time.Second, func(ctx context.Context) error { return shared.Apply(ctx, fmt.Sprintf(gadget, namespace)) })
	eventually(t, 30*time.Second, func(ctx context.Context) error {
		return reach(ctx, t, fmt.Sprintf(path, "big"), map[string]float64{"big": 3000})
	})
	_, err = admin.raw(t.Context(), fmt.Sprintf(path, "small"))
	if err := rejected(err, http.StatusNotFound, "small"); err != nil {
		t.Errorf("a gadget that is not there: %v", err)
	}
}
