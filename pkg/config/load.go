package config

import (
	"errors"
	"regexp"
	"time"

	promconfig "github.com/prometheus/common/config"
	yamlv2 "go.yaml.in/yaml/v2"
	"go.yaml.in/yaml/v3"
)

// maxBytes bounds a file: a ConfigMap holds no more.
const maxBytes = 1 << 20

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
	d := &decoder{lines: map[string]int{}, failed: map[string]bool{}}
	c := Default()
	// What complete derives is derived again, from what the file says.
	c.Scrape.Timeout, c.MaxAge, c.MaxWindow = 0, 0, 0
	c.lines = d.lines
	if len(data) > maxBytes {
		d.fault("", 0, "the file has %d bytes; more than %d are refused", len(data), maxBytes)
	} else if root := d.document(data); root != nil {
		d.lines[""] = root.Line
		d.config(&c, root)
	}
	c.complete()
	if len(c.lines) > 1 {
		v := validator{decoder: d, c: &c}
		v.config()
	}
	return &c, d.faults
}

// The bounds of durations.
const (
	minInterval = 100 * time.Millisecond // below, targets would do little but answer
	maxInterval = 5 * time.Minute        // above, an HPA has decided twenty times on one sample
	maxSpan     = time.Hour              // of age and window: what is older says nothing about load
	minRefresh  = time.Second
	maxFallback = 24 * time.Hour
)

func (d *decoder) config(c *Config, root *yaml.Node) {
	var version, kind string
	d.mapping("", root, map[string]field{
		"apiVersion": d.text(&version),
		"kind":       d.text(&kind),
		"scrape":     func(path string, n *yaml.Node) { d.scrape(path, n, &c.Scrape) },
		"maxAge":     d.duration(&c.MaxAge, minInterval, maxSpan),
		"maxWindow":  d.duration(&c.MaxWindow, minInterval, maxSpan),
		"backends": func(path string, n *yaml.Node) {
			d.sequence(path, n, func(path string, n *yaml.Node) {
				c.Backends = append(c.Backends, d.backend(path, n))
			})
		},
		"rules": func(path string, n *yaml.Node) {
			c.HasRules = true
			d.sequence(path, n, func(path string, n *yaml.Node) { c.Rules = append(c.Rules, d.rule(path, n)) })
			if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
				d.fault(path, n.Line, "is empty; leave the key out for the built-in rules")
			}
		},
	})
	d.constant("apiVersion", version, APIVersion)
	d.constant("kind", kind, Kind)
}

// constant checks a key with one right value.
func (d *decoder) constant(path, got, want string) {
	if got != want && !d.failed[path] && !d.failed[""] {
		if got == "" {
			d.fault(path, d.lines[""], "required: %s", want)
			return
		}
		d.fault(path, d.lines[path], "must be %s, not %q", want, shorten(got))
	}
}

func (d *decoder) scrape(path string, n *yaml.Node, s *Scrape) {
	d.mapping(path, n, map[string]field{
		"interval":      d.duration(&s.Interval, minInterval, maxInterval),
		"timeout":       d.duration(&s.Timeout, time.Millisecond, maxInterval),
		"maxPageBytes":  d.bytes(&s.MaxPageBytes, 1<<10, 1<<30),
		"maxSamples":    d.integer(&s.MaxSamples, 1, 10_000_000),
		"maxLabels":     d.integer(&s.MaxLabels, 4, 1024), // __name__, namespace, pod, node
		"maxSeries":     d.integer(&s.MaxSeries, 1, 10_000_000),
		"maxConcurrent": d.integer(&s.MaxConcurrent, 1, 10_000),
	})
}

func (d *decoder) backend(path string, n *yaml.Node) Backend {
	b := Backend{HTTP: promconfig.DefaultHTTPClientConfig}
	d.mapping(path, n, map[string]field{
		"name":     d.text(&b.Name),
		"url":      d.text(&b.URL),
		"failover": func(path string, n *yaml.Node) { b.Failover = d.texts(path, n) },
		"refresh":  d.duration(&b.Refresh, minRefresh, maxInterval),
		"timeout":  d.duration(&b.Timeout, minInterval, maxInterval),
		"maxAge":   d.duration(&b.MaxAge, minRefresh, maxSpan),
		"labels":   func(path string, n *yaml.Node) { b.Labels = d.labels(path, n, false) },
		"partialResponse": func(path string, n *yaml.Node) {
			b.AcceptPartial = d.word(path, n, "reject", "accept") == "accept"
		},
		"method":           func(path string, n *yaml.Node) { b.Method = d.word(path, n, MethodPost, MethodGet) },
		"maxResponseBytes": d.bytes(&b.MaxResponseBytes, 1<<10, 1<<30),
		"http":             func(path string, n *yaml.Node) { b.HTTP = d.http(path, n) },
	})
	return b
}

