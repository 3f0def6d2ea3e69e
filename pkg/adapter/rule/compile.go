// Compile: the rules of a configuration become a Set, or a list of faults with their paths.

package rule

import (
	"cmp"
	"context"
	"fmt"
	"regexp/syntax"
	"slices"
	"strings"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
)

// compiledRule is a rule of the configuration: explicit with its Rule, or a pattern.
type compiledRule struct {
	spec    config.Rule
	limits  embeddedLimits
	rule    *Rule // nil in a pattern rule
	builtin bool
	namePattern

	// Of a pattern rule: the syntax of match, a Rule of an example's name, and the metric names in the query.
	matchSyntax  *syntax.Regexp
	example      *Rule
	patternNames []patternName
}

// embeddedLimits are the settings of the configuration that bound expressions on the embedded backend.
type embeddedLimits struct {
	interval, maxWindow time.Duration
	// hasTargets reports whether rules have targets of their own: other rules must not read the series of these.
	hasTargets bool
}

// Compile compiles the rules of a configuration, or the built-in rules if it has none. The error is config.Faults
// with every fault and its path.
func Compile(cfg *config.Config) (*Set, error) {
	return CompileContext(context.Background(), cfg)
}

// CompileContext is Compile with trial evaluations that end with ctx. A trial that is cut short finds no fault.
func CompileContext(ctx context.Context, cfg *config.Config) (*Set, error) {
	s, faults := compileRuleSet(ctx, cfg)
	if err := faults.Err(); err != nil {
		return nil, err
	}
	return s, nil
}

func compileRuleSet(ctx context.Context, cfg *config.Config) (*Set, config.Faults) {
	rules := cfg.Rules
	if !cfg.HasRules {
		rules = loadBuiltinRules(cfg)
	}
	var faults config.Faults
	s := &Set{expanded: newRuleCache()}
	hasTargets := slices.ContainsFunc(rules, func(r config.Rule) bool { return r.Targets != nil })
	limits := embeddedLimits{interval: cfg.Scrape.Interval, maxWindow: cfg.MaxWindow, hasTargets: hasTargets}
	for i, spec := range rules {
		c, keyErrors := compileRuleSpec(ctx, spec, limits, !cfg.HasRules)
		for _, e := range keyErrors {
			path := config.RulePath(i) + "." + e.key
			faults = append(faults, config.Fault{Path: path, Line: cfg.Line(path), Message: e.err.Error()})
		}
		s.rules = append(s.rules, c)
	}
	return s, faults
}

// keyError is a fault of the value of a rule's key.
type keyError struct {
	key string
	err error
}

// newKeyErrorsf returns a list with a single error.
func newKeyErrorsf(key, format string, args ...any) []keyError {
	return []keyError{{key, fmt.Errorf(format, args...)}}
}

// compileRuleSpec compiles a rule. It skips a rule without query or name, which config reports.
func compileRuleSpec(ctx context.Context, spec config.Rule, l embeddedLimits, builtin bool) (*compiledRule, []keyError) {
	c := &compiledRule{spec: spec, limits: l, builtin: builtin}
	if spec.Query == "" || spec.Metric == "" && spec.Match == "" {
		return c, nil
	}
	if spec.Match == "" {
		r, faults := c.instantiateRule(spec.Metric, spec.Query)
		c.rule = r
		return c, append(faults, c.tryRuleExpression(ctx, r)...)
	}
	return c, c.compilePatternRule(ctx)
}

