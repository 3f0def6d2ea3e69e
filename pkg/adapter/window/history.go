// Increments of counters between scrapes.

package window

// Increment is the growth of a pod's counters between two scrapes, at From and To, in milliseconds.
type Increment struct {
	From, To int64
	Count    float64
}

// History holds the increments of a pod, ascending by To.
type History []Increment

// Add adds the increments of a counter series with these values at these times, which ascend. The series of a pod are
// scraped together, so that their times agree; otherwise the history has an entry for each. A counter reset gives no
// increment: the count across it is unknown, and a restart is no change of load.
func (h *History) Add(times []int64, values []float64) {
	all, at := *h, 0
	for i := 1; i < len(times); i++ {
		n := values[i] - values[i-1]
		if !(n >= 0) {
			continue // a reset, or NaN
		}
		for at < len(all) && all[at].To < times[i] {
			at++
		}
		if at < len(all) && all[at].To == times[i] {
			all[at].Count += n
			all[at].From = min(all[at].From, times[i-1])
			continue
		}
		all = append(all, Increment{})
		copy(all[at+1:], all[at:])
		all[at] = Increment{From: times[i-1], To: times[i], Count: n}
	}
	*h = all
}
