// Workloads as the API server has them.

package rollout

import (
	"errors"
	"strings"
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/fake"
	clientfake "k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// TestD7WorkloadsWithoutScale: an object without a scale, or that another controller scales, is trouble with its reason, and no missing object.
func TestD7WorkloadsWithoutScale(t *testing.T) {
	t.Parallel()
	object := func(apiVersion, kind string, owner map[string]any) *unstructured.Unstructured {
		o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"name": "web", "namespace": "sale"}}}
		if owner != nil {
			_ = unstructured.SetNestedSlice(o.Object, []any{owner}, "metadata", "ownerReferences")
		}
		return o
	}
	kinds := meta.NewDefaultRESTMapper(nil)
	lists := map[schema.GroupVersionResource]string{}
	for _, k := range []schema.GroupVersionKind{{Group: "apps", Version: "v1", Kind: "DaemonSet"}, {Group: "apps", Version: "v1", Kind: "ReplicaSet"}, {Group: "example.org", Version: "v1", Kind: "Plain"}} {
		kinds.Add(k, meta.RESTScopeNamespace)
		plural, _ := meta.UnsafeGuessKindToResource(k)
		lists[plural] = k.Kind + "List"
	}
	client := fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), lists, object("apps/v1", "DaemonSet", nil), object("example.org/v1", "Plain", nil),
		object("apps/v1", "ReplicaSet", map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "1", "controller": true}))
	client.PrependReactor("get", "*", failScaleRequests)
	live := &LiveCluster{Dynamic: client, Mapper: kinds}
	for kind, want := range map[string]error{"apps/v1 DaemonSet": errNoScale, "example.org/v1 Plain": errNoScale, "apps/v1 ReplicaSet": errControlled} {
		version, kind, _ := cutKind(kind)
		if _, err := live.GetScale(t.Context(), hold.Workload{APIVersion: version, Kind: kind, Namespace: "sale", Name: "web"}); !errors.Is(err, want) {
			t.Errorf("%s: %v; want %v", kind, err, want)
		}
	}
}

// TestD7ClusterScopedWorkload: an object outside of namespaces is trouble with its reason, and no missing object.
func TestD7ClusterScopedWorkload(t *testing.T) {
	t.Parallel()
	live, _ := newCustomCluster()
	kinds := meta.NewDefaultRESTMapper([]schema.GroupVersion{{Group: "example.org", Version: "v1"}})
	kinds.Add(schema.GroupVersionKind{Group: "example.org", Version: "v1", Kind: "Fleet"}, meta.RESTScopeRoot)
	live.Mapper = kinds
	for _, version := range []string{"v1", "v1alpha1"} {
		if s, err := live.GetScale(t.Context(), customWorkload(version)); !errors.Is(err, errClusterScoped) {
			t.Errorf("%s: %+v, %v", version, s, err)
		}
	}
}

// TestD19NoReplicas: a custom resource that leaves its replicas to its controller is trouble with its reason: 0 is not what was there.
func TestD19NoReplicas(t *testing.T) {
	t.Parallel()
	live, client := newCustomCluster()
	client.PrependReactor("get", "*", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if a.GetSubresource() != "scale" {
			return false, nil, nil
		}
		return true, nil, apierrors.NewInternalError(errors.New(`the spec replicas field ".spec.replicas" does not exist`))
	})
	if _, err := live.GetScale(t.Context(), customWorkload("v1")); !errors.Is(err, errNoReplicas) {
		t.Errorf("%v; want %v", err, errNoReplicas)
	}
}

// TestD7VersionNoLongerServed: a hold that names a version which a new definition of its kind no longer serves finds the workload in the version
// that is left.
func TestD7VersionNoLongerServed(t *testing.T) {
	t.Parallel()
	live, client := newCustomCluster()
	client.PrependReactor("get", "*", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if a.GetSubresource() != "scale" {
			return false, nil, nil
		}
		return true, &unstructured.Unstructured{Object: map[string]any{"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": map[string]any{"replicas": int64(3)}}}, nil
	})
	s, err := live.GetScale(t.Context(), customWorkload("v1alpha1"))
	if err != nil || s == nil || s.Replicas != 3 {
		t.Fatalf("%+v, %v", s, err)
	}
	if pods, err := live.ListPods(t.Context(), "sale", s.Selector); err != nil || len(pods) > 0 {
		t.Errorf("a scale without a selector has the pods %v, %v", pods, err)
	}
}

