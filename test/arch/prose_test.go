package arch

import (
	"fmt"
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// maxRelatives is how many relative constructions 1,000 words of prose may have. controller-runtime's comments have less than one.
const maxRelatives = 2

var (
	proseWord = regexp.MustCompile(`[A-Za-z][A-Za-z'-]*`)
	// relativeConstruction matches a relative clause without its noun, or with who or whose: "what is missing", "those of the pod", "the one
	// that is late".
	relativeConstruction = regexp.MustCompile(`(?i)\b(?:who|whom|whose|whoever|what|whatever` +
		`|(?:that|those|the ones?) of` +
		`|(?:those|ones?) (?:that|which|who|whose)` +
		`|those (?:in|on|with|without|from|for|to|by|at|behind|above|below|under|over))\b`)
)

// proseStatistics counts the words and the relative constructions of texts.
type proseStatistics struct {
	words     int
	relatives []string // each with its place
}

func (s *proseStatistics) addProse(at token.Position, text string) {
	s.words += len(proseWord.FindAllString(text, -1))
	for _, found := range relativeConstruction.FindAllString(text, -1) {
		s.relatives = append(s.relatives, fmt.Sprintf("%s:%d: %s", at.Filename, at.Line, found))
	}
}

// share returns the relative constructions in 1,000 words.
func (s *proseStatistics) share() float64 {
	return 1000 * float64(len(s.relatives)) / float64(max(1, s.words))
}

// TestProse: comments, help, logs and errors name their subjects.
func TestProse(t *testing.T) {
	t.Parallel()
	var comments, texts proseStatistics
	for _, f := range parseSources(t, "cmd", "pkg") {
		for _, group := range f.Comments {
			comments.addProse(f.fset.Position(group.Pos()), group.Text())
		}
		ast.Inspect(f.File, func(n ast.Node) bool {
			if _, ok := n.(*ast.ImportSpec); ok {
				return false
			}
			if e, ok := n.(ast.Expr); ok {
				if text, ok := textOf(e); ok && len(strings.Fields(text)) >= 3 {
					texts.addProse(f.fset.Position(e.Pos()), text)
				}
			}
			return true
		})
	}
	for kind, s := range map[string]*proseStatistics{"comments": &comments, "help, logs and errors": &texts} {
		t.Logf("%s: %d words, %.2f relative constructions in 1,000", kind, s.words, s.share())
		if s.words < 20_000 {
			t.Errorf("%s: %d words found: the test looks in the wrong place", kind, s.words)
		}
		if s.share() >= maxRelatives {
			t.Errorf("%s: %.2f relative constructions in 1,000 words, limit %d: name the subject\n%s",
				kind, s.share(), maxRelatives, strings.Join(s.relatives, "\n"))
		}
	}
}

// TestRelativeConstructions: the test of prose sees each construction, and takes no other sentence for one.
func TestRelativeConstructions(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"returns what is missing of the one that waits":    {"what", "one that"},
		"a pod whose page fails, whoever asks":             {"whose", "whoever"},
		"bounds the bytes of a page and those of a family": {"those of"},
		"its bound is that of a pod; those in the table":   {"that of", "those in"},
		"one of the pods that a rule reads, by that time":  nil,
		"somewhat later those pods are gone":               nil,
	} {
		if got := relativeConstruction.FindAllString(text, -1); !slices.Equal(got, want) {
			t.Errorf("%q: found %q, want %q", text, got, want)
		}
	}
}
