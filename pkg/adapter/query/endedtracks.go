// Tracks that ended: of counters that are gone, and of those that began again.

package query

import (
	"cmp"
	"slices"

	"github.com/prometheus/prometheus/model/value"
)

// noteTrackEnds keeps the ends of a counter's tracks, and the tracks that ended. A window must not begin in a pause between the samples of
// a track, even if its counter began again.
func (p *evaluatedPod) noteTrackEnds(sel exprSelector, track currentCounterTrack, times []int64, values []float64) {
	p.ended = max(p.ended, times[track.start-1])
	first := 0
	for i, v := range values[:track.start] {
		ended := value.IsStaleNaN(v) || i == track.start-1
		if ended && (len(p.ends) == 0 || p.ends[len(p.ends)-1] != times[i]) {
			p.ends = append(p.ends, times[i])
		}
		if !ended && i+1 != track.first {
			continue
		}
		if sel.ranged && first < i {
			p.endedTimes = append(p.endedTimes, track.endedTrackSampleTimes(sel, first, times[first:i+1], values[first:i+1]))
		}
		first = i + 1
	}
}

// endedTrackSampleTimes returns the times of a track that ended, the track itself or one before it, from the sample with an index on.
func (t currentCounterTrack) endedTrackSampleTimes(sel exprSelector, first int, times []int64, values []float64) namedSampleTimes {
	if first == t.first {
		return t.namedTrackSampleTimes(sel, times)
	}
	return namedSampleTimes{
		name: sel.name, times: times, pagedSince: times[0], since: times[0], fromZero: values[0] == 0, hasIncrement: !value.IsStaleNaN(values[1]),
	}
}

// extendPodSampleTimes extends the sample times back over counters that were on the pod's pages before others that go on: the pod was watched
// since their first samples, although they are gone.
func (p *evaluatedPod) extendPodSampleTimes() {
	slices.Sort(p.ends)
	p.ends = slices.Compact(p.ends)
	slices.SortFunc(p.endedTimes, func(a, b namedSampleTimes) int {
		return cmp.Compare(b.times.lastSampleTime(), a.times.lastSampleTime())
	})
	for i := range p.sampleTimes {
		t := &p.sampleTimes[i]
		for _, ended := range p.endedTimes {
			if ended.name != t.name || ended.times.lastSampleTime() < t.pagedSince {
				continue
			}
			t.pagedSince, t.hasIncrement = min(t.pagedSince, ended.pagedSince), t.hasIncrement || ended.hasIncrement
			if ended.since < t.since {
				t.since, t.fromZero = ended.since, ended.fromZero
			}
		}
	}
}
