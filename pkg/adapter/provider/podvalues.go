// Values of a set of pods.

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

// podValues are the values of a rule for a set of pods: each pod is in exactly one of values, omitted and inactive.
type podValues struct {
	// values belong to live pods, sorted by pod, each valid; quantities are the same numbers.
	values     []metric.Value
	quantities []resource.Quantity
	// omitted are the other live pods, inactive the pods that are not live, both sorted by pod.
	omitted, inactive []metric.Omission
}

// missingValuesError returns the error for pods without values; noun counts them.
func (v podValues) missingValuesError(noun string) error {
	return newMissingError(noun, slices.Concat(v.omitted, v.inactive))
}

// evaluatePodValues computes the values of the pods. It fails if the backend fails or the rule rejects a negative value:
// such a rule is wrong for the other pods too.
func (p *Provider) evaluatePodValues(ctx context.Context, req request, pods []discovery.Pod) (podValues, error) {
	slices.SortFunc(pods, func(a, b discovery.Pod) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	found, err := p.evaluateByNamespace(ctx, req, pods)
	if err != nil {
		return podValues{}, err
	}
	result := podValues{values: make([]metric.Value, 0, len(found)), quantities: make([]resource.Quantity, 0, len(found))}
	for _, pod := range pods {
		if !pod.Live {
			result.inactive = append(result.inactive, pod.Omission)
			continue
		}
		v, reason := metric.Value{Object: pod.Object()}, metric.ReasonAbsent
		var n resource.Quantity
		if computed, ok := found[pod.Object()]; ok && !predatesPod(*computed, pod) {
			v = *computed
			n, reason = validateValue(req.rule, v, req.now)
		}
		if reason == metric.ReasonNegative {
			return podValues{}, p.rejectNegative(req.rule, v)
		}
		if reason != "" {
			o := p.explainOmission(req, pod, reason)
			if v, n, reason = p.substituteMissing(req, o); reason != "" {
				result.omitted = append(result.omitted, o)
				continue
			}
		}
		result.values, result.quantities = append(result.values, v), append(result.quantities, n)
	}
	p.metrics.countOmissions(result.omitted)
	p.metrics.countOmissions(result.inactive)
	return result, nil
}

// predatesPod reports whether a value comes from samples of an earlier pod with the same name, still in the backend.
// Created is truncated to a second, and no pod answers a scrape within its first second.
func predatesPod(v metric.Value, pod discovery.Pod) bool {
	return !v.Time.IsZero() && v.Time.Before(pod.Created.Add(time.Second))
}

// evaluateByNamespace evaluates the rule for the live pods, one namespace at a time. Otherwise a rule that sums by pod
// alone would add up pods with the same name.
func (p *Provider) evaluateByNamespace(ctx context.Context, req request, pods []discovery.Pod) (map[metric.Object]*metric.Value, error) {
	found := make(map[metric.Object]*metric.Value, len(pods))
	for len(pods) > 0 {
		namespace := pods[0].Namespace
		n := slices.IndexFunc(pods, func(pod discovery.Pod) bool { return pod.Namespace != namespace })
		if n < 0 {
			n = len(pods)
		}
		values, err := p.evaluateBackend(ctx, req, namespace, livePodNames(pods[:n]))
		if err != nil {
			return nil, err
		}
		for i := range values {
			v := &values[i]
			if v.Object.Namespace == "" && !req.rule.Namespaced {
				v.Object.Namespace = namespace
			}
			if _, twice := found[v.Object]; twice {
				return nil, metric.Errorf(metric.KindInternal, "rule %q: two values for pod %q", req.rule.Name, v.Object)
			}
			found[v.Object] = v
		}
		pods = pods[n:]
	}
	return found, nil
}

// evaluateBackend evaluates the rule on its backend for the objects; nil objects mean all, an empty slice means none.
func (p *Provider) evaluateBackend(ctx context.Context, req request, namespace string, objects []string) ([]metric.Value, error) {
	if objects != nil && len(objects) == 0 {
		return nil, nil
	}
	b, err := p.ruleBackend(req.rule)
	if err != nil {
		return nil, err
	}
	if !req.rule.Namespaced {
		namespace = ""
	}
	return b.Evaluate(ctx, rule.Query{Rule: req.rule, Namespace: namespace, Objects: objects, Selector: req.matchers}, req.now)
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
