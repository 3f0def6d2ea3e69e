package rollout

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// restoreRecord reads the record that a target carries. kubectl rollout undo replaces a Deployment's annotations with those that the
// Deployment controller copied to the ReplicaSet it goes back to: it drops the record, or brings back one that is long over. Labels
// are left alone, so that the label beside the annotation tells; and the ReplicaSet that was left has a copy of the right one.
//
// replaced says in words that the annotation is not the record, and is to be written again; empty: it is.
func (e *Engine) restoreRecord(ctx context.Context, object *unstructured.Unstructured) (r hold.Record, replaced string, err error) {
	text, mark := holdsAnnotation(object), object.GetLabels()[hold.HeldLabel]
	switch {
	case mark == hold.Mark(text):
		r, err = hold.ParseRecord(text)
		return r, "", err
	case mark == "":
		return r, "holds that are over came back with old annotations; they are forgotten", nil
	}
	original, err := e.findReplicaSetRecord(ctx, object, mark)
	if err != nil {
		return r, "", err
	}
	if original != "" {
		r, err = hold.ParseRecord(original)
		return r, "its annotations were replaced, as kubectl rollout undo does; what was held is held", err
	}
	if r, err = hold.ParseRecord(text); text == "" {
		return r, "the annotation with its holds was taken away; nothing is held any more", err
	}
	return r, "the annotation with its holds was changed by somebody; it counts as it is now", err
}

// findReplicaSetRecord finds the text with a mark on the ReplicaSets of a Deployment; empty: none has it.
func (e *Engine) findReplicaSetRecord(ctx context.Context, object *unstructured.Unstructured, mark string) (string, error) {
	if object.GroupVersionKind().GroupKind() != deploymentKind {
		return "", nil
	}
	list, err := e.Client.AppsV1().ReplicaSets(object.GetNamespace()).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", fmt.Errorf("look for the holds on the ReplicaSets, since annotation %s was replaced: %w", hold.HoldsAnnotation, err)
	}
	for i := range list.Items {
		text := list.Items[i].Annotations[hold.HoldsAnnotation]
		if metav1.IsControlledBy(&list.Items[i], object) && hold.Mark(text) == mark {
			return text, nil
		}
	}
	return "", nil
}

// rewriteRecord writes the record to the target again, from which something else took it.
func (p *reconcilePass) rewriteRecord(ctx context.Context) error {
	if p.replacedReason == "" {
		return nil
	}
	return p.saveRecord(ctx)
}
