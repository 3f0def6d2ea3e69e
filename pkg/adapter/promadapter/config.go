// Package promadapter serves the configuration of prometheus-adapter 0.12, unchanged, as rules.
package promadapter

import (
	"text/template"
	"time"
)

// Config is one whole configuration of prometheus-adapter, as written. Load returns it checked and compiled. It is not
// changed after that, so it may be read concurrently.
type Config struct {
	// Rules make metrics of custom.metrics.k8s.io, in file order.
	Rules []Rule
	// ExternalRules make metrics of external.metrics.k8s.io, in file order.
	ExternalRules []Rule
	// ResourceRules make metrics.k8s.io; nil: it is not served.
	ResourceRules *ResourceRules

	lines map[string]int
}

// Rule finds series, and says of which metric they are and how a value is computed from them.
type Rule struct {
	// SeriesQuery is the series selector that finds the series.
	SeriesQuery string
	// SeriesFilters restrict the names of the series found; all must hold.
	SeriesFilters []SeriesFilter
	// Resources says which labels name objects.
	Resources ResourceMapping
	// Name makes the metric's name from the series'.
	Name NameMapping
	// MetricsQuery is the template of the expression that gives the values; empty where the file does not say.
	MetricsQuery string

	path     string
	external bool
	compiled compiledRuleText
}

// SeriesFilter matches the name of a series, anywhere in it, by exactly one of two regular expressions.
type SeriesFilter struct {
	// Is must match.
	Is string
	// IsNot must not match.
	IsNot string
}

// NameMapping makes the metric's name from the series'.
type NameMapping struct {
	// Matches is a regular expression that must match somewhere in the series' name; empty means any name.
	Matches string
	// As is the metric's name, with $1 or ${name} for the groups of Matches. Empty means the only group, or the whole match
	// if there is none.
	As string
}

// ResourceMapping says which labels name objects of which resource.
type ResourceMapping struct {
	// Template makes the label from .Group and .Resource (the singular); empty: there is none.
	Template string
	// Overrides are single labels, in file order; they come before the template.
	Overrides []LabelOverride
	// Namespaced tells that the request's namespace becomes a matcher; nil, where the file does not say, means yes.
	Namespaced *bool
}

// LabelOverride is one label that names objects of a resource.
type LabelOverride struct {
	// Label is the label's name.
	Label string
	// Group is the resource's API group. Empty means the core group, or whichever group has such a resource.
	Group string
	// Resource is the plural or the singular.
	Resource string
}

// resourceName is the resource as Resources.Resource takes it.
func (o LabelOverride) resourceName() string {
	if o.Group == "" {
		return o.Resource
	}
	return o.Resource + "." + o.Group
}

// ResourceRules make metrics.k8s.io.
type ResourceRules struct {
	// CPU and Memory are the rules for the two resources that the API has.
	CPU, Memory ResourceRule
	// Window is the span that the queries look back over; zero where the file does not say.
	Window time.Duration
}

// ResourceRule gives the usage of one resource.
type ResourceRule struct {
	// ContainerQuery is the template for containers, NodeQuery that for nodes.
	ContainerQuery, NodeQuery string
	// Resources says which labels name namespaces, pods and nodes.
	Resources ResourceMapping
	// ContainerLabel is the label that names the container.
	ContainerLabel string

	path                            string
	labelTemplate                   *labelTemplate
	containerTemplate, nodeTemplate *template.Template // nil: none
}

// Line is the line of the file on which the value at path, such as rules[2].metricsQuery, stands; 0 if the file does
// not have it.
func (c *Config) Line(path string) int { return c.lines[path] }
