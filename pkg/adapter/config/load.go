package config

import (
	"math"
	"regexp"
	"slices"
	"time"

	promconfig "github.com/prometheus/common/config"
	"go.yaml.in/yaml/v3"

	"github.com/tachometer-metrics/tachometer/pkg/domain"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// Load decodes a configuration in the native format. The error is Faults with every fault, except the faults of
// expressions, which package rule compiles.
func Load(data []byte) (*Config, error) {
	c, faults := Decode(data)
	if err := faults.Err(); err != nil {
		return nil, err
	}
	return c, nil
}

// Decode is Load for callers with faults of their own to add. With faults, the configuration holds the valid part of the file,
// with defaults for the rest; use it only to find more faults. It is never nil.
func Decode(data []byte) (*Config, Faults) {
	d := &adapterConfigDecoder{strict.NewDecoder()}
	c := Default()
	// setConfigDefaults derives these values again, from the values of the file.
	c.Scrape.Timeout, c.MaxAge, c.MaxWindow = 0, 0, 0
	c.lines = d.Lines
	d.decodeConfigFile(&c, data)
	c.setConfigDefaults()
	if len(c.lines) > 1 {
		v := configValidator{adapterConfigDecoder: d, config: &c}
		v.validateConfig()
	}
	return &c, d.Faults
}

// The bounds of durations.
const (
	minScrapeInterval  = 100 * time.Millisecond // below, targets would spend their time on scrapes
	maxInterval        = 5 * time.Minute        // above, an HPA decides more than twenty times on the same sample
	maxAgeOrWindow     = time.Hour              // older samples say nothing about the load
	minRefreshInterval = time.Second
	maxFallbackDelay   = 24 * time.Hour
)

// adapterConfigDecoder decodes the sections of a configuration.
type adapterConfigDecoder struct{ *strict.Decoder }

func (d *adapterConfigDecoder) decodeConfigFile(c *Config, data []byte) {
	d.DecodeFile(data, domain.AdapterConfigKind, map[string]strict.FieldDecoder{
		"scrape":    func(path string, n *yaml.Node) { d.decodeScrapeConfig(path, n, &c.Scrape) },
		"maxAge":    d.Duration(&c.MaxAge, minScrapeInterval, maxAgeOrWindow),
		"maxWindow": d.Duration(&c.MaxWindow, minScrapeInterval, maxAgeOrWindow),
		"backends": func(path string, n *yaml.Node) {
			d.DecodeSequence(path, n, func(path string, n *yaml.Node) {
				c.Backends = append(c.Backends, d.decodeBackendConfig(path, n))
			})
		},
		"rules": func(path string, n *yaml.Node) {
			c.HasRules = true
			d.DecodeSequence(path, n, func(path string, n *yaml.Node) { c.Rules = append(c.Rules, d.decodeRuleConfig(path, n)) })
			if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
				d.AddFaultAtLine(path, n.Line, "is empty; remove the key to use the built-in rules")
			}
		},
	})
}

func (d *adapterConfigDecoder) decodeScrapeConfig(path string, n *yaml.Node, s *Scrape) {
	d.DecodeMapping(path, n, map[string]strict.FieldDecoder{
		"interval":      d.Duration(&s.Interval, minScrapeInterval, maxInterval),
		"timeout":       d.Duration(&s.Timeout, time.Millisecond, maxInterval),
		"maxPageBytes":  d.Bytes(&s.MaxPageBytes, 1<<10, 1<<30),
		"maxSamples":    d.Integer(&s.MaxSamples, 1, 10_000_000),
		"maxLabels":     d.Integer(&s.MaxLabels, 4, 1024), // at least __name__, namespace, pod, node
		"maxLabelBytes": d.Bytes(&s.MaxLabelBytes, 128, 16<<10),
		"maxSeries":     d.Integer(&s.MaxSeries, 1, 10_000_000),
		"maxStoreBytes": d.Bytes(&s.MaxStoreBytes, 1<<20, 1<<40),
		"maxConcurrent": d.Integer(&s.MaxConcurrent, 1, 10_000),
	})
}

