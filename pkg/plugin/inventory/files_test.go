package inventory

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"
)

const manifests = `
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: patch}
spec: {behavior: {scaleDown: {stabilizationWindowSeconds: 10}}}
---
apiVersion: v1
kind: List
items:
- apiVersion: autoscaling/v2
  kind: HorizontalPodAutoscaler
  metadata: {name: b}
  spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}, maxReplicas: 3}
- apiVersion: autoscaling/v2
  kind: HorizontalPodAutoscaler
  metadata: {name: a, namespace: shop}
  spec: {scaleTargetRef: {apiVersion: apps/v1beta1, kind: Deployment, name: web}, maxReplicas: 3}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec: {selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: patch, namespace: shop}
spec: {replicas: 5}
---
apiVersion: example.com/v1
kind: Deployment
metadata: {name: another-group}
spec: {selector: {}}
`

func TestReadFiles(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for name, text := range map[string]string{"all.yaml": manifests, "README.md": "# not a manifest: ["} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	i, err := ReadFiles(t.Context(), []string{folder}, FileOptions{Namespace: "default"})
	if err != nil {
		t.Fatal(err)
	}
	if len(i.HPAs) != 2 || i.HPAs[0].Namespace+"/"+i.HPAs[0].Name != "default/b" || i.HPAs[1].Namespace+"/"+i.HPAs[1].Name != "shop/a" {
		t.Errorf("autoscalers: %+v", i.HPAs)
	}
	if len(i.Workloads) != 1 || i.Workloads[0].Ref() != "deployment/web" || !strings.HasSuffix(i.Workloads[0].Source, "all.yaml") {
		t.Errorf("workloads: %+v", i.Workloads)
	}
	if i.WorkloadOf(&i.HPAs[0]) != nil || i.WorkloadOf(&i.HPAs[1]) == nil {
		t.Error("a workload is in another namespace than its autoscaler")
	}
}

func TestReadFilesErrors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nspec: {maxReplicas: many}": "standard input: document 1: ",
		"a: 1\n---\nb: [":                      "standard input: document 2: ",
		"a: 1\n---\nb: 1\nc:\n d: 1\n  e: 2\n": "standard input: document 2: line 6: mapping values are not allowed in this context",
		"apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nspec: {minReplicas: \"2\"}": "standard input: document 1: json: cannot unmarshal string into Go struct field HorizontalPodAutoscalerSpec.spec.minReplicas of type int32; write it without quotes",
		"kind: List\nitems: [1]": "standard input: document 1: items[0] is no object",
	} {
		_, err := ReadFiles(t.Context(), []string{"-"}, FileOptions{In: strings.NewReader(text)})
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
	if _, err := ReadFiles(t.Context(), []string{"/does/not/exist"}, FileOptions{}); err == nil {
		t.Error("a folder that does not exist is no error")
	}
}

// TestReadUTF16: PowerShell writes files in UTF-16.
func TestReadUTF16(t *testing.T) {
	t.Parallel()
	for name, order := range map[string]binary.AppendByteOrder{"little": binary.LittleEndian, "big": binary.BigEndian} {
		data := order.AppendUint16(nil, 0xfeff)
		for _, unit := range utf16.Encode([]rune(strings.ReplaceAll(manifests, "\n", "\r\n"))) {
			data = order.AppendUint16(data, unit)
		}
		i, err := ReadFiles(t.Context(), []string{"-"}, FileOptions{In: bytes.NewReader(data), Namespace: "default"})
		if err != nil || len(i.HPAs) != 2 {
			t.Errorf("%s endian: %d autoscalers: %v", name, len(i.HPAs), err)
		}
	}
}

