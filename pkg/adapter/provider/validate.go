package provider

import (
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// validateValue turns a computed value into a quantity, or says why it must not be served. The clocks of a backend and of
// this process may differ a little; a value from further in the future than maxAge is no fresher than one as old.
func validateValue(r *rule.Rule, v metric.Value, now time.Time) (resource.Quantity, metric.Reason) {
	if age := v.Age(now); age.Abs() > r.MaxAge {
		return resource.Quantity{}, metric.ReasonStale
	}
	n, reason := toQuantity(v.Value)
	if reason != "" {
		return n, reason
	}
	// The sign is that of the quantity: what rounds to 0 is 0, such as -1e-17 from a difference of floats.
	if n.Sign() < 0 && !r.AllowNegative {
		return n, metric.ReasonNegative
	}
	return n, ""
}

// validateValues are computed values, judged one by one in their order.
func (p *Provider) validateValues(q request, found []metric.Value) (podValues, error) {
	var g podValues
	for _, v := range found {
		n, reason := validateValue(q.rule, v, q.now)
		if reason == metric.ReasonNegative {
			return podValues{}, p.rejectNegative(q.rule, v)
		}
		if reason != "" {
			o := newOmission(q.rule, v.Object, reason)
			labels := v.Labels
			if v, n, reason = p.substituteMissing(q, o); reason != "" {
				g.omitted = append(g.omitted, o)
				continue
			}
			v.Labels = labels
		}
		g.values, g.quantities = append(g.values, v), append(g.quantities, n)
	}
	p.metrics.countOmissions(g.omitted)
	return g, nil
}

// rejectNegative counts and returns the error for a value that is negative against the rule.
func (p *Provider) rejectNegative(r *rule.Rule, v metric.Value) error {
	p.metrics.countOmissions([]metric.Omission{{Object: v.Object, Reason: metric.ReasonNegative}})
	of := ""
	if v.Object.Name != "" {
		of = " for " + v.Object.String()
	}
	return metric.Errorf(metric.KindInternal, "rule %q gives %g%s: negative values are refused unless the rule says allowNegative: true",
		r.Name, v.Value, of)
}

// substituteMissing is what the rule's onMissing puts in place of a live object's missing value; without onMissing, or where
// it does not apply, the reason remains. It has no time of its own and no window.
//
// It stands for everything that leaves no number: the scrape fails, the samples are old, the series is not there,
// 0/0 made a NaN. Whoever wrote it knows what that means for this service. It does not stand for a number that
// was refused (out of range, negative), which is wrong rather than missing; nor for an error of the backend;
// nor for a pod that warms up: its number is seconds away, and a 0 for every pod after each start of the
// adapter is what nobody means by `onMissing: zero`.
func (p *Provider) substituteMissing(q request, o metric.Omission) (metric.Value, resource.Quantity, metric.Reason) {
	if q.rule.OnMissing == nil {
		return metric.Value{}, resource.Quantity{}, o.Reason
	}
	switch o.Reason {
	case metric.ReasonWarmingUp, metric.ReasonOutOfRange, metric.ReasonNegative:
		return metric.Value{}, resource.Quantity{}, o.Reason
	}
	n, reason := toQuantity(*q.rule.OnMissing)
	if reason != "" {
		return metric.Value{}, resource.Quantity{}, o.Reason
	}
	p.metrics.countOmissions([]metric.Omission{o})
	p.metrics.substituted.Inc()
	return metric.Value{Object: o.Object, Value: *q.rule.OnMissing}, n, ""
}
