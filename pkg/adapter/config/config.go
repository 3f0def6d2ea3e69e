// Package config is the typed configuration: defaults, a strict load that reports every fault at once, and hot reload.
package config

import (
	"cmp"
	"strconv"
	"time"

	promconfig "github.com/prometheus/common/config"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// ScrapeBackend is the name of the embedded backend, which scrapes by itself. No entry of backends may take it.
const ScrapeBackend = "scrape"

type (
	// Fault is one thing wrong with a configuration.
	Fault = strict.Fault
	// Faults are all that is wrong with a configuration.
	Faults = strict.Faults
)

// Config is one whole configuration. Load and Default return it complete: every field that the file leaves
// out has its default. It is not changed after that, so it may be read concurrently.
type Config struct {
	// Scrape says how targets are scraped, and within which bounds.
	Scrape Scrape
	// MaxAge is the age beyond which a value is not served, for rules that do not give their own.
	MaxAge time.Duration
	// MaxWindow is the longest span that an expression on the embedded backend may look back over; the
	// store keeps samples for that long.
	MaxWindow time.Duration
	// Backends are the Prometheus-compatible servers, in file order.
	Backends []Backend
	// Rules are in file order. Without HasRules there are none and the built-in rules apply.
	Rules []Rule
	// HasRules tells that the file has rules of its own.
	HasRules bool

	lines map[string]int
}

// Scrape is how targets are scraped, and the bounds of that.
type Scrape struct {
	// Interval is the time between two scrapes of a target.
	Interval time.Duration
	// Timeout is the time that one scrape may take.
	Timeout time.Duration
	// MaxPageBytes bounds one page, after decompression.
	MaxPageBytes int64
	// MaxSamples bounds the demanded samples of one page.
	MaxSamples int
	// MaxLabels bounds the labels of one series.
	MaxLabels int
	// MaxSeries bounds the series that the store holds in all.
	MaxSeries int
	// MaxConcurrent bounds the scrapes under way at one time.
	MaxConcurrent int
}

// Backend is one Prometheus-compatible server.
type Backend struct {
	// Name is what rules call it.
	Name string
	// URL is the server's base address; /api/v1/query is appended to its path, and its parameters are kept.
	URL string
	// Failover are further base addresses of the same data, asked in this order where those before have no answer.
	Failover []string
	// Refresh is the time between two refreshes of what is demanded.
	Refresh time.Duration
	// Timeout is the time that one query may take.
	Timeout time.Duration
	// MaxAge is the age beyond which a value is not served, for rules that do not give their own.
	MaxAge time.Duration
	// Labels are what the server calls the labels that name objects.
	Labels Labels
	// AcceptPartial takes an answer that the server calls incomplete for a whole one.
	AcceptPartial bool
	// Method is MethodPost or MethodGet.
	Method string
	// MaxResponseBytes bounds one answer, after decompression.
	MaxResponseBytes int64
	// HTTP is how the server is spoken to: credentials, TLS, proxies, headers.
	HTTP promconfig.HTTPClientConfig
}

// The methods of queries.
const (
	// MethodPost sends a query in the body, where it may be as long as it must.
	MethodPost = "POST"
	// MethodGet sends it in the URL, for servers and proxies that permit nothing else.
	MethodGet = "GET"
)

// Labels are the names of the labels that name objects.
type Labels struct {
	Namespace, Pod, Node string
	// Object names the object itself, of a resource whose values are not those of its pods; empty where they are.
	// Only a rule has it.
	Object string
}

// withDefaults fills in what l leaves out.
func (l Labels) withDefaults(o Labels) Labels {
	return Labels{
		Namespace: cmp.Or(l.Namespace, o.Namespace), Pod: cmp.Or(l.Pod, o.Pod), Node: cmp.Or(l.Node, o.Node),
		Object: cmp.Or(l.Object, o.Object),
	}
}

// DefaultLabels are what the embedded backend calls them, as does Prometheus in most setups.
func DefaultLabels() Labels { return Labels{Namespace: "namespace", Pod: "pod", Node: "node"} }

// Rule is how one API metric is computed, as written, with defaults filled in.
type Rule struct {
	// Metric is the API metric's name; empty in a pattern rule.
	Metric string
	// Match is the pattern that an API metric's whole name matches; empty in an explicit rule.
	Match string
	// Except is a pattern of names that Match does not serve; it may be empty.
	Except string
	// Resource is what the metric is a metric of, as plural or plural.group; empty where External.
	Resource string
	// Query is the PromQL expression, as written.
	Query string
	// External tells a metric of external.metrics.k8s.io.
	External bool
	// Namespaced tells that the request's namespace becomes a matcher; nil where the file does not say.
	Namespaced *bool
	// Namespace is the one namespace that an external rule reads, whatever the request's; empty for none.
	Namespace string
	// Labels are the names of the labels that name objects, with those of the backend filled in.
	Labels Labels
	// Window is what $window stands for.
	Window Window
	// HasWindow tells that the file gives the window.
	HasWindow bool
	// Backend is what evaluates the expression: ScrapeBackend, or the name of one of Backends.
	Backend string
	// Aggregate is how an object's value follows from those of its pods.
	Aggregate Aggregate
	// OnMissing is what is served in place of a missing value; nil means an error.
	OnMissing *float64
	// AllowNegative permits negative values.
	AllowNegative bool
	// Fallback is what is served after a time without a value; nil means an error.
	Fallback *Fallback
	// MaxAge is the age beyond which a value is not served.
	MaxAge time.Duration
}

// Fallback is a value for the time when there is none.
type Fallback struct {
	// After is how long there must have been no value.
	After time.Duration
	// Value is what is served then.
	Value float64
}

// Name is how logs and self-metrics call the rule: its metric, or its pattern.
func (r *Rule) Name() string {
	if r.Match != "" {
		return r.Match
	}
	return r.Metric
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

// Aggregate is how an object's value follows from those of the pods that it selects.
type Aggregate string

// The ways to aggregate.
const (
	AggregateSum Aggregate = "sum"
	AggregateAvg Aggregate = "avg"
	AggregateMax Aggregate = "max"
)

// Line is the line of the file on which the value at path, such as rules[2].query, stands. For a value that
// the file leaves out it is the line of the nearest enclosing one; for a configuration without file it is 0.
func (c *Config) Line(path string) int {
	return strict.NearestLine(c.lines, path)
}

// RulePath is the path of rule i in messages.
func RulePath(i int) string { return "rules[" + strconv.Itoa(i) + "]" }
