package query

import (
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// parsedExpression is what must be known of an expression before it is evaluated.
type parsedExpression struct {
	selectors []exprSelector
	// extensive tells that the value grows with the width of a range.
	extensive bool
	// fastPath computes it without the engine; nil where that is not known how.
	fastPath *fastPath
}

// exprSelector is one vector selector of an expression.
type exprSelector struct {
	// name is the fixed metric name.
	name string
	// matchers are those of the selector.
	matchers []*labels.Matcher
	// scanMatchers are matchers for the series that tell what there is to know beside the values: of the buckets of a
	// histogram only the last, which has the same sample times. buckets tells that it is so.
	scanMatchers   []*labels.Matcher
	lastBucketOnly bool
	// ranged tells that it, or a subquery around it, has a range.
	ranged bool
	// countsEvents tells that the increments of its series count what happened, so that they show how significant
	// a window is.
	countsEvents bool
}

func newPromQLParser() parser.Parser { return parser.NewParser(parser.Options{}) }

// parseExpression reads an expression.
func parseExpression(text string) (*parsedExpression, error) {
	root, err := newPromQLParser().ParseExpr(text)
	if err != nil {
		return nil, err
	}
	e := &parsedExpression{}
	order := map[*parser.VectorSelector]int{}
	parser.Inspect(root, func(node parser.Node, path []parser.Node) error {
		if v, ok := node.(*parser.VectorSelector); ok {
			order[v] = len(e.selectors)
			e.selectors = append(e.selectors, newExprSelector(v, path))
		}
		if c, ok := node.(*parser.Call); ok && isExtensiveFunction(c.Func.Name) {
			e.extensive = true
		}
		return nil
	})
	e.fastPath = newFastPath(root, order)
	return e, nil
}

// lastBucketBound is that of a histogram which counts all events.
const lastBucketBound = "+Inf"

func newExprSelector(v *parser.VectorSelector, path []parser.Node) exprSelector {
	s := exprSelector{matchers: v.LabelMatchers, scanMatchers: v.LabelMatchers, name: fixedLabelValue(v, model.MetricNameLabel)}
	counted := false
	for _, node := range path {
		switch n := node.(type) {
		case *parser.MatrixSelector, *parser.SubqueryExpr:
			s.ranged = true
		case *parser.Call:
			switch n.Func.Name {
			case "rate", "increase", "irate":
				counted = true
			}
		}
	}
	// A sum of seconds or bytes grows with each event, but not by one.
	s.countsEvents = counted && !strings.HasSuffix(s.name, "_sum")
	if strings.HasSuffix(s.name, "_bucket") && fixedLabelValue(v, labels.BucketLabel) == "" {
		// Each event is in every bucket above it; the last bucket has them all.
		inf := labels.MustNewMatcher(labels.MatchEqual, labels.BucketLabel, lastBucketBound)
		s.scanMatchers, s.lastBucketOnly = append(slices.Clone(s.matchers), inf), true
	}
	return s
}

// isExtensiveFunction tells the functions of a range whose result grows with its width. In a ratio that cancels out, but
// who is to tell.
func isExtensiveFunction(function string) bool {
	switch function {
	case "increase", "delta", "changes", "resets", "count_over_time", "sum_over_time":
		return true
	}
	return false
}

// fixedLabelValue is the only value that a label may have, or empty.
func fixedLabelValue(v *parser.VectorSelector, label string) string {
	for _, m := range v.LabelMatchers {
		if m.Name == label && m.Type == labels.MatchEqual {
			return m.Value
		}
	}
	return ""
}

// maxCachedExpressions bounds the expressions remembered: one per metric, namespace and metric selector that is read, of a
// kilobyte or a few.
const maxCachedExpressions = 1000

// expressionCache remembers expressions by their text: parsing one takes as long as reading the samples of 50 pods.
type expressionCache struct {
	mu     sync.Mutex // guards byText
	byText map[string]*parsedExpression
}

func (p *expressionCache) getOrParse(text string) (*parsedExpression, error) {
	p.mu.Lock()
	e := p.byText[text]
	p.mu.Unlock()
	if e != nil {
		return e, nil
	}
	e, err := parseExpression(text)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byText == nil || len(p.byText) >= maxCachedExpressions {
		p.byText = map[string]*parsedExpression{} // what is still in use comes back by itself
	}
	p.byText[text] = e
	return e, nil
}
