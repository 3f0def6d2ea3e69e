package notify

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

func decodeNotifyYAML(data string) (SenderConfig, error) {
	d := strict.NewDecoder()
	root := d.ParseDocument([]byte(data))
	if root == nil {
		return SenderConfig{}, d.Faults.Err()
	}
	c := Decode(d, "notify.oncall", root)
	return c, d.Faults.Err()
}

// writeURLFile writes the URL of a receiver to a file.
func writeURLFile(t *testing.T, url func() (string, error)) string {
	t.Helper()
	text, err := url()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestDecodedSenderSends(t *testing.T) {
	t.Parallel()
	var body []byte
	var header http.Header
	url := startMessageReceiver(t, &body, &header)
	file := writeURLFile(t, url)
	for data, want := range map[string]string{
		"slack: {urlFile: " + file + ", allowAddresses: [127.0.0.1]}":                                                               `"blocks":`,
		"webhook: {urlFile: " + file + ", allowAddresses: [127.0.0.0/8], headers: {x-team: shop}}":                                  `"hold":`,
		"webhook: {urlFile: " + file + ", allowAddresses: [127.0.0.0/8], template: '{\"text\": {{json .Outcome}}}'}":                `{"text": "failed and rolled back to 2 replicas"}`,
		"teams: {urlFile: " + file + ", allowAddresses: [127.0.0.1]}":                                                               `"AdaptiveCard"`,
		"alertmanager: {urlFile: " + file + ", allowAddresses: [127.0.0.1]}":                                                        `"alertname"`,
		"pagerduty: {urlFile: " + file + ", routingKeyFile: " + writeSecretFile(t, "R0UTE") + ", allowAddresses: ['127.0.0.1/32']}": `"routing_key":"R0UTE"`,
	} {
		c, err := decodeNotifyYAML(data)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := c.ReadURL(); err != nil || !strings.HasSuffix(got, "/hush") {
			t.Errorf("URL: %q, %v", got, err)
		}
		if err := c.NewSender(SenderOptions{}).Send(t.Context(), newTestMessage()); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(body), want) || strings.Contains(data, "x-team") != (header.Get("X-Team") == "shop") {
			t.Errorf("%s: sent %s with %v", data, body, header)
		}
	}
}

func writeSecretFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestDecodeFaults(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]string{
		"[]": "notify.oncall: must be a mapping",
		"{}": "notify.oncall: must have one of alertmanager and pagerduty and slack and teams and webhook",
		"{slack: {urlFile: /a}, webhook: {urlFile: /b}}": "notify.oncall: must have one of alertmanager and pagerduty and slack and teams and webhook",
		"slack: {}":                                                                       "notify.oncall.slack.urlFile: required",
		"slack: {urlFile: a}":                                                             "must be an absolute path",
		"slack: {urlFile: 'https://a/hush'}":                                              "must be the file that holds the URL",
		"slack: {url: 'https://a/hush', urlFile: /a}":                                     "notify.oncall.slack.url: unknown key",
		"slack: {urlFile: /a, headers: {a: b}}":                                           "unknown key",
		"webhook: {urlFile: /a, headers: {Authorization: hush}}":                          "is a secret",
		"webhook: {urlFile: /a, headers: {content-type: a}}":                              "is reserved",
		"webhook: {urlFile: /a, headers: {'a b': c}}":                                     "is not a valid header name",
		"webhook: {urlFile: /a, headers: {a: \"b\\nX: y\"}}":                              "printable characters",
		"webhook: {urlFile: /a, headers: []}":                                             "must be a mapping",
		"pagerduty: {urlFile: /a}":                                                        "notify.oncall.pagerduty.routingKeyFile: required",
		"slack: {urlFile: /a, severity: fatal}":                                           "info or warning or critical",
		"slack: {urlFile: /a, allowAddresses: [localhost]}":                               "notify.oncall.slack.allowAddresses[0]: must be an address or a network",
		"slack: {urlFile: /a, template: '{}'}":                                            "unknown key",
		"webhook: {urlFile: /a, template: '{{'}":                                          "not a template",
		"webhook: {urlFile: /a, template: '{\"a\": 1{{if eq .Kind \"Stuck\"}},{{end}}}'}": "a message of the kind Stuck: render the template: the result is not JSON",
		"webhook: {urlFile: /a, template: '{{.Nobody}}'}":                                 "can't evaluate field Nobody",
		"webhook: {urlFile: /a, template: '{\"a\": \"{{.Why}}\"}'}":                       "the result is not JSON",
		"webhook: {urlFile: /a, template: '{\"a\": {{json .Report.SummaryLine}}}'}":       "render the template",
		"slack: {urlFile: /a, kinds: [began]}":                                            "notify.oncall.slack.kinds[0]: must be started or up or paused or resumed or ended or yielded or unwatched or stuck or rolledBack",
		"slack: {urlFile: /a, kinds: [RolledBack]}":                                       "notify.oncall.slack.kinds[0]: must be started",
		"slack: {urlFile: /a, kinds: []}":                                                 "notify.oncall.slack.kinds: ",
		"slack: {urlFile: /a, kinds: up}":                                                 "notify.oncall.slack.kinds: ",
		"slack: {urlFile: /a, severity: critical, kinds: [up, yielded]}":                  "notify.oncall.slack.kinds: no message is of these kinds and of severity critical: slack sends nothing",
		"pagerduty: {routingKeyFile: /a, kinds: [started, up]}":                           "notify.oncall.pagerduty.kinds: no message is of these kinds",
		"email: {}": "unknown key",
	} {
		if _, err := decodeNotifyYAML(data); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: got %v, want %s", data, err, want)
		}
	}
}

