package replay

import (
	"slices"
	"time"
)

const (
	// maxCountedGap bounds the time that a look counts for: after a longer gap nothing is known.
	maxCountedGap = 2 * time.Minute
	// flapTime is the time within which a change in the other direction makes two changes a flap.
	flapTime = 5 * time.Minute
)

// Summary is the cost of a run of looks.
type Summary struct {
	Lowest     int32   `json:"lowest"`
	Highest    int32   `json:"highest"`
	PodMinutes float64 `json:"podMinutes"`
	// SecondsShort is the time with fewer pods than the metrics asked for, before windows, policies and limits; each look holds until the
	// next. Targets and tolerance are those of the run's own spec. A look without a wish of a metric counts nothing.
	SecondsShort float64 `json:"secondsShort"`
	// Changes are the changes of the number, Flaps the changes that took an earlier one back within five minutes.
	Changes int `json:"changes"`
	Flaps   int `json:"flaps"`
}

// Summarize sums up the number of pods that looks wanted: the recorded or the computed one. It leaves out looks with numbers that are not
// known. The decisions of the looks must be those of the same run: they have the wishes that the number is short of.
func Summarize(looks []Look, wanted func(Look) int32) Summary {
	looks = slices.DeleteFunc(slices.Clone(looks), func(l Look) bool { return l.Unknown })
	var s Summary
	var changed time.Time
	direction := 0
	for i, l := range looks {
		n := wanted(l)
		if i == 0 {
			s.Lowest, s.Highest = n, n
		}
		s.Lowest, s.Highest = min(s.Lowest, n), max(s.Highest, n)
		span := countedSpan(looks, i)
		s.PodMinutes += float64(n) * span.Minutes()
		if n < l.Decision.Wanted {
			s.SecondsShort += span.Seconds()
		}
		if i == 0 || n == wanted(looks[i-1]) {
			continue
		}
		s.Changes++
		now := 1
		if n < wanted(looks[i-1]) {
			now = -1
		}
		if direction == -now && l.Time.Sub(changed) <= flapTime {
			s.Flaps++
		}
		direction, changed = now, l.Time
	}
	return s
}

// countedSpan returns the time from a look to the next one; 0 for the last look, after a long gap, and where a clock was set back.
func countedSpan(looks []Look, i int) time.Duration {
	if i+1 == len(looks) {
		return 0
	}
	if gap := looks[i+1].Time.Sub(looks[i].Time); gap > 0 && gap <= maxCountedGap {
		return gap
	}
	return 0
}
