// The pages of a workload's pods, merged: a canary may have families that the other pods lack.

package families

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
)

const (
	// maxReadPages bounds the pods of a workload with pages that are read: kube-apiserver's proxy serves others too.
	maxReadPages = 10
	// pageTimeout bounds the read of a page. kube-apiserver waits 30 s for a pod that cannot be reached.
	pageTimeout = 10 * time.Second
)

// ReadWorkload reads the metrics pages of the pods of a workload, of ten at most, and merges their families. The errors are those of single
// pods; the report is nil if no page was read.
func ReadWorkload(ctx context.Context, reader reading.Reader, pods []*corev1.Pod) (report *PageReport, failed []error) {
	pods = choosePagePods(pods)
	reports, errs := make([]*PageReport, len(pods)), make([]error, len(pods))
	var group errgroup.Group
	for i, pod := range pods {
		group.Go(func() error {
			ctx, stop := context.WithTimeout(ctx, pageTimeout)
			defer stop()
			reports[i], errs[i] = ReadPod(ctx, reader, pod)
			return nil
		})
	}
	_ = group.Wait() // no page fails the others
	for _, page := range reports {
		report = mergeFamilyPages(report, page)
	}
	return report, slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}

// choosePagePods returns pods of all ages, at most maxReadPages: old and new pods may run different releases.
func choosePagePods(pods []*corev1.Pod) []*corev1.Pod {
	pods = slices.SortedFunc(slices.Values(pods), func(a, b *corev1.Pod) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
	})
	if len(pods) <= maxReadPages {
		return pods
	}
	chosen := make([]*corev1.Pod, maxReadPages)
	for i := range chosen {
		chosen[i] = pods[i*(len(pods)-1)/(maxReadPages-1)]
	}
	return chosen
}

// mergeFamilyPages adds the families of another page to a report, and returns it. The type is that of the first page with the family.
func mergeFamilyPages(report, page *PageReport) *PageReport {
	switch {
	case page == nil:
		return report
	case report == nil:
		return page
	}
	report.Pod, report.Page, report.ReadPods = "", "", append(report.ReadPods, page.ReadPods...)
	for _, f := range page.Families {
		i, isKnown := slices.BinarySearchFunc(report.Families, f.Name, func(a Family, name string) int { return strings.Compare(a.Name, name) })
		if !isKnown {
			report.Families = slices.Insert(report.Families, i, f)
			continue
		}
		report.Families[i].addPage(f)
	}
	return report
}

// addPage adds the family of another page.
func (f *Family) addPage(other Family) {
	f.Pods, f.Series, f.Help = f.Pods+other.Pods, f.Series+other.Series, cmp.Or(f.Help, other.Help)
	if f.Value == nil || other.Value == nil {
		f.Value = nil
		return
	}
	f.Value = newFiniteValue(*f.Value + *other.Value)
}
