package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	// documentedPlugin is a call of the plugin at the begin of a line or span of code, up to a comment or the next command.
	documentedPlugin = regexp.MustCompile(`^\s*kubectl tachometer ([^#|&;]+)`)
	placeholder      = regexp.MustCompile(`^COMMAND$|…|\.\.\.$`)
)

// TestDocumentedKubectlCommands: each call of the plugin in a document is a command that exists, with flags that exist and take these values.
func TestDocumentedKubectlCommands(t *testing.T) {
	t.Parallel()
	found := 0
	for _, folder := range []string{"README.md", "docs", "manifests"} {
		err := filepath.WalkDir(filepath.Join("..", "..", folder), func(path string, _ fs.DirEntry, err error) error {
			if ext := filepath.Ext(path); err != nil || ext != ".md" && ext != ".txt" {
				return err
			}
			data, err := os.ReadFile(path)
			found += checkDocumentedKubectlCalls(t, path, string(data))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found < 20 {
		t.Errorf("%d calls found in documents: the pattern does not recognise them", found)
	}
}

// checkDocumentedKubectlCalls lets cobra find each command and parse its flags, and runs nothing. It returns the number of calls.
func checkDocumentedKubectlCalls(t *testing.T, file, text string) (found int) {
	t.Helper()
	text = strings.ReplaceAll(text, "\\\n", " ")
	for _, code := range strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '`' }) {
		call := documentedPlugin.FindStringSubmatch(code)
		if call == nil {
			continue
		}
		args := slices.DeleteFunc(strings.Fields(call[1]), placeholder.MatchString)
		if len(args) == 0 {
			continue
		}
		found++
		root := newKubectlRootCommand(&pluginProgram{})
		cmd, rest, err := root.Find(args)
		if err != nil || cmd == root {
			t.Errorf("%s: kubectl tachometer %s: no such command (%v)", file, strings.Join(args, " "), err)
			continue
		}
		cmd.InitDefaultHelpFlag()
		if err := cmd.ParseFlags(rest); err != nil {
			t.Errorf("%s: kubectl tachometer %s: %v", file, strings.Join(args, " "), err)
		}
	}
	return found
}
