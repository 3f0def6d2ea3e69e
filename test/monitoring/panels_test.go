package monitoring

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

// chosenValues are the values of the dashboards' variables in tests.
var chosenValues = strings.NewReplacer("$__rate_interval", "2m", "$namespace", "shop", "$hpa", "web", "$rule", "request_per_second", "$job", "tachometer")

// autoscalerSeries are the series of kube-state-metrics about an HPA.
var autoscalerSeries = []string{
	`kube_horizontalpodautoscaler_info{HPA,scaletargetref_kind="KIND",scaletargetref_name="shop-web"}`,
	`kube_horizontalpodautoscaler_status_desired_replicas{HPA}`, `kube_horizontalpodautoscaler_status_current_replicas{HPA}`,
	`kube_horizontalpodautoscaler_spec_min_replicas{HPA}`, `kube_horizontalpodautoscaler_spec_max_replicas{HPA}`,
	`kube_horizontalpodautoscaler_status_target_metric{HPA,metric_name="request_per_second",metric_target_type="average"}`,
	`kube_horizontalpodautoscaler_spec_target_metric{HPA,metric_name="request_per_second",metric_target_type="average"}`,
	`kube_horizontalpodautoscaler_status_condition{HPA,condition="ScalingActive",status="true"}`,
	`kube_horizontalpodautoscaler_status_condition{HPA,condition="ScalingActive",status="false"}`,
	`kube_horizontalpodautoscaler_status_condition{HPA,condition="ScalingLimited",status="true"}`,
	`kube_deployment_status_replicas_ready{namespace="shop",deployment="shop-web",instance="INSTANCE"}`,
	`kube_deployment_status_replicas_ready{namespace="bank",deployment="shop-web",instance="INSTANCE"}`,
	`kube_statefulset_status_replicas_ready{namespace="shop",statefulset="shop-web",instance="INSTANCE"}`,
}

// inputSeries is a series of promtool's test of rules.
type inputSeries struct {
	Series string `yaml:"series"`
	Values string `yaml:"values"`
}

// newTwiceScrapedSeries returns the series of two replicas, of which one restarted at another address five minutes ago.
func newTwiceScrapedSeries(series string) (all []inputSeries) {
	for instance, values := range map[string]string{"10.0.0.1": "1+6x20", "10.0.0.2": "1+6x15 _x5", "10.0.0.3": "_x15 1+6x5"} {
		all = append(all, inputSeries{strings.ReplaceAll(series, "INSTANCE", instance), values})
	}
	return all
}

// newOwnSeries returns the series of a self-metric, with all labels that queries use.
func newOwnSeries(name string) (all []inputSeries) {
	bounds := []string{""}
	if strings.HasSuffix(name, "_bucket") {
		bounds = []string{`,le="0.5"`, `,le="30"`, `,le="+Inf"`}
	}
	outcomes := []string{"success", "unavailable"}
	if strings.HasPrefix(name, "process_") {
		outcomes = outcomes[:1]
	}
	for _, bound := range bounds {
		for _, outcome := range outcomes {
			all = append(all, newTwiceScrapedSeries(name+`{job="tachometer",instance="INSTANCE",outcome="`+outcome+
				`",reason="stale",backend="prometheus",rule="request_per_second",stage="sample"`+bound+`}`)...)
		}
	}
	return all
}

// panelTest is promtool's test of an expression.
type panelTest struct {
	Expr    string `yaml:"expr"`
	Time    string `yaml:"eval_time"`
	Samples []any  `yaml:"exp_samples"`
}

var legendLabel = regexp.MustCompile(`{{(\w+)}}`)

// newPanelTests returns the tests of a query: it has data, and no two lines with one legend.
func newPanelTests(q query) []panelTest {
	expr := chosenValues.Replace(q.expr)
	var labels []string
	for _, match := range legendLabel.FindAllStringSubmatch(q.legend, -1) {
		labels = append(labels, match[1])
	}
	one := []any{map[string]any{"labels": "{}", "value": 1}}
	return []panelTest{
		{"clamp_max(count(" + expr + "), 1)", "20m", one},
		{"max(count by (" + strings.Join(labels, ", ") + ") (" + expr + "))", "20m", one},
	}
}

// TestPanels lets Prometheus's own tool evaluate every query of the dashboards over two replicas, one of which has restarted: a panel has data, and
// one line for each legend. The HPA scales a Deployment or a StatefulSet.
func TestPanels(t *testing.T) {
	t.Parallel()
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skipf("SKIPPED: %v: it comes with Debian's package prometheus", err)
	}
	var tests []panelTest
	var series []inputSeries
	for _, name := range listPanelMetrics(t, &tests) {
		series = append(series, newOwnSeries(name)...)
	}
	var groups []any
	for _, kind := range []string{"Deployment", "StatefulSet"} {
		foreign := slices.Clone(series)
		for _, s := range autoscalerSeries {
			hpa := strings.NewReplacer("HPA", `namespace="shop",horizontalpodautoscaler="web",instance="INSTANCE"`, "KIND", kind)
			foreign = append(foreign, newTwiceScrapedSeries(hpa.Replace(s))...)
		}
		groups = append(groups, map[string]any{"name": kind, "interval": "1m", "input_series": foreign, "promql_expr_test": tests})
	}
	text, err := yaml.Marshal(map[string]any{"evaluation_interval": "1m", "tests": groups})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "panels.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(promtool, "test", "rules", file).CombinedOutput(); err != nil {
		t.Errorf("promtool test rules: %v\n%s", err, out)
	}
}

// listPanelMetrics returns the metrics in the dashboards that are not those of kube-state-metrics, and adds the tests of all queries.
func listPanelMetrics(t *testing.T, tests *[]panelTest) []string {
	t.Helper()
	names := map[string]bool{}
	for _, b := range boards {
		for _, r := range b.rows {
			for _, p := range r.panels {
				for _, q := range p.queries {
					expr, err := parser.NewParser(parser.Options{}).ParseExpr(chosenValues.Replace(q.expr))
					if err != nil {
						t.Fatal(fmt.Errorf("%s: %s: %w", b.title, p.title, err))
					}
					parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
						if selector, ok := node.(*parser.VectorSelector); ok && !strings.HasPrefix(selector.Name, "kube_") {
							names[selector.Name] = true
						}
						return nil
					})
					*tests = append(*tests, newPanelTests(q)...)
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}