func TestParseSender(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(file, []byte("https://a/hush"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := ParseSender("slack:"+file, SenderOptions{}); err != nil {
		t.Error(err)
	} else if _, ok := s.(*Slack); !ok {
		t.Errorf("got %T", s)
	}
	if s, err := ParseSender("webhook:"+file, SenderOptions{}); err != nil {
		t.Error(err)
	} else if _, ok := s.(*Webhook); !ok {
		t.Errorf("got %T", s)
	}
	if s, err := ParseSender("pagerduty:"+file, SenderOptions{}); err != nil {
		t.Error(err)
	} else if p, ok := s.(*PagerDuty); !ok {
		t.Errorf("got %T", s)
	} else if key, err := p.readKey(); err != nil || key != "https://a/hush" {
		t.Errorf("routing key %q, %v", key, err)
	}
	for text, want := range map[string]string{
		"":                        "webhook:FILE, where the file holds",
		"oncall":                  "webhook:FILE, where the file holds",
		"slack:":                  "webhook:FILE, where the file holds",
		"email:" + file:           "webhook:FILE, where the file holds",
		"https://a/hush":          "the URL itself is a secret",
		"slack:https://a/hush":    "the URL itself is a secret",
		"slack:" + file + "-none": "find the file with the URL",
		"pagerduty:hush":          "find the file with the routing key: no such file or directory; want",
		"slack:hooks.a/hush":      "find the file with the URL: no such file or directory; want",
		"slack:/dev/null/hush":    "find the file with the URL: not a directory; want",
		"webhook:" + os.TempDir(): "is a directory",
	} {
		if _, err := ParseSender(text, SenderOptions{}); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("slack: {urlFile: /a}")
	f.Add("webhook: {urlFile: /a, headers: {x-team: shop}}")
	f.Fuzz(func(t *testing.T, data string) {
		if c, err := decodeNotifyYAML(data); err == nil && (c.kind == "" || !filepath.IsAbs(c.urlFile)) {
			t.Errorf("took %+v", c)
		}
	})
}

func FuzzParseSender(f *testing.F) {
	f.Add("slack:/dev/null")
	f.Add("webhook:")
	f.Add("https://a/b")
	f.Fuzz(func(t *testing.T, text string) {
		if s, err := ParseSender(text, SenderOptions{}); (s == nil) == (err == nil) {
			t.Errorf("%q: %v, %v", text, s, err)
		}
	})
}
