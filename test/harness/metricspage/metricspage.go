// Package metricspage reads pages of metrics in the text format, such as the self-metrics of a program under test.
package metricspage

import (
	"fmt"
	"io"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Page holds the families of a page by name.
type Page map[string]*dto.MetricFamily

// Parse reads a page until its end. A page that is not in the text format is an error.
func Parse(r io.Reader) (Page, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(r)
	if err != nil {
		return nil, fmt.Errorf("parse metrics: %w", err)
	}
	return families, nil
}

// Sum adds up the series of a counter or gauge that have the labels, given as names and values in turn. Without such a series it is 0.
func (p Page) Sum(name string, labels ...string) (sum float64) {
	for _, m := range p.matchPageSeries(name, labels) {
		sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()
	}
	return sum
}

// Has reports whether the page has a series of the family with the labels, given as for Sum.
func (p Page) Has(name string, labels ...string) bool {
	return len(p.matchPageSeries(name, labels)) > 0
}

// matchPageSeries returns the series of a family that have the labels.
func (p Page) matchPageSeries(name string, labels []string) (found []*dto.Metric) {
	for _, m := range p[name].GetMetric() {
		values := map[string]string{}
		for _, l := range m.GetLabel() {
			values[l.GetName()] = l.GetValue()
		}
		matches := true
		for i := 0; i < len(labels); i += 2 {
			value, ok := values[labels[i]]
			matches = matches && ok && value == labels[i+1]
		}
		if matches {
			found = append(found, m)
		}
	}
	return found
}
