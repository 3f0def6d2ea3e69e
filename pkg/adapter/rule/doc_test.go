// The examples in the documents.

package rule

import (
	"regexp"
	"strings"
	"testing"
)

var codeFence = regexp.MustCompile("(?ms)^```([a-z ]+)\n(.*?)^```$")

// TestDocumentLoads: every example of the documents loads.
func TestDocumentLoads(t *testing.T) {
	t.Parallel()
	blocks := codeFence.FindAllStringSubmatch(string(readTestFile(t, "../../../docs/configuration.md")), -1)
	for _, page := range []string{"backends", "kubectl"} {
		blocks = append(blocks, codeFence.FindAllStringSubmatch(string(readTestFile(t, "../../../docs/"+page+".md")), -1)...)
	}
	for _, block := range codeFence.FindAllStringSubmatch(string(readTestFile(t, "../../../docs/scale-to-zero.md")), -1) {
		if strings.HasPrefix(block[2], "rules:") { // the others are autoscalers
			blocks = append(blocks, block)
		}
	}
	if len(blocks) < 10 {
		t.Fatalf("only %d blocks", len(blocks))
	}
	for _, block := range blocks {
		text := block[2]
		if !strings.HasPrefix(text, "apiVersion:") {
			text = configHead + text
		}
		if block[1] != "yaml" {
			continue
		}
		if _, _, err := Load([]byte(text)); err != nil {
			t.Errorf("example does not load:\n%s\n%v", block[2], err)
		}
	}
}
