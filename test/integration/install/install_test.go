// Package install_test installs a program from a module zip, as `go install MODULE/cmd/PROGRAM@VERSION` does for a release.
package install_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"

	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

const path = "github.com/tachometer-metrics/tachometer"

// TestGoInstall tags a clone of the repository, serves its module zip from a folder, and installs the scaler from there.
func TestGoInstall(t *testing.T) {
	t.Parallel()
	root, err := stack.Root(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m := module.Version{Path: path, Version: fmt.Sprintf("v0.0.1-test.%d", time.Now().UnixNano())}
	clone, proxy, bin := filepath.Join(t.TempDir(), "clone"), t.TempDir(), t.TempDir()
	execute(t, root, nil, "git", "clone", "--quiet", root, clone)
	execute(t, clone, nil, "git", "-c", "user.name=test", "-c", "user.email=test@example.com", "tag", "-a", "-m", "test", m.Version)
	writeProxy(t, proxy, clone, m)
	t.Cleanup(func() { forgetModule(t, m) })

	environment := append(os.Environ(), "GOPROXY=file://"+proxy+","+goEnvironment(t, "GOPROXY"), "GONOSUMDB="+path, "GOBIN="+bin,
		"GOFLAGS=-trimpath", "CGO_ENABLED=0", "GO111MODULE=on", "GOWORK=off")
	execute(t, t.TempDir(), environment, "go", "install", path+"/cmd/tachometer-scaler@"+m.Version)
	if out := execute(t, bin, nil, "./tachometer-scaler", "--version"); !strings.Contains(out, m.Version) {
		t.Errorf("tachometer-scaler --version: %q, want %s in it", out, m.Version)
	}
}

// writeProxy writes the files that the go command reads from a module proxy: the list of versions, and a version's info, go.mod and
// zip.
func writeProxy(t *testing.T, proxy, clone string, m module.Version) {
	t.Helper()
	folder := filepath.Join(proxy, filepath.FromSlash(m.Path), "@v")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	goMod, err := os.ReadFile(filepath.Join(clone, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"list": m.Version + "\n", m.Version + ".mod": string(goMod),
		m.Version + ".info": fmt.Sprintf(`{"Version":%q,"Time":"2026-01-01T00:00:00Z"}`, m.Version),
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	archive, err := os.Create(filepath.Join(folder, m.Version+".zip"))
	if err != nil {
		t.Fatal(err)
	}
	if err := zip.CreateFromVCS(archive, m, clone, m.Version, ""); err != nil {
		t.Fatalf("make the module zip: %v", err)
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
}

// forgetModule removes the test's version from the module cache, whose files are read-only.
func forgetModule(t *testing.T, m module.Version) {
	t.Helper()
	cache := goEnvironment(t, "GOMODCACHE")
	source := filepath.Join(cache, filepath.FromSlash(m.Path)+"@"+m.Version)
	_ = filepath.WalkDir(source, func(name string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			_ = os.Chmod(name, 0o755) //nolint:gosec // about to be removed
		}
		return nil
	})
	if err := os.RemoveAll(source); err != nil {
		t.Error(err)
	}
	archives, _ := filepath.Glob(filepath.Join(cache, "cache", "download", filepath.FromSlash(m.Path), "@v", m.Version+".*"))
	for _, a := range archives {
		if err := os.Remove(a); err != nil {
			t.Error(err)
		}
	}
}

func goEnvironment(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// execute runs a command to its end and returns its output; a nil environment is this process's.
func execute(t *testing.T, folder string, environment []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = folder, environment
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}
