package schedule

import "time"

// Wall-clock time is kept as a time.Time in UTC that reads as the clock does: there every day has 24 hours, and calendars
// and cron patterns need to know nothing of daylight saving. instant and reached lead from there to real time and back.

// wallTime is what the clocks of the zone show at t.
func wallTime(t time.Time, zone *time.Location) time.Time { return t.UTC().Add(zoneOffset(t, zone)) }

func zoneOffset(t time.Time, zone *time.Location) time.Duration {
	_, seconds := t.In(zone).Zone()
	return time.Duration(seconds) * time.Second
}

// firstInstant is when the clocks of the zone first show w or, where they jump over it, when they jump.
func firstInstant(w time.Time, zone *time.Location) time.Time {
	t := time.Date(w.Year(), w.Month(), w.Day(), w.Hour(), w.Minute(), w.Second(), w.Nanosecond(), zone)
	since, until := t.ZoneBounds()
	switch shown := wallTime(t, zone); {
	case shown.Before(w): // a gap, and t is before it
		return until
	case shown.After(w): // a gap, and t is after it
		return since
	case since.IsZero():
		return t
	}
	if first := w.Add(-zoneOffset(since.Add(-1), zone)); first.Before(since) { // shown before the clocks went back, too
		return first.In(zone)
	}
	return t
}

// latestWallTime is the latest that the clocks of the zone have shown until t: what they show, unless they went back.
// It is the inverse of instant: w is not after reached(t) if and only if instant(w) is not after t.
func latestWallTime(t time.Time, zone *time.Location) time.Time {
	w := wallTime(t, zone)
	since, _ := t.In(zone).ZoneBounds()
	if since.IsZero() {
		return w
	}
	if before := wallTime(since.Add(-1), zone); before.After(w) {
		return before
	}
	return w
}
