package schedule

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestD9RampFromWindowMayLower: a ramp that follows a window goes from its number, in both directions, and the controller may lower.
func TestD9RampFromWindowMayLower(t *testing.T) {
	t.Parallel()
	s := newOneSchedule(t, "UTC", "",
		`{start: "08:00", end: "22:00", minReplicas: 8, ramp: {over: 30m, steps: 3}}`, `{start: "22:00", end: "08:00", minReplicas: 2, ramp: {over: 30m, steps: 3}}`)
	for at, want := range map[string]ActiveWindow{
		"2027-06-01T22:00:00Z": {MinReplicas: 8, Step: 0, Steps: 3},
		"2027-06-01T22:10:00Z": {MinReplicas: 6, Step: 1, Steps: 3},
		"2027-06-01T22:20:00Z": {MinReplicas: 4, Step: 2, Steps: 3},
		"2027-06-01T22:30:00Z": {MinReplicas: 2},
		"2027-06-01T08:00:00Z": {MinReplicas: 2, Step: 0, Steps: 3},
		"2027-06-01T08:10:00Z": {MinReplicas: 4, Step: 1, Steps: 3},
		"2027-06-01T08:30:00Z": {MinReplicas: 8},
	} {
		got, ok := s.ActiveAt(parseTestTime(t, at))
		if !ok || got.MinReplicas != want.MinReplicas || got.Step != want.Step || got.Steps != want.Steps || got.Ramping || got.From(10) != got {
			t.Errorf("%s: %+v; want %+v, and not more for a workload of 10", at, got, want)
		}
	}
}

// TestD9RampFromNothing: a ramp that no window precedes goes from what was there, and so never up before it goes down.
func TestD9RampFromNothing(t *testing.T) {
	t.Parallel()
	s := newOneSchedule(t, "UTC", "", `{start: "22:00", end: "08:00", minReplicas: 2, maxReplicas: 4, ramp: {over: 30m, steps: 4}}`)
	for was, want := range map[int32][]int32{10: {8, 6, 4, 2}, 2: {2, 2, 2, 2}, 0: {1, 1, 2, 2}, 1: {2, 2, 2, 2}} {
		var got []int32
		for step := 1; step <= 4; step++ {
			w, ok := s.ActiveAt(parseTestTime(t, "2027-06-01T22:00:00Z").Add(time.Duration(step) * 450 * time.Second))
			if !ok {
				t.Fatalf("step %d: nothing", step)
			}
			from := w.From(was)
			if from.Replicas != from.MinReplicas || from.MaxReplicas != max(4, from.MinReplicas) {
				t.Errorf("%+v", from)
			}
			got = append(got, from.MinReplicas)
		}
		reportDiff(t, want, got)
	}
	if _, ok := s.ActiveAt(parseTestTime(t, "2027-06-01T22:00:00Z")); ok {
		t.Error("before the first step there is a number, though what was there goes on")
	}
}

