package arch

import (
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"strings"
	"testing"
)

var (
	anyWord = regexp.MustCompile(`[A-Za-z_]\w*`)
	// privateName matches a word in the form of a private name, such as parseStatusLine.
	privateName = regexp.MustCompile(`\b[a-z][a-z0-9]+[A-Z]\w*`)
)

// TestCommentsNameWhatExists: a private name in a comment is in the code too. A comment about a renamed function leads nowhere.
func TestCommentsNameWhatExists(t *testing.T) {
	t.Parallel()
	files := parseSources(t, "cmd", "pkg")
	known := map[string]bool{}
	for _, f := range files {
		ast.Inspect(f.File, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.Ident:
				known[foldName(n.Name)] = true
			case *ast.BasicLit:
				if n.Kind == token.STRING {
					for _, word := range anyWord.FindAllString(n.Value, -1) {
						known[foldName(word)] = true
					}
				}
			case *ast.CommentGroup:
				return false
			}
			return true
		})
	}
	found := 0
	for _, f := range files {
		for _, group := range f.Comments {
			for _, name := range privateName.FindAllString(group.Text(), -1) {
				if found++; !known[foldName(name)] {
					t.Errorf("%s: the comment names %s, which the code does not", f.fset.Position(group.Pos()), name)
				}
			}
		}
	}
	if found < 1000 {
		t.Errorf("%d names in comments: the test does not find them", found)
	}
}

// maxBareFiles is how many files outside tests a package may have before each needs a head comment.
const maxBareFiles = 8

// TestFilesHaveHeadComments: in a package of many files each says what it holds, above or directly below its package clause.
func TestFilesHaveHeadComments(t *testing.T) {
	t.Parallel()
	packages := map[string][]sourceFile{}
	for _, f := range parseSources(t, "cmd", "pkg", "test") {
		folder := path.Dir(f.path)
		packages[folder] = append(packages[folder], f)
	}
	held := 0
	for _, files := range packages {
		if len(files) <= maxBareFiles {
			continue
		}
		for _, f := range files {
			if held++; !hasHeadComment(f) {
				t.Errorf("%s: no head comment; say in a line or two, above the package clause, what the file holds", f.path)
			}
		}
	}
	if held < 300 {
		t.Errorf("%d files in packages of many files: the test does not find them", held)
	}
}

// hasHeadComment reports whether a comment above the package clause, or separated from the declarations directly below it, is about
// the file. Build constraints and other directives are no such comment.
func hasHeadComment(f sourceFile) bool {
	line := func(p token.Pos) int { return f.fset.Position(p).Line }
	declared := map[int]bool{}
	for _, d := range f.Decls {
		declared[line(d.Pos())] = true
	}
	for _, group := range f.Comments {
		if group.Text() == "" {
			continue
		}
		above := group.End() < f.Package
		below := line(group.Pos()) <= line(f.Name.End())+2 && group.Pos() > f.Name.End() && !declared[line(group.End())+1]
		if above || below {
			return true
		}
	}
	return false
}

// foldName makes a name and its plural, in any case, one.
func foldName(name string) string { return strings.TrimSuffix(strings.ToLower(name), "s") }
