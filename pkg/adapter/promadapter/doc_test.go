package promadapter

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// yamlBlock returns the YAML code block of a kind in the document.
func yamlBlock(t *testing.T, text, kind string) string {
	t.Helper()
	_, after, found := strings.Cut(text, "\n```yaml "+kind+"\n")
	if !found {
		t.Fatalf("no block of %s", kind)
	}
	before, _, _ := strings.Cut(after, "```")
	return before
}

// TestDocument: Import turns the first example of docs/migration.md into the second.
func TestDocument(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../../docs/migration.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	native, notes, err := Import(loadConfig(t, yamlBlock(t, text, "prometheus-adapter")), "")
	if err != nil || len(notes) > 0 {
		t.Errorf("Import: %v, %q", err, notes)
	}
	if diff := cmp.Diff(yamlBlock(t, text, "imported"), string(native)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
