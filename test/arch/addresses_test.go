package arch

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tachometer-metrics/tachometer/pkg/domain"
)

var (
	apiVersions = regexp.MustCompile(`apiVersion: (\S+)\nkind: (?:AdapterConfig|ScalerConfig)\b`)
	annotations = regexp.MustCompile(`\bscaler\.[a-z][\w.-]*\.[a-z]+/`)
)

// TestAddresses: manifests and documents carry the names that pkg/domain has, and no other file of the programs spells one out.
func TestAddresses(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, file := range listFiles(t) {
		data, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			continue // deleted, and not committed yet
		}
		text := string(data)
		switch {
		case strings.HasSuffix(file, ".bad.yaml"), strings.HasSuffix(file, "_test.go"):
		case strings.HasSuffix(file, ".yaml"), strings.HasSuffix(file, ".md"):
			for _, got := range apiVersions.FindAllStringSubmatch(text, -1) {
				seen++
				if got[1] != domain.ConfigAPIVersion {
					t.Errorf("%s: apiVersion %s; pkg/domain has %s", file, got[1], domain.ConfigAPIVersion)
				}
			}
			for _, got := range annotations.FindAllString(text, -1) {
				if got != domain.ScalerPrefix {
					t.Errorf("%s: %s; pkg/domain has %s", file, got, domain.ScalerPrefix)
				}
			}
		case strings.HasSuffix(file, ".go") && strings.HasPrefix(file, "pkg/") && file != "pkg/domain/domain.go", strings.HasPrefix(file, "cmd/"):
			if strings.Contains(text, domain.Name) {
				t.Errorf("%s spells out %s; use pkg/domain", file, domain.Name)
			}
		}
	}
	if seen == 0 {
		t.Error("no manifest has an apiVersion of ours: the test looks in the wrong place")
	}
}

// TestNoReplace: go install MODULE/cmd/…@VERSION rejects a module whose go.mod has a replace directive.
func TestNoReplace(t *testing.T) {
	t.Parallel()
	if strings.Contains(readRootFile(t, "go.mod"), "\nreplace ") {
		t.Error("go.mod has a replace directive: the programs cannot be installed with go install")
	}
}

// listFiles returns the files of the repository, relative to root. Another user may own the checkout, as in a container.
func listFiles(t *testing.T) []string {
	t.Helper()
	if _, err := os.Stat(filepath.Join(root, ".git")); err != nil {
		t.Skip("SKIPPED: this is no checkout of the repository, whose files git lists")
	}
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("SKIPPED: needs git to list the files of the repository; on Debian: apt-get install git")
	}
	out, err := exec.CommandContext(t.Context(), "git", "-c", "safe.directory=*", "-C", root, "ls-files", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	return strings.Fields(string(out))
}
