// Values in the types of the custom metrics API, with time, window and sum check.

package provider

import (
	"math"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/metrics/pkg/apis/custom_metrics"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// newCustomMetricValue returns a value in the type of the custom metrics API.
func (p *Provider) newCustomMetricValue(req *metricRequest, v *metric.Value, n resource.Quantity) custom_metrics.MetricValue {
	return custom_metrics.MetricValue{
		DescribedObject: req.kind.newDescribedObjectReference(v.Object),
		Metric:          req.identifier,
		Timestamp:       p.getValueTimestamp(req.now, v),
		WindowSeconds:   convertWindowToSeconds(v.Window),
		Value:           n,
	}
}

// newCustomMetricValueList returns the values of several objects, or an error if their sum is out of range.
func (p *Provider) newCustomMetricValueList(req metricRequest, values []*metric.Value, quantities []resource.Quantity) (*custom_metrics.MetricValueList, error) {
	if err := checkQuantitySumInRange(quantities); err != nil {
		return nil, err
	}
	list := &custom_metrics.MetricValueList{Items: make([]custom_metrics.MetricValue, len(values))}
	for i, v := range values {
		list.Items[i] = p.newCustomMetricValue(&req, v, quantities[i])
	}
	return list, nil
}

// getValueTimestamp returns the time of a served value. For a substitute, which has no samples and hence no age, it returns now.
func (p *Provider) getValueTimestamp(now time.Time, v *metric.Value) metav1.Time {
	if v.Time.IsZero() {
		return metav1.NewTime(now)
	}
	p.metrics.age.Observe(v.Age(now).Seconds())
	return metav1.NewTime(v.Time)
}

// convertWindowToSeconds returns a window in whole seconds, at least 1. An instantaneous value has nil, which the API leaves out.
func convertWindowToSeconds(window time.Duration) *int64 {
	if window <= 0 {
		return nil
	}
	s := max(1, int64(window.Round(time.Second)/time.Second))
	return &s
}

// checkQuantitySumInRange returns an error if the sum of the quantities in thousandths overflows an int64. The autoscaler adds them up
// without a check, and a sum that wraps around scales the service the wrong way.
func checkQuantitySumInRange(quantities []resource.Quantity) error {
	var sum int64
	for _, n := range quantities {
		m := n.MilliValue()
		if m > 0 && sum > math.MaxInt64-m || m < 0 && sum < math.MinInt64-m {
			return metric.Errorf(metric.KindUnavailable, "%s: their sum is out of range", formatObjectCount(len(quantities), "value"))
		}
		sum += m
	}
	return nil
}
