package integration

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestExampleManifests: a real API server takes each object of manifests/examples. The configurations there are checked beside their programs.
func TestExampleManifests(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	files, err := filepath.Glob("../../manifests/examples/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	applied := 0
	for _, file := range files {
		if strings.HasSuffix(file, "-config.yaml") {
			continue
		}
		out, err := shared.Kubectl(t.Context(), "-n", namespace, "apply", "--dry-run=server", "-f", file)
		if err != nil || !strings.Contains(string(out), "created") {
			t.Errorf("%s: %v %s", file, err, out)
		}
		applied++
	}
	if applied < 4 {
		t.Errorf("%d manifests applied, want Pods, Object, External and a Hold", applied)
	}
}
