package rule

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
)

// compiled is one rule of the configuration: explicit, with its Rule, or a pattern.
type compiled struct {
	spec   config.Rule
	limits limits
	rule   *Rule // nil in a pattern rule
	pattern
}

// limits are the parts of the configuration that bound expressions on the embedded backend.
type limits struct {
	interval, maxWindow time.Duration
}

// Compile compiles the rules of a configuration, or the built-in ones if it has none. The error is
// config.Faults with all that is wrong, each with its path.
func Compile(cfg *config.Config) (*Set, error) {
	s, faults := compile(cfg)
	if err := faults.Err(); err != nil {
		return nil, err
	}
	return s, nil
}

func compile(cfg *config.Config) (*Set, config.Faults) {
	rules := cfg.Rules
	if !cfg.HasRules {
		rules = builtin(cfg)
	}
	var faults config.Faults
	s := &Set{}
	for i, spec := range rules {
		c, wrong := compileRule(spec, limits{cfg.Scrape.Interval, cfg.MaxWindow})
		for _, w := range wrong {
			path := config.RulePath(i) + "." + w.key
			faults = append(faults, config.Fault{Path: path, Line: cfg.Line(path), Message: w.err.Error()})
		}
		s.rules = append(s.rules, c)
	}
	return s, faults
}

// fault is what is wrong with the value of a rule's key.
type fault struct {
	key string
	err error
}

// faultf is a list of one.
func faultf(key, format string, args ...any) []fault {
	return []fault{{key, fmt.Errorf(format, args...)}}
}

// compileRule leaves out what config has found missing.
func compileRule(spec config.Rule, l limits) (*compiled, []fault) {
	c := &compiled{spec: spec, limits: l}
	if spec.Query == "" || spec.Metric == "" && spec.Match == "" {
		return c, nil
	}
	if spec.Match == "" {
		r, faults := c.instantiate(spec.Metric, spec.Query)
		c.rule = r
		return c, faults
	}
	return c, c.compilePattern()
}

// compilePattern checks the query for an example of a name, since it has none of its own.
func (c *compiled) compilePattern() []fault {
	var err error
	if c.match, err = compilePattern(c.spec.Match); err != nil {
		return []fault{{"match", err}}
	}
	if c.spec.Except != "" {
		if c.except, err = compilePattern(c.spec.Except); err != nil {
			return []fault{{"except", err}}
		}
	}
	if err := checkReferences(c.spec.Query, c.match); err != nil {
		return []fault{{"query", err}}
	}
	name := c.example(c.spec.Match)
	if name == "" {
		return faultf("match", "no name was found that it serves, to check the query with; write a simpler one")
	}
	query, err := c.expandQuery(c.spec.Query, name)
	if err != nil {
		return []fault{{"query", fmt.Errorf("for metric %q: %w", name, err)}}
	}
	_, faults := c.instantiate(name, query)
	for i := range faults {
		if faults[i].key == "query" {
			faults[i].err = fmt.Errorf("for metric %q: %w", name, faults[i].err)
		}
	}
	return faults
}

// expand is the pattern rule for one name that it serves.
func (c *compiled) expand(name string) (*Rule, error) {
	query, err := c.expandQuery(c.spec.Query, name)
	if err != nil {
		return nil, err
	}
	r, faults := c.instantiate(name, query)
	for _, f := range faults {
		return nil, f.err
	}
	return r, nil
}

// instantiate makes the Rule for a concrete metric and expression.
func (c *compiled) instantiate(metric, query string) (*Rule, []fault) {
	t, err := parse(query)
	if err != nil {
		return nil, []fault{{"query", err}}
	}
	r := newRule(c.spec, metric)
	if faults := c.inspect(r, t); len(faults) > 0 {
		return nil, faults
	}
	var apart []string // labels that tell what is asked for together
	if r.Namespaced {
		apart = append(apart, r.NamespaceLabel)
	}
	if r.ObjectLabel != "" {
		apart = append(apart, r.ObjectLabel)
	}
	r.shared = separable(t.root, apart)
	if r.expr, r.times, err = newExpressions(t, t.behind(r)); err != nil {
		return nil, []fault{{"query", err}}
	}
	return r, nil
}

