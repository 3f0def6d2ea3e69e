package schedule

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// PreviewRow is what schedules want of a target for a while.
type PreviewRow struct {
	// From and To are in the zone of the schedule that wins or, if none wants anything, of the target's first.
	From     time.Time   `json:"from"`
	To       time.Time   `json:"to"`
	Workload hold.Target `json:"target"`
	// MinReplicas is the highest that is wanted; nil: nothing is.
	MinReplicas *int32 `json:"floor,omitempty"`
	// MaxReplicas is the highest that is wanted; 0: nothing is said of it.
	MaxReplicas int32 `json:"ceiling,omitempty"`
	// Schedule and Window are where Floor is from; Ramping tells that it is a step of the window's ramp.
	Schedule string `json:"schedule,omitempty"`
	Window   string `json:"window,omitempty"`
	Ramping  bool   `json:"ramping,omitempty"`
	// Notes tell of changes of clocks, of windows that have no say, and of numbers that do not fit together.
	Notes []string `json:"notes,omitempty"`
}

// Preview is what the schedules will want from a time on: for each target rows without a hole between them, in the order
// in which the targets appear. Times when nothing is wanted have rows too.
func Preview(schedules []Schedule, from time.Time, span time.Duration) []PreviewRow {
	var targets []hold.Target
	of := map[hold.Target][]*Schedule{}
	for i := range schedules {
		for _, t := range schedules[i].Workloads {
			if of[t] == nil {
				targets = append(targets, t)
			}
			of[t] = append(of[t], &schedules[i])
		}
	}
	var rows []PreviewRow
	for _, t := range targets {
		rows = append(rows, previewWorkload(t, of[t], from, from.Add(span))...)
	}
	return rows
}

// previewWorkload are the rows of one target.
func previewWorkload(target hold.Target, schedules []*Schedule, from, to time.Time) []PreviewRow {
	var rows []PreviewRow
	var since time.Time // of the window of the last row
	for t := from; t.Before(to); {
		row, begun := rowAt(schedules, t)
		row.Workload, row.From, row.To = target, t, to
		for _, s := range schedules {
			if next, ok := s.nextBoundary(t); ok && next.Before(row.To) {
				row.To = next
			}
		}
		t = row.To
		if last := len(rows) - 1; last >= 0 && since.Equal(begun) && equalRows(rows[last], row) {
			rows[last].To = row.To
			continue
		}
		rows, since = append(rows, row), begun
	}
	for i := range rows {
		rows[i].localizeTimes(schedules)
	}
	return rows
}

// equalRows tells whether two rows differ in nothing but when they are.
func equalRows(a, b PreviewRow) bool {
	if (a.MinReplicas == nil) != (b.MinReplicas == nil) || a.MinReplicas != nil && *a.MinReplicas != *b.MinReplicas {
		return false
	}
	return a.MaxReplicas == b.MaxReplicas && a.Schedule == b.Schedule && a.Window == b.Window && a.Ramping == b.Ramping && slices.Equal(a.Notes, b.Notes)
}

// scheduledWindow is what one window of one schedule wants.
type scheduledWindow struct {
	schedule *Schedule
	ActiveWindow
}

func (c scheduledWindow) String() string { return c.schedule.Name + " (" + c.Window + ")" }

// listActiveWindows are what all windows want now, the one that wins first.
func listActiveWindows(schedules []*Schedule, now time.Time) []scheduledWindow {
	var all []scheduledWindow
	for _, s := range schedules {
		for _, o := range s.runningOccurrences(now) {
			if w, ok := s.evaluateOccurrence(o, now); ok {
				all = append(all, scheduledWindow{s, w})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b scheduledWindow) int { return cmp.Compare(b.MinReplicas, a.MinReplicas) })
	return all
}

// rowAt is a row but for its times, and when its window began.
func rowAt(schedules []*Schedule, now time.Time) (PreviewRow, time.Time) {
	all := listActiveWindows(schedules, now)
	if len(all) == 0 {
		return PreviewRow{}, time.Time{}
	}
	first := all[0]
	row := PreviewRow{MinReplicas: &first.MinReplicas, Schedule: first.schedule.Name, Window: first.Window, Ramping: first.Ramping}
	for _, s := range schedules { // of one schedule only one window counts, of several the highest numbers
		if w, ok := s.ActiveAt(now); ok {
			row.MaxReplicas = max(row.MaxReplicas, w.MaxReplicas)
		}
	}
	for _, c := range all[1:] {
		if c.MaxReplicas > 0 && c.MaxReplicas < first.MinReplicas {
			row.Notes = append(row.Notes, fmt.Sprintf("conflict: above the ceiling %d of %s", c.MaxReplicas, c))
		} else {
			row.Notes = append(row.Notes, fmt.Sprintf("shadows %s, floor %d", c, c.MinReplicas))
		}
	}
	return row, first.Since
}

// localizeTimes puts the row into the zone of its schedule, and notes the changes of clocks in it.
func (r *PreviewRow) localizeTimes(schedules []*Schedule) {
	zone := schedules[0].Zone
	for _, s := range schedules {
		if s.Name == r.Schedule {
			zone = s.Zone
			break
		}
	}
	r.From, r.To = r.From.In(zone), r.To.In(zone)
	for t := r.From.Add(-1); ; {
		_, change := t.ZoneBounds()
		if change.IsZero() || !change.Before(r.To) {
			return
		}
		before, after := wallTime(change.Add(-1), zone).Add(1), wallTime(change, zone)
		if !before.Equal(after) {
			r.Notes = append(r.Notes, fmt.Sprintf("clocks go from %s to %s on %s", before.Format("15:04"), after.Format("15:04"), dateOf(after)))
		}
		t = change
	}
}
