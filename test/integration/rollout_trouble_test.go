package integration

import (
	"context"
	"errors"
	"fmt"
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
	need(t)
	t.Parallel()
	namespace := newNamespace(t)
	workload := newWorkload(t, namespace, true)
	e := newEngine(t, &heard{}, true, nil)
	put(t, e, workload, sale())
	drive(t.Context(), t, e, workload, settled)
	hpas := client.AutoscalingV2().HorizontalPodAutoscalers(namespace)
	if _, err := hpas.Patch(t.Context(), "shop", types.MergePatchType, []byte(`{"spec":{"minReplicas":7}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	drive(t.Context(), t, e, workload, settled)
	if w := mustLook(t, namespace); w.MinReplicas != 7 {
		t.Errorf("held: %+v", w)
	}
	end(t, e, workload, "event/sale")
	drive(t.Context(), t, e, workload, unheld)
	if w := mustLook(t, namespace); w.MinReplicas != 7 || w.Annotations != "" {
		t.Errorf("released: %+v", w)
	}
	eventEventually(t, namespace, "Yielded", "autoscaler shop")
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
	need(t)
	t.Parallel()
	namespace := newNamespace(t)
	workload := newWorkload(t, namespace, true)
	before := mustLook(t, namespace)
	limitPods(t, namespace, "5")
	h := &heard{}
	e := newEngine(t, h, true, nil)
	wanted := sale()
	wanted.Within = 25 * time.Second // long enough for the Deployment to report the reason
	put(t, e, workload, wanted)
	r := drive(t.Context(), t, e, workload, unheld)
	if len(r.EndedHolds) != 1 || !strings.Contains(r.EndedHolds[0].StateMessage, "not created") || !strings.Contains(r.EndedHolds[0].StateMessage, "quota") {
		t.Errorf("ended: %+v", r.EndedHolds)
	}
	isBack(t, namespace, before)
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
	need(t)
	t.Parallel()
	namespace := newNamespace(t)
	workload := newWorkload(t, namespace, true)
	before := mustLook(t, namespace)
	e := newEngine(t, &heard{}, true, nil)
	wanted := sale()
	wanted.Replicas = 31
	put(t, e, workload, wanted)
	r := drive(t.Context(), t, e, workload, unheld)
	if len(r.EndedHolds) != 1 || !strings.Contains(r.EndedHolds[0].StateMessage, "at most 30 replicas") {
		t.Errorf("ended: %+v", r.EndedHolds)
	}
	isBack(t, namespace, before)
	wanted.MaxReplicas = 40
	put(t, e, workload, wanted)
	drive(t.Context(), t, e, workload, settled)
	if w := mustLook(t, namespace); w.Replicas != 31 || w.MinReplicas != 31 || w.MaxReplicas != 40 {
		t.Errorf("with maxReplicas: %+v", w)
	}
	end(t, e, workload, "event/sale")
	drive(t.Context(), t, e, workload, unheld)
	isBack(t, namespace, before)
}

// TestAutoscalerComesAndGoes deletes an autoscaler in the middle, creates an autoscaler in the middle, and deletes a workload in the
// middle.
func TestAutoscalerComesAndGoes(t *testing.T) {
	need(t)
	t.Parallel()
	namespace := newNamespace(t)
	workload := newWorkload(t, namespace, true)
	e := newEngine(t, &heard{}, true, nil)
	put(t, e, workload, sale())
	drive(t.Context(), t, e, workload, settled)
	hpas := client.AutoscalingV2().HorizontalPodAutoscalers(namespace)
	if err := hpas.Delete(t.Context(), "shop", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	drive(t.Context(), t, e, workload, settled)
	if w := mustLook(t, namespace); w.Replicas != 20 {
		t.Errorf("without autoscaler: %+v", w)
	}
	newAutoscaler(t, namespace)
	drive(t.Context(), t, e, workload, func(r rollout.Result) bool { return r.Bounds.MinReplicas == 20 })
	if err := client.AppsV1().Deployments(namespace).Delete(t.Context(), "shop", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if r := drive(t.Context(), t, e, workload, unheld); !r.Gone || r.Bounds != (hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 30}) {
		t.Errorf("without workload: %+v", r)
	}
}

// TestConflicts: two scalers and a user with frequent writes reach the same end.
func TestConflicts(t *testing.T) {
	need(t)
	t.Parallel()
	namespace := newNamespace(t)
	workload := newWorkload(t, namespace, true)
	before := mustLook(t, namespace)
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
	put(t, newEngine(t, h, true, nil), workload, sale())
	var both sync.WaitGroup
	for range 2 {
		e := newEngine(t, h, true, nil)
		both.Go(func() {
			if _, err := e.Reconcile(ctx, workload, settled, rollout.Observer{}); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	if w := mustLook(t, namespace); w.Replicas != 20 || w.MinReplicas != 20 {
		t.Errorf("held: %+v", w)
	}
	e := newEngine(t, h, true, nil)
	end(t, e, workload, "event/sale")
	drive(ctx, t, e, workload, unheld)
	calm()
	storm.Wait()
	isBack(t, namespace, before)
}

// TestUnreadableRecord: an error names a user's edit of the annotation, and the scaler overwrites nothing.
func TestUnreadableRecord(t *testing.T) {
	need(t)
	t.Parallel()
	namespace := newNamespace(t)
	workload := newWorkload(t, namespace, false)
	e := newEngine(t, &heard{}, true, nil)
	put(t, e, workload, sale())
	drive(t.Context(), t, e, workload, settled)
	annotate(t, namespace, "mine")
	_, err := e.ApplyHold(t.Context(), workload, sale(), time.Now())
	if err == nil || !strings.Contains(err.Error(), hold.HoldsAnnotation) || !strings.Contains(holds(t, namespace), "mine") {
		t.Errorf("error: %v, annotation %q", err, holds(t, namespace))
	}
	annotate(t, namespace, "") // without the annotation the workload has no hold, and the result says so
	drive(t.Context(), t, e, workload, unheld)
	eventEventually(t, namespace, "Replaced", "the holds are gone")
}

// annotate edits the record like a user.
func annotate(t *testing.T, namespace, text string) {
	t.Helper()
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, hold.HoldsAnnotation, text)
	if _, err := client.AppsV1().Deployments(namespace).Patch(t.Context(), "shop", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
}

// holds returns the workload's current record.
func holds(t *testing.T, namespace string) string {
	t.Helper()
	d, err := client.AppsV1().Deployments(namespace).Get(t.Context(), "shop", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return d.Annotations[hold.HoldsAnnotation]
}

// TestUndo: kubectl rollout undo replaces the annotations of a Deployment, and with them the record. Active holds stay, and ended
// holds do not come back.
func TestUndo(t *testing.T) {
	need(t)
	t.Parallel()
	namespace := newNamespace(t)
	workload := newWorkload(t, namespace, true)
	before := mustLook(t, namespace)
	e := newEngine(t, &heard{}, true, nil)
	release(t, namespace, "good")
	put(t, e, workload, sale())
	drive(t.Context(), t, e, workload, settled)
	release(t, namespace, "bad")
	more := sale()
	more.ID, more.Replicas = "set", 25
	put(t, e, workload, more)
	drive(t.Context(), t, e, workload, func(r rollout.Result) bool { return r.Record.FindHold("set").State == hold.Open })
	held := holds(t, namespace)
	copied(t, namespace, held)
	undo(t, namespace, held)
	r := drive(t.Context(), t, e, workload, settled)
	if w := mustLook(t, namespace); w.MinReplicas != 25 || w.Replicas != 25 || holds(t, namespace) != held || len(r.Record.Holds) != 2 {
		t.Errorf("after kubectl rollout undo: %+v", w)
	}
	eventEventually(t, namespace, "Replaced", "kubectl rollout undo")

	if _, err := e.EndHolds(t.Context(), workload, nil, "over", time.Now()); err != nil {
		t.Fatal(err)
	}
	drive(t.Context(), t, e, workload, unheld)
	isBack(t, namespace, before)
	undo(t, namespace, "") // to the bad release, with its old holds
	if all, err := e.ListHeld(t.Context(), namespace, rollout.DefaultKinds()); err != nil || len(all) > 0 || holds(t, namespace) == "" {
		t.Errorf("held: %+v, %v; the annotation is %q", all, err, holds(t, namespace))
	}
	put(t, e, workload, more)
	drive(t.Context(), t, e, workload, func(r rollout.Result) bool { return r.Record.FindHold("set").State == hold.Open })
	end(t, e, workload, "set")
	drive(t.Context(), t, e, workload, unheld)
	isBack(t, namespace, before)
}

// release rolls out another template, and waits until the rollout is complete.
func release(t *testing.T, namespace, name string) {
	t.Helper()
	patch := fmt.Appendf(nil, `{"spec":{"template":{"metadata":{"annotations":{"release":%q}}}}}`, name)
	if _, err := client.AppsV1().Deployments(namespace).Patch(t.Context(), "shop", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	awaitRollout(t, namespace)
}

// awaitRollout waits until the Deployment controller has seen the template and all replicas use it. Only then does the template's
// ReplicaSet have the highest revision, from which kubectl rollout undo counts back.
func awaitRollout(t *testing.T, namespace string) {
	t.Helper()
	eventually(t, 30*time.Second, func(ctx context.Context) error {
		d, err := client.AppsV1().Deployments(namespace).Get(ctx, "shop", metav1.GetOptions{})
		if err == nil && (d.Status.ObservedGeneration < d.Generation || d.Status.UpdatedReplicas < *d.Spec.Replicas || d.Status.Replicas > d.Status.UpdatedReplicas) {
			err = fmt.Errorf("the rollout of generation %d is not complete: %+v", d.Generation, d.Status)
		}
		return err
	})
}

// copied waits until the Deployment controller, which many tests keep busy, has copied the record to a ReplicaSet.
func copied(t *testing.T, namespace, held string) {
	t.Helper()
	eventually(t, 30*time.Second, func(ctx context.Context) error {
		list, err := client.AppsV1().ReplicaSets(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for i := range list.Items {
			if list.Items[i].Annotations[hold.HoldsAnnotation] == held {
				return nil
			}
		}
		return errors.New("no ReplicaSet has the record")
	})
}

// undo goes back to the previous release like a user, and waits until the Deployment controller has finished. It fails if kubectl
// left the annotation unchanged, because then the test would prove nothing.
func undo(t *testing.T, namespace, held string) {
	t.Helper()
	out, err := shared.Kubectl(t.Context(), "-n", namespace, "rollout", "undo", "deploy/shop")
	if err != nil {
		t.Fatal(err)
	}
	if holds(t, namespace) == held {
		t.Fatalf("kubectl rollout undo left the annotation alone: %s", out)
	}
	awaitRollout(t, namespace)
}
