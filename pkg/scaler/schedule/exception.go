package schedule

// This file holds exceptions: days on which windows do not start. On a holiday the night goes on: for the time of each window that would
// start, the window that ran before it stands in, of the schedule or else of another one of the workload. An exception may name another window, or
// none.

import (
	"fmt"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// Exception is a day on which windows do not start.
type Exception struct {
	Date Date
	// Use is the name of the window that stands in for each window that would start, or UseNone. Empty: the window before goes on.
	Use string

	window *Window // with the name Use; nil: none
}

// UseNone is the Use of a day on which nothing stands in: the workloads have their own numbers.
const UseNone = "none"

// scheduleExceptionOn returns the exception on the day of t, a wall-clock time, or nil.
func (s *Schedule) scheduleExceptionOn(t time.Time) *Exception {
	date := calendarDateOf(t)
	for i := range s.Except {
		if s.Except[i].Date == date {
			return &s.Except[i]
		}
	}
	return nil
}

// maxSubstituteSteps bounds the search for the window before consecutive exceptions: about two months of three windows a day.
const maxSubstituteSteps = 200

// substituteWindow returns an occurrence on the day of an exception with the window that stands in for its own, or nil. If the occurrences before
// it have exceptions too, the search goes on before them. If no window of the schedule ran before, one of the others may have.
func (s *Schedule) substituteWindow(o windowOccurrence, others []*Schedule, budget *int) windowOccurrence {
	if o.window = o.exception.window; o.exception.Use != "" {
		return o
	}
	t := o.since
	for range maxSubstituteSteps {
		goesOn, before, decided := s.findWindowBefore(t)
		if !decided && !before.IsZero() {
			t = before
			continue
		}
		if !decided {
			goesOn = s.findOtherScheduleWindow(t, others, budget)
		}
		o.window, o.goesOnFrom = goesOn.window, goesOn.occurrenceStart()
		return o
	}
	return o
}

// maxSubstituteSchedules bounds the search across schedules: a month of exceptions in both a day's and a night's, and few looks if many schedules have
// them.
const maxSubstituteSchedules = 64

// findOtherScheduleWindow returns the window with the highest minimum of the other schedules that ran just before t, or none.
func (s *Schedule) findOtherScheduleWindow(t time.Time, others []*Schedule, budget *int) (found windowOccurrence) {
	for _, other := range others {
		if other == s || other.Paused || *budget == 0 {
			continue
		}
		*budget--
		for _, o := range other.substituteOccurrences(t.Add(-1), others, budget) {
			if found.window == nil || o.window.MinReplicas > found.window.MinReplicas {
				found = o
			}
		}
	}
	return found
}

// findWindowBefore returns the window with the highest minimum that ran just before t, or none, and whether one ran or an exception decided for
// none. If all occurrences then gave way to the window before them, it returns the first start of these.
func (s *Schedule) findWindowBefore(t time.Time) (found windowOccurrence, before time.Time, decided bool) {
	for _, o := range s.plannedOccurrences(t.Add(-1)) {
		if o.exception != nil && o.exception.Use == "" {
			if before.IsZero() || o.since.Before(before) {
				before = o.since
			}
			continue
		} else if o.exception != nil {
			o.window = o.exception.window
		}
		decided = true
		if o.window != nil && (found.window == nil || o.window.MinReplicas > found.window.MinReplicas) {
			found = o
		}
	}
	return found, before, decided
}

// listMissingStarts returns a note for each window and day on which the window would start from a time on, but does not happen.
func (s *Schedule) listMissingStarts(from, to time.Time) []string {
	var notes []string
	for i := range s.Windows {
		w := &s.Windows[i]
		if w.starts == nil {
			continue
		}
		for t := w.starts.Next(latestWallTime(from.Add(-1), s.Zone)); !t.IsZero(); t = w.starts.Next(t) {
			o := s.newWindowOccurrence(w, t)
			if !o.since.Before(to) {
				break
			}
			why := ""
			switch {
			case o.exception != nil:
				why = "an exception"
			case !o.since.Before(o.until):
				why = "the clocks skip it"
			default:
				continue
			}
			note := fmt.Sprintf("%s does not happen on %s: %s", scheduledWindow{s, ActiveWindow{Window: w.String()}}, calendarDateOf(t), why)
			if !slices.Contains(notes, note) {
				notes = append(notes, note)
			}
		}
	}
	return notes
}

// exceptionsFromYAML decodes a list of dates, and of mappings with a date and the window to use.
func (d *calendarDecoder) exceptionsFromYAML(path string, n *yaml.Node) []Exception {
	var all []Exception
	d.DecodeSequence(path, n, func(path string, n *yaml.Node) {
		var e Exception
		if n.Kind != yaml.MappingNode {
			e.Date = d.calendarDateFromYAML(path, n)
		} else {
			d.DecodeMapping(path, n, map[string]strict.FieldDecoder{
				"date": func(path string, n *yaml.Node) { e.Date = d.calendarDateFromYAML(path, n) },
				"use":  d.Text(&e.Use),
			})
			d.Require(path, "date", "use")
		}
		if e.Date != (Date{}) && slices.ContainsFunc(all, func(other Exception) bool { return other.Date == e.Date }) {
			d.AddFaultAtLine(path, n.Line, "%s is in the list already", e.Date)
		}
		all = append(all, e)
	})
	return all
}

// calendarDateFromYAML decodes a date; the zero Date with a fault.
func (d *calendarDecoder) calendarDateFromYAML(path string, n *yaml.Node) Date {
	const want = "a date such as 2026-12-24"
	if !d.ValidateScalar(path, n, want, "!!timestamp", "!!str") {
		return Date{}
	}
	t, err := time.Parse(time.DateOnly, n.Value)
	if err != nil || !isPlausibleYear(t) {
		d.AddFaultAtLine(path, n.Line, "must be %s, not %s", want, strict.DescribeNode(n))
		return Date{}
	}
	return calendarDateOf(t)
}

// resolveExceptions finds the windows that exceptions use.
func (d *calendarDecoder) resolveExceptions(path string, s *Schedule) {
	for i := range s.Except {
		e := &s.Except[i]
		if e.Use == "" || e.Use == UseNone {
			continue
		}
		at := slices.IndexFunc(s.Windows, func(w Window) bool { return w.Name == e.Use })
		if at < 0 {
			d.AddFault(strict.IndexPath(path, i)+".use", "no window has the name %q; %s means no window", strict.Shorten(e.Use), UseNone)
			continue
		}
		e.window = &s.Windows[at]
	}
}