// TestD31HolidayHasTheNight: on an exception the window before goes on, another window stands in, or nothing does.
func TestD31HolidayHasTheNight(t *testing.T) {
	t.Parallel()
	day, night := `{name: day, start: "08:00", end: "22:00", minReplicas: 8, ramp: {over: 10m, steps: 2}}`, `{name: night, start: "22:00", end: "08:00", minReplicas: 2}`
	holiday := `{name: holiday, from: 2026-01-01 00:00, to: 2026-01-02 00:00, minReplicas: 3, maxReplicas: 5}`
	const from, to = "2026-12-24T12:00:00Z", "2026-12-27T12:00:00Z"
	for name, c := range map[string]struct {
		except  string
		windows []string
		want    []string
	}{
		"the night goes on": {"2026-12-25", []string{day, night}, []string{
			"2026-12-24T22:00:00Z 2", "2026-12-25T08:00:00Z 2", "2026-12-25T22:00:00Z 2", "2026-12-26T08:00:00Z 2 ramp", "2026-12-26T08:05:00Z 5 ramp", "2026-12-26T08:10:00Z 8",
			"2026-12-26T22:00:00Z 2", "2026-12-27T08:00:00Z 2 ramp", "2026-12-27T08:05:00Z 5 ramp", "2026-12-27T08:10:00Z 8",
		}},
		"over two days": {"2026-12-25, 2026-12-26", []string{day, night}, []string{
			"2026-12-24T22:00:00Z 2", "2026-12-25T08:00:00Z 2", "2026-12-25T22:00:00Z 2", "2026-12-26T08:00:00Z 2", "2026-12-26T22:00:00Z 2",
			"2026-12-27T08:00:00Z 2 ramp", "2026-12-27T08:05:00Z 5 ramp", "2026-12-27T08:10:00Z 8",
		}},
		"a window of its own, once": {"{date: 2026-12-25, use: holiday}", []string{day, night, holiday}, []string{
			"2026-12-24T22:00:00Z 2", "2026-12-25T08:00:00Z 3", "2026-12-25T22:00:00Z 3", "2026-12-26T08:00:00Z 3 ramp", "2026-12-26T08:05:00Z 6 ramp", "2026-12-26T08:10:00Z 8",
			"2026-12-26T22:00:00Z 2", "2026-12-27T08:00:00Z 2 ramp", "2026-12-27T08:05:00Z 5 ramp", "2026-12-27T08:10:00Z 8",
		}},
		"nothing": {"{date: 2026-12-25, use: none}, {date: 2026-12-26, use: none}", []string{day, night}, []string{
			"2026-12-24T22:00:00Z 2", "2026-12-25T08:00:00Z -", "2026-12-27T08:05:00Z 4 ramp", "2026-12-27T08:10:00Z 8",
		}},
		"nothing, and it goes on": {"{date: 2026-12-25, use: none}, 2026-12-26", []string{day, night}, []string{
			"2026-12-24T22:00:00Z 2", "2026-12-25T08:00:00Z -", "2026-12-27T08:05:00Z 4 ramp", "2026-12-27T08:10:00Z 8",
		}},
		"no window before": {"2026-12-25", []string{`{start: "08:00", end: "22:00", minReplicas: 8}`}, []string{
			"2026-12-24T22:00:00Z -", "2026-12-26T08:00:00Z 8", "2026-12-26T22:00:00Z -", "2026-12-27T08:00:00Z 8",
		}},
		"all day, every day": {"2026-12-25", []string{`{cron: 0 0 * * *, for: 1d, minReplicas: 4}`}, []string{
			"2026-12-25T00:00:00Z 4", "2026-12-26T00:00:00Z 4", "2026-12-27T00:00:00Z 4",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newOneSchedule(t, "UTC", ", except: ["+c.except+"]", c.windows...)
			reportDiff(t, c.want, listChanges(s, parseTestTime(t, from), parseTestTime(t, to)))
		})
	}
}

// TestD31ManyExceptions: overlapping windows and a year of exceptions take no time.
func TestD31ManyExceptions(t *testing.T) {
	t.Parallel()
	var dates []string
	for d := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC); d.Year() == 2027; d = d.AddDate(0, 0, 1) {
		dates = append(dates, d.Format(time.DateOnly))
	}
	s := newOneSchedule(t, "Europe/Berlin", ", except: ["+strings.Join(dates, ", ")+"]", dayWindow, nightWindow, `{cron: 0 0 * * *, for: 1d, minReplicas: 1}`, `{cron: "* * * * *", for: 1m, minReplicas: 1}`)
	if w, ok := s.ActiveAt(parseTestTime(t, "2027-12-31T12:00:00Z")); ok {
		t.Errorf("%+v", w)
	}
	if w, ok := s.ActiveAt(parseTestTime(t, "2027-01-01T12:00:00Z")); !ok || w.MinReplicas != 2 {
		t.Errorf("%+v, %t; want the night", w, ok)
	}
}

