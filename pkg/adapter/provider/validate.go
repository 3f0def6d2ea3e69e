// Validation of computed values, and their substitutes.

package provider

import (
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// validateComputedValue returns a computed value as a quantity, or the reason to reject it. The clocks of a backend and of this
// process may differ a little. A value more than maxAge in the future is as stale as a value that old.
func validateComputedValue(r *rule.Rule, v *metric.Value, now time.Time) (resource.Quantity, metric.Reason) {
	if age := v.Age(now); age.Abs() > r.MaxAge {
		return resource.Quantity{}, metric.ReasonStale
	}
	n, reason := convertToMilliQuantity(v.Value)
	if reason != "" {
		return n, reason
	}
	// The quantity decides the sign: a value that rounds to 0 is 0, such as -1e-17 from a difference of floats.
	if n.Sign() < 0 && !r.AllowNegative {
		return n, metric.ReasonNegative
	}
	return n, ""
}

// validateComputedValues validates computed values in their order.
func (p *Provider) validateComputedValues(req metricRequest, found []metric.Value) (podValues, error) {
	var result podValues
	for i := range found {
		v := &found[i]
		n, reason := resource.Quantity{}, v.Reason
		if reason == "" {
			n, reason = validateComputedValue(req.rule, v, req.now)
		}
		if reason == metric.ReasonNegative {
			return podValues{}, p.rejectNegativeValue(req.rule, v)
		}
		if reason != "" {
			o := newObjectOmission(req.rule, v.Object, reason, v.Detail)
			labels := v.Labels
			if v, n, reason = p.substituteOmittedValue(req, o); reason != "" {
				result.omitted = append(result.omitted, o)
				continue
			}
			v.Labels = labels
		}
		result.values, result.quantities = append(result.values, v), append(result.quantities, n)
	}
	p.metrics.countOmissionReasons(result.omitted)
	return result, nil
}

// rejectNegativeValue counts a negative value that the rule does not allow, and returns its error.
func (p *Provider) rejectNegativeValue(r *rule.Rule, v *metric.Value) error {
	p.metrics.countOmissionReasons([]metric.Omission{{Object: v.Object, Reason: metric.ReasonNegative}})
	of := ""
	if v.Object.Name != "" {
		of = " for " + v.Object.String()
	}
	return metric.Errorf(metric.KindInternal, "rule %q gives %g%s: negative values are rejected; correct the query, or set allowNegative: true",
		r.Name, v.Value, of)
}

// substituteOmittedValue returns the rule's onMissing for a live object without a value. Without onMissing, or if it does not
// apply, the reason remains. A substitute has no time and no window.
//
// onMissing applies if it is known that there is no number: the series is absent, or 0/0 made a NaN. The rule's author knows
// the meaning of a missing number for the service. It does not apply to:
//   - a rejected number (out of range, negative, of a counter that decreases), which is wrong rather than missing;
//   - an error of the backend;
//   - a pod that does not answer, warms up, has old samples, or is not scraped so far: it may have a number, and
//     `onMissing: zero` means a 0 neither for a pod too busy to answer nor for every pod after each start of the adapter.
func (p *Provider) substituteOmittedValue(req metricRequest, o metric.Omission) (*metric.Value, resource.Quantity, metric.Reason) {
	if req.rule.OnMissing == nil {
		return nil, resource.Quantity{}, o.Reason
	}
	switch o.Reason {
	case metric.ReasonScrapeFailed, metric.ReasonWarmingUp, metric.ReasonStale, metric.ReasonNotScraped, metric.ReasonTerminating,
		metric.ReasonOutOfRange, metric.ReasonNegative, metric.ReasonDecreasing:
		return nil, resource.Quantity{}, o.Reason
	case metric.ReasonAbsent, metric.ReasonNotANumber:
	}
	n, reason := convertToMilliQuantity(*req.rule.OnMissing)
	if reason != "" {
		return nil, resource.Quantity{}, o.Reason
	}
	p.metrics.countOmissionReasons([]metric.Omission{o})
	p.metrics.substituted.Inc()
	return &metric.Value{Object: o.Object, Value: *req.rule.OnMissing}, n, ""
}
