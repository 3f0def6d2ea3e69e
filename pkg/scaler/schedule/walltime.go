package schedule

// This file converts between real time and wall-clock time. A wall-clock time is a time.Time in UTC with the digits of the clock:
// every day has 24 hours there, so calendars and cron patterns can ignore daylight saving. firstWallInstant converts a wall-clock time
// to real time; latestWallTime is its inverse.

import "time"

// zonedWallTime returns the time on the clocks of the zone at t.
func zonedWallTime(t time.Time, zone *time.Location) time.Time {
	return t.UTC().Add(timeZoneOffset(t, zone))
}

func timeZoneOffset(t time.Time, zone *time.Location) time.Duration {
	_, seconds := t.In(zone).Zone()
	return time.Duration(seconds) * time.Second
}

// firstWallInstant returns the moment at which the clocks of the zone first show w. If they jump over w, it returns the moment of the jump.
func firstWallInstant(w time.Time, zone *time.Location) time.Time {
	t := time.Date(w.Year(), w.Month(), w.Day(), w.Hour(), w.Minute(), w.Second(), w.Nanosecond(), zone)
	since, until := t.ZoneBounds()
	switch shown := zonedWallTime(t, zone); {
	case shown.Before(w): // w is in a gap, and t before the gap
		return until
	case shown.After(w): // w is in a gap, and t after the gap
		return since
	case since.IsZero():
		return t
	}
	if first := w.Add(-timeZoneOffset(since.Add(-1), zone)); first.Before(since) { // the clocks also showed w before they went back
		return first.In(zone)
	}
	return t
}

// latestWallTime returns the latest time that the clocks of the zone have shown until t: the current one, unless they went back.
// It is the inverse of firstWallInstant: w is not after latestWallTime(t) if and only if firstWallInstant(w) is not after t.
func latestWallTime(t time.Time, zone *time.Location) time.Time {
	w := zonedWallTime(t, zone)
	since, _ := t.In(zone).ZoneBounds()
	if since.IsZero() {
		return w
	}
	if before := zonedWallTime(since.Add(-1), zone); before.After(w) {
		return before
	}
	return w
}
