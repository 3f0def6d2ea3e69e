package config

import (
	"fmt"
	"strings"
	"testing"
)

// TestS7NotifierFault: a notifier is for the namespaces that it lists, and for those in which the configuration itself names it.
func TestS7NotifierFault(t *testing.T) {
	t.Parallel()
	load := func(text string) *Config {
		c, err := Load([]byte(configHeader + text))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := load(`notify:
  oncall: {slack: {urlFile: /slack}}
  audit: {webhook: {urlFile: /audit, namespaces: [bank]}}
schedules:
- {name: day, namespace: shop, workloads: [deploy/web], notify: [oncall], windows: [{start: "08:00", end: "22:00", minReplicas: 8}]}
`)
	next := load("notify:\n  oncall: {slack: {urlFile: /slack}}\n")
	next.InheritFrom(first)
	for _, c := range []struct {
		config              *Config
		namespace, notifier string
		want                string
	}{
		{first, "shop", "oncall", ""},
		{first, "bank", "oncall", "notifier oncall is not allowed for namespace bank"},
		{first, "bank", "audit", ""},
		{first, "shop", "audit", "notifier audit is not allowed for namespace shop"},
		{first, "shop", "nobody", "notifier nobody is not in the scaler's configuration"},
		{next, "shop", "oncall", ""}, // the end of a schedule that is taken out is told
		{next, "bank", "audit", "notifier audit is not in the scaler's configuration"},
	} {
		if got := c.config.NotifierFault(c.namespace, c.notifier); (got == "") != (c.want == "") || !strings.HasPrefix(got, c.want) {
			t.Errorf("%s in %s: %q; want %q", c.notifier, c.namespace, got, c.want)
		}
	}
}

// TestD24NamesThatNoHoldHas: what the API server would reject in every Hold of a schedule or a rule is a fault of the configuration.
func TestD24NamesThatNoHoldHas(t *testing.T) {
	t.Parallel()
	rule := func(keys string) string {
		return "events:\n  http: {address: \":8443\", secretFiles: [/hmac]}\n  rules:\n  - {name: sale, namespace: shop, type: SALE, workloads: [{workload: deploy/web, replicas: 20}], " + keys + "}\n"
	}
	var gates, names []string
	for i := range 17 {
		name := fmt.Sprintf("g%d", i)
		names = append(names, name)
		gates = append(gates, fmt.Sprintf("{name: %s, namespaces: [shop], open: [{patch: {apiVersion: v1, kind: ConfigMap, name: %s, merge: {data: {open: x}}}}]}", name, name))
	}
	section := "gates: [" + strings.Join(gates, ", ") + "]\n"
	const actions = `onSuccess: [{patch: {apiVersion: v1, kind: ConfigMap, name: x, merge: {data: {a: b}}}}], onRelease: [{patch: {apiVersion: v1, kind: ConfigMap, name: x, merge: {data: {a: c}}}}]`
	for name, c := range map[string]struct{ text, want string }{
		"a slash":             {"notify:\n  team/oncall: {slack: {urlFile: /slack}}\n", `notify: "team/oncall" is no name of a notifier`},
		"a colon":             {"notify:\n  \"slack:x\": {slack: {urlFile: /slack}}\n", "is no name of a notifier"},
		"empty":               {"notify:\n  \"\": {slack: {urlFile: /slack}}\n", "is no name of a notifier"},
		"too long":            {"notify:\n  " + strings.Repeat("a", 254) + ": {slack: {urlFile: /slack}}\n", "is no name of a notifier"},
		"seventeen notifiers": {"notify:\n  a: {slack: {urlFile: /slack}}\n" + rule("notify: ["+strings.TrimSuffix(strings.Repeat("a, ", 17), ", ")+"]"), "events.rules[0].notify: has 17 elements; the maximum of a Hold is 16"},
		"seventeen gates":     {section + rule("gates: ["+strings.Join(names, ", ")+"]"), "events.rules[0].gates: makes Holds with 17 gates"},
		"sixteen and its own": {section + rule("gates: ["+strings.Join(names[:16], ", ")+"], "+actions), "events.rules[0].gates: makes Holds with 17 gates"},
		"sixteen gates":       {section + rule("gates: ["+strings.Join(names[:16], ", ")+"]"), ""},
		"odd and valid":       {"notify:\n  on call ä: {slack: {urlFile: /slack}}\n", ""},
	} {
		_, err := Load([]byte(configHeader + c.text))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
}
