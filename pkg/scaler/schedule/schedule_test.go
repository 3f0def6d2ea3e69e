package schedule

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// loadSchedules reads a file of schedules as the scaler's configuration does.
func loadSchedules(data []byte) ([]Schedule, error) {
	d := strict.NewDecoder()
	var all []Schedule
	d.DecodeFile(data, "ScalerConfig", map[string]strict.FieldDecoder{
		"schedules": func(path string, n *yaml.Node) { all = DecodeAll(d, path, n) },
	})
	return all, d.Faults.Err()
}

const scheduleHeader = "apiVersion: config.tachometer.dev/v1alpha1\nkind: ScalerConfig\nschedules:\n"

// newOneSchedule returns a schedule in a zone with these windows.
func newOneSchedule(t *testing.T, zone, more string, windows ...string) *Schedule {
	t.Helper()
	text := scheduleHeader + "- {name: one, namespace: shop, workloads: [deploy/web], zone: " + zone + more + ", windows: [\n  " + strings.Join(windows, ",\n  ") + "]}\n"
	all, err := loadSchedules([]byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return &all[0]
}

func parseTestTime(t *testing.T, text string) time.Time {
	t.Helper()
	when, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return when
}

// listChanges returns the result of ActiveAt after each NextChange within a span, as text.
func listChanges(s *Schedule, from, to time.Time) []string {
	var all []string
	for t, ok := s.NextChange(from); ok && t.Before(to); t, ok = s.NextChange(t) {
		line := t.In(s.Zone).Format(time.RFC3339)
		if w, any := s.ActiveAt(t); any {
			line += fmt.Sprintf(" %d", w.MinReplicas)
			if w.Steps > 0 {
				line += " ramp"
			}
		} else {
			line += " -"
		}
		all = append(all, line)
	}
	return all
}

const dayWindow = `{start: "08:00", end: "22:00", minReplicas: 8}`
const nightWindow = `{start: "22:00", end: "08:00", minReplicas: 2}`

// testZones have changes of clocks by an hour on different days, and by half an hour in the south.
var testZones = []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe"}

// TestSeed checks 8 replicas by day and 2 by night over ten years: each change is at one of the two times, every change happens, and
// around each clock change every minute has the right number.
func TestSeed(t *testing.T) {
	t.Parallel()
	for _, zone := range testZones {
		t.Run(zone, func(t *testing.T) {
			t.Parallel()
			s := newOneSchedule(t, zone, "", dayWindow, nightWindow)
			start := time.Date(2026, 1, 1, 8, 0, 0, 0, s.Zone)
			right := func(now time.Time) {
				t.Helper()
				want, hour := int32(2), now.In(s.Zone).Hour()
				if hour >= 8 && hour < 22 {
					want = 8
				}
				if w, ok := s.ActiveAt(now); !ok || w.MinReplicas != want || w.Replicas != want {
					t.Fatalf("%s: %+v %v, want %d", now.In(s.Zone), w, ok, want)
				}
			}
			now := start
			for i := range 10 * 365 {
				morning, evening := start.AddDate(0, 0, i), time.Date(2026, 1, 1+i, 22, 0, 0, 0, s.Zone)
				if next, ok := s.NextChange(morning); !now.Equal(morning) || !ok || !next.Equal(evening) {
					t.Fatalf("%s, then %s %v", now, next, ok)
				}
				now, _ = s.NextChange(evening)
				right(morning)
				right(evening.Add(-1))
				right(evening)
				right(now.Add(-1))
			}
			_, change := start.ZoneBounds()
			for range 4 {
				for m := range 2 * 24 * 60 {
					right(change.Add(time.Duration(m-24*60) * time.Minute))
				}
				_, change = change.ZoneBounds()
			}
		})
	}
}

// TestClocksChange: begins and ends on both days of each zone.
func TestClocksChange(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, zone, window string
		from, to           string
		want               []string
	}{
		{
			"begins in the gap", "Europe/Berlin", `{cron: 30 2 * * *, for: 2h, minReplicas: 3}`, "2027-03-27T12:00:00Z", "2027-03-29T12:00:00Z",
			[]string{"2027-03-28T03:00:00+02:00 3", "2027-03-28T05:00:00+02:00 -", "2027-03-29T02:30:00+02:00 3", "2027-03-29T04:30:00+02:00 -"},
		},
		{
			"begins twice", "Europe/Berlin", `{cron: 30 2 * * *, for: 20m, minReplicas: 3}`, "2027-10-30T12:00:00Z", "2027-11-01T12:00:00Z",
			[]string{"2027-10-31T02:30:00+02:00 3", "2027-10-31T02:50:00+02:00 -", "2027-11-01T02:30:00+01:00 3", "2027-11-01T02:50:00+01:00 -"},
		},
		{
			"elapsed over the hour lost", "Europe/Berlin", `{cron: 0 22 * * *, for: 10h, minReplicas: 3}`, "2027-03-27T12:00:00Z", "2027-03-28T12:00:00Z",
			[]string{"2027-03-27T22:00:00+01:00 3", "2027-03-28T09:00:00+02:00 -"},
		},
		{
			"wall clock over the hour lost", "Europe/Berlin", `{start: "22:00", end: "08:00", minReplicas: 3}`, "2027-03-27T12:00:00Z", "2027-03-28T12:00:00Z",
			[]string{"2027-03-27T22:00:00+01:00 3", "2027-03-28T08:00:00+02:00 -"},
		},
		{
			"wall clock over the hour won", "Europe/Berlin", `{start: "22:00", end: "08:00", minReplicas: 3}`, "2027-10-30T12:00:00Z", "2027-10-31T12:00:00Z",
			[]string{"2027-10-30T22:00:00+02:00 3", "2027-10-31T08:00:00+01:00 -"},
		},
		{
			"ends in the gap", "Europe/Berlin", `{start: "01:00", end: "02:30", minReplicas: 3}`, "2027-03-27T12:00:00Z", "2027-03-28T12:00:00Z",
			[]string{"2027-03-28T01:00:00+01:00 3", "2027-03-28T03:00:00+02:00 -"},
		},
		{
			"lies in the gap", "Europe/Berlin", `{start: "02:10", end: "02:50", minReplicas: 3}`, "2027-03-27T12:00:00Z", "2027-03-29T02:00:00Z",
			[]string{"2027-03-29T02:10:00+02:00 3", "2027-03-29T02:50:00+02:00 -"},
		},
		{
			"begins in the gap", "America/New_York", `{cron: 30 2 * * *, for: 2h, minReplicas: 3}`, "2027-03-13T12:00:00Z", "2027-03-14T12:00:00Z",
			[]string{"2027-03-14T03:00:00-04:00 3", "2027-03-14T05:00:00-04:00 -"},
		},
		{
			"begins and ends twice", "America/New_York", `{start: "01:10", end: "01:40", minReplicas: 3}`, "2027-11-06T12:00:00Z", "2027-11-07T12:00:00Z",
			[]string{"2027-11-07T01:10:00-04:00 3", "2027-11-07T01:40:00-04:00 -"},
		},
		{
			"every half hour", "America/New_York", `{cron: "*/30 * * * *", for: 10m, minReplicas: 3}`, "2027-11-07T04:59:00Z", "2027-11-07T07:00:00Z",
			[]string{"2027-11-07T01:00:00-04:00 3", "2027-11-07T01:10:00-04:00 -", "2027-11-07T01:30:00-04:00 3", "2027-11-07T01:40:00-04:00 -"},
		},
		{
			"begins in the gap", "Australia/Lord_Howe", `{cron: 15 2 * * *, for: 1h, minReplicas: 3}`, "2027-10-02T00:00:00Z", "2027-10-03T00:00:00Z",
			[]string{"2027-10-03T02:30:00+11:00 3", "2027-10-03T03:30:00+11:00 -"},
		},
		{
			"begins twice", "Australia/Lord_Howe", `{cron: 45 1 * * *, for: 10m, minReplicas: 3}`, "2027-04-03T00:00:00Z", "2027-04-04T00:00:00Z",
			[]string{"2027-04-04T01:45:00+11:00 3", "2027-04-04T01:55:00+11:00 -"},
		},
		{
			"wall clock over the half hour won", "Australia/Lord_Howe", `{start: "00:00", end: "03:00", minReplicas: 3}`, "2027-04-03T00:00:00Z", "2027-04-04T00:00:00Z",
			[]string{"2027-04-04T00:00:00+11:00 3", "2027-04-04T03:00:00+10:30 -"},
		},
		{
			"midnight is in the gap", "Africa/Cairo", `{start: "00:00", end: "24:00", days: [fri], minReplicas: 3}`, "2027-04-29T12:00:00Z", "2027-05-01T12:00:00Z",
			[]string{"2027-04-30T01:00:00+03:00 3", "2027-05-01T00:00:00+03:00 -"},
		},
		{
			"over midnight, and midnight is in the gap", "America/Santiago", `{start: "22:00", end: "06:00", minReplicas: 3}`, "2027-09-04T12:00:00Z", "2027-09-05T12:00:00Z",
			[]string{"2027-09-04T22:00:00-04:00 3", "2027-09-05T06:00:00-03:00 -"},
		},
		{
			"ends in the gap at midnight", "America/Santiago", `{start: "23:30", end: "00:30", minReplicas: 3}`, "2027-09-04T12:00:00Z", "2027-09-05T12:00:00Z",
			[]string{"2027-09-04T23:30:00-04:00 3", "2027-09-05T01:00:00-03:00 -"},
		},
		{
			"is the hour lost at midnight", "America/Santiago", `{start: "00:00", end: "01:00", minReplicas: 3}`, "2027-09-04T12:00:00Z", "2027-09-06T12:00:00Z",
			[]string{"2027-09-06T00:00:00-03:00 3", "2027-09-06T01:00:00-03:00 -"},
		},
		{
			"over midnight from an hour that comes twice", "America/Santiago", `{start: "23:30", end: "00:30", minReplicas: 3}`, "2027-04-03T12:00:00Z", "2027-04-04T12:00:00Z",
			[]string{"2027-04-03T23:30:00-03:00 3", "2027-04-04T00:30:00-04:00 -"},
		},
		{
			"until the midnight after an hour that comes twice", "America/Santiago", `{start: "22:00", end: "24:00", days: [sat], minReplicas: 3}`, "2027-04-03T12:00:00Z", "2027-04-04T12:00:00Z",
			[]string{"2027-04-03T22:00:00-03:00 3", "2027-04-04T00:00:00-04:00 -"},
		},
		{
			"a day whose midnight comes twice", "America/Havana", `{start: "00:00", end: "24:00", days: [sun], minReplicas: 3}`, "2027-11-06T12:00:00Z", "2027-11-08T12:00:00Z",
			[]string{"2027-11-07T00:00:00-04:00 3", "2027-11-08T00:00:00-05:00 -"},
		},
		{
			"over a midnight that comes twice", "America/Havana", `{cron: 30 23 * * sat, for: 1h, minReplicas: 3}`, "2027-11-06T12:00:00Z", "2027-11-08T12:00:00Z",
			[]string{"2027-11-06T23:30:00-04:00 3", "2027-11-07T00:30:00-04:00 -"},
		},
		{
			"begins in a gap of two hours", "Antarctica/Troll", `{cron: 0 2 * * *, for: 1h, minReplicas: 3}`, "2027-03-27T12:00:00Z", "2027-03-28T12:00:00Z",
			[]string{"2027-03-28T03:00:00+02:00 3", "2027-03-28T04:00:00+02:00 -"},
		},
		{
			"lies in a gap of two hours", "Antarctica/Troll", `{start: "01:30", end: "02:30", minReplicas: 3}`, "2027-03-27T12:00:00Z", "2027-03-29T00:00:00Z",
			[]string{"2027-03-29T01:30:00+02:00 3"},
		},
		{
			"two hours come twice", "Antarctica/Troll", `{start: "01:30", end: "02:30", minReplicas: 3}`, "2027-10-30T12:00:00Z", "2027-10-31T12:00:00Z",
			[]string{"2027-10-31T01:30:00+02:00 3", "2027-10-31T02:30:00+02:00 -"},
		},
		{
			"summer time is the standard", "Europe/Dublin", `{cron: 30 1 * * *, for: 1h, minReplicas: 3}`, "2027-03-27T12:00:00Z", "2027-03-28T12:00:00Z",
			[]string{"2027-03-28T02:00:00+01:00 3", "2027-03-28T03:00:00+01:00 -"},
		},
		{
			"over midnight into the gap", "Australia/Lord_Howe", `{start: "22:00", end: "02:15", minReplicas: 3}`, "2027-10-02T00:00:00Z", "2027-10-03T00:00:00Z",
			[]string{"2027-10-02T22:00:00+10:30 3", "2027-10-03T02:30:00+11:00 -"},
		},
		{
			"is the half hour lost", "Australia/Lord_Howe", `{start: "02:00", end: "02:30", minReplicas: 3}`, "2027-10-02T00:00:00Z", "2027-10-03T18:00:00Z",
			[]string{"2027-10-04T02:00:00+11:00 3", "2027-10-04T02:30:00+11:00 -"},
		},
		{
			"begins in the half hour that comes twice, ends after it", "Australia/Lord_Howe", `{start: "01:45", end: "02:15", minReplicas: 3}`, "2027-04-03T00:00:00Z", "2027-04-04T00:00:00Z",
			[]string{"2027-04-04T01:45:00+11:00 3", "2027-04-04T02:15:00+10:30 -"},
		},
		{
			"once, from the gap", "Europe/Berlin", `{from: 2027-03-28 02:30, to: 2027-03-28 04:00, minReplicas: 3}`, "2027-03-27T12:00:00Z", "2027-03-29T12:00:00Z",
			[]string{"2027-03-28T03:00:00+02:00 3", "2027-03-28T04:00:00+02:00 -"},
		},
		{
			"once, from and to an hour that comes twice", "Europe/Berlin", `{from: 2027-10-31 02:10, to: 2027-10-31 02:50, minReplicas: 3}`, "2027-10-30T12:00:00Z", "2027-11-01T12:00:00Z",
			[]string{"2027-10-31T02:10:00+02:00 3", "2027-10-31T02:50:00+02:00 -"},
		},
		{
			"once, the second time, with an offset", "Europe/Berlin", `{from: "2027-10-31T02:10:00+01:00", to: "2027-10-31T02:50:00+01:00", minReplicas: 3}`, "2027-10-30T12:00:00Z", "2027-11-01T12:00:00Z",
			[]string{"2027-10-31T02:10:00+01:00 3", "2027-10-31T02:50:00+01:00 -"},
		},
		{
			"a day that does not exist", "Pacific/Apia", `{start: "08:00", end: "22:00", minReplicas: 3}`, "2011-12-29T12:00:00Z", "2011-12-31T10:00:00Z",
			[]string{"2011-12-29T08:00:00-10:00 3", "2011-12-29T22:00:00-10:00 -", "2011-12-31T08:00:00+14:00 3", "2011-12-31T22:00:00+14:00 -"},
		},
		{
			"over a day that does not exist", "Pacific/Apia", `{start: "22:00", end: "08:00", days: [thu], minReplicas: 3}`, "2011-12-29T12:00:00Z", "2011-12-31T10:00:00Z",
			[]string{"2011-12-29T22:00:00-10:00 3", "2011-12-31T00:00:00+14:00 -"},
		},
	} {
		t.Run(tc.zone+"/"+tc.name, func(t *testing.T) {
			t.Parallel()
			reportDiff(t, tc.want, listChanges(newOneSchedule(t, tc.zone, "", tc.window), parseTestTime(t, tc.from), parseTestTime(t, tc.to)))
		})
	}
}

