package main

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the examples of docs/kubectl.md")

// pageExample is an example of docs/kubectl.md: a golden file, or its part below the table.
var pageExample = regexp.MustCompile("(?s)<!-- (\\S+\\.golden)( tail)? -->\n```\n(.*?)```\n")

// TestPage: docs/kubectl.md names every command, and its examples are the commands' own output.
func TestPage(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	path := filepath.Join(root, "docs", "kubectl.md")
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	examples := 0
	want := pageExample.ReplaceAllStringFunc(string(page), func(example string) string {
		examples++
		parts := pageExample.FindStringSubmatch(example)
		golden, err := os.ReadFile(filepath.Join(root, parts[1]))
		if err != nil {
			t.Fatal(err)
		}
		text := string(golden)
		if parts[2] != "" {
			_, text, _ = strings.Cut(text, "\n\n")
		}
		return "<!-- " + parts[1] + parts[2] + " -->\n```\n" + text + "```\n"
	})
	if examples != 3 {
		t.Errorf("%d examples found, want 3: the pattern does not recognise them", examples)
	}
	for _, c := range newPluginRootCommand(&pluginProgram{}).Commands() {
		if !strings.Contains(want, "\n| `"+c.Name()) {
			t.Errorf("%s does not name the command %s", path, c.Name())
		}
	}
	if want == string(page) {
		return
	}
	if !*update {
		t.Fatalf("%s differs from the golden files; run make update", path)
	}
	if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}
