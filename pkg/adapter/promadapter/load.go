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
	if path, _ := findPromAdapterFragment(root); path != "" {
		return true
	}
	if hasAnyPromAdapterKey(root, "externalRules", "resourceRules") || findPromAdapterChartRules(root) != nil {
		return true
	}
	rules := findPromAdapterKeyValue(root, "rules")
	switch {
	case rules == nil:
		return false
	case strict.IsNullNode(rules) || len(rules.Content) == 0:
		return !hasAnyPromAdapterKey(root, "apiVersion", "kind")
	}
	keys := []string{"seriesQuery", "metricsQuery", "seriesFilters"}
	if !hasAnyPromAdapterKey(root, "apiVersion", "kind") {
		keys = append(keys, "resources", "name") // the others may be misspelt
	}
	return slices.ContainsFunc(rules.Content, func(r *yaml.Node) bool { return hasAnyPromAdapterKey(strict.ResolveAlias(r), keys...) })
}

// findPromAdapterChartRules returns the rules of the values of prometheus-adapter's Helm chart; nil if root has none. People take the values
// for the configuration that the chart makes of them.
func findPromAdapterChartRules(root *yaml.Node) *yaml.Node {
	rules := findPromAdapterKeyValue(root, "rules")
	if rules == nil || hasAnyPromAdapterKey(root, "apiVersion", "kind") || !hasAnyPromAdapterKey(rules, "default", "custom", "existing", "external", "resource") {
		return nil
	}
	return rules
}

func hasAnyPromAdapterKey(n *yaml.Node, names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return findPromAdapterKeyValue(n, name) != nil })
}

// findPromAdapterKeyValue returns the value of a key, or nil.
func findPromAdapterKeyValue(n *yaml.Node, name string) *yaml.Node {
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
	d := newPromAdapterDecoder()
	c := &Config{}
	root := d.parsePromAdapterDocument(data)
	if root != nil {
		d.loadPromAdapterDocument(c, root)
	}
	if len(d.faults) > 0 { // all faults at once
		d.faults = append(d.faults, c.CheckRules().Faults...)
		return nil, d.faults.Err()
	}
	return c, nil
}

// loadPromAdapterDocument decodes and compiles a document, unless it is no configuration of prometheus-adapter as a whole.
func (d *lenientDecoder) loadPromAdapterDocument(c *Config, root *yaml.Node) {
	path, message := findPromAdapterFragment(root)
	rules := findPromAdapterChartRules(root)
	switch {
	case path != "":
		d.addPromAdapterFaultAtLine(path, root.Line, "%s", message)
	case rules != nil:
		d.addPromAdapterFaultAtLine("rules", rules.Line, "these are "+chartValuesMessage)
	case hasAnyPromAdapterKey(root, "apiVersion", "kind"):
		d.addPromAdapterFaultAtLine("apiVersion", root.Line, "belongs to Tachometer's own format, but the file also has keys of prometheus-adapter's (seriesQuery, externalRules, resourceRules); "+
			"a file has one format: remove apiVersion and kind, or translate these rules by tachometer-adapter import")
	case !strict.IsNullNode(root):
		d.decodePromAdapterConfig(c, root)
		if d.pairCount <= maxPairs {
			d.compilePromAdapterRules(c)
		}
	}
}

// chartValuesMessage is the fault of Helm values given as the configuration.
const chartValuesMessage = "values of prometheus-adapter's Helm chart, not its configuration; " +
	"take config.yaml of the ConfigMap that the chart makes: helm template, or kubectl get configmap"

// findPromAdapterFragment returns the place and the words for a part of the Helm values of prometheus-adapter, or of its configuration,
// given as the whole; the path is empty for any other file.
func findPromAdapterFragment(root *yaml.Node) (path, message string) {
	isRule := func(n *yaml.Node) bool {
		return hasAnyPromAdapterKey(strict.ResolveAlias(n), "seriesQuery", "metricsQuery")
	}
	if root.Kind == yaml.SequenceNode && slices.ContainsFunc(root.Content, isRule) {
		return "[0]", "is a rule of prometheus-adapter without the key above it; write rules: or externalRules: above the list"
	}
	for i := 0; root.Kind == yaml.MappingNode && i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i].Value, strict.ResolveAlias(root.Content[i+1])
		switch {
		case key == "apiVersion", key == "kind":
			return "", ""
		case value.Kind == yaml.MappingNode && findPromAdapterChartRules(value) != nil:
			return key, "are " + chartValuesMessage
		case slices.Contains([]string{"custom", "external"}, key) && slices.ContainsFunc(value.Content, isRule):
			return key, "is a part of " + chartValuesMessage
		}
	}
	return "", ""
}

