// The judgement of a templated query before any server sees it.

package rule

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// TemplateCheck is the judgement of a templated query.
type TemplateCheck struct {
	// Fault is the reason why no server ever gives a usable result; nil if one may.
	Fault error
	// Warning is a note about a query that works, but only on some servers or in an unusual way. It may be empty.
	Warning string
}

// CheckTemplate renders the query of a templated rule and judges it. Results must be able to have the labels of objects.
func (q Query) CheckTemplate(objectLabels ...string) TemplateCheck {
	text, err := q.Rule.template.Render(q)
	if err != nil {
		return TemplateCheck{Fault: err}
	}
	t, err := parseTemplatedQuery(text)
	switch {
	case err != nil && mayBeMetricsQL(text):
		if fault := q.checkMetricsQLResult(text, objectLabels); fault != nil {
			return TemplateCheck{Fault: fault}
		}
		return TemplateCheck{Warning: fmt.Sprintf("is MetricsQL and not PromQL (%v): of all servers only VictoriaMetrics evaluates it, "+
			"and the age of its values is unknown%s", err, explainGrafanaVariable(text))}
	case err != nil:
		return TemplateCheck{Fault: fmt.Errorf("does not give PromQL: %w, in %s%s%s",
			err, excerptRuleQuery(text, err), suggestNearestFunction(err.Error()), explainGrafanaVariable(text))}
	}
	return q.checkTemplatedResult(text, t, objectLabels)
}

// excerptRuleQuery returns the text around the column of a parse error, or its beginning.
func excerptRuleQuery(text string, err error) string {
	column := 0
	_, _ = fmt.Sscanf(err.Error(), "column %d:", &column)
	const before = 60 // leaves room for some text behind the column
	if r := []rune(text); column > before && column <= len(r) {
		return "…" + strict.ShortenPlain(string(r[column-before:]))
	}
	return strict.ShortenPlain(strings.Join(strings.Fields(text), " "))
}

// parseTemplatedQuery parses the query of a templated rule, which may use all that a server may have enabled.
func parseTemplatedQuery(text string) (*exprTree, error) {
	t, err := parseRuleExpr(text)
	if err != nil {
		all := parser.Options{
			EnableExperimentalFunctions: true, ExperimentalDurationExpr: true, EnableExtendedRangeSelectors: true, EnableBinopFillModifiers: true,
		}
		if experimental, err := parseRuleExprWith(text, all); err == nil {
			t = experimental
		}
	}
	switch {
	case t == nil:
		return nil, err
	case t.windowCount > 0:
		return nil, errors.New("$window belongs to Tachometer's own format; write a duration")
	}
	return t, nil
}

// checkTemplatedResult judges whether the results of a templated query can name their object and its namespace.
func (q Query) checkTemplatedResult(text string, t *exprTree, objectLabels []string) TemplateCheck {
	r := q.Rule
	if err := cmp.Or(t.findNeverMatching(objectLabels, slices.Concat(q.Objects, []string{q.Namespace})...),
		t.findPatternAsText(q.Objects), t.findNeverWorking(), t.findLabelLostByExpr(objectLabels), t.findNoNumberReason(true)); err != nil {
		return TemplateCheck{Fault: err}
	}
	proven := !r.Namespaced || newNamespaceProof(q).provesQueryNamespace(text, t)
	if r.External && q.Objects == nil {
		switch {
		case !t.isInstantVector() && t.root.Type() != parser.ValueTypeScalar:
			return TemplateCheck{Fault: errors.New(t.describeResultKind())}
		case !proven:
			return TemplateCheck{Warning: "reads all namespaces, because a selector has no <<.LabelMatchers>>; " +
				"if it is meant so, say resources.namespaced: false"}
		}
		return TemplateCheck{}
	}
	if !t.isInstantVector() {
		return TemplateCheck{Fault: errors.New(t.describeResultKind())}
	}
	for _, label := range objectLabels {
		if !t.exprResultMayHaveLabel(label) {
			return TemplateCheck{Fault: q.newLostObjectError(label, objectLabels)}
		}
	}
	if !proven && !t.exprResultMayHaveLabel(r.NamespaceLabel) {
		if namespace := q.findSelectedNamespace(text, t); namespace != "" {
			return TemplateCheck{Warning: fmt.Sprintf("serves objects of the namespace %s only, because the query names it; "+
				"write <<.LabelMatchers>> to serve all", namespace)}
		}
		return TemplateCheck{Fault: q.newMixedNamespacesError(objectLabels)}
	}
	if !proven && t.exprWritesLabel(r.NamespaceLabel) {
		return TemplateCheck{Warning: fmt.Sprintf("writes the label %s on values that series of all namespaces may feed; "+
			"write <<.LabelMatchers>> in every selector", r.NamespaceLabel)}
	}
	for _, label := range objectLabels {
		if side := findAlternativeWithout(t.root, label); side != nil {
			return TemplateCheck{Warning: fmt.Sprintf("the alternative %s names no object, and gives none a value", side)}
		}
	}
	if function := t.findAbsenceCall(strings.Join(q.Objects, "|")); function != "" && len(q.Objects) > 0 {
		return TemplateCheck{Warning: fmt.Sprintf("%s(…) with <<.LabelMatchers>> reads only the series of the requested objects, and has a value although "+
			"others have the series; write `unless on (<<.GroupBy>>)` in place of it", function)}
	}
	return TemplateCheck{}
}

