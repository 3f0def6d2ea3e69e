package window

// Sample is a counter at a time, in milliseconds.
type Sample struct {
	Time  int64
	Value float64
}

// Increment is by how much the counters of a pod grew between two scrapes, at From and To, in milliseconds.
type Increment struct {
	From, To int64
	Count    float64
}

// History is the increments of one pod, ascending by To.
type History []Increment

// Add adds the increments of one series, whose samples ascend. The series of a pod are scraped together, so that their
// times agree; where they do not, the history has an entry for each. What was counted while a counter began
// again is not known, and a restart is no change of load: there is no increment then.
func (h *History) Add(samples []Sample) {
	at := 0
	for i := 1; i < len(samples); i++ {
		before, s := samples[i-1], samples[i]
		n := s.Value - before.Value
		if !(n >= 0) {
			continue // a reset, or NaN
		}
		for at < len(*h) && (*h)[at].To < s.Time {
			at++
		}
		if at < len(*h) && (*h)[at].To == s.Time {
			(*h)[at].Count += n
			(*h)[at].From = min((*h)[at].From, before.Time)
			continue
		}
		*h = append(*h, Increment{})
		copy((*h)[at+1:], (*h)[at:])
		(*h)[at] = Increment{From: before.Time, To: s.Time, Count: n}
	}
}
