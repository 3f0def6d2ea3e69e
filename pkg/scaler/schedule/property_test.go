package schedule

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func reportDiff(t *testing.T, want, got any) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// newMixedSchedule returns a schedule with a window of every kind. All its times are whole minutes.
func newMixedSchedule(t *testing.T, zone string) *Schedule {
	t.Helper()
	return newOneSchedule(t, zone, ", except: [2027-03-14, 2027-03-28, 2027-03-29, 2027-05-01, {date: 2027-07-02, use: night}, {date: 2027-10-30, use: none}, 2027-10-31]",
		`{name: day, start: "08:00", end: "22:00", days: [mon-fri], minReplicas: 8, ramp: {over: 20m, steps: 4}}`,
		`{name: night, start: "22:00", end: "02:15", minReplicas: 2, ramp: {over: 1h, steps: 3}}`,
		`{name: early, start: "02:10", end: "02:40", minReplicas: 3}`,
		`{name: job, cron: "45 1,2 * * *", for: 55m, minReplicas: 5}`,
		`{name: always, cron: 30 0 * * *, for: 24h, minReplicas: 1}`,
		`{name: quarter, cron: "*/15 9-11 1-7 * *", for: 10m, minReplicas: 9}`,
		`{name: sale, from: 2027-11-26 00:00, to: 2027-11-30 00:00, minReplicas: 40, maxReplicas: 60}`,
		`{name: summer, from: 2027-07-01 00:00, to: 2027-07-15 12:00, minReplicas: 6}`)
}

// TestNextIsTheNextChange walks minute by minute through stretches of two years, those when clocks change and exceptions or
// single windows are among them: At changes when Next says, and at no other minute.
func TestNextIsTheNextChange(t *testing.T) {
	t.Parallel()
	for _, zone := range testZones {
		t.Run(zone, func(t *testing.T) {
			t.Parallel()
			s := newMixedSchedule(t, zone)
			for _, from := range []string{
				"2026-12-29", "2027-03-12", "2027-03-26", "2027-04-01", "2027-04-29", "2027-06-29", "2027-07-14", "2027-10-01",
				"2027-10-29", "2027-11-05", "2027-11-24", "2027-11-28", "2028-02-27", "2028-03-10", "2028-03-24", "2028-10-28", "2028-11-03",
			} {
				if seen := walkMinutes(t, s, parseTestTime(t, from+"T00:00:00Z"), 4*24*time.Hour); seen < 8 {
					t.Errorf("%s: only %d changes", from, seen)
				}
			}
		})
	}
}

// walkMinutes compares each minute with the previous one, and counts the changes.
func walkMinutes(t *testing.T, s *Schedule, now time.Time, span time.Duration) (seen int) {
	t.Helper()
	want, found := s.ActiveAt(now)
	next, _ := s.NextChange(now)
	end := now.Add(span)
	for now = now.Add(time.Minute); now.Before(end); now = now.Add(time.Minute) {
		w, ok := s.ActiveAt(now)
		if changed := w != want || ok != found; changed != now.Equal(next) {
			t.Fatalf("%s: changed %v, next %s\n was %+v %v\n is %+v %v", now.In(s.Zone), changed, next, want, found, w, ok)
		}
		if now.Equal(next) {
			next, _ = s.NextChange(now)
			seen++
		}
		want, found = w, ok
	}
	return seen
}

// TestPure checks that ActiveAt and NextChange depend on the time alone, in any zone and in any order of calls, and that NextChange
// is the same from every moment of a state.
func TestPure(t *testing.T) {
	t.Parallel()
	for _, zone := range testZones {
		s := newMixedSchedule(t, zone)
		other := *s
		random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a test that repeats itself
		from := parseTestTime(t, "2026-12-01T00:00:00Z")
		for range 500 {
			now := from.Add(time.Duration(random.Int64N(int64(2 * 365 * 24 * time.Hour))))
			other.ActiveAt(from.Add(time.Duration(random.Int64N(int64(time.Hour)))))
			a, aok := s.ActiveAt(now)
			b, bok := other.ActiveAt(now.In(s.Zone))
			if a != b || aok != bok {
				t.Fatalf("%s: %+v %v, and %+v %v", now, a, aok, b, bok)
			}
			next, _ := s.NextChange(now)
			between := now.Add(time.Duration(random.Int64N(int64(next.Sub(now)))))
			if again, _ := other.NextChange(between); !again.Equal(next) {
				t.Fatalf("next after %s is %s, after %s %s", now, next, between, again)
			}
			if w, ok := s.ActiveAt(next.Add(-1)); w != a || ok != aok {
				t.Fatalf("%s: %+v, but just before the next change %s %+v", now, a, next, w)
			}
		}
	}
}

// TestClocks: instant and reached are each other's inverse around every change of clocks, and instant goes only forward.
func TestClocks(t *testing.T) {
	t.Parallel()
	for _, name := range append(testZones, "UTC", "Africa/Cairo", "America/Sao_Paulo", "Europe/Dublin", "Asia/Kathmandu", "Antarctica/Troll", "Africa/Casablanca") {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		last := time.Time{}
		start := time.Date(2017, 1, 1, 0, 0, 0, 0, time.UTC)
		for w := start; w.Year() < 2018; w = w.Add(5 * time.Minute) {
			i := firstWallInstant(w, zone)
			if i.Before(last) {
				t.Fatalf("%s: %s is before what clocks showed earlier", name, w)
			}
			last = i
			if latestWallTime(i, zone).Before(w) || !latestWallTime(i.Add(-1), zone).Before(w) {
				t.Fatalf("%s: %s is first reached at %s, but then clocks had come to %s, and just before to %s", name, w, i, latestWallTime(i, zone), latestWallTime(i.Add(-1), zone))
			}
		}
	}
}

// TestPreviewHasNoHoles checks that the rows of each workload cover the span without a gap, and agree with ActiveAt.
func TestPreviewHasNoHoles(t *testing.T) {
	t.Parallel()
	for _, zone := range testZones {
		s := newMixedSchedule(t, zone)
		from, span := parseTestTime(t, "2027-03-01T12:34:56Z"), 100*24*time.Hour
		rows := Preview([]Schedule{*s}, StartAt(from), span)
		end := from
		for _, r := range rows {
			if !r.From.Equal(end) || !r.To.After(r.From) {
				t.Fatalf("%s: after %s comes %s to %s", zone, end, r.From, r.To)
			}
			end = r.To
			for _, now := range []time.Time{r.From, r.From.Add(r.To.Sub(r.From) / 2), r.To.Add(-1)} {
				w, ok := s.ActiveAt(now)
				if ok != (r.MinReplicas != nil) || ok && (w.MinReplicas != *r.MinReplicas || w.Window != r.Window || (w.Steps > 0) != r.Ramping || w.MaxReplicas != r.MaxReplicas) {
					t.Fatalf("%s: %s: %+v, but At %+v", zone, now, r, w)
				}
			}
		}
		if !end.Equal(from.Add(span)) {
			t.Errorf("%s: ends at %s", zone, end)
		}
	}
}
