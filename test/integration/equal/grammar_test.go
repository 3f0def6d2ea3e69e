package equal

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
)

// typical are expressions as people write them, for pods.
var typical = []string{
	"sum by (namespace, pod) (rate(http_requests_total[$window]))",
	`sum by (namespace, pod) (rate(http_requests_total{code=~"5.."}[$window])) / sum by (namespace, pod) (rate(http_requests_total[$window]))`,
	"histogram_quantile(0.9, sum by (namespace, pod, le) (rate(latency_seconds_bucket[$window])))",
	"sum by (namespace, pod) (rate(latency_seconds_sum[$window])) / sum by (namespace, pod) (rate(latency_seconds_count[$window]))",
	"max by (namespace, pod) (avg_over_time(queue_length[$window]))",
	"max by (namespace, pod) (max_over_time(temperature[30s]))",
	"sum by (namespace, pod) (queue_length)",
	"queue_length",
	"avg by (namespace, pod) (temperature)",
	"sum by (namespace, pod) (increase(jobs_total[$window]))",
	"clamp_max(sum by (namespace, pod) (irate(http_requests_total[20s])), 100)",
	"sum by (namespace, pod) (rate(http_requests_total[$window])) / scalar(count(queue_length))",
	"queue_length / on (namespace) group_left () sum by (namespace) (queue_length)",
	"max_over_time(sum by (namespace, pod) (rate(http_requests_total[10s]))[20s:5s])",
}

// unusual are expressions for pods with the rarer parts of PromQL, which MetricsQL computes otherwise in part.
var unusual = []string{
	`sum by (namespace, pod) (rate(latency_seconds_bucket{le=~"0.5|0.50"}[$window])) / sum by (namespace, pod) (rate(latency_seconds_count[$window]))`,
	"sum without (route, code) (rate(http_requests_total[$window]))",
	"quantile by (namespace, pod) (0.5, temperature)",
	"stddev by (namespace, pod) (temperature)",
	"group by (namespace, pod) (temperature)",
	"topk by (namespace, pod) (1, temperature)",
	`label_join(label_replace(queue_length, "x", "$1", "pod", "p-(.*)"), "y", "-", "namespace", "x")`,
	"sort_desc(queue_length)",
	"time() - timestamp(queue_length)",
	"queue_length * on () group_left () vector(2)",
	"queue_length and on (namespace) (sum by (namespace) (temperature) > -1000)",
	"queue_length unless on (namespace, pod) (temperature > 50)",
	"queue_length or on (namespace, pod) temperature",
	"predict_linear(queue_length[20s], 60)",
	"scalar(sum(jobs_total)) - sum by (namespace, pod) (jobs_total)",
	`rate(latency_seconds_bucket{le="0.5"}[$window]) / ignoring (le) rate(latency_seconds_count[$window])`,
	`sum by (namespace, pod) (rate(latency_seconds_bucket{le!="+Inf"}[$window]))`,
	"max_over_time(deriv(jobs_total[10s])[20s:2s])",
	"sum by (namespace, pod) (temperature > bool 0) % 2 ^ 2",
	"temperature{sensor=\"a\"} - ignoring (sensor) temperature{sensor=\"b\"}",
	"(queue_length > 10) or (queue_length * 0)",
	"jobs_total * on (namespace, pod) group_right (sensor) temperature{sensor=\"a\"}",
	"queue_length + hour(queue_length * 0)",
	"max by (namespace, pod) (quantile_over_time(0.9, queue_length[$window])) atan2 2",
	"sum by (namespace, pod) (changes(queue_length[30s])) / sum by (namespace, pod) (count_over_time(queue_length[30s]))",
	"sum by (pod, namespace) (increase(http_requests_total[10s])) == on (namespace, pod) sum by (namespace, pod) (increase(http_requests_total[10s]))",
}

// typicalExternal are expressions of external metrics.
var typicalExternal = []string{
	"sum(queue_length)",
	"sum(rate(http_requests_total[$window]))",
	"sum by (route) (rate(http_requests_total[$window]))",
	"max by (sensor) (temperature)",
	"temperature",
	"topk(2, queue_length)",
	"histogram_quantile(0.95, sum by (le) (rate(latency_seconds_bucket[$window])))",
	"sum(queue_length) / count(queue_length)",
}

// unusualExternal are unusual expressions of external metrics.
var unusualExternal = []string{
	`count_values("v", round(queue_length))`,
	"sum by (sensor) (temperature) / ignoring (sensor) group_left () sum(temperature)",
	"bottomk by (namespace) (1, jobs_total)",
	"sum by (namespace) (queue_length) or sum by (sensor) (temperature)",
	"max(queue_length) unless max(jobs_total) > 1e12",
	"count(queue_length > 0) or vector(0) * count(queue_length)",
	"avg without (pod, namespace) (temperature)",
	"stdvar(queue_length) + sum(no_such_metric) or sum(queue_length)",
}

// grammar draws expressions. Each has one result for a pod, with the labels namespace and pod alone.
type grammar struct {
	*rand.Rand
	depth int
}

func (g grammar) pick(from ...string) string { return from[g.IntN(len(from))] }

