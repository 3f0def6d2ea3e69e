// Quantiles over histograms with different buckets.

package query

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// A sum or another aggregation over the buckets of several histograms is a histogram only if all have the same buckets. A histogram without a
// bucket adds nothing to it, although it has events below: the quantile is wrong, as PromQL's is. This happens while a rollout changes the
// buckets. In each group every bound must therefore have as many series as the others: all histograms have the last.

// bucketGrouping is the grouping of an aggregation over buckets, without their bound.
type bucketGrouping struct {
	by, without []string // ascending; only one is set
	// byPod is set if by has no other labels than a pod's own: then a pod is in one group.
	byPod bool
}

// findBucketGrouping returns the grouping of the outermost aggregation under a quantile, given the path from the quantile to its selector; nil
// if none merges histograms, or a join decides which it merges.
func findBucketGrouping(path []parser.Node) (g *bucketGrouping) {
	for _, node := range path {
		switch n := node.(type) {
		case *parser.AggregateExpr:
			if g == nil && mergesPromQLSeries(n.Op) {
				g = newBucketGrouping(n)
			}
		case *parser.BinaryExpr:
			if n.VectorMatching != nil && g != nil {
				return nil
			}
		case *parser.Call:
			if n.Func.Name == "label_replace" || n.Func.Name == "label_join" {
				return nil
			}
		}
	}
	return g
}

// mergesPromQLSeries reports whether an aggregation makes one element of many, and does not choose among them.
func mergesPromQLSeries(op parser.ItemType) bool {
	switch op {
	case parser.TOPK, parser.BOTTOMK, parser.LIMITK, parser.LIMIT_RATIO, parser.COUNT_VALUES:
		return false
	}
	return true
}

func newBucketGrouping(e *parser.AggregateExpr) *bucketGrouping {
	names := slices.DeleteFunc(slices.Sorted(slices.Values(e.Grouping)), func(name string) bool { return name == labels.BucketLabel })
	if e.Without {
		without := slices.Concat(names, []string{labels.BucketLabel, model.MetricNameLabel})
		slices.Sort(without)
		return &bucketGrouping{without: without}
	}
	return &bucketGrouping{by: names, byPod: !slices.ContainsFunc(names, func(name string) bool { return name != namespaceLabel && name != podLabel })}
}

// groupKeyOfBucket returns the group of a series.
func (g *bucketGrouping) groupKeyOfBucket(s *evaluatedSeries, buffer []byte) (key uint64, _ []byte) {
	switch {
	case g.without != nil:
		return s.labels.HashWithoutLabels(buffer, g.without...)
	case len(g.by) == 0:
		return 0, buffer
	}
	return s.labels.HashForLabels(buffer, g.by...)
}

// bucketBounds numbers the bounds of buckets. Bounds of the same value have one number, however they are written.
type bucketBounds struct {
	texts   []string // in the order of the first histogram, which the others share
	numbers []int    // of texts; −1: no number
	byText  map[string]int
	byValue map[float64]int
	next    int // the index in texts of the bound that most probably follows
}

// numberOfBound returns the number of a bound; −1 if it is none.
func (b *bucketBounds) numberOfBound(text string) int {
	if b.next >= len(b.texts) || b.texts[b.next] != text {
		at, known := b.byText[text]
		if !known {
			at = b.addBucketBound(text)
		}
		b.next = at
	}
	number := b.numbers[b.next]
	if b.next++; b.next == len(b.texts) {
		b.next = 0
	}
	return number
}

func (b *bucketBounds) addBucketBound(text string) (at int) {
	number := -1
	if value, err := strconv.ParseFloat(text, 64); err == nil {
		var known bool
		if number, known = b.byValue[value]; !known {
			number = len(b.byValue)
			b.byValue[value] = number
		}
	}
	b.texts, b.numbers, b.byText[text] = append(b.texts, text), append(b.numbers, number), len(b.texts)
	return len(b.texts) - 1
}

// rejectDifferentBuckets returns the error for a quantile of histograms with different buckets, or nil. Pods with such histograms of their own
// are left out.
func (ev *evaluation) rejectDifferentBuckets() error {
	for i, series := range ev.scan.seriesBySelector {
		g := ev.selectors[i].buckets
		if g == nil || len(series) == 0 {
			continue
		}
		for _, key := range findUnequalBuckets(g, series) {
			d := describeUnequalBuckets(g, key, series)
			if ev.querySumsPods() {
				return metric.Errorf(metric.KindUnavailable, "rule %q: %s", ev.Rule.Name, d)
			}
			ev.omitScannedPod(d.other.pod, metric.ReasonWarmingUp, d.String())
		}
	}
	return nil
}

// unboundedHistogram is the detail of a pod whose histograms have only the last bucket.
const unboundedHistogram = `its only bucket is le="+Inf", as in the text of a native histogram: give the histogram classic buckets too`

// omitUnboundedHistograms omits pods whose histograms have no bucket but the last: their quantile lies anywhere. Client libraries write native
// histograms so in the text format.
func (ev *evaluation) omitUnboundedHistograms() {
	for i, series := range ev.scan.seriesBySelector {
		if ev.selectors[i].readsBuckets {
			ev.omitUnboundedHistogramsOf(series)
		}
	}
}

func (ev *evaluation) omitUnboundedHistogramsOf(series []evaluatedSeries) {
	for i := range series {
		series[i].pod.boundedBuckets = 0
	}
	for i := range series {
		if s := &series[i]; s.labels.Get(labels.BucketLabel) != lastBucketBound {
			s.pod.boundedBuckets++
		}
	}
	for i := range series {
		if p := series[i].pod; p.boundedBuckets == 0 && p.newest > 0 {
			ev.omitScannedPod(p, metric.ReasonOutOfRange, unboundedHistogram)
			p.boundedBuckets = 1 // once
		}
	}
}