// TestD31ManySchedules: a year of exceptions in twelve schedules of one workload takes no time.
func TestD31ManySchedules(t *testing.T) {
	t.Parallel()
	var dates []string
	for d := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC); d.Year() == 2027; d = d.AddDate(0, 0, 1) {
		dates = append(dates, d.Format(time.DateOnly))
	}
	var all []*Schedule
	for i := range 12 {
		window := fmt.Sprintf(`{start: "%02d:00", end: "%02d:30", minReplicas: 8}`, 2*i, (2*i+2)%24)
		all = append(all, newOneSchedule(t, "UTC", ", except: ["+strings.Join(dates, ", ")+"]", window))
	}
	at := parseTestTime(t, "2027-12-31T12:10:00Z")
	for _, s := range all {
		for range 20 {
			s.ActiveBeside(all, at)
		}
	}
	if w, ok := all[0].ActiveBeside(all, parseTestTime(t, "2027-01-01T01:00:00Z")); !ok || w.MinReplicas != 8 {
		t.Errorf("%+v, %t", w, ok)
	}
}

// TestD30PreviewSaysWhatDoesNotHappen: a window in the hour that is skipped, and the windows of an exception, stand in the notes.
func TestD30PreviewSaysWhatDoesNotHappen(t *testing.T) {
	t.Parallel()
	s := newOneSchedule(t, "Europe/Berlin", ", except: [2027-03-29]", `{name: backup, start: "02:00", end: "03:00", minReplicas: 20}`, dayWindow)
	var table bytes.Buffer
	if err := WriteTable(&table, Preview([]Schedule{*s}, StartAt(parseTestTime(t, "2027-03-27T11:00:00Z")), 3*24*time.Hour)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"one (backup) does not happen on 2027-03-28: the clocks skip it", "one (backup) does not happen on 2027-03-29: an exception", "one (08:00-22:00) does not happen on 2027-03-29: an exception",
	} {
		if strings.Count(table.String(), want) != 1 {
			t.Errorf("%q is not there once:\n%s", want, table.String())
		}
	}
	if n := strings.Count(table.String(), "does not happen"); n != 3 {
		t.Errorf("%d windows do not happen:\n%s", n, table.String())
	}
}

// TestD30OnceInTheGap: a window without repetition whose times the clocks skip is rejected with that reason; any other empty window with its own.
func TestD30OnceInTheGap(t *testing.T) {
	t.Parallel()
	for window, want := range map[string]string{
		"{from: 2027-03-28 02:00, to: 2027-03-28 03:00, minReplicas: 3}": "the clocks of Europe/Berlin jump over both, to 2027-03-28 03:00",
		"{from: 2027-03-28 02:10, to: 2027-03-28 02:50, minReplicas: 3}": "the clocks of Europe/Berlin jump over both, to 2027-03-28 03:00",
		"{from: 2027-03-27 02:10, to: 2027-03-27 02:10, minReplicas: 3}": "is not after from",
		"{from: 2027-10-31 03:00, to: 2027-10-31 02:50, minReplicas: 3}": "is not after from",
	} {
		_, err := loadSchedules([]byte(scheduleHeader + "- {name: one, namespace: shop, workloads: [deploy/web], zone: Europe/Berlin, windows: [" + window + "]}\n"))
		if err == nil || !strings.Contains(err.Error(), "windows[0].to: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %s", window, err, want)
		}
	}
}