// TestChartsAreUnread: a folder with a Helm chart is read but for its templates, and the words say how to read them.
func TestChartsAreUnread(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for name, text := range map[string]string{
		"web.yaml": manifests, "templates/more.yaml": strings.ReplaceAll(manifests, "name: a,", "name: c,"),
		"chart/Chart.yaml": "name: web\n", "chart/values.yaml": "replicas: 2\n", "chart/templates/web.yaml": "{{ if .Values.on }}\n",
	} {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	i, err := ReadFiles(t.Context(), []string{folder}, FileOptions{Namespace: "default"})
	if err != nil || len(i.HPAs) != 4 {
		t.Fatalf("%d autoscalers: %v", len(i.HPAs), err)
	}
	chart := filepath.Join(folder, "chart")
	if len(i.Unread) != 1 || i.Unread[0].Resource != filepath.Join(chart, "templates") || !strings.Contains(i.Unread[0].Reason, "helm template "+chart+" | ") {
		t.Errorf("unread: %+v", i.Unread)
	}
	if _, err := ReadFiles(t.Context(), []string{filepath.Join(chart, "templates", "web.yaml")}, FileOptions{}); err == nil {
		t.Error("a template by its own name is read")
	}
}

// writeTestFiles writes files into a new folder.
func writeTestFiles(t *testing.T, files map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// TestDocuments: every document of a file is read, however the documents are separated and written.
func TestDocuments(t *testing.T) {
	t.Parallel()
	const spec = "{scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: w}, maxReplicas: 3}"
	a := "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: a}\nspec: " + spec + "\n"
	b := strings.Replace(a, "name: a", "name: b", 1)
	j := `{"apiVersion":"autoscaling/v2","kind":"HorizontalPodAutoscaler","metadata":{"name":"a"},"spec":{"scaleTargetRef":{"kind":"Deployment","name":"w"},"maxReplicas":3}}`
	for name, text := range map[string]string{
		"as usual":                     a + "---\n" + b,
		"line ends of Windows":         strings.ReplaceAll(a+"---\n"+b, "\n", "\r\n"),
		"line ends of old Macs":        strings.ReplaceAll(a+"---\n"+b, "\n", "\r"),
		"a comment at the mark":        a + "--- # Source: b.yaml\n" + b,
		"a tab at the mark":            a + "---\t\n" + b,
		"a document at the mark":       a + "--- {apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: b}, spec: " + spec + "}\n",
		"the other mark":               a + "...\n" + b,
		"both marks":                   a + "...\n---\n" + b + "...\n",
		"byte order marks":             "\ufeff" + a + "---\n\ufeff" + b,
		"a directive":                  "%YAML 1.2\n---\n" + a + "---\n" + b,
		"empty documents":              "---\n---\n# empty\n---\nnull\n---\n" + a + "---\n" + b + "---\n",
		"a JSON patch":                 a + "---\n- {op: remove, path: /spec/replicas}\n---\n" + b,
		"texts and numbers":            a + "---\nhello\n---\n5\n---\n" + b,
		"values of a chart":            "items: [a, b]\n---\n" + a + "---\n" + b,
		"JSON and JSON":                j + "\n" + strings.Replace(j, `"a"`, `"b"`, 1),
		"JSON with a byte order mark":  "\ufeff" + j + strings.Replace(j, `"a"`, `"b"`, 1),
		"JSON and YAML":                j + "\n---\n" + b,
		"YAML like JSON":               "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: a}, spec: " + spec + "}\n---\n" + b,
		"a typed list":                 "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscalerList\nitems:\n- {metadata: {name: a}, spec: " + spec + "}\n- {metadata: {name: b}, spec: " + spec + "}\n",
		"a list in a list":             "kind: List\nitems:\n- kind: List\n  items:\n  - {apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: a}, spec: " + spec + "}\n---\n" + b,
		"an empty list":                "kind: List\nitems: null\n---\n" + a + "---\n" + b,
		"anchors":                      "x: &x " + spec + "\napiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: a}\nspec: {<<: *x, minReplicas: 2}\n---\n" + b,
		"a mark in a block of text":    "kind: ConfigMap\ndata:\n  x: |\n    ---\n    ...\n---\n" + a + "---\n" + b,
		"a percent sign in a document": "kind: ConfigMap\ndata: {x: 'a\n%b'}\n---\n" + a + "---\n" + b,
		"no last line end":             strings.TrimSpace(a + "---\n" + b),
		"a line of megabytes":          "# " + strings.Repeat("x", 6<<20) + "\n" + a + "---\n" + b,
	} {
		i, err := ReadFiles(t.Context(), []string{"-"}, FileOptions{In: strings.NewReader(text), Namespace: "default"})
		if err != nil || len(i.HPAs) != 2 || i.HPAs[0].Name != "a" || i.HPAs[1].Name != "b" || i.HPAs[1].Spec.MaxReplicas != 3 {
			t.Errorf("%s: %+v, %v", name, i.HPAs, err)
		}
	}
}

// TestFolders: links, capital endings, pipes and files that cannot be read hide no other file.
func TestFolders(t *testing.T) {
	t.Parallel()
	one := "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: NAME}\nspec: {scaleTargetRef: {name: w}, maxReplicas: 3}\n"
	folder := writeTestFiles(t, map[string]string{
		"a.yaml": strings.Replace(one, "NAME", "a", 1), "b.YML": strings.Replace(one, "NAME", "b", 1),
		"0.yaml": "{{ if .Values.on }}\n---\n" + strings.Replace(one, "NAME", "c", 1),
	})
	link := filepath.Join(t.TempDir(), "link")
	for name, target := range map[string]string{link: folder, filepath.Join(folder, "1.yaml"): "/does/not/exist", filepath.Join(folder, "2.yaml"): folder} {
		if err := os.Symlink(target, name); err != nil {
			t.Skip("this system has no symbolic links: ", err)
		}
	}
	for _, path := range []string{folder, link} {
		i, err := ReadFiles(t.Context(), []string{path}, FileOptions{Namespace: "default"})
		if len(i.HPAs) != 3 || len(i.Unread) != 0 {
			t.Errorf("autoscalers: %+v, unread %v", i.HPAs, i.Unread)
		}
		if err == nil || strings.Count(err.Error(), "\n") != 1 || !strings.Contains(err.Error(), "0.yaml: document 1: ") ||
			!strings.Contains(err.Error(), "it looks like a template") || !strings.Contains(err.Error(), "1.yaml: no such file") {
			t.Errorf("error %v, want one for the template and one for the broken link", err)
		}
	}
}

// TestFilesOfOtherPrograms: beside manifests a repository has files of other programs, which a folder may have and a path must not name.
func TestFilesOfOtherPrograms(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("all.yaml", manifests)
	settings := write("tsconfig.json", "{\n  // a comment\n  \"strict\": true,\n}\n")
	i, err := ReadFiles(t.Context(), []string{folder}, FileOptions{})
	if err != nil || len(i.HPAs) != 2 || len(i.Unread) != 1 || i.Unread[0].Resource != settings || !strings.HasPrefix(i.Unread[0].Reason, "no manifest") {
		t.Errorf("%d autoscalers, unread %v: %v", len(i.HPAs), i.Unread, err)
	}
	if _, err := ReadFiles(t.Context(), []string{settings}, FileOptions{}); err == nil {
		t.Error("a named file that cannot be parsed is no error")
	}
	for text, want := range map[string]string{
		"spec: [\n---\n" + manifests: "document 1", "spec: {{ .Values.spec }}": "it looks like a template",
		"apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nspec:\n  maxReplicas: ${MAX}\n": "such as with envsubst",
	} {
		broken := write("broken.yaml", text)
		if _, err := ReadFiles(t.Context(), []string{folder}, FileOptions{}); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), broken) {
			t.Errorf("%.20q: %v, want %s", text, err, want)
		}
	}
}

