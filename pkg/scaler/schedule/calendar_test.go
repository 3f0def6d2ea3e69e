package schedule

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// describeCalendar returns a line for each window.
func describeCalendar(all []CalendarWindow) string {
	var lines []string
	for _, w := range all {
		line := fmt.Sprintf("%s to %s %s %s: %s min %d max %d", w.Since.Format("02 15:04 MST"), w.Until.Format("02 15:04 MST"), w.Workload.Name, w.Schedule, w.Window, w.MinReplicas, w.MaxReplicas)
		if w.Paused {
			line += " paused"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// TestCalendar: each schedule has its running window and the next ones, over an exception, a ramp and the end of summer time, also where another
// schedule wins or it is paused.
func TestCalendar(t *testing.T) {
	t.Parallel()
	all, err := LoadCalendar([]byte(scheduleHeader + `
- name: office
  namespace: shop
  workloads: [deploy/web]
  zone: Europe/Berlin
  windows:
  - {name: day, start: "08:00", end: "22:00", minReplicas: 8, maxReplicas: 20, ramp: {over: 1h, steps: 4}}
  - {name: night, start: "22:00", end: "08:00", minReplicas: 2}
  except: [2026-10-25]
- name: sale
  namespace: shop
  workloads: [deploy/web, deploy/api]
  paused: true
  windows: [{from: 2026-10-24 12:00, to: 2026-10-24 18:00, minReplicas: 30}]
- name: past
  namespace: shop
  workloads: [deploy/web]
  windows: [{from: 2026-10-01 12:00, to: 2026-10-02 18:00, minReplicas: 30}]
later: {key: of a later version}
notify: {broken: 7}
`))
	if err != nil {
		t.Fatal(err)
	}
	got := describeCalendar(ListCalendar(all, ListWorkloads(all), parseTestTime(t, "2026-10-24T10:30:00Z"), 7*24*time.Hour, 4))
	want := `24 08:00 CEST to 24 22:00 CEST web office: day min 8 max 20
24 12:00 UTC to 24 18:00 UTC web sale: 2026-10-24 12:00 to 2026-10-24 18:00 min 30 max 0 paused
24 12:00 UTC to 24 18:00 UTC api sale: 2026-10-24 12:00 to 2026-10-24 18:00 min 30 max 0 paused
24 22:00 CEST to 25 08:00 CET web office: night min 2 max 0
25 08:00 CET to 25 22:00 CET web office: night min 2 max 0
25 22:00 CET to 26 08:00 CET web office: night min 2 max 0`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestCalendarFaults: a fault of the schedules is an error, and so is another kind of file.
func TestCalendarFaults(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		scheduleHeader + "- {name: x, namespace: shop, workloads: [deploy/web], windows: [{start: 8, end: '09:00', minReplicas: 1}]}\n": "schedules[0].windows[0].start",
		"apiVersion: config.tachometer.dev/v1alpha1\nkind: AdapterConfig\n":                                                             "must be ScalerConfig",
		"{": "line 1",
	} {
		if all, err := LoadCalendar([]byte(text)); err == nil || !strings.Contains(err.Error(), want) || all != nil {
			t.Errorf("%q: %v, %v; want %q", text, all, err, want)
		}
	}
}