// compilePatternRule checks the query with an example name, because a pattern has no name of its own.
func (c *compiledRule) compilePatternRule(ctx context.Context) []keyError {
	var err error
	if c.match, err = compileNamePattern(c.spec.Match); err != nil {
		return newKeyErrorsf("match", "is not a regular expression: %w", err)
	}
	if c.matchSyntax, err = syntax.Parse(c.match.String(), syntax.Perl); err != nil {
		return newKeyErrorsf("match", "is not a regular expression: %w", err)
	}
	if c.spec.Except != "" {
		if c.except, err = compileNamePattern(c.spec.Except); err != nil {
			return newKeyErrorsf("except", "is not a regular expression: %w", err)
		}
	}
	if err := validateRulePatternReferences(c.spec.Query, c.match); err != nil {
		return []keyError{{"query", err}}
	}
	name := c.makePatternMetricName(c.spec.Match)
	if _, none := c.searchPatternMetricName(); name == "" && none {
		return newKeyErrorsf("match", "serves no name of a metric; correct match or except")
	}
	if name == "" {
		return newKeyErrorsf("match", "found no metric name that it serves, to check the query with; write a simpler pattern")
	}
	query, err := c.expandPatternQuery(c.spec.Query, name)
	if err != nil {
		return []keyError{{"query", fmt.Errorf("for metric %q: %w", name, err)}}
	}
	r, faults := c.instantiateRule(name, query)
	if r != nil {
		c.example, c.patternNames = r, c.findPatternNames(name, query)
	}
	faults = append(faults, c.tryRuleExpression(ctx, r)...)
	for i := range faults {
		if faults[i].key == "query" {
			faults[i].err = fmt.Errorf("for metric %q: %w", name, faults[i].err)
		}
	}
	return faults
}

// expandPatternRule returns the Rule of a pattern for a name that it serves.
func (c *compiledRule) expandPatternRule(name string) (*Rule, error) {
	query, err := c.expandPatternQuery(c.spec.Query, name)
	if err != nil {
		return nil, err
	}
	r, faults := c.instantiateRule(name, query)
	for _, f := range faults {
		return nil, f.err
	}
	return r, nil
}

// instantiateRule returns the Rule of a concrete metric and expression.
func (c *compiledRule) instantiateRule(metric, query string) (*Rule, []keyError) {
	t, err := parseRuleExpr(query)
	if err != nil {
		return nil, newKeyErrorsf("query", "%s", explainParseError(err.Error(), query))
	}
	r := newRuleFromSpec(c.spec, metric)
	r.skipsTargets = c.limits.hasTargets && !r.HasTargets && !r.Namespaced && r.Backend == config.ScrapeBackend
	if faults := c.validateRuleExpression(r, t); len(faults) > 0 {
		return nil, faults
	}
	var distinguishing []string // the labels that tell the objects of one evaluation apart
	if r.Namespaced {
		distinguishing = append(distinguishing, r.NamespaceLabel)
	}
	if r.ObjectLabel != "" {
		distinguishing = append(distinguishing, r.ObjectLabel)
	}
	if c.match != nil || c.builtin {
		r.familyUses = t.listRuleFamilyUses()
	}
	if c.match != nil && !c.spec.HasAggregate && r.PerPod() {
		r.NonAdditive = findNonAdditiveGauge(r.familyUses)
	}
	if r.NonAdditive != "" {
		t.root = stripPlainSums(t.root)
	}
	if r.External {
		r.SeriesKind = nameNonAdditiveSum(t.root)
	}
	if r.External && !r.Namespaced && !c.spec.HasFrom() {
		r.Namespaces, r.ownNamespaces = t.listSelectorNamespaces(r.NamespaceLabel)
	}
	r.shared, r.conserves, r.cost = isShareableExpr(t.root, distinguishing), exprConservesCounts(t.root), measureExprCost(t.root)
	r.filters = t.filtersExprResults()
	if r.presence, err = newPresenceRule(r, t); err != nil {
		return nil, []keyError{{"query", err}}
	}
	if r.expr, r.timesExpr, err = newRuleExpressions(t, r); err != nil {
		return nil, []keyError{{"query", err}}
	}
	if r.External && !c.spec.External {
		return newTargetObjectsRule(c.spec, r), nil
	}
	return r, nil
}

// newTargetObjectsRule returns the rule of a metric of objects from the rule over the series of all of them.
func newTargetObjectsRule(spec config.Rule, series *Rule) *Rule {
	r := *series
	r.Resource, r.External, r.namesObjects = spec.Resource, false, true
	r.Series, r.TargetLabels = series, spec.Labels
	return &r
}

