package query

import "time"

const (
	// autoIntervals is the shortest window, in scrape intervals: with one scrape missed two samples are left.
	autoIntervals = 3
	// autoEvents is how many events make a window significant. Counts are close to Poisson, so that the
	// relative standard deviation of n events is 1/√n: 10 % of 100, which is the HPA's own tolerance.
	autoEvents = 100
)

// increment is how much counters grew between two scrapes of a pod.
type increment struct {
	from, to int64 // milliseconds
	n        float64
}

// history is the increments of one pod, ascending.
type history []increment

// add adds the increments of one series. The series of a pod are scraped together, so that their times agree;
// where they do not, the history has an entry for each.
func (h *history) add(samples []sample) {
	at := 0
	for i := 1; i < len(samples); i++ {
		before, s := samples[i-1], samples[i]
		n := s.v - before.v
		if n < 0 {
			n = s.v // a counter reset
		}
		if !(n >= 0) {
			continue // NaN
		}
		for at < len(*h) && (*h)[at].to < s.t {
			at++
		}
		if at < len(*h) && (*h)[at].to == s.t {
			(*h)[at].n += n
			(*h)[at].from = min((*h)[at].from, before.t)
			continue
		}
		*h = append(*h, increment{})
		copy((*h)[at+1:], (*h)[at:])
		(*h)[at] = increment{from: before.t, to: s.t, n: n}
	}
}

// events is how much happened in (now−window, now], as far as scrapes tell.
func (h history) events(now int64, window time.Duration) (n float64) {
	start := now - window.Milliseconds()
	for i := len(h) - 1; i >= 0 && h[i].from > start; i-- {
		n += h[i].n
	}
	return n
}

// chooseWindow is what `auto` means for a group of pods: the shortest window of the candidates in which the
// group as a whole saw enough events, else the longest. With several counters, as in a ratio, the rarest decides.
// now is in milliseconds; candidates ascend.
func chooseWindow(candidates []time.Duration, now int64, counters [][]history) time.Duration {
	longest := candidates[len(candidates)-1]
	if len(counters) == 0 {
		return longest
	}
	for _, window := range candidates {
		if significant(now, window, counters) {
			return window
		}
	}
	return longest
}

func significant(now int64, window time.Duration, counters [][]history) bool {
	for _, pods := range counters {
		n := 0.0
		for _, h := range pods {
			n += h.events(now, window)
		}
		if n < autoEvents {
			return false
		}
	}
	return true
}

// candidates are the windows that `auto` chooses from, ascending: a few scrape intervals, the longest window, and
// round numbers between.
func candidates(interval, longest time.Duration) []time.Duration {
	shortest := autoIntervals * interval
	if shortest >= longest {
		return []time.Duration{longest}
	}
	windows := []time.Duration{shortest}
	for _, w := range [...]time.Duration{10 * time.Second, 30 * time.Second, 60 * time.Second} {
		if w > shortest && w < longest {
			windows = append(windows, w)
		}
	}
	return append(windows, longest)
}
