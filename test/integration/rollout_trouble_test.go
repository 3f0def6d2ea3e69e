package integration

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/rollout"
)

// TestPersons: a user's changes to a held workload stay, during the hold and after it.
func TestPersons(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	workload := newWorkload(t, namespace, true)
	e := newEngine(t, workload, &heard{})
	e.holdSale()
	hpas := client.AutoscalingV2().HorizontalPodAutoscalers(namespace)
	if _, err := hpas.Patch(t.Context(), "shop", types.MergePatchType, []byte(`{"spec":{"minReplicas":7}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	e.drive(settled)
	if w := mustReadWorld(t, namespace); w.MinReplicas != 7 {
		t.Errorf("held: %+v", w)
	}
	e.releaseSale()
	if w := mustReadWorld(t, namespace); w.MinReplicas != 7 || w.Owned {
		t.Errorf("released: %+v", w)
	}
	eventEventually(t, namespace, "Yielded", "minReplicas 7")
}

func eventEventually(t *testing.T, namespace, reason, text string) {
	t.Helper()
	eventually(t, 10*time.Second, func(ctx context.Context) error {
		list, err := client.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{FieldSelector: "reason=" + reason})
		if err != nil {
			return err
		}
		for i := range list.Items {
			if strings.Contains(list.Items[i].Message, text) {
				return nil
			}
		}
		return fmt.Errorf("no Event %s with %q among %d", reason, text, len(list.Items))
	})
}

// TestQuota: pods that a quota rejects make the hold fail with the quota's reason, and all changes are rolled back.
func TestQuota(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	workload := newWorkload(t, namespace, true)
	before := mustReadWorld(t, namespace)
	limitPods(t, namespace, "5")
	h := &heard{}
	e := newEngine(t, workload, h)
	wanted := sale()
	wanted.Within = 25 * time.Second // long enough for the Deployment to report the reason
	e.mustApply(wanted)
	r := e.drive(unheld)
	if len(r.EndedHolds) != 1 || !strings.Contains(r.EndedHolds[0].Status.Message, "not created") || !strings.Contains(r.EndedHolds[0].Status.Message, "quota") {
		t.Errorf("ended: %+v", r.EndedHolds)
	}
	wantWorld(t, namespace, before)
	if h.count("open") != 0 {
		t.Errorf("gate %v", h.actions)
	}
	h.tells(t, "rolled back", "not created", 0)
}

// limitPods sets a quota on the pods of a namespace.
func limitPods(t *testing.T, namespace, most string) {
	t.Helper()
	_, err := client.CoreV1().ResourceQuotas(namespace).Create(t.Context(), &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Name: "few"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse(most)}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// TestTooMany: a hold beyond the autoscaler's maximum is rejected before any change, and allowed with maxReplicas.
func TestTooMany(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	workload := newWorkload(t, namespace, true)
	before := mustReadWorld(t, namespace)
	e := newEngine(t, workload, &heard{})
	wanted := sale()
	wanted.Replicas = 31
	e.mustApply(wanted)
	r := e.drive(unheld)
	if len(r.EndedHolds) != 1 || !strings.Contains(r.EndedHolds[0].Status.Message, "at most 30 replicas") {
		t.Errorf("ended: %+v", r.EndedHolds)
	}
	wantWorld(t, namespace, before)
	wanted.MaxReplicas = 40
	e.mustApply(wanted)
	e.drive(settled)
	if w := mustReadWorld(t, namespace); w.Replicas != 31 || w.MinReplicas != 31 || w.MaxReplicas != 40 {
		t.Errorf("with maxReplicas: %+v", w)
	}
	e.releaseSale()
	wantWorld(t, namespace, before)
}

// TestAutoscalerComesAndGoes deletes an autoscaler in the middle, creates an autoscaler in the middle, and deletes a workload in the
// middle.
func TestAutoscalerComesAndGoes(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	workload := newWorkload(t, namespace, true)
	e := newEngine(t, workload, &heard{})
	e.holdSale()
	hpas := client.AutoscalingV2().HorizontalPodAutoscalers(namespace)
	if err := hpas.Delete(t.Context(), "shop", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	e.drive(settled)
	if w := mustReadWorld(t, namespace); w.Replicas != 20 {
		t.Errorf("without autoscaler: %+v", w)
	}
	newAutoscaler(t, namespace)
	e.drive(func(r rollout.Result) bool { return r.Bounds.MinReplicas == 20 })
	if err := client.AppsV1().Deployments(namespace).Delete(t.Context(), "shop", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if r := e.drive(func(r rollout.Result) bool { return r.Gone }); r.Bounds != (hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 30}) {
		t.Errorf("without workload: %+v", r)
	}
}

// TestConflicts: two scalers and a user with frequent writes reach the same end.
func TestConflicts(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	workload := newWorkload(t, namespace, true)
	before := mustReadWorld(t, namespace)
	ctx, calm := context.WithCancel(t.Context())
	var storm sync.WaitGroup
	storm.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			<-time.After(20 * time.Millisecond) // fifty times a second: more would be an outage, not a user
			// A label: the Deployment controller copies annotations to the ReplicaSet, over and over, before it makes a pod.
			patch := fmt.Appendf(nil, `{"metadata":{"labels":{"weather":"%d"}}}`, i)
			_, _ = client.AppsV1().Deployments(namespace).Patch(ctx, "shop", types.MergePatchType, patch, metav1.PatchOptions{})
			_, _ = client.AutoscalingV2().HorizontalPodAutoscalers(namespace).Patch(ctx, "shop", types.MergePatchType, patch, metav1.PatchOptions{})
		}
	})
	h := &heard{}
	newEngine(t, workload, h).mustApply(sale())
	var both sync.WaitGroup
	for range 2 {
		e := newEngine(t, workload, h)
		both.Go(func() {
			if _, err := e.Reconcile(ctx, workload, settled, rollout.Observer{}); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	if w := mustReadWorld(t, namespace); w.Replicas != 20 || w.MinReplicas != 20 {
		t.Errorf("held: %+v", w)
	}
	e := newEngine(t, workload, h)
	e.releaseSale()
	calm()
	storm.Wait()
	wantWorld(t, namespace, before)
}

// TestServerSideApply: after a hold, another field manager finds no conflict, on the autoscaler and on the workload.
func TestServerSideApply(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	for name, autoscaled := range map[string]bool{"autoscaled": true, "plain": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			namespace := newNamespace(t)
			workload := newWorkload(t, namespace, autoscaled)
			before := mustReadWorld(t, namespace)
			e := newEngine(t, workload, &heard{})
			e.holdSale()
			e.releaseSale()
			wantWorld(t, namespace, before)
			resource, text := "deployment", `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"shop"},"spec":{"replicas":3}}`
			if autoscaled {
				resource, text = "hpa", `{"apiVersion":"autoscaling/v2","kind":"HorizontalPodAutoscaler","metadata":{"name":"shop"},"spec":{"minReplicas":3}}`
			}
			patch := metav1.PatchOptions{FieldManager: "helm"}
			var err error
			if autoscaled {
				_, err = client.AutoscalingV2().HorizontalPodAutoscalers(namespace).Patch(t.Context(), "shop", types.ApplyPatchType, []byte(text), patch)
			} else {
				_, err = client.AppsV1().Deployments(namespace).Patch(t.Context(), "shop", types.ApplyPatchType, []byte(text), patch)
			}
			if err != nil && strings.Contains(err.Error(), hold.Manager) {
				t.Errorf("apply of the %s: %v", resource, err)
			}
		})
	}
}

// applyAutoscaler applies a field of the autoscaler's spec with server-side apply, as a field manager.
func applyAutoscaler(t *testing.T, namespace, manager, spec string, force bool) error {
	t.Helper()
	text := `{"apiVersion":"autoscaling/v2","kind":"HorizontalPodAutoscaler","metadata":{"name":"shop"},"spec":` + spec + `}`
	_, err := client.AutoscalingV2().HorizontalPodAutoscalers(namespace).Patch(t.Context(), "shop", types.ApplyPatchType, []byte(text), metav1.PatchOptions{FieldManager: manager, Force: &force})
	return err
}

// TestServerSideApplyInHold: the recipes of docs/scaler-reference.md while a hold lasts. A manifest without the number (Flux), or from which Argo CD took it,
// leaves the hold alone, and the whole manifest fits again after it. Helm is told of the conflict; forced, it is a person's number.
func TestServerSideApplyInHold(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	for name, tc := range map[string]struct {
		manager, spec string
		conflict      bool
		minReplicas   int32 // after the hold
	}{
		"Argo CD": {"argocd-controller", `{"maxReplicas":MAX}`, false, 0},
		"Flux":    {"kustomize-controller", `{"maxReplicas":MAX}`, false, 0},
		"Helm":    {"helm", `{"minReplicas":5}`, true, 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			namespace := newNamespace(t)
			workload := newWorkload(t, namespace, true)
			before := mustReadWorld(t, namespace)
			whole := fmt.Sprintf(`{"minReplicas":%d,"maxReplicas":%d}`, before.MinReplicas, before.MaxReplicas)
			if err := applyAutoscaler(t, namespace, tc.manager, whole, true); err != nil {
				t.Fatal(err)
			}
			e := newEngine(t, workload, &heard{})
			e.holdSale()
			held := mustReadWorld(t, namespace)
			spec := strings.Replace(tc.spec, "MAX", fmt.Sprint(before.MaxReplicas), 1)
			err := applyAutoscaler(t, namespace, tc.manager, spec, false)
			if (err != nil) != tc.conflict || err != nil && !strings.Contains(err.Error(), hold.Manager) {
				t.Fatalf("apply of %s in a hold: %v", spec, err)
			}
			if err := applyAutoscaler(t, namespace, tc.manager, spec, true); err != nil {
				t.Fatal(err)
			}
			if now := mustReadWorld(t, namespace); !tc.conflict && now.MinReplicas != held.MinReplicas {
				t.Fatalf("minReplicas %d; the hold has %d", now.MinReplicas, held.MinReplicas)
			}
			e.releaseSale()
			if now := mustReadWorld(t, namespace); now.MinReplicas != max(tc.minReplicas, before.MinReplicas) {
				t.Errorf("minReplicas %d after the hold", now.MinReplicas)
			}
			if err := applyAutoscaler(t, namespace, tc.manager, whole, false); err != nil {
				t.Errorf("the whole manifest after the hold: %v", err)
			}
		})
	}
}

// describeManagers describes the entries of the managed fields, without their times.
func describeManagers(all []metav1.ManagedFieldsEntry) (text []string) {
	for _, m := range all {
		text = append(text, fmt.Sprintf("%s %s %s %s", m.Manager, m.Operation, m.Subresource, m.FieldsV1))
	}
	slices.Sort(text)
	return text
}

// TestD13FieldManagersAfterHold: a hold leaves the managed fields of its autoscaler and workload as they were, without the owners of the numbers that it
// changed. The next apply of the same manifest owns them again, without a conflict. An object without managed fields has none afterwards.
func TestD13FieldManagersAfterHold(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	for name, tc := range map[string]struct{ autoscaled, untracked bool }{"autoscaled": {autoscaled: true}, "plain": {}, "untracked": {true, true}, "plain, untracked": {false, true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			namespace := newNamespace(t)
			workload := newWorkload(t, namespace, tc.autoscaled)
			apply, patch := types.ApplyPatchType, fmt.Sprintf(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"shop"},"spec":{"replicas":%d}}`, mustReadWorld(t, namespace).Replicas)
			if tc.autoscaled {
				patch = fmt.Sprintf(`{"apiVersion":"autoscaling/v2","kind":"HorizontalPodAutoscaler","metadata":{"name":"shop"},"spec":{"minReplicas":%d}}`, mustReadWorld(t, namespace).MinReplicas)
			}
			change := func(kind types.PatchType, patch string) []string {
				t.Helper()
				options := metav1.PatchOptions{FieldManager: "helm"}
				var object metav1.Object
				var err error
				if tc.autoscaled {
					object, err = client.AutoscalingV2().HorizontalPodAutoscalers(namespace).Patch(t.Context(), "shop", kind, []byte(patch), options)
				} else {
					object, err = client.AppsV1().Deployments(namespace).Patch(t.Context(), "shop", kind, []byte(patch), options)
				}
				if err != nil {
					t.Fatal(err)
				}
				return describeManagers(object.GetManagedFields())
			}
			if tc.untracked {
				apply, patch = types.MergePatchType, `{"metadata":{"managedFields":[{}]}}`
			}
			before := change(apply, patch)
			if tc.untracked != (len(before) == 0) {
				t.Fatalf("managers before the hold: %q", before)
			}
			e := newEngine(t, workload, &heard{})
			e.holdSale()
			e.releaseSale()
			for _, m := range change(types.MergePatchType, "{}") {
				if strings.HasPrefix(m, hold.Manager+" ") || strings.Contains(m, `"f:minReplicas"`) || !tc.autoscaled && strings.Contains(m, `"f:replicas":{}`) && !strings.Contains(m, "Update status") {
					t.Errorf("after the hold: %s", m)
				}
			}
			after := change(apply, patch)
			i := slices.IndexFunc(after, func(m string) bool { return strings.HasPrefix(m, "helm Apply") })
			if tc.untracked && len(after) > 0 || !tc.untracked && (i < 0 || !slices.Contains(before, after[i])) {
				t.Errorf("managers %q; before the hold %q", after, before)
			}
		})
	}
}

