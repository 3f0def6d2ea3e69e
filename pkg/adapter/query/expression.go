package query

import (
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// expression is what must be known of an expression before it is evaluated.
type expression struct {
	selectors []selector
	// extensive tells that the value grows with the width of a range.
	extensive bool
	// direct computes it without the engine; nil where that is not known how.
	direct *direct
}

// selector is one vector selector of an expression.
type selector struct {
	// name is the fixed metric name.
	name string
	// matchers are those of the selector.
	matchers []*labels.Matcher
	// telling are matchers for the series that tell what there is to know beside the values: of the buckets of a
	// histogram only the last, which has the same sample times. buckets tells that it is so.
	telling []*labels.Matcher
	buckets bool
	// ranged tells that it, or a subquery around it, has a range.
	ranged bool
	// events tells that the increments of its series count what happened, so that they show how significant
	// a window is.
	events bool
}

func newParser() parser.Parser { return parser.NewParser(parser.Options{}) }

// parse reads an expression.
func parse(text string) (*expression, error) {
	root, err := newParser().ParseExpr(text)
	if err != nil {
		return nil, err
	}
	e := &expression{}
	order := map[*parser.VectorSelector]int{}
	parser.Inspect(root, func(node parser.Node, path []parser.Node) error {
		if v, ok := node.(*parser.VectorSelector); ok {
			order[v] = len(e.selectors)
			e.selectors = append(e.selectors, newSelector(v, path))
		}
		if c, ok := node.(*parser.Call); ok && isExtensive(c.Func.Name) {
			e.extensive = true
		}
		return nil
	})
	e.direct = newDirect(root, order)
	return e, nil
}

// lastBucket is that of a histogram which counts all events.
const lastBucket = "+Inf"

func newSelector(v *parser.VectorSelector, path []parser.Node) selector {
	s := selector{matchers: v.LabelMatchers, telling: v.LabelMatchers, name: fixed(v, model.MetricNameLabel)}
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
	s.events = counted && !strings.HasSuffix(s.name, "_sum")
	if strings.HasSuffix(s.name, "_bucket") && fixed(v, labels.BucketLabel) == "" {
		// Each event is in every bucket above it; the last bucket has them all.
		inf := labels.MustNewMatcher(labels.MatchEqual, labels.BucketLabel, lastBucket)
		s.telling, s.buckets = append(slices.Clone(s.matchers), inf), true
	}
	return s
}

// isExtensive tells the functions of a range whose result grows with its width. In a ratio that cancels out, but
// who is to tell.
func isExtensive(function string) bool {
	switch function {
	case "increase", "delta", "changes", "resets", "count_over_time", "sum_over_time":
		return true
	}
	return false
}

// fixed is the only value that a label may have, or empty.
func fixed(v *parser.VectorSelector, label string) string {
	for _, m := range v.LabelMatchers {
		if m.Name == label && m.Type == labels.MatchEqual {
			return m.Value
		}
	}
	return ""
}

// maxParsed bounds the expressions remembered: one per metric, namespace and metric selector that is read, of a
// kilobyte or a few.
const maxParsed = 1000

// parsed remembers expressions by their text: parsing one takes as long as reading the samples of 50 pods.
type parsed struct {
	mu     sync.Mutex // guards byText
	byText map[string]*expression
}

func (p *parsed) get(text string) (*expression, error) {
	p.mu.Lock()
	e := p.byText[text]
	p.mu.Unlock()
	if e != nil {
		return e, nil
	}
	e, err := parse(text)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byText == nil || len(p.byText) >= maxParsed {
		p.byText = map[string]*expression{} // what is still in use comes back by itself
	}
	p.byText[text] = e
	return e, nil
}
