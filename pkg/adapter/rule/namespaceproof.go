// Whether the results of a query are of one namespace, decided from the query alone.

package rule

import (
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// namespaceProof proves that series of other namespaces have no part in an object's result. A number without labels,
// such as the total of a cluster, may come from all namespaces: no object is taken for another by it.
type namespaceProof struct {
	namespaceLabel, namespace string
	objectLabel               string // empty: unknown
}

// newNamespaceProof returns the proof for the results of a query.
func newNamespaceProof(q Query) namespaceProof {
	return namespaceProof{namespaceLabel: q.Rule.NamespaceLabel, namespace: q.Namespace, objectLabel: q.Rule.ObjectLabel}
}

// provesQueryNamespace reports whether the results of a query are of the namespace. t is the tree of the text; nil if it is not
// PromQL.
func (p namespaceProof) provesQueryNamespace(text string, t *exprTree) bool {
	if t == nil {
		return isMetricsQLOfNamespace(text, p.namespaceLabel, p.namespace)
	}
	return p.provesExprNamespace(t.root)
}

func (p namespaceProof) provesExprNamespace(expr parser.Expr) bool {
	if inner := findInnerRuleExpr(expr); inner != nil {
		return p.provesExprNamespace(inner)
	}
	switch e := expr.(type) {
	case *parser.VectorSelector:
		return slices.ContainsFunc(e.LabelMatchers, p.isNamespaceMatcher)
	case *parser.AggregateExpr:
		return p.provesExprNamespace(e.Expr)
	case *parser.BinaryExpr:
		return p.provesBinaryNamespace(e)
	case *parser.Call:
		if e.Type() == parser.ValueTypeScalar || e.Func.Name == "vector" {
			return true
		}
		return !slices.ContainsFunc(e.Args, func(arg parser.Expr) bool { return !p.provesExprNamespace(arg) })
	}
	return true // numbers and strings
}

func (p namespaceProof) isNamespaceMatcher(m *labels.Matcher) bool {
	if m.Name != p.namespaceLabel {
		return false
	}
	set := m.SetMatches()
	return m.Type == labels.MatchEqual && m.Value == p.namespace || m.Type == labels.MatchRegexp && len(set) == 1 && set[0] == p.namespace
}

func (p namespaceProof) provesBinaryNamespace(e *parser.BinaryExpr) bool {
	m := e.VectorMatching
	left, right := p.provesExprNamespace(e.LHS), p.provesExprNamespace(e.RHS)
	switch {
	case m == nil || e.Op == parser.LOR:
		return left && right
	case e.Op != parser.LUNLESS && (left || right) && p.matchesSidesByNamespace(e):
		return true
	case e.Op.IsSetOperator(): // the right side only chooses among results of the left
		return left
	case m.Card == parser.CardManyToOne:
		return left && (right || p.isMatchingSameForAll(m))
	case m.Card == parser.CardOneToMany:
		return right && (left || p.isMatchingSameForAll(m))
	}
	return left && right
}

// isMatchingSameForAll reports whether the "one" side of a matching has no object's label: it then is of no single object.
func (p namespaceProof) isMatchingSameForAll(m *parser.VectorMatching) bool {
	return p.objectLabel != "" && m.On && !slices.Contains(m.MatchingLabels, p.objectLabel) && !slices.Contains(m.Include, p.objectLabel)
}

// matchesSidesByNamespace reports whether the results of both sides match only if the series behind them are of one namespace.
func (p namespaceProof) matchesSidesByNamespace(e *parser.BinaryExpr) bool {
	m := e.VectorMatching
	return slices.Contains(m.MatchingLabels, p.namespaceLabel) == m.On && p.exprSeparatesNamespaces(e.LHS) && p.exprSeparatesNamespaces(e.RHS)
}

// exprSeparatesNamespaces reports whether the series behind each result have the result's own label of the namespace.
func (p namespaceProof) exprSeparatesNamespaces(expr parser.Expr) bool {
	if inner := findInnerRuleExpr(expr); inner != nil {
		return p.exprSeparatesNamespaces(inner)
	}
	switch e := expr.(type) {
	case *parser.VectorSelector:
		return true
	case *parser.AggregateExpr:
		return aggregateKeepsLabel(e, p.namespaceLabel) && p.exprSeparatesNamespaces(e.Expr)
	case *parser.Call:
		arg := findLabelledArgument(e, p.namespaceLabel)
		return arg != nil && p.exprSeparatesNamespaces(arg)
	case *parser.BinaryExpr:
		m := e.VectorMatching
		matched := m == nil || e.Op.IsSetOperator() || slices.Contains(m.MatchingLabels, p.namespaceLabel) == m.On
		return matched && p.exprSeparatesNamespaces(e.LHS) && p.exprSeparatesNamespaces(e.RHS)
	}
	return true // numbers and strings
}
