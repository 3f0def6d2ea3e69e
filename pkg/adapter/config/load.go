package config

import (
	"errors"
	"regexp"
	"time"

	promconfig "github.com/prometheus/common/config"
	yamlv2 "go.yaml.in/yaml/v2"
	"go.yaml.in/yaml/v3"

	"github.com/tachometer-metrics/tachometer/pkg/domain"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// Load reads a configuration in the native format. The error is Faults with all that is wrong, apart from
// the expressions, which package rule compiles.
func Load(data []byte) (*Config, error) {
	c, faults := Decode(data)
	if err := faults.Err(); err != nil {
		return nil, err
	}
	return c, nil
}

// Decode is Load for who has faults of their own to add: with faults, the configuration holds what could be
// read, with defaults for the rest, and must not be used for anything but finding more. It is never nil.
func Decode(data []byte) (*Config, Faults) {
	d := &decoder{strict.NewDecoder()}
	c := Default()
	// What complete derives is derived again, from what the file says.
	c.Scrape.Timeout, c.MaxAge, c.MaxWindow = 0, 0, 0
	c.lines = d.Lines
	d.config(&c, data)
	c.complete()
	if len(c.lines) > 1 {
		v := validator{decoder: d, c: &c}
		v.config()
	}
	return &c, d.Faults
}

// The bounds of durations.
const (
	minInterval = 100 * time.Millisecond // below, targets would do little but answer
	maxInterval = 5 * time.Minute        // above, an HPA has decided twenty times on one sample
	maxSpan     = time.Hour              // of age and window: what is older says nothing about load
	minRefresh  = time.Second
	maxFallback = 24 * time.Hour
)

// decoder reads the sections of a configuration.
type decoder struct{ *strict.Decoder }

func (d *decoder) config(c *Config, data []byte) {
	d.File(data, domain.AdapterConfigKind, map[string]strict.Field{
		"scrape":    func(path string, n *yaml.Node) { d.scrape(path, n, &c.Scrape) },
		"maxAge":    d.Duration(&c.MaxAge, minInterval, maxSpan),
		"maxWindow": d.Duration(&c.MaxWindow, minInterval, maxSpan),
		"backends": func(path string, n *yaml.Node) {
			d.Sequence(path, n, func(path string, n *yaml.Node) {
				c.Backends = append(c.Backends, d.backend(path, n))
			})
		},
		"rules": func(path string, n *yaml.Node) {
			c.HasRules = true
			d.Sequence(path, n, func(path string, n *yaml.Node) { c.Rules = append(c.Rules, d.rule(path, n)) })
			if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
				d.Fault(path, n.Line, "is empty; leave the key out for the built-in rules")
			}
		},
	})
}

func (d *decoder) scrape(path string, n *yaml.Node, s *Scrape) {
	d.Mapping(path, n, map[string]strict.Field{
		"interval":      d.Duration(&s.Interval, minInterval, maxInterval),
		"timeout":       d.Duration(&s.Timeout, time.Millisecond, maxInterval),
		"maxPageBytes":  d.Bytes(&s.MaxPageBytes, 1<<10, 1<<30),
		"maxSamples":    d.Integer(&s.MaxSamples, 1, 10_000_000),
		"maxLabels":     d.Integer(&s.MaxLabels, 4, 1024), // __name__, namespace, pod, node
		"maxSeries":     d.Integer(&s.MaxSeries, 1, 10_000_000),
		"maxConcurrent": d.Integer(&s.MaxConcurrent, 1, 10_000),
	})
}

func (d *decoder) backend(path string, n *yaml.Node) Backend {
	b := Backend{HTTP: promconfig.DefaultHTTPClientConfig}
	d.Mapping(path, n, map[string]strict.Field{
		"name":     d.Text(&b.Name),
		"url":      d.Text(&b.URL),
		"failover": func(path string, n *yaml.Node) { b.Failover = d.Texts(path, n) },
		"refresh":  d.Duration(&b.Refresh, minRefresh, maxInterval),
		"timeout":  d.Duration(&b.Timeout, minInterval, maxInterval),
		"maxAge":   d.Duration(&b.MaxAge, minRefresh, maxSpan),
		"labels":   func(path string, n *yaml.Node) { b.Labels = d.labels(path, n, false) },
		"partialResponse": func(path string, n *yaml.Node) {
			b.AcceptPartial = d.Word(path, n, "reject", "accept") == "accept"
		},
		"method":           func(path string, n *yaml.Node) { b.Method = d.Word(path, n, MethodPost, MethodGet) },
		"maxResponseBytes": d.Bytes(&b.MaxResponseBytes, 1<<10, 1<<30),
		"http":             func(path string, n *yaml.Node) { b.HTTP = d.http(path, n) },
	})
	return b
}

