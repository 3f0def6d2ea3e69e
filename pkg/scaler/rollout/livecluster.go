// LiveCluster: reads and writes with requests to the API server.

package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// LiveCluster is the Cluster of an API server. All fields are required.
type LiveCluster struct {
	Client  kubernetes.Interface
	Dynamic dynamic.Interface
	Mapper  meta.RESTMapper
	Holds   *hold.Client
}

var _ Cluster = (*LiveCluster)(nil)

var patchOptions = metav1.PatchOptions{FieldManager: hold.Manager}

// ListHolds implements Reader.
func (c *LiveCluster) ListHolds(ctx context.Context, namespace string) ([]hold.Object, error) {
	all, err := c.Holds.ListHolds(ctx, namespace, "")
	if err != nil {
		return nil, fmt.Errorf("list holds: %w", err)
	}
	return all, nil
}

// GetScale implements Reader.
func (c *LiveCluster) GetScale(ctx context.Context, t hold.Workload) (*Scale, error) {
	if faults := content.IsPathSegmentName(t.Name); len(faults) > 0 {
		return nil, fmt.Errorf("workload %q: %w: it %s", t.Name, errNoObjectName, strings.Join(faults, ", "))
	}
	api, err := c.resolveWorkloadClient(t)
	if err != nil {
		return nil, err
	}
	object, err := api.Get(ctx, t.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // a missing workload is no error
	}
	if err != nil {
		return nil, fmt.Errorf("get workload: %w", err)
	}
	return c.scaleOfWorkloadObject(ctx, api, object)
}

// resolveWorkloadClient returns the client of the workload's kind, in its namespace.
func (c *LiveCluster) resolveWorkloadClient(t hold.Workload) (dynamic.ResourceInterface, error) {
	mapping, err := c.mapWorkload(t)
	if err != nil {
		return nil, fmt.Errorf("find the API of %s %s: %w", t.APIVersion, t.Kind, err)
	}
	return c.Dynamic.Resource(mapping.Resource).Namespace(t.Namespace), nil
}

// mapWorkload returns the resource of the workload's kind: in its version or, if the API server no longer serves that, in any other. A hold of the
// version of before so ends too.
func (c *LiveCluster) mapWorkload(t hold.Workload) (*meta.RESTMapping, error) {
	kind := t.GroupVersionKind()
	mapping, err := c.Mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if meta.IsNoMatchError(err) {
		if other, otherErr := c.Mapper.RESTMapping(kind.GroupKind()); otherErr == nil {
			mapping, err = other, nil
		}
	}
	if err == nil && mapping.Scope.Name() != meta.RESTScopeNameNamespace {
		return nil, fmt.Errorf("%s/%s %w: a Hold is for a workload in its namespace", t.Kind, t.Name, errClusterScoped)
	}
	return mapping, err
}

// scalableAppsKinds are the kinds of apps that have a scale: a DaemonSet has none.
var scalableAppsKinds = []string{"Deployment", "StatefulSet", "ReplicaSet"}

// These are trouble that a person must end.
var (
	errClusterScoped = errors.New("is cluster-scoped")
	errNoObjectName  = errors.New("no object can have this name")
	errNoReplicas    = errors.New("has no number of replicas")
	errNoScale       = errors.New("has no scale subresource")
	errControlled    = errors.New("is controlled by")
)

// isTroubleError reports whether an error is trouble of the workload alone, which a person must end.
func isTroubleError(err error) bool {
	return apierrors.IsForbidden(err) || slices.ContainsFunc([]error{errSeveralAutoscalers, errLargeList, errNoScale, errNoReplicas, errControlled, errClusterScoped, errNoObjectName}, func(trouble error) bool {
		return errors.Is(err, trouble)
	})
}

