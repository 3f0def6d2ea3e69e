package kube

import (
	"cmp"
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// firstListPage is the size of a list's first page, whose objects may each have the 1.5 MiB that etcd takes: the scaler has 128 MiB.
	firstListPage = 20
	// maxListPage is the size of kubectl's pages. 500 usual pods have 3 MB.
	maxListPage = 500
	// listPageBytes is the size that pages with large objects aim at.
	listPageBytes = 4 << 20
)

// EachListPage calls use with each page of a list, and holds one page at a time. One response with all objects would take memory that any
// tenant of a namespace chooses. Pages grow up to the limit of the options while their objects are small. A list that expires between two pages is an error.
func EachListPage[L metav1.ListInterface](ctx context.Context, o metav1.ListOptions, list func(context.Context, metav1.ListOptions) (L, error), use func(L) error) error {
	most := cmp.Or(o.Limit, maxListPage)
	for o.Limit = min(firstListPage, most); ; {
		page, err := list(ctx, o)
		if err != nil {
			return err
		}
		if o.Continue = page.GetContinue(); o.Continue != "" {
			o.Limit = min(nextPageSize(o.Limit, page), most)
		}
		if err := use(page); err != nil || o.Continue == "" {
			return err
		}
	}
}

// nextPageSize returns the number of objects for the next page: of the size of those before, they have at most listPageBytes.
func nextPageSize(size int64, page any) int64 {
	next := 2 * size
	if sized, ok := page.(interface{ Size() int }); ok {
		next = min(next, max(1, size*listPageBytes/max(1, int64(sized.Size()))))
	}
	return next
}