// findUnequalBuckets returns the groups with bounds that not all of their histograms have.
func findUnequalBuckets(g *bucketGrouping, series []evaluatedSeries) (unequal []uint64) {
	bounds := bucketBounds{byText: map[string]int{}, byValue: map[float64]int{}}
	var (
		keys    []uint64
		counts  [][]int // by group and the number of the bound
		indexes = map[uint64]int{}
		buffer  []byte
		pod     *evaluatedPod
		group   int
	)
	for i := range series {
		s := &series[i]
		if s.pod != pod || !g.byPod {
			var key uint64
			key, buffer = g.groupKeyOfBucket(s, buffer)
			at, known := indexes[key]
			if !known {
				at = len(keys)
				indexes[key], keys, counts = at, append(keys, key), append(counts, make([]int, 0, max(len(bounds.byValue), 32)))
			}
			pod, group = s.pod, at
		}
		n := bounds.numberOfBound(s.labels.Get(labels.BucketLabel))
		for n >= len(counts[group]) {
			counts[group] = append(counts[group], 0)
		}
		if n >= 0 {
			counts[group][n]++
		}
	}
	for i, key := range keys {
		if !areBucketCountsEqual(counts[i]) {
			unequal = append(unequal, key)
		}
	}
	return unequal
}

// areBucketCountsEqual reports whether all bounds that occur do so equally often.
func areBucketCountsEqual(counts []int) bool {
	first := 0
	for _, n := range counts {
		first = cmp.Or(first, n)
		if n != 0 && n != first {
			return false
		}
	}
	return true
}

// bucketHistogram is a histogram with its bounds, as they are written, by value.
type bucketHistogram struct {
	pod    *evaluatedPod
	bounds map[float64]string
	twice  string // a bound that equals another
}

func (h *bucketHistogram) podName() string { return h.pod.labels.Get(podLabel) }

// bucketDifference is the difference of two histograms.
type bucketDifference struct {
	usual, other *bucketHistogram // many have the buckets of usual; only other is set for a bound that it has twice
}

// String says which pods differ, by which bucket, and the remedy.
func (d bucketDifference) String() string {
	if d.usual == nil {
		return fmt.Sprintf("%s has the bucket le=%q twice, written differently; write each bound once", d.other.podName(), d.other.twice)
	}
	with, without := d.usual, d.other
	bound, found := firstBoundMissingIn(without, with)
	if !found {
		with, without = without, with
		bound, _ = firstBoundMissingIn(without, with)
	}
	if d.usual.pod == d.other.pod {
		return fmt.Sprintf("a histogram of %s has the bucket le=%q, another has not, so that their quantile would be wrong; "+
			"give them the same buckets, or choose one by its labels", with.podName(), bound)
	}
	return fmt.Sprintf("%s has the bucket le=%q, %s has not, so that their quantile would be wrong; wait for the end of the rollout, "+
		"or give both the same buckets, or write max(histogram_quantile(…, sum by (namespace, pod, le) (…)))", with.podName(), bound, without.podName())
}

// firstBoundMissingIn returns the least bound that h lacks and other has.
func firstBoundMissingIn(h, other *bucketHistogram) (text string, found bool) {
	for _, value := range slices.Sorted(maps.Keys(other.bounds)) {
		if _, has := h.bounds[value]; !has {
			return other.bounds[value], true
		}
	}
	return "", false
}

// describeUnequalBuckets returns the difference of the histograms of a group: between the most frequent buckets and the first others.
func describeUnequalBuckets(g *bucketGrouping, key uint64, series []evaluatedSeries) (d bucketDifference) {
	histograms, frequency := collectBucketHistograms(g, key, series), map[string]int{}
	text := func(h *bucketHistogram) string { return fmt.Sprint(slices.Sorted(maps.Keys(h.bounds))) }
	for _, h := range histograms {
		frequency[text(h)]++
		if h.twice != "" {
			return bucketDifference{other: h}
		}
		if d.usual == nil || frequency[text(h)] > frequency[text(d.usual)] {
			d.usual = h
		}
	}
	for _, h := range histograms {
		if text(h) != text(d.usual) {
			d.other = h
			break
		}
	}
	return d
}

// collectBucketHistograms returns the histograms of a group, in the order of their pods: that of the store changes.
func collectBucketHistograms(g *bucketGrouping, key uint64, series []evaluatedSeries) []*bucketHistogram {
	byLabels, buffer := map[uint64]*bucketHistogram{}, []byte(nil)
	var all []*bucketHistogram
	for i := range series {
		s := &series[i]
		var group, histogram uint64
		group, buffer = g.groupKeyOfBucket(s, buffer)
		bound := s.labels.Get(labels.BucketLabel)
		value, err := strconv.ParseFloat(bound, 64)
		if group != key || err != nil {
			continue
		}
		histogram, buffer = s.labels.HashWithoutLabels(buffer, labels.BucketLabel)
		h := byLabels[histogram]
		if h == nil {
			h = &bucketHistogram{pod: s.pod, bounds: map[float64]string{}}
			byLabels[histogram], all = h, append(all, h)
		}
		if _, has := h.bounds[value]; has {
			h.twice = bound
		}
		h.bounds[value] = bound
	}
	slices.SortStableFunc(all, func(a, b *bucketHistogram) int { return cmp.Compare(a.podName(), b.podName()) })
	return all
}

// mergesBuckets reports whether the expression merges the buckets of histograms.
func (e *parsedExpression) mergesBuckets() bool {
	return slices.ContainsFunc(e.selectors, func(s exprSelector) bool { return s.buckets != nil })
}
