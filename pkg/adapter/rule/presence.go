// Presence rules: whether a pod has any series that an expression reads.

package rule

import (
	"fmt"
	"strings"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
)

// presenceMaxAge exceeds the retention of any store: a series is present until it ends.
const presenceMaxAge = 2 * time.Hour

// newPresenceRule returns the Presence of a rule with the expression t. It must be called before t is printed with marks.
func newPresenceRule(r *Rule, t *exprTree) (*Rule, error) {
	if r.Backend != config.ScrapeBackend || !r.PerPod() {
		return nil, nil
	}
	var selectors []string
	for _, v := range t.selectors {
		selectors = append(selectors, v.String())
	}
	text := fmt.Sprintf("count by (%s, %s) (%s)", r.NamespaceLabel, r.ObjectLabel, strings.Join(selectors, " or "))
	tree, err := parseRuleExpr(text)
	if err != nil {
		return nil, fmt.Errorf("parse the query of present series: %w", err)
	}
	p := &Rule{
		Metric: r.Metric, Resource: r.Resource, Name: r.Name, Namespaced: r.Namespaced, Backend: r.Backend, Window: r.Window,
		Aggregate: r.Aggregate, MaxAge: presenceMaxAge, NamespaceLabel: r.NamespaceLabel, ObjectLabel: r.ObjectLabel,
	}
	p.expr, p.timesExpr, err = newRuleExpressions(tree, p)
	return p, err
}
