// Package promadapter reads prometheus-adapter's configuration leniently: it renders query templates, lists the server's series into a
// catalog, resolves labels to resources, and imports rules.
package promadapter

import (
	"time"

	template "github.com/DataDog/datadog-agent/pkg/template/text"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
)

// Config is a configuration of prometheus-adapter. Load returns it validated and compiled. It does not change afterwards;
// concurrent reads are safe.
type Config struct {
	// Rules make metrics of custom.metrics.k8s.io, in file order.
	Rules []SeriesRule
	// ExternalRules make metrics of external.metrics.k8s.io, in file order.
	ExternalRules []SeriesRule
	// ResourceRules make metrics.k8s.io; nil disables this API.
	ResourceRules *ResourceRules

	warnings config.Faults // about the file
}

// SeriesRule selects series, maps their names to metrics, and computes values from them.
type SeriesRule struct {
	// SeriesQuery is the series selector.
	SeriesQuery string
	// SeriesFilters restrict the names of the selected series. All must hold.
	SeriesFilters []SeriesFilter
	// Resources maps labels to the resources of objects.
	Resources ResourceMapping
	// Name maps the name of a series to the name of a metric.
	Name NameMapping
	// MetricsQuery is the template of the PromQL expression for the values. It may be empty.
	MetricsQuery string

	path     string
	external bool
	compiled compiledSeriesRule
}

// SeriesFilter is a condition on the name of a series: a regular expression, without anchors. Exactly one field is set.
type SeriesFilter struct {
	// Is must match.
	Is string
	// IsNot must not match.
	IsNot string
}

// NameMapping maps the name of a series to the name of a metric.
type NameMapping struct {
	// Matches is a regular expression without anchors for the name of the series. Empty means any name.
	Matches string
	// As is the name of the metric, with $1 or ${name} for the groups of Matches. Empty means the only group, or the whole
	// match if Matches has no group.
	As string
}

// ResourceMapping maps labels to the resources of the objects that they name.
type ResourceMapping struct {
	// Template makes the label from .Group and .Resource (the singular). It may be empty.
	Template string
	// Overrides are single labels, in file order. They take precedence over the template.
	Overrides []LabelOverride
	// Namespaced adds a matcher for the namespace of the request to an external rule. Nil (the file does not say) means true. A
	// rule for objects has the matcher if the objects belong to namespaces: objects of two namespaces may have the same name.
	Namespaced *bool
}

// LabelOverride maps a single label to a resource.
type LabelOverride struct {
	// Label is the name of the label.
	Label string
	// Group is the API group of the resource. Empty means the core group, or any other group with such a resource.
	Group string
	// Resource is the plural or the singular of the resource.
	Resource string
}

// overriddenResource is the resource as Resources.Resource takes it.
func (o LabelOverride) overriddenResource() string {
	if o.Group == "" {
		return o.Resource
	}
	return o.Resource + "." + o.Group
}

// ResourceRules make metrics.k8s.io.
type ResourceRules struct {
	// CPU and Memory are the rules for the two resources of the API.
	CPU, Memory ResourceRule
	// Window is the time that the queries look back; zero if the file does not say.
	Window time.Duration
}

// ResourceRule gives the usage of one resource.
type ResourceRule struct {
	// ContainerQuery and NodeQuery are the templates for containers and for nodes.
	ContainerQuery, NodeQuery string
	// Resources has the labels of namespaces, pods and nodes.
	Resources ResourceMapping
	// ContainerLabel is the label with the name of the container.
	ContainerLabel string

	path                            string
	labelTemplate                   *labelTemplate
	containerTemplate, nodeTemplate *template.Template // nil: not served
	report                          RuleReport
}
