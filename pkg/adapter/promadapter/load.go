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
	if path, _ := findHelmValuesFragment(root); path != "" {
		return true
	}
	if hasAnyMappingKey(root, "externalRules", "resourceRules") || findHelmChartRules(root) != nil {
		return true
	}
	rules := findMappingValue(root, "rules")
	switch {
	case rules == nil:
		return false
	case strict.IsNullNode(rules) || len(rules.Content) == 0:
		return !hasAnyMappingKey(root, "apiVersion", "kind")
	}
	keys := []string{"seriesQuery", "metricsQuery", "seriesFilters"}
	if !hasAnyMappingKey(root, "apiVersion", "kind") {
		keys = append(keys, "resources", "name") // the others may be misspelt
	}
	return slices.ContainsFunc(rules.Content, func(r *yaml.Node) bool { return hasAnyMappingKey(strict.ResolveAlias(r), keys...) })
}

// findHelmChartRules returns the rules of the values of prometheus-adapter's Helm chart; nil if root has none. People take the values
// for the configuration that the chart makes of them.
func findHelmChartRules(root *yaml.Node) *yaml.Node {
	rules := findMappingValue(root, "rules")
	if rules == nil || hasAnyMappingKey(root, "apiVersion", "kind") || !hasAnyMappingKey(rules, "default", "custom", "existing", "external", "resource") {
		return nil
	}
	return rules
}

func hasAnyMappingKey(n *yaml.Node, names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return findMappingValue(n, name) != nil })
}

// findMappingValue returns the value of a key, or nil.
func findMappingValue(n *yaml.Node, name string) *yaml.Node {
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
	c := &Config{}
	root := d.parseFirstYAMLDocument(data)
	if root != nil {
		d.loadImportedDocument(c, root)
	}
	c.warnings = d.warnings
	if len(d.faults) > 0 { // all faults at once
		d.faults = append(d.faults, c.CheckRules().Faults...)
		return nil, d.faults.Err()
	}
	return c, nil
}

// loadImportedDocument decodes and compiles a document, unless it is no configuration of prometheus-adapter as a whole.
func (d *lenientDecoder) loadImportedDocument(c *Config, root *yaml.Node) {
	path, message := findHelmValuesFragment(root)
	rules := findHelmChartRules(root)
	switch {
	case path != "":
		d.addFaultAtLine(path, root.Line, "%s", message)
	case rules != nil:
		d.addFaultAtLine("rules", rules.Line, "these are "+chartValuesMessage)
	case hasAnyMappingKey(root, "apiVersion", "kind"):
		d.addFaultAtLine("apiVersion", root.Line, "belongs to Tachometer's own format, but the file also has keys of prometheus-adapter's (seriesQuery, externalRules, resourceRules); "+
			"a file has one format: remove apiVersion and kind, or translate these rules by tachometer-adapter import")
	case !strict.IsNullNode(root):
		d.decodeLenientConfig(c, root)
		if d.pairCount <= maxPairs {
			d.compileConfigRules(c)
		}
	}
}

// chartValuesMessage is the fault of Helm values given as the configuration.
const chartValuesMessage = "values of prometheus-adapter's Helm chart, not its configuration; " +
	"take config.yaml of the ConfigMap that the chart makes: helm template, or kubectl get configmap"

// findHelmValuesFragment returns the place and the words for a part of the Helm values of prometheus-adapter, or of its configuration,
// given as the whole; the path is empty for any other file.
func findHelmValuesFragment(root *yaml.Node) (path, message string) {
	isRule := func(n *yaml.Node) bool {
		return hasAnyMappingKey(strict.ResolveAlias(n), "seriesQuery", "metricsQuery")
	}
	if root.Kind == yaml.SequenceNode && slices.ContainsFunc(root.Content, isRule) {
		return "[0]", "is a rule of prometheus-adapter without the key above it; write rules: or externalRules: above the list"
	}
	for i := 0; root.Kind == yaml.MappingNode && i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i].Value, strict.ResolveAlias(root.Content[i+1])
		switch {
		case key == "apiVersion", key == "kind":
			return "", ""
		case value.Kind == yaml.MappingNode && findHelmChartRules(value) != nil:
			return key, "are " + chartValuesMessage
		case slices.Contains([]string{"custom", "external"}, key) && slices.ContainsFunc(value.Content, isRule):
			return key, "is a part of " + chartValuesMessage
		}
	}
	return "", ""
}

