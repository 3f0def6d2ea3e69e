// Queries as a remote backend gets them.

package rule

import (
	"fmt"
	"slices"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// RemoteQuery is a query for a remote backend.
type RemoteQuery struct {
	// Expr is the expression: PromQL on one line, or in a templated rule the dialect of its server.
	Expr string
	// Times is PromQL for the times, in seconds since the epoch, of the newest samples behind Expr's results: for each
	// selector, by its number in the label TimesSelectorLabel (absent with a single selector). A series belongs to all
	// results with its labels. The oldest of a result's times, one for each selector, is the time of the result.
	//
	// Times is empty if the times are unknown: Expr is not PromQL, reads metrics without naming them, or has a scalar
	// result.
	Times string
	// TimesNeeded are sets of selectors, by number. A result that has no time for any selector of a set has no sample
	// that the server still sees.
	TimesNeeded [][]int
	// OfNamespace reports that all results are of the query's namespace, as far as the rule is Namespaced, because series
	// of other namespaces have no part in them. Otherwise each result must have the label of its namespace.
	OfNamespace bool
	// Window is how far back Expr looks: 0 if it reads only the newest samples, or if its reach is unknown.
	Window time.Duration
}

// SharingKey returns a key that is equal for queries with a common evaluation. If the rule is Shared, the key does
// not depend on namespace and objects. It fails only for a templated rule.
func (q Query) SharingKey() (string, error) {
	text, err := q.renderRuleQuery(nil)
	if err != nil {
		return "", err
	}
	return q.Rule.NamespaceLabel + "\x00" + q.Rule.ObjectLabel + "\x00" + text, nil
}

// BuildRemoteQuery returns the query for all of the namespaces (empty: any) if the rule is Shared. Otherwise it
// returns the query for q.Namespace and q.Objects. It fails only for a templated rule.
func (q Query) BuildRemoteQuery(namespaces []string) (RemoteQuery, error) {
	r := q.Rule
	text, err := q.renderRuleQuery(namespaces)
	if err != nil {
		return RemoteQuery{}, err
	}
	if r.template.Render != nil {
		return q.newTemplatedQuery(text)
	}
	return RemoteQuery{
		Expr:        text,
		Times:       r.timesExpr.fillExprHoles(q.formatNamespaceMatchers(namespaces), r.Window.Duration),
		TimesNeeded: r.timesExpr.timesNeeded,
		OfNamespace: !r.shared,
		Window:      r.Span(r.Window.Duration),
	}, nil
}

func (q Query) renderRuleQuery(namespaces []string) (string, error) {
	if q.Rule.template.Render == nil {
		return q.Rule.expr.fillExprHoles(q.formatNamespaceMatchers(namespaces), q.Rule.Window.Duration), nil
	}
	text, err := q.Rule.template.Render(q)
	if err != nil {
		return "", fmt.Errorf("render the query of rule %q: %w", q.Rule.Name, err)
	}
	return text, nil
}

// formatNamespaceMatchers returns the matchers for the query of BuildRemoteQuery.
func (q Query) formatNamespaceMatchers(namespaces []string) string {
	if !q.Rule.shared {
		return q.formatObjectMatchers(q.Objects)
	}
	q.Namespace = ""
	b := make([]byte, 0, 64)
	if len(namespaces) > 0 && q.Rule.Namespaced {
		b = appendObjectsMatcher(b, q.Rule.NamespaceLabel, namespaces)
	}
	if q.Rule.ObjectLabel != "" {
		b = appendPromQLLabelMatcher(b, q.Rule.ObjectLabel, "!=", "") // any object, as a matcher for names would require
	}
	if rest := q.formatObjectMatchers(nil); rest != "" {
		b = append(appendPromQLMatcherComma(b), rest...)
	}
	return string(b)
}

// newTemplatedQuery derives the rest of a query from its expression, given as text. It fails if the text reads other
// namespaces than the request's although the template does not.
func (q Query) newTemplatedQuery(text string) (RemoteQuery, error) {
	t, _ := parseTemplatedQuery(text)
	proven := newNamespaceProof(q).provesQueryNamespace(text, t)
	if !proven && q.keepsTemplateToNamespace() {
		return RemoteQuery{}, metric.Errorf(metric.KindInternal, "rule %q: the query for these series reads other namespaces than %q, "+
			"although the template does not; the name of the series must be the cause", q.Rule.Name, q.Namespace)
	}
	if t == nil || !t.isInstantVector() {
		return RemoteQuery{Expr: text, OfNamespace: proven}, nil
	}
	times := t.buildSampleTimesQuery(q.Rule)
	var window time.Duration
	for _, reach := range t.reaches {
		window = max(window, reach.fixed)
	}
	// As printed, without comments: a comment would swallow the text that is appended.
	return RemoteQuery{Expr: t.root.String(), Times: times.text, TimesNeeded: times.needed, OfNamespace: proven, Window: window}, nil
}

// keepsTemplateToNamespace reports whether the template restricts every selector of the query to its namespace, as the query
// for series with a made-up name shows.
func (q Query) keepsTemplateToNamespace() bool {
	if !q.Rule.Namespaced || q.Namespace == "" || q.Rule.template.RenderSample == nil {
		return false
	}
	sample, err := q.Rule.template.RenderSample(q)
	if err != nil {
		return false // a template that depends on the name
	}
	t, _ := parseTemplatedQuery(sample)
	return newNamespaceProof(q).provesQueryNamespace(sample, t)
}

// sortMatchedObjectNames returns the names in ascending order. The slice may be the caller's.
func sortMatchedObjectNames(names []string) []string {
	if slices.IsSorted(names) {
		return names
	}
	return slices.Sorted(slices.Values(names))
}
