package provider

import (
	"math"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/metrics/pkg/apis/custom_metrics"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// newMetricValue is one value as the custom metrics API says it.
func (p *Provider) newMetricValue(q request, v metric.Value, n resource.Quantity) custom_metrics.MetricValue {
	return custom_metrics.MetricValue{
		DescribedObject: q.kind.objectReference(v.Object),
		Metric:          q.identifier,
		Timestamp:       p.valueTimestamp(q, v),
		WindowSeconds:   windowSeconds(v.Window),
		Value:           n,
	}
}

// newMetricValueList are the values of several objects.
func (p *Provider) newMetricValueList(q request, values []metric.Value, quantities []resource.Quantity) (*custom_metrics.MetricValueList, error) {
	if err := checkSum(quantities); err != nil {
		return nil, err
	}
	list := &custom_metrics.MetricValueList{Items: make([]custom_metrics.MetricValue, len(values))}
	for i, v := range values {
		list.Items[i] = p.newMetricValue(q, v, quantities[i])
	}
	return list, nil
}

// valueTimestamp is the time of a value that goes out, and now for a substitute, which has no samples and hence no age.
func (p *Provider) valueTimestamp(q request, v metric.Value) metav1.Time {
	if v.Time.IsZero() {
		return metav1.NewTime(q.now)
	}
	p.metrics.age.Observe(v.Age(q.now).Seconds())
	return metav1.NewTime(v.Time)
}

// windowSeconds is a window in whole seconds, at least one; nil, which the API leaves out, for an instantaneous value.
func windowSeconds(window time.Duration) *int64 {
	if window <= 0 {
		return nil
	}
	s := max(1, int64(window.Round(time.Second)/time.Second))
	return &s
}

// checkSum is an error unless the quantities have a sum in thousandths: the autoscaler adds them up in an int64 without
// looking, and a sum that wraps around scales the service the wrong way.
func checkSum(quantities []resource.Quantity) error {
	var sum int64
	for _, n := range quantities {
		m := n.MilliValue()
		if m > 0 && sum > math.MaxInt64-m || m < 0 && sum < math.MinInt64-m {
			return metric.Errorf(metric.KindUnavailable, "%s: their sum is out of range", countedNoun(len(quantities), "value"))
		}
		sum += m
	}
	return nil
}