// TestD31DayAndNightInTwoSchedules: on a holiday, the night goes on also where another schedule of the workload has it.
func TestD31DayAndNightInTwoSchedules(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		day, night string // exceptions
		want       []string
	}{
		"of the day": {", except: [2026-12-25]", "", []string{"2026-12-24T22:00 2", "2026-12-26T08:00 8", "2026-12-26T22:00 2"}},
		"of both":    {", except: [2026-12-25]", ", except: [2026-12-25]", []string{"2026-12-24T22:00 2", "2026-12-26T08:00 8", "2026-12-26T22:00 2"}},
		"of two days of both": {
			", except: [2026-12-25, 2026-12-26]", ", except: [2026-12-26, 2026-12-25]", []string{"2026-12-24T22:00 2", "2026-12-27T08:00 8"},
		},
		"of the night": {"", ", except: [2026-12-25]", []string{"2026-12-24T22:00 2", "2026-12-25T08:00 8", "2026-12-26T22:00 2"}},
		"none stands in": {
			", except: [{date: 2026-12-25, use: none}]", "", []string{"2026-12-24T22:00 2", "2026-12-25T08:00 -", "2026-12-25T22:00 2", "2026-12-26T08:00 8", "2026-12-26T22:00 2"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			both := []*Schedule{newOneSchedule(t, "UTC", c.day, dayWindow), newOneSchedule(t, "UTC", c.night, nightWindow)}
			both[1].Name = "two"
			var got, shown []string
			last := "8"
			from, to := parseTestTime(t, "2026-12-24T12:00:00Z"), parseTestTime(t, "2026-12-27T12:00:00Z")
			for at := from; at.Before(to); at = at.Add(time.Minute) {
				highest := "-"
				for _, s := range both {
					if w, ok := s.ActiveBeside(both, at); ok && (highest == "-" || fmt.Sprint(w.MinReplicas) > highest) {
						highest = fmt.Sprint(w.MinReplicas)
					}
				}
				if highest != last {
					got, last = append(got, at.Format("2006-01-02T15:04 ")+highest), highest
				}
			}
			if c.want[len(c.want)-1] == "2026-12-26T22:00 2" { // the day after is an ordinary one
				c.want = append(c.want, "2026-12-27T08:00 8")
			}
			reportDiff(t, c.want, got)
			last = "8"
			for _, r := range Preview([]Schedule{*both[0], *both[1]}, StartAt(from), to.Sub(from)) {
				highest := "-"
				if r.MinReplicas != nil {
					highest = fmt.Sprint(*r.MinReplicas)
				}
				if highest != last {
					shown, last = append(shown, r.From.Format("2006-01-02T15:04 ")+highest), highest
				}
			}
			reportDiff(t, c.want, shown)
		})
	}
}

// TestD5WindowThatGoesOn: on a holiday the night that goes on is the one that began the evening before, of this schedule or of another one; a window that an
// exception names starts on the day.
func TestD5WindowThatGoesOn(t *testing.T) {
	t.Parallel()
	const holidays = ", except: [2027-12-24, 2027-12-25, {date: 2027-12-26, use: night}]"
	day, night := newOneSchedule(t, "Europe/Berlin", ", except: [2027-12-24]", dayWindow), newOneSchedule(t, "Europe/Berlin", "", nightWindow)
	both := newOneSchedule(t, "Europe/Berlin", holidays, `{name: day, start: "08:00", end: "22:00", minReplicas: 8}`, `{name: night, start: "22:00", end: "08:00", minReplicas: 2}`)
	for at, want := range map[string]string{
		"2027-12-23T12:00:00+01:00": "2027-12-23T08:00:00+01:00", "2027-12-24T03:00:00+01:00": "2027-12-23T22:00:00+01:00", "2027-12-24T12:00:00+01:00": "2027-12-23T22:00:00+01:00",
		"2027-12-24T23:00:00+01:00": "2027-12-23T22:00:00+01:00", "2027-12-25T12:00:00+01:00": "2027-12-23T22:00:00+01:00", "2027-12-26T12:00:00+01:00": "2027-12-26T08:00:00+01:00",
	} {
		if w, ok := both.ActiveAt(parseTestTime(t, at)); !ok || !w.Start.Equal(parseTestTime(t, want)) {
			t.Errorf("%s: the window started at %s; want %s", at, w.Start, want)
		}
	}
	if w, ok := day.ActiveBeside([]*Schedule{day, night}, parseTestTime(t, "2027-12-24T12:00:00+01:00")); !ok || !w.Start.Equal(parseTestTime(t, "2027-12-23T22:00:00+01:00")) {
		t.Errorf("beside another schedule: %+v", w)
	}
}
