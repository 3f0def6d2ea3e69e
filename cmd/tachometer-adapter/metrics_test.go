package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"k8s.io/client-go/rest"
)

// documentedMetric is a self-metric as docs/metrics.md shows it.
type documentedMetric struct{ name, kind, labels, help string }

// metricRecorder records the registered metrics.
type metricRecorder struct {
	*prometheus.Registry
	mu      sync.Mutex
	metrics []documentedMetric
}

func (r *metricRecorder) Register(c prometheus.Collector) error {
	r.recordMetrics(c)
	return r.Registry.Register(c)
}

func (r *metricRecorder) MustRegister(cs ...prometheus.Collector) {
	for _, c := range cs {
		if err := r.Register(c); err != nil {
			panic(err)
		}
	}
}

// described parses the text of a Desc, which has no accessors.
var described = regexp.MustCompile(`^Desc\{fqName: (".*?"), help: ("(?:[^"\\]|\\.)*"), unit: ".*?", constLabels: \{(?:(\w+)=".*?")?\}, variableLabels: \{(.*?)\}`)

func (r *metricRecorder) recordMetrics(c prometheus.Collector) {
	descs := make(chan *prometheus.Desc, 100)
	c.Describe(descs)
	close(descs)
	r.mu.Lock()
	defer r.mu.Unlock()
	for d := range descs {
		m := described.FindStringSubmatch(d.String())
		if m == nil {
			panic("cannot read " + d.String())
		}
		name, _ := strconv.Unquote(m[1])
		help, _ := strconv.Unquote(m[2])
		r.metrics = append(r.metrics, documentedMetric{name: name, kind: kindOf(c), labels: strings.Trim(m[3]+", "+strings.ReplaceAll(m[4], ",", ", "), ", "), help: help})
	}
}

func kindOf(c prometheus.Collector) string {
	switch c := c.(type) {
	case *prometheus.CounterVec:
		return "counter"
	case interface { // a GaugeVec, or a collector made of one
		WithLabelValues(labels ...string) prometheus.Gauge
	}:
		return "gauge"
	case *prometheus.HistogramVec:
		return "histogram"
	case prometheus.Metric:
		var m dto.Metric
		if err := c.Write(&m); err != nil {
			return "unknown"
		}
		switch {
		case m.Counter != nil:
			return "counter"
		case m.Gauge != nil:
			return "gauge"
		case m.Histogram != nil:
			return "histogram"
		}
	}
	return "unknown"
}

func selfMetrics(t *testing.T) []documentedMetric {
	t.Helper()
	start, err := readAdapterConfig(newAdapterOptions())
	if err != nil {
		t.Fatal(err)
	}
	r := &metricRecorder{Registry: prometheus.NewRegistry()}
	opts := newAdapterOptions()
	opts.resources.kubelets = true
	if _, err := newAdapter(opts, start, &rest.Config{Host: "https://nowhere.invalid"}, r); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(r.metrics, func(a, b documentedMetric) int { return strings.Compare(a.name, b.name) })
	return r.metrics
}

func TestMetricsAreDocumented(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(`# Self-metrics of the adapter

<!-- Written by ` + "`make update`" + ` from what the program registers; do not edit. -->

Draw the adapter's own state, and write alerts. [operations.md](operations.md#alerts) has the shipped alerts and dashboards.

` + "```sh" + `
kubectl -n tachometer port-forward deploy/tachometer-adapter 6443 &
curl -sk -H "Authorization: Bearer $(kubectl -n monitoring create token prometheus)" https://localhost:6443/metrics
` + "```" + `

The ServiceAccount needs the ClusterRole ` + "`tachometer-self-metrics-reader`" + `.
` + "`HELP`" + ` lines of the output say more. Names in ` + "`_total`" + ` are counters, *histogram* marks histograms, and all others are gauges. Braces hold the labels.

`)
	for _, m := range selfMetrics(t) {
		labels, kind := "", ""
		if m.labels != "" {
			labels = "{" + strings.ReplaceAll(m.labels, ", ", ",") + "}"
		}
		switch suffix := strings.HasSuffix(m.name, "_total"); {
		case m.kind == "histogram":
			kind = "*histogram*, "
		case suffix != (m.kind == "counter"):
			t.Errorf("%s is a %s: the page says otherwise by its name", m.name, m.kind)
		}
		fmt.Fprintf(&b, "* `%s%s`: %s%s\n", m.name, labels, kind, helpDetails.ReplaceAllString(m.help, ""))
	}
	compareGolden(t, "../../docs/metrics.md", b.String())
}

// helpDetails is the part of a help text that the page leaves to the program's own output.
var helpDetails = regexp.MustCompile(`(\. |[:;]| \(|, each a bug|\.$).*`)

var wellNamed = regexp.MustCompile(`^tachometer_(apiserver|backend|certificate|config|discovery|hpa|promadapter|resource|scrape|store|query|provider|reaction)_[a-z0-9_]+$`)

func TestMetricsAreWellNamed(t *testing.T) {
	t.Parallel()
	metrics := selfMetrics(t)
	if len(metrics) < 20 {
		t.Errorf("%d self-metrics: some are not registered", len(metrics))
	}
	for _, m := range metrics {
		if !wellNamed.MatchString(m.name) {
			t.Errorf("%s: not tachometer_<subsystem>_<what>_<unit>", m.name)
		}
		if m.kind == "unknown" {
			t.Errorf("%s: type unknown", m.name)
		}
		if (m.kind == "counter") != strings.HasSuffix(m.name, "_total") {
			t.Errorf("%s: a %s by that name", m.name, m.kind)
		}
		if !strings.HasSuffix(m.help, ".") {
			t.Errorf("%s: %q is not a sentence", m.name, m.help)
		}
	}
}
