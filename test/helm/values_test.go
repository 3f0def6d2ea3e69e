package helm

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// freeForm are the values whose keys the user chooses, or which another part checks.
var freeForm = map[string]bool{"psp": true, "rules.resource": true}

// kubernetesTypes are the values that become a part of an object as they are. kube-apiserver drops a key that it does not know without a
// word, so the schema has the keys of Kubernetes's own types.
var kubernetesTypes = map[string]reflect.Type{
	"resources": reflect.TypeFor[corev1.ResourceRequirements](), "affinity": reflect.TypeFor[corev1.Affinity](),
	"strategy": reflect.TypeFor[appsv1.DeploymentStrategy](), "dnsConfig": reflect.TypeFor[corev1.PodDNSConfig](),
	"podSecurityContext": reflect.TypeFor[corev1.PodSecurityContext](), "securityContext": reflect.TypeFor[corev1.SecurityContext](),
	"startupProbe": reflect.TypeFor[corev1.Probe](), "livenessProbe": reflect.TypeFor[corev1.Probe](), "readinessProbe": reflect.TypeFor[corev1.Probe](),
	"tolerations": reflect.TypeFor[[]corev1.Toleration](), "env": reflect.TypeFor[[]corev1.EnvVar](),
	"topologySpreadConstraints": reflect.TypeFor[[]corev1.TopologySpreadConstraint](),
}

// elementSchemas are the schemas of the elements of lists of the charts' own.
var elementSchemas = map[string]map[string]any{
	"workloads.namespaces": {"type": "string", "pattern": `^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$`},
	"gates.namespaces":     {"type": "string", "pattern": `^(\*|[a-z0-9]([-a-z0-9]*[a-z0-9])?)$`},
	"selfMetrics.readers": {
		"type": "object", "additionalProperties": false, "required": []string{"name", "namespace"},
		"properties": map[string]any{"name": schemaOf("string"), "namespace": schemaOf("string")},
	},
}

// furtherKeys are keys without an effect here, by the path in which they stand: Helm's own "global", which the notes name, and keys of other
// charts, which the template rejects with the way out. The schema could only say that they are not allowed.
var furtherKeys = map[string]map[string]map[string]any{
	"tachometer-adapter": {"": listFurtherKeys("addonResizer", "apiService", "containerPort", "metrics", "podMonitor", "watchNamespace"), "image": {"registry": map[string]any{}}},
	"tachometer-scaler": {
		"": listFurtherKeys("containerPort", "extraArguments", "metrics", "namespaceOverride", "serviceMonitor", "watchNamespace"), "image": {"registry": map[string]any{}},
	},
}

// listFurtherKeys returns the keys at the top: those of both charts, and the given ones.
func listFurtherKeys(own ...string) map[string]any {
	keys := map[string]any{"global": schemaOf("object")}
	both := []string{
		"additionalAnnotations", "additionalLabels", "args", "commonAnnotations", "commonLabels", "defaultArgs", "deploymentStrategy",
		"extraEnv", "extraEnvs", "replicaCount", "updateStrategy",
	}
	for _, key := range append(both, own...) {
		keys[key] = map[string]any{}
	}
	return keys
}

// typesBesides are types besides the default's.
var typesBesides = map[string][]string{
	"podDisruptionBudget.minAvailable": {"string", "null"}, "podDisruptionBudget.maxUnavailable": {"string", "integer"},
	"rules.existing": {"string"}, "certManager.caCertRevisionHistoryLimit": {"integer"}, "certManager.certRevisionHistoryLimit": {"integer"},
	"revisionHistoryLimit": {"integer"}, "prometheus.port": {"string"}, "logLevel": {"string"}, "runAsUser": {"integer"},
}

// textMap are the values whose own values Kubernetes takes as text alone.
var textMap = regexp.MustCompile(`(?i)(annotations|labels|nodeSelector)$`)

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
		schema["properties"].(map[string]any)["config"] = configurationSchema(t, chart)
		text, err := json.MarshalIndent(schema, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		compareGolden(t, filepath.Join(chartFolder(chart), "values.schema.json"), string(text)+"\n")
	}
}

