package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tachometer-metrics/tachometer/pkg/golden"
)

// pageExample is an example of a page: a golden file, its first paragraph (head), or the others (tail).
var pageExample = regexp.MustCompile("(?s)<!-- (\\S+\\.golden)( head| tail)? -->\n```\n(.*?)```\n")

// TestPages: docs/kubectl.md names every command, and the examples of the pages are the commands' own output.
func TestPages(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..")
	for name, examples := range map[string]int{"kubectl.md": 5, "explain.md": 3} {
		checkPage(t, root, filepath.Join(root, "docs", name), examples)
	}
	page, err := os.ReadFile(filepath.Join(root, "docs", "kubectl.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range newKubectlRootCommand(&pluginProgram{}).Commands() {
		if c.Name() != "completion" && !strings.Contains(string(page), "\n| `"+c.Name()) { // kubectl completes plugins in its own way
			t.Errorf("docs/kubectl.md does not name the command %s", c.Name())
		}
	}
}

// checkPage compares the examples of a page with the golden files, or rewrites them.
func checkPage(t *testing.T, root, path string, examples int) {
	t.Helper()
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	want := pageExample.ReplaceAllStringFunc(string(page), func(example string) string {
		found++
		parts := pageExample.FindStringSubmatch(example)
		golden, err := os.ReadFile(filepath.Join(root, parts[1]))
		if err != nil {
			t.Fatal(err)
		}
		text := string(golden)
		head, tail, _ := strings.Cut(text, "\n\n")
		switch parts[2] {
		case " head":
			text = head + "\n"
		case " tail":
			text = tail
		}
		return "<!-- " + parts[1] + parts[2] + " -->\n```\n" + text + "```\n"
	})
	if found != examples {
		t.Errorf("%s: %d examples found, want %d: the pattern does not recognise them", path, found, examples)
	}
	if want == string(page) {
		return
	}
	if !golden.Updates() {
		t.Fatalf("%s differs from the golden files; run make update", path)
	}
	if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}
