package provider

import (
	"cmp"
	"context"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// podValues is what a rule gives for a set of pods: each pod is in exactly one of values, omitted and lifeless.
type podValues struct {
	// values are those of live pods, sorted by pod, each fit to be served; quantities are the same numbers.
	values     []metric.Value
	quantities []resource.Quantity
	// omitted are the other live pods, lifeless those that are not live, both sorted by pod.
	omitted, inactive []metric.Omission
}

// missingValuesError is the error for a group without values.
func (g podValues) missingValuesError(what string) error {
	return newMissingError(what, slices.Concat(g.omitted, g.inactive))
}

// evaluatePodValues values the pods. It is an error if the backend has one, or if a pod's value is negative against the rule:
// a rule that yields such a number is not to be trusted for the other pods either.
func (p *Provider) evaluatePodValues(ctx context.Context, q request, pods []discovery.Pod) (podValues, error) {
	slices.SortFunc(pods, func(a, b discovery.Pod) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	found, err := p.evaluateByNamespace(ctx, q, pods)
	if err != nil {
		return podValues{}, err
	}
	g := podValues{values: make([]metric.Value, 0, len(found)), quantities: make([]resource.Quantity, 0, len(found))}
	for _, pod := range pods {
		if !pod.Live {
			g.inactive = append(g.inactive, pod.Omission)
			continue
		}
		v, reason := metric.Value{Object: pod.Object()}, metric.ReasonAbsent
		var n resource.Quantity
		if computed, ok := found[pod.Object()]; ok && !predatesPod(*computed, pod) {
			v = *computed
			n, reason = validateValue(q.rule, v, q.now)
		}
		if reason == metric.ReasonNegative {
			return podValues{}, p.rejectNegative(q.rule, v)
		}
		if reason != "" {
			o := p.explainOmission(q, pod, reason)
			if v, n, reason = p.substituteMissing(q, o); reason != "" {
				g.omitted = append(g.omitted, o)
				continue
			}
		}
		g.values, g.quantities = append(g.values, v), append(g.quantities, n)
	}
	p.metrics.countOmissions(g.omitted)
	p.metrics.countOmissions(g.inactive)
	return g, nil
}

// predatesPod reports whether a value is made of the samples of an earlier pod of the same name, which its backend still
// has. No pod answers a scrape within the second that Created is short of.
func predatesPod(v metric.Value, pod discovery.Pod) bool {
	return !v.Time.IsZero() && v.Time.Before(pod.Created.Add(time.Second))
}

// evaluateByNamespace evaluates the rule for the live pods, one namespace at a time: a rule that sums by pod alone would
// otherwise add up pods of the same name.
func (p *Provider) evaluateByNamespace(ctx context.Context, q request, pods []discovery.Pod) (map[metric.Object]*metric.Value, error) {
	found := make(map[metric.Object]*metric.Value, len(pods))
	for len(pods) > 0 {
		namespace := pods[0].Namespace
		n := slices.IndexFunc(pods, func(pod discovery.Pod) bool { return pod.Namespace != namespace })
		if n < 0 {
			n = len(pods)
		}
		values, err := p.evaluateBackend(ctx, q, namespace, livePodNames(pods[:n]))
		if err != nil {
			return nil, err
		}
		for i := range values {
			v := &values[i]
			if v.Object.Namespace == "" && !q.rule.Namespaced {
				v.Object.Namespace = namespace
			}
			if _, twice := found[v.Object]; twice {
				return nil, metric.Errorf(metric.KindInternal, "rule %q: two values for pod %q", q.rule.Name, v.Object)
			}
			found[v.Object] = v
		}
		pods = pods[n:]
	}
	return found, nil
}

// evaluateBackend asks the rule's backend; no objects ask for nothing, nil for any.
func (p *Provider) evaluateBackend(ctx context.Context, q request, namespace string, objects []string) ([]metric.Value, error) {
	if objects != nil && len(objects) == 0 {
		return nil, nil
	}
	b, err := p.ruleBackend(q.rule)
	if err != nil {
		return nil, err
	}
	if !q.rule.Namespaced {
		namespace = ""
	}
	return b.Evaluate(ctx, rule.Query{Rule: q.rule, Namespace: namespace, Objects: objects, Selector: q.matchers}, q.now)
}

func livePodNames(pods []discovery.Pod) []string {
	names := make([]string, 0, len(pods))
	for _, pod := range pods {
		if pod.Live {
			names = append(names, pod.Name)
		}
	}
	return names
}
