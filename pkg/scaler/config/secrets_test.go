package config

import (
	"strings"
	"testing"
)

// TestMisplacedSecretsAreHidden: a URL or credentials in the place of a name or an address are a fault, and never shown.
func TestMisplacedSecretsAreHidden(t *testing.T) {
	t.Parallel()
	const (
		url  = "https://hooks.slack.com/services/hunter2"
		rule = "  rules: [{name: a, namespace: shop, type: A, workloads: [{workload: deploy/web, replicas: 2}], within: 1m, "
		http = "events:\n  http: {address: ':8443', secretFiles: [/a]}\n"
	)
	for name, tc := range map[string]struct{ text, want string }{
		"a URL as a notifier":         {http + rule + "notify: ['" + url + "']}]\n", "unknown notifier a URL"},
		"a URL as a webhook":          {http + rule + "onSuccess: [{webhook: '" + url + "'}]}]\n", "webhook a URL is not in notify"},
		"a URL as a notifier's name":  {"notify: {'" + url + "': {slack: {urlFile: /a}}}\n", "notify: a URL is no name of a notifier"},
		"a URL that is listed":        {"notify: {'" + url + "': {slack: {urlFile: /a}}}\n" + http + rule + "notify: [b]}]\n", `unknown notifier "b"; the file has []`},
		"a URL as a verification":     {http + rule + "verify: '" + url + "'}]\n", "unknown verification a URL"},
		"a broker with a user":        {"events:\n  kafka: {brokers: ['u:hunter2@k:9092'], topic: s}\n", "must be HOST:PORT, not credentials"},
		"a broker's URL":              {"events:\n  kafka: {brokers: ['sasl://u:hunter2@k:9092'], topic: s}\n", "must be HOST:PORT, not a URL"},
		"a broker that is no list":    {"events:\n  kafka: {brokers: 'u:hunter2@k:9092', topic: s}\n", "must be a list, not credentials"},
		"an address with a user":      {"events:\n  http: {address: 'u:hunter2@:8443', secretFiles: [/a]}\n", "must be HOST:PORT or :PORT, not credentials"},
		"a URL behind a file's key":   {"events:\n  http: {address: ':8443', secretFiles: [/a], certFile: '" + url + "'}\n", "must be an absolute path, not a URL"},
		"a key as its file":           {"events:\n  http: {address: ':8443', secretFiles: [/a], certFile: /c, keyFile: \"-----BEGIN PRIVATE KEY-----\\nhunter2\"}\n", "keyFile: must be an absolute path, not a value that is not shown"},
		"a key as a client's file":    {"events:\n  kafka: {brokers: [k:9092], topic: s, tls: {certFile: /c, keyFile: hunter2}}\n", "keyFile: must be an absolute path, not a value that is not shown"},
		"no space after a colon":      {"events:\n  kafka: {brokers: [k:9092], topic: s, password:hunter2}\n", "events.kafka.password: write a space after the colon"},
		"no space, several notifiers": {"notify:\n  oncall: {slack: {urlFile: /a}}\n  chat: {slack: {url:" + url + "}}\n", "notify.chat.slack.url: write a space after the colon"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Load([]byte(configHeader + tc.text))
			if err == nil {
				t.Fatal("no fault")
			}
			if got := err.Error(); strings.Contains(got, "hunter2") || !strings.Contains(got, tc.want) {
				t.Errorf("got %s\nwant %s", got, tc.want)
			}
		})
	}
}
