// The window of `auto` for a group of pods.

package query

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/window"
)

// chooseQueryWindow returns the window of `auto` for a group of pods as of now, in milliseconds: the choice of pkg/window
// for its counters. Of several counters, as in a ratio, the shortest window wins. A longer window would read one
// counter from before a change and after it, and show neither.
// shared is not set if the change is one of some pods only. choose is window.Choose or window.ChooseSettled.
func chooseQueryWindow(
	now int64, longest time.Duration, counters []window.Counter, choose func(window.Counter, int64, time.Duration) time.Duration,
) (chosen time.Duration, shared bool) {
	chosen, shared = longest, true
	for _, c := range counters {
		c.Sole = len(c.Pods) == 1
		if w := choose(c, now, longest); w < chosen {
			chosen, shared = w, window.ChangeIsShared(c, now, w, longest)
		}
	}
	return chosen, shared
}

// minLateShare divides the pods of a group: if fewer are late, their changes are within the tolerance of the total. In a group of more pods, the
// edges of their own windows are as often early as late.
const minLateShare = 20

// findLoadMoveBetweenPods looks for a change of single pods that not all pods share: load moved, and the total does not tell. Beside a late pod
// its counts since then are not known; in a short window they are counted twice, or not at all. It returns the window since the change, and
// false as shared; or chosen. A look at each pod takes time in a large group.
func (ev *evaluation) findLoadMoveBetweenPods(chosen, longest time.Duration, counters []window.Counter) (since time.Duration, shared bool) {
	now, late := ev.now.UnixMilli(), 0
	for _, p := range ev.scan.orderedPods {
		if ev.isLateScannedPod(p) {
			late++
		}
	}
	if minLateShare*max(late, 1) < len(ev.scan.orderedPods) || late == 0 && !ev.mustFindLoadMoves() {
		return chosen, true
	}
	for _, c := range counters {
		if c.Among != nil {
			continue // a part of the events does not tell how much load there is
		}
		for _, h := range c.Pods {
			w := window.Choose(window.Counter{Pods: []window.History{h}}, now, longest)
			if w < longest && !window.ChangeIsShared(c, now, w, longest) {
				return w, false
			}
		}
	}
	return chosen, true
}

// chooseQueryTotalWindow is chooseQueryWindow for a group with pods that came and went: only its total shows a change of the load. It
// counts the total until end.
func chooseQueryTotalWindow(end int64, longest time.Duration, counters []window.Counter) time.Duration {
	chosen := longest
	for _, c := range counters {
		chosen = min(chosen, window.ChooseTotal(c, end, longest))
	}
	return chosen
}

// quantileHistories returns counters that change with the quantiles of an expression: for each quantile the events beyond
// the bucket that has it, and the events in this bucket or beyond. The number of all events does not tell how slow they are.
func (s *evaluationScan) quantileHistories(selectors []exprSelector) (counters []window.Counter) {
	for i := range s.seriesBySelector {
		if sel := selectors[i]; sel.quantile > 0 && sel.quantile < 1 && sel.lastBucketOnly {
			counters = append(counters, bucketTailHistories(s.seriesBySelector[i], sel.quantile)...)
		}
	}
	return counters
}

func bucketTailHistories(series []evaluatedSeries, quantile float64) (counters []window.Counter) {
	byBound := map[string][]evaluatedSeries{}
	for _, s := range series {
		bound := s.labels.Get(labels.BucketLabel)
		byBound[bound] = append(byBound[bound], s)
	}
	histories := map[string]map[*evaluatedPod]*window.History{}
	totals := map[string]float64{}
	var bounds []string
	for bound, of := range byBound {
		if _, err := strconv.ParseFloat(bound, 64); err == nil {
			bounds = append(bounds, bound)
			histories[bound], totals[bound] = bucketHistoriesByPod(of)
		}
	}
	slices.SortFunc(bounds, compareQueryBuckets)
	at := slices.IndexFunc(bounds, func(b string) bool { return totals[b] >= quantile*totals[lastBucketBound] })
	if at < 0 || totals[lastBucketBound] == 0 {
		return nil
	}
	for _, i := range []int{at - 1, at} {
		if i >= 0 && i < len(bounds)-1 {
			slow := subtractHistories(histories[lastBucketBound], histories[bounds[i]])
			all := subtractHistories(histories[lastBucketBound], nil)
			counters = append(counters, window.Counter{Pods: slow, Among: all})
		}
	}
	return counters
}

// bucketHistoriesByPod returns the history of each pod for the series of a bucket, and their events.
func bucketHistoriesByPod(series []evaluatedSeries) (byPod map[*evaluatedPod]*window.History, events float64) {
	byPod = map[*evaluatedPod]*window.History{}
	for _, s := range series {
		if byPod[s.pod] == nil {
			byPod[s.pod] = &window.History{}
		}
		byPod[s.pod].Add(s.times, s.values)
	}
	for _, h := range byPod {
		for _, i := range *h {
			events += i.Count
		}
	}
	return byPod, events
}

// subtractHistories returns the events of all that are not among those of the part, for each pod, in the order of pods.
func subtractHistories(all, part map[*evaluatedPod]*window.History) (rest []window.History) {
	pods := slices.SortedFunc(maps.Keys(all), func(a, b *evaluatedPod) int { return cmp.Compare(a.id, b.id) })
	for _, p := range pods {
		counted := map[int64]float64{}
		if part[p] != nil {
			for _, i := range *part[p] {
				counted[i.To] = i.Count
			}
		}
		h := slices.Clone(*all[p])
		for i := range h {
			h[i].Count = max(0, h[i].Count-counted[h[i].To])
		}
		rest = append(rest, h)
	}
	return rest
}

func compareQueryBuckets(a, b string) int {
	x, _ := strconv.ParseFloat(a, 64)
	y, _ := strconv.ParseFloat(b, 64)
	return cmp.Compare(x, y)
}