func (d *lenientDecoder) decodeLenientConfig(c *Config, root *yaml.Node) {
	d.decodeLenientMapping("", root, map[string]strict.FieldDecoder{
		"rules":         func(path string, n *yaml.Node) { c.Rules = d.decodeSeriesRules(path, n, false) },
		"externalRules": func(path string, n *yaml.Node) { c.ExternalRules = d.decodeSeriesRules(path, n, true) },
		"resourceRules": func(path string, n *yaml.Node) { c.ResourceRules = d.decodeResourceRules(path, n) },
	})
}

func (d *lenientDecoder) decodeSeriesRules(path string, n *yaml.Node, external bool) []SeriesRule {
	var rules []SeriesRule
	d.decodeLenientSequence(path, n, func(path string, n *yaml.Node) {
		r := SeriesRule{path: path, external: external}
		d.decodeSeriesRule(path, n, &r)
		rules = append(rules, r)
	})
	return rules
}

func (d *lenientDecoder) decodeSeriesRule(path string, n *yaml.Node, r *SeriesRule) {
	d.decodeLenientMapping(path, n, map[string]strict.FieldDecoder{
		"seriesQuery": d.newTextFieldDecoder(&r.SeriesQuery),
		"seriesFilters": func(path string, n *yaml.Node) {
			d.decodeLenientSequence(path, n, func(path string, n *yaml.Node) {
				var f SeriesFilter
				d.decodeLenientMapping(path, n, map[string]strict.FieldDecoder{"is": d.newTextFieldDecoder(&f.Is), "isNot": d.newTextFieldDecoder(&f.IsNot)})
				r.SeriesFilters = append(r.SeriesFilters, f)
			})
		},
		"resources": func(path string, n *yaml.Node) { d.decodeResourceMapping(path, n, &r.Resources) },
		"name": func(path string, n *yaml.Node) {
			d.decodeLenientMapping(path, n, map[string]strict.FieldDecoder{"matches": d.newTextFieldDecoder(&r.Name.Matches), "as": d.newTextFieldDecoder(&r.Name.As)})
		},
		"metricsQuery": d.newTextFieldDecoder(&r.MetricsQuery),
	})
}

func (d *lenientDecoder) decodeResourceMapping(path string, n *yaml.Node, m *ResourceMapping) {
	d.decodeLenientMapping(path, n, map[string]strict.FieldDecoder{
		"template":   d.newTextFieldDecoder(&m.Template),
		"namespaced": d.newBoolFieldDecoder(&m.Namespaced),
		"overrides": func(path string, n *yaml.Node) {
			d.visitMappingKeys(path, n, func(at string, key, value *yaml.Node) {
				o := LabelOverride{Label: key.Value}
				if !strict.IsNullNode(value) {
					d.decodeLenientMapping(at, value, map[string]strict.FieldDecoder{"group": d.newTextFieldDecoder(&o.Group), "resource": d.newTextFieldDecoder(&o.Resource)})
				}
				m.Overrides = append(m.Overrides, o)
			})
		},
	})
}

func (d *lenientDecoder) decodeResourceRules(path string, n *yaml.Node) *ResourceRules {
	r := &ResourceRules{CPU: ResourceRule{path: path + ".cpu"}, Memory: ResourceRule{path: path + ".memory"}}
	d.decodeLenientMapping(path, n, map[string]strict.FieldDecoder{
		"cpu":    func(path string, n *yaml.Node) { d.decodeResourceRule(path, n, &r.CPU) },
		"memory": func(path string, n *yaml.Node) { d.decodeResourceRule(path, n, &r.Memory) },
		"window": d.newDurationFieldDecoder(&r.Window),
	})
	return r
}

func (d *lenientDecoder) decodeResourceRule(path string, n *yaml.Node, r *ResourceRule) {
	d.decodeLenientMapping(path, n, map[string]strict.FieldDecoder{
		"containerQuery": d.newTextFieldDecoder(&r.ContainerQuery),
		"nodeQuery":      d.newTextFieldDecoder(&r.NodeQuery),
		"containerLabel": d.newTextFieldDecoder(&r.ContainerLabel),
		"resources":      func(path string, n *yaml.Node) { d.decodeResourceMapping(path, n, &r.Resources) },
	})
}