func (d *lenientDecoder) decodePromAdapterConfig(c *Config, root *yaml.Node) {
	d.decodePromAdapterMapping("", root, map[string]strict.FieldDecoder{
		"rules":         func(path string, n *yaml.Node) { c.Rules = d.decodePromAdapterSeriesRules(path, n, false) },
		"externalRules": func(path string, n *yaml.Node) { c.ExternalRules = d.decodePromAdapterSeriesRules(path, n, true) },
		"resourceRules": func(path string, n *yaml.Node) { c.ResourceRules = d.decodePromAdapterResourceRules(path, n) },
	})
}

func (d *lenientDecoder) decodePromAdapterSeriesRules(path string, n *yaml.Node, external bool) []Rule {
	var rules []Rule
	d.decodePromAdapterSequence(path, n, func(path string, n *yaml.Node) {
		r := Rule{path: path, external: external}
		d.decodePromAdapterSeriesRule(path, n, &r)
		rules = append(rules, r)
	})
	return rules
}

func (d *lenientDecoder) decodePromAdapterSeriesRule(path string, n *yaml.Node, r *Rule) {
	d.decodePromAdapterMapping(path, n, map[string]strict.FieldDecoder{
		"seriesQuery": d.promAdapterTextField(&r.SeriesQuery),
		"seriesFilters": func(path string, n *yaml.Node) {
			d.decodePromAdapterSequence(path, n, func(path string, n *yaml.Node) {
				var f SeriesFilter
				d.decodePromAdapterMapping(path, n, map[string]strict.FieldDecoder{"is": d.promAdapterTextField(&f.Is), "isNot": d.promAdapterTextField(&f.IsNot)})
				r.SeriesFilters = append(r.SeriesFilters, f)
			})
		},
		"resources": func(path string, n *yaml.Node) { d.decodePromAdapterResourceMapping(path, n, &r.Resources) },
		"name": func(path string, n *yaml.Node) {
			d.decodePromAdapterMapping(path, n, map[string]strict.FieldDecoder{"matches": d.promAdapterTextField(&r.Name.Matches), "as": d.promAdapterTextField(&r.Name.As)})
		},
		"metricsQuery": d.promAdapterTextField(&r.MetricsQuery),
	})
}

func (d *lenientDecoder) decodePromAdapterResourceMapping(path string, n *yaml.Node, m *ResourceMapping) {
	d.decodePromAdapterMapping(path, n, map[string]strict.FieldDecoder{
		"template":   d.promAdapterTextField(&m.Template),
		"namespaced": d.promAdapterBoolField(&m.Namespaced),
		"overrides": func(path string, n *yaml.Node) {
			d.visitPromAdapterKeys(path, n, func(at string, key, value *yaml.Node) {
				o := LabelOverride{Label: key.Value}
				if !strict.IsNullNode(value) {
					d.decodePromAdapterMapping(at, value, map[string]strict.FieldDecoder{"group": d.promAdapterTextField(&o.Group), "resource": d.promAdapterTextField(&o.Resource)})
				}
				m.Overrides = append(m.Overrides, o)
			})
		},
	})
}

func (d *lenientDecoder) decodePromAdapterResourceRules(path string, n *yaml.Node) *ResourceRules {
	r := &ResourceRules{CPU: ResourceRule{path: path + ".cpu"}, Memory: ResourceRule{path: path + ".memory"}}
	d.decodePromAdapterMapping(path, n, map[string]strict.FieldDecoder{
		"cpu":    func(path string, n *yaml.Node) { d.decodePromAdapterResourceRule(path, n, &r.CPU) },
		"memory": func(path string, n *yaml.Node) { d.decodePromAdapterResourceRule(path, n, &r.Memory) },
		"window": d.promAdapterDurationField(&r.Window),
	})
	return r
}

func (d *lenientDecoder) decodePromAdapterResourceRule(path string, n *yaml.Node, r *ResourceRule) {
	d.decodePromAdapterMapping(path, n, map[string]strict.FieldDecoder{
		"containerQuery": d.promAdapterTextField(&r.ContainerQuery),
		"nodeQuery":      d.promAdapterTextField(&r.NodeQuery),
		"containerLabel": d.promAdapterTextField(&r.ContainerLabel),
		"resources":      func(path string, n *yaml.Node) { d.decodePromAdapterResourceMapping(path, n, &r.Resources) },
	})
}
