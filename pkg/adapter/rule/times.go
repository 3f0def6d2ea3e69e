// The PromQL for the times of the newest samples behind the results of an expression.

package rule

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
)

// TimesSelectorLabel separates the selectors of an expression in the series of RemoteQuery.Times. No result has it.
const TimesSelectorLabel = "tachometer_selector"

// maxTimesGroups bounds RemoteQuery.TimesNeeded, which nested uses of `or` multiply.
const maxTimesGroups = 100

// sampleTimesQuery is the query for the times of the samples behind an expression, see RemoteQuery.
type sampleTimesQuery struct {
	text   string
	needed [][]int
}

// buildSampleTimesQuery returns the query of the tree, with or without marker matchers. It is empty if a selector has no
// fixed name: series of different metrics may look the same without their names.
func (t *exprTree) buildSampleTimesQuery(r *Rule) sampleTimesQuery {
	for _, v := range t.selectors {
		if findSelectorMetric(v) == "" {
			return sampleTimesQuery{}
		}
	}
	d := collectExprSampleTimes(t.root)
	if !r.External {
		by := []string{r.ObjectLabel}
		if r.Namespaced && r.template.Render == nil && r.NamespaceLabel != r.ObjectLabel {
			by = []string{r.NamespaceLabel, r.ObjectLabel}
		}
		d.keepSampleTimesLabels(by)
	}
	return d.printSampleTimesQuery()
}

// exprSampleTimes are the times that decide how old a result is.
type exprSampleTimes struct {
	// paths has the selectors of the expression. A result is as old as the oldest of their newest samples.
	paths []*timesPath
	// groups are sets of paths: every result has a sample on at least one path of each.
	groups [][]*timesPath
}

// timesPath is the way from a selector to the result.
type timesPath struct {
	// expr gives the time of every sample, with the labels of the sample as changed on the way.
	expr string
	// names are the labels that expr is still to be aggregated by, or without.
	names   []string
	without bool
}

// newExprTimesPath returns the path of a selector. A selector that looks at another time than now is as old as its sample was at that
// time: a comparison with yesterday is not a day old.
func newExprTimesPath(v *parser.VectorSelector) *timesPath {
	expr := "timestamp(" + v.String() + ")"
	if v.Timestamp != nil {
		expr += " + (time() - " + formatPromQLSeconds(time.Duration(*v.Timestamp)*time.Millisecond) + ")"
	}
	if v.OriginalOffset != 0 {
		expr += " + " + formatPromQLSeconds(v.OriginalOffset)
	}
	return &timesPath{expr: expr, without: true}
}

// formatPromQLSeconds returns a duration as a number of seconds in PromQL.
func formatPromQLSeconds(d time.Duration) string {
	return strconv.FormatFloat(d.Seconds(), 'f', -1, 64)
}

// printSampleTimesPath returns the expression for the newest time of each set of labels.
func (p *timesPath) printSampleTimesPath() string {
	switch {
	case p.without && len(p.names) == 0:
		return p.expr
	case p.without:
		return fmt.Sprintf("max without (%s) (%s)", formatGroupingLabels(p.names), p.expr)
	}
	return fmt.Sprintf("max by (%s) (%s)", formatGroupingLabels(p.names), p.expr)
}

// formatGroupingLabels returns the names as PromQL takes them in a grouping.
func formatGroupingLabels(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		if quoted[i] = n; !model.LegacyValidation.IsValidLabelName(n) {
			quoted[i] = strconv.Quote(n)
		}
	}
	return strings.Join(quoted, ", ")
}

// keepSampleTimesLabels drops all labels except by.
func (s exprSampleTimes) keepSampleTimesLabels(by []string) {
	for _, p := range s.paths {
		kept := slices.DeleteFunc(slices.Clone(by), func(l string) bool { return slices.Contains(p.names, l) == p.without })
		p.names, p.without = kept, false
	}
}

func (s exprSampleTimes) dropSampleTimesLabels(labels []string) {
	for _, p := range s.paths {
		if !p.without {
			p.names = slices.DeleteFunc(slices.Clone(p.names), func(l string) bool { return slices.Contains(labels, l) })
			continue
		}
		for _, l := range labels {
			if !slices.Contains(p.names, l) {
				p.names = append(slices.Clone(p.names), l)
			}
		}
	}
}

// joinSampleTimes returns the times of results that need the samples of both.
func (s exprSampleTimes) joinSampleTimes(more exprSampleTimes) exprSampleTimes {
	return exprSampleTimes{slices.Concat(s.paths, more.paths), slices.Concat(s.groups, more.groups)}
}

// alternateSampleTimes returns the times of results that need the samples of either. Which of the two a result comes from is
// unknown, so the oldest of both counts.
func (s exprSampleTimes) alternateSampleTimes(other exprSampleTimes) exprSampleTimes {
	all := exprSampleTimes{paths: slices.Concat(s.paths, other.paths)}
	if len(s.groups)*len(other.groups) > maxTimesGroups {
		all.groups = [][]*timesPath{all.paths}
		return all
	}
	for _, a := range s.groups {
		for _, b := range other.groups {
			all.groups = append(all.groups, slices.Concat(a, b))
		}
	}
	return all
}

// collectExprSampleTimes returns the times behind the results of an expression.
func collectExprSampleTimes(expr parser.Expr) exprSampleTimes {
	if inner := findInnerRuleExpr(expr); inner != nil {
		return collectExprSampleTimes(inner)
	}
	switch e := expr.(type) {
	case *parser.VectorSelector:
		p := newExprTimesPath(e)
		return exprSampleTimes{[]*timesPath{p}, [][]*timesPath{{p}}}
	case *parser.AggregateExpr:
		return collectExprAggregateTimes(e)
	case *parser.BinaryExpr:
		return collectExprBinaryTimes(e)
	case *parser.Call:
		return collectExprCallTimes(e)
	}
	return exprSampleTimes{} // numbers and strings
}

