// Package families lists for kubectl the metric families on the pages of a pod or a workload, with the API metric that serves each.
package families

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
)

// Family is a metric family of a page.
type Family struct {
	Name   string `json:"name"`
	Type   string `json:"type"`
	Help   string `json:"help,omitempty"`
	Pods   int    `json:"pods,omitempty"`   // with the family on their pages; 0 without a page
	Series int    `json:"series,omitempty"` // of all these pods
	// Value is the sum over the series; for a histogram the number of observations. It is nil where the sum is infinite or not a number, and
	// without the page.
	Value *float64 `json:"value,omitempty"`
	// Metrics are the API metrics of pods that the rules in force compute from it; BuiltIn: the built-in rules.
	Metrics []string `json:"metrics"`
	BuiltIn bool     `json:"builtIn,omitempty"`
	// OtherMetrics are those of other resources, external ones and patterns.
	OtherMetrics []string `json:"otherMetrics,omitempty"`
}

// PageReport lists the families of one pod, or of the pods of a workload.
type PageReport struct {
	Namespace string   `json:"namespace"`
	Pod       string   `json:"pod,omitempty"`      // empty if there are pages of several pods
	Page      string   `json:"page,omitempty"`     // of Pod, below kube-apiserver's root; empty if it was not read
	Workload  string   `json:"workload,omitempty"` // KIND/NAME; empty for a named pod
	Pods      int      `json:"pods,omitempty"`     // of the workload, ready
	ReadPods  []string `json:"readPods,omitempty"` // with a page that was read
	Replica   string   `json:"replica,omitempty"`  // the adapter's, whose list has the rules in force; empty without the list
	Families  []Family `json:"families"`
}

// ReadPod reads the metrics page of a pod over kube-apiserver's proxy, which needs the right to get pods/proxy.
func ReadPod(ctx context.Context, reader reading.Reader, pod *corev1.Pod) (*PageReport, error) {
	path, err := inventory.ScrapedPage(pod)
	if err != nil {
		return nil, fmt.Errorf("find the metrics page of pod %s: %w", pod.Name, err)
	}
	report := &PageReport{Namespace: pod.Namespace, Pod: pod.Name, Page: path, ReadPods: []string{pod.Name}}
	page, err := reader.Read(ctx, report.Page)
	if err != nil {
		return nil, fmt.Errorf("read the metrics page of pod %s: %w", pod.Name, err)
	}
	if report.Families, err = parseFamilies(page); err != nil {
		return nil, fmt.Errorf("parse the metrics page of pod %s: %w", pod.Name, err)
	}
	return report, nil
}

// parseFamilies parses a page in Prometheus' text format.
func parseFamilies(page []byte) ([]Family, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	parsed, err := parser.TextToMetricFamilies(bytes.NewReader(page))
	if err != nil {
		return nil, err
	}
	families := make([]Family, 0, len(parsed))
	for name, f := range parsed {
		families = append(families, Family{
			Name: name, Type: strings.ToLower(f.GetType().String()), Help: f.GetHelp(), Pods: 1, Series: len(f.GetMetric()),
			Value: sumFamilySamples(f), Metrics: nameFamilyMetrics(name, f.GetType()), BuiltIn: true,
		})
	}
	slices.SortFunc(families, func(a, b Family) int { return cmp.Compare(a.Name, b.Name) })
	return families, nil
}

// sumFamilySamples returns the sum over the series of a family; of histograms and summaries the observations. JSON has no word for a sum that is
// infinite or not a number: it is nil.
func sumFamilySamples(f *dto.MetricFamily) *float64 {
	var sum float64
	for _, m := range f.GetMetric() {
		sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue() +
			float64(m.GetHistogram().GetSampleCount()) + float64(m.GetSummary().GetSampleCount())
	}
	return newFiniteValue(sum)
}

// newFiniteValue returns a sum, or nil for one that is infinite or not a number.
func newFiniteValue(sum float64) *float64 {
	if math.IsNaN(sum) || math.IsInf(sum, 0) {
		return nil
	}
	return &sum
}

// formatFamilyValue returns the value of a family for a person.
func formatFamilyValue(value *float64) string {
	if value == nil {
		return "<none>"
	}
	return strconv.FormatFloat(*value, 'g', 6, 64)
}

// nameFamilyMetrics returns the API metrics that the built-in rules make of a family.
func nameFamilyMetrics(name string, kind dto.MetricType) []string {
	switch kind {
	case dto.MetricType_COUNTER:
		base, isTotal := strings.CutSuffix(name, "_total")
		switch {
		case name == "http_requests_total":
			return []string{"request_per_second"}
		case isTotal:
			return []string{base + "_per_second"}
		}
	case dto.MetricType_HISTOGRAM, dto.MetricType_GAUGE_HISTOGRAM:
		return []string{name + "_p50", name + "_p90", name + "_p95", name + "_p99"}
	case dto.MetricType_GAUGE:
		return []string{name}
	case dto.MetricType_SUMMARY, dto.MetricType_UNTYPED:
	}
	return []string{}
}

