package helm

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "rewrite golden files, the charts' schemas and READMEs")

// TestEqualsKustomize compares the charts by default with the kustomize folders, object by object.
func TestEqualsKustomize(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		release
		folder string
		values map[string]any
	}{
		"adapter": {release{"tachometer-adapter", "tachometer-adapter", "tachometer"}, "adapter", nil},
		"adapter with resource metrics": {
			release{"tachometer-adapter", "tachometer-adapter", "tachometer"}, "adapter-resource-metrics",
			map[string]any{"resourceMetrics": map[string]any{"enabled": true}},
		},
		"scaler": {
			release{"tachometer-scaler", "tachometer-scaler", "tachometer"}, "scaler",
			map[string]any{
				"config":    readValues(t, filepath.Join(root, "manifests", "scaler", "config.yaml")),
				"workloads": map[string]any{"namespaces": []any{"tachometer-sample"}},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want, got := buildKustomization(t, test.folder), renderObjects(t, test.release, test.values)
			for key, object := range want {
				if object.GetKind() == "Namespace" { // helm install --create-namespace
					delete(want, key)
				}
				reduceToMeaning(t, object)
			}
			for _, object := range got {
				reduceToMeaning(t, object)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("objects (-kustomize +chart):\n%s", diff)
			}
		})
	}
}

// reduceToMeaning removes from an object what each of the two tools says in its own way: labels and the image's tag. The order of rules
// in a role, and the form of the configuration's text, have no meaning either. Helm's policy to keep a definition is Helm's own.
func reduceToMeaning(t *testing.T, object *unstructured.Unstructured) {
	t.Helper()
	aggregated := object.GetLabels()
	maps.DeleteFunc(aggregated, func(key, _ string) bool { return !strings.HasPrefix(key, "rbac.authorization.k8s.io/aggregate-to-") })
	object.SetLabels(aggregated)
	if object.GetKind() == "CustomResourceDefinition" {
		object.SetAnnotations(nil)
	}
	for _, path := range [][]string{
		{"spec", "selector", "matchLabels"},
		{"spec", "template", "metadata", "labels"},
		{"spec", "podSelector", "matchLabels"},
	} {
		unstructured.RemoveNestedField(object.Object, path...)
	}
	if object.GetKind() == "Service" {
		unstructured.RemoveNestedField(object.Object, "spec", "selector")
	}
	if containers, found, _ := unstructured.NestedSlice(object.Object, "spec", "template", "spec", "containers"); found {
		containers[0].(map[string]any)["image"] = "IMAGE"
		if err := unstructured.SetNestedSlice(object.Object, containers, "spec", "template", "spec", "containers"); err != nil {
			t.Fatal(err)
		}
	}
	if rules, found, _ := unstructured.NestedSlice(object.Object, "rules"); found {
		if err := unstructured.SetNestedSlice(object.Object, splitRules(rules), "rules"); err != nil {
			t.Fatal(err)
		}
	}
	if object.GetKind() == "ConfigMap" {
		text, _, _ := unstructured.NestedString(object.Object, "data", "config.yaml")
		var config map[string]any
		if err := yaml.Unmarshal([]byte(text), &config); err != nil {
			t.Fatal(err)
		}
		object.Object["data"] = map[string]any{"config.yaml": config}
	}
}

// splitRules returns the rules of a role with one API group each, in the order of their texts.
func splitRules(rules []any) []any {
	var all []any
	for _, rule := range rules {
		r := rule.(map[string]any)
		groups, ok := r["apiGroups"].([]any)
		if !ok {
			all = append(all, r)
			continue
		}
		for _, group := range groups {
			single := maps.Clone(r)
			single["apiGroups"] = []any{group}
			for _, list := range []string{"resources", "resourceNames", "verbs"} {
				if values, ok := single[list].([]any); ok {
					single[list] = sortTexts(values)
				}
			}
			all = append(all, single)
		}
	}
	slices.SortFunc(all, func(a, b any) int { return strings.Compare(textOf(a), textOf(b)) })
	return all
}

func sortTexts(values []any) []any {
	sorted := slices.Clone(values)
	slices.SortFunc(sorted, func(a, b any) int { return strings.Compare(textOf(a), textOf(b)) })
	return sorted
}

func textOf(v any) string {
	text, err := yaml.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// TestValueFiles renders each file of values below a chart's ci folder, and compares with its golden file. The values of
// prometheus-adapter's chart among them are written as its users write them.
func TestValueFiles(t *testing.T) {
	t.Parallel()
	for _, chart := range charts {
		files, err := filepath.Glob(filepath.Join(chartFolder(chart), "ci", "*-values.yaml"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files of values, %v", chart, len(files), err)
		}
		for _, file := range files {
			name := strings.TrimSuffix(filepath.Base(file), "-values.yaml")
			t.Run(chart+"/"+name, func(t *testing.T) {
				t.Parallel()
				rendered := renderBoth(t, release{chart, "web", "monitoring"}, readValues(t, file))
				objects := map[string]*unstructured.Unstructured{}
				var text strings.Builder
				for _, template := range slices.Sorted(maps.Keys(rendered)) {
					if body := strings.TrimSpace(rendered[template]); body != "" {
						text.WriteString("# " + template + "\n" + body + "\n")
					}
					if strings.HasSuffix(template, ".yaml") {
						addObjects(t, objects, template, []byte(rendered[template]))
					}
				}
				compareGolden(t, filepath.Join("testdata", chart, name+".golden.yaml"), text.String())
				checkValidity(t, objects)
				checkConfiguration(t, chart, objects)
			})
		}
	}
}

func readValues(t *testing.T, file string) map[string]any {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]any{}
	if err := yaml.UnmarshalStrict(text, &values); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return values
}

func compareGolden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (run `make update` and read the difference; -file +now):\n%s", file, diff)
	}
}

// TestNothingTheProgramsWrite looks for what an Argo CD would fight over: fields that the adapter itself writes, and empty ones that
// the API server drops.
func TestNothingTheProgramsWrite(t *testing.T) {
	t.Parallel()
	for _, chart := range charts {
		for key, object := range renderObjects(t, release{chart, "web", "monitoring"}, nil) {
			text := textOf(object.Object)
			for _, field := range []string{"caBundle:", "insecureSkipTLSVerify:", ": null", "annotations: {}", "labels: {}"} {
				if strings.Contains(text, field) {
					t.Errorf("%s: %s renders %q:\n%s", chart, key, field, text)
				}
			}
			if object.GetKind() == "Secret" && object.Object["data"] != nil {
				t.Errorf("%s: %s renders data, which an upgrade would put back", chart, key)
			}
		}
	}
}
