package command

import (
	"strings"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// addHeldShop adds a hold of a schedule, and one of a person with a gate, both given back.
func addHeldShop(a *fakeAPI) {
	a.addHold("hours", map[string]any{"id": "schedule/hours", "replicas": 8, "by": "scaler"}, map[string]any{"state": "Released", "observedGeneration": 1})
	a.addHold("launch", map[string]any{"id": "set/launch", "replicas": 6, "by": "alice", "gates": []any{"sale"}}, map[string]any{"state": "Released", "observedGeneration": 1})
}

// TestPauseAndResume: pause and resume change the holds that they name, and pause --for leaves its end in the object.
func TestPauseAndResume(t *testing.T) {
	t.Parallel()
	a := newFakeAPI(t)
	addHeldShop(a)
	spec := func(name string) map[string]any { return a.hold(name)["spec"].(map[string]any) }
	before := time.Now()
	out, errs, code := a.run(t, "pause", "deploy", "shop", "--reason", "launch", "--for", "1d", "-o", "name")
	if code != ExitDone || out != "hold.scaler.tachometer.dev/launch\n" {
		t.Fatalf("exit code %d: %s%s", code, out, errs)
	}
	end, _ := spec("launch")["pausedUntil"].(string)
	until, err := time.Parse(time.RFC3339, end)
	if err != nil || until.Sub(before).Round(time.Hour) != 24*time.Hour || spec("launch")["paused"] != true || spec("hours")["paused"] != nil {
		t.Errorf("%v: %v and %v", err, spec("launch"), spec("hours"))
	}
	if out, errs, code = a.run(t, "pause", "deploy/shop", "-o", "text"); code != ExitDone || strings.Count(out, "paused") != 3 || !strings.Contains(out, "pause/workload") {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
	if spec("launch")["pausedUntil"] != nil || spec("hours")["paused"] != true {
		t.Errorf("%v and %v", spec("launch"), spec("hours"))
	}
	if out, _, _ = a.run(t, "status", "deploy/shop"); strings.Count(out, "Paused (Released)") != 2 || !strings.Contains(out, "resume") {
		t.Errorf("status:\n%s", out)
	}
	for _, name := range []string{"resumed", "resumed by a dry run"} {
		args := []string{"resume", "deploy/shop", "--reason", "launch", "-o", "text"}
		if name != "resumed" {
			args = []string{"resume", "deploy/shop", "--dry-run=server", "-o", "text"}
		}
		if out, errs, code = a.run(t, args...); code != ExitDone || !strings.Contains(out, "resumed") {
			t.Errorf("%s: exit code %d: %s%s", name, code, out, errs)
		}
	}
	if spec("launch")["paused"] != nil || spec("hours")["paused"] != true {
		t.Errorf("%v and %v", spec("launch"), spec("hours"))
	}
	if _, errs, code = a.run(t, "resume", "deploy/cart"); code != ExitFailed || !strings.Contains(errs, "no paused hold on") {
		t.Errorf("exit code %d: %s", code, errs)
	}
	if out, errs, code = a.run(t, "pause", "deploy/cart", "--dry-run", "-o", "text"); code != ExitDone || !strings.Contains(out, "pause/workload until it is resumed (dry run)") {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
	if out, errs, code = a.run(t, "pause", "deploy/cart", "--for", "1h", "-o", "text"); code != ExitDone || !strings.Contains(out, "pause/workload until ") {
		t.Errorf("a workload without holds: exit code %d: %s%s", code, out, errs)
	}
	if out, _, _ = a.run(t, "status", "deploy/cart"); strings.Count(out, "pause/workload") != 1 || !strings.Contains(out, "Paused (-)") {
		t.Errorf("status:\n%s", out)
	}
	if _, errs, code = a.run(t, "pause", "deploy/carts"); code != ExitFailed {
		t.Errorf("a misspelt name: exit code %d: %s", code, errs)
	}
	if _, errs, code = a.run(t, "pause", "deploy/shop", "--reason", "none"); code != ExitFailed || !strings.Contains(errs, "no hold none on") {
		t.Errorf("exit code %d: %s", code, errs)
	}
	if _, errs, code = a.run(t, "pause", "deploy/shop", "--for", "-5m"); code != ExitUsage {
		t.Errorf("exit code %d: %s", code, errs)
	}
}

// TestD22SecondPause: a pause that replaces another one names the end of that one, so that nobody shortens it unaware.
func TestD22SecondPause(t *testing.T) {
	t.Parallel()
	a := newFakeAPI(t)
	a.adopts = true
	addHeldShop(a)
	for _, c := range []struct{ args, want string }{{"--for 1h", ""}, {"", "a pause until 20"}, {"", ""}, {"--for 2h --dry-run", "a pause until resume (dry run)"}, {"--for 2h", "a pause until resume"}} {
		out, errs, code := a.run(t, append([]string{"pause", "deploy/shop", "-o", "text"}, strings.Fields(c.args)...)...)
		if code != ExitDone || strings.Contains(out, "a pause until") != (c.want != "") || !strings.Contains(out, c.want) {
			t.Errorf("%q: exit code %d; want %q: %s%s", c.args, code, c.want, out, errs)
		}
	}
}

// TestD27PauseWithoutController: a pause with an end says that nothing ends it if no controller runs.
func TestD27PauseWithoutController(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]bool{"": false, "--for 1h": true, "--for 1h --dry-run": false} {
		a := newFakeAPI(t)
		addHeldShop(a)
		out, errs, code := a.run(t, append([]string{"pause", "deploy/shop", "-o", "text"}, strings.Fields(args)...)...)
		if code != ExitDone || strings.Contains(out, "nothing ends the pause at its end: run `scaler resume` then") != want {
			t.Errorf("%q: exit code %d: %s%s", args, code, out, errs)
		}
	}
}

// TestApprove: an approval is for the holds with a gate, and the API server must know the field.
func TestApprove(t *testing.T) {
	t.Parallel()
	a := newFakeAPI(t)
	addHeldShop(a)
	out, errs, code := a.run(t, "approve", "deploy/shop", "-o", "text")
	if code != ExitDone || !strings.Contains(out, "set/launch") || strings.Contains(out, "schedule/hours") {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
	if a.hold("launch")["spec"].(map[string]any)["approved"] != true {
		t.Errorf("%v", a.hold("launch"))
	}
	if wrote := a.wrote(); len(wrote) != 1 || !strings.Contains(wrote[0], "fieldValidation=Strict") {
		t.Errorf("wrote %q", wrote)
	}
	if _, errs, code := a.run(t, "approve", "deploy/cart"); code != ExitFailed || !strings.Contains(errs, "nothing to approve") {
		t.Errorf("exit code %d: %s", code, errs)
	}
}

// TestApproveTooLate: an approval of a gate that is open, or can no longer open, is an error that changes nothing.
func TestApproveTooLate(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		until  string
		status map[string]any
		code   int
	}{
		"waits":               {"2126-01-01T00:00:00Z", map[string]any{"state": "Verified", "observedGeneration": 1}, ExitDone},
		"failed, tried again": {"", map[string]any{"state": "RolledBack", "observedGeneration": 1, "retryAt": "2126-01-01T00:00:00.000000Z"}, ExitDone},
		"open, changed":       {"", map[string]any{"state": "Open", "observedGeneration": 0}, ExitDone},
		"open":                {"", map[string]any{"state": "Open", "observedGeneration": 1}, ExitFailed},
		"failed":              {"", map[string]any{"state": "RolledBack", "observedGeneration": 1}, ExitFailed},
		"over":                {"2026-01-01T00:00:00Z", map[string]any{"state": "Released", "observedGeneration": 1}, ExitFailed},
	} {
		a := newFakeAPI(t)
		spec := map[string]any{"id": "launch", "replicas": 6, "by": "git", "gates": []any{"sale"}}
		if c.until != "" {
			spec["until"] = c.until
		}
		a.addHold("launch", spec, c.status)
		out, errs, code := a.run(t, "approve", "deploy/shop", "-o", "text")
		if code != c.code || code != ExitDone && (!strings.Contains(errs, "nothing to approve") || len(a.wrote()) > 0) {
			t.Errorf("%s: exit code %d: %s%s", name, code, out, errs)
		}
	}
}

// TestResumeAfterTheEnd: a hold from Git whose end passed during its pause stays over: there is nothing to wait for.
func TestResumeAfterTheEnd(t *testing.T) {
	t.Parallel()
	a := newFakeAPI(t)
	spec := map[string]any{"id": "git", "replicas": 6, "by": "git", "paused": true, "until": "2026-01-01T00:00:00Z"}
	a.addHold("git", spec, map[string]any{"state": "Released", "observedGeneration": 1})
	delete(a.objects[holdsPath+"/git"]["metadata"].(map[string]any), "labels")
	if out, errs, code := a.run(t, "resume", "deploy/shop", "-o", "text"); code != ExitDone || a.hold("git")["spec"].(map[string]any)["paused"] != nil {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
}

// TestPauseIsAPersons: pause and resume take the mark of the configuration's pause away, and an approval takes no annotation.
func TestPauseIsAPersons(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"pause", "deploy/shop"}, {"pause", "deploy/shop", "--for", "1h"}, {"resume", "deploy/shop"}, {"approve", "deploy/shop"}} {
		a := newFakeAPI(t)
		a.addHold("launch", map[string]any{"id": "set/launch", "replicas": 6, "by": "alice", "gates": []any{"sale"}, "paused": true}, map[string]any{"state": "Released", "observedGeneration": 1})
		meta := a.objects[holdsPath+"/launch"]["metadata"].(map[string]any)
		meta["annotations"] = map[string]any{"team": "web", hold.PausedByOwnerAnnotation: "true"}
		if _, errs, code := a.run(t, args...); code != ExitDone {
			t.Fatalf("%v: exit code %d: %s", args, code, errs)
		}
		got, _ := a.hold("launch")["metadata"].(map[string]any)["annotations"].(map[string]any)
		if marked := got[hold.PausedByOwnerAnnotation] != nil; got["team"] != "web" || marked != (args[0] == "approve") {
			t.Errorf("%v: %v", args, got)
		}
	}
}

// TestApproveOfOneRequest: an approval is of the request that the command read. The scaler's writes of the status delay it, and a changed request rejects it.
func TestApproveOfOneRequest(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change   func(h map[string]any)
		approved bool
		errs     string
	}{
		"nothing":  {func(map[string]any) {}, true, ""},
		"a status": {func(h map[string]any) { h["status"] = map[string]any{"state": "Verified", "observedGeneration": 1} }, true, ""},
		"a request": {func(h map[string]any) {
			h["spec"].(map[string]any)["replicas"] = 500
			h["metadata"].(map[string]any)["generation"] = 2
		}, false, "look at its status, and try again"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newFakeAPI(t)
			a.addHold("sale", map[string]any{"id": "event/sale", "replicas": 5, "gates": []any{"checkout"}}, map[string]any{"state": "Verified", "observedGeneration": 1})
			a.onPatch = func(h map[string]any) {
				a.onPatch = nil
				c.change(h)
				if name != "nothing" {
					h["metadata"].(map[string]any)["resourceVersion"] = "2"
				}
			}
			_, errs, code := a.run(t, "approve", "deploy/shop")
			want := ExitFailed // nothing was written
			if c.approved {
				want = ExitDone
			}
			if approved := a.hold("sale")["spec"].(map[string]any)["approved"] == true; approved != c.approved || code != want || !strings.Contains(errs, c.errs) || strings.Contains(errs, "may exist") {
				t.Errorf("approved %v, exit code %d: %s", approved, code, errs)
			}
		})
	}
}
