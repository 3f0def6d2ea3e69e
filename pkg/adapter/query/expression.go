// Parsed expressions and their selectors. Only expression.go and the files of the fast path use Prometheus's syntax
// tree.

package query

import (
	"cmp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/memorybounds"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/sharedcache"
)

// parsedExpression holds the properties of an expression that an evaluation needs.
type parsedExpression struct {
	selectors []exprSelector
	// extensive is set if the value grows with the width of a range.
	extensive bool
	// readsCounters is set if some selector is a counter's.
	readsCounters bool
	// filters is the detail of an object without a result because an operator drops elements; empty without such an operator.
	filters string
	// fastPath computes the expression without the engine; nil for unknown shapes.
	fastPath *fastPath
}

// exprSelector is a vector selector of an expression.
type exprSelector struct {
	// name is the fixed metric name.
	name string
	// matchers are the matchers of the selector.
	matchers []*labels.Matcher
	// scanMatchers select the series that times and events are needed of. Of a histogram's buckets this is only the
	// last, which has the same sample times; then lastBucketOnly is set.
	scanMatchers   []*labels.Matcher
	lastBucketOnly bool
	// ranged is set if the selector, or a subquery around it, has a range.
	ranged bool
	// quantile is the quantile that the expression reads from the buckets of this selector; 0 for none.
	quantile float64
	// readsBuckets is set if a function of classic histograms reads its series.
	readsBuckets bool
	// buckets is the grouping of an aggregation over the buckets of this selector, below a quantile; nil for none.
	buckets *bucketGrouping
	// isCounter is set if a function of counters reads its series.
	isCounter bool
	// countsEvents is set if increments of its series count events, which show how significant a window is.
	countsEvents bool
}

func newPromQLParser() parser.Parser { return parser.NewParser(parser.Options{}) }

// parsePromQLExpression parses an expression and collects its selectors.
func parsePromQLExpression(text string) (*parsedExpression, error) {
	root, err := newPromQLParser().ParseExpr(text)
	if err != nil {
		return nil, err
	}
	e := &parsedExpression{}
	order := map[*parser.VectorSelector]int{}
	parser.Inspect(root, func(node parser.Node, path []parser.Node) error {
		if v, ok := node.(*parser.VectorSelector); ok {
			order[v] = len(e.selectors)
			s := newEvaluatedSelector(v, path)
			e.selectors = append(e.selectors, s)
			e.readsCounters = e.readsCounters || s.isCounter
		}
		if c, ok := node.(*parser.Call); ok && isExtensivePromQLFunction(c.Func.Name) {
			e.extensive = true
		}
		switch b, ok := node.(*parser.BinaryExpr); {
		case isFastPathFilter(node):
			e.filters = excludedByComparison
		case ok && b.Op == parser.LUNLESS:
			e.filters = cmp.Or(e.filters, excludedByUnless)
		}
		return nil
	})
	e.fastPath = newQueryFastPath(root, order)
	return e, nil
}

// isFastPathFilter reports whether a node is a comparison that drops elements.
func isFastPathFilter(node parser.Node) bool {
	b, ok := node.(*parser.BinaryExpr)
	return ok && b.Op.IsComparisonOperator() && !b.ReturnBool
}

// lastBucketBound is the bound of the last bucket of a histogram, which counts all events.
const lastBucketBound = "+Inf"

func newEvaluatedSelector(v *parser.VectorSelector, path []parser.Node) exprSelector {
	s := exprSelector{matchers: v.LabelMatchers, scanMatchers: v.LabelMatchers, name: findEvaluatedLabelValue(v, model.MetricNameLabel)}
	for i, node := range path {
		switch n := node.(type) {
		case *parser.MatrixSelector, *parser.SubqueryExpr:
			s.ranged = true
		case *parser.Call:
			switch n.Func.Name {
			case "rate", "increase", "irate":
				s.isCounter = true
			case "histogram_quantile":
				s.quantile, _ = evaluateFastPathNumber(n.Args[0])
				s.readsBuckets, s.buckets = true, findBucketGrouping(path[i+1:])
			case "histogram_fraction":
				s.readsBuckets, s.buckets = true, findBucketGrouping(path[i+1:])
			}
		}
	}
	// A sum of seconds or bytes grows with each event, but not by one.
	s.countsEvents = s.isCounter && !strings.HasSuffix(s.name, "_sum")
	if strings.HasSuffix(s.name, "_bucket") && (s.isCounter || s.readsBuckets) && findEvaluatedLabelValue(v, labels.BucketLabel) == "" {
		s.countPromQLBuckets(v)
	}
	return s
}

