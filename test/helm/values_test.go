package helm

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// freeForm are the values whose keys are Kubernetes's own, or the configuration's, which other parts check.
var freeForm = map[string]bool{
	"config": true, "resources": true, "affinity": true, "strategy": true, "podSecurityContext": true, "securityContext": true,
	"startupProbe": true, "livenessProbe": true, "readinessProbe": true, "psp": true, "rules.resource": true, "dashboards.labels": true,
}

// furtherKeys are keys without an effect here, by the path in which they stand: Helm's own "global", and keys of prometheus-adapter's chart.
var furtherKeys = map[string]map[string]map[string]any{
	"tachometer-adapter": {
		"certManager": {"caCertRevisionHistoryLimit": schemaOf("integer", "null"), "certRevisionHistoryLimit": schemaOf("integer", "null")},
		"service":     {"ipDualStack": schemaOf("object")},
		"":            {"global": schemaOf("object")},
	},
	"tachometer-scaler": {"": {"global": schemaOf("object")}},
}

// typesBesides are types besides the default's.
var typesBesides = map[string][]string{
	"podDisruptionBudget.minAvailable": {"string", "null"}, "podDisruptionBudget.maxUnavailable": {"string", "integer"},
	"rules.existing": {"string"}, "revisionHistoryLimit": {"integer"}, "prometheus.port": {"string"}, "logLevel": {"string"},
}

func schemaOf(types ...string) map[string]any {
	if len(types) == 1 {
		return map[string]any{"type": types[0]}
	}
	return map[string]any{"type": types}
}

// value is one value of a chart: its path, default and description.
type value struct{ path, preset, description string }

// TestSchema compares values.schema.json with values.yaml: each key with its type, and no other.
func TestSchema(t *testing.T) {
	t.Parallel()
	for _, chart := range charts {
		node := readValuesNode(t, chart)
		schema := objectSchema(node, "", furtherKeys[chart])
		schema["$schema"] = "http://json-schema.org/draft-07/schema#"
		text, err := json.MarshalIndent(schema, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		compareGolden(t, filepath.Join(chartFolder(chart), "values.schema.json"), string(text)+"\n")
	}
}

// TestUnknownValue gives values that the charts do not have: Helm refuses them by name.
func TestUnknownValue(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		chart  string
		values map[string]any
	}{
		"replicaz":   {"tachometer-adapter", map[string]any{"replicaz": 3}},
		"urll":       {"tachometer-adapter", map[string]any{"prometheus": map[string]any{"urll": "http://prometheus"}}},
		"namespacez": {"tachometer-scaler", map[string]any{"workloads": map[string]any{"namespacez": []any{"shop"}}}},
	} {
		for major, render := range map[int]func(release, map[string]any) (map[string]string, error){3: renderByHelm3, 4: renderByHelm4} {
			if _, err := render(release{test.chart, "web", "monitoring"}, test.values); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("Helm %d takes the value %s: %v", major, name, err)
			}
		}
	}
}

// TestReadme compares each chart's README with its values.
func TestReadme(t *testing.T) {
	t.Parallel()
	for _, chart := range charts {
		head, err := os.ReadFile(filepath.Join("testdata", chart, "README.head.md"))
		if err != nil {
			t.Fatal(err)
		}
		text := string(head) + "\n## Values\n\n| key | default | description |\n| --- | --- | --- |\n"
		for _, v := range listValues(t, readValuesNode(t, chart), "") {
			text += fmt.Sprintf("| `%s` | %s | %s |\n", v.path, v.preset, v.description)
		}
		compareGolden(t, filepath.Join(chartFolder(chart), "README.md"), text)
	}
}

func readValuesNode(t *testing.T, chart string) *yaml.Node {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(chartFolder(chart), "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	return document.Content[0]
}

func objectSchema(node *yaml.Node, path string, further map[string]map[string]any) map[string]any {
	properties := map[string]any{}
	for i := 0; i < len(node.Content); i += 2 {
		key := node.Content[i].Value
		properties[key] = valueSchema(node.Content[i+1], strings.TrimPrefix(path+"."+key, "."), further)
	}
	for key, schema := range further[path] {
		properties[key] = schema
	}
	return map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
}

func valueSchema(node *yaml.Node, path string, further map[string]map[string]any) map[string]any {
	switch {
	case node.Kind == yaml.SequenceNode:
		return schemaOf("array", "null")
	case node.Kind == yaml.MappingNode && (freeForm[path] || len(node.Content) == 0):
		return schemaOf("object", "null")
	case node.Kind == yaml.MappingNode:
		return objectSchema(node, path, further)
	}
	types := append([]string{map[string]string{"!!str": "string", "!!int": "integer", "!!bool": "boolean", "!!null": "null"}[node.Tag]}, typesBesides[path]...)
	return schemaOf(types...)
}

// listValues returns the values in the order of the file. Each has a description, in a comment that begins with "# -- ".
func listValues(t *testing.T, node *yaml.Node, path string) []value {
	t.Helper()
	var values []value
	for i := 0; i < len(node.Content); i += 2 {
		key, content := node.Content[i], node.Content[i+1]
		name := strings.TrimPrefix(path+"."+key.Value, ".")
		_, description, documented := strings.Cut(strings.ReplaceAll(key.HeadComment, "\n# ", " "), "# -- ")
		if !documented && content.Kind == yaml.MappingNode && len(content.Content) > 0 {
			values = append(values, listValues(t, content, name)...)
			continue
		}
		if !documented {
			t.Errorf("%s has no description", name)
		}
		values = append(values, value{name, presetText(t, content), description})
	}
	return values
}

func presetText(t *testing.T, node *yaml.Node) string {
	t.Helper()
	if len(node.Content) > 0 {
		return "see values.yaml"
	}
	if node.Kind == yaml.MappingNode {
		return "`{}`"
	}
	if node.Kind == yaml.SequenceNode {
		return "`[]`"
	}
	if node.Value == "" || node.Tag == "!!null" {
		return ""
	}
	return "`" + node.Value + "`"
}
