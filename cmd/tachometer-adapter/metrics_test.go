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

// registeredMetric is a self-metric as the list shows it.
type registeredMetric struct{ name, kind, labels, help string }

// metricRecorder records the registered metrics.
type metricRecorder struct {
	*prometheus.Registry
	mu      sync.Mutex
	metrics []registeredMetric
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
		r.metrics = append(r.metrics, registeredMetric{name: name, kind: kindOf(c), labels: strings.Trim(m[3]+", "+strings.ReplaceAll(m[4], ",", ", "), ", "), help: help})
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

func selfMetrics(t *testing.T) []registeredMetric {
	t.Helper()
	start, err := readConfigOrDefaults(newDefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	r := &metricRecorder{Registry: prometheus.NewRegistry()}
	opts := newDefaultOptions()
	opts.resources.kubelets = true
	if _, err := newAdapter(opts, start, &rest.Config{Host: "https://nowhere.invalid"}, r); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(r.metrics, func(a, b registeredMetric) int { return strings.Compare(a.name, b.name) })
	return r.metrics
}

// TestMetricsAreListed holds the list that docs/metrics.md links to what the program registers.
func TestMetricsAreListed(t *testing.T) {
	t.Parallel()
	var list strings.Builder
	for _, m := range selfMetrics(t) {
		labels := ""
		if m.labels != "" {
			labels = "{" + strings.ReplaceAll(m.labels, ", ", ",") + "}"
		}
		fmt.Fprintf(&list, "%s%s %s\n    %s\n", m.name, labels, m.kind, m.help)
	}
	compareGolden(t, "testdata/metrics.golden", list.String())
}

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
