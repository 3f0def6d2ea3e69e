// This file decodes the watch of a gate.

package action

import (
	"fmt"
	"net/url"
	"time"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// Watch is a number that must stay low for a while after a gate has opened. It comes from a query or from a metric.
type Watch struct {
	// For is the time after the last step of the gate. Breach is how long the number must be above Max, without a break, to shut the gate.
	For, Breach time.Duration
	Max         float64
	// Query is a PromQL query, and Prometheus the address of the server that answers it.
	Query, Prometheus string
	// Metric is a metric of the metrics APIs, Of its API, and Selector its labels; the highest of several values counts.
	Metric, Of, Selector string
}

// The values of Watch.Of.
const (
	WatchExternal = "external" // an external metric of the hold's namespace
	WatchPods     = "pods"     // a metric of the workload's pods
)

const (
	minWatch = 10 * time.Second
	maxWatch = 24 * time.Hour
	// defaultWatchBreach is a few reads: one number above the bound may be noise.
	defaultWatchBreach = 30 * time.Second
	maxWatchQueryBytes = 4096
)

// Source returns the query or the metric, for people.
func (w Watch) Source() string {
	if w.Query != "" {
		return "the query"
	}
	return w.Metric
}

// DecodeWatch decodes a watch, and adds every error in it to the faults of d.
func DecodeWatch(d *strict.Decoder, path string, n *yaml.Node) *Watch {
	w := &Watch{Breach: defaultWatchBreach}
	d.DecodeMapping(path, n, map[string]strict.FieldDecoder{
		"for":        d.Duration(&w.For, minWatch, maxWatch),
		"breach":     d.Duration(&w.Breach, time.Second, maxWatch),
		"max":        d.Number(&w.Max),
		"query":      d.Text(&w.Query),
		"prometheus": d.Text(&w.Prometheus),
		"metric":     d.Text(&w.Metric),
		"of":         func(path string, n *yaml.Node) { w.Of = d.DecodeEnum(path, n, WatchExternal, WatchPods) },
		"selector":   d.Text(&w.Selector),
	})
	if d.HasFault(path) {
		return w
	}
	d.Require(path, "for", "max")
	if (w.Query == "") == (w.Metric == "") {
		d.AddFault(path, "must have either query or metric")
		return w
	}
	if w.Breach >= w.For && w.For > 0 {
		d.AddFault(path+".breach", "%s is not shorter than for, %s", strict.FormatDuration(w.Breach), strict.FormatDuration(w.For))
	}
	if w.Query != "" {
		validateWatchQuery(d, path, w)
		return w
	}
	if w.Prometheus != "" {
		d.AddFault(path+".prometheus", "answers query, which is missing")
	}
	if url.PathEscape(w.Metric) != w.Metric || len(w.Metric) > 253 {
		d.AddFault(path+".metric", "%q is not the name of a metric", strict.Shorten(w.Metric))
	}
	if _, err := labels.Parse(w.Selector); err != nil {
		d.AddFault(path+".selector", "is not a label selector such as code=500: %v", err)
	}
	if w.Of == "" {
		w.Of = WatchExternal
	}
	return w
}

// validateWatchQuery checks the keys beside a query.
func validateWatchQuery(d *strict.Decoder, path string, w *Watch) {
	for key, given := range map[string]bool{"of": w.Of != "", "selector": w.Selector != ""} {
		if given {
			d.AddFault(path+"."+key, "belongs to metric, which is missing")
		}
	}
	if len(w.Query) > maxWatchQueryBytes {
		d.AddFault(path+".query", "has %d bytes; the maximum is %d", len(w.Query), maxWatchQueryBytes)
	}
	u, err := url.Parse(w.Prometheus)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		d.AddFault(path+".prometheus", "must be the address of the server that answers query, such as http://prometheus.monitoring:9090")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		d.AddFault(path+".prometheus", "must have no user, password, query or fragment")
	}
}

// FormatWatchValue returns a number of a watch beside its bound, for people.
func (w Watch) FormatWatchValue(v float64) string {
	return fmt.Sprintf("%s is %.4g; the maximum is %.4g", w.Source(), v, w.Max)
}
