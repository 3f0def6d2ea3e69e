package promadapter

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// yamlBlock is the code block of that kind in the document.
func yamlBlock(t *testing.T, text, kind string) string {
	t.Helper()
	_, after, found := strings.Cut(text, "\n```yaml "+kind+"\n")
	if !found {
		t.Fatalf("no block of %s", kind)
	}
	before, _, _ := strings.Cut(after, "```")
	return before
}

// The examples of docs/migration.md are what they are said to be.
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