// TestWindows checks windows where no clock changes.
func TestWindows(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, more string
		windows    []string
		from, to   string
		want       []string
	}{
		{
			"the highest minReplicas wins", "", []string{dayWindow, nightWindow, `{cron: 0 12 * * *, for: 2h, minReplicas: 20}`, `{cron: 0 13 * * *, for: 30m, minReplicas: 5}`},
			"2027-06-01T00:00:00Z", "2027-06-02T00:00:00Z",
			[]string{"2027-06-01T08:00:00Z 8", "2027-06-01T12:00:00Z 20", "2027-06-01T14:00:00Z 8", "2027-06-01T22:00:00Z 2"},
		},
		{
			"days, over midnight", "", []string{`{start: "22:00", end: "02:00", days: [fri-sat], minReplicas: 4}`},
			"2027-06-01T00:00:00Z", "2027-06-08T00:00:00Z",
			[]string{"2027-06-04T22:00:00Z 4", "2027-06-05T02:00:00Z -", "2027-06-05T22:00:00Z 4", "2027-06-06T02:00:00Z -"},
		},
		{
			"days over the end of the week", "", []string{`{start: "08:00", end: "09:00", days: [sat-mon], minReplicas: 4}`},
			"2027-06-04T00:00:00Z", "2027-06-08T00:00:00Z",
			[]string{
				"2027-06-05T08:00:00Z 4", "2027-06-05T09:00:00Z -", "2027-06-06T08:00:00Z 4", "2027-06-06T09:00:00Z -",
				"2027-06-07T08:00:00Z 4", "2027-06-07T09:00:00Z -",
			},
		},
		{
			"exceptions are of begins", ", except: [2027-06-02, 2027-06-05]",
			[]string{`{start: "22:00", end: "02:00", minReplicas: 4}`},
			"2027-06-01T12:00:00Z", "2027-06-04T12:00:00Z",
			[]string{"2027-06-01T22:00:00Z 4", "2027-06-02T02:00:00Z -", "2027-06-03T22:00:00Z 4", "2027-06-04T02:00:00Z -"},
		},
		{
			"once", "", []string{`{from: 2027-11-26 08:00, to: "2027-11-28T00:00:00+01:00", minReplicas: 40, maxReplicas: 60}`},
			"2026-01-01T00:00:00Z", "2030-01-01T00:00:00Z",
			[]string{"2027-11-26T08:00:00Z 40", "2027-11-27T23:00:00Z -"},
		},
		{
			"a ramp from nothing", "", []string{`{cron: 0 8 * * *, for: 1h, minReplicas: 10, ramp: {over: 12m, steps: 4}}`},
			"2027-06-01T00:00:00Z", "2027-06-02T00:00:00Z",
			[]string{
				"2027-06-01T08:03:00Z 3 ramp", "2027-06-01T08:06:00Z 5 ramp", "2027-06-01T08:09:00Z 8 ramp", "2027-06-01T08:12:00Z 10",
				"2027-06-01T09:00:00Z -",
			},
		},
		{
			"ramps up and down", "",
			[]string{
				`{start: "08:00", end: "22:00", minReplicas: 8, ramp: {over: 10m, steps: 2}}`,
				`{start: "22:00", end: "08:00", minReplicas: 2, maxReplicas: 3, ramp: {over: 30m, steps: 3}}`,
			},
			"2027-06-01T07:00:00Z", "2027-06-02T00:00:00Z",
			[]string{
				"2027-06-01T08:00:00Z 2 ramp", "2027-06-01T08:05:00Z 5 ramp", "2027-06-01T08:10:00Z 8",
				"2027-06-01T22:00:00Z 8 ramp", "2027-06-01T22:10:00Z 6 ramp", "2027-06-01T22:20:00Z 4 ramp", "2027-06-01T22:30:00Z 2",
			},
		},
		{
			"a rare day", "", []string{`{cron: 0 0 29 2 *, for: 1d, minReplicas: 1}`}, "2093-01-01T00:00:00Z", "2107-01-01T00:00:00Z",
			[]string{"2096-02-29T00:00:00Z 1", "2096-03-01T00:00:00Z -", "2104-02-29T00:00:00Z 1", "2104-03-01T00:00:00Z -"},
		},
		{
			"over the end of the year", "", []string{`{start: "22:00", end: "02:00", days: [fri], minReplicas: 4}`},
			"2027-12-31T00:00:00Z", "2028-01-02T00:00:00Z",
			[]string{"2027-12-31T22:00:00Z 4", "2028-01-01T02:00:00Z -"},
		},
		{
			"days over the end of the year", "", []string{`{cron: 0 22 31 12 *, for: 1d, minReplicas: 4}`, `{cron: 0 0 1 jan *, for: 12h, minReplicas: 6}`},
			"2027-12-30T00:00:00Z", "2028-12-30T00:00:00Z",
			[]string{"2027-12-31T22:00:00Z 4", "2028-01-01T00:00:00Z 6", "2028-01-01T12:00:00Z 4", "2028-01-01T22:00:00Z -"},
		},
		{
			"an exception at the end of the year", ", except: [2027-12-31]", []string{dayWindow, nightWindow},
			"2027-12-30T12:00:00Z", "2028-01-01T12:00:00Z",
			[]string{"2027-12-30T22:00:00Z 2", "2027-12-31T08:00:00Z 2", "2027-12-31T22:00:00Z 2", "2028-01-01T08:00:00Z 8"},
		},
		{
			"exceptions on both sides of the year", ", except: [2027-12-31, {date: 2028-01-01, use: none}]", []string{dayWindow, nightWindow},
			"2027-12-31T09:00:00Z", "2028-01-02T12:00:00Z",
			[]string{"2027-12-31T22:00:00Z 2", "2028-01-01T08:00:00Z -", "2028-01-02T08:00:00Z 8"},
		},
		{
			"over midnight on both sides of a leap day", "", []string{`{start: "22:00", end: "02:00", minReplicas: 4}`},
			"2028-02-28T12:00:00Z", "2028-03-01T12:00:00Z",
			[]string{"2028-02-28T22:00:00Z 4", "2028-02-29T02:00:00Z -", "2028-02-29T22:00:00Z 4", "2028-03-01T02:00:00Z -"},
		},
		{
			"over midnight without a leap day", "", []string{`{start: "22:00", end: "02:00", days: [sun], minReplicas: 4}`},
			"2027-02-28T12:00:00Z", "2027-03-01T12:00:00Z",
			[]string{"2027-02-28T22:00:00Z 4", "2027-03-01T02:00:00Z -"},
		},
		{
			"a leap day is an exception", ", except: [2028-02-29]", []string{dayWindow, nightWindow},
			"2028-02-28T12:00:00Z", "2028-03-01T12:00:00Z",
			[]string{"2028-02-28T22:00:00Z 2", "2028-02-29T08:00:00Z 2", "2028-02-29T22:00:00Z 2", "2028-03-01T08:00:00Z 8"},
		},
		{
			"once, a leap day", "", []string{`{from: 2028-02-29 00:00, to: 2028-03-01 00:00, minReplicas: 4}`},
			"2027-01-01T00:00:00Z", "2030-01-01T00:00:00Z",
			[]string{"2028-02-29T00:00:00Z 4", "2028-03-01T00:00:00Z -"},
		},
		{
			"the end of each month", "", []string{`{cron: 0 12 31 * *, for: 1h, minReplicas: 4}`},
			"2027-01-31T12:30:00Z", "2027-05-31T12:30:00Z",
			[]string{"2027-01-31T13:00:00Z -", "2027-03-31T12:00:00Z 4", "2027-03-31T13:00:00Z -", "2027-05-31T12:00:00Z 4"},
		},
		{
			"a step in a month counts from its first day", "", []string{`{cron: 0 12 */15 * *, for: 1h, minReplicas: 4}`},
			"2028-02-16T00:00:00Z", "2028-03-02T00:00:00Z",
			[]string{"2028-02-16T12:00:00Z 4", "2028-02-16T13:00:00Z -", "2028-03-01T12:00:00Z 4", "2028-03-01T13:00:00Z -"},
		},
		{
			"a range of days over the end of the month", "", []string{`{cron: 0 12 28-1 2-3 *, for: 1h, minReplicas: 4}`},
			"2027-02-27T00:00:00Z", "2027-03-02T00:00:00Z",
			[]string{"2027-02-28T12:00:00Z 4", "2027-02-28T13:00:00Z -", "2027-03-01T12:00:00Z 4", "2027-03-01T13:00:00Z -"},
		},
		{
			"by month or by week, as crontab has it", "", []string{`{cron: 0 0 1 * THU, for: 1d, minReplicas: 1}`}, "2027-05-30T00:00:00Z", "2027-06-05T00:00:00Z",
			[]string{"2027-06-01T00:00:00Z 1", "2027-06-02T00:00:00Z -", "2027-06-03T00:00:00Z 1", "2027-06-04T00:00:00Z -"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			reportDiff(t, tc.want, listChanges(newOneSchedule(t, "UTC", tc.more, tc.windows...), parseTestTime(t, tc.from), parseTestTime(t, tc.to)))
		})
	}
}

