// The list of held workloads and autoscalers.

package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// DefaultKinds returns the kinds of workloads that a list searches by default.
func DefaultKinds() []schema.GroupVersionKind {
	return []schema.GroupVersionKind{deploymentKind.WithVersion("v1"), {Group: "apps", Version: "v1", Kind: "StatefulSet"}}
}

var deploymentKind = schema.GroupKind{Group: "apps", Kind: "Deployment"}

// HeldSelector selects the objects with holds.
const HeldSelector = hold.HeldLabel

// HeldWorkload is a workload with holds, as a list shows it.
type HeldWorkload struct {
	Workload   hold.Workload     `json:"workload"`
	Record     hold.Record       `json:"record"`               // empty if only the autoscaler is still held
	Autoscaler string            `json:"autoscaler,omitempty"` // the held autoscaler of the workload
	Bounds     hold.BoundsRecord `json:"bounds,omitzero"`
	Err        error             `json:"-"` // an annotation that cannot be parsed
}

// ListHeld lists the held workloads of the kinds in a namespace, and the workloads of held autoscalers. An empty namespace means all
// namespaces.
func (e *Engine) ListHeld(ctx context.Context, namespace string, kinds []schema.GroupVersionKind) ([]HeldWorkload, error) {
	var all []HeldWorkload
	for _, kind := range kinds {
		some, err := e.listRolloutWorkloadsOfKind(ctx, namespace, kind)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	hpas, err := e.Client.AutoscalingV2().HorizontalPodAutoscalers(namespace).List(ctx, metav1.ListOptions{LabelSelector: HeldSelector})
	if err != nil {
		return nil, fmt.Errorf("list held autoscalers: %w", err)
	}
	for i := range hpas.Items {
		hpa := &hpas.Items[i]
		ref := hpa.Spec.ScaleTargetRef
		t := hold.Workload{APIVersion: ref.APIVersion, Kind: ref.Kind, Namespace: hpa.Namespace, Name: ref.Name}
		s := slices.IndexFunc(all, func(s HeldWorkload) bool { return s.Workload == t })
		if s < 0 {
			s, all = len(all), append(all, HeldWorkload{Workload: t})
		}
		all[s].Autoscaler = hpa.Name
		var parseErr error
		all[s].Bounds, parseErr = hold.ParseBoundsRecord(hpa.Annotations[hold.BoundsAnnotation])
		all[s].Err = errors.Join(all[s].Err, parseErr)
	}
	return all, nil
}

// listRolloutWorkloadsOfKind lists the held workloads of one kind.
func (e *Engine) listRolloutWorkloadsOfKind(ctx context.Context, namespace string, kind schema.GroupVersionKind) ([]HeldWorkload, error) {
	mapping, err := e.Mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return nil, fmt.Errorf("find the API of %s: %w", kind.Kind, err)
	}
	list, err := e.Dynamic.Resource(mapping.Resource).Namespace(namespace).List(ctx, metav1.ListOptions{LabelSelector: HeldSelector})
	if err != nil {
		return nil, fmt.Errorf("list held %s: %w", mapping.Resource.Resource, err)
	}
	all := make([]HeldWorkload, 0, len(list.Items))
	for i := range list.Items {
		object := &list.Items[i]
		s := HeldWorkload{Workload: hold.Workload{
			APIVersion: kind.GroupVersion().String(), Kind: kind.Kind, Namespace: object.GetNamespace(), Name: object.GetName(),
		}}
		s.Record, _, s.Err = e.restoreRolloutRecord(ctx, object)
		all = append(all, s)
	}
	return all, nil
}
