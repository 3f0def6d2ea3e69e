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

// programFolder is the folder of the programs that tests build.
var programFolder string

// TestMain removes the programs that tests built.
func TestMain(m *testing.M) {
	folder, err := os.MkdirTemp("", "tachometer-helm-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(folder)
	programFolder = folder
	m.Run()
}

// buildPrograms builds the programs of the charts once for all tests, into a folder.
var buildPrograms = sync.OnceValues(func() (string, error) {
	build := exec.Command("go", "build", "-o", programFolder, "./cmd/tachometer-adapter", "./cmd/tachometer-scaler")
	build.Dir, build.Stderr = root, os.Stderr
	return programFolder, build.Run()
})

// checkConfiguration lets a chart's program check the configuration that the chart renders, with the arguments that it renders.
func checkConfiguration(t *testing.T, chart string, objects map[string]*unstructured.Unstructured) {
	t.Helper()
	folder, err := buildPrograms()
	if err != nil {
		t.Fatalf("build the programs: %v", err)
	}
	for _, object := range objects {
		if object.GetKind() != "Deployment" {
			continue
		}
		containers, _, _ := unstructured.NestedSlice(object.Object, "spec", "template", "spec", "containers")
		listed, _, _ := unstructured.NestedStringSlice(containers[0].(map[string]any), "args")
		var args []string
		for _, arg := range listed {
			if name, _, _ := strings.Cut(arg, "="); name == "--config" {
				arg = "--config=" + writeConfiguration(t, chart, objects)
			}
			args = append(args, strings.ReplaceAll(arg, "$(NAMESPACE)", object.GetNamespace()))
		}
		args = append(args, "--check-config")
		if out, err := exec.Command(filepath.Join(folder, chart), args...).CombinedOutput(); err != nil {
			t.Errorf("%s %v: %v\n%s", chart, args, err, out)
		}
	}
}

// writeConfiguration writes the rendered configuration to a file; without one, since the user's own ConfigMap has it, an empty one of
// the native format.
func writeConfiguration(t *testing.T, chart string, objects map[string]*unstructured.Unstructured) string {
	t.Helper()
	kind := map[string]string{"tachometer-adapter": "AdapterConfig", "tachometer-scaler": "ScalerConfig"}[chart]
	text := "apiVersion: config.tachometer.dev/v1alpha1\nkind: " + kind + "\n"
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
