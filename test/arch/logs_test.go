package arch

import (
	"go/ast"
	"go/token"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

var (
	logKey = regexp.MustCompile(`^[a-z][a-zA-Z0-9]*$`)
	// otherWords have one word in their place: err for an error, reason for a cause in our words.
	otherWords = map[string]string{
		"why": "reason", "cause": "reason", "note": "reason", "remark": "reason", "detail": "reason", "error": "err",
		"HPA": "hpa", "ns": "namespace",
	}
	// ofContext are keys with an underscore that a standard defines.
	ofContext = map[string]bool{"trace_id": true, "span_id": true}
)

// TestLogCalls: every log line has a constant message that begins with a capital, and keys of one style.
func TestLogCalls(t *testing.T) {
	t.Parallel()
	calls, withKeys := 0, 0
	for _, f := range parseSources(t, "cmd", "pkg") {
		ast.Inspect(f.File, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if message, keys, ok := asLogCall(call); ok {
				calls++
				checkLogMessage(t, f.fset.Position(call.Pos()), message)
				checkLogKeys(t, f.fset.Position(call.Pos()), keys)
			} else if keys, ok := asLoggerWithKeys(call); ok {
				withKeys++
				checkLogKeys(t, f.fset.Position(call.Pos()), keys)
			}
			return true
		})
	}
	if calls < 100 || withKeys < 8 {
		t.Errorf("%d log calls and %d loggers with keys found: the test does not recognise them", calls, withKeys)
	}
}

// asLoggerWithKeys returns the keys and values that a call adds to a logger.
func asLoggerWithKeys(call *ast.CallExpr) (keys []ast.Expr, ok bool) {
	sel, isSelector := call.Fun.(*ast.SelectorExpr)
	if !isSelector || sel.Sel.Name != "WithValues" && sel.Sel.Name != "With" || !isLogger(sel.X) {
		return nil, false
	}
	return call.Args, true
}

// asLogCall returns the message and the key-value arguments of a call to a logr or zap logger.
func asLogCall(call *ast.CallExpr) (message ast.Expr, rest []ast.Expr, ok bool) {
	sel, isSelector := call.Fun.(*ast.SelectorExpr)
	if !isSelector || !isLogger(sel.X) {
		return nil, nil, false
	}
	switch sel.Sel.Name {
	case "Info", "Warn", "Debug":
		if len(call.Args) > 0 {
			return call.Args[0], call.Args[1:], true
		}
	case "Error":
		if len(call.Args) > 1 && !isText(call.Args[0]) { // logr: the error comes first
			return call.Args[1], call.Args[2:], true
		}
		if len(call.Args) > 0 {
			return call.Args[0], call.Args[1:], true
		}
	}
	return nil, nil, false
}

// isLogger reports whether the expression is a logger: klog.FromContext(ctx), with V or WithValues or not, or a variable or field
// whose name says so.
func isLogger(e ast.Expr) bool {
	switch x := e.(type) {
	case *ast.Ident:
		return x.Name == "klog" || x.Name == "log" || x.Name == "logger"
	case *ast.SelectorExpr:
		return x.Sel.Name == "log" || x.Sel.Name == "logger" || x.Sel.Name == "Log" || x.Sel.Name == "Logger"
	case *ast.CallExpr:
		sel, ok := x.Fun.(*ast.SelectorExpr)
		if !ok {
			return false
		}
		switch sel.Sel.Name {
		case "FromContext", "Background":
			id, ok := sel.X.(*ast.Ident)
			return ok && id.Name == "klog"
		case "V", "WithValues", "With", "WithName":
			return isLogger(sel.X)
		}
		return strings.HasSuffix(strings.ToLower(sel.Sel.Name), "logger") // a method such as passLogger
	}
	return false
}

func checkLogMessage(t *testing.T, at token.Position, message ast.Expr) {
	t.Helper()
	text, ok := textOf(message)
	if first, _ := utf8.DecodeRuneInString(text); !ok {
		t.Errorf("%s: the message of a log line is constant; what varies is a key", at)
	} else if !unicode.IsUpper(first) {
		t.Errorf("%s: log message %q begins with a lower-case letter", at, text)
	}
}

func checkLogKeys(t *testing.T, at token.Position, rest []ast.Expr) {
	t.Helper()
	for i, e := range rest {
		key, ok := textOf(e)
		if field, isCall := e.(*ast.CallExpr); isCall && len(field.Args) > 1 { // zap.String("key", value)
			key, ok = textOf(field.Args[0])
		} else if i%2 == 1 {
			continue
		}
		if ok && !logKey.MatchString(key) && !ofContext[key] {
			t.Errorf("%s: log key %q is not in lowerCamelCase", at, key)
		}
		if word := otherWords[key]; ok && word != "" {
			t.Errorf("%s: log key %q; the word for it is %q", at, key, word)
		}
	}
}

// textOf returns the value of a string literal.
func textOf(e ast.Expr) (string, bool) {
	literal, ok := e.(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(literal.Value)
	return text, err == nil
}

func isText(e ast.Expr) bool {
	_, ok := textOf(e)
	return ok
}
