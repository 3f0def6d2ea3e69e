// Large metadata of Holds: their clients write annotations and labels as large as etcd takes, and the scaler keeps all Holds in memory.

package hold

import (
	"context"
	"fmt"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/fields"
)

// maxOwnValue bounds a label or an annotation that the scaler reads: a time, or the name of a controller.
const maxOwnValue = 256

// ownKeys are the labels and annotations that the scaler reads and writes.
var ownKeys = []string{OwnerLabel, ControllerLabel, ManagedLabel, PausedByOwnerAnnotation}

// TrimMetadata takes away the labels, annotations, finalizers and owners that are none of the scaler's. UpdateHold writes such an object with those
// that the API server has.
func (o *Object) TrimMetadata() {
	o.Trimmed, o.OwnerReferences = true, nil
	isOthers := func(key, value string) bool { return !slices.Contains(ownKeys, key) || len(value) > maxOwnValue }
	maps.DeleteFunc(o.Labels, isOthers)
	maps.DeleteFunc(o.Annotations, isOthers)
	o.Finalizers = slices.DeleteFunc(o.Finalizers, func(f string) bool { return f != Finalizer })
}

// restoreMetadata returns a trimmed object with the metadata of the API server besides the scaler's own.
func (c *Client) restoreMetadata(ctx context.Context, o *Object) (*Object, error) {
	only := fields.OneTermEqualSelector("metadata.name", o.Name).String()
	found := &ObjectList{}
	if err := c.rest.Get().Namespace(o.Namespace).Resource(Resource).Param("fieldSelector", only).Do(ctx).Into(found); err != nil {
		return nil, fmt.Errorf("read the metadata of hold %s: %w", o.Name, err)
	}
	if len(found.Items) == 0 {
		return nil, apierrors.NewNotFound(GroupVersion.WithResource(Resource).GroupResource(), o.Name)
	}
	stored, whole := &found.Items[0], o.DeepCopy()
	if stored.ResourceVersion != o.ResourceVersion {
		return nil, apierrors.NewConflict(GroupVersion.WithResource(Resource).GroupResource(), o.Name, fmt.Errorf("it has version %s by now", stored.ResourceVersion))
	}
	whole.Trimmed, whole.OwnerReferences = false, stored.OwnerReferences
	whole.Labels, whole.Annotations = joinOwnKeys(stored.Labels, o.Labels), joinOwnKeys(stored.Annotations, o.Annotations)
	whole.Finalizers = append(slices.DeleteFunc(stored.Finalizers, func(f string) bool { return f == Finalizer }), o.Finalizers...)
	return whole, nil
}

// joinOwnKeys returns stored labels or annotations with the scaler's own replaced.
func joinOwnKeys(stored, own map[string]string) map[string]string {
	joined := maps.Clone(stored)
	maps.DeleteFunc(joined, func(key, value string) bool { return slices.Contains(ownKeys, key) && len(value) <= maxOwnValue })
	if joined == nil {
		return own
	}
	maps.Copy(joined, own)
	return joined
}
