package schedule

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// Window is when a floor holds. It is one of three: Cron and For; Start, End and Days; From and To.
type Window struct {
	// Name is for people; empty: none.
	Name string
	// Cron is when it begins, For how long it lasts, whatever clocks do meanwhile.
	Cron string
	For  time.Duration
	// Start and End are what clocks show when it begins and ends, on the same day or the next; Days those it begins on.
	Start, End TimeOfDay
	Days       []time.Weekday // none: every day
	// From and To are the begin and end of one that happens once.
	From, To time.Time

	MinReplicas int32
	MaxReplicas int32 // 0: nothing is said of it
	Ramp        Ramp

	// starts are its begins as clocks show them, nil for one that happens once.
	starts startTimes
}

// startTimes are times as clocks show them, that is in UTC, cron patterns too: no library of those begins in a gap at the jump
// and does only once what is shown twice.
type startTimes interface {
	// Next is the first after t; zero: none.
	Next(t time.Time) time.Time
}

// dailyStarts is a time of day on some days of the week, none for all.
type dailyStarts struct {
	timeOfDay TimeOfDay
	weekdays  []time.Weekday
}

// Next implements starts.
func (d dailyStarts) Next(t time.Time) time.Time {
	year, month, day := t.Date()
	for ; ; day++ {
		next := time.Date(year, month, day, 0, int(d.timeOfDay), 0, 0, time.UTC)
		if next.After(t) && (len(d.weekdays) == 0 || slices.Contains(d.weekdays, next.Weekday())) {
			return next
		}
	}
}

// TimeOfDay is a time of day in minutes; 24:00 is possible as an end.
type TimeOfDay int

// String is the time as a clock shows it.
func (t TimeOfDay) String() string { return fmt.Sprintf("%02d:%02d", int(t)/60, int(t)%60) }

// Date is a day of the calendar.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

func dateOf(t time.Time) Date {
	y, m, d := t.Date()
	return Date{y, m, d}
}

// String is the date as files have it.
func (d Date) String() string { return fmt.Sprintf("%04d-%02d-%02d", d.Year, d.Month, d.Day) }

const minuteFormat = "2006-01-02 15:04"

// String is the window's name or, without one, what it says.
func (w *Window) String() string {
	switch {
	case w.Name != "":
		return w.Name
	case w.Cron != "":
		return w.Cron + " for " + strict.FormatDuration(w.For)
	case !w.From.IsZero():
		return w.From.Format(minuteFormat) + " to " + w.To.Format(minuteFormat)
	}
	days := make([]string, len(w.Days))
	for i, day := range w.Days {
		days[i] = weekdayWords[day]
	}
	return strings.TrimSpace(strings.Join(days, ",") + " " + w.Start.String() + "-" + w.End.String())
}

// weekdayWords are the days of the week in files, by time.Weekday.
var weekdayWords = [...]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// windowOccurrence is a window from one of its begins to its end.
type windowOccurrence struct {
	window       *Window
	since, until time.Time
}

func (o windowOccurrence) coversTime(now time.Time) bool {
	return !now.Before(o.since) && now.Before(o.until)
}

// runningOccurrences are the occurrences that cover now, in the order of the windows, the latest of a window first.
func (s *Schedule) runningOccurrences(now time.Time) []windowOccurrence {
	var all []windowOccurrence
	for i := range s.Windows {
		w := &s.Windows[i]
		if w.starts == nil {
			if o := (windowOccurrence{w, w.From, w.To}); o.coversTime(now) && !s.isExcepted(w.From.In(s.Zone)) {
				all = append(all, o)
			}
			continue
		}
		first := len(all)
		until := latestWallTime(now, s.Zone)
		for t := w.starts.Next(latestWallTime(now.Add(-w.maxDuration()), s.Zone)); !t.IsZero() && !t.After(until); t = w.starts.Next(t) {
			if o := w.newOccurrence(t, s.Zone); o.coversTime(now) && !s.isExcepted(t) {
				all = append(all, o)
			}
		}
		slices.Reverse(all[first:])
	}
	return all
}

// maxDuration is a bound of how long an occurrence lasts.
func (w *Window) maxDuration() time.Duration {
	if w.For > 0 {
		return w.For
	}
	return w.wallDuration() + 3*time.Hour // more than any clocks go back
}

// newOccurrence is that which begins when clocks show start.
func (w *Window) newOccurrence(start time.Time, zone *time.Location) windowOccurrence {
	since := firstInstant(start, zone)
	if w.For > 0 {
		return windowOccurrence{w, since, since.Add(w.For)}
	}
	y, m, d := start.Date()
	if w.End <= w.Start {
		d++
	}
	return windowOccurrence{w, since, firstInstant(time.Date(y, m, d, 0, int(w.End), 0, 0, time.UTC), zone)}
}

// nextStart is the next begin of a window after now; false: none.
func (s *Schedule) nextStart(w *Window, now time.Time) (time.Time, bool) {
	if w.starts == nil {
		return w.From, w.From.After(now) && !s.isExcepted(w.From.In(s.Zone))
	}
	t := w.starts.Next(latestWallTime(now, s.Zone))
	for !t.IsZero() && s.isExcepted(t) {
		y, m, d := t.Date()
		t = w.starts.Next(time.Date(y, m, d, 23, 59, 59, 0, time.UTC))
	}
	if t.IsZero() {
		return t, false
	}
	return firstInstant(t, s.Zone), true
}

// isExcepted tells whether nothing begins on the day of t, as clocks show it.
func (s *Schedule) isExcepted(t time.Time) bool { return slices.Contains(s.Except, dateOf(t)) }
