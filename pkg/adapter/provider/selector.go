// Conversion of metric selectors to label matchers.

package provider

import (
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8slabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// convertSelectorToMatchers converts a metric selector to matchers for the same series, in the selector's order. A requirement
// without an equivalent matcher is a KindInvalid error with the cause:
//
//   - Gt and Lt, because matchers compare strings;
//   - an empty value, because a series never has an empty label: `a=""` means "a is present and empty" to
//     Kubernetes and "a is absent" to PromQL, and its author may mean either.
//
// NotIn and != select series without the label too, in Kubernetes as in PromQL. A key other than a classic label
// name (with a dot, a dash or a slash) stays as it is: the engine takes any UTF-8 name, and without a
// series of this name the result is exact too.
func convertSelectorToMatchers(s k8slabels.Selector) ([]*labels.Matcher, error) {
	if s == nil || s.Empty() {
		return nil, nil
	}
	requirements, selectable := s.Requirements()
	if !selectable {
		return nil, metric.Errorf(metric.KindInvalid, "the metric selector selects nothing")
	}
	out := make([]*labels.Matcher, 0, len(requirements))
	for _, r := range requirements {
		m, err := convertRequirementToMatcher(r)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

func convertRequirementToMatcher(r k8slabels.Requirement) (*labels.Matcher, error) {
	values := slices.Compact(slices.Sorted(slices.Values(r.ValuesUnsorted())))
	if slices.Contains(values, "") {
		return nil, metric.Errorf(metric.KindInvalid, "metric selector %q: a series never has an empty label; "+
			"write Exists or DoesNotExist", r.String())
	}
	switch r.Operator() {
	case selection.Equals, selection.DoubleEquals, selection.In:
		return newRequirementMatcher(r, labels.MatchEqual, labels.MatchRegexp, values)
	case selection.NotEquals, selection.NotIn:
		return newRequirementMatcher(r, labels.MatchNotEqual, labels.MatchNotRegexp, values)
	case selection.Exists:
		return labels.NewMatcher(labels.MatchNotEqual, r.Key(), "")
	case selection.DoesNotExist:
		return labels.NewMatcher(labels.MatchEqual, r.Key(), "")
	default:
		return nil, metric.Errorf(metric.KindInvalid, "metric selector %q: operator %q cannot be expressed over "+
			"the labels of series, which are compared as strings", r.String(), r.Operator())
	}
}

// convertToLabelSelector converts a metric selector that convertSelectorToMatchers accepts to the type of a response. It keeps every
// requirement; an operator that the type lacks (!=) becomes its equivalent.
func convertToLabelSelector(s k8slabels.Selector) *metav1.LabelSelector {
	out := &metav1.LabelSelector{}
	requirements, _ := s.Requirements()
	for _, r := range requirements {
		e := metav1.LabelSelectorRequirement{Key: r.Key(), Values: slices.Sorted(slices.Values(r.ValuesUnsorted()))}
		switch r.Operator() {
		case selection.Equals, selection.DoubleEquals:
			if _, taken := out.MatchLabels[r.Key()]; !taken {
				out.MatchLabels = k8slabels.Merge(out.MatchLabels, k8slabels.Set{r.Key(): e.Values[0]})
				continue
			}
			e.Operator = metav1.LabelSelectorOpIn
		case selection.In:
			e.Operator = metav1.LabelSelectorOpIn
		case selection.NotEquals, selection.NotIn:
			e.Operator = metav1.LabelSelectorOpNotIn
		case selection.Exists:
			e.Operator = metav1.LabelSelectorOpExists
		case selection.DoesNotExist:
			e.Operator = metav1.LabelSelectorOpDoesNotExist
		}
		out.MatchExpressions = append(out.MatchExpressions, e)
	}
	return out
}

// newRequirementMatcher returns a plain matcher for one value, or a regular expression of quoted alternatives (matchers anchor it).
func newRequirementMatcher(r k8slabels.Requirement, one, more labels.MatchType, values []string) (*labels.Matcher, error) {
	if len(values) == 1 {
		return labels.NewMatcher(one, r.Key(), values[0])
	}
	quoted := make([]string, len(values))
	for i, v := range values {
		quoted[i] = regexp.QuoteMeta(v)
	}
	m, err := labels.NewMatcher(more, r.Key(), strings.Join(quoted, "|"))
	if err != nil {
		return nil, metric.Errorf(metric.KindInvalid, "metric selector %q: %w", r.String(), err)
	}
	return m, nil
}

// formatRequestSelector returns a selector as text, for messages and comparison; it is empty if the selector selects everything.
func formatRequestSelector(s k8slabels.Selector) string {
	switch {
	case s == nil || s.Empty():
		return ""
	case k8slabels.MatchesNothing(s):
		return "(nothing)"
	}
	return s.String()
}
