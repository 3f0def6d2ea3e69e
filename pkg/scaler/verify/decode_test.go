package verify

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// decodeSpecYAML decodes a file with a verification.
func decodeSpecYAML(text string) (Spec, error) {
	d := strict.NewDecoder()
	n := d.ParseDocument([]byte(text))
	if n == nil {
		return Spec{}, d.Faults.Err()
	}
	s := Decode(d, "work", n)
	return s, d.Faults.Err()
}

const completeSpecYAML = `url: /work?ms=1
requests: 20
concurrency: 2
timeout: 1s
success: 1
p50: 100ms
p95: 200ms
p99: 250ms
slower: 2
within: 10m
`

func TestDecode(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Spec{
		completeSpecYAML: {
			URL: "/work?ms=1", Requests: 20, Concurrency: 2, Timeout: specDuration(time.Second), Success: 1,
			P50: specDuration(100 * time.Millisecond), P95: specDuration(200 * time.Millisecond), P99: specDuration(250 * time.Millisecond), Slower: 2, Within: specDuration(10 * time.Minute),
		},
		"{}":                       {Requests: 100, Concurrency: 5, Timeout: specDuration(2 * time.Second), Success: 0.99},
		"url: https://shop:8443/x": {URL: "https://shop:8443/x", Requests: 100, Concurrency: 5, Timeout: specDuration(2 * time.Second), Success: 0.99},
		"requests: 3":              {Requests: 3, Concurrency: 3, Timeout: specDuration(2 * time.Second), Success: 0.99},
	} {
		got, err := decodeSpecYAML(text)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", text, err, diff)
		}
	}
}

func TestDecodeFaults(t *testing.T) {
	t.Parallel()
	const unfounded = "needs url: it limits the latency of these requests"
	for text, want := range map[string]string{
		"- x":                          "line 1: work: must be a mapping of keys to values, not a list",
		"url: work":                    `line 1: work.url: must be a path that begins with /, or an http or https URL, not "work"`,
		"url: //host/x":                `line 1: work.url: must be a path that begins with /, or an http or https URL, not "//host/x"`,
		"url: ftp://host/x":            `line 1: work.url: must be a path that begins with /, or an http or https URL, not "ftp://host/x"`,
		"url: http://u:secret@host/":   "line 1: work.url: must not have a user or a password: it is stored in annotations and shown in reports",
		"url: /x#y":                    "line 1: work.url: must not have a fragment, which is never sent",
		`url: "/%zz"`:                  "line 1: work.url: is not a valid URL",
		"requests: 0":                  "line 1: work.requests: must be from 1 to 10000, not 0",
		"concurrency: 101":             "line 1: work.concurrency: must be from 1 to 100, not 101",
		"timeout: 2":                   "line 1: work.timeout: must be a duration such as 2s, 500ms or 1m30s; 2 has no unit",
		"timeout: 1ms":                 "line 1: work.timeout: must be from 10ms to 1m, not 1ms",
		"success: 99":                  "line 1: work.success: must be above 0 and at most 1, a share, not 99",
		"success: 0":                   "line 1: work.success: must be above 0 and at most 1, a share, not 0",
		"{url: /, slower: 0.5}":        "line 1: work.slower: must be 0, or from 1 to 1000 times, not 0.5",
		"slower: 2":                    "line 1: work.slower: " + unfounded,
		"p95: 1s":                      "line 1: work.p95: " + unfounded,
		"{url: /, p50: 2s, p99: 1s}":   "line 1: work.p99: 1s is below p50, 2s",
		"{url: /, p95: 2s, maximum: }": "line 1: work.maximum: unknown key; known: concurrency, p50, p95, p99, requests, slower, success, timeout, url, within",
	} {
		if _, err := decodeSpecYAML(text); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{completeSpecYAML, "{}", "url: https://shop:8443/x?y=z", "{requests: 3, success: 0.5}", "url: http://[::1]:80/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := decodeSpecYAML(text)
		if err != nil {
			return
		}
		if err := s.Validate(); err != nil {
			t.Fatalf("what was decoded is not valid: %v", err)
		}
		// Annotations store the spec, so JSON must preserve it.
		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var back Spec
		if err := json.Unmarshal(data, &back); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(s, back.WithDefaults()); diff != "" {
			t.Errorf("spec is another after JSON (-want +got):\n%s", diff)
		}
	})
}
