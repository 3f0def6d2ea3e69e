// Package config decodes and validates the adapter's configuration file: backends, rules, windows and targets, with their defaults, and
// a report of every fault.
package config

import (
	"cmp"
	"strconv"
	"time"

	promconfig "github.com/prometheus/common/config"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// ScrapeBackend is the name of the embedded backend, which scrapes pods itself. No entry of backends may have this name.
const ScrapeBackend = "scrape"

type (
	// Fault is a single fault of a configuration.
	Fault = strict.Fault
	// Faults are all faults of a configuration.
	Faults = strict.Faults
)

// Config is a complete configuration. Load and Default fill in the defaults of omitted fields.
// It does not change afterwards; concurrent reads are safe.
type Config struct {
	// Scrape has the settings and the bounds of scrapes.
	Scrape Scrape
	// MaxAge is the maximum age of a served value, for rules without a maxAge of their own.
	MaxAge time.Duration
	// MaxWindow bounds the time that an expression on the embedded backend looks back. The store keeps samples
	// for this long.
	MaxWindow time.Duration
	// Backends are the Prometheus-compatible servers, in file order.
	Backends []Backend
	// Rules are in file order. They are empty without HasRules; the built-in rules apply then.
	Rules []Rule
	// HasRules reports whether the file has rules of its own.
	HasRules bool

	lines map[string]int
}

// Scrape has the settings and the bounds of scrapes.
type Scrape struct {
	// Interval is the time between two scrapes of a target.
	Interval time.Duration
	// Timeout bounds the time of a scrape.
	Timeout time.Duration
	// MaxPageBytes bounds a page, after decompression.
	MaxPageBytes int64
	// MaxSamples bounds the demanded samples of a page.
	MaxSamples int
	// MaxLabels bounds the labels of a series.
	MaxLabels int
	// MaxLabelBytes bounds the labels of a series, names and values together.
	MaxLabelBytes int64
	// MaxSeries bounds the series of the whole store.
	MaxSeries int
	// MaxStoreBytes bounds the memory of the series.
	MaxStoreBytes int64
	// MaxConcurrent bounds the scrapes in progress.
	MaxConcurrent int
}

// Backend is a Prometheus-compatible server.
type Backend struct {
	// Name is its name in rules.
	Name string
	// URL is the base address of the server. Requests append /api/v1/query to its path and keep its parameters.
	URL string
	// Failover has further base addresses of the same data. Each is tried in this order after the addresses before it failed.
	Failover []string
	// Refresh is the time between two refreshes of the demanded values.
	Refresh time.Duration
	// Timeout bounds the time of a query.
	Timeout time.Duration
	// MaxAge is the maximum age of a served value, for rules without a maxAge of their own.
	MaxAge time.Duration
	// Labels has the label names of the server.
	Labels Labels
	// AcceptPartial accepts responses marked as partial by the server.
	AcceptPartial bool
	// Method is MethodPost or MethodGet.
	Method string
	// MaxResponseBytes bounds a response, after decompression.
	MaxResponseBytes int64
	// HTTP has the credentials, TLS settings, proxies and headers of requests to the server.
	HTTP promconfig.HTTPClientConfig
}

// HTTP methods of queries.
const (
	// MethodPost sends a query in the body, which does not bound its length.
	MethodPost = "POST"
	// MethodGet sends a query in the URL, for servers and proxies that reject POST.
	MethodGet = "GET"
)

// Labels has the names of the labels for objects.
type Labels struct {
	Namespace, Pod, Node string
	// Object is the label of the object itself. It is empty if the value of an object comes from the values of its pods.
	// Only a rule has it.
	Object string
}

// withDefaults returns l with the names of o in place of empty names.
func (l Labels) withDefaults(o Labels) Labels {
	return Labels{
		Namespace: cmp.Or(l.Namespace, o.Namespace), Pod: cmp.Or(l.Pod, o.Pod), Node: cmp.Or(l.Node, o.Node),
		Object: cmp.Or(l.Object, o.Object),
	}
}

// DefaultLabels returns the label names of the embedded backend, which are also Prometheus's in most setups.
func DefaultLabels() Labels { return Labels{Namespace: "namespace", Pod: "pod", Node: "node"} }

// Rule computes an API metric. It holds the text of the file, with defaults filled in.
type Rule struct {
	// Metric is the name of the API metric. It is empty in a pattern rule.
	Metric string
	// Match is the pattern for the whole name of an API metric. It is empty in an explicit rule.
	Match string
	// Except is a pattern of names to exclude from Match. It may be empty.
	Except string
	// Resource is the resource of the objects with the metric, as plural or plural.group. It is empty if External.
	Resource string
	// Query is the PromQL expression, as written.
	Query string
	// External marks a metric of external.metrics.k8s.io.
	External bool
	// Namespaced adds a matcher for the namespace of the request. It is nil if the file does not say.
	Namespaced *bool
	// From are the namespaces that the rule reads, for a request in any namespace. It may be empty.
	From []string
	// FromAll reports that the file says from: all, so that pods of every namespace may feed the rule.
	FromAll bool
	// Targets feed the rule in place of pods that From or the request's namespace choose; nil: the rule has none.
	Targets *Targets
	// Labels has the names of the labels for objects, with the backend's names as defaults.
	Labels Labels
	// Window is the value of $window.
	Window Window
	// HasWindow reports whether the file has the window.
	HasWindow bool
	// Backend evaluates the expression. It is ScrapeBackend or the name of an entry of Backends.
	Backend string
	// Aggregate computes the value of an object from the values of its pods.
	Aggregate Aggregate
	// HasAggregate reports whether the file has the aggregate.
	HasAggregate bool
	// OnMissing is the value to serve in place of a missing value; nil means an error.
	OnMissing *float64
	// WhenNoPods is the value of an object that has no pods; nil means an error.
	WhenNoPods *float64
	// AllowNegative permits negative values.
	AllowNegative bool
	// Fallback is the value to serve after a time without a value; nil means an error.
	Fallback *Fallback
	// MaxAge is the maximum age of a served value.
	MaxAge time.Duration
}

// Fallback is a substitute for a value after a time without one.
type Fallback struct {
	// After is the time without a value before the fallback applies.
	After time.Duration
	// Value is the value to serve then.
	Value float64
}

// Name returns the name of the rule in logs and self-metrics: its metric or its pattern.
func (r *Rule) Name() string {
	if r.Match != "" {
		return r.Match
	}
	return r.Metric
}

// HasFrom reports whether the file lists the namespaces that may feed the rule.
func (r *Rule) HasFrom() bool { return r.FromAll || len(r.From) > 0 || r.Targets != nil }

// SourceNamespaces returns the namespaces that the rule reads, for a request in any namespace. It may be empty.
func (r *Rule) SourceNamespaces() []string {
	if r.Targets != nil {
		return r.Targets.listRuleSourceNamespaces()
	}
	return r.From
}

// Window is the time span that $window stands for.
type Window struct {
	// Auto leaves the span to the embedded backend: the shortest that carries enough events.
	Auto bool
	// Duration is the span; zero where Auto.
	Duration time.Duration
}

// String is the window as a configuration writes it.
func (w Window) String() string {
	if w.Auto {
		return "auto"
	}
	return strict.FormatDuration(w.Duration)
}

// Aggregate is how an object's value follows from the values of the pods that it selects.
type Aggregate string

// The ways to aggregate.
const (
	AggregateSum Aggregate = "sum"
	AggregateAvg Aggregate = "avg"
	AggregateMax Aggregate = "max"
)

// Line returns the line of the value at path, such as rules[2].query. An omitted value has the line of the nearest
// enclosing value. A configuration without a file has line 0.
func (c *Config) Line(path string) int {
	return strict.NearestLine(c.lines, path)
}

// RulePath returns the path of rule i for messages.
func RulePath(i int) string { return "rules[" + strconv.Itoa(i) + "]" }
