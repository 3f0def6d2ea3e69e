// The counts of departed pods, spread over the live pods.

package provider

import (
	"math"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// countsDepartedPods reports whether the counts of departed pods belong to the response: the autoscaler, or this package, adds
// up the values of the pods, and the sum is the total of their counts.
func (req metricRequest) countsDepartedPods() bool {
	return req.group && isEmbeddedRule(req.rule) && req.rule.Conserves()
}

// departedCounts are the counts within a window that are in the value of no pod.
type departedCounts struct {
	total   float64           // of pods that left
	unknown []metric.Omission // the pods with unknown counts
}

// addDepartedShare adds the value of a pod that left, or of a process that ended.
func (c *departedCounts) addDepartedShare(pod *discovery.Pod, v *metric.Value) {
	if pod.Departed && isDepartedShareUnknown(v) {
		c.addUnknownDepartedCounts(pod, v.Reason, v.Detail)
	}
	c.total += getDepartedShare(v)
}

func (c *departedCounts) addUnknownDepartedCounts(pod *discovery.Pod, reason metric.Reason, detail string) {
	c.unknown = append(c.unknown, metric.Omission{Object: pod.Object(), Reason: reason, Detail: detail})
}

// getDepartedShare returns the share of a departed pod in the total: nothing if its value is not a number.
func getDepartedShare(v *metric.Value) float64 {
	if v.Reason != "" || math.IsNaN(v.Value) || math.IsInf(v.Value, 0) {
		return 0
	}
	return v.Value
}

// isDepartedShareUnknown reports whether a departed pod still goes on, and the backend does not know its counts: its next page
// tells, or its end.
func isDepartedShareUnknown(v *metric.Value) bool {
	return !v.Ended && (v.Reason == metric.ReasonWarmingUp || v.Reason == metric.ReasonStale)
}

// spreadDepartedTotal adds the total of departed pods to the values of the rule, in proportion to them, or equally if all
// are 0. The sum over the live pods is then the total over all pods, as the load that left a pod arrives at the others.
func spreadDepartedTotal(results []podResult, r *rule.Rule, total float64) {
	sum, n := 0.0, 0
	for _, result := range results {
		if result.rule == r {
			sum += result.value.Value
			n++
		}
	}
	if n == 0 || total == 0 {
		return
	}
	for i := range results {
		if results[i].rule != r {
			continue
		}
		if v := &results[i].value.Value; sum > 0 && total > 0 {
			*v += *v / sum * total
		} else {
			*v += total / float64(n)
		}
	}
}
