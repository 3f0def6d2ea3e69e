package rule

import (
	"fmt"
	"slices"
	"time"
)

// RemoteQuery is a question as a server is asked it.
type RemoteQuery struct {
	// Expr is the expression: PromQL on one line, or of a templated rule whatever dialect its server speaks.
	Expr string
	// Times is PromQL whose values are the times, in seconds since the epoch, of the newest samples behind Expr's
	// results. One of its series belongs to all results that have its labels. A result without one has no sample
	// that the server still sees. Times is empty where it cannot be told: for an expression that is no PromQL, or
	// reads metrics without naming them, or has a scalar for its result.
	Times string
	// Window is how far back Expr looks: 0 where only at the newest samples, or where that cannot be told.
	Window time.Duration
}

// SharingKey is equal for questions that one evaluation answers: where the rule is Shared it does not depend on namespace
// and objects. It fails only for a templated rule.
func (q Query) SharingKey() (string, error) {
	text, err := q.renderExpr(nil)
	if err != nil {
		return "", err
	}
	return q.Rule.NamespaceLabel + "\x00" + q.Rule.ObjectLabel + "\x00" + text, nil
}

// BuildRemoteQuery is the question for all of the namespaces (none means any) if the rule is Shared. If it is not, it is the one
// for q.Namespace and q.Objects. It fails only for a templated rule.
func (q Query) BuildRemoteQuery(namespaces []string) (RemoteQuery, error) {
	r := q.Rule
	text, err := q.renderExpr(namespaces)
	if err != nil {
		return RemoteQuery{}, err
	}
	if r.renderTemplate != nil {
		return newRemoteQuery(r, text), nil
	}
	return RemoteQuery{
		Expr:   text,
		Times:  r.timesExpr.fillHoles(q.remoteMatchers(namespaces), r.Window.Duration),
		Window: r.Span(r.Window.Duration),
	}, nil
}

func (q Query) renderExpr(namespaces []string) (string, error) {
	if q.Rule.renderTemplate == nil {
		return q.Rule.expr.fillHoles(q.remoteMatchers(namespaces), q.Rule.Window.Duration), nil
	}
	text, err := q.Rule.renderTemplate(q)
	if err != nil {
		return "", fmt.Errorf("render the query of rule %q: %w", q.Rule.Name, err)
	}
	return text, nil
}

// remoteMatchers are those of the question as Text describes it.
func (q Query) remoteMatchers(namespaces []string) string {
	if !q.Rule.shared {
		return q.objectMatchers(q.Objects)
	}
	q.Namespace = ""
	b := make([]byte, 0, 64)
	if len(namespaces) > 0 && q.Rule.Namespaced {
		b = appendNamesMatcher(b, q.Rule.NamespaceLabel, namespaces)
	}
	if q.Rule.ObjectLabel != "" {
		b = appendLabelMatcher(b, q.Rule.ObjectLabel, "!=", "") // any object, as the names of some would have it
	}
	if rest := q.objectMatchers(nil); rest != "" {
		b = append(appendMatcherComma(b), rest...)
	}
	return string(b)
}

// newRemoteQuery finds out about an expression that was made as text.
func newRemoteQuery(r *Rule, text string) RemoteQuery {
	t, err := parseRuleQuery(text)
	if err != nil || !t.isInstantVector() {
		return RemoteQuery{Expr: text}
	}
	times := t.printTimesQuery(t.findTimesGrouping(r))
	var window time.Duration
	for _, reach := range t.reaches {
		window = max(window, reach.fixed)
	}
	// As printed, without comments, which would swallow what is put around it.
	return RemoteQuery{Expr: t.root.String(), Times: times, Window: window}
}

// sortedNames are names in an order that does not depend on how they were given; the slice may be the caller's.
func sortedNames(names []string) []string {
	if slices.IsSorted(names) {
		return names
	}
	return slices.Sorted(slices.Values(names))
}