// TestUnknownValue gives values that the charts do not have: Helm rejects them by name.
func TestUnknownValue(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		chart  string
		values map[string]any
	}{
		"replicaz":   {"tachometer-adapter", map[string]any{"replicaz": 3}},
		"limit":      {"tachometer-adapter", map[string]any{"resources": map[string]any{"limit": map[string]any{"memory": "1Gi"}}}},
		"timeoutSec": {"tachometer-scaler", map[string]any{"livenessProbe": map[string]any{"timeoutSec": 5}}},
		"maxSurgee":  {"tachometer-adapter", map[string]any{"strategy": map[string]any{"rollingUpdate": map[string]any{"maxSurgee": 2}}}},
		"podAnti":    {"tachometer-scaler", map[string]any{"affinity": map[string]any{"podAnti": map[string]any{}}}},
		"effects":    {"tachometer-adapter", map[string]any{"tolerations": []any{map[string]any{"effects": "NoSchedule"}}}},
		"namespase":  {"tachometer-adapter", map[string]any{"selfMetrics": map[string]any{"readers": []any{map[string]any{"name": "p", "namespase": "m"}}}}},
		"Shop":       {"tachometer-scaler", map[string]any{"workloads": map[string]any{"namespaces": []any{"Shop"}}}},
		"scrap":      {"tachometer-adapter", map[string]any{"config": map[string]any{"scrap": map[string]any{"interval": "1s"}}}},
		"schedulez":  {"tachometer-scaler", map[string]any{"config": map[string]any{"schedulez": []any{}}}},
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

// knownKeys is the end of a fault about an unknown key: the keys that there are.
var knownKeys = regexp.MustCompile(`unknown key; known: (.+)`)

// configurationSchema returns the schema of a program's configuration: its sections, as the program itself lists them. The program checks
// the rest.
func configurationSchema(t *testing.T, chart string) map[string]any {
	t.Helper()
	folder, err := buildPrograms()
	if err != nil {
		t.Fatalf("build the programs: %v", err)
	}
	file := filepath.Join(t.TempDir(), "config.yaml")
	kind := map[string]string{"tachometer-adapter": "AdapterConfig", "tachometer-scaler": "ScalerConfig"}[chart]
	if err := os.WriteFile(file, []byte("apiVersion: config.tachometer.dev/v1alpha1\nkind: "+kind+"\nxyz: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := map[string][]string{"tachometer-adapter": {}, "tachometer-scaler": {"run"}}[chart]
	out, err := exec.Command(filepath.Join(folder, chart), append(args, "--check-config", "--config="+file)...).CombinedOutput()
	known := knownKeys.FindSubmatch(out)
	if err == nil || known == nil {
		t.Fatalf("%s --check-config with an unknown key: %v\n%s", chart, err, out)
	}
	properties := map[string]any{}
	for _, key := range strings.Split(strings.TrimSpace(string(known[1])), ", ") {
		properties[key] = map[string]any{}
	}
	properties["apiVersion"] = map[string]any{"const": "config.tachometer.dev/v1alpha1"}
	properties["kind"] = map[string]any{"const": kind}
	return map[string]any{"type": []string{"object", "null"}, "additionalProperties": false, "properties": properties}
}

// setValue is a value that a command sets, or that a text names as such a flag.
var setValue = regexp.MustCompile(`--set '?([a-zA-Z.]+)=`)

// TestDocumentedValues: each value that a command in a document or in the notes sets is one of a chart.
func TestDocumentedValues(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, chart := range charts {
		for _, v := range listValues(t, readValuesNode(t, chart), "") {
			known[v.path] = true
		}
	}
	var files []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/runbooks/*.md", "manifests/helm/*/README.md", "manifests/helm/*/templates/NOTES.txt"} {
		matches, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(matches) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(matches), err)
		}
		files = append(files, matches...)
	}
	found := 0
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range setValue.FindAllStringSubmatch(string(text), -1) {
			found++
			if !known[match[1]] {
				t.Errorf("%s sets %s, which no chart has", file, match[1])
			}
		}
	}
	if found < 10 {
		t.Errorf("%d values found: the pattern does not recognise them", found)
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
	if kubernetes, ok := kubernetesTypes[path]; ok {
		return kubernetesSchema(kubernetes)
	}
	if element, ok := elementSchemas[path]; ok {
		return map[string]any{"type": []string{"array", "null"}, "items": element}
	}
	switch {
	case node.Kind == yaml.SequenceNode:
		return schemaOf("array", "null")
	case textMap.MatchString(path):
		return map[string]any{"type": []string{"object", "null"}, "additionalProperties": schemaOf("string", "null")}
	case node.Kind == yaml.MappingNode && (freeForm[path] || len(node.Content) == 0):
		return schemaOf("object", "null")
	case node.Kind == yaml.MappingNode:
		return objectSchema(node, path, further)
	}
	types := append([]string{map[string]string{"!!str": "string", "!!int": "integer", "!!bool": "boolean", "!!null": "null"}[node.Tag]}, typesBesides[path]...)
	if !slices.Contains(types, "integer") || strings.HasPrefix(path, "podDisruptionBudget.") { // a share of the pods, such as 50%
		return schemaOf(types...)
	}
	if slices.Contains(types, "string") {
		return numberSchema("^[0-9]*$", types...)
	}
	return numberSchema("^[0-9]+$", append(types, "string")...)
}

// numberSchema returns the schema of a number that Terraform, Argo CD or a template may write as text.
func numberSchema(pattern string, types ...string) map[string]any {
	schema := schemaOf(types...)
	schema["pattern"] = pattern
	return schema
}

// kubernetesSchema returns the schema of a type of Kubernetes. Each value may be null, which takes a default of the chart away.
func kubernetesSchema(of reflect.Type) map[string]any {
	switch of {
	case reflect.TypeFor[resource.Quantity]():
		return schemaOf("string", "number", "null")
	case reflect.TypeFor[intstr.IntOrString]():
		return schemaOf("string", "integer", "null")
	case reflect.TypeFor[metav1.Time]():
		return schemaOf("string", "null")
	}
	switch of.Kind() { //nolint:exhaustive // no type of Kubernetes has another kind than these and text
	case reflect.Pointer:
		return kubernetesSchema(of.Elem())
	case reflect.Struct:
		properties := map[string]any{}
		addKubernetesProperties(properties, of)
		return map[string]any{"type": []string{"object", "null"}, "additionalProperties": false, "properties": properties}
	case reflect.Map:
		return map[string]any{"type": []string{"object", "null"}, "additionalProperties": kubernetesSchema(of.Elem())}
	case reflect.Slice:
		return map[string]any{"type": []string{"array", "null"}, "items": kubernetesSchema(of.Elem())}
	case reflect.Bool:
		return schemaOf("boolean", "null")
	case reflect.Int32, reflect.Int64:
		return schemaOf("integer", "null")
	default:
		return schemaOf("string", "null")
	}
}

// addKubernetesProperties adds the fields of a type of Kubernetes, with those of the types that it embeds.
func addKubernetesProperties(properties map[string]any, of reflect.Type) {
	for i := range of.NumField() {
		field := of.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" && field.Anonymous {
			addKubernetesProperties(properties, field.Type)
			continue
		}
		properties[name] = kubernetesSchema(field.Type)
	}
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
