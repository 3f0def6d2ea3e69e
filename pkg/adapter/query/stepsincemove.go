// A step of the load soon after pods came or went.

package query

import (
	"slices"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/window"
)

// groupLoadSteppedSinceMove looks for a step of the load since it last moved between the pods, which all pods show. If there is one, it
// sets the window to begin there, and reports true: no pod came or went since, so that each may be read up to its own newest sample, and
// need not wait for the others as over a common stretch.
func (ev *evaluation) groupLoadSteppedSinceMove(s *evaluationScanner) bool {
	now := ev.now.UnixMilli()
	if ev.mixedIntervals || !ev.isEachScannedPodPunctual() {
		return false
	}
	settled := ev.loadSettledAt()
	if settled >= now {
		return false
	}
	counters := ev.scan.livingPodHistories()
	chosen, shared := chooseQueryWindow(now, ev.window, append(counters, ev.scan.quantileHistories(s.selectors)...), window.ChooseSettled)
	if chosen == ev.window || !shared || now-ev.Rule.Span(chosen).Milliseconds() < settled { // a range beside $window may reach back further
		return false
	}
	all := ev.window
	if ev.window = chosen; ev.describeFewQueryEvents(commonStretch{end: now}, counters) != "" {
		ev.window = all
		return false
	}
	ev.span = ev.Rule.Span(ev.window)
	return true
}

// livingPodHistories is selectorHistories without the pods that ended.
func (s *evaluationScan) livingPodHistories() []window.Counter {
	living := *s
	living.orderedPods = slices.DeleteFunc(slices.Clone(s.orderedPods), func(p *evaluatedPod) bool { return p.newest == 0 })
	return living.selectorHistories()
}

// loadSettledAt returns the time since which no load moves between the pods, in milliseconds. Load follows the begin of a pod and
// every known move, and leaves a pod before its end.
func (ev *evaluation) loadSettledAt() (at int64) {
	interval := ev.interval.Milliseconds()
	moved := ev.MovedAt.UnixMilli()
	for _, hole := range ev.scan.holes {
		moved = max(moved, hole.to)
	}
	for _, t := range ev.scan.scannedTrackSpans(interval) {
		moved = max(moved, t.first)
		if t.ended {
			at = max(at, t.last+interval)
		}
	}
	return max(at, moved+moveIntervals*interval)
}

// isEachScannedPodPunctual reports whether no scrape of a pod that goes on is missing.
func (ev *evaluation) isEachScannedPodPunctual() bool {
	for _, p := range ev.scan.orderedPods {
		if p.newest > 0 && (p.silent || p.missesScrapeOfPod(ev.now.UnixMilli(), ev.interval.Milliseconds())) {
			return false
		}
	}
	return true
}
