// The types that a page declares for the families that an expression reads.

package rule

import (
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// TypeConflict is a family with a type that does not fit its use in an expression.
type TypeConflict struct {
	// Name is the metric name that the expression reads, Family the family, without _bucket, _sum or _count of a histogram.
	Name, Family string
	// Type is the family's type, as its page or else its name says.
	Type model.MetricType
}

// String describes the family, such as "gateway_requests is a counter".
func (c TypeConflict) String() string {
	switch c.Type {
	case model.MetricTypeUnknown:
		return c.Name + " has no type on its page, so it may be no counter"
	case model.MetricTypeGaugeHistogram:
		return c.Family + " is a gauge histogram"
	case model.MetricTypeCounter, model.MetricTypeGauge, model.MetricTypeHistogram, model.MetricTypeSummary,
		model.MetricTypeInfo, model.MetricTypeStateset:
	}
	return c.Family + " is a " + string(c.Type)
}

// FindTypeConflict returns the first family with a type that does not fit: a gauge of which the expression takes a rate, or a
// counter, histogram, summary or state set of which it takes the plain value. It judges only expanded pattern rules and built-in
// rules, which choose families by their names; the author of any other rule chose the family. typeOf returns the type
// that a page gives to a family, and whether the page has the family.
func (r *Rule) FindTypeConflict(typeOf func(family string) (model.MetricType, bool)) (TypeConflict, bool) {
	for _, u := range r.familyUses {
		for _, family := range u.families {
			kind, ok := typeOf(family)
			if !ok {
				continue
			}
			c := TypeConflict{Name: u.name, Family: family, Type: guessFamilyTypeByUse(kind, u.name, family)}
			if u.conflictsWithFamily(c.Type, family) {
				return c, true
			}
			break
		}
	}
	return TypeConflict{}, false
}

// familyUse is how an expression uses a metric name.
type familyUse struct {
	name string
	// families may own the name: itself, and the name without the ending of a histogram or summary.
	families  []string
	asCounter bool
	// addsBuckets is set for a sum over the buckets of a histogram: each counts the events of all below. addsBounds is set for one over series
	// that would be such buckets under another name.
	addsBuckets, addsBounds bool
}

// histogramEndings are the endings of the counters of a histogram or summary.
var histogramEndings = []string{"_bucket", "_sum", "_count"}

// guessFamilyTypeByUse returns the type of a family: a name that ends like a counter is a counter, unless its page says
// otherwise. The count, the sum and the buckets of a histogram or summary are counters by themselves.
func guessFamilyTypeByUse(kind model.MetricType, name, family string) model.MetricType {
	isWhole := kind == model.MetricTypeHistogram || kind == model.MetricTypeSummary
	if kind != model.MetricTypeUnknown && kind != "" && (!isWhole || name != family) {
		return kind
	}
	for _, ending := range append([]string{"_total"}, histogramEndings...) {
		if strings.HasSuffix(name, ending) {
			return model.MetricTypeCounter
		}
	}
	if isWhole {
		return kind
	}
	return model.MetricTypeUnknown
}

func (u familyUse) conflictsWithFamily(kind model.MetricType, family string) bool {
	switch kind {
	case model.MetricTypeCounter:
		return !u.asCounter
	case model.MetricTypeHistogram:
		return !u.asCounter || u.name == family || u.addsBuckets
	case model.MetricTypeSummary:
		return !u.asCounter || u.name == family || strings.HasSuffix(u.name, "_bucket")
	case model.MetricTypeGaugeHistogram:
		return u.asCounter || u.name == family || u.addsBuckets // its samples have names of their own
	case model.MetricTypeStateset: // the sum of its states is 1, whichever is set
		return true
	case model.MetricTypeUnknown, model.MetricTypeGauge, model.MetricTypeInfo:
	}
	return u.asCounter
}

// listRuleFamilyUses returns the names of the families with types that matter, without duplicates.
func (t *exprTree) listRuleFamilyUses() []familyUse {
	var uses []familyUse
	parser.Inspect(t.root, func(node parser.Node, path []parser.Node) error {
		v, ok := node.(*parser.VectorSelector)
		if !ok || findSelectorMetric(v) == "" {
			return nil
		}
		counter, any := classifyRuleFamilyUse(path)
		any = any || !counter && choosesSummaryQuantile(v)
		u := newRuleFamilyUse(findSelectorMetric(v), counter)
		u.addsBounds = exprAddsUpBuckets(v, path)
		u.addsBuckets = u.addsBounds && isBucketName(u.name)
		same := func(o familyUse) bool {
			return o.name == u.name && o.asCounter == u.asCounter && o.addsBounds == u.addsBounds
		}
		if !any && !slices.ContainsFunc(uses, same) {
			uses = append(uses, u)
		}
		return nil
	})
	return uses
}

// isBucketName reports whether a metric name is that of a histogram's buckets.
func isBucketName(name string) bool { return strings.HasSuffix(name, "_bucket") }

// exprAddsUpBuckets reports whether an expression adds up the series that a selector reads over the bounds of buckets, and chooses none by its
// bound. path leads to the selector.
func exprAddsUpBuckets(v *parser.VectorSelector, path []parser.Node) bool {
	if slices.ContainsFunc(v.LabelMatchers, func(m *labels.Matcher) bool { return m.Name == model.BucketLabel && !m.Matches("") }) {
		return false
	}
	for _, node := range slices.Backward(path) {
		switch n := node.(type) {
		case *parser.Call:
			if n.Func.Name == "histogram_quantile" || n.Func.Name == "histogram_fraction" {
				return false
			}
		case *parser.AggregateExpr:
			if slices.Contains(n.Grouping, model.BucketLabel) == n.Without {
				return n.Op == parser.SUM
			}
		}
	}
	return false
}

// choosesSummaryQuantile reports whether a selector chooses quantiles of a summary: their plain values are meant.
func choosesSummaryQuantile(v *parser.VectorSelector) bool {
	return slices.ContainsFunc(v.LabelMatchers, func(m *labels.Matcher) bool { return m.Name == model.QuantileLabel && !m.Matches("") })
}

func newRuleFamilyUse(name string, asCounter bool) familyUse {
	u := familyUse{name: name, families: []string{name}, asCounter: asCounter}
	for _, ending := range histogramEndings {
		if base, ok := strings.CutSuffix(name, ending); ok && base != "" {
			u.families = append(u.families, base)
		}
	}
	return u
}

// classifyRuleFamilyUse returns how the innermost function around a selector uses it: as a counter, or in a way that fits any type.
func classifyRuleFamilyUse(path []parser.Node) (counter, anyType bool) {
	for _, node := range slices.Backward(path) {
		switch n := node.(type) {
		case *parser.Call:
			switch n.Func.Name {
			case "rate", "irate", "increase":
				return true, false
			case "timestamp", "absent", "absent_over_time", "present_over_time", "count_over_time", "resets", "changes":
				return false, true
			}
			return false, false
		case *parser.AggregateExpr:
			return false, n.Op == parser.COUNT || n.Op == parser.GROUP
		}
	}
	return false, false
}