// TestGeneratedName: an autoscaler that gets its name from the server has the begin of it.
func TestGeneratedName(t *testing.T) {
	t.Parallel()
	in := strings.NewReader(strings.ReplaceAll(manifests, "name: b}", "generateName: b-}"))
	i, err := ReadFiles(t.Context(), []string{"-"}, FileOptions{In: in, Namespace: "default"})
	if err != nil || len(i.HPAs) != 2 || i.HPAs[0].Name != "b-" {
		t.Errorf("autoscalers %+v: %v", i.HPAs, err)
	}
}

// TestFaultyQuantities: the error of a faulty amount names its field.
func TestFaultyQuantities(t *testing.T) {
	t.Parallel()
	const autoscaler = "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nspec: {maxReplicas: 3, scaleTargetRef: {name: web}, "
	const deployment = "apiVersion: apps/v1\nkind: Deployment\nspec: {template: {spec: {containers: [{name: web, env: [{name: MODE, value: fast}], resources: {requests: {cpu: 100m, memory: "
	for text, want := range map[string]string{
		autoscaler + "behavior: {scaleUp: {tolerance: 5%}}}":                          `spec.behavior.scaleUp.tolerance is "5%"; write a number`,
		autoscaler + "metrics: [{type: Pods, pods: {target: {averageValue: 50/s}}}]}": `spec.metrics[0].pods.target.averageValue is "50/s"; write a number`,
		deployment + "1 GB}}}]}}}":                                                    `spec.template.spec.containers[0].resources.requests.memory is "1 GB"; write a number`,
	} {
		if _, err := ReadFiles(t.Context(), []string{"-"}, FileOptions{In: strings.NewReader(text)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
