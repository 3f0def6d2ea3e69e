// The types of the package: Rule, Query and Set.

// Package rule compiles and checks rules before any sample is read: the syntax of PromQL expressions, their labels, bounds and sums,
// name patterns, and trials on made-up series.
//
// Expressions read float samples only (no native histograms): the embedded backend holds no others, and values from a
// remote backend must be floats too.
package rule

import (
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// Rule is a compiled rule for a concrete metric: a pattern rule is expanded before it becomes a Rule. It is immutable
// and safe for concurrent use. Resource and Metric identify it within its Set.
type Rule struct {
	// Metric is the concrete name of the API metric.
	Metric string
	// Resource is the rule's resource, as plural or plural.group; empty if External. It is "pods" also if Lookup
	// answers for another resource from the object's pods.
	Resource string
	// Name identifies the rule in logs and self-metrics: its metric, or its pattern. There are as many names as
	// rules.
	Name string
	// External marks a metric of external.metrics.k8s.io.
	External bool
	// Namespaced adds the request's namespace as a matcher. The result must then have this label.
	Namespaced bool
	// Namespaces are the namespaces that the rule reads, for a request in any; empty if the rule does not fix
	// them: it then reads the request's namespace if Namespaced, and all otherwise.
	Namespaces []string
	// HasTargets marks a rule with targets of its own: Namespaces are then their sources, and every target there must answer.
	HasTargets bool
	// Series is set for a metric of objects that comes from targets: the same rule over the series of all objects, as of an external
	// metric. The series of an object have its namespace and name in TargetLabels.
	Series       *Rule
	TargetLabels config.Labels
	// Backend evaluates the expression: config.ScrapeBackend, or the name of a configured backend.
	Backend string
	// Window is the value of $window.
	Window config.Window
	// Aggregate says how to compute an object's value from the values of its pods.
	Aggregate config.Aggregate
	// NonAdditive is a gauge of a pattern rule with values that do not add up, by its name: an object has no value then, nor a pod with several
	// series. It is empty if they may add up, and if the rule's author chose the aggregate.
	NonAdditive string
	// SeriesKind is the kind of each series of an external rule if their sum has no meaning, such as "a quantile"; empty if it may have one.
	SeriesKind string
	// OnMissing substitutes a missing value; nil means an error.
	OnMissing *float64
	// WhenNoPods is the value of an object that has no pods; nil means an error.
	WhenNoPods *float64
	// AllowNegative permits negative values.
	AllowNegative bool
	// MaxAge is the greatest age of a served value.
	MaxAge time.Duration
	// Fallback is served after some time without a value; nil means an error.
	Fallback *config.Fallback
	// NamespaceLabel is the backend's label for the namespace.
	NamespaceLabel string
	// ObjectLabel is the backend's label for the object of a result; empty if External. It names a pod if PerPod.
	ObjectLabel string

	expr          ruleExpression
	timesExpr     ruleExpression // see RemoteQuery.Times; without text if the times are unknown
	ownNamespaces bool           // expr itself has matchers for Namespaces
	skipsTargets  bool           // reads no series of other rules' own targets
	shared        bool
	conserves     bool
	filters       bool
	familyUses    []familyUse // of a rule that chooses families by their names
	families      []string    // of the expression and of the rules to try next
	next          *Rule       // see Next
	presence      *Rule       // see Presence
	template      Template    // replaces expr in a templated rule
	namesObjects  bool        // results name the objects of Resource, which is not pods
	cost          EvaluationCost
}

// PerPod returns whether results are per pod. Objects of other resources are then aggregated from their pods.
func (r *Rule) PerPod() bool { return !r.External && !r.namesObjects }

// SourceNamespaces returns the namespaces that the rule reads for a request in the namespace asked: at least one, and a
// single empty name for all namespaces. The caller must not change the slice.
func (r *Rule) SourceNamespaces(asked string) []string {
	switch {
	case len(r.Namespaces) > 0:
		return r.Namespaces
	case r.Namespaced:
		return []string{asked}
	}
	return []string{""}
}

// Filters returns whether a comparison or `unless` of the expression may leave an object without a result that has series. It is false for a
// template: its expression depends on the request.
func (r *Rule) Filters() bool { return r.filters }

// Shared returns whether a common evaluation gives each object the same value as its own evaluation would, with
// results that can be told apart. Common means for several namespaces and any objects.
//
// It is false for an expression that relates objects to each other, such as a share of a sum. Matchers for namespace
// and objects would change the result.
func (r *Rule) Shared() bool { return r.shared }

// Template makes the expression of a rule for each query, in the dialect of the rule's backend: the metricsQuery of
// prometheus-adapter. Its functions must be safe for concurrent use.
type Template struct {
	// Render returns the expression.
	Render func(Query) (string, error)
	// RenderSample returns the expression of the same query for series with a made-up name; nil if the template depends on no
	// name. If the sample query reads the namespace of the request alone, every query must do so too.
	RenderSample func(Query) (string, error)
}

// WithTemplate returns a copy of r with an expression that t makes. The copy is never Shared.
func (r Rule) WithTemplate(t Template) *Rule {
	r.template, r.shared = t, false
	r.namesObjects = !r.External && r.Resource != podsResource
	return &r
}

// Families returns the families for the scraper to request, sorted: the ones in the expression, and in the
// rules that are next. The caller must not change the slice.
func (r *Rule) Families() []string {
	if r.next == nil {
		return r.expr.families
	}
	return r.families
}

// ReadFamilies returns the metric families that the expression itself reads, sorted. For NAME_bucket this is NAME. For
// NAME_sum and NAME_count it is both names, because they may belong to a histogram or stand alone. The caller must not
// change the slice.
func (r *Rule) ReadFamilies() []string { return r.expr.families }

// Presence returns a rule that has a value for each pod with a living series that some selector of r matches, however old
// its newest sample; nil if r is not per pod, or of a remote backend.
func (r *Rule) Presence() *Rule { return r.presence }

// Next returns the rule to try for a pod if its page has no family of r, or has it with a type that does not fit; nil
// without any. Patterns alone have one: the next pattern of the same resource that serves the metric.
func (r *Rule) Next() *Rule { return r.next }

// HasWindow returns whether the expression uses $window.
func (r *Rule) HasWindow() bool { return r.expr.windowCount > 0 }

// Span returns how far back the expression looks with this window: the longest sum of ranges from the outermost
// subquery to a selector. It is zero if the expression reads only the newest samples. A value is right only for an
// object if its samples reach back this far.
func (r *Rule) Span(window time.Duration) time.Duration { return r.expr.findLongestExprSpan(window) }

// Query is a rule to evaluate, with namespace, objects and selector.
type Query struct {
	// Rule is the rule to evaluate.
	Rule *Rule
	// Namespace is a matcher of every selector. It is empty for objects of the cluster, or if the rule is not
	// Namespaced.
	Namespace string
	// Objects are the requested names under Rule.ObjectLabel; nil means any, empty means no object.
	Objects []string
	// Selector holds the matchers of the request's metric selector, without __name__.
	Selector []*labels.Matcher
	// Moved is when a pod of the group last became ready or stopped being ready: load moves between pods then. It is now if that time
	// is unknown, or while a pod leaves or has just left, and zero if no pod is known to have changed.
	Moved time.Time
	// MovedAt is the latest known time at which a pod of the group became ready, stopped being ready, or was deleted; zero without any.
	MovedAt time.Time
	// Readied has the times at which pods of the group became ready lately, by namespace and name: their load began then.
	Readied map[metric.Object]time.Time
	// Unreadied has the times at which pods of the group lately stopped being ready, likewise: their load ended then.
	Unreadied map[metric.Object]time.Time
	// Began is when the youngest process of the group started; zero if unknown. Its counters began at 0 then.
	Began time.Time
	// Unseen is the latest time in which a pod of the group may have served requests that no page shows; zero without any.
	Unseen metric.TimeSpan
	// Reviewed is set for a rule of a request: its evaluation has small bounds, and nothing of it is remembered.
	Reviewed bool
}

// Expr returns the expression for objects (nil: any; they may be fewer than q.Objects), with window for $window. It
// adds the matchers for namespace, objects and selector to each selector, beside its own matchers. Equal queries give
// equal text, in any order of objects.
func (q Query) Expr(window time.Duration, objects []string) string {
	return q.Rule.expr.fillExprHoles(q.formatObjectMatchers(objects), window)
}

// MetricInfo describes a rule with an explicit name, for the discovery document.
type MetricInfo struct {
	Metric, Resource     string
	Namespaced, External bool
}

// Set is a compiled configuration, immutable and safe for concurrent use.
type Set struct {
	rules    []*compiledRule
	expanded *ruleCache
}

// Metrics describes the rules with explicit names, in the order of the configuration. Pattern rules have no names
// before a request.
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

// Backends returns the sorted names of the backends of all rules.
func (s *Set) Backends() []string {
	var names []string
	for _, c := range s.rules {
		names = append(names, c.spec.Backend)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
