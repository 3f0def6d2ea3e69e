package arch

import (
	"go/ast"
	"go/token"
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

// foldName makes a name and its plural, in any case, one.
func foldName(name string) string { return strings.TrimSuffix(strings.ToLower(name), "s") }