func newRule(spec config.Rule, metric string) *Rule {
	r := &Rule{
		Metric: metric, Resource: spec.Resource, Name: spec.Name(), External: spec.External,
		Backend: spec.Backend, Window: spec.Window, Aggregate: spec.Aggregate, OnMissing: spec.OnMissing,
		AllowNegative: spec.AllowNegative, MaxAge: spec.MaxAge, Fallback: spec.Fallback,
		Namespace: spec.Namespace, NamespaceLabel: spec.Labels.Namespace, Namespaced: true,
	}
	switch {
	case spec.External:
	case spec.Resource == "namespaces":
		r.ObjectLabel, r.direct, r.Namespaced = spec.Labels.Namespace, true, false
	case spec.Labels.Object != "":
		r.ObjectLabel, r.direct = spec.Labels.Object, true
	case spec.Resource == "nodes":
		r.ObjectLabel, r.direct, r.Namespaced = spec.Labels.Node, true, false
	default:
		r.ObjectLabel = spec.Labels.Pod
	}
	if spec.Namespaced != nil {
		r.Namespaced = *spec.Namespaced
	}
	return r
}

// inspect reports what is wrong with an expression that parses.
func (c *compiled) inspect(r *Rule, t *tree) []fault {
	var faults []fault
	add := func(more []fault) { faults = append(faults, more...) }
	if !t.isVector() {
		add(faultf("query", "the result is a %s; an instant vector is needed", t.kind()))
		return faults
	}
	if len(t.selectors) == 0 {
		add(faultf("query", "reads no metric"))
		return faults
	}
	if err := checkMatchers(t, c.match != nil); err != nil {
		add([]fault{{"query", err}})
	}
	add(checkLabels(r, t))
	add(c.checkWindow(t))
	if c.spec.Backend == config.ScrapeBackend {
		add(c.checkEmbedded(t))
	}
	return faults
}

// checkLabels: the result must be able to name its object.
func checkLabels(r *Rule, t *tree) []fault {
	var wanted []string
	if !r.External && r.Namespaced {
		wanted = append(wanted, r.NamespaceLabel)
	}
	if r.ObjectLabel != "" {
		wanted = append(wanted, r.ObjectLabel)
	}
	for _, label := range wanted {
		if !t.mayHave(label) {
			return faultf("query", "the result has no label %s; aggregate by (%s)", label, strings.Join(wanted, ", "))
		}
	}
	return nil
}

func (c *compiled) checkWindow(t *tree) []fault {
	if t.windows == 0 {
		if c.spec.HasWindow {
			return faultf("window", "has no effect: the query does not use [$window]")
		}
		return nil
	}
	if c.spec.Backend == config.ScrapeBackend {
		return nil
	}
	if c.spec.Window.Auto {
		return faultf("window", "auto needs the backend %s; give a duration", config.ScrapeBackend)
	}
	if c.spec.Window.Duration == 0 && !c.spec.HasWindow {
		return faultf("window", "required: the query uses [$window], and auto needs the backend %s", config.ScrapeBackend)
	}
	return nil
}

// checkEmbedded: the embedded backend keeps only demanded families, and only so much of the past.
func (c *compiled) checkEmbedded(t *tree) []fault {
	for _, v := range t.selectors {
		if metricName(v) == "" {
			return faultf("query", "selector %s has no fixed metric name; the backend %s must know what to scrape",
				v, config.ScrapeBackend)
		}
	}
	if text := t.shifted(); text != "" {
		return faultf("query", "%s looks at another time than now; the backend %s keeps only the last %s",
			text, config.ScrapeBackend, formatRange(c.limits.maxWindow))
	}
	return c.checkRanges(t)
}

func (c *compiled) checkRanges(t *tree) []fault {
	l := c.limits
	shortest := 2 * l.interval // with fewer samples there is no rate
	widest := cmp.Or(c.spec.Window.Duration, l.maxWindow)
	if t.windows > 0 && (widest > l.maxWindow || widest < shortest) {
		return nil // window itself is at fault, which config reports
	}
	for _, r := range t.ranges {
		if r < shortest {
			return faultf("query", "range %s is shorter than two scrape intervals of %s",
				formatRange(r), formatRange(l.interval))
		}
	}
	for _, r := range t.reaches {
		if span := r.span(widest); span > l.maxWindow {
			return faultf("query", "looks back %s; maxWindow is %s", describeSpan(r, c.spec.Window, span),
				formatRange(l.maxWindow))
		}
	}
	return nil
}

func describeSpan(r reach, w Window, span time.Duration) string {
	text := formatRange(span)
	if w.Auto && r.windows > 0 {
		text += " where auto chooses the longest window"
	}
	return text
}
