// This file bounds the metrics of an autoscaler, and remembers which metrics a bound has left out.

package discovery

import (
	"errors"
	"fmt"
	"hash/maphash"
	"slices"

	autoscalingv2 "k8s.io/api/autoscaling/v2"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

const (
	// maxAutoscalerMetrics bounds the custom and external metrics of an autoscaler. Kubernetes itself has no bound.
	maxAutoscalerMetrics = 50
	// maxMetricNameBytes is the bound for the names of API objects.
	maxMetricNameBytes = 253
	// maxAutoscalerBytes bounds the names and selectors of an autoscaler's metrics.
	maxAutoscalerBytes = 64 << 10
	// maxRejectedNames bounds the rejected metrics that an autoscaler's reads are told about.
	maxRejectedNames = 10_000
	// demandOverheadBytes is about the memory of a demand without its texts.
	demandOverheadBytes = 400
)

// The bounds that reject a metric of an autoscaler.
const (
	rejectedByCount = "an autoscaler may have 50 custom and external metrics: split it"
	rejectedByBytes = "a metric name may have 253 bytes, and all names and selectors of an autoscaler 64 KiB: shorten them"
)

// errDemandBudget is the reason why the pods of an autoscaler are not scraped for its metrics.
var errDemandBudget = errors.New("the autoscalers of the namespace name too many metrics: delete some")

// demandedMetricBytes returns about the memory of a demand for the metric. A parsed selector takes four times its text,
// and the names of the families that a rule reads take four times the name of the metric.
func (n namedMetric) demandedMetricBytes() int {
	return demandOverheadBytes + 5*len(n.metric) + len(n.object.kind.Group) + len(n.object.kind.Kind) + len(n.object.name) + 4*len(n.selector)
}

// rejectedMetrics are the metrics of an autoscaler that a bound leaves out.
type rejectedMetrics struct {
	count  int
	reason string   // of the first
	hashes []uint64 // of at most maxRejectedNames metrics
}

func (r rejectedMetrics) equalRejectedMetrics(o rejectedMetrics) bool {
	return r.count == o.count && r.reason == o.reason && slices.Equal(r.hashes, o.hashes)
}

// addRejectedMetric records a metric, unless another API serves it.
func (r *rejectedMetrics) addRejectedMetric(spec *autoscalingv2.MetricSpec, reason string) {
	id, ok := demandedMetricIdentifier(spec)
	if !ok {
		return
	}
	if r.count == 0 {
		r.reason = reason
	}
	r.count++
	if len(r.hashes) < maxRejectedNames {
		r.hashes = append(r.hashes, hashDemandedMetric(id.Name, spec.Type == autoscalingv2.ExternalMetricSourceType))
	}
}

var demandedMetricSeed = maphash.MakeSeed()

// hashDemandedMetric stands for a metric's name where names would take too much memory.
func hashDemandedMetric(name string, external bool) uint64 {
	if external {
		name = "\x00" + name
	}
	return maphash.String(demandedMetricSeed, name)
}

// describeRejectedMetrics names the omitted metrics, for logs, Events and the responses to reads.
func (a *storedAutoscaler) describeRejectedMetrics() string {
	return fmt.Sprintf("%d metrics of HorizontalPodAutoscaler %s are not served, the first %d are: %s",
		a.rejected.count, a.autoscalerKey(), len(a.metrics), a.rejected.reason)
}

// indexRejectedMetrics makes the table find the rejected metrics of a new or changed autoscaler. The caller holds mu.
func (s *watchedAutoscalerTable) indexRejectedMetrics(a *storedAutoscaler) {
	s.forgetRejectedMetrics(a)
	if a.rejected.count == 0 {
		return
	}
	if s.rejecting[a.namespace] == nil {
		s.rejecting[a.namespace] = map[string]*storedAutoscaler{}
	}
	s.rejecting[a.namespace][a.name] = a
}

// forgetRejectedMetrics removes an autoscaler from the index. The caller holds mu.
func (s *watchedAutoscalerTable) forgetRejectedMetrics(a *storedAutoscaler) {
	delete(s.rejecting[a.namespace], a.name)
	if len(s.rejecting[a.namespace]) == 0 {
		delete(s.rejecting, a.namespace)
	}
}

// rejectDemandedMetric returns an error if an autoscaler of the demand's namespace names the metric, and a bound leaves it out.
func (s *watchedAutoscalerTable) rejectDemandedMetric(d Demand) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if len(s.rejecting) == 0 {
		return nil
	}
	hash := hashDemandedMetric(d.Metric, d.External)
	for _, a := range s.rejecting[d.Namespace] {
		if slices.Contains(a.rejected.hashes, hash) {
			return metric.Errorf(metric.KindInvalid, "%s", a.describeRejectedMetrics())
		}
	}
	return nil
}
