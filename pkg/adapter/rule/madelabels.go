// The labels that an expression makes: how long they may become, from the expression alone.

package rule

import (
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/promql/parser"
)

const (
	// maxMadeLabelBytes bounds a label that label_replace or label_join makes, from labels of readLabelBytes. Nested calls can double a
	// label each, and the engine copies it for every series.
	maxMadeLabelBytes = 64 << 10
	// readLabelBytes is the length of a long label of a page.
	readLabelBytes = 1 << 10
	// maxLabelMeasure ends the growth of measures before they overflow.
	maxLabelMeasure = 1 << 30
)

// exprLabelMeasure bounds the bytes of a label: fixed, and times factor the longest label that the expression reads.
type exprLabelMeasure struct{ fixed, factor int }

// addReviewedLabel returns the bound of a text that has count times other in it.
func (m exprLabelMeasure) addReviewedLabel(other exprLabelMeasure, count int) exprLabelMeasure {
	return exprLabelMeasure{min(m.fixed+count*other.fixed, maxLabelMeasure), min(m.factor+count*other.factor, maxLabelMeasure)}
}

func (m exprLabelMeasure) mergeReviewedLabel(other exprLabelMeasure) exprLabelMeasure {
	return exprLabelMeasure{max(m.fixed, other.fixed), max(m.factor, other.factor)}
}

// boundLabelBytes returns the bound for labels of the given length.
func (m exprLabelMeasure) boundLabelBytes(read int) int {
	return min(m.fixed, maxLabelMeasure) + min(m.factor, maxLabelMeasure)*read
}

// measureReviewedLabels returns a bound of each label that the expression makes, by its name.
func measureReviewedLabels(node parser.Node) map[string]exprLabelMeasure {
	made := map[string]exprLabelMeasure{}
	for child := range parser.ChildrenIter(node) {
		for name, m := range measureReviewedLabels(child) {
			made[name] = made[name].mergeReviewedLabel(m)
		}
	}
	call, ok := node.(*parser.Call)
	if !ok || call.Func.Name != "label_replace" && call.Func.Name != "label_join" {
		return made
	}
	measure := func(label string) exprLabelMeasure {
		if m, found := made[label]; found {
			return m.mergeReviewedLabel(exprLabelMeasure{factor: 1})
		}
		return exprLabelMeasure{factor: 1}
	}
	text := make([]string, len(call.Args)) // empty for the vector
	for i := range call.Args {
		text[i] = parseTextArgument(call.Args[i])
	}
	var own exprLabelMeasure
	if call.Func.Name == "label_replace" {
		references := strings.Count(text[2], "$")
		own = exprLabelMeasure{fixed: len(text[2])}.addReviewedLabel(measure(text[3]), references)
	} else {
		for i, source := range text[3:] {
			own = own.addReviewedLabel(measure(source), 1)
			if i > 0 {
				own.fixed += len(text[2])
			}
		}
	}
	made[text[1]] = made[text[1]].mergeReviewedLabel(own)
	return made
}

// parseTextArgument returns the text of a string argument; empty for others.
func parseTextArgument(expr parser.Expr) string {
	switch e := expr.(type) {
	case *parser.StringLiteral:
		return e.Val
	case *parser.ParenExpr:
		return parseTextArgument(e.Expr)
	}
	return ""
}

// validateMadeLabels rejects an expression that may make a label which is too long.
func validateMadeLabels(t *exprTree) []keyError {
	made := measureReviewedLabels(t.root)
	for _, name := range slices.Sorted(maps.Keys(made)) {
		if size := made[name].boundLabelBytes(readLabelBytes); size > maxMadeLabelBytes {
			return newKeyErrorsf("query", "may make a label %q of %d bytes from one of %d, and the limit is %d; "+
				"write fewer references such as $1 into label_replace, or fewer labels into label_join", name, size, readLabelBytes, maxMadeLabelBytes)
		}
	}
	return nil
}

// EvaluationCost bounds the memory of the labels that an evaluation of a rule makes.
type EvaluationCost struct {
	results int // operations with results that the engine may hold at a time
	made    exprLabelMeasure
}

// LabelBytes returns a bound of the bytes, if the evaluation reads so many series with so many bytes of labels together, and with no more
// than longest each.
func (c EvaluationCost) LabelBytes(series, together, longest int) int {
	const sampleBytes = 100 // of a result beside its labels
	return c.results * (together + series*(sampleBytes+c.made.boundLabelBytes(longest)))
}

// measureExprCost returns the cost of an expression.
func measureExprCost(root parser.Expr) EvaluationCost {
	c := EvaluationCost{results: 1}
	for _, m := range measureReviewedLabels(root) {
		c.made = c.made.addReviewedLabel(m, 1)
	}
	parser.Inspect(root, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.BinaryExpr:
			c.results++
			if n.VectorMatching != nil {
				c.made = c.made.addReviewedLabel(exprLabelMeasure{factor: 1}, len(n.VectorMatching.Include))
			}
		case *parser.Call, *parser.AggregateExpr, *parser.UnaryExpr, *parser.SubqueryExpr:
			c.results++
		}
		return nil
	})
	return c
}

// EvaluationCost returns the bound of the memory of the labels that an evaluation makes.
func (r *Rule) EvaluationCost() EvaluationCost { return r.cost }
