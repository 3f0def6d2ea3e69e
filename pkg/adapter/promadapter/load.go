package promadapter

import (
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// Recognise tells whether data is a configuration of prometheus-adapter, right or wrong, and not one of the native
// format. What is no YAML at all is neither.
func Recognise(data []byte) bool {
	var doc yaml.Node
	if len(data) > maxBytes || yaml.Unmarshal(data, &doc) != nil || len(doc.Content) != 1 {
		return false
	}
	root := doc.Content[0]
	if hasKey(root, "externalRules", "resourceRules") {
		return true
	}
	rules := valueOf(root, "rules")
	switch {
	case rules == nil:
		return false
	case isNull(rules) || len(rules.Content) == 0:
		return !hasKey(root, "apiVersion", "kind")
	}
	return slices.ContainsFunc(rules.Content, func(r *yaml.Node) bool {
		return hasKey(resolve(r), "seriesQuery", "metricsQuery", "seriesFilters")
	})
}

func hasKey(n *yaml.Node, names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return valueOf(n, name) != nil })
}

// valueOf is the value of a key, or nil.
func valueOf(n *yaml.Node, name string) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return resolve(n.Content[i+1])
		}
	}
	return nil
}

// Load reads a configuration and compiles it. The error is config.Faults with all that is wrong in the file itself.
// What depends on the cluster or the server makes a single rule fail later, in a Catalog.
func Load(data []byte) (*Config, error) {
	d := newDecoder()
	c := &Config{lines: d.lines}
	if root := d.document(data); root != nil && !isNull(root) {
		d.config(c, root)
		if d.pairs <= maxPairs {
			d.compile(c)
		}
	}
	if err := d.faults.Err(); err != nil {
		return nil, err
	}
	return c, nil
}

func (d *decoder) config(c *Config, root *yaml.Node) {
	d.mapping("", root, map[string]field{
		"rules":         func(path string, n *yaml.Node) { c.Rules = d.rules(path, n, false) },
		"externalRules": func(path string, n *yaml.Node) { c.ExternalRules = d.rules(path, n, true) },
		"resourceRules": func(path string, n *yaml.Node) { c.ResourceRules = d.resourceRules(path, n) },
	})
}

func (d *decoder) rules(path string, n *yaml.Node, external bool) []Rule {
	var rules []Rule
	d.sequence(path, n, func(path string, n *yaml.Node) {
		r := Rule{path: path, external: external}
		d.rule(path, n, &r)
		rules = append(rules, r)
	})
	return rules
}

func (d *decoder) rule(path string, n *yaml.Node, r *Rule) {
	d.mapping(path, n, map[string]field{
		"seriesQuery": d.text(&r.SeriesQuery),
		"seriesFilters": func(path string, n *yaml.Node) {
			d.sequence(path, n, func(path string, n *yaml.Node) {
				var f Filter
				d.mapping(path, n, map[string]field{"is": d.text(&f.Is), "isNot": d.text(&f.IsNot)})
				r.SeriesFilters = append(r.SeriesFilters, f)
			})
		},
		"resources": func(path string, n *yaml.Node) { d.resources(path, n, &r.Resources) },
		"name": func(path string, n *yaml.Node) {
			d.mapping(path, n, map[string]field{"matches": d.text(&r.Name.Matches), "as": d.text(&r.Name.As)})
		},
		"metricsQuery": d.text(&r.MetricsQuery),
	})
}

func (d *decoder) resources(path string, n *yaml.Node, m *ResourceMapping) {
	d.mapping(path, n, map[string]field{
		"template":   d.text(&m.Template),
		"namespaced": d.truth(&m.Namespaced),
		"overrides": func(path string, n *yaml.Node) {
			d.keys(path, n, func(at string, key, value *yaml.Node) {
				o := Override{Label: key.Value}
				if !isNull(value) {
					d.mapping(at, value, map[string]field{"group": d.text(&o.Group), "resource": d.text(&o.Resource)})
				}
				m.Overrides = append(m.Overrides, o)
			})
		},
	})
}

func (d *decoder) resourceRules(path string, n *yaml.Node) *ResourceRules {
	r := &ResourceRules{CPU: ResourceRule{path: path + ".cpu"}, Memory: ResourceRule{path: path + ".memory"}}
	d.mapping(path, n, map[string]field{
		"cpu":    func(path string, n *yaml.Node) { d.resourceRule(path, n, &r.CPU) },
		"memory": func(path string, n *yaml.Node) { d.resourceRule(path, n, &r.Memory) },
		"window": d.duration(&r.Window),
	})
	return r
}

func (d *decoder) resourceRule(path string, n *yaml.Node, r *ResourceRule) {
	d.mapping(path, n, map[string]field{
		"containerQuery": d.text(&r.ContainerQuery),
		"nodeQuery":      d.text(&r.NodeQuery),
		"containerLabel": d.text(&r.ContainerLabel),
		"resources":      func(path string, n *yaml.Node) { d.resources(path, n, &r.Resources) },
	})
}

// index is a position in a list as a path has it.
func index(list string, i int) string { return list + "[" + strconv.Itoa(i) + "]" }
