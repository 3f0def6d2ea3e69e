package command

import (
	"testing"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// TestReleaseEndsOwnHolds: without flags, release ends the holds of people, and neither an event's nor a schedule's.
func TestReleaseEndsOwnHolds(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]struct{ plain, reason, all bool }{
		"set/alice":             {true, false, true},
		"set/low":               {true, true, true},
		"event/flash-sale":      {false, false, true},
		"schedule/office-hours": {false, false, true},
	} {
		shop := hold.Workload{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "sale", Name: "shop"}
		there := []hold.Object{*hold.NewObject(shop, hold.Hold{ID: id}, "")}
		for _, c := range []struct {
			releaseCommand

			want bool
		}{{releaseCommand{}, want.plain}, {releaseCommand{reasons: []string{"low"}}, want.reason}, {releaseCommand{all: true}, want.all}} {
			chosen, err := c.chooseScalerReleasedHolds(there, shop)
			if (len(chosen) == 1) != c.want || (err != nil) != (len(c.reasons) > 0 && !c.want) {
				t.Errorf("%s: %d, %v; want %+v", id, len(chosen), err, want)
			}
		}
	}
}
