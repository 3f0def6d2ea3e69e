package command

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/rollout"
)

// TestD10ReleaseEndsOwnHolds: without flags, release ends the holds of people, and neither an event's nor a schedule's.
func TestD10ReleaseEndsOwnHolds(t *testing.T) {
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
			chosen, err := c.chooseReleasedHolds(there, shop)
			if (len(chosen) == 1) != c.want || (err != nil) != (len(c.reasons) > 0 && !c.want) {
				t.Errorf("%s: %d, %v; want %+v", id, len(chosen), err, want)
			}
		}
	}
}

// TestReleaseEndsWithTheNumbers: release waits for the original numbers, and neither for the client of a hold from Git nor for a controller that would tell
// the notifiers.
func TestReleaseEndsWithTheNumbers(t *testing.T) {
	t.Parallel()
	const past = "2026-01-01T00:00:00Z"
	owed := []any{map[string]any{"key": "k", "outcome": "Released", "text": "ended", "notifiers": []any{"oncall"}}}
	for name, c := range map[string]struct {
		args    string
		git     bool
		status  map[string]any
		outputs int // lines about the hold
	}{
		"a hold from Git that ended":       {"release --expired", true, map[string]any{"state": "Open", "observedGeneration": 1}, 1},
		"... long ago":                     {"release --expired", true, map[string]any{"state": "Released", "observedGeneration": 1}, 0},
		"an expired hold that owes a word": {"release --expired", false, map[string]any{"state": "Released", "observedGeneration": 1, "outbox": owed}, 1},
		"a hold that owes a word":          {"release deploy/shop", false, map[string]any{"state": "Released", "observedGeneration": 1, "outbox": owed}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newFakeAPI(t)
			a.addHold("shop-a", map[string]any{"id": "set/a", "replicas": 6, "by": "a", "until": past}, c.status)
			if c.git {
				delete(a.objects[holdsPath+"/shop-a"]["metadata"].(map[string]any), "labels")
			}
			out, errs, code := a.run(t, append(strings.Fields(c.args), "-o", "text")...)
			if code != ExitDone || strings.Count(out, string(hold.Released)) != c.outputs || strings.Contains(out, "still held") {
				t.Errorf("exit code %d: %s%s", code, out, errs)
			}
		})
	}
}

// TestReleaseSaysWhyTheGateIsOpen: release tells of a gate that cannot be shut yet, and of one that stays open.
func TestReleaseSaysWhyTheGateIsOpen(t *testing.T) {
	t.Parallel()
	h := &hold.Object{Status: hold.Status{State: hold.Released}}
	for status, want := range map[metav1.ConditionStatus]string{metav1.ConditionTrue: "3 replicas", metav1.ConditionFalse: "3 replicas; gate a stays open"} {
		h.Status.Conditions = []metav1.Condition{{Type: gateShutCondition, Status: status, Message: "gate a stays open"}}
		if got := describeHoldResult(h, rollout.Result{Replicas: 3}); got != want {
			t.Errorf("%s: %q", status, got)
		}
	}
}
