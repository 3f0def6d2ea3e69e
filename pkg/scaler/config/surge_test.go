package config

import (
	"strings"
	"testing"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/surge"
)

const surgeHead = "apiVersion: config.tachometer.dev/v1alpha1\nkind: ScalerConfig\n"

// TestSurgeDocument: the examples of docs/surge.md load.
func TestSurgeDocument(t *testing.T) {
	t.Parallel()
	examples := 0
	for _, m := range yamlFencePattern.FindAllStringSubmatch(readConfigFile(t, "../../../docs/surge.md"), -1) {
		if !strings.HasPrefix(m[1], "surge:") {
			continue
		}
		examples++
		c, err := Load([]byte(surgeHead + "notify:\n  oncall: {webhook: {urlFile: /x}}\n" + m[1]))
		if err != nil {
			t.Errorf("%v in\n%s", err, m[1])
			continue
		}
		if c.Surge.ModeOrDefault() == surge.ModeOff {
			t.Errorf("the example is off:\n%s", m[1])
		}
	}
	if examples == 0 {
		t.Error("docs/surge.md has no example")
	}
}

// TestSurgeSection: the defaults, the namespaces of rules, and every fault with its place.
func TestSurgeSection(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ text, fault string }{
		{"surge: {}", ""},
		{"surge: {mode: act, budget: 6/h, autoscalers: [{namespace: shop, selector: 'app in (web, cart)', maxReplicas: 40, budget: 1/h}]}", ""},
		{"surge: {mode: dry}", "surge.mode"},
		{"surge: {budget: 3}", "surge.budget"},
		{"surge: {budget: 90/h}", "from 1/h to 60/h"},
		{"surge: {notify: [team]}", "surge.notify"},
		{"surge: {autoscalers: [{selector: app=web}]}", "surge.autoscalers[0].namespace"},
		{"surge: {autoscalers: [{namespace: shop}]}", "surge.autoscalers[0].selector"},
		{"surge: {autoscalers: [{namespace: shop, selector: '=='}]}", "is no label selector"},
		{"surge: {autoscalers: [{namespace: shop, selector: app=web, maxReplicas: 0}]}", "maxReplicas"},
		{"surge: {autoscaler: []}", "unknown key"},
	} {
		c, err := Load([]byte(surgeHead + tc.text + "\n"))
		switch {
		case tc.fault == "" && err != nil:
			t.Errorf("%s: %v", tc.text, err)
		case tc.fault != "" && (err == nil || !strings.Contains(err.Error(), tc.fault)):
			t.Errorf("%s: %v, want %q", tc.text, err, tc.fault)
		case tc.fault == "" && len(c.Surge.Autoscalers) > 0 && (len(c.Namespaces) != 1 || c.Namespaces[0] != "shop"):
			t.Errorf("%s: namespaces %v", tc.text, c.Namespaces)
		}
	}
}

// TestSurgeModeOff: a chart's values with mode: off reach the scaler as mode: false, because Helm reads YAML 1.1.
func TestSurgeModeOff(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]surge.Mode{
		"surge: {mode: off}": surge.ModeOff, "surge: {mode: 'off'}": surge.ModeOff, "surge: {mode: false}": surge.ModeOff,
		"surge: {mode: 'false'}": "", "surge: {mode: true}": "",
	} {
		c, err := Load([]byte(surgeHead + text + "\n"))
		if (err == nil) != (want != "") || (err == nil && c.Surge.ModeOrDefault() != want) {
			t.Errorf("%s: %v, want mode %q", text, err, want)
		}
	}
}
