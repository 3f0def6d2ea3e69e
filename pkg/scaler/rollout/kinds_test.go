// Workloads of all kinds, as the API server has them: their scale, their selector, their own pods and the way back.

package rollout

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/go-logr/logr"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// workloadKinds are the kinds that have a scale, by their API versions.
var workloadKinds = map[string]string{"Deployment": "apps/v1", "StatefulSet": "apps/v1", "ReplicaSet": "apps/v1", "ReplicationController": "v1", "Rollout": "argoproj.io/v1alpha1", "Fleet": "example.org/v1"}

// kindCluster is a cluster in memory whose only workload, shop, is of any kind. It is read and scaled through a LiveCluster.
type kindCluster struct {
	*memoryCluster
	live *LiveCluster
	ref  hold.Workload
	work *memoryWorkload
}

func newKindCluster(kind string, replicas int32, bounds hold.ReplicaBounds) *kindCluster {
	c := &kindCluster{memoryCluster: newMemoryCluster(benchStart), ref: hold.Workload{APIVersion: workloadKinds[kind], Kind: kind, Namespace: "sale", Name: "shop"}}
	c.work = c.addWorkload("shop", replicas, bounds)
	gvk := c.ref.GroupVersionKind()
	kinds := meta.NewDefaultRESTMapper([]schema.GroupVersion{gvk.GroupVersion()})
	kinds.Add(gvk, meta.RESTScopeNamespace)
	plural, _ := meta.UnsafeGuessKindToResource(gvk)
	client := fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{plural: kind + "List"})
	client.PrependReactor("get", "*", func(a clienttesting.Action) (bool, runtime.Object, error) {
		return true, c.object(a.GetSubresource()), nil
	})
	client.PrependReactor("patch", "*", c.patch)
	c.live = &LiveCluster{Dynamic: client, Mapper: kinds}
	return c
}

// object returns the workload, or its scale.
func (c *kindCluster) object(subresource string) *unstructured.Unstructured {
	uid := fmt.Sprint("shop-", c.work.life)
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": c.ref.APIVersion, "kind": c.ref.Kind, "metadata": map[string]any{"name": "shop", "namespace": "sale", "uid": uid, "resourceVersion": fmt.Sprint(c.work.version)},
		"spec": map[string]any{"replicas": int64(c.work.replicas)},
	}}
	if c.ref.GroupVersionKind().Group == "apps" {
		_ = unstructured.SetNestedField(o.Object, "shop", "spec", "selector", "matchLabels", "app")
	}
	if c.work.owned && subresource == "" {
		o.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: hold.Manager, Subresource: "scale"}})
	}
	if subresource == "scale" {
		o.SetAPIVersion("autoscaling/v1")
		o.SetKind("Scale")
		_ = unstructured.SetNestedField(o.Object, "app=shop", "status", "selector")
	}
	return o
}

// patch takes a patch of the scale, or of the field managers.
func (c *kindCluster) patch(a clienttesting.Action) (bool, runtime.Object, error) {
	var patch struct {
		Metadata struct{ ResourceVersion string }
		Spec     struct{ Replicas *int32 }
	}
	if err := json.Unmarshal(a.(clienttesting.PatchAction).GetPatch(), &patch); err != nil { //nolint:forcetypeassert // a reactor of patches
		return true, nil, err
	}
	err := c.write(patch.Metadata.ResourceVersion, fmt.Sprint(c.work.version), func() {
		c.work.owned = patch.Spec.Replicas != nil
		if c.work.owned {
			c.work.scale(c.memoryCluster, *patch.Spec.Replicas)
			c.work.owned = true
		}
	})
	return true, c.object(a.GetSubresource()), err
}

func (c *kindCluster) GetScale(ctx context.Context, t hold.Workload) (*Scale, error) {
	return c.live.GetScale(ctx, t)
}

func (c *kindCluster) SetReplicas(ctx context.Context, t hold.Workload, s *Scale, n int32) (*Scale, error) {
	return c.live.SetReplicas(ctx, t, s, n)
}

func (c *kindCluster) DropScaleOwner(ctx context.Context, t hold.Workload, s *Scale) (*Scale, error) {
	return c.live.DropScaleOwner(ctx, t, s)
}

// ListAutoscalers implements Reader.
func (c *kindCluster) ListAutoscalers(ctx context.Context, namespace string) ([]*autoscalingv2.HorizontalPodAutoscaler, error) {
	all, err := c.memoryCluster.ListAutoscalers(ctx, namespace)
	for _, a := range all {
		a.Spec.ScaleTargetRef.APIVersion, a.Spec.ScaleTargetRef.Kind = c.ref.APIVersion, c.ref.Kind
	}
	return all, err
}

// podOwner returns the controller of a workload's pods, and the labels of these pods.
func podOwner(kind, name, uid string) (metav1.OwnerReference, map[string]string) {
	owner, labels := metav1.OwnerReference{APIVersion: workloadKinds[kind], Kind: kind, Name: name, UID: types.UID(uid), Controller: new(true)}, map[string]string{"app": "shop"}
	if label := map[string]string{"Deployment": "pod-template-hash", "Rollout": "rollouts-pod-template-hash"}[kind]; label != "" {
		owner.APIVersion, owner.Kind, owner.Name, labels[label] = "apps/v1", "ReplicaSet", name+"-5f7", "5f7"
	}
	return owner, labels
}