// checkMetricsQLResult returns the reason why the results of a query in MetricsQL never name their object or its namespace; nil if
// they may.
func (q Query) checkMetricsQLResult(text string, objectLabels []string) error {
	r := q.Rule
	if r.External && q.Objects == nil {
		return nil
	}
	if label := findMetricsQLLostLabel(text, objectLabels); label != "" {
		return q.newLostObjectError(label, objectLabels)
	}
	if r.Namespaced && findMetricsQLLostLabel(text, []string{r.NamespaceLabel}) != "" && !newNamespaceProof(q).provesQueryNamespace(text, nil) {
		return q.newMixedNamespacesError(objectLabels)
	}
	return nil
}

func (q Query) newLostObjectError(label string, objectLabels []string) error {
	return fmt.Errorf("the result has no label %s to name its object; aggregate by (%s)", label, q.formatWantedLabels(objectLabels))
}

func (q Query) newMixedNamespacesError(objectLabels []string) error {
	return fmt.Errorf("adds up objects of the same name in all namespaces; write <<.LabelMatchers>> in every selector, or aggregate by (%s)",
		q.formatWantedLabels(objectLabels))
}

// formatWantedLabels returns the labels that results need, as PromQL takes them in a grouping.
func (q Query) formatWantedLabels(objectLabels []string) string {
	if r := q.Rule; r.Namespaced && !slices.Contains(objectLabels, r.NamespaceLabel) {
		return strings.Join(append([]string{r.NamespaceLabel}, objectLabels...), ", ")
	}
	return strings.Join(objectLabels, ", ")
}

// exprWritesLabel reports whether a function of the expression writes a label that its argument cannot have, or a constant.
func (t *exprTree) exprWritesLabel(label string) (writes bool) {
	parser.Inspect(t.root, func(node parser.Node, _ []parser.Node) error {
		if c, ok := node.(*parser.Call); ok && (c.Func.Name == "label_replace" || c.Func.Name == "label_join") {
			dst, ok := c.Args[1].(*parser.StringLiteral)
			constant := false // the same value for series of all namespaces
			if value, ok := c.Args[2].(*parser.StringLiteral); ok && c.Func.Name == "label_replace" {
				constant = !strings.Contains(value.Val, "$")
			}
			writes = writes || ok && dst.Val == label && (constant || !exprMayHaveLabel(c.Args[0], label))
		}
		return nil
	})
	return writes
}

// findSelectedNamespace returns the namespace that the query itself selects for any request; empty if there is none.
func (q Query) findSelectedNamespace(text string, t *exprTree) string {
	for _, v := range t.selectors {
		for _, m := range v.LabelMatchers {
			if m.Name != q.Rule.NamespaceLabel || m.Value == q.Namespace {
				continue
			}
			q.Namespace = m.Value
			if newNamespaceProof(q).provesQueryNamespace(text, t) {
				return m.Value
			}
		}
	}
	return ""
}
