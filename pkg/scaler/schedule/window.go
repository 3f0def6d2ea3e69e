package schedule

// This file holds windows and their occurrences in time.

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// Window is a time span with a minimum of replicas. Its times have one of three forms: Cron and For; Start, End and Days; From
// and To.
type Window struct {
	// Name is for people; optional.
	Name string
	// Cron is the pattern of its starts. For is its length in elapsed time, also across a clock change.
	Cron string
	For  time.Duration
	// Start and End are wall-clock times, on the same day or the next. Days are the days on which it starts.
	Start, End TimeOfDay
	Days       []time.Weekday // empty: every day
	// From and To are the start and end of a window without repetition.
	From, To time.Time

	MinReplicas int32
	MaxReplicas int32 // 0: no maximum
	Ramp        Ramp

	// starts are its starts in wall-clock time; nil for a window without repetition.
	starts startTimes
}

// startTimes are wall-clock times, written as UTC. Cron patterns are evaluated in the same way: a start in a clock gap must move to the
// end of the gap, and an hour that comes twice must have a single start. No cron library does both.
type startTimes interface {
	// Next returns the first start after t, or the zero time if none follows.
	Next(t time.Time) time.Time
}

// dailyStarts is a time of day on some days of the week. No days mean every day.
type dailyStarts struct {
	timeOfDay TimeOfDay
	weekdays  []time.Weekday
}

// Next implements startTimes.
func (d dailyStarts) Next(t time.Time) time.Time {
	year, month, day := t.Date()
	for ; ; day++ {
		next := time.Date(year, month, day, 0, int(d.timeOfDay), 0, 0, time.UTC)
		if next.After(t) && (len(d.weekdays) == 0 || slices.Contains(d.weekdays, next.Weekday())) {
			return next
		}
	}
}

// TimeOfDay is a time of day in minutes after midnight. An end may be 24:00.
type TimeOfDay int

// String returns the time as HH:MM.
func (t TimeOfDay) String() string { return fmt.Sprintf("%02d:%02d", int(t)/60, int(t)%60) }

// Date is a day of the calendar.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

func calendarDateOf(t time.Time) Date {
	y, m, d := t.Date()
	return Date{y, m, d}
}

// String returns the date in the form of the configuration file, such as 2026-11-27.
func (d Date) String() string { return fmt.Sprintf("%04d-%02d-%02d", d.Year, d.Month, d.Day) }

const minuteFormat = "2006-01-02 15:04"

// String returns the window's name, or its times if it has no name.
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

// weekdayWords are the days of the week in the configuration file, indexed by time.Weekday.
var weekdayWords = [...]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// windowOccurrence is one occurrence of a window, from a start to its end.
type windowOccurrence struct {
	window       *Window
	since, until time.Time
	// exception is the exception on the day of its start; nil: an ordinary day.
	exception *Exception
	// goesOnFrom is the start of the window that goes on instead of one on the day of an exception; zero: the window starts at since.
	goesOnFrom time.Time
}

// occurrenceStart returns the start of the occurrence's window.
func (o windowOccurrence) occurrenceStart() time.Time {
	if o.goesOnFrom.IsZero() {
		return o.since
	}
	return o.goesOnFrom
}

func (o windowOccurrence) windowCoversTime(now time.Time) bool {
	return !now.Before(o.since) && now.Before(o.until)
}

// runningOccurrences returns the occurrences that cover now, in the order of the windows, and the latest of each window first. An
// occurrence that starts on the day of an exception has the window that stands in for its own; it may be of another schedule of the workload.
func (s *Schedule) runningOccurrences(now time.Time, others []*Schedule) []windowOccurrence {
	budget := maxSubstituteSchedules
	return s.substituteOccurrences(now, others, &budget)
}

// substituteOccurrences is runningOccurrences with the number of looks at other schedules that are left.
func (s *Schedule) substituteOccurrences(now time.Time, others []*Schedule, budget *int) []windowOccurrence {
	all := s.plannedOccurrences(now)
	for i := range all {
		if all[i].exception != nil {
			all[i] = s.substituteWindow(all[i], others, budget)
		}
	}
	return slices.DeleteFunc(all, func(o windowOccurrence) bool { return o.window == nil })
}

// plannedOccurrences returns the occurrences that cover now, as if there were no exceptions.
func (s *Schedule) plannedOccurrences(now time.Time) []windowOccurrence {
	var all []windowOccurrence
	for i := range s.Windows {
		w := &s.Windows[i]
		if w.starts == nil {
			if o := (windowOccurrence{window: w, since: w.From, until: w.To, exception: s.scheduleExceptionOn(w.From.In(s.Zone))}); o.windowCoversTime(now) {
				all = append(all, o)
			}
			continue
		}
		first := len(all)
		until := latestWallTime(now, s.Zone)
		for t := w.starts.Next(latestWallTime(now.Add(-w.maxWindowDuration()), s.Zone)); !t.IsZero() && !t.After(until); t = w.starts.Next(t) {
			if o := s.newWindowOccurrence(w, t); o.windowCoversTime(now) {
				all = append(all, o)
			}
		}
		slices.Reverse(all[first:])
	}
	return all
}

// maxWindowDuration returns an upper bound of the length of an occurrence.
func (w *Window) maxWindowDuration() time.Duration {
	if w.For > 0 {
		return w.For
	}
	return w.windowWallDuration() + 3*time.Hour // no zone puts clocks back as far
}

// newWindowOccurrence returns the occurrence of a window that starts at the wall-clock time start.
func (s *Schedule) newWindowOccurrence(w *Window, start time.Time) windowOccurrence {
	since, exception := firstWallInstant(start, s.Zone), s.scheduleExceptionOn(start)
	if w.For > 0 {
		return windowOccurrence{window: w, since: since, until: since.Add(w.For), exception: exception}
	}
	y, m, d := start.Date()
	if w.End <= w.Start {
		d++
	}
	until := firstWallInstant(time.Date(y, m, d, 0, int(w.End), 0, 0, time.UTC), s.Zone)
	return windowOccurrence{window: w, since: since, until: until, exception: exception}
}

// nextWindowStart returns the next start of a window after now, also on the day of an exception, or false if none follows.
func (s *Schedule) nextWindowStart(w *Window, now time.Time) (time.Time, bool) {
	if w.starts == nil {
		return w.From, w.From.After(now)
	}
	t := w.starts.Next(latestWallTime(now, s.Zone))
	if t.IsZero() {
		return t, false
	}
	return firstWallInstant(t, s.Zone), true
}
