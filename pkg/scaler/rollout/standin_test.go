package rollout

import (
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// TestD5StandInOfAnotherSchedule: on a holiday the window of another schedule goes on in the hold of a schedule. A person's number in that window stays. A
// schedule that comes into a window of another states its number anew.
func TestD5StandInOfAnotherSchedule(t *testing.T) {
	t.Parallel()
	nightEnd := benchStart.Add(8 * time.Hour)
	for name, c := range map[string]struct {
		comes  time.Duration // after the start of the night
		gates  []string
		person int32
		want   int32
	}{
		"a higher number":               {8 * time.Hour, nil, 6, 6},
		"a lower number":                {8 * time.Hour, nil, 1, 1},
		"with a gate":                   {8 * time.Hour, []string{"sale"}, 6, 6},
		"in the window":                 {4 * time.Hour, nil, 1, 3},
		"after the hold of the window":  {9 * time.Hour, nil, 1, 3},
		"shortly before the night ends": {8*time.Hour - time.Second, nil, 1, 3},
	} {
		for kind, bounds := range autoscaledAndPlain {
			t.Run(name+", "+kind, func(t *testing.T) {
				t.Parallel()
				b := newBench()
				w := b.addWorkload("shop", 2, bounds)
				night := nightHold(3)
				night.ID, night.Until, night.Notify = "schedule/night", nightEnd.Add(hold.WindowOverlap), []string{"oncall"}
				b.apply(t, "shop", night)
				b.mustPass(t)
				w.ready = w.replicas
				b.mustPass(t)
				b.setByPerson(w, c.person)
				w.ready = w.replicas
				b.now = b.now.Add(time.Minute)
				b.mustPass(t)
				b.now = benchStart.Add(c.comes)
				if c.comes > 8*time.Hour {
					b.release(t, "shop", "schedule/night")
					b.mustPass(t)
				}
				day := nightHold(3)
				day.ID, day.Until, day.Gates, day.Notify = "schedule/day", nightEnd.Add(8*time.Hour), c.gates, []string{"oncall"}
				b.apply(t, "shop", day)
				if c.comes == 8*time.Hour {
					b.release(t, "shop", "schedule/night")
				}
				b.restart()
				for range 3 {
					b.mustPass(t)
					b.now = b.now.Add(time.Minute)
				}
				if got := shopNumber(w); got != c.want {
					t.Errorf("%d; want %d: %+v", got, c.want, b.find("shop", "schedule/day").Status)
				}
				if h := b.find("shop", "schedule/day"); isHoldYielded(h) != (c.want == c.person) || h.Status.State == hold.RolledBack {
					t.Errorf("%+v", h.Status)
				}
				b.release(t, "shop", "schedule/day")
				b.release(t, "shop", "schedule/night")
				b.mustPass(t)
				if got := shopNumber(w); got != c.person {
					t.Errorf("after all: %d; want the person's %d", got, c.person)
				}
			})
		}
	}
}
