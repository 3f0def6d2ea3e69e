// Omissions: objects with a reason instead of a value, and sums that lack a pod.

package query

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

const (
	// minDecreases is the least number of decreases of a counter that are no restart, and minDecreasesPerSample their
	// least share of its samples: several processes that answer in turn behind one port.
	minDecreases          = 2
	minDecreasesPerSample = 0.2
	// restartedTwice is the detail for a pod whose counters began again so often.
	restartedTwice = "counters went back twice within ten scrapes, and a container started meanwhile"
)

// querySumsPods reports whether an object's value adds up pods that the request does not list.
func (ev *evaluation) querySumsPods() bool {
	return ev.Rule.External || ev.Rule.ObjectLabel != podLabel
}

// omitScannedPod gives a reason instead of a value for the pod's object, or for the sum that lacks the pod.
func (ev *evaluation) omitScannedPod(p *evaluatedPod, reason metric.Reason, detail string) {
	if ev.querySumsPods() {
		pod := metric.Object{Namespace: p.labels.Get(namespaceLabel), Name: p.labels.Get(podLabel)}
		ev.missing = append(ev.missing, metric.Omission{Object: pod, Reason: reason, Detail: detail})
		return
	}
	if p.scannedObject != nil && !p.scannedObject.hasValue {
		p.scannedObject.hasValue, p.scannedObject.groupIndex = true, -1
		ev.values = append(ev.values, metric.Value{Object: p.object, Time: time.UnixMilli(p.scannedObject.newest), Reason: reason, Detail: detail})
	}
}

// omitAllScannedPods omits all objects.
func (ev *evaluation) omitAllScannedPods(reason metric.Reason, detail string) {
	for _, p := range ev.scan.orderedPods {
		if p.newest > 0 {
			ev.omitScannedPod(p, reason, detail)
		}
	}
}

// markSilentPods marks the pods with a newest sample older than the rule's maxAge: PromQL does not look back to it.
func (ev *evaluation) markSilentPods() {
	for _, p := range ev.scan.orderedPods {
		p.silent = p.newest > 0 && ev.Rule.MaxAge > 0 && ev.now.UnixMilli()-p.newest > ev.Rule.MaxAge.Milliseconds()
	}
}

// omitPodsWithWrongCounters omits pods with counters that are none, and sums with pods that have series without a fresh
// sample.
func (ev *evaluation) omitPodsWithWrongCounters() {
	for _, p := range ev.scan.orderedPods {
		if p.newest == 0 {
			continue
		}
		decreases := ev.countUnexcusedDecreases(p)
		switch {
		case p.unexplained >= minUnexplained, decreases >= minDecreases && float64(decreases) >= minDecreasesPerSample*float64(p.samples):
			reason, detail := ev.explainDecreases(p)
			ev.omitScannedPod(p, reason, detail)
		case p.unexplained > 0 && p.unexplainedSince < unexplainedSamples:
			ev.omitScannedPod(p, metric.ReasonWarmingUp, "a counter went back to a value that no restart explains")
		}
		if p.silent && ev.querySumsPods() {
			ev.omitScannedPod(p, metric.ReasonStale, "over maxAge "+ev.Rule.MaxAge.String())
		}
	}
}

// countUnexcusedDecreases returns how often the counter of a pod decreased that did so most often, without the newest decrease if a container started
// then.
func (ev *evaluation) countUnexcusedDecreases(p *evaluatedPod) int {
	if began := ev.Began.UnixMilli(); p.decreased.from < began && began <= p.decreased.to {
		return p.decreases - 1
	}
	return p.decreases
}

// explainDecreases returns the reason why a pod's counters decreased so often that its rate is unknown. A container that started since their
// first sample may explain two decreases of a counter with few samples.
func (ev *evaluation) explainDecreases(p *evaluatedPod) (metric.Reason, string) {
	if p.decreases == minDecreases && !ev.Began.IsZero() && ev.Began.UnixMilli() > p.decreasesSince {
		return metric.ReasonWarmingUp, restartedTwice
	}
	return metric.ReasonDecreasing, metric.DecreasingDetail
}