// labels are the names of labels; object is the name of one more that is allowed in a rule.
func (d *decoder) labels(path string, n *yaml.Node, object bool) Labels {
	var l Labels
	fields := map[string]strict.Field{"namespace": d.Label(&l.Namespace), "pod": d.Label(&l.Pod), "node": d.Label(&l.Node)}
	if object {
		fields["object"] = d.Label(&l.Object)
	}
	d.Mapping(path, n, fields)
	return l
}

// http reads what Prometheus itself calls the configuration of an HTTP client, with its own decoder and its checks.
func (d *decoder) http(path string, n *yaml.Node) promconfig.HTTPClientConfig {
	c := promconfig.DefaultHTTPClientConfig
	text, err := yaml.Marshal(n)
	if err == nil {
		err = yamlv2.UnmarshalStrict(text, &c)
	}
	var several *yamlv2.TypeError
	switch {
	case errors.As(err, &several):
		for _, e := range several.Errors {
			d.Fault(path, n.Line, "%s", unknownField.ReplaceAllString(e, "unknown key $1"))
		}
	case err != nil:
		d.Fault(path, n.Line, "%v", err)
	}
	return c
}

// unknownField is what Prometheus's decoder says of a key that it does not know.
var unknownField = regexp.MustCompile(`^line \d+: field (\S+) not found in type \S+$`)

func (d *decoder) rule(path string, n *yaml.Node) Rule {
	var r Rule
	d.Mapping(path, n, map[string]strict.Field{
		"metric":     d.Text(&r.Metric),
		"match":      d.Text(&r.Match),
		"except":     d.Text(&r.Except),
		"resource":   d.Text(&r.Resource),
		"query":      d.Text(&r.Query),
		"external":   d.Truth(&r.External),
		"namespaced": func(path string, n *yaml.Node) { r.Namespaced, r.Namespace = d.namespaced(path, n) },
		"labels":     func(path string, n *yaml.Node) { r.Labels = d.labels(path, n, true) },
		"fallback":   func(path string, n *yaml.Node) { r.Fallback = d.fallback(path, n) },
		"window": func(path string, n *yaml.Node) {
			r.HasWindow = true
			r.Window = d.window(path, n)
		},
		"backend":       d.Text(&r.Backend),
		"aggregate":     d.Text((*string)(&r.Aggregate)),
		"onMissing":     func(path string, n *yaml.Node) { r.OnMissing = d.onMissing(path, n) },
		"allowNegative": d.Truth(&r.AllowNegative),
		"maxAge":        d.Duration(&r.MaxAge, minInterval, maxSpan),
	})
	return r
}

func (d *decoder) window(path string, n *yaml.Node) Window {
	if n.Kind == yaml.ScalarNode && n.Value == "auto" {
		return Window{Auto: true}
	}
	v, _ := d.Span(path, n, "auto or a duration such as 30s")
	return Window{Duration: v}
}

// namespaced reads whose namespace becomes a matcher: the request's, none, or one that is named.
func (d *decoder) namespaced(path string, n *yaml.Node) (request *bool, name string) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!bool" {
		request = new(bool)
		d.Truth(request)(path, n)
		return request, ""
	}
	if !d.Scalar(path, n, "request (or true), none (or false), or the name of a namespace", "!!str") {
		return nil, ""
	}
	switch n.Value {
	case "request":
		return new(true), ""
	case "none":
		return new(false), ""
	}
	if !namespaceName.MatchString(n.Value) {
		d.Fault(path, n.Line, "must be request (or true), none (or false), or the name of a namespace, not %s", strict.Describe(n))
	}
	return new(false), n.Value
}

// namespaceName is that of a Kubernetes namespace.
var namespaceName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

func (d *decoder) fallback(path string, n *yaml.Node) *Fallback {
	var f Fallback
	before := len(d.Faults)
	d.Mapping(path, n, map[string]strict.Field{"after": d.Duration(&f.After, minRefresh, maxFallback), "value": d.Number(&f.Value)})
	for _, key := range []string{"after", "value"} {
		if _, ok := d.Lines[path+"."+key]; !ok && len(d.Faults) == before {
			d.Fault(path, n.Line, "must be {after: DURATION, value: NUMBER}; %s is missing", key)
		}
	}
	return &f
}

func (d *decoder) onMissing(path string, n *yaml.Node) *float64 {
	var v float64
	if n.Kind == yaml.MappingNode {
		before := len(d.Faults)
		d.Mapping(path, n, map[string]strict.Field{"value": d.Number(&v)})
		if _, ok := d.Lines[path+".value"]; !ok && len(d.Faults) == before {
			d.Fault(path, n.Line, "must be error, zero or {value: NUMBER}, not an empty mapping")
		}
		return &v
	}
	switch n.Value {
	case "zero":
		return &v
	case "error":
		return nil
	}
	d.Fault(path, n.Line, "must be error, zero or {value: NUMBER}, not %s", strict.Describe(n))
	return nil
}
