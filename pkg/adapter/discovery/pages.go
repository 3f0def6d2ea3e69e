// This file keeps the memory of a list small where kube-apiserver does not stream it.

package discovery

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// discoveryPageSize is the number of objects in a page of a list. An object may have as many bytes as etcd takes, 1.5 MiB, and a page is
// in memory as a whole, with its decoded objects; 5,000 pods are 250 requests.
const discoveryPageSize = 20

// requestListPage asks for pages. A server ignores the limit for a list of any age, which the reflector asks for first.
func requestListPage(o metav1.ListOptions) metav1.ListOptions {
	if o.Limit > 0 {
		o.ResourceVersion, o.ResourceVersionMatch = "", ""
	}
	return o
}

// strippedObject is the stored part of a listed object, in the form that client-go's pager takes.
type strippedObject[T any] struct{ stripped T }

var _ runtime.Object = (*strippedObject[int])(nil)

// GetObjectKind implements runtime.Object.
func (*strippedObject[T]) GetObjectKind() schema.ObjectKind { return schema.EmptyObjectKind }

// DeepCopyObject implements runtime.Object. The stored part never changes.
func (o *strippedObject[T]) DeepCopyObject() runtime.Object { return o }

// stripListPage reduces the objects of a page, so that the pager collects no whole objects.
func (m *reflectorStore[T]) stripListPage(page runtime.Object) (runtime.Object, error) {
	of, err := meta.ListAccessor(page)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", m.resource, err)
	}
	list := &metainternalversion.List{ListMeta: metav1.ListMeta{
		ResourceVersion: of.GetResourceVersion(), Continue: of.GetContinue(), RemainingItemCount: of.GetRemainingItemCount(),
	}}
	err = meta.EachListItem(page, func(o runtime.Object) error {
		stripped, err := m.strip(o)
		list.Items = append(list.Items, &strippedObject[T]{stripped})
		return err
	})
	return list, err
}
