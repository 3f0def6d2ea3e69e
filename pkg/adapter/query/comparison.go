// Objects that a comparison of the expression leaves without a result.

package query

import (
	"context"
	"time"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// excludedByComparison is the detail of an object that has samples, and no result because a comparison filters it.
const excludedByComparison = "a comparison of the rule excludes it"

// refuseComparedQueryObjects refuses the objects of a group that have no result because a comparison filters them, as x > 1000 does: they
// have a result where the comparison returns 0 or 1 instead.
func (ev *evaluation) refuseComparedQueryObjects(ctx context.Context, e *Engine, i int) error {
	if !ev.filters || ev.Reviewed || ev.querySumsPods() || !ev.lacksQueryResult(i) {
		return nil
	}
	text, err := withoutQueryFilters(ev.Expr(queryMillisToDuration(ev.evalGroups[i].window), ev.queryGroupObjectNames(i)))
	if err != nil {
		return err
	}
	results, err := ev.queryWithPromQLEngine(ctx, e, i, text)
	if err != nil {
		return ctx.Err() // two series may have the same labels now, and the objects only lack this reason
	}
	for _, r := range results {
		if ev.missingQueryResultLabel(r) != "" {
			continue
		}
		object := objectOfQueryResult(ev.Rule, r.labels)
		if s := ev.scan.findQueriedObject(object); s != nil && s.groupIndex == i && !s.hasValue {
			s.hasValue = true
			ev.values = append(ev.values, metric.Value{Object: object, Time: time.UnixMilli(s.newest), Reason: metric.ReasonAbsent, Detail: excludedByComparison})
		}
	}
	return nil
}

// lacksQueryResult reports whether an object of a group has no value.
func (ev *evaluation) lacksQueryResult(group int) bool {
	lacks := false
	ev.scan.forEachQueriedObject(func(_ metric.Object, s *scannedObject) {
		lacks = lacks || s.groupIndex == group && !s.hasValue
	})
	return lacks
}

// withoutQueryFilters returns an expression whose comparisons return 0 or 1 instead of dropping elements.
func withoutQueryFilters(text string) (string, error) {
	root, err := newPromQLParser().ParseExpr(text)
	if err != nil {
		return "", err
	}
	parser.Inspect(root, func(node parser.Node, _ []parser.Node) error {
		if isPromQLFilter(node) {
			node.(*parser.BinaryExpr).ReturnBool = true
		}
		return nil
	})
	return root.String(), nil
}
