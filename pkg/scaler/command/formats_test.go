package command

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// TestD29StatusFormats: each format shows the same holds; JSON and YAML show the objects.
func TestD29StatusFormats(t *testing.T) {
	t.Parallel()
	a := newFakeAPI(t)
	addHeldShop(a)
	a.addHold("odd", map[string]any{"replicas": 3, "by": "\x1b[31mmallory"}, map[string]any{"state": "Open", "message": "up"})
	for format, want := range map[string][]string{
		"auto": {"WORKLOAD", "deployment/shop", "schedule/hours", `\x1b[31mmallory`}, "text": {"set/launch"}, "wide": {"GATES", "sale"},
		"name": {"hold.scaler.tachometer.dev/hours\nhold.scaler.tachometer.dev/launch\nhold.scaler.tachometer.dev/odd\n"},
	} {
		out, errs, code := a.run(t, "status", "deployment.apps/shop", "-o", format)
		for _, part := range want {
			if code != ExitDone || !strings.Contains(out, part) {
				t.Errorf("-o %s: exit code %d, no %q in\n%s%s", format, code, part, out, errs)
			}
		}
	}
	for _, format := range []string{"json", "yaml"} {
		out, _, _ := a.run(t, "status", "-o", format)
		var list struct {
			Kind  string
			Items []hold.Object
		}
		if err := yaml.Unmarshal([]byte(out), &list); err != nil || list.Kind != "List" || len(list.Items) != 3 || list.Items[0].Kind != hold.Kind || list.Items[2].Status.State != hold.Open {
			t.Errorf("-o %s: %v\n%s", format, err, out)
		}
		if json.Valid([]byte(out)) != (format == "json") {
			t.Errorf("-o %s is\n%s", format, out)
		}
	}
	if _, errs, code := a.run(t, "status", "-o", "xml"); code != ExitUsage || !strings.Contains(errs, "yaml") {
		t.Errorf("exit code %d: %s", code, errs)
	}
}

// TestStatusShowsTrouble: the table names what keeps a hold from its numbers, its messages or its begin.
func TestStatusShowsTrouble(t *testing.T) {
	t.Parallel()
	a := newFakeAPI(t)
	a.addHold("unseen", map[string]any{"replicas": 3}, map[string]any{})
	condition := func(kind, message string) any {
		return map[string]any{"type": kind, "status": "False", "reason": "X", "message": message, "lastTransitionTime": "2026-01-01T00:00:00Z"}
	}
	a.addHold("denied", map[string]any{"replicas": 3}, map[string]any{"state": "Released", "conditions": []any{condition("NumbersSet", "quota says no"), condition("Notified", "slack is away")}})
	a.addHold("open", map[string]any{"replicas": 3}, map[string]any{"state": "Released", "message": "ended; gate a stays open", "conditions": []any{condition("GateShut", "gate a stays open")}})
	a.addHold("failed", map[string]any{"replicas": 3}, map[string]any{"state": "RolledBack", "message": "no room", "conditions": []any{condition("GateShut", "the gate cannot be shut")}})
	out, errs, code := a.run(t, "status", "deploy/shop")
	for _, want := range []string{"no controller has seen it", "quota says no; slack is away", "no room; the gate cannot be shut"} {
		if code != ExitDone || !strings.Contains(out, want) {
			t.Errorf("exit code %d, no %q in\n%s%s", code, want, out, errs)
		}
	}
	if strings.Count(out, "gate a stays open") != 1 {
		t.Errorf("a message twice in\n%s", out)
	}
}

// TestObjectsAreHarmlessText: no format prints a character of a Hold that a terminal obeys, and JSON and YAML still have its text.
func TestObjectsAreHarmlessText(t *testing.T) {
	t.Parallel()
	const hostile = "mallory\x1b[2J\u009b2J\u009d0;title\u009c\u202e\u2066\u2028\x7f\U000e0041 → é"
	a := newFakeAPI(t)
	a.addHold("odd", map[string]any{"replicas": 3, "by": hostile}, map[string]any{"state": "Open", "message": hostile})
	for _, format := range []string{"text", "wide", "name", "json", "yaml", "jsonpath={.items[*]}", "jsonpath={.items[*].spec.by}", "jsonpath={.items[0].spec}"} {
		out, errs, code := a.run(t, "status", "-o", format)
		if code != ExitDone || strings.ContainsAny(out+errs, "\x1b\u009b\u009d\u009c\u202e\u2066\u2028\x7f\U000e0041") || !strings.Contains(out, "odd") && !strings.Contains(out, "mallory") {
			t.Errorf("-o %s: exit code %d: %q%s", format, code, out, errs)
		}
		var list struct{ Items []hold.Object }
		decode, decodes := map[string]func([]byte) error{
			"json": func(text []byte) error { return json.Unmarshal(text, &list) }, "yaml": func(text []byte) error { return yaml.Unmarshal(text, &list) },
		}[format]
		if decodes {
			if err := decode([]byte(out)); err != nil || len(list.Items) != 1 || list.Items[0].Spec.By != hostile {
				t.Errorf("-o %s: %v in\n%s", format, err, out)
			}
		}
	}
}

