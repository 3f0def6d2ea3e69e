package config

import (
	"slices"
	"time"

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
)

// prometheusAdapterKeys are keys of prometheus-adapter's configuration, of the file and of a rule.
var prometheusAdapterKeys = []string{"externalRules", "resourceRules", "seriesQuery", "metricsQuery"}

// isPrometheusAdapter recognises the format by its keys. All messages but one would miss the point.
func isPrometheusAdapter(n *yaml.Node, depth int) bool {
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 && slices.Contains(prometheusAdapterKeys, child.Value) {
			return true
		}
		if depth > 0 && isPrometheusAdapter(child, depth-1) {
			return true
		}
	}
	return false
}

func (d *decoder) config(c *Config, root *yaml.Node) {
	if isPrometheusAdapter(root, 2) {
		d.fault("", root.Line, "this is a configuration of prometheus-adapter, which this version does not read")
		return
	}
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
	var b Backend
	d.mapping(path, n, map[string]field{
		"name":    d.text(&b.Name),
		"url":     d.text(&b.URL),
		"refresh": d.duration(&b.Refresh, minRefresh, maxInterval),
	})
	return b
}

func (d *decoder) rule(path string, n *yaml.Node) Rule {
	var r Rule
	d.mapping(path, n, map[string]field{
		"metric":   d.text(&r.Metric),
		"match":    d.text(&r.Match),
		"except":   d.text(&r.Except),
		"resource": d.text(&r.Resource),
		"query":    d.text(&r.Query),
		"external": d.truth(&r.External),
		"namespaced": func(path string, n *yaml.Node) {
			r.Namespaced = new(bool)
			d.truth(r.Namespaced)(path, n)
		},
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
