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
		h := &hold.Object{Spec: hold.Spec{ID: id}}
		plain, reason, all := releaseCommand{}, releaseCommand{reasons: []string{"low"}}, releaseCommand{all: true}
		if plain.endsScalerCommandHold(h) != want.plain || reason.endsScalerCommandHold(h) != want.reason || all.endsScalerCommandHold(h) != want.all {
			t.Errorf("%s: want %+v", id, want)
		}
	}
}
