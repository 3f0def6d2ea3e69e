package rule

import (
	"strings"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
)

// nestReviewedQuery returns inner within count calls.
func nestReviewedQuery(count int, before, inner, after string) string {
	return strings.Repeat(before, count) + inner + strings.Repeat(after, count)
}

// TestValidateReviewedRules: a rule of a request whose check would cost much memory or time is rejected by its text alone.
func TestValidateReviewedRules(t *testing.T) {
	t.Parallel()
	const large = "the regular expressions up to this rule are too large for a review; write smaller repetitions than {1000}"
	for name, tc := range map[string]struct {
		match, query string
		want         string // empty: no fault
	}{
		"usual":             {"", `histogram_quantile(0.99, sum by (namespace, pod, le) (rate(x_bucket{code=~"2..|3..",path!~"/health.*"}[$window])))`, ""},
		"repetition":        {"", `a{id=~"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"}`, ""},
		"pattern":           {"^(.+)_per_minute$", `sum by (namespace, pod) (60 * rate(${1}_total[$window]))`, ""},
		"subquery":          {"", `max_over_time(rate(a[30s])[1h:10s])`, ""},
		"many tokens":       {"", nestReviewedQuery(250, "(", "a", ")"), "has more than 500 names, numbers and operators, the limit in a review"},
		"many signs":        {"", nestReviewedQuery(600, "-", "a", ""), "has more than 500 names, numbers and operators, the limit in a review"},
		"long":              {"", `a{x="` + strings.Repeat("x", 4100) + `"}`, "has 4107 bytes, and in a review it may have 4096"},
		"large regexp":      {"", `a{x=~"` + strings.Repeat("a{1000}", 21) + `"}`, large},
		"single quotes":     {"", `a{x=~'` + strings.Repeat("a{1000}", 21) + `'}`, large},
		"raw":               {"", "a{x=~`" + strings.Repeat("a{1000}", 21) + "`}", large},
		"escaped":           {"", `a{x=~"` + strings.Repeat(`\x61{1000}`, 21) + `"}`, large},
		"classes":           {"", `a{x=~"` + strings.Repeat(`\\pL{100}`, 3) + `"}`, large},
		"replaced":          {"", `label_replace(a, "x", "$1", "y", "(` + strings.Repeat("a{1000}", 21) + `)")`, large},
		"name pattern":      {strings.Repeat("a{1000}", 21), "a", large},
		"nested repetition": {"((a{10}){10}){10}" + strings.Repeat("(b{30}){30}", 25), "a", large},
		"fine subquery":     {"", `max_over_time(a[20s:1ms])`, "has subqueries of more than 10000 steps together, the limit in a review; make them shorter or coarser"},
		"nested subqueries": {"", `max_over_time(max_over_time(a[1m:100ms])[1m:100ms])`, "has subqueries of more than 10000 steps together, the limit in a review; make them shorter or coarser"},
		"window":            {"", `max_over_time(a[$window:1ms])`, "has subqueries of more than 10000 steps together, the limit in a review; make them shorter or coarser"},
		"not PromQL":        {"", `a{"`, ""}, // another fault
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config.Default()
			cfg.MaxWindow, cfg.Scrape.Interval = time.Minute, 2*time.Second
			cfg.Rules = []config.Rule{{Metric: "m", Match: tc.match, Query: tc.query}}
			var got []string
			for _, f := range ValidateReviewedRules(&cfg) {
				got = append(got, f.Path+": "+f.Message)
			}
			want := "rules[0].query: " + tc.want
			if tc.want == "" && got != nil || tc.want != "" && (len(got) != 1 || got[0] != want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// TestReviewedRegexpsAddUp: the bound is of all rules of a configuration together.
func TestReviewedRegexpsAddUp(t *testing.T) {
	t.Parallel()
	cfg := config.Default()
	for range 30 {
		cfg.Rules = append(cfg.Rules, config.Rule{Metric: "m", Query: `a{x=~"a{1000}"}`})
	}
	faults := ValidateReviewedRules(&cfg)
	if len(faults) != 1 || faults[0].Path != "rules[20].query" {
		t.Errorf("faults %v", faults)
	}
}