// Print writes the table; wide adds the help.
func (r *PageReport) Print(out io.Writer, opts output.TableOptions) error {
	table := output.Table{Header: []string{"FAMILY", "TYPE", "PODS", "SERIES", "VALUE", "METRICS"}}
	if opts.Wide {
		table.Header = append(table.Header, "HELP")
	}
	for _, f := range r.Families {
		metrics := cmp.Or(strings.Join(slices.Concat(f.Metrics, f.OtherMetrics), ","), "<none>")
		cells := []string{f.Name, f.Type, r.formatFamilyPods(f.Pods), strconv.Itoa(f.Series), formatFamilyValue(f.Value), metrics}
		if opts.Wide {
			cells = append(cells, f.Help)
		}
		table.Add(cells...)
	}
	if err := table.Print(out, opts); err != nil {
		return err
	}
	if !opts.NoHeaders {
		fmt.Fprintf(out, "\nOf %s. %s\n", r.describePages(), r.describeFamilyRules())
	}
	return nil
}

// formatFamilyPods returns on how many of the pages that were read a family is.
func (r *PageReport) formatFamilyPods(pods int) string {
	if len(r.ReadPods) == 0 {
		return "<none>"
	}
	return fmt.Sprintf("%d/%d", pods, len(r.ReadPods))
}

// describePages names the pods behind the table.
func (r *PageReport) describePages() string {
	workload := plaintext.Clean(r.Workload)
	switch {
	case workload == "" || r.Pods < 2 && r.Pod != "":
		return "pod " + r.Pod
	case len(r.ReadPods) == 0:
		return fmt.Sprintf("pod %s alone: its page stands for the %d ready pods of %s, and lacks families of other pods, such as a canary", r.Pod, r.Pods, workload)
	case len(r.ReadPods) < r.Pods:
		return fmt.Sprintf("%d of the %d ready pods of %s: SERIES and VALUE are sums over these %d", len(r.ReadPods), r.Pods, workload, len(r.ReadPods))
	}
	return fmt.Sprintf("the %d ready pods of %s: SERIES and VALUE are sums over them", r.Pods, workload)
}

// Serves reports whether a family of the report has a metric of this name. A pattern may serve others.
func (r *PageReport) Serves(metric string) bool {
	return slices.ContainsFunc(r.Families, func(f Family) bool { return slices.Contains(f.Metrics, metric) })
}

// describeFamilyRules names the rules behind the metrics.
func (r *PageReport) describeFamilyRules() string {
	builtIn := 0
	for i := range r.Families {
		if r.Families[i].BuiltIn {
			builtIn++
		}
	}
	switch listed := len(r.Families) - builtIn; {
	case listed == 0:
		return "METRICS are by the adapter's built-in rules; rules of your own replace them."
	case builtIn > 0:
		return fmt.Sprintf("METRICS are by the rules in force; %s lists %d of %d families, the others are by the built-in rules.",
			plaintext.Clean(r.Replica), listed, len(r.Families))
	}
	return "METRICS are by the rules in force, as " + plaintext.Clean(r.Replica) + " lists them."
}

// Suggest returns an autoscaler of a workload on one of the metrics: a rate before a gauge, and any before a quantile. The target is to be
// written by a person: only a load test shows what one pod can serve.
func (r *PageReport) Suggest(kind, workload, metric string) (*autoscalingv2.HorizontalPodAutoscaler, error) {
	if metric == "" {
		metric = r.chooseFamilyMetric()
	}
	if metric == "" {
		return nil, fmt.Errorf("%s exposes no family that can be scaled on", cmp.Or(r.Workload, "pod "+r.Pod))
	}
	return &autoscalingv2.HorizontalPodAutoscaler{
		TypeMeta:   metav1.TypeMeta{APIVersion: "autoscaling/v2", Kind: "HorizontalPodAutoscaler"},
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: workload},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: kind, Name: workload},
			MinReplicas:    new(int32(2)), MaxReplicas: 10,
			Metrics: []autoscalingv2.MetricSpec{{
				Type: autoscalingv2.PodsMetricSourceType,
				Pods: &autoscalingv2.PodsMetricSource{
					Metric: autoscalingv2.MetricIdentifier{Name: metric},
					Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: new(resource.MustParse("50"))},
				},
			}},
		},
	}, nil
}

// chooseFamilyMetric returns the metric that is most probably load.
func (r *PageReport) chooseFamilyMetric() string {
	best, rank := "", 0
	for _, f := range r.Families {
		for _, m := range f.Metrics {
			if n := rankFamilyMetric(m); n > rank {
				best, rank = m, n
			}
		}
	}
	return best
}

// noLoadMetric matches the metrics of a process itself, and those of facts and of times.
var noLoadMetric = regexp.MustCompile(`^(go|process|promhttp)_|_(info|created|timestamp_seconds)$`)

// quantileMetric matches the metrics of quantiles.
var quantileMetric = regexp.MustCompile(`_p[0-9]+$`)

// rankFamilyMetric returns a higher number for a metric that is more probably load; 0: it is none.
func rankFamilyMetric(metric string) int {
	switch {
	case noLoadMetric.MatchString(metric):
		return 0
	case quantileMetric.MatchString(metric):
		return 1
	case metric == "request_per_second":
		return 4
	case strings.HasSuffix(metric, "_per_second") && !strings.HasSuffix(metric, "_sum_per_second"):
		return 3
	}
	return 2
}