// countPromQLBuckets makes the last bucket stand for all buckets that a selector reads: each event is in every bucket above it, and the last
// has all events. Several buckets without the last, such as those of le=~"0.3|0.5", count no events. Plain values may be a gauge's with such a
// name.
func (s *exprSelector) countPromQLBuckets(v *parser.VectorSelector) {
	if slices.ContainsFunc(v.LabelMatchers, func(m *labels.Matcher) bool { return m.Name == labels.BucketLabel && !m.Matches(lastBucketBound) }) {
		s.countsEvents = false
		return
	}
	inf := labels.MustNewMatcher(labels.MatchEqual, labels.BucketLabel, lastBucketBound)
	s.scanMatchers, s.lastBucketOnly = append(slices.Clone(s.matchers), inf), true
}

// isExtensivePromQLFunction returns whether the result of a range function grows with the range's width. In a ratio the
// growth cancels out, which is hard to prove.
func isExtensivePromQLFunction(function string) bool {
	switch function {
	case "increase", "delta", "changes", "resets", "count_over_time", "sum_over_time":
		return true
	}
	return false
}

// findEvaluatedLabelValue returns the only possible value of a label, or an empty string.
func findEvaluatedLabelValue(v *parser.VectorSelector, label string) string {
	for _, m := range v.LabelMatchers {
		if m.Name == label && m.Type == labels.MatchEqual {
			return m.Value
		}
	}
	return ""
}

// maxCachedText bounds a remembered text. A rule without a metric selector has some hundreds of bytes.
const maxCachedText = 4 << 10

// expressionCache caches parsed expressions by text: parsing takes as long as reading the samples of 50 pods.
type expressionCache struct {
	byText *sharedcache.Cache[string, *parsedExpression]
}

func newExpressionCache() expressionCache {
	return expressionCache{sharedcache.New[string, *parsedExpression](memorybounds.Expressions)}
}

// getOrParsePromQLExpression returns an expression from the cache, or parses it. It then enters the namespace's share of the cache if
// remember is set.
func (p *expressionCache) getOrParsePromQLExpression(namespace, text string, remember bool) (*parsedExpression, error) {
	if e, found := p.byText.Get(text); found {
		return e, nil
	}
	e, err := parsePromQLExpression(text)
	if err != nil || !remember || len(text) > maxCachedText {
		return e, err
	}
	return p.byText.Add(namespace, text, e, measurePromQLExpression(text, e)), nil
}

// measurePromQLExpression estimates the memory of a parsed expression.
func measurePromQLExpression(text string, e *parsedExpression) int {
	bytes := memorybounds.ExpressionRatio * len(text)
	for i := range e.selectors {
		for _, m := range e.selectors[i].matchers {
			if m.Type == labels.MatchRegexp || m.Type == labels.MatchNotRegexp {
				bytes += measurePromQLPattern(m) - memorybounds.ExpressionRatio*len(m.Value)
			}
		}
	}
	return max(bytes, len(text))
}

// The memory of a regular expression, in bytes. A text of a dozen characters may have a thousand instructions, or characters.
const (
	patternBytes, patternValueBytes           = 1536, 64
	patternInstructionBytes, patternRuneBytes = 100, 20
)

// measurePromQLPattern estimates the memory of the regular expression of a matcher. A list of values needs no instructions.
func measurePromQLPattern(m *labels.Matcher) int {
	if values := m.SetMatches(); len(values) > 0 {
		return patternBytes/4 + patternValueBytes*len(values) + 2*len(m.Value)
	}
	bytes := patternBytes
	if tree, err := syntax.Parse(m.Value, syntax.Perl|syntax.DotNL); err == nil {
		if program, err := syntax.Compile(tree.Simplify()); err == nil {
			for i := range program.Inst {
				bytes += patternInstructionBytes + patternRuneBytes*len(program.Inst[i].Rune)
			}
		}
	}
	return bytes
}
