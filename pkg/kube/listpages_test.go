package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// pagedPods is an API server with pods of some bytes each.
type pagedPods struct {
	count, bytes int
	sizes        []int64 // of the pages that it was asked for
	expires      bool    // between the first page and the second
}

func (p *pagedPods) list(_ context.Context, o metav1.ListOptions) (*corev1.PodList, error) {
	from, _ := strconv.Atoi(o.Continue)
	if p.expires && from > 0 {
		return nil, apierrors.NewResourceExpired("too old")
	}
	p.sizes = append(p.sizes, o.Limit)
	page := &corev1.PodList{}
	for i := from; i < p.count && (o.Limit == 0 || i < from+int(o.Limit)); i++ {
		page.Items = append(page.Items, corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("web-", i), Annotations: map[string]string{"a": strings.Repeat("a", p.bytes)}}})
	}
	if next := from + len(page.Items); next < p.count {
		page.Continue = fmt.Sprint(next)
	}
	return page, nil
}

// TestListPages: each object comes once, in pages that grow to 500 small objects, and to 4 MiB of large ones.
func TestListPages(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		pods pagedPods
		want []int64
	}{
		"none":         {pagedPods{}, []int64{20}},
		"one page":     {pagedPods{count: 20, bytes: 10}, []int64{20}},
		"small pods":   {pagedPods{count: 1500, bytes: 10}, []int64{20, 40, 80, 160, 320, 500, 500}},
		"large pods":   {pagedPods{count: 60, bytes: 250_000}, []int64{20, 16, 16, 16}},
		"immense pods": {pagedPods{count: 21, bytes: 5_000_000}, []int64{20, 1}},
	} {
		seen := 0
		err := EachListPage(t.Context(), metav1.ListOptions{}, test.pods.list, func(page *corev1.PodList) error {
			for _, pod := range page.Items {
				if pod.Name != fmt.Sprint("web-", seen) {
					t.Errorf("%s: %s in place %d", name, pod.Name, seen)
				}
				seen++
			}
			return nil
		})
		if err != nil || seen != test.pods.count || !slices.Equal(test.pods.sizes, test.want) {
			t.Errorf("%s: %d pods in pages of %v, %v; want %d in pages of %v", name, seen, test.pods.sizes, err, test.pods.count, test.want)
		}
	}
}

// TestListPageErrors: an error of the list or of its reader ends the list. A list of one page that expired is no whole list.
func TestListPageErrors(t *testing.T) {
	t.Parallel()
	pods := pagedPods{count: 1000, expires: true}
	if err := EachListPage(t.Context(), metav1.ListOptions{}, pods.list, func(*corev1.PodList) error { return nil }); !apierrors.IsResourceExpired(err) {
		t.Errorf("an expired list: %v", err)
	}
	pods, full := pagedPods{count: 1000}, errors.New("full")
	if err := EachListPage(t.Context(), metav1.ListOptions{}, pods.list, func(*corev1.PodList) error { return full }); !errors.Is(err, full) || len(pods.sizes) != 1 {
		t.Errorf("after an error: %v and %d pages", err, len(pods.sizes))
	}
}