// TestDryRun: a dry run stores nothing. That of the server asks it; the Hold is fit for Git.
func TestDryRun(t *testing.T) {
	t.Parallel()
	for mode, writes := range map[string]int{"client": 0, "server": 1} {
		a := newFakeAPI(t)
		addHeldShop(a)
		out, errs, code := a.run(t, "set", "deploy/shop", "--replicas", "9", "--for", "2w", "--reason", "x", "--dry-run="+mode, "-o", "yaml")
		var object hold.Object
		if err := yaml.Unmarshal([]byte(out), &object); code != ExitDone || err != nil || len(object.Finalizers) > 0 || object.Spec.Replicas != 9 || object.Kind != hold.Kind || !strings.Contains(errs, "would set 9 replicas (now 2)") {
			t.Errorf("%s: exit code %d, %v: %s%s", mode, code, err, out, errs)
		}
		if left := time.Until(object.Spec.Until.Time); left.Round(time.Hour) != 14*24*time.Hour {
			t.Errorf("%s: %s until the end", mode, left)
		}
		if _, errs, code := a.run(t, "release", "deploy/shop", "--dry-run="+mode); code != ExitDone {
			t.Errorf("%s: exit code %d: %s", mode, code, errs)
		}
		wrote := a.wrote()
		if len(wrote) != 2*writes {
			t.Errorf("%s: wrote %q", mode, wrote)
		}
		for _, r := range wrote {
			if !strings.Contains(r, "dryRun=All") {
				t.Errorf("%s: %s", mode, r)
			}
		}
	}
}

// TestD26NothingWritten: what the scaler cannot do is exit code 1, and leaves no hold.
func TestD26NothingWritten(t *testing.T) {
	t.Parallel()
	autoscaler := func(name string) map[string]any {
		return map[string]any{
			"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": map[string]any{"name": name, "namespace": "sale", "uid": name},
			"spec": map[string]any{"minReplicas": 2, "maxReplicas": 10, "scaleTargetRef": map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"}},
		}
	}
	for name, tc := range map[string]struct {
		autoscalers []string
		want        string
	}{"two autoscalers": {[]string{"a", "b"}, "2 autoscalers"}, "above the maximum": {[]string{"a"}, "at most 10 replicas"}} {
		a := newFakeAPI(t)
		for _, n := range tc.autoscalers {
			a.objects["/apis/autoscaling/v2/namespaces/sale/horizontalpodautoscalers/"+n] = autoscaler(n)
		}
		if _, errs, code := a.run(t, "set", "deploy/shop", "--replicas", "12"); code != ExitFailed || !strings.Contains(errs, tc.want) {
			t.Errorf("%s: exit code %d: %s", name, code, errs)
		}
		if wrote := a.wrote(); len(wrote) > 0 {
			t.Errorf("%s: wrote %q", name, wrote)
		}
	}
}

// TestD27NoController: a hold with an end, without a controller that ends it, comes with a warning. A controller that runs may not watch the namespace.
func TestD27NoController(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		lease  map[string]any
		adopts bool
		warns  string
	}{
		"no lease":          {nil, false, "no controller holds the Lease tachometer/tachometer-scaler"},
		"stale lease":       {map[string]any{"renewTime": "2020-01-01T00:00:00.000000Z"}, false, "no controller holds the Lease tachometer/tachometer-scaler"},
		"fresh lease":       {map[string]any{"renewTime": time.Now().Add(time.Hour).UTC().Format("2006-01-02T15:04:05.000000Z")}, true, ""},
		"another namespace": {map[string]any{"renewTime": time.Now().Add(time.Hour).UTC().Format("2006-01-02T15:04:05.000000Z")}, false, "does not act on holds in namespace sale"},
	} {
		a := newFakeAPI(t)
		a.adopts = tc.adopts
		path := "/apis/coordination.k8s.io/v1/namespaces/tachometer/leases/tachometer-scaler"
		a.objects[path] = map[string]any{"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": map[string]any{"name": "tachometer-scaler"}, "spec": tc.lease}
		if tc.lease == nil {
			delete(a.objects, path)
		}
		out, errs, code := a.run(t, "set", "deploy/shop", "--replicas", "2", "--for", "1h", "-o", "text")
		if code != ExitDone || strings.Contains(out, "nothing ends it") != (tc.warns != "") || !strings.Contains(out, tc.warns) {
			t.Errorf("%s: exit code %d: %s%s", name, code, out, errs)
		}
	}
}