// scaleOfWorkloadObject returns the scale of a workload: from the object itself for scalableAppsKinds, else from the scale subresource.
func (c *LiveCluster) scaleOfWorkloadObject(ctx context.Context, api dynamic.ResourceInterface, object *unstructured.Unstructured) (*Scale, error) {
	s := &Scale{UID: object.GetUID(), Version: object.GetResourceVersion(), Failure: describeReplicaFailure(object)}
	s.Owned, _ = splitFieldOwner(object.GetManagedFields(), "scale")
	kind := object.GroupVersionKind()
	if owner := metav1.GetControllerOf(object); owner != nil && kind.Group == "apps" && kind.Kind == "ReplicaSet" {
		return nil, fmt.Errorf("%s/%s %w %s/%s, which sets its replicas: hold that one", kind.Kind, object.GetName(), errControlled, owner.Kind, owner.Name)
	}
	if kind.Group == "apps" && slices.Contains(scalableAppsKinds, kind.Kind) {
		if n, found, _ := unstructured.NestedInt64(object.Object, "spec", "replicas"); found {
			s.Replicas = int32(n) //nolint:gosec // the API's own field is an int32
		}
		raw, _, _ := unstructured.NestedMap(object.Object, "spec", "selector")
		selector, err := formatWorkloadSelector(raw)
		s.Selector = selector
		return s, err
	}
	scale, err := api.Get(ctx, object.GetName(), metav1.GetOptions{}, "scale")
	if apierrors.IsNotFound(err) || apierrors.IsMethodNotSupported(err) {
		return nil, fmt.Errorf("%s/%s %w: hold a workload that has one", kind.Kind, object.GetName(), errNoScale)
	}
	if apierrors.IsInternalError(err) && strings.Contains(err.Error(), "does not exist") { // the API server's answer for a custom resource
		return nil, fmt.Errorf("%s/%s %w: set its replicas, so that a hold can give them back: %w", kind.Kind, object.GetName(), errNoReplicas, err)
	}
	if err != nil {
		return nil, fmt.Errorf("get scale: %w", err)
	}
	readWorkloadScale(s, scale)
	return s, nil
}

// formatWorkloadSelector returns the text of a label selector.
func formatWorkloadSelector(raw map[string]any) (string, error) {
	data, err := json.Marshal(raw)
	if err != nil {
		return "", fmt.Errorf("read the selector: %w", err)
	}
	var selector metav1.LabelSelector
	if err := json.Unmarshal(data, &selector); err != nil {
		return "", fmt.Errorf("read the selector: %w", err)
	}
	parsed, err := metav1.LabelSelectorAsSelector(&selector)
	if err != nil {
		return "", fmt.Errorf("read the selector: %w", err)
	}
	return parsed.String(), nil
}

// readWorkloadScale takes replicas, selector and version from a scale; a scale without the field has 0.
func readWorkloadScale(s *Scale, scale *unstructured.Unstructured) {
	n, _, _ := unstructured.NestedInt64(scale.Object, "spec", "replicas")
	s.Replicas = int32(n) //nolint:gosec // the API's own field is an int32
	s.Version = scale.GetResourceVersion()
	if selector, _, _ := unstructured.NestedString(scale.Object, "status", "selector"); selector != "" {
		s.Selector = selector
	}
}

// splitFieldOwner returns whether the scaler owns fields that it wrote through a subresource, and the other entries of the managed fields.
func splitFieldOwner(all []metav1.ManagedFieldsEntry, subresource string) (owned bool, others []metav1.ManagedFieldsEntry) {
	for _, m := range all {
		if m.Manager == hold.Manager && m.Subresource == subresource {
			owned = true
			continue
		}
		others = append(others, m)
	}
	return owned, others
}

// CreateHold implements Writer.
func (c *LiveCluster) CreateHold(ctx context.Context, o *hold.Object) (*hold.Object, error) {
	return c.Holds.CreateHold(ctx, o)
}

// UpdateHold implements Writer.
func (c *LiveCluster) UpdateHold(ctx context.Context, o *hold.Object) (*hold.Object, error) {
	return c.Holds.UpdateHold(ctx, o)
}

// UpdateHoldStatus implements Writer.
func (c *LiveCluster) UpdateHoldStatus(ctx context.Context, o *hold.Object) (*hold.Object, error) {
	return c.Holds.UpdateHoldStatus(ctx, o)
}

// DeleteHold implements Writer.
func (c *LiveCluster) DeleteHold(ctx context.Context, o *hold.Object) error {
	return c.Holds.DeleteHold(ctx, o)
}

// SetBounds implements Writer.
func (c *LiveCluster) SetBounds(ctx context.Context, namespace string, a *Autoscaler, to hold.ReplicaBounds) (*Autoscaler, error) {
	return c.patchAutoscaler(ctx, namespace, a, map[string]any{
		"metadata": map[string]any{"resourceVersion": a.Version},
		"spec":     map[string]any{"minReplicas": to.MinReplicas, "maxReplicas": to.MaxReplicas},
	})
}