// TestWant: the fields of a want.
func TestWant(t *testing.T) {
	t.Parallel()
	s := newOneSchedule(t, "Europe/Berlin", "", `{name: night, start: "22:00", end: "08:00", minReplicas: 2, maxReplicas: 4}`, dayWindow)
	got, _ := s.ActiveAt(parseTestTime(t, "2027-06-01T21:00:00Z"))
	since := parseTestTime(t, "2027-06-01T20:00:00Z").In(s.Zone)
	want := ActiveWindow{MinReplicas: 2, MaxReplicas: 4, Replicas: 2, Window: "night", Since: since, Until: parseTestTime(t, "2027-06-02T06:00:00Z").In(s.Zone), Start: since}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got, _ := s.ActiveAt(parseTestTime(t, "2027-06-01T10:00:00Z")); got.Window != "08:00-22:00" || got.MaxReplicas != 0 {
		t.Errorf("%+v", got)
	}
}

// TestNever: after the last window there is no next.
func TestNever(t *testing.T) {
	t.Parallel()
	s := newOneSchedule(t, "UTC", "", `{from: 2027-11-26 08:00, to: 2027-11-28 08:00, minReplicas: 4}`)
	if next, ok := s.NextChange(parseTestTime(t, "2027-11-28T08:00:00Z")); ok {
		t.Errorf("next %s", next)
	}
}

// TestNextFarAway: a change months away is found though a shadowed window begins every five minutes.
func TestNextFarAway(t *testing.T) {
	t.Parallel()
	s := newOneSchedule(t, "Europe/Berlin", "", `{from: 2027-01-01 00:00, to: 2027-03-15 00:00, minReplicas: 9}`, `{cron: "*/5 * * * *", for: 1m, minReplicas: 1}`)
	if next, ok := s.NextChange(parseTestTime(t, "2027-01-01T12:00:00Z")); !ok || !next.Equal(parseTestTime(t, "2027-03-14T23:00:00Z")) {
		t.Errorf("%s %v", next, ok)
	}
}
