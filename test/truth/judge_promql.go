package truth

// The exception of fixed windows that are short for random batches: there PromQL's own number is right.

import (
	"math"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
)

// promQLIntervals is the longest window, in scrape intervals, of which PromQL's rate extrapolates so much that chance makes a multiple of
// random batches.
const promQLIntervals = 3

// isPromQLRate reports whether an answer over a short fixed window is what PromQL's rate gives for random batches, from samples that show the
// true counts, while no load moves.
func (p *player) isPromQLRate(r *reader, a *adapterReplica, out *answer, c rateCase) bool {
	horizon := c.reference + retainedIntervals*p.settings.interval
	if !c.fixed || !c.noisy || c.reference > promQLIntervals*p.settings.interval || len(c.services) != 1 || out.at.Sub(c.lastMove) < horizon {
		return false
	}
	total, rest := 0.0, 0.0
	for _, pod := range c.services[0].pods {
		want, ok := p.promQLPodRate(a, pod, c.families[0], out.at, c.reference)
		if !ok {
			return false
		}
		total += want
		if r.kind == "pods" {
			rest = max(rest, math.Abs(out.values[pod.name]-want))
		}
	}
	return max(rest, math.Abs(out.sum-total)) < 0.002*float64(len(c.services[0].pods)) // quantities have thousandths
}

// promQLPodRate returns PromQL's rate over the samples that an adapter has of a pod; false if one shows what the pod did not count.
func (p *player) promQLPodRate(a *adapterReplica, pod *podProcess, f *metricFamily, at time.Time, window time.Duration) (rate float64, ok bool) {
	matchers := []*labels.Matcher{
		labels.MustNewMatcher(labels.MatchEqual, model.MetricNameLabel, f.name),
		labels.MustNewMatcher(labels.MatchEqual, "pod", pod.name),
	}
	history, ok := pod.counts[f].history, true
	a.store.Visit(at.Add(-window).UnixMilli()+1, at.UnixMilli(), matchers, "", nil, func(_ labels.Labels, times []int64, values []float64) {
		for i := range times { // a page has the counts of a time soon after its request
			asked, first := time.UnixMilli(times[i]), time.UnixMilli(times[0])
			least := history.countAt(asked) - history.countAt(first.Add(p.settings.interval/4))
			most := history.countAt(asked.Add(p.settings.interval/4)) - history.countAt(first)
			ok = ok && values[i]-values[0] >= least-1 && values[i]-values[0] <= most+1
		}
		rate += promQLRate(times, values, at.Add(-window).UnixMilli(), at.UnixMilli())
	})
	return rate, ok
}

// promQLRate returns what PromQL documents of rate for a counter without resets: the increase between the first sample and the last, extrapolated
// to both ends of the range, but by half a step where a sample is missing, and not to before the counter was zero.
func promQLRate(times []int64, values []float64, from, to int64) float64 {
	last := len(times) - 1
	if last < 1 {
		return 0
	}
	increase, covered := values[last]-values[0], float64(times[last]-times[0])
	step := covered / float64(last)
	before, after := float64(times[0]-from), float64(to-times[last])
	if before >= 1.1*step {
		before = step / 2
	}
	if after >= 1.1*step {
		after = step / 2
	}
	if increase > 0 {
		before = min(before, covered*values[0]/increase)
	}
	return increase * (before + covered + after) / covered / (float64(to-from) / 1000)
}
