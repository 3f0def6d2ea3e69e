package inventory

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
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
	i, err := ReadFiles([]string{folder}, nil, "default")
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
		"a: 1\n---\nb: [": "standard input: document 2: ",
		"items: [1]":      "standard input: document 1: items[0] is no object",
	} {
		_, err := ReadFiles([]string{"-"}, strings.NewReader(text), "")
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
	if _, err := ReadFiles([]string{"/does/not/exist"}, nil, ""); err == nil {
		t.Error("a folder that does not exist is no error")
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
	i, err := ReadFiles([]string{folder}, nil, "default")
	if err != nil || len(i.HPAs) != 4 {
		t.Fatalf("%d autoscalers: %v", len(i.HPAs), err)
	}
	chart := filepath.Join(folder, "chart")
	if len(i.Unread) != 1 || i.Unread[0].Resource != filepath.Join(chart, "templates") || !strings.Contains(i.Unread[0].Reason, "helm template "+chart+" | ") {
		t.Errorf("unread: %+v", i.Unread)
	}
	if _, err := ReadFiles([]string{filepath.Join(chart, "templates", "web.yaml")}, nil, ""); err == nil {
		t.Error("a template by its own name is read")
	}
}
