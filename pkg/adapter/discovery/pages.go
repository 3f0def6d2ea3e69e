// This file keeps the memory of a list small where kube-apiserver does not stream it.

package discovery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const (
	// discoveryPageSize is the number of objects in the first page of a list. An object may have as many bytes as etcd takes, 1.5 MiB, and a page
	// is in memory as a whole, with its decoded objects.
	discoveryPageSize = 20
	// maxDiscoveryPageSize bounds the pages that follow: each has up to twice the objects of the one before. 5,000 pods are 14 requests; in pages of
	// the first size they would be 250, one after the other.
	maxDiscoveryPageSize = 500
	// maxDiscoveryPageBytes bounds a page with more objects than the first. 500 usual pods have 3 MB.
	maxDiscoveryPageBytes = 8 << 20
)

// growingPages are the pages of a list that grow while their objects are small. Lists of one resource follow each other.
type growingPages struct{ next int64 }

// listGrowingPage lists the next page. A page over maxDiscoveryPageBytes is given up, and requested again with few objects.
func listGrowingPage[L any](ctx context.Context, g *growingPages, o metav1.ListOptions, list func(context.Context, metav1.ListOptions) (L, error)) (L, error) {
	if o.Limit == 0 {
		return list(ctx, o)
	}
	few := o.Limit
	if o.Continue != "" {
		o.Limit = max(few, g.next)
	}
	page, bytes, err := listBoundedPage(ctx, o, few, list)
	if bytes > maxDiscoveryPageBytes && o.Limit > few {
		o.Limit = few
		page, bytes, err = listBoundedPage(ctx, o, few, list)
	}
	g.next = min(2*o.Limit, o.Limit*maxDiscoveryPageBytes/2/max(bytes, 1), maxDiscoveryPageSize)
	return page, err
}

// listBoundedPage lists a page, and returns the bytes that were read of it. A page of few objects has no bound.
func listBoundedPage[L any](ctx context.Context, o metav1.ListOptions, few int64, list func(context.Context, metav1.ListOptions) (L, error)) (L, int64, error) {
	bound := &responseBound{most: math.MaxInt64}
	if o.Limit > few {
		bound.most = maxDiscoveryPageBytes
	}
	page, err := listUnexpiredPage(context.WithValue(ctx, responseBoundKey{}, bound), o, list)
	return page, bound.read, err
}

// responseBound bounds the bytes of the response to a request whose context has it. Its request's goroutine uses it.
type responseBound struct{ read, most int64 }

type responseBoundKey struct{}

// boundedTransport ends the body of a response beyond the bound of its request.
type boundedTransport struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t boundedTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := t.RoundTripper.RoundTrip(request)
	if bound, ok := request.Context().Value(responseBoundKey{}).(*responseBound); ok && err == nil {
		response.Body = &boundedBody{response.Body, bound}
	}
	return response, err
}

// WrappedRoundTripper returns the transport below, for client-go.
func (t boundedTransport) WrappedRoundTripper() http.RoundTripper { return t.RoundTripper }

type boundedBody struct {
	io.ReadCloser
	bound *responseBound
}

// Read implements io.Reader.
func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.bound.read += int64(n); b.bound.read > b.bound.most {
		return 0, errLargePage
	}
	return n, err
}

var errLargePage = fmt.Errorf("a page has more than %d MiB; it is requested again with fewer objects", maxDiscoveryPageBytes>>20)

// listUnexpiredPage lists a page. kube-apiserver forgets a list after five minutes, and then offers a token for the rest at its newest version. The
// watch begins at the version of the first page and so repeats all changes since, or has the list made anew. Without a token the error is
// another one than kube-apiserver's: for that one client-go's pager requests all objects at once.
func listUnexpiredPage[L any](ctx context.Context, o metav1.ListOptions, list func(context.Context, metav1.ListOptions) (L, error)) (L, error) {
	page, err := list(ctx, o)
	if o.Continue == "" || !apierrors.IsResourceExpired(err) {
		return page, err
	}
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Continue != "" {
		o.Continue = status.Status().Continue
		page, err = list(ctx, o)
	}
	if apierrors.IsResourceExpired(err) {
		err = errExpiredPage
	}
	return page, err
}

var errExpiredPage = errors.New("the list expired between two of its pages; it is requested again from the first")

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
