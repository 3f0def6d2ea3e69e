// Recognition and decoding of a configuration file of prometheus-adapter.

package promadapter

import (
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// IsConfig reports whether data is a configuration of prometheus-adapter, valid or not, and no native
// configuration. Invalid YAML is neither.
func IsConfig(data []byte) bool {
	var doc yaml.Node
	if len(data) > strict.MaxBytes || yaml.Unmarshal(data, &doc) != nil || len(doc.Content) != 1 {
		return false
	}
	root := doc.Content[0]
	if hasAnyLegacyKey(root, "externalRules", "resourceRules") || findChartRules(root) != nil {
		return true
	}
	rules := findLegacyKeyValue(root, "rules")
	switch {
	case rules == nil:
		return false
	case strict.IsNullNode(rules) || len(rules.Content) == 0:
		return !hasAnyLegacyKey(root, "apiVersion", "kind")
	}
	return slices.ContainsFunc(rules.Content, func(r *yaml.Node) bool {
		return hasAnyLegacyKey(strict.ResolveAlias(r), "seriesQuery", "metricsQuery", "seriesFilters")
	})
}

// findChartRules returns the rules of the values of prometheus-adapter's Helm chart; nil if root has none. People take the values
// for the configuration that the chart makes of them.
func findChartRules(root *yaml.Node) *yaml.Node {
	rules := findLegacyKeyValue(root, "rules")
	if rules == nil || hasAnyLegacyKey(root, "apiVersion", "kind") || !hasAnyLegacyKey(rules, "default", "custom", "existing", "external", "resource") {
		return nil
	}
	return rules
}

func hasAnyLegacyKey(n *yaml.Node, names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return findLegacyKeyValue(n, name) != nil })
}

// findLegacyKeyValue returns the value of a key, or nil.
func findLegacyKeyValue(n *yaml.Node, name string) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return strict.ResolveAlias(n.Content[i+1])
		}
	}
	return nil
}

// Load decodes a configuration and compiles it. The error is config.Faults with every fault of the file. A rule that fails only
// because of the cluster or the server fails later and alone, in a Catalog.
func Load(data []byte) (*Config, error) {
	d := newLegacyDecoder()
	c := &Config{lines: d.lines}
	root := d.parseLenientDocument(data)
	if root != nil && findChartRules(root) != nil {
		d.addLenientFaultAtLine("rules", findChartRules(root).Line, "these are values of prometheus-adapter's Helm chart, not its configuration; "+
			"take config.yaml of the ConfigMap that the chart makes: helm template, or kubectl get configmap")
	} else if root != nil && !strict.IsNullNode(root) {
		d.decodeAdapterConfig(c, root)
		if d.pairCount <= maxPairs {
			d.compileLegacyRules(c)
		}
	}
	if err := d.faults.Err(); err != nil {
		return nil, err
	}
	return c, nil
}

func (d *lenientDecoder) decodeAdapterConfig(c *Config, root *yaml.Node) {
	d.decodeLenientMapping("", root, map[string]strict.FieldDecoder{
		"rules":         func(path string, n *yaml.Node) { c.Rules = d.decodeLegacySeriesRules(path, n, false) },
		"externalRules": func(path string, n *yaml.Node) { c.ExternalRules = d.decodeLegacySeriesRules(path, n, true) },
		"resourceRules": func(path string, n *yaml.Node) { c.ResourceRules = d.decodeLegacyResourceRules(path, n) },
	})
}

func (d *lenientDecoder) decodeLegacySeriesRules(path string, n *yaml.Node, external bool) []Rule {
	var rules []Rule
	d.decodeLenientSequence(path, n, func(path string, n *yaml.Node) {
		r := Rule{path: path, external: external}
		d.decodeLegacySeriesRule(path, n, &r)
		rules = append(rules, r)
	})
	return rules
}

func (d *lenientDecoder) decodeLegacySeriesRule(path string, n *yaml.Node, r *Rule) {
	d.decodeLenientMapping(path, n, map[string]strict.FieldDecoder{
		"seriesQuery": d.lenientTextField(&r.SeriesQuery),
		"seriesFilters": func(path string, n *yaml.Node) {
			d.decodeLenientSequence(path, n, func(path string, n *yaml.Node) {
				var f SeriesFilter
				d.decodeLenientMapping(path, n, map[string]strict.FieldDecoder{"is": d.lenientTextField(&f.Is), "isNot": d.lenientTextField(&f.IsNot)})
				r.SeriesFilters = append(r.SeriesFilters, f)
			})
		},
		"resources": func(path string, n *yaml.Node) { d.decodeLegacyResourceMapping(path, n, &r.Resources) },
		"name": func(path string, n *yaml.Node) {
			d.decodeLenientMapping(path, n, map[string]strict.FieldDecoder{"matches": d.lenientTextField(&r.Name.Matches), "as": d.lenientTextField(&r.Name.As)})
		},
		"metricsQuery": d.lenientTextField(&r.MetricsQuery),
	})
}

func (d *lenientDecoder) decodeLegacyResourceMapping(path string, n *yaml.Node, m *ResourceMapping) {
	d.decodeLenientMapping(path, n, map[string]strict.FieldDecoder{
		"template":   d.lenientTextField(&m.Template),
		"namespaced": d.lenientBoolField(&m.Namespaced),
		"overrides": func(path string, n *yaml.Node) {
			d.visitLenientKeys(path, n, func(at string, key, value *yaml.Node) {
				o := LabelOverride{Label: key.Value}
				if !strict.IsNullNode(value) {
					d.decodeLenientMapping(at, value, map[string]strict.FieldDecoder{"group": d.lenientTextField(&o.Group), "resource": d.lenientTextField(&o.Resource)})
				}
				m.Overrides = append(m.Overrides, o)
			})
		},
	})
}

func (d *lenientDecoder) decodeLegacyResourceRules(path string, n *yaml.Node) *ResourceRules {
	r := &ResourceRules{CPU: ResourceRule{path: path + ".cpu"}, Memory: ResourceRule{path: path + ".memory"}}
	d.decodeLenientMapping(path, n, map[string]strict.FieldDecoder{
		"cpu":    func(path string, n *yaml.Node) { d.decodeLegacyResourceRule(path, n, &r.CPU) },
		"memory": func(path string, n *yaml.Node) { d.decodeLegacyResourceRule(path, n, &r.Memory) },
		"window": d.lenientDurationField(&r.Window),
	})
	return r
}

func (d *lenientDecoder) decodeLegacyResourceRule(path string, n *yaml.Node, r *ResourceRule) {
	d.decodeLenientMapping(path, n, map[string]strict.FieldDecoder{
		"containerQuery": d.lenientTextField(&r.ContainerQuery),
		"nodeQuery":      d.lenientTextField(&r.NodeQuery),
		"containerLabel": d.lenientTextField(&r.ContainerLabel),
		"resources":      func(path string, n *yaml.Node) { d.decodeLegacyResourceMapping(path, n, &r.Resources) },
	})
}
