package schedule

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// Row is what schedules want of a target for a while.
type Row struct {
	// From and To are in the zone of the schedule that wins or, if none wants anything, of the target's first.
	From   time.Time   `json:"from"`
	To     time.Time   `json:"to"`
	Target hold.Target `json:"target"`
	// Floor is the highest that is wanted; nil: nothing is.
	Floor *int32 `json:"floor,omitempty"`
	// Ceiling is the highest that is wanted; 0: nothing is said of it.
	Ceiling int32 `json:"ceiling,omitempty"`
	// Schedule and Window are where Floor is from; Ramping tells that it is a step of the window's ramp.
	Schedule string `json:"schedule,omitempty"`
	Window   string `json:"window,omitempty"`
	Ramping  bool   `json:"ramping,omitempty"`
	// Notes tell of changes of clocks, of windows that have no say, and of numbers that do not fit together.
	Notes []string `json:"notes,omitempty"`
}

// Preview is what the schedules will want from a time on: for each target rows without a hole between them, in the order
// in which the targets appear. Times when nothing is wanted have rows too.
func Preview(schedules []Schedule, from time.Time, span time.Duration) []Row {
	var targets []hold.Target
	of := map[hold.Target][]*Schedule{}
	for i := range schedules {
		for _, t := range schedules[i].Targets {
			if of[t] == nil {
				targets = append(targets, t)
			}
			of[t] = append(of[t], &schedules[i])
		}
	}
	var rows []Row
	for _, t := range targets {
		rows = append(rows, preview(t, of[t], from, from.Add(span))...)
	}
	return rows
}

// preview are the rows of one target.
func preview(target hold.Target, schedules []*Schedule, from, to time.Time) []Row {
	var rows []Row
	var since time.Time // of the window of the last row
	for t := from; t.Before(to); {
		row, begun := rowAt(schedules, t)
		row.Target, row.From, row.To = target, t, to
		for _, s := range schedules {
			if next, ok := s.boundary(t); ok && next.Before(row.To) {
				row.To = next
			}
		}
		t = row.To
		if last := len(rows) - 1; last >= 0 && since.Equal(begun) && same(rows[last], row) {
			rows[last].To = row.To
			continue
		}
		rows, since = append(rows, row), begun
	}
	for i := range rows {
		rows[i].locate(schedules)
	}
	return rows
}

// same tells whether two rows differ in nothing but when they are.
func same(a, b Row) bool {
	if (a.Floor == nil) != (b.Floor == nil) || a.Floor != nil && *a.Floor != *b.Floor {
		return false
	}
	return a.Ceiling == b.Ceiling && a.Schedule == b.Schedule && a.Window == b.Window && a.Ramping == b.Ramping && slices.Equal(a.Notes, b.Notes)
}

// claim is what one window of one schedule wants.
type claim struct {
	schedule *Schedule
	Want
}

func (c claim) String() string { return c.schedule.Name + " (" + c.Window + ")" }

// claims are what all windows want now, the one that wins first.
func claims(schedules []*Schedule, now time.Time) []claim {
	var all []claim
	for _, s := range schedules {
		for _, o := range s.running(now) {
			if w, ok := s.want(o, now); ok {
				all = append(all, claim{s, w})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b claim) int { return cmp.Compare(b.Floor, a.Floor) })
	return all
}

// rowAt is a row but for its times, and when its window began.
func rowAt(schedules []*Schedule, now time.Time) (Row, time.Time) {
	all := claims(schedules, now)
	if len(all) == 0 {
		return Row{}, time.Time{}
	}
	first := all[0]
	row := Row{Floor: &first.Floor, Schedule: first.schedule.Name, Window: first.Window, Ramping: first.Ramping}
	for _, s := range schedules { // of one schedule only one window counts, of several the highest numbers
		if w, ok := s.At(now); ok {
			row.Ceiling = max(row.Ceiling, w.Ceiling)
		}
	}
	for _, c := range all[1:] {
		if c.Ceiling > 0 && c.Ceiling < first.Floor {
			row.Notes = append(row.Notes, fmt.Sprintf("conflict: above the ceiling %d of %s", c.Ceiling, c))
		} else {
			row.Notes = append(row.Notes, fmt.Sprintf("shadows %s, floor %d", c, c.Floor))
		}
	}
	return row, first.Since
}

// locate puts the row into the zone of its schedule, and notes the changes of clocks in it.
func (r *Row) locate(schedules []*Schedule) {
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
		before, after := wall(change.Add(-1), zone).Add(1), wall(change, zone)
		if !before.Equal(after) {
			r.Notes = append(r.Notes, fmt.Sprintf("clocks go from %s to %s on %s", before.Format("15:04"), after.Format("15:04"), dateOf(after)))
		}
		t = change
	}
}
