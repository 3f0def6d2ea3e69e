package config

import (
	"strings"
	"testing"
)

// twoRulesConfig returns a configuration with two rules that open gates, the second in a namespace.
func twoRulesConfig(namespace, open, shut string) string {
	return configHeader + `events:
  http: {address: ":8443", secretFiles: [/hmac]}
  rules:
  - name: sale
    namespace: shop
    type: SALE
    maxFor: 1h
    workloads: [{workload: deploy/web, replicas: 20}]
    onSuccess: [{patch: {apiVersion: v1, kind: ConfigMap, namespace: edge, name: cdn, merge: {data: {open: "true"}}}}]
    onRelease: [{patch: {apiVersion: v1, kind: ConfigMap, namespace: edge, name: cdn, merge: {data: {open: "false"}}}}]
  - name: vip
    namespace: ` + namespace + `
    type: VIP
    maxFor: 1h
    workloads: [{workload: deploy/cart, replicas: 20}]
    onSuccess: [{patch: {apiVersion: v1, kind: ConfigMap, namespace: edge, name: cdn, merge: ` + open + `}}]
    onRelease: [{patch: {apiVersion: v1, kind: ConfigMap, namespace: edge, name: cdn, merge: ` + shut + `}}]
`
}

// TestD3RulesWithOnePlace: two rules may have the same gate, or different places. A configuration in which one gate would shut the other's place is
// rejected.
func TestD3RulesWithOnePlace(t *testing.T) {
	t.Parallel()
	const want = "events.rules[1].onSuccess: changes ConfigMap edge/cdn at /data/open, as events.rules[0].onSuccess does in another way or for another namespace"
	for text, fault := range map[string]string{
		twoRulesConfig("shop", `{data: {open: "true"}}`, `{data: {open: "false"}}`): "",
		twoRulesConfig("shop", `{data: {vip: "true"}}`, `{data: {vip: "false"}}`):   "",
		twoRulesConfig("bank", `{data: {vip: "true"}}`, `{data: {vip: "false"}}`):   "",
		twoRulesConfig("shop", `{data: {open: "vip"}}`, `{data: {open: "false"}}`):  want,
		twoRulesConfig("shop", `{data: {vip: "true"}}`, `{data: {open: "false"}}`):  want,
		twoRulesConfig("bank", `{data: {open: "true"}}`, `{data: {open: "false"}}`): want,
		twoRulesConfig("shop", `{data: {a: b}}`, `{data: {a: c}}`) + // a gate of the section gates counts too
			"gates: [{name: cdn, namespaces: [shop], open: [{patch: {apiVersion: v1, kind: ConfigMap, namespace: edge, name: cdn, merge: {data: {open: x}}}}]}]\n": "events.rules[0].onSuccess: changes ConfigMap edge/cdn at /data/open, as gates.cdn does",
	} {
		_, err := Load([]byte(text))
		if fault == "" && err != nil || fault != "" && (err == nil || !strings.Contains(err.Error(), fault)) {
			t.Errorf("%v; want %q of\n%s", err, fault, text)
		}
	}
}

// TestD3GatesWithOneWebhook: a configuration is rejected in which one gate would call the webhook of another, or change its cluster-scoped object.
func TestD3GatesWithOneWebhook(t *testing.T) {
	t.Parallel()
	const notifiers = "notify:\n  cdn: {webhook: {urlFile: /secrets/cdn}}\n  edge: {webhook: {urlFile: /secrets/cdn}}\n  own: {webhook: {urlFile: /secrets/own}}\ngates:\n"
	const class = "open: [{patch: {apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, name: cdn, merge: {spec: {description: sale}}}}]}\n"
	for text, fault := range map[string]string{
		"- {name: a, namespaces: [shop], open: [{webhook: cdn}], shut: [{webhook: cdn}]}\n- {name: b, namespaces: [shop], open: [{webhook: cdn}], shut: [{webhook: cdn}]}\n":  "",
		"- {name: a, namespaces: [shop], open: [{webhook: cdn}], shut: [{webhook: cdn}]}\n- {name: b, namespaces: [cart], open: [{webhook: own}], shut: [{webhook: own}]}\n":  "",
		"- {name: a, namespaces: [shop], open: [{webhook: cdn}], shut: [{webhook: cdn}]}\n- {name: b, namespaces: [cart], open: [{webhook: cdn}], shut: [{webhook: cdn}]}\n":  "gates.b: calls webhook cdn, as gates.a does in another way or for another namespace",
		"- {name: a, namespaces: [shop], open: [{webhook: cdn}], shut: [{webhook: own}]}\n- {name: b, namespaces: [shop], open: [{webhook: edge}], shut: [{webhook: cdn}]}\n": "gates.b: calls webhook edge, as gates.a does in another way or for another namespace",
		"- {name: a, namespaces: [shop, cart], open: [{webhook: cdn}], shut: [{webhook: cdn}]}\n":                                                                             "gates.a: calls webhook cdn for the holds of several namespaces",
		"- {name: a, namespaces: [shop], " + class + "- {name: b, namespaces: [shop], " + class:                                                                               "",
		"- {name: a, namespaces: [shop], " + class + "- {name: b, namespaces: [cart], " + class:                                                                               "gates.b: changes GatewayClass cdn at /spec/description, as gates.a does",
		"- {name: a, namespaces: [shop, cart], " + class: "gates.a: changes GatewayClass cdn at /spec/description for the holds of several namespaces",
	} {
		_, err := Load([]byte(configHeader + notifiers + text))
		if fault == "" && err != nil || fault != "" && (err == nil || !strings.Contains(err.Error(), fault)) {
			t.Errorf("%v; want %q of\n%s", err, fault, text)
		}
	}
}

// TestScheduleGates: a schedule names gates of the section gates, for its namespace, and has no ramp: a gate would open after the first step.
func TestScheduleGates(t *testing.T) {
	t.Parallel()
	const gates = "gates: [{name: cdn, namespaces: [shop], open: [{patch: {apiVersion: v1, kind: ConfigMap, name: cdn, merge: {data: {open: x}}}}]}]\n"
	schedule := func(namespace, gates, window string) string {
		return "schedules: [{name: sale, namespace: " + namespace + ", workloads: [deploy/web], gates: [" + gates + "], windows: [{start: \"08:00\", end: \"22:00\", minReplicas: 8" + window + "}]}]\n"
	}
	for text, fault := range map[string]string{
		schedule("shop", "cdn", ""):                              "",
		schedule("shop", "", ", ramp: {over: 10m, steps: 4}"):    "",
		schedule("shop", "cnd", ""):                              `schedules[0].gates: unknown gate "cnd"; the file has [cdn]`,
		schedule("bank", "cdn", ""):                              "schedules[0].gates: gate cdn is not for namespace bank",
		schedule("shop", "cdn", ", ramp: {over: 10m, steps: 4}"): "schedules[0].windows[0].ramp: would open gates after its first step: name them in a schedule without a ramp",
		schedule("shop", strings.Repeat("cdn, ", 17), ""):        "schedules[0].gates: has 17 elements; the maximum of a Hold is 16",
	} {
		c, err := Load([]byte(configHeader + gates + text))
		if fault == "" && err != nil || fault != "" && (err == nil || !strings.Contains(err.Error(), fault)) {
			t.Errorf("%v; want %q of\n%s", err, fault, text)
		}
		if err == nil && len(c.Schedules[0].Gates) != strings.Count(text, "gates: [cdn]") {
			t.Errorf("gates %v of\n%s", c.Schedules[0].Gates, text)
		}
	}
}
