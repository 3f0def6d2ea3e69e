package action

import (
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// TestDecodeWatch: a watch is complete, or a fault with its key.
func TestDecodeWatch(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{for: 5m, metric: error_ratio, max: 0.01}`:                                         "",
		`{for: 5m, breach: 1m, metric: p99, of: pods, selector: "code=500", max: 0}`:        "",
		`{for: 5m, query: "a/b", prometheus: "http://prometheus.monitoring:9090", max: -1}`: "",
		`{metric: a, max: 1}`:                                           "for",
		`{for: 5m, metric: a}`:                                          "max",
		`{for: 5m, max: 1}`:                                             "either query or metric",
		`{for: 5m, metric: a, query: b, max: 1}`:                        "either query or metric",
		`{for: 5m, query: a, max: 1}`:                                   "prometheus",
		`{for: 5m, query: a, prometheus: "http://u:p@a", max: 1}`:       "no user",
		`{for: 5m, query: a, prometheus: "http://a", of: pods, max: 1}`: "belongs to metric",
		`{for: 5m, metric: a, prometheus: "http://a", max: 1}`:          "answers query",
		`{for: 5m, metric: "a/../b", max: 1}`:                           "not the name",
		`{for: 5m, metric: a, selector: "a b", max: 1}`:                 "label selector",
		`{for: 30s, breach: 30s, metric: a, max: 1}`:                    "not shorter",
		`{for: 1s, metric: a, max: 1}`:                                  "for",
		`{for: 5m, metric: a, max: .nan}`:                               "finite",
		`{for: 5m, metric: a, max: 1%}`:                                 "number",
		`{for: 5m, metric: a, max: 1, until: 2}`:                        "until",
	} {
		var n yaml.Node
		if err := yaml.Unmarshal([]byte(text), &n); err != nil {
			t.Fatal(err)
		}
		d := strict.NewDecoder()
		w := DecodeWatch(d, "after", n.Content[0])
		switch err := d.Faults.Err(); {
		case want == "" && (err != nil || w.For != 5*time.Minute || w.Breach == 0):
			t.Errorf("%s: %+v, %v", text, w, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v; want %q", text, err, want)
		}
	}
}
