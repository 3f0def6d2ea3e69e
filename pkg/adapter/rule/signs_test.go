package rule

import (
	"strings"
	"testing"
	"time"
)

// TestSignsChangeNoVerdict: a query with a fault has it too with parentheses or signs around its parts.
func TestSignsChangeNoVerdict(t *testing.T) {
	t.Parallel()
	for _, query := range []string{
		`@(room_celsius)`,
		`sum by (namespace, pod) (@(room_celsius))`,
		`@(1.8 * @(room_celsius))`,
		`@(avg_over_time(room_celsius[1m]))`,
		`@(room_celsius) > 0`,
		`0 < @(room_celsius)`,
		`@(room_celsius) and on (namespace, pod) up == 1`,
		`sum by (namespace, pod) (@(histogram_quantile(0.95, rate(a_bucket[$window]))) > 0 unless on (pod) b)`,
		`avg_over_time((@(room_celsius))[1m:5s])`,
		`sum by (namespace, pod) (@(histogram_quantile(0.95, rate(a_bucket[$window]))))`,
		`sum by (namespace, pod) (rate(a_sum[$window]) / @(rate(a_count[$window])))`,
		`@(sum by (namespace, pod) (a) or vector(0))`,
		`@(label_replace(a, "pod", "$2", "x", "(.*)"))`,
		`@(sum by (namespace, pod) (a)) and on () (@(sum(a)) unless vector(1))`,
	} {
		for _, sign := range []string{"", "+", "-", "+-", "--"} {
			text := strings.ReplaceAll(query, "@", sign)
			if _, _, err := Load([]byte(configHead + "rules:\n- metric: m\n  query: '" + text + "'\n")); err == nil {
				t.Errorf("%s: no error", text)
			}
		}
	}
}

// TestPlainSumsBehindSigns: a pattern's sum of values that do not add up is left out behind a sign and in a subquery too.
func TestPlainSumsBehindSigns(t *testing.T) {
	t.Parallel()
	s := loadTestSet(t, `
rules:
- {match: ^neg_(.+)$, query: '-sum by (namespace, pod) ({__name__="${1}"})'}
- {match: ^up_(.+)$, query: 'sum by (namespace, pod) ({__name__="${1}"}) and on (namespace, pod) sum by (namespace, pod) (up) > 0'}
- {match: ^steps_(.+)$, query: 'avg_over_time(sum by (namespace, pod) ({__name__="${1}"})[30s:5s])'}
`)
	for name, want := range map[string]string{
		"neg_cpu_ratio": `-{__name__="cpu_ratio"}`, "neg_queue": `-sum by (namespace, pod) ({__name__="queue"})`,
		"up_cpu_ratio":    `{__name__="cpu_ratio"} and on (namespace, pod) sum by (namespace, pod) (up) > 0`,
		"steps_cpu_ratio": `avg_over_time({__name__="cpu_ratio"}[30s:5s])`,
	} {
		r, err := s.Lookup("pods", name)
		if err != nil {
			t.Fatal(err)
		}
		if got := (Query{Rule: r}).Expr(time.Minute, nil); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