func newRuleFromSpec(spec config.Rule, metric string) *Rule {
	r := &Rule{
		Metric: metric, Resource: spec.Resource, Name: spec.Name(), External: spec.External || spec.Targets != nil,
		Backend: spec.Backend, Window: spec.Window, Aggregate: spec.Aggregate, OnMissing: spec.OnMissing,
		AllowNegative: spec.AllowNegative, MaxAge: spec.MaxAge, Fallback: spec.Fallback,
		WhenNoPods: spec.WhenNoPods, HasTargets: spec.Targets != nil,
		Namespaces: spec.SourceNamespaces(), NamespaceLabel: spec.Labels.Namespace, Namespaced: true,
	}
	switch {
	case spec.Targets != nil:
		r.Resource, r.NamespaceLabel = "", config.DefaultLabels().Namespace
	case spec.External:
	case spec.Resource == "namespaces":
		r.ObjectLabel, r.namesObjects, r.Namespaced = spec.Labels.Namespace, true, false
	case spec.Labels.Object != "":
		r.ObjectLabel, r.namesObjects = spec.Labels.Object, true
	case spec.Resource == "nodes":
		r.ObjectLabel, r.namesObjects, r.Namespaced = spec.Labels.Node, true, false
	default:
		r.ObjectLabel = spec.Labels.Pod
	}
	if spec.Namespaced != nil {
		r.Namespaced = *spec.Namespaced
	}
	return r
}

// validateRuleExpression returns the faults of an expression that parses.
func (c *compiledRule) validateRuleExpression(r *Rule, t *exprTree) []keyError {
	var faults []keyError
	add := func(more []keyError) { faults = append(faults, more...) }
	if !t.isInstantVector() {
		add(newKeyErrorsf("query", "%s", t.describeResultKind()))
		return faults
	}
	if len(t.selectors) == 0 {
		add(newKeyErrorsf("query", "reads no metric; name one, such as http_requests_total"))
		return faults
	}
	if err := validateRuleMatchers(t, c.match != nil); err != nil {
		add([]keyError{{"query", err}})
	}
	var objectLabels []string
	if c.spec.Targets != nil && !c.spec.External {
		objectLabels = []string{c.spec.Labels.Namespace, c.spec.Labels.Object}
	}
	if err := t.findNeverMatching(r.listCertainExprLabels(objectLabels...)); err != nil {
		add([]keyError{{"query", err}})
	} else {
		add(validateResultLabels(r, t))
	}
	add(c.validateRuleSources(r, t))
	add(c.validateRuleWindow(t))
	if c.spec.Backend == config.ScrapeBackend {
		add(c.validateEmbeddedLimits(t))
	}
	if len(faults) == 0 {
		err := cmp.Or(t.findNeverWorking(r.listCertainExprLabels()...), t.findLabelLostByExpr(r.listWantedLabels()),
			t.findNoNumberReason(r.AllowNegative))
		if err != nil {
			add(newKeyErrorsf("query", "%s", strings.ReplaceAll(err.Error(), sentinelPrinted, windowVariable)))
		}
		add(c.validateRuleAggregate(r, t))
	}
	return faults
}

// validateResultLabels rejects an expression with a result that cannot name its object.
func validateResultLabels(r *Rule, t *exprTree) []keyError {
	wanted := r.listWantedLabels()
	for _, label := range wanted {
		if !t.exprResultMayHaveLabel(label) {
			return newKeyErrorsf("query", "the result has no label %s; aggregate by (%s)", label, strings.Join(wanted, ", "))
		}
		if err := rejectAlternativeWithout(t, label, wanted); err != nil {
			return []keyError{{"query", err}}
		}
	}
	return nil
}

// listWantedLabels returns the labels that a result needs to name its object.
func (r *Rule) listWantedLabels() []string {
	var wanted []string
	if !r.External && r.Namespaced {
		wanted = append(wanted, r.NamespaceLabel)
	}
	if r.ObjectLabel != "" {
		wanted = append(wanted, r.ObjectLabel)
	}
	return wanted
}

// listCertainExprLabels returns the labels that all series have, because the scraper or the adapter's matchers set them. objectLabels are those of
// a rule with targets of its own.
func (r *Rule) listCertainExprLabels(objectLabels ...string) []string {
	if r.Backend == config.ScrapeBackend {
		own := config.DefaultLabels()
		return append([]string{own.Namespace, own.Pod}, objectLabels...)
	}
	var certain []string
	if r.Namespaced && !r.External {
		certain = append(certain, r.NamespaceLabel)
	}
	if r.ObjectLabel != "" {
		certain = append(certain, r.ObjectLabel)
	}
	return certain
}

