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
	if hasAnyKey(root, "externalRules", "resourceRules") || findChartRules(root) != nil {
		return true
	}
	rules := findKeyValue(root, "rules")
	switch {
	case rules == nil:
		return false
	case strict.IsNullNode(rules) || len(rules.Content) == 0:
		return !hasAnyKey(root, "apiVersion", "kind")
	}
	return slices.ContainsFunc(rules.Content, func(r *yaml.Node) bool {
		return hasAnyKey(strict.ResolveAlias(r), "seriesQuery", "metricsQuery", "seriesFilters")
	})
}

// findChartRules returns the rules of the values of prometheus-adapter's Helm chart; nil if root has none. People take the values
// for the configuration that the chart makes of them.
func findChartRules(root *yaml.Node) *yaml.Node {
	rules := findKeyValue(root, "rules")
	if rules == nil || hasAnyKey(root, "apiVersion", "kind") || !hasAnyKey(rules, "default", "custom", "existing", "external", "resource") {
		return nil
	}
	return rules
}

func hasAnyKey(n *yaml.Node, names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return findKeyValue(n, name) != nil })
}

// findKeyValue returns the value of a key, or nil.
func findKeyValue(n *yaml.Node, name string) *yaml.Node {
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
	d := newLenientDecoder()
	c := &Config{lines: d.lines}
	root := d.parseDocument(data)
	if root != nil && findChartRules(root) != nil {
		d.addFaultAtLine("rules", findChartRules(root).Line, "these are values of prometheus-adapter's Helm chart, not its configuration; "+
			"take config.yaml of the ConfigMap that the chart makes: helm template, or kubectl get configmap")
	} else if root != nil && !strict.IsNullNode(root) {
		d.decodeAdapterConfig(c, root)
		if d.pairCount <= maxPairs {
			d.compileAllRules(c)
		}
	}
	if err := d.faults.Err(); err != nil {
		return nil, err
	}
	return c, nil
}

func (d *lenientDecoder) decodeAdapterConfig(c *Config, root *yaml.Node) {
	d.decodeMapping("", root, map[string]strict.FieldDecoder{
		"rules":         func(path string, n *yaml.Node) { c.Rules = d.decodeSeriesRules(path, n, false) },
		"externalRules": func(path string, n *yaml.Node) { c.ExternalRules = d.decodeSeriesRules(path, n, true) },
		"resourceRules": func(path string, n *yaml.Node) { c.ResourceRules = d.decodeResourceRules(path, n) },
	})
}

func (d *lenientDecoder) decodeSeriesRules(path string, n *yaml.Node, external bool) []Rule {
	var rules []Rule
	d.decodeSequence(path, n, func(path string, n *yaml.Node) {
		r := Rule{path: path, external: external}
		d.decodeSeriesRule(path, n, &r)
		rules = append(rules, r)
	})
	return rules
}

func (d *lenientDecoder) decodeSeriesRule(path string, n *yaml.Node, r *Rule) {
	d.decodeMapping(path, n, map[string]strict.FieldDecoder{
		"seriesQuery": d.textField(&r.SeriesQuery),
		"seriesFilters": func(path string, n *yaml.Node) {
			d.decodeSequence(path, n, func(path string, n *yaml.Node) {
				var f SeriesFilter
				d.decodeMapping(path, n, map[string]strict.FieldDecoder{"is": d.textField(&f.Is), "isNot": d.textField(&f.IsNot)})
				r.SeriesFilters = append(r.SeriesFilters, f)
			})
		},
		"resources": func(path string, n *yaml.Node) { d.decodeResourceMapping(path, n, &r.Resources) },
		"name": func(path string, n *yaml.Node) {
			d.decodeMapping(path, n, map[string]strict.FieldDecoder{"matches": d.textField(&r.Name.Matches), "as": d.textField(&r.Name.As)})
		},
		"metricsQuery": d.textField(&r.MetricsQuery),
	})
}

func (d *lenientDecoder) decodeResourceMapping(path string, n *yaml.Node, m *ResourceMapping) {
	d.decodeMapping(path, n, map[string]strict.FieldDecoder{
		"template":   d.textField(&m.Template),
		"namespaced": d.boolField(&m.Namespaced),
		"overrides": func(path string, n *yaml.Node) {
			d.visitKeys(path, n, func(at string, key, value *yaml.Node) {
				o := LabelOverride{Label: key.Value}
				if !strict.IsNullNode(value) {
					d.decodeMapping(at, value, map[string]strict.FieldDecoder{"group": d.textField(&o.Group), "resource": d.textField(&o.Resource)})
				}
				m.Overrides = append(m.Overrides, o)
			})
		},
	})
}

func (d *lenientDecoder) decodeResourceRules(path string, n *yaml.Node) *ResourceRules {
	r := &ResourceRules{CPU: ResourceRule{path: path + ".cpu"}, Memory: ResourceRule{path: path + ".memory"}}
	d.decodeMapping(path, n, map[string]strict.FieldDecoder{
		"cpu":    func(path string, n *yaml.Node) { d.decodeResourceRule(path, n, &r.CPU) },
		"memory": func(path string, n *yaml.Node) { d.decodeResourceRule(path, n, &r.Memory) },
		"window": d.durationField(&r.Window),
	})
	return r
}

func (d *lenientDecoder) decodeResourceRule(path string, n *yaml.Node, r *ResourceRule) {
	d.decodeMapping(path, n, map[string]strict.FieldDecoder{
		"containerQuery": d.textField(&r.ContainerQuery),
		"nodeQuery":      d.textField(&r.NodeQuery),
		"containerLabel": d.textField(&r.ContainerLabel),
		"resources":      func(path string, n *yaml.Node) { d.decodeResourceMapping(path, n, &r.Resources) },
	})
}
