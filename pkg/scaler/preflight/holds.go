// A trial of the API server's schema of Holds, and of all that may reject one: a quota, a webhook, a namespace that goes away.

package preflight

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// newTrialHold returns a Hold with a status of this version. Nothing stores it.
func (o *Inspection) newTrialHold(namespace string) (*unstructured.Unstructured, error) {
	t := hold.Workload{APIVersion: "apps/v1", Kind: "Deployment", Namespace: namespace, Name: "tachometer-scaler-check"}
	h := hold.NewObject(t, hold.Hold{ID: "check", By: hold.Manager, Replicas: 1, Paused: true, WindowStart: o.Now, Until: o.Now}, "")
	at := metav1.NewTime(o.Now)
	h.Spec.PausedUntil, h.Spec.Approved = &at, true
	h.Status = hold.Status{
		Yielded: []string{"replicas"}, YieldedUntil: at, YieldedWindow: at, VerifiedReadyAt: at, GateKeys: map[string]string{"gate": "key"}, Up: &hold.CountedNumbers{Replicas: 1},
		Numbers: &hold.Numbers{Sequence: 1, WorkloadUID: "1", AutoscalerUID: "1"},
	}
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(h)
	return &unstructured.Unstructured{Object: object}, err
}

// checkTrialHolds has the API server check a Hold in each namespace, and store none. Without the kind, or the right to create it, other checks say so.
func (o *Inspection) checkTrialHolds(ctx context.Context) (all []Result) {
	kind := hold.GroupVersion.WithKind(hold.Kind)
	if _, err := o.Mapper.RESTMapping(kind.GroupKind(), kind.Version); err != nil {
		return nil
	}
	for _, namespace := range o.Config.Namespaces {
		trial, err := o.newTrialHold(namespace)
		if err == nil {
			opts := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict, FieldManager: hold.Manager}
			_, err = o.Dynamic.Resource(hold.GroupVersion.WithResource(hold.Resource)).Namespace(namespace).Create(ctx, trial, opts)
		}
		all = append(all, describeTrialHold(namespace, hold.DescribeSchemaError(err))...)
	}
	return all
}

// describeTrialHold returns the result of a trial in a namespace.
func describeTrialHold(namespace string, err error) []Result {
	r := Result{Check: "hold", Subject: "namespace " + namespace, Status: OK, Detail: "the API server accepts a Hold"}
	switch {
	case err == nil:
	case hold.IsSchemaError(err):
		r.Status, r.Detail, r.Fix = Missing, err.Error(), hold.ApplySchema
	case isMissingRight(err):
		return nil
	case apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsNotFound(err):
		r.Status, r.Detail = Missing, err.Error()
		r.Fix = fmt.Sprintf("let the scaler create Holds there: kubectl describe namespace %s, and the webhook or policy that the message names", namespace)
	default:
		r.Status, r.Detail = Unknown, err.Error()
	}
	return []Result{r}
}

// isMissingRight reports whether the API server rejects a request for want of a right, and not by an admission plugin.
func isMissingRight(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), "cannot create resource")
}
