// Changes that a group's pods share, and changes of some of them.

package window

import (
	"math"
	"sort"
	"time"
)

const (
	// minSharedLoad is the least part of the older load that must come from changed pods for a change of the group's load: all of up to 20 equal
	// pods. Where load moves to one pod, all others show it before that pod is scraped.
	minSharedLoad = 0.95
	// minSharedChange is the least change of such a pod, as a part of the change that its part of the load would have.
	minSharedChange = 0.3
	// maxSinglePods is the number of pods up to which each is looked at for earlier changes of its own.
	maxSinglePods = 20
)

// ChangeIsShared reports whether the change at which Choose ended the window is one of most pods, by their load. Load that moves from
// pod to pod, or an increment that is dated wrong, changes some pods only: their rates over windows of their own then do not add up to
// the total. A pod without samples from before the window takes no part, and one without samples since has not changed. Rates before an
// earlier change of the load, or of a pod's part of it, do not count.
func ChangeIsShared(c Counter, now int64, window, longest time.Duration) bool {
	begin := now - window.Milliseconds()
	oldest := begin - Choose(c.endEventCounterAt(begin), begin, longest-window).Milliseconds()
	older, newer := make([]float64, 0, len(c.Pods)), make([]float64, 0, len(c.Pods))
	before, change := 0.0, 0.0
	for _, h := range c.Pods {
		since := oldest
		if single := (Counter{Pods: []History{h}}); c.Among == nil && len(c.Pods) <= maxSinglePods {
			since = max(since, begin-Choose(single.endEventCounterAt(begin), begin, longest-window).Milliseconds())
		}
		a, b, ok := h.ratesAroundBegin(begin, since)
		if ok {
			older, newer = append(older, a), append(newer, b)
			before, change = before+a, change+b-a
		}
	}
	if before == 0 || len(older) == 1 {
		return true // the first events of all, or of a single pod
	}
	shared := 0.0
	for i, a := range older {
		if own := (newer[i] - a) * math.Copysign(1, change); own >= minSharedChange*math.Abs(change)*a/before {
			shared += a
		}
	}
	return shared >= minSharedLoad*before
}

// endEventCounterAt returns the counter until end.
func (c Counter) endEventCounterAt(end int64) Counter {
	return Counter{Pods: endEventHistoriesAt(c.Pods, end), Among: endEventHistoriesAt(c.Among, end), Sole: c.Sole}
}

// endEventHistoriesAt returns the increments until end; nil for nil.
func endEventHistoriesAt(pods []History, end int64) (until []History) {
	for _, h := range pods {
		until = append(until, h[:sort.Search(len(h), func(i int) bool { return h[i].To > end })])
	}
	return until
}

// ratesAroundBegin returns the rates of the increments that began before a time and since oldest, and of later ones,
// or the former again without the latter; false without the former.
func (h History) ratesAroundBegin(begin, oldest int64) (older, newer float64, ok bool) {
	var n [2]float64
	var span [2]int64
	for i := len(h) - 1; i >= 0 && h[i].From >= oldest; i-- {
		part := 0
		if h[i].From >= begin {
			part = 1
		}
		n[part] += h[i].Count
		span[part] += h[i].To - h[i].From
	}
	if span[0] == 0 {
		return 0, 0, false
	}
	if older = n[0] / float64(span[0]); span[1] == 0 {
		return older, older, true
	}
	return older, n[1] / float64(span[1]), true
}