// validateRuleAggregate rejects a rule that would add up values of pods that do not add up, unless its author chose so.
func (c *compiledRule) validateRuleAggregate(r *Rule, t *exprTree) []keyError {
	if c.spec.HasAggregate || !r.PerPod() {
		return nil
	}
	if what := nameNonAdditiveValues(t.root, c.match == nil); what != "" {
		return newKeyErrorsf("aggregate", "required, because the query gives %s for each pod, and those do not add up; "+
			"write max or avg (or sum, if it is meant)", what)
	}
	return nil
}

func (c *compiledRule) validateRuleWindow(t *exprTree) []keyError {
	if t.windowCount == 0 {
		if c.spec.HasWindow {
			return newKeyErrorsf("window", "has no effect: the query does not use [$window]")
		}
		return nil
	}
	if c.spec.Backend == config.ScrapeBackend {
		return nil
	}
	if c.spec.Window.Auto {
		return newKeyErrorsf("window", "auto needs the backend %s; give a duration", config.ScrapeBackend)
	}
	if c.spec.Window.Duration == 0 && !c.spec.HasWindow {
		return newKeyErrorsf("window", "required: the query uses [$window], and auto needs the backend %s", config.ScrapeBackend)
	}
	return nil
}

// validateEmbeddedLimits rejects expressions beyond the embedded backend, which keeps only demanded families and a short
// past.
func (c *compiledRule) validateEmbeddedLimits(t *exprTree) []keyError {
	for _, v := range t.selectors {
		if findSelectorMetric(v) == "" {
			return newKeyErrorsf("query", "selector %s has no fixed metric name; the backend %s must know the family to scrape: write a selector for each metric",
				v, config.ScrapeBackend)
		}
	}
	if text := t.findNativeHistogramCall(); text != "" {
		return newKeyErrorsf("query", "%s reads native histograms, which pages do not have; divide the rates of _sum and _count, "+
			"or use one of backends", text)
	}
	if why := cmp.Or(t.explainMissingBuckets(c.match == nil), t.describeUnwrittenNumber()); why != "" {
		return newKeyErrorsf("query", "%s", why)
	}
	if text := t.findShiftedSelector(); text != "" {
		return newKeyErrorsf("query", "%s looks at another time than now; the backend %s keeps only the last %s: remove offset and @, or use one of backends",
			text, config.ScrapeBackend, formatPromQLRange(c.limits.maxWindow))
	}
	if text := t.findCoarseSubquery(cmp.Or(c.spec.Window.Duration, 2*c.limits.interval)); text != "" {
		return newKeyErrorsf("query", "%s", text)
	}
	if t.countSubquerySteps(c.limits.maxWindow, c.limits.interval, maxRuleSteps) > maxRuleSteps {
		return newKeyErrorsf("query", "nested subqueries of more than %d steps together keep a reader waiting; make them shorter or coarser", maxRuleSteps)
	}
	if faults := validateMadeLabels(t); len(faults) > 0 {
		return faults
	}
	return c.validateRuleRanges(t)
}

func (c *compiledRule) validateRuleRanges(t *exprTree) []keyError {
	l := c.limits
	shortest := 2 * l.interval // fewer samples give no rate
	widest := cmp.Or(c.spec.Window.Duration, l.maxWindow)
	if t.windowCount > 0 && (widest > l.maxWindow || widest < shortest) {
		return nil // config reports the fault of the window itself
	}
	for _, r := range t.ranges {
		if r < shortest {
			return newKeyErrorsf("query", "range %s is shorter than two scrape intervals of %s: lengthen it",
				formatPromQLRange(r), formatPromQLRange(l.interval))
		}
	}
	for _, r := range t.reaches {
		if span := r.computeExprTotalSpan(widest); span > l.maxWindow {
			return newKeyErrorsf("query", "looks back %s; maxWindow is %s: shorten the range, or raise maxWindow", describeRuleSpan(r, c.spec.Window, span),
				formatPromQLRange(l.maxWindow))
		}
	}
	return nil
}

func describeRuleSpan(r selectorReach, w config.Window, span time.Duration) string {
	text := formatPromQLRange(span)
	if w.Auto && r.windowCount > 0 {
		text += " if auto chooses the longest window"
	}
	return text
}