// TestD22SecondPerson: two people without --reason have two holds, and a replaced hold is named.
func TestD22SecondPerson(t *testing.T) {
	t.Parallel()
	a := newFakeAPI(t)
	a.addHold("other", map[string]any{"id": "set/somebody", "replicas": 6, "by": "somebody"}, nil)
	if out, errs, code := a.run(t, "set", "deploy/shop", "--replicas", "3", "-o", "text"); code != ExitDone || strings.Contains(out, "replaced") {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
	out, errs, code := a.run(t, "set", "deploy/shop", "--replicas", "4", "-o", "text")
	if code != ExitDone || !strings.Contains(out, "replaced") || !strings.Contains(out, "for 3 replicas") {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
	if a.hold("other") == nil {
		t.Error("the other person's hold is gone")
	}
}

// TestCompletion completes workloads, names after a type, reasons and notifiers.
func TestCompletion(t *testing.T) {
	t.Parallel()
	a := newFakeAPI(t)
	addHeldShop(a)
	for _, tc := range []struct {
		args []string
		want []string
	}{
		{[]string{"set", ""}, []string{"deployment/cart", "deployment/shop"}},
		{[]string{"set", "deploy", ""}, []string{"cart", "shop"}},
		{[]string{"set", "deploy/"}, []string{"deploy/cart"}},
		{[]string{"release", ""}, []string{"deployment/shop"}},
		{[]string{"pause", "deploy/shop", "--reason", ""}, []string{"schedule/hours", "set/launch"}},
		{[]string{"set", "deploy/shop", "--notify", ""}, []string{"slack:", "teams:", "pagerduty:"}},
	} {
		out, errs, code := a.run(t, append([]string{"__complete"}, tc.args...)...)
		for _, want := range tc.want {
			if code != ExitDone || !strings.Contains("\n"+out, "\n"+want+"\n") {
				t.Errorf("%v: exit code %d, no %q in\n%s%s", tc.args, code, want, out, errs)
			}
		}
	}
	if out, _, code := a.run(t, "version", "-o", "json"); code != ExitDone || !strings.Contains(out, `"version"`) {
		t.Errorf("exit code %d: %s", code, out)
	}
}

// TestCompletionIsHarmless: whoever may create a Hold writes its ID and the name of its workload, and a shell would run a part of them.
func TestCompletionIsHarmless(t *testing.T) {
	t.Parallel()
	a := newFakeAPI(t)
	addHeldShop(a)
	for i, word := range []string{"$(touch pwned)", "`touch`", "a;b", "--now", "a b", "it's"} {
		name := fmt.Sprint("evil-", i)
		a.addHold(name, map[string]any{"id": word, "replicas": 6}, nil)
		a.hold(name)["spec"].(map[string]any)["workload"] = map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "name": word}
	}
	for want, args := range map[string][]string{"deployment/shop": {"release", ""}, "schedule/hours": {"pause", "deploy/shop", "--reason", ""}} {
		out, errs, code := a.run(t, append([]string{"__complete"}, args...)...)
		if code != ExitDone || !strings.Contains("\n"+out, "\n"+want+"\n") || strings.ContainsAny(out, "$`;' ") || strings.Contains(out, "--now") {
			t.Errorf("%v: exit code %d:\n%s%s", args, code, out, errs)
		}
	}
}

// TestParseDuration: Go's durations, and days and weeks.
func TestParseDuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "1.5h": 90 * time.Minute, "1d": 24 * time.Hour, "2w": 14 * 24 * time.Hour, "1d12h": 36 * time.Hour, "0": 0, "soon": -1, "1 day": -1,
	} {
		got, err := ParseDuration(text)
		if (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%q is %s, %v", text, got, err)
		}
	}
	for d, want := range map[time.Duration]string{0: "0", time.Minute: "1m", time.Hour: "1h", 90 * time.Minute: "1h30m", 90 * time.Second: "1m30s"} {
		if got := (*durationValue)(&d).String(); got != want {
			t.Errorf("%s is printed as %q", d, got)
		}
	}
}

// TestD32JSONPath: -o jsonpath takes kubectl's templates, for the list of status and for the Hold that a command changed.
func TestD32JSONPath(t *testing.T) {
	t.Parallel()
	a := newFakeAPI(t)
	addHeldShop(a)
	for _, tc := range []struct {
		args       []string
		want, errs string
		code       int
	}{
		{[]string{"status", "-o", "jsonpath={.items[*].spec.workload.name}"}, "shop shop", "", ExitDone},
		{[]string{"status", "deployments.v1.apps/shop", "-o", "jsonpath=.items[0].spec.replicas"}, "8", "", ExitDone},
		{[]string{"status", "-o", "jsonpath={.items[*].nothing}"}, "", "", ExitDone},
		{[]string{"status", "-o", "jsonpath={.items["}, "", "unterminated array", ExitUsage},
		{[]string{"status", "-o", "jsonpath="}, "", "needs a template", ExitUsage},
	} {
		out, errs, code := a.run(t, tc.args...)
		if out != tc.want || code != tc.code || !strings.Contains(errs, tc.errs) {
			t.Errorf("%q: exit code %d: %q, %q; want %d, %q", tc.args, code, out, errs, tc.code, tc.want)
		}
	}
}
