package exposition

// Histograms with a bucket twice, and summaries with a quantile twice.

import (
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// boundKey identifies a bucket or a quantile by the value of its bound.
type boundKey struct {
	name   string
	labels uint64 // hash of the other labels
	bound  float64
}

// isBucketSeries reports whether labels are those of a histogram's bucket.
func isBucketSeries(l labels.Labels) bool {
	return strings.HasSuffix(l.Get(model.MetricNameLabel), "_bucket") && l.Has(model.BucketLabel)
}

// rejectEqualBounds rejects families with a bound twice, such as le="1" and le="1.0". Prometheus's parser writes both alike on pages with types,
// which makes them duplicates. Without a type both stay, and a quantile adds them up. Only new series can be such.
func (p *Parser) rejectEqualBounds() {
	isNewBound := func(s Sample) bool { return !s.Series.alive && (s.Series.isBucket || s.Series.isQuantile) }
	if p.err != nil || !slices.ContainsFunc(p.samples, isNewBound) {
		return
	}
	seen, buffer, faults := map[boundKey]bool{}, []byte(nil), map[int]*Error{}
	for _, sample := range p.samples {
		s := sample.Series
		if !s.isBucket && !s.isQuantile || p.families[sample.family].Err != nil {
			continue
		}
		label := model.BucketLabel
		if !s.isBucket {
			label = model.QuantileLabel
		}
		key := boundKey{name: s.Labels.Get(model.MetricNameLabel)}
		text := s.Labels.Get(label)
		var err error
		if key.bound, err = strconv.ParseFloat(text, 64); err != nil {
			continue
		}
		key.labels, buffer = s.Labels.HashWithoutLabels(buffer, label)
		if seen[key] {
			faults[sample.family] = newPageError(KindDuplicate, "%s has %s=%q twice, written differently", key.name, label, text)
		}
		seen[key] = true
	}
	for family, fault := range faults { // after the samples, which a rejection moves
		p.rejectPageFamily(family, fault)
	}
}
