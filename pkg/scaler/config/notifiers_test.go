package config

import (
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
