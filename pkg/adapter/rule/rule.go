// Package rule compiles rules: which API metric is computed by which PromQL expression, for which objects.
package rule

import (
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
)

// Rule is one compiled rule for one concrete metric: a pattern rule is expanded before it becomes a Rule. It
// is immutable and safe for concurrent use. Resource and Metric identify it within its Set.
type Rule struct {
	// Metric is the API metric's concrete name.
	Metric string
	// Resource is the rule's resource, as plural or plural.group; empty where External. It is "pods" also
	// where Lookup answers for another resource from the pods that the object selects.
	Resource string
	// Name is how logs and self-metrics call the rule: its metric, or its pattern. There are as many as rules.
	Name string
	// External tells a metric of external.metrics.k8s.io.
	External bool
	// Namespaced tells that the request's namespace becomes a matcher, and that the result has that label.
	Namespaced bool
	// Namespace is the one namespace that an external rule reads, whatever the request's; empty for none.
	Namespace string
	// Backend is what evaluates the expression: config.ScrapeBackend or the name of a configured one.
	Backend string
	// Window is what $window stands for.
	Window config.Window
	// Aggregate is how an object's value follows from those of its pods.
	Aggregate config.Aggregate
	// OnMissing is what is served in place of a missing value; nil means an error.
	OnMissing *float64
	// AllowNegative permits negative values.
	AllowNegative bool
	// MaxAge is the age beyond which a value is not served.
	MaxAge time.Duration
	// Fallback is what is served after a time without a value; nil means an error.
	Fallback *config.Fallback
	// NamespaceLabel is what the backend calls the label that names a namespace.
	NamespaceLabel string
	// ObjectLabel is what the backend calls the label that names the object of a result; empty where External.
	// It names a pod where PerPod.
	ObjectLabel string

	expr           ruleExpression
	timesExpr      ruleExpression // see Text.Times; without text where that cannot be told
	shared         bool
	renderTemplate func(Query) (string, error) // in place of expr, in a templated rule
	namesObjects   bool                        // results name the objects of Resource, which is not pods
}

// PerPod tells that a result is of a pod, and that objects of other resources are aggregated from their pods.
func (r *Rule) PerPod() bool { return !r.External && !r.namesObjects }

// Shared tells that one evaluation for several namespaces and any objects gives each object the value that an
// evaluation for it alone would give, and that the results can be told apart. It is not so for an expression that
// relates an object to others, such as its share of a sum, because matchers for namespace and objects decide
// over which ones.
func (r *Rule) Shared() bool { return r.shared }

// WithTemplate returns a rule like r whose expression is made by render for each question, as text in whatever dialect
// the rule's backend speaks: the metricsQuery of prometheus-adapter. Such a rule is never Shared. render must be
// safe for concurrent use.
func (r Rule) WithTemplate(render func(Query) (string, error)) *Rule {
	r.renderTemplate, r.shared = render, false
	r.namesObjects = !r.External && r.Resource != podsResource
	return &r
}

// Families are the metric families that the expression reads, sorted, for the scraper to ask for. Of
// NAME_bucket it is NAME; of NAME_sum and NAME_count, which may belong to a histogram or stand for
// themselves, it is both. The caller must not change the slice.
func (r *Rule) Families() []string { return r.expr.families }

// HasWindow tells whether the expression uses $window.
func (r *Rule) HasWindow() bool { return r.expr.windowCount > 0 }

// Span is how far back the expression looks with that window: the longest sum of ranges from the outermost
// subquery to a selector; zero if it only reads the newest samples. A value is right only for an object
// whose samples reach back that far.
func (r *Rule) Span(window time.Duration) time.Duration { return r.expr.longestSpan(window) }

// Query is one concrete question, what a backend evaluates.
type Query struct {
	// Rule is the rule asked.
	Rule *Rule
	// Namespace is a matcher of every selector, unless empty: objects of the cluster, or a rule that is not Namespaced.
	Namespace string
	// Objects are the names asked for under Rule.ObjectLabel; nil means any, none means none.
	Objects []string
	// Selector holds the matchers of the request's metric selector; none is on __name__.
	Selector []*labels.Matcher
}

// Expr is the expression that answers the query for objects (which may be fewer than q.Objects; nil means
// any), with window in place of $window. It is the rule's own expression with the matchers for namespace,
// objects and selector added to each of its selectors, beside those it has. Equal questions give equal
// text, whatever the order of objects.
func (q Query) Expr(window time.Duration, objects []string) string {
	return q.Rule.expr.fillHoles(q.objectMatchers(objects), window)
}

// MetricInfo describes a rule with an explicit name, for the discovery document.
type MetricInfo struct {
	Metric, Resource     string
	Namespaced, External bool
}

// Set is a compiled configuration: immutable and safe for concurrent use.
type Set struct {
	rules    []*compiledRule
	expanded ruleCache
}

// Metrics describes the rules with explicit names, in the order of the configuration. Pattern rules have no
// names until they are asked for.
func (s *Set) Metrics() []MetricInfo {
	var infos []MetricInfo
	for _, c := range s.rules {
		if c.rule == nil {
			continue
		}
		r := c.rule
		infos = append(infos, MetricInfo{Metric: r.Metric, Resource: r.Resource, Namespaced: r.Namespaced, External: r.External})
	}
	return infos
}

// Backends are the names of the backends that the rules use, sorted.
func (s *Set) Backends() []string {
	var names []string
	for _, c := range s.rules {
		names = append(names, c.spec.Backend)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