// labels are the names of labels; object is the name of one more that is allowed in a rule.
func (d *decoder) labels(path string, n *yaml.Node, object bool) Labels {
	var l Labels
	fields := map[string]field{"namespace": d.label(&l.Namespace), "pod": d.label(&l.Pod), "node": d.label(&l.Node)}
	if object {
		fields["object"] = d.label(&l.Object)
	}
	d.mapping(path, n, fields)
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
			d.fault(path, n.Line, "%s", unknownField.ReplaceAllString(e, "unknown key $1"))
		}
	case err != nil:
		d.fault(path, n.Line, "%v", err)
	}
	return c
}

// unknownField is what Prometheus's decoder says of a key that it does not know.
var unknownField = regexp.MustCompile(`^line \d+: field (\S+) not found in type \S+$`)

func (d *decoder) rule(path string, n *yaml.Node) Rule {
	var r Rule
	d.mapping(path, n, map[string]field{
		"metric":     d.text(&r.Metric),
		"match":      d.text(&r.Match),
		"except":     d.text(&r.Except),
		"resource":   d.text(&r.Resource),
		"query":      d.text(&r.Query),
		"external":   d.truth(&r.External),
		"namespaced": func(path string, n *yaml.Node) { r.Namespaced, r.Namespace = d.namespaced(path, n) },
		"labels":     func(path string, n *yaml.Node) { r.Labels = d.labels(path, n, true) },
		"fallback":   func(path string, n *yaml.Node) { r.Fallback = d.fallback(path, n) },
		"window": func(path string, n *yaml.Node) {
			r.HasWindow = true
			r.Window = d.window(path, n)
		},
		"backend":       d.text(&r.Backend),
		"aggregate":     d.text((*string)(&r.Aggregate)),
		"onMissing":     func(path string, n *yaml.Node) { r.OnMissing = d.onMissing(path, n) },
		"allowNegative": d.truth(&r.AllowNegative),
		"maxAge":        d.duration(&r.MaxAge, minInterval, maxSpan),
	})
	return r
}

func (d *decoder) window(path string, n *yaml.Node) Window {
	if n.Kind == yaml.ScalarNode && n.Value == "auto" {
		return Window{Auto: true}
	}
	v, _ := d.span(path, n, "auto or a duration such as 30s")
	return Window{Duration: v}
}

// namespaced reads whose namespace becomes a matcher: the request's, none, or one that is named.
func (d *decoder) namespaced(path string, n *yaml.Node) (request *bool, name string) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!bool" {
		request = new(bool)
		d.truth(request)(path, n)
		return request, ""
	}
	if !d.scalar(path, n, "request (or true), none (or false), or the name of a namespace", "!!str") {
		return nil, ""
	}
	switch n.Value {
	case "request":
		return new(true), ""
	case "none":
		return new(false), ""
	}
	if !namespaceName.MatchString(n.Value) {
		d.fault(path, n.Line, "must be request (or true), none (or false), or the name of a namespace, not %s", describeNode(n))
	}
	return new(false), n.Value
}

// namespaceName is that of a Kubernetes namespace.
var namespaceName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

func (d *decoder) fallback(path string, n *yaml.Node) *Fallback {
	var f Fallback
	before := len(d.faults)
	d.mapping(path, n, map[string]field{"after": d.duration(&f.After, minRefresh, maxFallback), "value": d.number(&f.Value)})
	for _, key := range []string{"after", "value"} {
		if _, ok := d.lines[path+"."+key]; !ok && len(d.faults) == before {
			d.fault(path, n.Line, "must be {after: DURATION, value: NUMBER}; %s is missing", key)
		}
	}
	return &f
}

func (d *decoder) onMissing(path string, n *yaml.Node) *float64 {
	var v float64
	if n.Kind == yaml.MappingNode {
		before := len(d.faults)
		d.mapping(path, n, map[string]field{"value": d.number(&v)})
		if _, ok := d.lines[path+".value"]; !ok && len(d.faults) == before {
			d.fault(path, n.Line, "must be error, zero or {value: NUMBER}, not an empty mapping")
		}
		return &v
	}
	switch n.Value {
	case "zero":
		return &v
	case "error":
		return nil
	}
	d.fault(path, n.Line, "must be error, zero or {value: NUMBER}, not %s", describeNode(n))
	return nil
}
