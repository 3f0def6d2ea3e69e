package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// The limits of names, in percent of all private functions and methods outside test files.
const (
	maxOneWord = 35
	maxShared  = 15
	// maxPackages is how many packages may have a private function of one name.
	maxPackages = 3
)

// common are the names that more than maxPackages packages may have, with the reason.
var common = map[string]string{
	"newMetrics":   "the constructor of every package's self-metrics",
	"run":          "the loop of a main package",
	"withDefaults": "completes an options struct",
	"validate":     "lists the faults of a decoded struct",
}

// sourceFile is a parsed Go file outside tests.
type sourceFile struct {
	path string // relative to root
	fset *token.FileSet
	*ast.File
}

// parseSources parses the Go files below the folders, without tests.
func parseSources(t *testing.T, folders ...string) []sourceFile {
	t.Helper()
	var files []sourceFile
	for _, name := range listFiles(t) {
		top, _, _ := strings.Cut(name, "/")
		if !slices.Contains(folders, top) || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") || strings.Contains(name, "/testdata/") {
			continue
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, filepath.Join(root, name), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, sourceFile{name, fset, f})
	}
	if len(files) == 0 {
		t.Fatalf("no Go file below %v: the test looks in the wrong place", folders)
	}
	return files
}

// nameStatistics are figures about private functions and methods.
type nameStatistics struct {
	total, oneWord, shared int
	packages               map[string]map[string]bool // folders, by function name
}

func (s nameStatistics) String() string {
	return fmt.Sprintf("%d private functions, %d %% of them with a name of one word, %d %% with a name that another package has",
		s.total, 100*s.oneWord/s.total, 100*s.shared/s.total)
}

// countNames computes the statistics of files.
func countNames(files []sourceFile) nameStatistics {
	s := nameStatistics{packages: map[string]map[string]bool{}}
	count := map[string]int{}
	for _, f := range files {
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Name.IsExported() || fn.Name.Name == "main" {
				continue
			}
			name := fn.Name.Name
			s.total++
			count[name]++
			if !strings.ContainsFunc(name, unicode.IsUpper) {
				s.oneWord++
			}
			if s.packages[name] == nil {
				s.packages[name] = map[string]bool{}
			}
			s.packages[name][path.Dir(f.path)] = true
		}
	}
	for name, n := range count {
		if len(s.packages[name]) > 1 {
			s.shared += n
		}
	}
	return s
}

// TestNames: drawn at random, the name of a function tells which package it lives in.
func TestNames(t *testing.T) {
	t.Parallel()
	s := countNames(parseSources(t, "cmd", "pkg"))
	t.Log(s)
	if got := 100 * s.oneWord / s.total; got > maxOneWord {
		t.Errorf("%d %% of the private functions have a name of one word, limit %d %%: a function is verb and object", got, maxOneWord)
	}
	if got := 100 * s.shared / s.total; got > maxShared {
		t.Errorf("%d %% of the private functions have a name that another package has, limit %d %%", got, maxShared)
	}
	for name, packages := range s.packages {
		if len(packages) > maxPackages && common[name] == "" {
			t.Errorf("%s is the name of a private function in %d packages, limit %d: %v",
				name, len(packages), maxPackages, slices.Sorted(maps.Keys(packages)))
		}
	}
}

// TestTestNames holds the programs and packages of test/ to the same limits.
func TestTestNames(t *testing.T) {
	t.Parallel()
	s := countNames(parseSources(t, "test"))
	t.Log(s)
	if got := 100 * s.oneWord / s.total; got > maxOneWord {
		t.Errorf("%d %% of the private functions have a name of one word, limit %d %%", got, maxOneWord)
	}
	if got := 100 * s.shared / s.total; got > maxShared {
		t.Errorf("%d %% of the private functions have a name that another package has, limit %d %%", got, maxShared)
	}
}

// TestMetricsHaveAPlace: self-metrics are made in a file metrics.go, by a type metrics (or Metrics, where others hand it over).
func TestMetricsHaveAPlace(t *testing.T) {
	t.Parallel()
	for _, f := range parseSources(t, "cmd", "pkg") {
		if path.Base(f.path) == "metrics.go" {
			continue
		}
		ast.Inspect(f.File, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if sel, ok := call.Fun.(*ast.SelectorExpr); ok && isMetricConstructor(sel.Sel.Name) && len(call.Args) > 0 && isMetricOptions(call.Args[0]) {
				t.Errorf("%s: %s makes a self-metric outside metrics.go", f.fset.Position(call.Pos()), sel.Sel.Name)
			}
			return true
		})
	}
}

// isMetricConstructor reports whether prometheus or promauto makes a metric by this name.
func isMetricConstructor(name string) bool {
	for _, kind := range []string{"Counter", "Gauge", "Histogram", "Summary"} {
		if name == "New"+kind || name == "New"+kind+"Vec" || name == "New"+kind+"Func" {
			return true
		}
	}
	return false
}

// isMetricOptions reports whether the expression is a literal of prometheus.…Opts.
func isMetricOptions(e ast.Expr) bool {
	literal, ok := e.(*ast.CompositeLit)
	if !ok {
		return false
	}
	sel, ok := literal.Type.(*ast.SelectorExpr)
	return ok && strings.HasSuffix(sel.Sel.Name, "Opts")
}