// podsMissingFromQueryError returns the error for a sum that lacks pods, or nil.
func (ev *evaluation) podsMissingFromQueryError() error {
	if len(ev.missing) == 0 {
		return nil
	}
	slices.SortFunc(ev.missing, func(a, b metric.Omission) int {
		return cmp.Or(cmp.Compare(a.Object.Namespace, b.Object.Namespace), cmp.Compare(a.Object.Name, b.Object.Name))
	})
	return &metric.MissingError{Omissions: ev.missing}
}

// omitPodsNearHoles omits all pods while the stretch cannot be free of the unknown counts of a pod that ended.
func (ev *evaluation) omitPodsNearHoles(c commonStretch) {
	for _, h := range ev.scan.holes {
		inside := ev.fixedWindow && h.to > c.end-ev.span.Milliseconds()
		if inside || h.to > c.end-2*ev.interval.Milliseconds() {
			ev.omitAllScannedPods(metric.ReasonStale, "a pod ended without an answer for "+evalMillisToDuration(h.to-h.from).Round(time.Second).String())
			return
		}
	}
}

// omitPodsWithoutIncrement omits pods without an increment, or without increments over all of the ranges if these are written
// or nested.
func (ev *evaluation) omitPodsWithoutIncrement(c commonStretch) {
	whole := ev.fixedWindow || ev.Rule.Span(ev.window) != ev.window
	interval := ev.interval.Milliseconds()
	for _, p := range ev.scan.orderedPods {
		if !p.hasLivingCounter() {
			continue
		}
		since := p.podCountsKnownSince()
		moved, late := c.events.lastPodBeginOrEnd(p.newest, false), isPauseBetweenSamples(c.end-p.newest, interval)
		if !late && p.newest < c.end && isPauseBetweenSamples(ev.now.UnixMilli()-p.newest, interval) {
			moved, late = c.events.lastPodBeginOrEnd(p.newest, true), true
		}
		moved = max(moved, ev.MovedAt.UnixMilli())
		p.settled = moved + beginningSamples*interval
		if late && p.newest > 0 && !p.silent && p.newest < moved+moveIntervals*interval {
			ev.omitScannedPod(p, metric.ReasonStale, "no sample since pods came or went, and load with them")
		}
		switch unknown := p.newest > 0 && (!p.hasCounterIncrement() || whole && since > c.end-ev.span.Milliseconds()); {
		case unknown && p.silent:
			ev.omitScannedPod(p, metric.ReasonStale, "over maxAge "+ev.Rule.MaxAge.String())
		case unknown:
			ev.omitScannedPod(p, metric.ReasonWarmingUp, "scraped for "+evalMillisToDuration(max(0, p.newest-max(since, ev.scan.since))).Round(time.Second).String())
		}
	}
}

// omitPodsOfBriefStretch omits all pods while the stretch is within the first increment of a pod that is watched since a time before another
// became ready: load moved in the midst of that increment.
func (ev *evaluation) omitPodsOfBriefStretch(c commonStretch) {
	covered, readied := c.commonStretchMillis(), int64(0)
	for _, p := range ev.scan.orderedPods {
		readied = max(readied, p.readied)
	}
	if covered < ev.interval.Milliseconds() && slices.ContainsFunc(ev.scan.orderedPods, func(p *evaluatedPod) bool {
		since := p.podCountsKnownSince()
		return p.newest > 0 && since > math.MinInt64 && since < readied
	}) {
		ev.omitAllScannedPods(metric.ReasonWarmingUp, "scraped for "+evalMillisToDuration(max(0, covered)).Round(time.Second).String())
	}
}

// omitLateScannedPods omits pods with a newest sample hardly within the stretch: their present counts are not known.
func (ev *evaluation) omitLateScannedPods(c commonStretch) {
	interval, begin := ev.interval.Milliseconds(), c.end-ev.window.Milliseconds()
	for _, p := range ev.scan.orderedPods {
		late := isPauseBetweenSamples(c.end-p.newest, interval) && p.newest < begin+interval
		if p.newest > 0 && p.hasLivingCounter() && !p.silent && (late || p.newest <= begin) {
			ev.omitScannedPod(p, metric.ReasonStale, "no sample within the window")
		}
	}
}