// TestD8NameOfNoObject: a Hold whose workload has a name that no object can have, which a tenant may write, is trouble of its own: it can be deleted.
func TestD8NameOfNoObject(t *testing.T) {
	t.Parallel()
	live, _ := newCustomCluster()
	live.Dynamic = dynamic.NewForConfigOrDie(&rest.Config{Host: "http://127.0.0.1:1"}) // it rejects the names before it connects
	for _, name := range []string{"../web", "web/scale", "..", ".", "a%2fb"} {
		w := customWorkload("v1")
		w.Name = name
		if s, err := live.GetScale(t.Context(), w); !errors.Is(err, errNoObjectName) || !isTroubleError(err) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
}

// customWorkload returns an object of the kind Fleet in a version.
func customWorkload(version string) hold.Workload {
	return hold.Workload{APIVersion: "example.org/" + version, Kind: "Fleet", Namespace: "sale", Name: "web"}
}

// newCustomCluster returns a cluster with a Fleet, which is served in version v1.
func newCustomCluster() (*LiveCluster, *fake.FakeDynamicClient) {
	fleet := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "example.org/v1", "kind": "Fleet", "metadata": map[string]any{"name": "web", "namespace": "sale"}}}
	kind := schema.GroupVersionKind{Group: "example.org", Version: "v1", Kind: "Fleet"}
	kinds := meta.NewDefaultRESTMapper([]schema.GroupVersion{kind.GroupVersion()})
	kinds.Add(kind, meta.RESTScopeNamespace)
	plural, _ := meta.UnsafeGuessKindToResource(kind)
	client := fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{plural: "FleetList"}, fleet)
	return &LiveCluster{Dynamic: client, Mapper: kinds}, client
}

// failScaleRequests answers requests for a scale as the API server does for objects without one.
func failScaleRequests(a clienttesting.Action) (bool, runtime.Object, error) {
	if a.GetSubresource() != "scale" {
		return false, nil, nil
	}
	return true, nil, apierrors.NewNotFound(a.GetResource().GroupResource(), "web")
}

// cutKind splits APIVERSION KIND.
func cutKind(text string) (apiVersion, kind string, found bool) { return strings.Cut(text, " ") }

// TestDropBoundsOwnerKeepsOthers: the cache has no other field managers of an autoscaler, and they keep their fields.
func TestDropBoundsOwnerKeepsOthers(t *testing.T) {
	t.Parallel()
	other := metav1.ManagedFieldsEntry{Manager: "argocd", Operation: metav1.ManagedFieldsOperationApply, FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(`{"f:spec":{}}`)}
	stored := &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: "web", UID: "1", ResourceVersion: "5", ManagedFields: []metav1.ManagedFieldsEntry{{Manager: hold.Manager}, other},
	}}
	client := clientfake.NewSimpleClientset(stored) // the other client replaces the managed fields
	var patch []byte
	client.PrependReactor("patch", "horizontalpodautoscalers", func(action clienttesting.Action) (bool, runtime.Object, error) {
		patch = action.(clienttesting.PatchAction).GetPatch()
		return true, stored, nil
	})
	stripped, err := stripHeldAutoscaler(stored.DeepCopy())
	if err != nil {
		t.Fatal(err)
	}
	cached := convertHeldAutoscaler(stripped.(*autoscalingv2.HorizontalPodAutoscaler))
	if _, err := (&LiveCluster{Client: client}).DropBoundsOwner(t.Context(), "shop", cached); err != nil {
		t.Fatal(err)
	}
	if text := string(patch); !strings.Contains(text, `"argocd"`) || !strings.Contains(text, `"f:spec"`) || strings.Contains(text, hold.Manager) || !strings.Contains(text, `"resourceVersion":"5"`) {
		t.Errorf("the patch is %s; want the other manager with its fields", text)
	}
}
