// Quantiles over pods with different buckets.

package query

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// A sum over buckets of several pods is a histogram only if all have the same buckets. A pod without a bucket adds nothing to it, although it
// has events below: the quantile is wrong, as PromQL's is. This happens while a rollout changes the buckets.

// addsUpPodBuckets reports whether a sum with this grouping adds up the buckets of all pods of a namespace.
func addsUpPodBuckets(grouping []string) bool {
	return slices.Contains(grouping, labels.BucketLabel) && !slices.ContainsFunc(grouping, func(label string) bool {
		return label != labels.BucketLabel && label != namespaceLabel
	})
}

// podBuckets identify the bounds of a pod's buckets: their number, and the sum of their hashes. Both grow with the number of histograms.
type podBuckets struct {
	count, sum uint64
}

// addBound adds a bound; bounds of the same value are equal, however they are written.
func (b *podBuckets) addBound(bound string) {
	value, err := strconv.ParseFloat(bound, 64)
	if err != nil {
		return
	}
	h := math.Float64bits(value) * 0x9e3779b97f4a7c15 // spreads the bits
	b.count, b.sum = b.count+1, b.sum+(h^h>>29)*0xbf58476d1ce4e5b9
}

// hasBoundsOf reports whether both have the same bounds, in any number of histograms.
func (b *podBuckets) hasBoundsOf(other *podBuckets) bool {
	return b.sum*other.count == other.sum*b.count
}

// rejectDifferentBuckets returns the error of a quantile over pods with different buckets, or nil.
func (ev *evaluation) rejectDifferentBuckets() error {
	for i, series := range ev.scan.seriesBySelector {
		if !ev.selectors[i].addsUpPods || len(series) == 0 {
			continue
		}
		byPod := map[*scannedPod]*podBuckets{}
		for j := range series {
			b := byPod[series[j].pod]
			if b == nil {
				b = &podBuckets{}
				byPod[series[j].pod] = b
			}
			b.addBound(series[j].labels.Get(labels.BucketLabel))
		}
		ev.omitPodsWithOtherBuckets(byPod)
	}
	return ev.podsMissingFromQueryError()
}

// omitPodsWithOtherBuckets omits the pods with other buckets than the first of their namespace.
func (ev *evaluation) omitPodsWithOtherBuckets(byPod map[*scannedPod]*podBuckets) {
	first := map[string]*scannedPod{}
	pods := slices.SortedFunc(maps.Keys(byPod), func(a, b *scannedPod) int { // the order of the store changes
		return cmp.Compare(a.labels.Get(podLabel), b.labels.Get(podLabel))
	})
	for _, p := range pods {
		namespace := p.labels.Get(namespaceLabel)
		if of := first[namespace]; of == nil {
			first[namespace] = p
		} else if !byPod[p].hasBoundsOf(byPod[of]) {
			ev.omitScannedPod(p, metric.ReasonWarmingUp, "other buckets than "+of.labels.Get(podLabel))
		}
	}
}
