// Objects that an operator of the expression leaves without a result.

package query

import (
	"context"
	"time"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// The details of an object that has samples, and no result because an operator filters it.
const (
	excludedByComparison = "a comparison of the rule excludes it"
	excludedByUnless     = "unless in the rule excludes it"
)

// omitComparedQueryObjects omits the objects of a group that have no result because an operator filters them, as x > 1000 does: they
// have a result without that operator. An external rule without any result gets one value with that reason, without labels.
func (ev *evaluation) omitComparedQueryObjects(ctx context.Context, e *Engine, i int) error {
	if ev.Rule.External && len(ev.values) > 0 || !ev.Rule.External && !ev.lacksQueryResult(i) {
		return nil
	}
	text, err := withoutQueryFilters(ev.Expr(evalMillisToDuration(ev.evalGroups[i].window), ev.queryGroupObjectNames(i)))
	if err != nil {
		return err
	}
	results, err := ev.queryWithPromQLEngine(ctx, e, i, text)
	if err != nil {
		return ctx.Err() // two series may have the same labels now, and the objects only lack this reason
	}
	for _, r := range results {
		if ev.Rule.External {
			ev.values = append(ev.values, metric.Value{Time: ev.scan.newestQuerySample(r.labels), Reason: metric.ReasonAbsent, Detail: ev.filters})
			return nil
		}
		if ev.missingQueryResultLabel(r) != "" {
			continue
		}
		object := findEvaluatedObject(ev.Rule, r.labels)
		if s := ev.scan.findScannedObject(object); s != nil && s.groupIndex == i && !s.hasValue {
			s.hasValue = true
			ev.values = append(ev.values, metric.Value{Object: object, Time: time.UnixMilli(s.newest), Reason: metric.ReasonAbsent, Detail: ev.filters})
		}
	}
	return nil
}

// lacksQueryResult reports whether an object of a group has no value.
func (ev *evaluation) lacksQueryResult(group int) bool {
	lacks := false
	ev.scan.forEachScannedObject(func(_ metric.Object, s *evaluatedObject) {
		lacks = lacks || s.groupIndex == group && !s.hasValue
	})
	return lacks
}

// withoutQueryFilters returns an expression with comparisons that return 0 or 1 instead of dropping elements, and without the right side of
// each `unless`.
func withoutQueryFilters(text string) (string, error) {
	root, err := newPromQLParser().ParseExpr(text)
	if err != nil {
		return "", err
	}
	parser.Inspect(root, func(node parser.Node, _ []parser.Node) error {
		switch b, ok := node.(*parser.BinaryExpr); {
		case isFastPathFilter(node):
			b.ReturnBool = true
		case ok && b.Op == parser.LUNLESS:
			b.Op, b.RHS = parser.LAND, b.LHS
		}
		return nil
	})
	return root.String(), nil
}