// ListPods returns the pods of shop and, with the same labels, the ready ones of its canary, and of workloads of other kinds.
func (c *kindCluster) ListPods(ctx context.Context, namespace, selector string) ([]corev1.Pod, error) {
	all, err := c.memoryCluster.ListPods(ctx, namespace, selector)
	add := func(owner metav1.OwnerReference, labels map[string]string) {
		for i := range 10 {
			pod := newReadyPods(0)[0]
			pod.Name, pod.Labels, pod.OwnerReferences, pod.Status.PodIP = fmt.Sprint(owner.Name, "-", i), labels, []metav1.OwnerReference{owner}, "10.0.1.1"
			pod.CreationTimestamp = metav1.NewTime(c.now)
			all = append(all, pod)
		}
	}
	owner, labels := podOwner(c.ref.Kind, "shop", fmt.Sprint("shop-", c.work.life))
	for i := range all {
		all[i].OwnerReferences, all[i].Labels = []metav1.OwnerReference{owner}, labels
	}
	add(podOwner(c.ref.Kind, "shop-canary", "canary"))
	for kind := range workloadKinds {
		if kind != c.ref.Kind && c.ref.Kind != "Fleet" { // a Fleet may own controllers of its pods
			add(podOwner(kind, "shop", "other"))
		}
	}
	return all, err
}

// kindBench is a scaler over a kindCluster.
type kindBench struct {
	*kindCluster
	gates   *memoryGates
	checker *memoryChecker
	engine  *Engine
}

func newKindBench(kind string, replicas int32, bounds hold.ReplicaBounds) *kindBench {
	b := &kindBench{kindCluster: newKindCluster(kind, replicas, bounds), gates: &memoryGates{open: map[string]bool{}, places: map[string]string{}}, checker: &memoryChecker{passed: true}}
	b.engine = New(Options{Cluster: b.kindCluster, Checker: b.checker, Gates: b.gates, Owner: "bench"})
	return b
}

func (b *kindBench) mustPass(t *testing.T) {
	t.Helper()
	ctx := klog.NewContext(t.Context(), logr.Discard())
	for range 3 {
		r, err := b.engine.ReconcileOnce(ctx, b.ref, b.now)
		if err != nil {
			t.Fatal(err)
		}
		if r.HoldToVerify != "" {
			b.engine.VerifyHold(ctx, b.ref, r.HoldToVerify, b.now)
		}
	}
}

func (b *kindBench) apply(t *testing.T, h hold.Hold) {
	t.Helper()
	h.Notify = nil
	if _, err := b.engine.ApplyHold(t.Context(), b.ref, h); err != nil {
		t.Fatal(err)
	}
	b.mustPass(t)
}

func (b *kindBench) find(id string) *hold.Object { return b.holds[hold.ObjectName(b.ref, id)] }

// releaseAll ends all holds, and fails unless everything is as it was.
func (b *kindBench) releaseAll(t *testing.T, replicas int32, bounds hold.ReplicaBounds) {
	t.Helper()
	if _, err := b.engine.EndHolds(t.Context(), b.ref, func(*hold.Object) bool { return true }); err != nil {
		t.Fatal(err)
	}
	b.mustPass(t)
	if b.work.hpa != nil && (b.work.hpa.bounds != bounds || b.work.hpa.owned) || b.work.hpa == nil && b.work.replicas != replicas || b.work.owned || len(b.holds) > 0 || b.gates.open["sale"] {
		t.Errorf("%d replicas, owned %v, %+v, %d holds, gate %v", b.work.replicas, b.work.owned, b.work.hpa, len(b.holds), b.gates.open["sale"])
	}
}

// TestD1AllKinds plays a workload of each kind up and back, to a rollback, and to zero and from zero. Pods of other workloads with the same labels are none of
// its own.
func TestD1AllKinds(t *testing.T) {
	t.Parallel()
	for kind := range workloadKinds {
		for name, bounds := range autoscaledAndPlain {
			t.Run(kind+" "+name, func(t *testing.T) {
				t.Parallel()
				b := newKindBench(kind, 2, bounds)
				b.apply(t, saleHold())
				wantState(t, b.find("event/sale"), hold.Scaled, "")
				b.work.ready = 19
				b.mustPass(t)
				wantState(t, b.find("event/sale"), hold.Scaled, "")
				b.work.ready = 20
				b.mustPass(t)
				wantState(t, b.find("event/sale"), hold.Open, "")
				b.releaseAll(t, 2, bounds)

				b.checker.passed = false
				b.apply(t, saleHold())
				b.work.ready = 20
				b.mustPass(t)
				wantState(t, b.find("event/sale"), hold.RolledBack, "")
				b.releaseAll(t, 2, bounds)

				b.work.scale(b.memoryCluster, 2) // as its autoscaler does by and by
				b.apply(t, saleHold())
				b.now = b.now.Add(hold.DefaultWithin)
				b.mustPass(t)
				wantState(t, b.find("event/sale"), hold.RolledBack, fmt.Sprintf("%d of 20 pods not ready", 20-b.work.ready))
				b.releaseAll(t, 2, bounds)

				b.checker.passed = true
				b.apply(t, nightHold(0))
				wantState(t, b.find("schedule/hours"), cmp.Or(map[bool]hold.State{true: hold.RolledBack}[b.work.hpa != nil], hold.Open), "")
				if b.work.hpa == nil && b.work.replicas != 0 {
					t.Errorf("%d replicas; want 0", b.work.replicas)
				}
				b.releaseAll(t, 2, bounds)

				b.work.scale(b.memoryCluster, 0)
				b.apply(t, nightHold(4))
				b.work.ready = 4
				b.mustPass(t)
				wantState(t, b.find("schedule/hours"), hold.Open, "")
				b.releaseAll(t, 0, bounds)
				if b.work.replicas != 0 {
					t.Errorf("%d replicas; want the 0 of before", b.work.replicas)
				}
			})
		}
	}
}
