package helm

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// buildAdapter builds the adapter once for all tests.
var buildAdapter = sync.OnceValues(func() (string, error) {
	folder, err := os.MkdirTemp("", "tachometer-helm-")
	if err != nil {
		return "", err
	}
	program := filepath.Join(folder, "tachometer-adapter")
	build := exec.Command("go", "build", "-o", program, "./cmd/tachometer-adapter")
	build.Dir, build.Stderr = root, os.Stderr
	return program, build.Run()
})

// checkConfiguration lets the adapter check the configuration that a chart renders, with the arguments that it renders.
func checkConfiguration(t *testing.T, objects map[string]*unstructured.Unstructured) {
	t.Helper()
	program, err := buildAdapter()
	if err != nil {
		t.Fatalf("build the adapter: %v", err)
	}
	for _, object := range objects {
		if object.GetKind() != "Deployment" {
			continue
		}
		containers, _, _ := unstructured.NestedSlice(object.Object, "spec", "template", "spec", "containers")
		listed, _, _ := unstructured.NestedStringSlice(containers[0].(map[string]any), "args")
		args := []string{"--check-config"}
		for _, arg := range listed {
			if name, _, _ := strings.Cut(arg, "="); name == "--config" {
				arg = "--config=" + writeConfiguration(t, objects)
			}
			args = append(args, strings.ReplaceAll(arg, "$(NAMESPACE)", object.GetNamespace()))
		}
		if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
			t.Errorf("%s %v: %v\n%s", filepath.Base(program), args, err, out)
		}
	}
}

// writeConfiguration writes the rendered configuration to a file; without one, since the user's own ConfigMap has it, an empty one of
// the native format.
func writeConfiguration(t *testing.T, objects map[string]*unstructured.Unstructured) string {
	t.Helper()
	text := "apiVersion: config.tachometer.dev/v1alpha1\nkind: AdapterConfig\n"
	for _, object := range objects {
		if rendered, found, _ := unstructured.NestedString(object.Object, "data", "config.yaml"); found && object.GetKind() == "ConfigMap" {
			text = rendered
		}
	}
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
