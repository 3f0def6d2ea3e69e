package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

const documentPath = "../../../docs/configuration.md"

// knownKeys are the keys that the decoder knows, by their place, in its own words.
func knownKeys(t *testing.T) map[string][]string {
	t.Helper()
	_, err := Load([]byte(`
apiVersion: config.tachometer.dev/v1alpha1
kind: AdapterConfig
"?": 1
scrape: {"?": 1}
backends: [{"?": 1, name: a, url: "http://a"}]
rules: [{"?": 1, metric: a, query: a}]
`))
	keys := map[string][]string{}
	known := regexp.MustCompile(`^line \d+: (.*)\?: unknown key; known: (.*)$`)
	for line := range strings.Lines(err.Error()) {
		m := known.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			t.Fatalf("unexpected fault %s", line)
		}
		keys[strings.TrimSuffix(m[1], ".")] = strings.Split(m[2], ", ")
	}
	return keys
}

// documentSection is the text below a heading of the document, up to the next one of any level.
func documentSection(t *testing.T, text, heading string) string {
	t.Helper()
	_, after, found := strings.Cut(text, "\n## "+heading+"\n")
	if !found {
		t.Fatalf("no section %q", heading)
	}
	before, _, _ := strings.Cut(after, "\n#")
	return before
}

var tableRowRegexp = regexp.MustCompile("(?m)^\\| `([A-Za-z]+)` \\| ([^|]*) \\| .+ \\|$")

// TestDocumented: every key has a row in the table of its section, and nothing else has.
func TestDocumented(t *testing.T) {
	t.Parallel()
	text := string(readTestFile(t, documentPath))
	for place, keys := range knownKeys(t) {
		heading := map[string]string{"": "The file", "scrape": "scrape", "backends[0]": "backends", "rules[0]": "rules"}[place]
		rows := map[string]bool{}
		for _, m := range tableRowRegexp.FindAllStringSubmatch(documentSection(t, text, heading), -1) {
			rows[m[1]] = true
		}
		want := map[string]bool{}
		for _, key := range keys {
			want[key] = true
		}
		if diff := cmp.Diff(want, rows); diff != "" {
			t.Errorf("section %s (-decoder +document):\n%s", heading, diff)
		}
	}
}

// TestDocumentedDefaults: the defaults in the document are those in the code.
func TestDocumentedDefaults(t *testing.T) {
	t.Parallel()
	text := string(readTestFile(t, documentPath))
	c := Default()
	c.Rules = []Rule{{Metric: "a"}}
	c.Backends = []Backend{{}}
	c.setConfigDefaults()
	s, r := c.Scrape, c.Rules[0]
	for heading, defaults := range map[string]map[string]string{
		"The file": {"maxAge": strict.FormatDuration(c.MaxAge), "maxWindow": strict.FormatDuration(c.MaxWindow)},
		"scrape": {
			"interval": strict.FormatDuration(s.Interval), "timeout": strict.FormatDuration(maxDefaultTimeout), "maxPageBytes": strict.FormatBytes(s.MaxPageBytes),
			"maxSamples": strconv.Itoa(s.MaxSamples), "maxLabels": strconv.Itoa(s.MaxLabels), "maxSeries": strconv.Itoa(s.MaxSeries),
			"maxConcurrent": strconv.Itoa(s.MaxConcurrent),
		},
		"backends": {"refresh": strict.FormatDuration(c.Backends[0].Refresh)},
		"rules": {
			"resource": r.Resource, "external": fmt.Sprint(r.External), "window": r.Window.String(), "backend": r.Backend,
			"aggregate": string(r.Aggregate), "allowNegative": fmt.Sprint(r.AllowNegative), "onMissing": "error",
		},
	} {
		rows := map[string]string{}
		for _, m := range tableRowRegexp.FindAllStringSubmatch(documentSection(t, text, heading), -1) {
			rows[m[1]] = m[2]
		}
		for key, want := range defaults {
			if !strings.Contains(rows[key], "`"+want+"`") {
				t.Errorf("%s: the default of %s is documented as %q, not `%s`", heading, key, rows[key], want)
			}
		}
	}
}