func (d *adapterConfigDecoder) decodeBackendConfig(path string, n *yaml.Node) Backend {
	b := Backend{HTTP: promconfig.DefaultHTTPClientConfig}
	d.DecodeMapping(path, n, map[string]strict.FieldDecoder{
		"name":     d.Text(&b.Name),
		"url":      d.Text(&b.URL),
		"failover": func(path string, n *yaml.Node) { b.Failover = d.DecodeTexts(path, n) },
		"refresh":  d.Duration(&b.Refresh, minRefreshInterval, maxInterval),
		"timeout":  d.Duration(&b.Timeout, minScrapeInterval, maxInterval),
		"maxAge":   d.Duration(&b.MaxAge, minRefreshInterval, maxAgeOrWindow),
		"labels":   func(path string, n *yaml.Node) { b.Labels = d.decodeConfigLabelNames(path, n, false) },
		"partialResponse": func(path string, n *yaml.Node) {
			b.AcceptPartial = d.DecodeEnum(path, n, "reject", "accept") == "accept"
		},
		"method":           func(path string, n *yaml.Node) { b.Method = d.DecodeEnum(path, n, MethodPost, MethodGet) },
		"maxResponseBytes": d.Bytes(&b.MaxResponseBytes, 1<<10, 1<<30),
		"http":             func(path string, n *yaml.Node) { b.HTTP = d.decodeHTTPClient(path, n) },
	})
	return b
}

// decodeConfigLabelNames decodes the label names of a backend, or of a rule: only a rule may have the key object.
func (d *adapterConfigDecoder) decodeConfigLabelNames(path string, n *yaml.Node, object bool) Labels {
	var l Labels
	fields := map[string]strict.FieldDecoder{"namespace": d.LabelName(&l.Namespace), "pod": d.LabelName(&l.Pod), "node": d.LabelName(&l.Node)}
	if object {
		fields["object"] = d.LabelName(&l.Object)
	}
	d.DecodeMapping(path, n, fields)
	return l
}

func (d *adapterConfigDecoder) decodeRuleConfig(path string, n *yaml.Node) Rule {
	var r Rule
	d.DecodeMapping(path, n, map[string]strict.FieldDecoder{
		"metric":     d.Text(&r.Metric),
		"match":      d.Text(&r.Match),
		"except":     d.Text(&r.Except),
		"resource":   d.Text(&r.Resource),
		"query":      d.Text(&r.Query),
		"external":   d.Bool(&r.External),
		"namespaced": func(path string, n *yaml.Node) { r.Namespaced = d.decodeNamespacedKey(path, n) },
		"from":       func(path string, n *yaml.Node) { r.From, r.FromAll = d.decodeFromNamespaces(path, n) },
		"targets":    func(path string, n *yaml.Node) { r.Targets = d.decodeRuleTargets(path, n) },
		"labels":     func(path string, n *yaml.Node) { r.Labels = d.decodeConfigLabelNames(path, n, true) },
		"fallback":   func(path string, n *yaml.Node) { r.Fallback = d.decodeRuleFallback(path, n) },
		"window": func(path string, n *yaml.Node) {
			r.HasWindow = true
			r.Window = d.decodeRuleWindow(path, n)
		},
		"backend": d.Text(&r.Backend),
		"aggregate": func(path string, n *yaml.Node) {
			r.HasAggregate = true
			d.Text((*string)(&r.Aggregate))(path, n)
		},
		"onMissing":     func(path string, n *yaml.Node) { r.OnMissing = d.decodeOnMissing(path, n) },
		"whenNoPods":    func(path string, n *yaml.Node) { r.WhenNoPods = d.decodeWhenNoPods(path, n) },
		"allowNegative": d.Bool(&r.AllowNegative),
		"maxAge":        d.Duration(&r.MaxAge, minScrapeInterval, maxAgeOrWindow),
	})
	return r
}

func (d *adapterConfigDecoder) decodeRuleWindow(path string, n *yaml.Node) Window {
	if n.Kind == yaml.ScalarNode && n.Value == "auto" {
		return Window{Auto: true}
	}
	v, _ := d.DecodeDuration(path, n, "auto or a duration such as 30s")
	return Window{Duration: v}
}

// decodeNamespacedKey decodes the namespace to match: the request's or none. An invalid value gives nil.
func (d *adapterConfigDecoder) decodeNamespacedKey(path string, n *yaml.Node) (request *bool) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!bool" {
		request = new(bool)
		d.Bool(request)(path, n)
		return request
	}
	if !d.ValidateScalar(path, n, "request (or true) or none (or false)", "!!str") {
		return nil
	}
	switch n.Value {
	case "request":
		return new(true)
	case "none":
		return new(false)
	}
	d.AddFaultAtLine(path, n.Line, "must be request (or true) or none (or false), not %s; from: [NAMESPACE] names a namespace", strict.DescribeNode(n))
	return nil
}

