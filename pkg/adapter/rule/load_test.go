// Load: faults of files and expressions together.

package rule

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func readTestFile(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func globTestFiles(t testing.TB, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	return files
}

const configHead = "apiVersion: config.tachometer.dev/v1alpha1\nkind: AdapterConfig\n"

// loadTestSet compiles a good configuration, given without its head.
func loadTestSet(t testing.TB, text string) *Set {
	t.Helper()
	_, s, err := Load([]byte(configHead + text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLoadBad(t *testing.T) {
	t.Parallel()
	files := globTestFiles(t, "testdata/*.bad.yaml")
	if len(files) != len(badFiles) {
		t.Errorf("%d files, %d entries in badFiles", len(files), len(badFiles))
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".bad.yaml")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg, set, err := Load(readTestFile(t, file))
			if err == nil {
				t.Fatal("loaded")
			}
			if cfg != nil || set != nil {
				t.Error("a configuration beside the error")
			}
			if diff := cmp.Diff(badFiles[name], strings.Split(err.Error(), "\n")); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			var faults config.Faults
			if !errors.As(err, &faults) {
				t.Errorf("error is %T, want config.Faults", err)
			}
		})
	}
}

// The faults of the file and of its expressions come in one list; each value has only its first fault.
func TestLoadMergesFaults(t *testing.T) {
	t.Parallel()
	_, _, err := Load([]byte(configHead + `rules:
- metric: a
  query: sum(up)
  windw: 30s
- metric: b
  query: up
  window: 10m
maxAge: 1
`))
	want := []string{
		"line 5: rules[0].query: the result has no label namespace; aggregate by (namespace, pod)",
		"line 6: rules[0].windw: unknown key; did you mean window?",
		"line 9: rules[1].window: 10m is longer than maxWindow 1m; raise maxWindow or shorten the window",
		"line 10: maxAge: must be a duration such as 2s, 500ms or 1m30s; 1 has no unit",
	}
	if err == nil {
		t.Fatal("loaded")
	}
	if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
}

// FuzzLoad: every explicit rule of a configuration that loads gives an expression that parses.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"testdata/*.yaml", "../config/testdata/*.yaml", "builtin.yaml"} {
		for _, file := range globTestFiles(f, pattern) {
			f.Add(readTestFile(f, file))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		cfg, s, err := Load(data)
		if err != nil {
			var faults config.Faults
			if !errors.As(err, &faults) || len(faults) == 0 {
				t.Fatalf("error is %T: %v", err, err)
			}
			return
		}
		for _, c := range s.rules {
			if c.rule == nil {
				continue
			}
			expr := Query{Rule: c.rule, Namespace: "n"}.Expr(cfg.MaxWindow, []string{"a", "b"})
			if _, err := parseRuleExpr(expr); err != nil {
				t.Errorf("%s: %v", expr, err)
			}
		}
	})
}
