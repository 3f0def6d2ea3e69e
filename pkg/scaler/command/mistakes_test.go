package command

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// TestD29UnreadableHold: no format hides a Hold that cannot be read, or a field of it.
func TestD29UnreadableHold(t *testing.T) {
	t.Parallel()
	a := newFakeAPI(t)
	addHeldShop(a)
	a.addHold("odd", map[string]any{"id": "set/odd", "replicas": 9, "within": "5x", "until": "2126-12-01T00:00:00Z", "paused": true, "lower": "yes"}, map[string]any{"state": "Open"})
	const why = `cannot be read, so it holds nothing: `
	for format, want := range map[string][2]string{
		"auto": {why, ""}, "text": {"Unreadable (Open)", ""}, "wide": {why, ""}, "name": {"hold.scaler.tachometer.dev/odd\n", why},
		"json": {`"within": "5x"`, why}, "yaml": {"lower: \"yes\"", why}, `jsonpath={.items[2].spec.paused} {.items[2].spec.until}`: {"true 2126-12-01T00:00:00Z", why},
	} {
		out, errs, code := a.run(t, "status", "deploy/shop", "-o", format)
		if code != ExitDone || !strings.Contains(out, want[0]) || !strings.Contains(errs, want[1]) || want[1] == "" && errs != "" || format == "json" && !json.Valid([]byte(out)) {
			t.Errorf("-o %s: exit code %d, no %q in\n%s%s", format, code, want, out, errs)
		}
	}
}

// TestD28MisspeltReasons: a name that no hold has is an error before any change, also beside names that exist.
func TestD28MisspeltReasons(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"release":           {[]string{"release", "deploy/shop", "--reason", "launch", "--reason", "lunch"}, "no hold lunch on"},
		"pause":             {[]string{"pause", "deploy/shop", "--reason", "huors", "--reason", "launch"}, "no hold huors on"},
		"approve":           {[]string{"approve", "deploy/shop", "--reason", "launch", "--reason", ""}, `no hold "" on`},
		"approve, no gate":  {[]string{"approve", "deploy/shop", "--reason", "launch", "--reason", "hours"}, "hold schedule/hours on deployment/shop in namespace sale has no gate"},
		"resume, no pause":  {[]string{"resume", "deploy/shop", "--reason", "launch"}, "is not paused: nothing to resume"},
		"of another":        {[]string{"release", "deploy/cart", "--reason", "launch"}, "no hold launch on deployment/cart"},
		"in a dry run":      {[]string{"release", "deploy/shop", "--reason", "launch", "--reason", "lunch", "--dry-run=server"}, "no hold lunch on"},
		"two slashes":       {[]string{"status", "deploy/shop/x"}, `"deploy" is not an apiVersion`},
		"a list of objects": {[]string{"pause", "deploy/shop,deploy/cart"}, `"deploy" is not an apiVersion`},
	} {
		a := newFakeAPI(t)
		addHeldShop(a)
		if _, errs, code := a.run(t, c.args...); code != ExitFailed && !strings.Contains(c.want, "apiVersion") || code == ExitDone || !strings.Contains(errs, c.want) {
			t.Errorf("%s: exit code %d: %s", name, code, errs)
		}
		if wrote := a.wrote(); len(wrote) > 0 {
			t.Errorf("%s: wrote %q", name, wrote)
		}
	}
}

// TestD26PartlyChanged: exit code 1 says that no change is left, so a command that changed one of its workloads, or of its holds, exits with 3.
func TestD26PartlyChanged(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args    []string
		forbids string
		code    int
	}{
		"pause, one missing":          {[]string{"pause", "deploy/shop", "deploy/nobody"}, "", ExitUnfinished},
		"release, one missing":        {[]string{"release", "deploy/nobody", "deploy/shop"}, "", ExitUnfinished},
		"approve, one without a gate": {[]string{"approve", "deploy", "cart", "shop"}, "", ExitUnfinished},
		"both missing":                {[]string{"pause", "deploy/nobody", "deploy/nobody2"}, "", ExitFailed},
		"a dry run":                   {[]string{"pause", "deploy/shop", "deploy/nobody", "--dry-run"}, "", ExitFailed},
		"the second hold denied":      {[]string{"pause", "deploy/shop"}, http.MethodPatch + " " + holdsPath + "/launch", ExitUnfinished},
		"all denied but the pause":    {[]string{"pause", "deploy/shop"}, http.MethodPatch + " " + holdsPath + "/hours", ExitUnfinished},
		"the pause denied":            {[]string{"pause", "deploy/shop"}, http.MethodPost + " " + holdsPath, ExitFailed},
		"the only hold denied":        {[]string{"pause", "deploy/shop", "--reason", "launch"}, http.MethodPatch + " " + holdsPath + "/launch", ExitFailed},
	} {
		a := newFakeAPI(t)
		addHeldShop(a)
		a.forbids = c.forbids
		if _, errs, code := a.run(t, c.args...); code != c.code {
			t.Errorf("%s: exit code %d, want %d: %s", name, code, c.code, errs)
		}
	}
}

// TestD26SetOfAPausedHold: a hold that is paused, and cannot be resumed, has its new number all the same.
func TestD26SetOfAPausedHold(t *testing.T) {
	t.Parallel()
	for replicas, want := range map[string]int{"7": ExitUnfinished, "3": ExitFailed} {
		a := newFakeAPI(t)
		shop := hold.Workload{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "sale", Name: "shop"}
		name := hold.ObjectName(shop, "set/launch")
		a.addHold(name, map[string]any{"id": "set/launch", "reason": "launch", "by": IdentifyCaller(), "replicas": 3, "lower": true, "within": "5m0s", "paused": true}, map[string]any{"state": "Released", "observedGeneration": 1})
		a.forbids = http.MethodPatch + " " + holdsPath + "/" + name
		if _, errs, code := a.run(t, "set", "deploy/shop", "--replicas", replicas, "--reason", "launch"); code != want {
			t.Errorf("%s replicas: exit code %d, want %d: %s; wrote %q", replicas, code, want, errs, a.wrote())
		}
	}
}

// TestVerificationFlagsOfZero: 0 is no number of requests, as in a file, and does not stand for the default. Durations may have days.
func TestVerificationFlagsOfZero(t *testing.T) {
	t.Parallel()
	a := newFakeAPI(t)
	for _, c := range []struct{ flag, want string }{
		{"--requests=0", "--requests must be above 0"}, {"--concurrency=0", "--concurrency must be above 0"}, {"--timeout=0", "--timeout must be above 0"},
		{"--success=0", "--success must be above 0"}, {"--timeout=1d", "timeout: must be from 10ms to 1m"}, {"--p99=-1s", "p99: must not be negative"}, {"--slower=0", ""}, {"--p99=0", ""}, {"--p50=1m", ""},
	} {
		_, errs, code := a.run(t, "set", "deploy/shop", "--replicas", "3", "--url", "/work", c.flag, "--dry-run")
		if (code == ExitDone) != (c.want == "") || c.want != "" && (code != ExitUsage || !strings.Contains(errs, c.want)) {
			t.Errorf("%s: exit code %d: %s", c.flag, code, errs)
		}
	}
}

// TestD28EmptyNamespace: without holds, status names the namespace that it looked at.
func TestD28EmptyNamespace(t *testing.T) {
	t.Parallel()
	a := newFakeAPI(t)
	if out, errs, code := a.run(t, "status"); code != ExitDone || out != "no holds in namespace sale\n" {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
	if out, errs, code := a.run(t, "status", "-A"); code != ExitDone || out != "no holds in any namespace\n" {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
}