func collectExprAggregateTimes(e *parser.AggregateExpr) exprSampleTimes {
	s := collectExprSampleTimes(e.Expr)
	switch e.Op {
	case parser.TOPK, parser.BOTTOMK, parser.LIMITK, parser.LIMIT_RATIO: // their results are series, with all labels
	default:
		if e.Without {
			s.dropSampleTimesLabels(e.Grouping)
		} else {
			s.keepSampleTimesLabels(e.Grouping)
		}
	}
	if e.Param == nil {
		return s
	}
	return s.joinSampleTimes(collectExprSampleTimes(e.Param))
}

func collectExprBinaryTimes(e *parser.BinaryExpr) exprSampleTimes {
	left, right := collectExprSampleTimes(e.LHS), collectExprSampleTimes(e.RHS)
	m := e.VectorMatching
	switch {
	case m == nil:
		return left.joinSampleTimes(right)
	case e.Op == parser.LOR:
		return left.alternateSampleTimes(right)
	case e.Op == parser.LUNLESS:
		return left
	case e.Op == parser.LAND:
		keepLabelsOfMatching(right, m)
	case m.Card == parser.CardManyToOne:
		left.dropSampleTimesLabels(m.Include)
		keepLabelsOfMatching(right, m)
	case m.Card == parser.CardOneToMany:
		right.dropSampleTimesLabels(m.Include)
		keepLabelsOfMatching(left, m)
	default:
		keepLabelsOfMatching(left, m)
		keepLabelsOfMatching(right, m)
	}
	return left.joinSampleTimes(right)
}

// keepLabelsOfMatching keeps the labels of an operand that are labels of the result as well.
func keepLabelsOfMatching(s exprSampleTimes, m *parser.VectorMatching) {
	if m.On {
		s.keepSampleTimesLabels(slices.Concat(m.MatchingLabels, m.Include))
		return
	}
	s.dropSampleTimesLabels(slices.DeleteFunc(slices.Clone(m.MatchingLabels), func(l string) bool { return slices.Contains(m.Include, l) }))
}

func collectExprCallTimes(e *parser.Call) exprSampleTimes {
	var s exprSampleTimes
	for _, arg := range e.Args {
		s = s.joinSampleTimes(collectExprSampleTimes(arg))
	}
	switch e.Func.Name {
	case "label_replace", "label_join":
		s.makeSampleTimesLabel(e)
	case "histogram_quantile":
		s.dropSampleTimesLabels([]string{model.BucketLabel})
	case "absent", "absent_over_time", "scalar", "vector":
		s.keepSampleTimesLabels(nil)
	}
	return s
}

// madeTimesLabel holds the label that a function makes, until the earlier label of this name is gone.
const madeTimesLabel = "tachometer_made"

// makeSampleTimesLabel applies a function that makes a label from others. Series that become the same keep the newest time.
func (s exprSampleTimes) makeSampleTimesLabel(e *parser.Call) {
	made := strconv.Quote(findLabelMadeByExpr(e))
	var sources strings.Builder
	for _, arg := range e.Args[2:] {
		sources.WriteString(", " + arg.String())
	}
	for _, p := range s.paths {
		p.expr = fmt.Sprintf(`label_replace(%s, "%s", "$1", %s, "(.*)")`, p.printSampleTimesPath(), madeTimesLabel, made)
		p.expr = fmt.Sprintf(`%s(%s, "%s"%s)`, e.Func.Name, p.expr, madeTimesLabel, sources.String())
		p.names, p.without = []string{findLabelMadeByExpr(e)}, true
		p.expr = fmt.Sprintf(`label_replace(%s, %s, "$1", "%s", "(.*)")`, p.printSampleTimesPath(), made, madeTimesLabel)
		p.names = []string{madeTimesLabel}
	}
}

// findLabelMadeByExpr returns the label that a call makes, or an empty string.
func findLabelMadeByExpr(e *parser.Call) string {
	if e.Func.Name == "label_replace" || e.Func.Name == "label_join" {
		if dst, ok := e.Args[1].(*parser.StringLiteral); ok {
			return dst.Val
		}
	}
	return ""
}

// printSampleTimesQuery returns the query for the times of all paths.
func (s exprSampleTimes) printSampleTimesQuery() sampleTimesQuery {
	var texts []string
	numbers := map[*timesPath]int{}
	for _, p := range s.paths {
		text := p.printSampleTimesPath()
		i := slices.Index(texts, text)
		if i < 0 {
			i = len(texts)
			texts = append(texts, text)
		}
		numbers[p] = i
	}
	var q sampleTimesQuery
	for _, group := range s.groups {
		var needed []int
		for _, p := range group {
			needed = append(needed, numbers[p])
		}
		slices.Sort(needed)
		needed = slices.Compact(needed)
		if !slices.ContainsFunc(q.needed, func(n []int) bool { return slices.Equal(n, needed) }) {
			q.needed = append(q.needed, needed)
		}
	}
	if len(texts) > 1 {
		for i, text := range texts {
			// Series of different selectors may have the same labels, and `or` would keep only the first.
			texts[i] = fmt.Sprintf(`label_replace(%s, "%s", "%d", "", "")`, text, TimesSelectorLabel, i)
		}
	}
	q.text = strings.Join(texts, " or ")
	return q
}
