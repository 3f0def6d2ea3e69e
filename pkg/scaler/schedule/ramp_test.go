package schedule

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestD9RampAfterAnotherSchedule: the ramp of a schedule begins at what another schedule of the workload set just before. A night that is written apart
// from the day does not go up before it goes down, nor the other way round.
func TestD9RampAfterAnotherSchedule(t *testing.T) {
	t.Parallel()
	const ramp = ", ramp: {over: 30m, steps: 3}}"
	for name, c := range map[string]struct {
		first, second string
		start         string
		want          string // of both together, each ten minutes from ten minutes before the start; -: the workload's own
	}{
		"down, from nothing in its own": {
			dayWindow, `{start: "22:00", end: "08:00", minReplicas: 2` + ramp, "2027-06-01T22:00:00Z", "8 8 6 4 2 2",
		},
		"up, from nothing in its own": {
			nightWindow, `{start: "08:00", end: "22:00", minReplicas: 8` + ramp, "2027-06-01T08:00:00Z", "2 2 4 6 8 8",
		},
		"up, from less in its own": {
			`{start: "00:00", end: "08:00", minReplicas: 5}`, nightWindow + `, {start: "08:00", end: "22:00", minReplicas: 8` + ramp, "2027-06-01T08:00:00Z", "5 5 6 7 8 8",
		},
		"up, beside one that goes on": {
			`{start: "00:00", end: "24:00", minReplicas: 5}`, `{start: "08:00", end: "22:00", minReplicas: 8` + ramp, "2027-06-01T08:00:00Z", "5 5 6 7 8 8",
		},
		"up, after one that ended long before": {
			`{start: "00:00", end: "06:00", minReplicas: 5}`, `{start: "08:00", end: "22:00", minReplicas: 9` + ramp, "2027-06-01T08:00:00Z", "- - 3 6 9 9",
		},
		"down over midnight and a change of clocks": {
			`{start: "08:00", end: "24:00", minReplicas: 8}`, `{start: "00:00", end: "08:00", minReplicas: 2` + ramp, "2027-10-31T00:00:00Z", "8 8 6 4 2 2",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			both := []*Schedule{newOneSchedule(t, "UTC", "", c.first), newOneSchedule(t, "UTC", "", c.second)}
			both[1].Name = "two"
			var got, shown []string
			start := parseTestTime(t, c.start)
			for at := start.Add(-10 * time.Minute); at.Before(start.Add(50 * time.Minute)); at = at.Add(10 * time.Minute) {
				highest := int32(-1)
				for _, s := range both {
					if w, ok := s.ActiveBeside(both, at); ok {
						highest = max(highest, w.MinReplicas)
					}
				}
				got = append(got, strings.ReplaceAll(fmt.Sprint(highest), "-1", "-"))
				row := Preview([]Schedule{*both[0], *both[1]}, StartAt(at), time.Second)[0]
				if row.MinReplicas == nil {
					shown = append(shown, "-")
					continue
				}
				shown = append(shown, fmt.Sprint(*row.MinReplicas))
			}
			reportDiff(t, c.want, strings.Join(got, " "))
			reportDiff(t, c.want, strings.Join(shown, " "))
		})
	}
}
