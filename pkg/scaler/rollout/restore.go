// The record of a workload after kubectl rollout undo.

package rollout

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// restoreRolloutRecord reads the record of a workload. kubectl rollout undo replaces a Deployment's annotations with the copy on the
// ReplicaSet that it returns to: it drops the record, or brings back an old record. It leaves labels alone, so HeldLabel shows the
// replacement, and the newer ReplicaSet has a copy of the right record.
//
// replaced is a message that the annotation is not the record and must be written again; empty: the annotation is the record.
func (e *Engine) restoreRolloutRecord(ctx context.Context, object *unstructured.Unstructured) (r hold.Record, replaced string, err error) {
	text, mark := rolloutHoldsAnnotation(object), object.GetLabels()[hold.HeldLabel]
	switch {
	case mark == hold.HeldLabelValue(text):
		r, err = hold.ParseRecord(text)
		return r, "", err
	case mark == "":
		return r, "old annotations brought back holds that had ended; the scaler removes them", nil
	}
	original, err := e.findRolloutReplicaSetRecord(ctx, object, mark)
	if err != nil {
		return r, "", err
	}
	if original != "" {
		r, err = hold.ParseRecord(original)
		return r, "the annotations were replaced, as by kubectl rollout undo; the scaler restores the holds", err
	}
	if r, err = hold.ParseRecord(text); text == "" {
		return r, "the annotation with the holds was removed; the holds are gone", err
	}
	return r, "another client changed the annotation with the holds; the scaler uses the new text", err
}

// findRolloutReplicaSetRecord finds the record with a label value on the ReplicaSets of a Deployment; empty: not found.
func (e *Engine) findRolloutReplicaSetRecord(ctx context.Context, object *unstructured.Unstructured, mark string) (string, error) {
	if object.GroupVersionKind().GroupKind() != deploymentKind {
		return "", nil
	}
	list, err := e.Client.AppsV1().ReplicaSets(object.GetNamespace()).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", fmt.Errorf("list the ReplicaSets to restore annotation %s, which was replaced: %w", hold.HoldsAnnotation, err)
	}
	for i := range list.Items {
		text := list.Items[i].Annotations[hold.HoldsAnnotation]
		if metav1.IsControlledBy(&list.Items[i], object) && hold.HeldLabelValue(text) == mark {
			return text, nil
		}
	}
	return "", nil
}

// rewriteRolloutRecord writes the record to the workload again if another client replaced it.
func (p *reconcilePass) rewriteRolloutRecord(ctx context.Context) error {
	if p.replacedReason == "" {
		return nil
	}
	return p.saveRolloutRecord(ctx)
}
