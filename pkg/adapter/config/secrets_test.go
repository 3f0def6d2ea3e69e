package config

import (
	"strings"
	"testing"
)

// TestFaultsShowNoSecret: a slip in credentials is a fault that names the key, and never shows the value.
func TestFaultsShowNoSecret(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ backend, want string }{
		"credentials in place of a mapping": {"http: {basic_auth: hunter2}", "basic_auth has a value of another type"},
		"a header in place of a mapping":    {"http: {http_headers: {X-K: hunter2}}", "X-K has a value of another type"},
		"the way out for a header":          {"http:\n    http_headers:\n      X-K: hunter2", "so it is not shown); a header is {values: [TEXT]}, or {files: [PATH]}"},
		"a list of credentials":             {"http: {basic_auth: [hunter2]}", "basic_auth"},
		"a list in place of a mapping":      {"http: {authorization: [hunter2]}", "has a value of another type"},
		"a password without its key":        {"http: {basic_auth: {password hunter2: }}", "is not as Prometheus's http_config"},
		"a password as a key":               {"http: {basic_auth: {hunter2: }}", "is not as Prometheus's http_config"},
		"a proxy":                           {"http: {proxy_url: 'http://u:hunter2@ %zz'}", "has an invalid URL"},
		"a proxy's port":                    {"http: {proxy_url: 'http://u:hunter2'}", "has an invalid URL"},
		"a token's URL":                     {"http: {oauth2: {client_id: a, client_secret: b, token_url: 'http://hunter2:%zz'}}", ""},
		"a version of TLS":                  {"http: {tls_config: {min_version: hunter2}}", "has an invalid value"},
		"a block of text":                   {"http:\n    tls_config: |\n      hunter2", "tls_config has a value of another type"},
		"no space after a colon":            {"http: {basic_auth: {username: u, password:hunter2}}", "write a space after the colon of password"},
		"no space, twice":                   {"http: {basic_auth: {username:hunter2, password:hunter2}}", "write a space after the colon of"},
		"no space, of a backend":            {"password:hunter2: a", "backends[0].password: write a space after the colon"},
		"text":                              {"http: hunter2", "is not as Prometheus's http_config"},
		"failover as text":                  {"failover: http://u:hunter2@h", "failover: must be a list, not a URL"},
		"a URL with a user":                 {"url: http://u:hunter2@h", "must not contain credentials"},
		"a URL as a name":                   {"name: http://u:hunter2@h", "a URL is not a backend name"},
		"a URL in a rule":                   {"name: b}\nrules: [{metric: m, query: up, backend: 'http://u:hunter2@h'}]\nx: {y: ", "no backend has the name"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := "apiVersion: config.tachometer.dev/v1alpha1\nkind: AdapterConfig\nbackends:\n- name: a\n  url: http://a\n  " + tc.backend + "\n"
			switch {
			case strings.HasPrefix(tc.backend, "url:"):
				text = strings.Replace(text, "url: http://a\n  ", "", 1)
			case strings.HasPrefix(tc.backend, "name: b}"):
				text = "apiVersion: config.tachometer.dev/v1alpha1\nkind: AdapterConfig\nrules: [{metric: m, query: up, backend: 'http://u:hunter2@h'}]\n"
			case strings.HasPrefix(tc.backend, "name:"):
				text = strings.Replace(text, "name: a\n  ", "", 1)
			}
			_, err := Load([]byte(text))
			if err == nil {
				if tc.want != "" {
					t.Fatal("no fault")
				}
				return
			}
			if got := err.Error(); strings.Contains(got, "hunter2") || !strings.Contains(got, tc.want) {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
}