// DropBoundsOwner implements Writer. It lists one object, because it needs no right to get it.
func (c *LiveCluster) DropBoundsOwner(ctx context.Context, namespace string, a *Autoscaler) (*Autoscaler, error) {
	only := metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector(metav1.ObjectNameField, a.Name).String()}
	list, err := c.Client.AutoscalingV2().HorizontalPodAutoscalers(namespace).List(ctx, only)
	if err != nil {
		return nil, fmt.Errorf("list autoscaler %s: %w", a.Name, err)
	}
	var others []metav1.ManagedFieldsEntry
	for i := range list.Items {
		if list.Items[i].UID == a.UID {
			_, others = splitFieldOwner(list.Items[i].ManagedFields, "")
		}
	}
	return c.patchAutoscaler(ctx, namespace, a, newFieldManagersPatch(a.Version, others))
}

// newFieldManagersPatch returns the patch that replaces the field managers of an object.
func newFieldManagersPatch(version string, managers []metav1.ManagedFieldsEntry) map[string]any {
	if len(managers) == 0 {
		managers = []metav1.ManagedFieldsEntry{{}} // the API's way to say: none; it ignores an empty list
	}
	return map[string]any{"metadata": map[string]any{"resourceVersion": version, "managedFields": managers}}
}

// patchAutoscaler merges a patch into the autoscaler.
func (c *LiveCluster) patchAutoscaler(ctx context.Context, namespace string, a *Autoscaler, merge map[string]any) (*Autoscaler, error) {
	patch, err := json.Marshal(merge)
	if err != nil {
		return nil, fmt.Errorf("write a patch of autoscaler %s: %w", a.Name, err)
	}
	hpa, err := c.Client.AutoscalingV2().HorizontalPodAutoscalers(namespace).Patch(ctx, a.Name, types.MergePatchType, patch, patchOptions)
	if err != nil {
		return nil, fmt.Errorf("patch autoscaler %s: %w", a.Name, err)
	}
	return convertHeldAutoscaler(hpa), nil
}

// SetReplicas implements Writer.
func (c *LiveCluster) SetReplicas(ctx context.Context, t hold.Workload, s *Scale, n int32) (*Scale, error) {
	made, err := c.patchScale(ctx, t, s, map[string]any{
		"metadata": map[string]any{"resourceVersion": s.Version}, "spec": map[string]any{"replicas": n},
	})
	if err == nil {
		made.Owned = true
	}
	return made, err
}

// DropScaleOwner implements Writer. The API server ignores managed fields in a scale, so this needs the right to patch the workload.
func (c *LiveCluster) DropScaleOwner(ctx context.Context, t hold.Workload, s *Scale) (*Scale, error) {
	api, err := c.resolveWorkloadClient(t)
	if err != nil {
		return nil, err
	}
	object, err := api.Get(ctx, t.Name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("get workload: %w", err)
	}
	_, others := splitFieldOwner(object.GetManagedFields(), "scale")
	patch, err := json.Marshal(newFieldManagersPatch(object.GetResourceVersion(), others))
	if err != nil {
		return nil, fmt.Errorf("write a patch of the managed fields: %w", err)
	}
	made := *s
	made.Owned = false
	after, err := api.Patch(ctx, t.Name, types.MergePatchType, patch, patchOptions)
	if err != nil {
		return nil, fmt.Errorf("patch the managed fields: %w", err)
	}
	made.Version = after.GetResourceVersion()
	return &made, nil
}

// patchScale merges a patch into the scale of the workload.
func (c *LiveCluster) patchScale(ctx context.Context, t hold.Workload, s *Scale, merge map[string]any) (*Scale, error) {
	api, err := c.resolveWorkloadClient(t)
	if err != nil {
		return nil, err
	}
	patch, err := json.Marshal(merge)
	if err != nil {
		return nil, fmt.Errorf("write a patch of the scale: %w", err)
	}
	scale, err := api.Patch(ctx, t.Name, types.MergePatchType, patch, patchOptions, "scale")
	if err != nil {
		return nil, fmt.Errorf("patch the scale: %w", err)
	}
	made := *s
	readWorkloadScale(&made, scale)
	return &made, nil
}

// WriteEvent implements Writer.
func (c *LiveCluster) WriteEvent(ctx context.Context, e *corev1.Event) error {
	_, err := c.Client.CoreV1().Events(e.Namespace).Create(ctx, e, metav1.CreateOptions{})
	return err
}
