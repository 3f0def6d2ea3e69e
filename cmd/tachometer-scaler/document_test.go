package main

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	// documentedScaler is a call of the program at the begin of a line or span of code, in a pod or by xargs, up to a comment or the next command.
	documentedScaler = regexp.MustCompile(`^(?:.*(?:-- /|xargs ))?\s*tachometer-scaler ([^#|&;]+)`)
	placeholder      = regexp.MustCompile(`^(COMMAND|SHELL)$|…|\.\.\.$`)
)

// TestDocumentedCommands: each call of the program in a document or note is a command that exists, with flags that exist and take these values.
func TestDocumentedCommands(t *testing.T) {
	t.Parallel()
	found := 0
	for _, file := range listDocuments(t) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(data), "\\\n", " ")
		for _, code := range strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '`' }) {
			call := documentedScaler.FindStringSubmatch(code)
			if call == nil || strings.TrimSpace(call[1]) == "" {
				continue
			}
			args := slices.DeleteFunc(strings.Fields(call[1]), placeholder.MatchString)
			if len(args) == 0 || strings.HasPrefix(args[0], "--") {
				continue
			}
			found++
			checkDocumentedCall(t, file, args)
		}
	}
	if found < 15 {
		t.Errorf("%d calls found in documents: the pattern does not recognise them", found)
	}
}

// checkDocumentedCall lets cobra find the command and parse its flags, and runs nothing.
func checkDocumentedCall(t *testing.T, file string, args []string) {
	t.Helper()
	root := newScalerRootCommand(newScalerFlags(io.Discard, io.Discard))
	cmd, rest, err := root.Find(args)
	if err != nil || cmd == root {
		t.Errorf("%s: tachometer-scaler %s: no such command (%v)", file, strings.Join(args, " "), err)
		return
	}
	cmd.InitDefaultHelpFlag()
	if err := cmd.ParseFlags(rest); err != nil {
		t.Errorf("%s: tachometer-scaler %s: %v", file, strings.Join(args, " "), err)
	}
}

// listDocuments returns the repository's documents, and the notes of its charts.
func listDocuments(t *testing.T) (files []string) {
	t.Helper()
	for _, folder := range []string{"README.md", "docs", "manifests"} {
		err := filepath.WalkDir(filepath.Join("..", "..", folder), func(path string, _ fs.DirEntry, err error) error {
			if ext := filepath.Ext(path); ext == ".md" || ext == ".txt" {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}
