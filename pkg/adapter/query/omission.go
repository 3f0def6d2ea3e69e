// Omissions: objects with a reason instead of a value, and sums that lack a pod.

package query

import (
	"cmp"
	"slices"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

const (
	// minDecreases is the least number of decreases of a counter that are no restart, and minDecreasesPerSample their
	// least share of its samples: several processes that answer in turn behind one port.
	minDecreases          = 2
	minDecreasesPerSample = 0.2
)

// querySumsPods reports whether an object's value adds up pods that the request does not list.
func (ev *evaluation) querySumsPods() bool {
	return ev.Rule.External || ev.Rule.ObjectLabel != podLabel
}

// omitQueriedPod gives a reason instead of a value for the pod's object, or for the sum that lacks the pod.
func (ev *evaluation) omitQueriedPod(p *scannedPod, reason metric.Reason, detail string) {
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

// omitQueriedPods omits all objects.
func (ev *evaluation) omitQueriedPods(reason metric.Reason, detail string) {
	for _, p := range ev.scan.orderedPods {
		if p.newest > 0 {
			ev.omitQueriedPod(p, reason, detail)
		}
	}
}

// markSilentQueriedPods marks the pods with a newest sample older than the rule's maxAge: PromQL does not look back to it.
func (ev *evaluation) markSilentQueriedPods() {
	for _, p := range ev.scan.orderedPods {
		p.silent = p.newest > 0 && ev.Rule.MaxAge > 0 && ev.now.UnixMilli()-p.newest > ev.Rule.MaxAge.Milliseconds()
	}
}

// omitWrongQueriedPods omits pods with counters that are none, and sums with pods that have series without a fresh
// sample.
func (ev *evaluation) omitWrongQueriedPods() {
	for _, p := range ev.scan.orderedPods {
		if p.newest == 0 {
			continue
		}
		switch {
		case p.unexplained >= minUnexplained, p.decreases >= minDecreases && float64(p.decreases) >= minDecreasesPerSample*float64(p.samples):
			ev.omitQueriedPod(p, metric.ReasonDecreasing, metric.DecreasingDetail)
		case p.unexplained > 0 && p.unexplainedSince < unexplainedSamples:
			ev.omitQueriedPod(p, metric.ReasonWarmingUp, "a counter went back to a value that no restart explains")
		}
		if p.silent && ev.querySumsPods() {
			ev.omitQueriedPod(p, metric.ReasonStale, "over maxAge "+ev.Rule.MaxAge.String())
		}
	}
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
