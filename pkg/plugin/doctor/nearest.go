// The metric that was probably meant by one that no page has, and the scale target by one that does not exist.

package doctor

import (
	"context"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/records"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

const (
	// maxFamilyTypos is the number of edits up to which another metric is named: one with more is another metric.
	maxFamilyTypos = 2
	// minTypoLength is the length of a name from which so few edits are a typo: below, they are another word.
	minTypoLength = 8
)

// readNearestMetrics reads the families of the target's pages where none has the family of a metric: a pattern serves any name, so that the adapter
// cannot tell a mistyped one. Without the adapter's list nothing is near.
func (v *autoscalerDiagnosis) readNearestMetrics(ctx context.Context) {
	v.nearest = make([]string, len(v.answers))
	var list *explainapi.MetricList
	for i, a := range v.answers {
		m := v.hpa.Spec.Metrics[i].Pods
		if m == nil || m.Metric.Selector != nil || v.workload == nil || mainStatusCause(a.Err) != causeAbsent {
			continue
		}
		if list == nil {
			var err error
			if list, err = records.ListMetrics(ctx, v.Metrics.Reader, v.hpa.Namespace, v.workload.PodSelector().String()); err != nil {
				return
			}
		}
		v.nearest[i] = findNearestServedMetric(list, m.Metric.Name)
	}
}

// findNearestServedMetric returns the metric of pods with the fewest edits from a name; empty if none is near.
func findNearestServedMetric(list *explainapi.MetricList, name string) (best string) {
	fewest := maxFamilyTypos + 1
	if len(name) < minTypoLength {
		return ""
	}
	for i := range list.Items {
		for _, served := range list.Items[i].Metrics {
			if !list.Items[i].IsFamily() || served.External || served.Pattern || served.Resource != "pods" || served.Name == name {
				continue
			}
			if edits := strict.EditDistance(name, served.Name); edits < fewest {
				best, fewest = served.Name, edits
			}
		}
	}
	return best
}

// findNearestTarget returns the workload of the scale target's kind with the fewest edits from its name; empty if none is near, or two are. At most
// a third of the letters may differ.
func (v *autoscalerDiagnosis) findNearestTarget() (best string) {
	ref := v.hpa.Spec.ScaleTargetRef
	fewest := min(maxFamilyTypos, len(ref.Name)/3) + 1
	for i := range v.objects.Workloads {
		w := &v.objects.Workloads[i]
		if w.Namespace != v.hpa.Namespace || w.Kind != ref.Kind || w.Group != "" {
			continue
		}
		switch edits := strict.EditDistance(ref.Name, w.Name); {
		case edits < fewest:
			best, fewest = w.Name, edits
		case edits == fewest:
			best = ""
		}
	}
	return best
}
