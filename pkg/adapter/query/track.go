// Tracks: the stretches of a series in which one process counted.

package query

import "github.com/prometheus/prometheus/model/value"

// maxLateIntervals is the greatest age of a punctual pod's newest sample, and the longest pause within a track, in scrape
// intervals with some jitter: one scrape may fail.
const maxLateIntervals = 2.2

// currentTrack is the last track of a series.
type currentTrack struct {
	start       int  // index of its first sample; as many as there are samples if the series ended
	afterMarker bool // a staleness marker is before it
	fromZero    bool // a counter that is known to have begun at zero
	decreases   int  // of a counter, over all tracks
}

// findQueriedTrack returns the track after the last end of a series. A staleness marker ends a track. A counter's track
// also ends where the counter begins again after a pause: its process was away.
func findQueriedTrack(sel exprSelector, times []int64, values []float64, interval int64) (t currentTrack) {
	restarted := false
	for i, v := range values {
		switch {
		case value.IsStaleNaN(v):
			t.start, t.afterMarker, restarted = i+1, true, false
		case sel.isCounter && i > 0 && v < values[i-1]:
			t.decreases++
			if isPauseInQuery(times[i]-times[i-1], interval) {
				t.start, restarted = i, true
			}
		}
	}
	t.fromZero = sel.isCounter && t.start < len(values) && (restarted || values[t.start] == 0)
	return t
}

// isPauseInQuery reports whether the time between two samples is too long for a missed scrape.
func isPauseInQuery(ms, interval int64) bool { return float64(ms) > maxLateIntervals*float64(interval) }

// trackSpan is the time between a track's first and last sample, in milliseconds.
type trackSpan struct {
	first, last int64
	// counted is the time since which increments are known to the millisecond. A counter's first 0 may stand for the
	// second in which its process started.
	counted int64
	ended   bool // by a staleness marker, or by a later track
}

// appendQueriedTracks appends the spans of a series' tracks to dst.
func (s *scannedSeries) appendQueriedTracks(dst []trackSpan, interval int64) []trackSpan {
	begin := -1
	for i, v := range s.values {
		if value.IsStaleNaN(v) {
			if begin >= 0 {
				dst[len(dst)-1].ended = true
			}
			begin = -1
			continue
		}
		t := s.times[i]
		if begin >= 0 && s.isCounter && v < s.values[i-1] && isPauseInQuery(t-s.times[i-1], interval) {
			begin, dst[len(dst)-1].ended = -1, true
		}
		switch {
		case begin < 0:
			begin = i
			dst = append(dst, trackSpan{first: t, counted: t})
		case i == begin+1 && s.isCounter && s.values[begin] == 0:
			dst[len(dst)-1].counted = t
		}
		dst[len(dst)-1].last = t
	}
	return dst
}

// countedRange is a range of time over which a counter's increase is wanted, in milliseconds.
type countedRange struct {
	from, to int64
	interval int64 // between scrapes
	// podEnded is the newest sample of those series of the pod that ended; 0 without any.
	podEnded int64
	// silent is set if the pod's newest sample is too old to go on.
	silent bool
}

// promQLIncreaseBetween returns the increase of a counter over a range, by interpolation between samples; false if nothing
// is known of it. A counter that decreases began again at zero: since the sample before, or after a pause since an
// interval before its first sample. A track counts nothing before its first sample if it began at zero, and nothing after
// its last if it ended. Where the last track's begin or end is not known, it is taken to have counted more of the same:
// back to the begin of the range, or to the end of the series that were in its place.
func promQLIncreaseBetween(times []int64, values []float64, r countedRange) (increase float64, ok bool) {
	first, last := -1, -1 // indices of the track's first and newest sample so far
	ended := r.podEnded   // the newest sample of the tracks before
	fromZero := false
	track, all := 0.0, 0.0 // the track's increase within the range, and in all
	for i, v := range values {
		if value.IsStaleNaN(v) {
			if last >= 0 {
				ended = times[last]
			}
			increase, track, last = increase+track, 0, -1
			continue
		}
		if last < 0 {
			first, last, fromZero, all = i, i, v == 0, 0
			continue
		}
		begin, n := times[last], v-values[last]
		if n < 0 {
			n = v
			if isPauseInQuery(times[i]-begin, r.interval) {
				begin, fromZero = times[i]-r.interval, true
				increase, track = increase+track, 0
			}
		}
		last, all = i, all+n
		overlap := min(times[i], r.to) - max(begin, r.from)
		if overlap <= 0 {
			continue
		}
		ok = true
		if overlap < times[i]-begin {
			n *= float64(overlap) / float64(times[i]-begin)
		}
		track += n
	}
	if last <= first || first < 0 {
		return increase + track, ok
	}
	from := r.from
	if ended <= times[first] {
		from = max(from, ended)
	}
	switch {
	case !fromZero && times[first] > from: // watched only since then
		return increase + all*float64(r.to-from)/float64(times[last]-times[first]), true
	case !r.silent && times[last] < r.to && times[last] > from: // late
		track *= float64(r.to-from) / float64(times[last]-from)
	}
	return increase + track, ok
}
