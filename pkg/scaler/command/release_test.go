package command

import (
	"slices"
	"strings"
	"testing"
	"time"

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
			chosen, err := c.chooseReleasedHolds(there, shop, time.Now())
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

// TestReleaseEndsNoPause: release --all ends the holds of now. The pauses of a workload and of a schedule stay, and release says so; a pause that --reason
// names ends, and release says that too.
func TestReleaseEndsNoPause(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args        string
		ended, said []string
	}{
		"all":          {"release deploy/shop --all", []string{"event", "set"}, []string{"pause/workload stays paused until resume", "schedule/night stays paused until resume"}},
		"own":          {"release deploy/shop", []string{"set"}, []string{"pause/workload stays paused until resume"}},
		"the pause":    {"release deploy/shop --reason pause/workload", []string{"pause"}, []string{"the pause ends with pause/workload", "schedule/night stays paused"}},
		"the schedule": {"release deploy/shop --reason schedule/night", []string{"night"}, []string{"the pause ends with schedule/night", "pause/workload stays paused"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newFakeAPI(t)
			for name, id := range map[string]string{"pause": hold.WorkloadPauseID, "night": "schedule/night", "event": "event/sale", "set": "set/alice"} {
				a.addHold(name, map[string]any{"id": id, "replicas": 6, "by": "a", "paused": id != "event/sale"}, map[string]any{"state": "Released", "observedGeneration": 1})
			}
			out, errs, code := a.run(t, append(strings.Fields(c.args), "-o", "text")...)
			var ended []string
			for _, name := range []string{"event", "night", "pause", "set"} {
				if h := a.hold(name); h == nil || h["metadata"].(map[string]any)["deletionTimestamp"] != nil {
					ended = append(ended, name)
				}
			}
			if code != ExitDone || !slices.Equal(ended, c.ended) {
				t.Errorf("exit code %d, ended %q; want %q: %s%s", code, ended, c.ended, out, errs)
			}
			for _, want := range c.said {
				if !strings.Contains(out, want) {
					t.Errorf("no %q in\n%s", want, out)
				}
			}
		})
	}
}

// TestReleaseOfPauseAlone: a workload with nothing but a pause has no hold to end, and is no failure.
func TestReleaseOfPauseAlone(t *testing.T) {
	t.Parallel()
	a := newFakeAPI(t)
	a.addHold("pause", map[string]any{"id": hold.WorkloadPauseID, "replicas": 1, "paused": true}, map[string]any{"state": "Released", "observedGeneration": 1})
	out, errs, code := a.run(t, "release", "deploy/shop", "--all", "-o", "text")
	if code != ExitDone || a.hold("pause") == nil || len(a.wrote()) > 0 || !strings.Contains(out, "stays paused until resume") {
		t.Errorf("exit code %d: %s%s %q", code, out, errs, a.wrote())
	}
}
