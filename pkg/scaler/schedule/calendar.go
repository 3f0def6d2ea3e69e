package schedule

// This file lists the windows of schedules that run and are to come.

import (
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/tachometer-metrics/tachometer/pkg/domain"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// CalendarWindow is an occurrence of a window for one workload. On the day of an exception it is the window that stands in.
type CalendarWindow struct {
	Schedule string
	Workload hold.Workload
	Window   string // its name, or its times if it has no name
	// MinReplicas is the minimum, at the end of a ramp. MaxReplicas is 0 without a maximum.
	MinReplicas, MaxReplicas int32
	Since, Until             time.Time // in the schedule's zone
	Paused                   bool      // the schedule is
}

// LoadCalendar decodes the schedules of a configuration file of the scaler. It skips all other sections, also unknown ones of a later version.
func LoadCalendar(data []byte) ([]Schedule, error) {
	const section = "schedules"
	d := strict.NewDecoder()
	var all []Schedule
	d.DecodeFile(data, domain.ScalerConfigKind, map[string]strict.FieldDecoder{
		section: func(path string, n *yaml.Node) { all = DecodeAll(d, path, n) },
	})
	d.Faults = slices.DeleteFunc(d.Faults, func(f strict.Fault) bool {
		return f.Path != "" && f.Path != "apiVersion" && f.Path != "kind" && !strings.HasPrefix(f.Path, section)
	})
	if err := d.Faults.Err(); err != nil {
		return nil, err
	}
	return all, nil
}

// ListWorkloads returns the workloads of the schedules, in the order of their first schedule.
func ListWorkloads(schedules []Schedule) []hold.Workload {
	var all []hold.Workload
	seen := map[hold.Workload]bool{}
	for i := range schedules {
		for _, w := range schedules[i].Workloads {
			if !seen[w] {
				seen[w], all = true, append(all, w)
			}
		}
	}
	return all
}

// ListCalendar returns the windows of some workloads that run at now or start within span, in the order of their starts: up to count for each
// workload of each schedule. Each schedule has its own, whichever of several sets the workload's number.
func ListCalendar(schedules []Schedule, workloads []hold.Workload, now time.Time, span time.Duration, count int) []CalendarWindow {
	schedulesOf := map[hold.Workload][]*Schedule{}
	for i := range schedules {
		for _, w := range schedules[i].Workloads {
			schedulesOf[w] = append(schedulesOf[w], &schedules[i])
		}
	}
	var all []CalendarWindow
	for _, w := range workloads {
		for _, s := range schedulesOf[w] {
			all = append(all, s.listCalendarWindows(w, schedulesOf[w], now, span, count)...)
		}
	}
	slices.SortStableFunc(all, func(a, b CalendarWindow) int { return a.Since.Compare(b.Since) })
	return all
}

// listCalendarWindows returns the windows of a schedule for one of its workloads; others are all schedules of the workload.
func (s *Schedule) listCalendarWindows(workload hold.Workload, others []*Schedule, now time.Time, span time.Duration, count int) []CalendarWindow {
	var all []CalendarWindow
	for t, ok := now, true; ok && t.Sub(now) < span && len(all) < count; t, ok = s.nextWindowBoundary(t) {
		for _, o := range s.runningOccurrences(t, others) {
			w := CalendarWindow{
				Schedule: s.Name, Workload: workload, Window: o.window.String(), MinReplicas: o.window.MinReplicas, MaxReplicas: o.window.MaxReplicas,
				Since: o.since.In(s.Zone), Until: o.until.In(s.Zone), Paused: s.Paused,
			}
			if len(all) < count && !slices.Contains(all, w) {
				all = append(all, w)
			}
		}
	}
	return all
}