// TestUnknownKind: a hold on a kind that is not installed says so, harms no other hold, and can be released.
func TestUnknownKind(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	workload := hold.Workload{APIVersion: "nowhere.example/v1", Kind: "Rollout", Namespace: namespace, Name: "shop"}
	e := newEngine(t, workload, &heard{})
	e.mustApply(sale())
	r, err := e.ReconcileOnce(t.Context(), workload, time.Now())
	if err != nil || len(r.Holds) != 1 || !strings.Contains(fmt.Sprint(r.Holds[0].Status.Conditions), "no matches for kind") {
		t.Errorf("%+v, %v", r.Holds, err)
	}
	e.releaseSale()
}

// TestHoldValidation: the API server itself rejects a hold that contradicts itself, or spells out an action.
func TestHoldValidation(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	const head = "apiVersion: scaler.tachometer.dev/v1alpha1\nkind: Hold\nmetadata: {name: x, namespace: NAMESPACE}\nspec:\n  workload: {apiVersion: apps/v1, kind: Deployment, name: shop}\n"
	for spec, want := range map[string]string{
		"  replicas: 3\n  maxReplicas: 2\n":       "maxReplicas is below replicas",
		"  replicas: 3\n  minReplicas: 4\n":       "minReplicas is above replicas",
		"  replicas: -1\n":                        "spec.replicas",
		"  replicas: 3\n  gates: [/etc/shadow]\n": "spec.gates[0]",
		"  replicas: 3\n  notify: [a/b]\n":        "spec.notify[0]",
	} {
		err := shared.Apply(t.Context(), strings.ReplaceAll(head+spec, "NAMESPACE", namespace))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", spec, err, want)
		}
	}
}
