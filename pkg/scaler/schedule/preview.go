package schedule

// This file computes previews: the rows that schedules set for each workload over a span of time.

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// PreviewRow is the state that schedules set for a workload over a span of time.
type PreviewRow struct {
	// From and To are in Zone, the zone of the schedule that wins, or of the workload's first schedule if no window is active.
	From     time.Time     `json:"from"`
	To       time.Time     `json:"to"`
	Zone     string        `json:"zone"`
	Workload hold.Workload `json:"workload"`
	// MinReplicas is the highest minimum of all active windows; nil if no window is active.
	MinReplicas *int32 `json:"minReplicas,omitempty"`
	// MaxReplicas is the highest maximum of all active schedules; 0: no maximum.
	MaxReplicas int32 `json:"maxReplicas,omitempty"`
	// Schedule and Window are the source of MinReplicas. Ramping marks a step of the window's ramp.
	Schedule string `json:"schedule,omitempty"`
	Window   string `json:"window,omitempty"`
	Ramping  bool   `json:"ramping,omitempty"`
	// Notes name clock changes, windows without effect or of paused schedules, windows that do not happen, and conflicting numbers.
	Notes []string `json:"notes,omitempty"`
}

// Start returns the time at which a preview begins for a workload with its schedules in a zone.
type Start func(zone *time.Location) time.Time

// StartAt returns a start at the same moment in all zones.
func StartAt(t time.Time) Start { return func(*time.Location) time.Time { return t } }

// ParseStart parses a moment with an offset, or a day or time on the clocks of the schedules' zone. It reports whether the text is one.
func ParseStart(text string) (Start, bool) {
	formats := append(slices.Clone(momentFormats), time.DateOnly)
	_, ok := parseMoment(text, time.UTC, formats)
	return func(zone *time.Location) time.Time {
		t, _ := parseMoment(text, zone, formats) // it is one in each zone
		return t
	}, ok
}

// Preview returns the states that the schedules will set from a start on. The rows of each workload follow one another without a gap,
// and workloads come in the order of their first schedule. Times without an active window have rows too.
func Preview(schedules []Schedule, start Start, span time.Duration) []PreviewRow {
	var workloads []hold.Workload
	schedulesOf := map[hold.Workload][]*Schedule{}
	for i := range schedules {
		for _, w := range schedules[i].Workloads {
			if schedulesOf[w] == nil {
				workloads = append(workloads, w)
			}
			schedulesOf[w] = append(schedulesOf[w], &schedules[i])
		}
	}
	var rows []PreviewRow
	for _, w := range workloads {
		from := start(schedulesOf[w][0].Zone)
		rows = append(rows, previewWorkloadSchedules(w, schedulesOf[w], from, from.Add(span))...)
	}
	return rows
}

func previewWorkloadSchedules(workload hold.Workload, schedules []*Schedule, from, to time.Time) []PreviewRow {
	var rows []PreviewRow
	var since time.Time // start of the window of the last row
	for t := from; t.Before(to); {
		row, begun := previewRowAt(schedules, t)
		row.Workload, row.From, row.To = workload, t, to
		for _, s := range schedules {
			if next, ok := s.nextWindowBoundary(t); ok && next.Before(row.To) {
				row.To = next
			}
		}
		t = row.To
		if last := len(rows) - 1; last >= 0 && since.Equal(begun) && equalPreviewRows(rows[last], row) {
			rows[last].To = row.To
			continue
		}
		rows, since = append(rows, row), begun
	}
	for i := range rows {
		for _, s := range schedules {
			rows[i].Notes = append(rows[i].Notes, s.listMissingStarts(rows[i].From, rows[i].To)...)
		}
		rows[i].localizeRowTimes(schedules)
	}
	return rows
}

// equalPreviewRows reports whether two rows are equal except for their times.
func equalPreviewRows(a, b PreviewRow) bool {
	if (a.MinReplicas == nil) != (b.MinReplicas == nil) || a.MinReplicas != nil && *a.MinReplicas != *b.MinReplicas {
		return false
	}
	return a.MaxReplicas == b.MaxReplicas && a.Schedule == b.Schedule && a.Window == b.Window && a.Ramping == b.Ramping && slices.Equal(a.Notes, b.Notes)
}

// scheduledWindow is an active window with its schedule.
type scheduledWindow struct {
	schedule *Schedule
	ActiveWindow
}

func (c scheduledWindow) String() string { return c.schedule.Name + " (" + c.Window + ")" }

// listActiveWindows returns the active windows of all schedules, the winner first.
func listActiveWindows(schedules []*Schedule, now time.Time) []scheduledWindow {
	var all []scheduledWindow
	for _, s := range schedules {
		for _, w := range s.listActiveOccurrences(schedules, now) {
			if !w.isUnbegunRamp() {
				all = append(all, scheduledWindow{s, w})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b scheduledWindow) int { return cmp.Compare(b.MinReplicas, a.MinReplicas) })
	return all
}

// previewRowAt returns a row without its times, and the start of its window.
func previewRowAt(schedules []*Schedule, now time.Time) (PreviewRow, time.Time) {
	var paused []string
	all := slices.DeleteFunc(listActiveWindows(schedules, now), func(c scheduledWindow) bool {
		if c.schedule.Paused {
			paused = append(paused, fmt.Sprintf("paused: %s, minReplicas %d", c, c.MinReplicas))
		}
		return c.schedule.Paused
	})
	if len(all) == 0 {
		return PreviewRow{Notes: paused}, time.Time{}
	}
	first := all[0]
	row := PreviewRow{MinReplicas: &first.MinReplicas, Schedule: first.schedule.Name, Window: first.Window, Ramping: first.Steps > 0}
	if first.Ramping {
		row.Notes = append(row.Notes, "from the workload's own replicas, here 0")
	}
	for _, s := range schedules { // one window of each schedule counts; of several schedules, the highest number wins
		if w, ok := s.ActiveBeside(schedules, now); ok && !s.Paused {
			row.MaxReplicas = max(row.MaxReplicas, w.MaxReplicas)
		}
	}
	for _, c := range all[1:] {
		if c.MaxReplicas > 0 && c.MaxReplicas < first.MinReplicas {
			row.Notes = append(row.Notes, fmt.Sprintf("conflict: above maxReplicas %d of %s", c.MaxReplicas, c))
		} else {
			row.Notes = append(row.Notes, fmt.Sprintf("shadows %s, minReplicas %d", c, c.MinReplicas))
		}
	}
	row.Notes = append(row.Notes, paused...)
	return row, first.Since
}

// localizeRowTimes converts the row to the zone of its schedule, and adds a note for each clock change in it.
func (r *PreviewRow) localizeRowTimes(schedules []*Schedule) {
	zone := schedules[0].Zone
	for _, s := range schedules {
		if s.Name == r.Schedule {
			zone = s.Zone
			break
		}
	}
	r.From, r.To, r.Zone = r.From.In(zone), r.To.In(zone), zone.String()
	for t := r.From.Add(-1); ; {
		_, change := t.ZoneBounds()
		if change.IsZero() || !change.Before(r.To) {
			return
		}
		before, after := zonedWallTime(change.Add(-1), zone).Add(1), zonedWallTime(change, zone)
		if !before.Equal(after) {
			r.Notes = append(r.Notes, fmt.Sprintf("clocks go from %s to %s on %s", before.Format("15:04"), after.Format("15:04"), calendarDateOf(after)))
		}
		t = change
	}
}