// decodeFromNamespaces decodes the namespaces that may feed a rule: a list, or all.
func (d *adapterConfigDecoder) decodeFromNamespaces(path string, n *yaml.Node) (namespaces []string, all bool) {
	switch {
	case n.Kind == yaml.ScalarNode && n.Value == "all":
		return nil, true
	case n.Kind == yaml.SequenceNode && len(n.Content) == 0:
		d.AddFaultAtLine(path, n.Line, "is empty, so that no pod could feed the rule; write all or a list of namespaces such as [shop]")
		return nil, false
	case n.Kind != yaml.SequenceNode:
		d.AddFaultAtLine(path, n.Line, "must be all or a list of namespaces such as [shop], not %s", strict.DescribeNode(n))
		return nil, false
	}
	d.DecodeSequence(path, n, func(path string, n *yaml.Node) {
		if !d.ValidateScalar(path, n, "the name of a namespace", "!!str") {
			return
		}
		if !namespaceNameRegexp.MatchString(n.Value) {
			d.AddFaultAtLine(path, n.Line, "%s is not the name of a namespace", strict.DescribeNode(n))
			return
		}
		namespaces = append(namespaces, n.Value)
	})
	slices.Sort(namespaces)
	return slices.Compact(namespaces), false
}

// namespaceNameRegexp matches the name of a Kubernetes namespace.
var namespaceNameRegexp = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

// maxServedNumber bounds the numbers that an HPA reads: they are thousandths, of 63 bits.
const maxServedNumber = 9.2e15

// newServedNumberDecoder returns the decoder of a number that is served in place of a value.
func (d *adapterConfigDecoder) newServedNumberDecoder(to *float64) strict.FieldDecoder {
	return func(path string, n *yaml.Node) {
		if d.Number(to)(path, n); math.Abs(*to) > maxServedNumber {
			d.AddFaultAtLine(path, n.Line, "must be from -%[1]g to %[1]g, not %[2]s; an HPA reads no other number", maxServedNumber, n.Value)
		}
	}
}

func (d *adapterConfigDecoder) decodeRuleFallback(path string, n *yaml.Node) *Fallback {
	var f Fallback
	before := len(d.Faults)
	d.DecodeMapping(path, n, map[string]strict.FieldDecoder{"after": d.Duration(&f.After, minRefreshInterval, maxFallbackDelay), "value": d.newServedNumberDecoder(&f.Value)})
	for _, key := range []string{"after", "value"} {
		if _, ok := d.Lines[path+"."+key]; !ok && len(d.Faults) == before {
			d.AddFaultAtLine(path, n.Line, "must be {after: DURATION, value: NUMBER}; add %s", key)
		}
	}
	return &f
}

func (d *adapterConfigDecoder) decodeOnMissing(path string, n *yaml.Node) *float64 {
	var v float64
	if n.Kind == yaml.MappingNode {
		before := len(d.Faults)
		d.DecodeMapping(path, n, map[string]strict.FieldDecoder{"value": d.newServedNumberDecoder(&v)})
		if _, ok := d.Lines[path+".value"]; !ok && len(d.Faults) == before {
			d.AddFaultAtLine(path, n.Line, "must be error, zero or {value: NUMBER}, not an empty mapping")
		}
		return &v
	}
	switch n.Value {
	case "zero":
		return &v
	case "error":
		return nil
	}
	d.AddFaultAtLine(path, n.Line, "must be error, zero or {value: NUMBER}, not %s", strict.DescribeNode(n))
	return nil
}

// decodeWhenNoPods decodes the value of an object without pods: error or {value: NUMBER}.
func (d *adapterConfigDecoder) decodeWhenNoPods(path string, n *yaml.Node) *float64 {
	if n.Kind == yaml.ScalarNode && n.Value == "error" {
		return nil
	}
	if n.Kind != yaml.MappingNode || len(n.Content) == 0 {
		d.AddFaultAtLine(path, n.Line, "must be error or {value: NUMBER}, not %s", strict.DescribeNode(n))
		return nil
	}
	return d.decodeOnMissing(path, n)
}
