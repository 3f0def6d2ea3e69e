package arch

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The build of the adapter's image, as the Dockerfile has it.
const (
	adapterReplacement = "-replace=github.com/mwitkow/go-conntrack=./pkg/adapter/conntrack"
	adapterTags        = "-tags=grpcnotrace"
)

// TestAdapterImageHasNoTrace: the init function of golang.org/x/net/trace executes templates, which call methods by name. With that package
// the linker keeps every method of every type, and the adapter has 20 MB more.
func TestAdapterImageHasNoTrace(t *testing.T) {
	t.Parallel()
	dockerfile := readRootFile(t, "Dockerfile")
	for _, want := range []string{"go mod edit " + adapterReplacement, "-modfile=/adapter.mod " + adapterTags} {
		if !strings.Contains(dockerfile, want) {
			t.Errorf("Dockerfile lacks %q", want)
		}
	}
	modfile := copyModuleFiles(t)
	runGo(t, "mod", "edit", adapterReplacement, modfile)
	packages := strings.Fields(runGo(t, "list", "-modfile="+modfile, adapterTags, "-deps", "./cmd/tachometer-adapter"))
	if slices.Contains(packages, "golang.org/x/net/trace") {
		t.Error("the adapter's image depends on golang.org/x/net/trace; replace its importer, or set a build tag that omits it")
	}
	if !slices.Contains(packages, "github.com/mwitkow/go-conntrack") {
		t.Error("nothing imports github.com/mwitkow/go-conntrack: remove pkg/adapter/conntrack and its replacement in the Dockerfile")
	}
}

// copyModuleFiles copies go.mod and go.sum, and returns the path of the copied go.mod.
func copyModuleFiles(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	for from, to := range map[string]string{"go.mod": "adapter.mod", "go.sum": "adapter.sum"} {
		if err := os.WriteFile(filepath.Join(folder, to), []byte(readRootFile(t, from)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(folder, "adapter.mod")
}

func readRootFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// runGo runs the go command in the root of the repository, and returns what it prints.
func runGo(t *testing.T, args ...string) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", args...)
	command.Dir = root
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}
