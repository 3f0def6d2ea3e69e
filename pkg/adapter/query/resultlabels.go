// Labels of results: the objects that they name, and the sample times behind them.

package query

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// findEvaluatedObject returns the object named by the labels.
func findEvaluatedObject(r *rule.Rule, l labels.Labels) metric.Object {
	o := metric.Object{Name: l.Get(r.ObjectLabel)}
	if r.Namespaced && r.ObjectLabel != namespaceLabel {
		o.Namespace = l.Get(namespaceLabel)
	}
	return o
}

// isEvaluatedObjectNamed returns whether an object has a name, and a namespace if the rule needs it.
func isEvaluatedObjectNamed(r *rule.Rule, o metric.Object) bool {
	return o.Name != "" && (o.Namespace != "" || !r.Namespaced || r.ObjectLabel == namespaceLabel)
}

// listEvaluatedLabels returns the labels of a result, without the metric name.
func listEvaluatedLabels(l labels.Labels) map[string]string {
	m := make(map[string]string, l.Len())
	l.Range(func(l labels.Label) {
		if l.Name != model.MetricNameLabel {
			m[l.Name] = l.Value
		}
	})
	return m
}

func compareEvaluatedLabels(a, b map[string]string) int {
	for _, name := range slices.Sorted(maps.Keys(a)) {
		if c := strings.Compare(a[name], b[name]); c != 0 {
			return c
		}
	}
	return 0
}

// newestQuerySample returns the time of the newest sample behind a result of an external metric: of the series with
// all labels of the result. If no series has them, as after label_replace, it considers all series.
func (s *evaluationScan) newestQuerySample(result labels.Labels) time.Time {
	var behind, all int64
	for _, src := range s.externalSeries {
		all = max(all, src.newest)
		if src.newest > behind && hasEvaluatedLabels(result, src.labels) {
			behind = src.newest
		}
	}
	if behind == 0 {
		behind = all
	}
	return time.UnixMilli(behind)
}

func hasEvaluatedLabels(result, series labels.Labels) bool {
	same := true
	result.Range(func(l labels.Label) {
		same = same && (l.Name == model.MetricNameLabel || series.Get(l.Name) == l.Value)
	})
	return same
}
