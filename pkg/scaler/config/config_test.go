package config

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/webhook"
)

const configHeader = "apiVersion: config.tachometer.dev/v1alpha1\nkind: ScalerConfig\n"

func readConfigFile(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestShipped checks that the shipped configuration is valid, and that it has the namespaces of its workloads.
func TestShipped(t *testing.T) {
	t.Parallel()
	c, err := Load([]byte(readConfigFile(t, "../../../manifests/scaler/config.yaml")))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"tachometer-sample"}, c.Namespaces); diff != "" {
		t.Errorf("namespaces (-want +got):\n%s", diff)
	}
	if len(c.Schedules) != 1 || c.Schedules[0].Verify != "work" || c.Verifications["work"].Requests != 20 {
		t.Errorf("%+v", c)
	}
}

// TestExamples checks that every example is a valid configuration whose notes are none.
func TestExamples(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../../manifests/scaler/examples/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	for _, file := range append(files, "../../../manifests/examples/schedule-config.yaml") {
		if c, err := Load([]byte(readConfigFile(t, file))); err != nil || len(c.Notes()) != 0 || len(c.Events.Rules)+len(c.Schedules) == 0 {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// TestWebhookClient checks that actions reach the addresses that a notifier lists, and no other addresses of this machine.
func TestWebhookClient(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	url := func() (string, error) { return server.URL, nil }
	for list, want := range map[string]bool{"": false, ", allowAddresses: [127.0.0.1]": true} {
		c, err := Load([]byte(configHeader + "notify: {open: {webhook: {urlFile: /url" + list + "}}}\n"))
		if err != nil {
			t.Fatal(err)
		}
		if err := webhook.Post(t.Context(), c.WebhookClient(), url, nil, []byte("{}")); (err == nil) != want {
			t.Errorf("%q: %v; want reached %t", list, err, want)
		}
	}
}

// TestSucceed checks that a configuration keeps the namespaces and kinds of the configurations before it.
func TestSucceed(t *testing.T) {
	t.Parallel()
	load := func(namespace, target string) *Config {
		c, err := Load([]byte(configHeader + "schedules: [{name: a, namespace: " + namespace + ", workloads: [" + target +
			"], windows: [{start: \"08:00\", end: \"22:00\", minReplicas: 2}]}]\n"))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first, second, third := load("shop", "argoproj.io/v1alpha1/Rollout/web"), load("bank", "deploy/web"), load("bank", "deploy/web")
	second.InheritFrom(first)
	third.InheritFrom(second)
	if diff := cmp.Diff([]string{"bank", "shop"}, third.Namespaces); diff != "" {
		t.Errorf("namespaces (-want +got):\n%s", diff)
	}
}

var (
	yamlFencePattern = regexp.MustCompile("(?s)```yaml\n(.*?)```")
	// aloneFencePattern matches an example that is a configuration of its own, beside the others of its document.
	aloneFencePattern = regexp.MustCompile("(?s)```yaml alone\n(.*?)```")
)

// TestDocumented checks that the examples of each document together are a valid configuration.
func TestDocumented(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct{ rules, schedules, gates, notifiers, alone int }{
		"scaler.md":           {rules: 1, schedules: 1, notifiers: 1},
		"scaler-reference.md": {rules: 1, schedules: 1, gates: 1, notifiers: 3, alone: 1},
	} {
		document, text := readConfigFile(t, "../../../docs/"+name), configHeader
		for _, m := range yamlFencePattern.FindAllStringSubmatch(document, -1) {
			text += m[1]
		}
		c, err := Load([]byte(text))
		if err != nil {
			t.Errorf("docs/%s: %v", name, err)
			continue
		}
		if len(c.Events.Rules) != want.rules || len(c.Schedules) != want.schedules || len(c.NamedGates) != want.gates ||
			len(c.Notify) != want.notifiers || len(c.NewSenders()) != want.notifiers || len(c.WebhookURLs()) != want.notifiers {
			t.Errorf("docs/%s: %+v; want %+v", name, c, want)
		}
		alone := aloneFencePattern.FindAllStringSubmatch(document, -1)
		if len(alone) != want.alone {
			t.Errorf("docs/%s has %d examples that stand alone; want %d", name, len(alone), want.alone)
		}
		for _, m := range alone {
			if _, err := Load([]byte(configHeader + m[1])); err != nil {
				t.Errorf("docs/%s: %v in\n%s", name, err, m[1])
			}
		}
	}
}

// TestShippedWithEvents checks that the shipped configuration is still valid with its commented events.
func TestShippedWithEvents(t *testing.T) {
	t.Parallel()
	shipped := readConfigFile(t, "../../../manifests/scaler/config.yaml")
	at := strings.Index(shipped, "# events:")
	if at < 0 {
		t.Fatal("the shipped configuration has no commented events")
	}
	if _, err := Load([]byte(shipped[:at] + strings.ReplaceAll(shipped[at:], "# ", ""))); err != nil {
		t.Errorf("manifests/scaler/config.yaml with its events: %v", err)
	}
}

// TestFaults checks that the error has every fault with its place.
func TestFaults(t *testing.T) {
	t.Parallel()
	_, err := Load([]byte(configHeader + `notify:
  oncall: {slack: {urlFile: relative}}
schedules:
- name: day
  namespace: shop
  workloads: [deploy/web]
  verify: nothing
  notify: [nobody]
  windows: [{start: "08:00", end: "22:00", minReplicas: 8}]
events:
  http: {address: ":8443", secretFiles: [/hmac]}
  rules:
  - name: sale
    namespace: shop
    type: START
    workloads: [{workload: deploy/web, replicas: 20}]
    verify: nothing
    onSuccess: [{webhook: nobody}]
surprise: 1
`))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"line 4: notify.oncall.slack.urlFile", "schedules[0].verify", "schedules[0].notify", "events.rules[0].verify", `webhook "nobody"`, "surprise: unknown key",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(configHeader))
	f.Add([]byte(configHeader + "verifications:\n  a: {url: /work}\nschedules: []\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := Load(data); (c == nil) == (err == nil) {
			t.Errorf("%v, %v", c, err)
		}
	})
}

// TestFaultsShowNoSecret: a secret in the place of its file, or of a mapping, is a fault without the secret.
func TestFaultsShowNoSecret(t *testing.T) {
	t.Parallel()
	const rules = "\n  rules: [{name: sale, namespace: shop, type: START, workloads: [{workload: deploy/web, replicas: 2}]}]\n"
	kafka := func(sasl string) string {
		return "events:\n  kafka: {brokers: ['a:9092'], topic: t, tls: {}, sasl: " + sasl + "}" + rules
	}
	for name, text := range map[string]string{
		"a notifier":                 "notify: {team: hunter2}\n",
		"a kind":                     "notify: {team: {slack: hunter2}}\n",
		"a list":                     "notify: {team: {slack: [hunter2]}}\n",
		"a URL without its scheme":   "notify: {team: {slack: {urlFile: hooks.example.com/hunter2}}}\n",
		"a routing key":              "notify: {team: {pagerduty: {routingKeyFile: hunter2}}}\n",
		"headers":                    "notify: {team: {webhook: {urlFile: /a, headers: hunter2}}}\n",
		"a header":                   "notify: {team: {webhook: {urlFile: /a, headers: {'hunter2 x': y}}}}\n",
		"credentials":                kafka("hunter2"),
		"a password":                 kafka("{mechanism: SCRAM-SHA-512, usernameFile: /a, passwordFile: hunter2}"),
		"a password without its key": kafka("{mechanism: SCRAM-SHA-512, usernameFile: /a, hunter2: }"),
		"a password as an alias":     kafka("{mechanism: SCRAM-SHA-512, usernameFile: /a, passwordFile: *hunter2}"),
		"a shared secret":            "events:\n  http: {address: ':8443', secretFiles: hunter2}" + rules,
		"shared secrets":             "events:\n  http: {address: ':8443', secretFiles: [/a, hunter2]}" + rules,
	} {
		_, err := Load([]byte(configHeader + text))
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
