package arch

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// documentedPath is a path of this repository in backquotes; a dot-dot-dot or a star ends it.
var documentedPath = regexp.MustCompile("`((?:cmd|pkg|test|manifests|docs)/[\\w./-]*?)/?(?:…|\\*[^`]*)?`")

// TestDocumentedPaths: every path that a document names in backquotes exists.
func TestDocumentedPaths(t *testing.T) {
	t.Parallel()
	found := 0
	for _, file := range listFiles(t) {
		if !strings.HasSuffix(file, ".md") || file == "CHANGELOG.md" {
			continue
		}
		data, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			continue // deleted, and not committed yet
		}
		for _, match := range documentedPath.FindAllStringSubmatch(string(data), -1) {
			found++
			if _, err := os.Stat(filepath.Join(root, match[1])); err != nil {
				t.Errorf("%s names %s, which does not exist", file, match[1])
			}
		}
	}
	if found < 20 {
		t.Errorf("%d paths found in documents: the pattern does not recognise them", found)
	}
}