// perPod draws an expression.
func (g grammar) perPod() string {
	if g.depth == 0 || g.IntN(3) == 0 {
		return g.aggregate()
	}
	g.depth--
	switch g.IntN(8) {
	case 0:
		return fmt.Sprintf("(%s %s %s)", g.perPod(), g.pick("+", "-", "*", "/"), g.perPod())
	case 1:
		return fmt.Sprintf("(%s %s %s)", g.perPod(), g.pick("+", "-", "*", "/", ">", "<=", ">= bool"), g.constant())
	case 2:
		return fmt.Sprintf("%s(%s, %s)", g.pick("clamp_min", "clamp_max", "round"), g.perPod(), g.constant())
	case 3:
		return fmt.Sprintf("%s(%s)", g.pick("abs", "ceil", "floor", "sqrt", "ln", "sgn"), g.perPod())
	case 4:
		return fmt.Sprintf("(%s %s %s)", g.perPod(), g.pick("or", "and", "unless"), g.perPod())
	case 5:
		return fmt.Sprintf("clamp(%s, %s, 50)", g.perPod(), g.constant())
	case 6:
		return fmt.Sprintf("(%s / ignoring (pod) group_left () sum by (namespace) (%s))", g.perPod(), g.perPod())
	default:
		// Not −x: a sum of −0 is 0 to a Prometheus 2 and −0 to a Prometheus 3, and what is divided by it infinite either way.
		return fmt.Sprintf("(0 - %s)", g.perPod())
	}
}

// aggregate draws an expression over the series of a pod.
func (g grammar) aggregate() string {
	switch g.IntN(8) {
	case 0:
		return fmt.Sprintf("histogram_quantile(%s, sum by (namespace, pod, le) (rate(latency_seconds_bucket[%s])))",
			g.pick("0.5", "0.9", "0.99"), g.window())
	case 1:
		window := g.window()
		return fmt.Sprintf("(sum by (namespace, pod) (rate(latency_seconds_sum[%s])) / sum by (namespace, pod) (rate(latency_seconds_count[%s])))",
			window, window)
	case 2:
		return fmt.Sprintf("%s_over_time(sum by (namespace, pod) (%s)[%s:%s])", g.pick("max", "avg", "min"), g.series(), g.pick("10s", "20s"), g.pick("2s", "5s"))
	default:
		return fmt.Sprintf("%s by (namespace, pod) (%s)", g.pick("sum", "sum", "avg", "max", "min", "count"), g.series())
	}
}

// series draws an expression that keeps the labels of its series.
func (g grammar) series() string {
	if g.IntN(2) == 0 {
		return fmt.Sprintf("%s(%s[%s])", g.pick("rate", "rate", "increase", "irate", "resets", "changes"), g.counter(), g.window())
	}
	switch g.IntN(4) {
	case 0:
		return g.gauge()
	case 1:
		return g.counter()
	case 2:
		return fmt.Sprintf("quantile_over_time(%s, %s[%s])", g.pick("0.5", "0.9"), g.gauge(), g.window())
	default:
		function := g.pick("avg_over_time", "max_over_time", "min_over_time", "sum_over_time", "count_over_time", "last_over_time",
			"stddev_over_time", "deriv", "delta", "idelta")
		return fmt.Sprintf("%s(%s[%s])", function, g.gauge(), g.window())
	}
}

func (g grammar) counter() string {
	return g.pick("jobs_total", "http_requests_total", `http_requests_total{code="200"}`, `http_requests_total{code!~"5..",route="/"}`,
		`{__name__="http_requests_total",route=~"/.+"}`)
}

func (g grammar) gauge() string {
	return g.pick("queue_length", "temperature", `temperature{sensor!="b"}`)
}

func (g grammar) window() string { return g.pick("$window", "$window", "6s", "10s", "30s") }

func (g grammar) constant() string { return g.pick("1", "2", "0.5", "25", "1e1") }

// question is what is asked of both sides.
type question struct {
	lines     []string // of the rule, but for its backend
	external  bool
	namespace string
	objects   []string // nil means any
	selector  []*labels.Matcher
}

func (q question) String() string {
	return fmt.Sprintf("%s; namespace %q, objects %q, selector %v", strings.Join(q.lines, "; "), q.namespace, q.objects, q.selector)
}

// ask draws how a rule is asked.
func (g grammar) ask(expr string, external bool) question {
	q := question{lines: []string{"query: " + quote(expr)}, external: external, namespace: g.pick("shop", "bank")}
	if strings.Contains(expr, "$window") {
		q.lines = append(q.lines, "window: "+g.pick("6s", "20s", "40s"))
	}
	if external {
		q.lines = append(q.lines, "external: true")
		return q
	}
	switch g.IntN(3) {
	case 0:
		q.objects = []string{"p-1", "p-0", "gone"}
	case 1:
		q.objects = []string{"p-1"}
	}
	if g.IntN(2) == 0 && !unlabelled.MatchString(expr) {
		q.selector = []*labels.Matcher{labels.MustNewMatcher(labels.MatchRegexp, "code", "200|404")}
	}
	return q
}

// unlabelled finds the families that have no label code.
var unlabelled = regexp.MustCompile("jobs_total|queue_length|temperature|latency_seconds")

// quote writes a text as YAML does, in which a backslash means nothing.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
