package arch

import (
	"go/ast"
	"go/token"
	"regexp"
	"testing"
)

// formatVerb matches a verb of a format, and %%.
var formatVerb = regexp.MustCompile(`%[-+# 0]*(?:\d+|\*)?(?:\.\d+|\.\*)?(\[\d+\])?([a-zA-Z%])`)

// TestShortenedTextsAreHarmless: what strict.Shorten returns may have characters that a terminal obeys, so each call stands for the verb %q of
// a format. A text without quotes goes through strict.ShortenPlain.
func TestShortenedTextsAreHarmless(t *testing.T) {
	t.Parallel()
	found := 0
	for _, f := range parseSources(t, "cmd", "pkg") {
		quoted := map[ast.Expr]bool{}
		ast.Inspect(f.File, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			for _, e := range listQuotedArguments(call) {
				quoted[e] = true
			}
			if sel, ok := call.Fun.(*ast.SelectorExpr); ok && isNamed(sel.X, "strict") && sel.Sel.Name == "Shorten" {
				found++
				if !quoted[call] {
					t.Errorf("%s: strict.Shorten without %%q: quote the text, or use strict.ShortenPlain", f.fset.Position(call.Pos()))
				}
			}
			return true
		})
	}
	if found < 20 {
		t.Errorf("%d calls of strict.Shorten found: the test does not recognise them", found)
	}
}

func isNamed(e ast.Expr, name string) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == name
}

// listQuotedArguments returns the arguments of a call that stand for the verb %q of its format.
func listQuotedArguments(call *ast.CallExpr) (quoted []ast.Expr) {
	for i, e := range call.Args {
		format, ok := e.(*ast.BasicLit)
		if !ok || format.Kind != token.STRING {
			continue
		}
		next := i + 1
		for _, verb := range formatVerb.FindAllStringSubmatch(format.Value, -1) {
			if verb[2] == "%" {
				continue
			}
			if verb[2] == "q" && next < len(call.Args) {
				quoted = append(quoted, call.Args[next])
			}
			next++
		}
	}
	return quoted
}
