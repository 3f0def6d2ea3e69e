// Families of a type that the requested metric cannot be computed from.

package provider

import (
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// findFamilyTypeConflict returns a family of the pod with a type that does not fit the rule. The selected states of a state set are gauges, the
// selected buckets of a histogram counters.
func (p *Provider) findFamilyTypeConflict(req *metricRequest, pod *discovery.Pod) (rule.TypeConflict, bool) {
	if !isEmbeddedRule(req.rule) {
		return rule.TypeConflict{}, false
	}
	return req.rule.FindTypeConflict(func(family string) (model.MetricType, bool) {
		kind, ok := p.Scrapes.FamilyType(pod.Namespace, pod.Name, family)
		switch {
		case kind == model.MetricTypeStateset && req.selectsLabelValues(family), // the label of its states has its name
			kind == model.MetricTypeGaugeHistogram && req.selectsLabelValues(model.BucketLabel):
			kind = model.MetricTypeGauge
		case kind == model.MetricTypeHistogram && req.selectsLabelValues(model.BucketLabel):
			kind = model.MetricTypeCounter
		}
		return kind, ok
	})
}

// selectsLabelValues reports whether the selector chooses values of a label.
func (req *metricRequest) selectsLabelValues(label string) bool {
	return slices.ContainsFunc(req.matchers, func(m *labels.Matcher) bool { return m.Name == label && !m.Matches("") })
}

// newTypeConflictError returns the error for a family of an unfit type, with the metric to ask for instead.
func (p *Provider) newTypeConflictError(namespace string, c rule.TypeConflict) error {
	names := []string{strings.TrimSuffix(c.Name, "_total") + "_per_second", c.Family, c.Name}
	switch c.Type {
	case model.MetricTypeHistogram:
		names = []string{c.Family + "_p95", names[0]}
	case model.MetricTypeGaugeHistogram, // no sum of its buckets has a meaning
		model.MetricTypeUnknown: // its plain value may be a counter's
		names = nil
	case model.MetricTypeCounter, model.MetricTypeGauge, model.MetricTypeSummary, model.MetricTypeInfo, model.MetricTypeStateset:
	}
	for _, name := range names {
		if p.servesFamilyUnchanged(namespace, name, c) {
			return metric.Errorf(metric.KindInvalid, "%s: ask for %s", c, name)
		}
	}
	return metric.Errorf(metric.KindInvalid, "%s: write a rule for it", c)
}

// servesFamilyUnchanged reports whether a rule computes the metric from the family as it is.
func (p *Provider) servesFamilyUnchanged(namespace, name string, c rule.TypeConflict) bool {
	r, err := p.Rules().LookupFor(namespace, podKind.resource.String(), name)
	if err != nil {
		return false
	}
	for ; r != nil; r = r.Next() {
		_, conflicts := r.FindTypeConflict(func(family string) (model.MetricType, bool) { return c.Type, family == c.Family })
		if !conflicts && slices.Contains(r.ReadFamilies(), c.Family) {
			return true
		}
	}
	return false
}
