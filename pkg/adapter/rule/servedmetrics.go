// From a metric family on the pages of pods to the API metrics that the rules compute from it.

package rule

import (
	"cmp"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/prometheus/common/model"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
)

// ServedMetric is a metric that a rule computes from a family.
type ServedMetric struct {
	// Metric is the name of the metric, Resource its resource; External marks an external metric, which has no resource.
	Metric, Resource string
	External         bool
	// Pattern reports that Metric is the pattern of a rule that reads the family under any name: the name decides something else.
	Pattern bool
}

// FamilyTypes returns the type that pages give to a family, and whether they have the family.
type FamilyTypes func(family string) (model.MetricType, bool)

// patternName is a metric name in the query of a pattern, and its uses.
type patternName struct {
	parts []templatePart // a fixed name has one
	uses  []familyUse    // whose types matter; their names are an example's
}

// templatePart is a text of a template and the group of match behind it; -1: none.
type templatePart struct {
	text  string
	group int
}

// metricNameTemplate matches the parts of a query that may be a metric name with references.
var metricNameTemplate = regexp.MustCompile(`(?:[a-zA-Z0-9_:.]|\$\{[^}]*\})*\$\{[^}]*\}(?:[a-zA-Z0-9_:.]|\$\{[^}]*\})*`)

// findPatternNames returns the metric names of a pattern's query, by the query of an example's name.
func (c *compiledRule) findPatternNames(example, query string) []patternName {
	t, err := parseRuleExpr(query)
	if err != nil {
		return nil
	}
	templates := map[string][]string{} // by the name that the example makes of them
	for _, template := range metricNameTemplate.FindAllString(c.spec.Query, -1) {
		if name, err := c.expandPatternQuery(template, example); err == nil && !slices.Contains(templates[name], template) {
			templates[name] = append(templates[name], template)
		}
	}
	uses := t.listRuleFamilyUses()
	var names []patternName
	for _, name := range t.listExprMetricNames() {
		template := name
		if len(templates[name]) == 1 {
			template = templates[name][0]
		}
		if len(templates[name]) < 2 { // else it is not known which
			own := slices.DeleteFunc(slices.Clone(uses), func(u familyUse) bool { return u.name != name })
			names = append(names, c.newPatternMetricName(template, own))
		}
	}
	return names
}

// listExprMetricNames returns the metric names that the selectors read, without duplicates.
func (t *exprTree) listExprMetricNames() []string {
	var names []string
	for _, v := range t.selectors {
		if name := findSelectorMetric(v); name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func (c *compiledRule) newPatternMetricName(template string, uses []familyUse) patternName {
	n := patternName{uses: uses}
	rest := 0
	for _, at := range referenceRegexp.FindAllStringSubmatchIndex(template, -1) {
		n.parts = append(n.parts, templatePart{template[rest:at[0]], findPatternGroup(c.match, template[at[2]:at[3]])})
		rest = at[1]
	}
	if rest < len(template) {
		n.parts = append(n.parts, templatePart{template[rest:], -1})
	}
	return n
}

// isFixedPatternName reports whether the name has no reference.
func (n *patternName) isFixedPatternName() bool { return n.parts[0].group < 0 }

// expandPatternName returns the name with the groups of a metric's name; empty if a group has another character than names have.
func (n *patternName) expandPatternName(groups []string) string {
	var b strings.Builder
	for _, p := range n.parts {
		b.WriteString(p.text)
		if p.group >= 0 {
			if !isPatternCapture(groups[p.group]) {
				return ""
			}
			b.WriteString(groups[p.group])
		}
	}
	return b.String()
}

// isPatternCapture is capturedTextRegexp, in a tenth of its time.
func isPatternCapture(text string) bool {
	for i := range len(text) {
		if c := text[i]; !isGrafanaVariableByte(c) && c != '.' && c != ':' {
			return false
		}
	}
	return true
}

// findPatternGroups returns the groups that make a sample's name of the template; nil without any. Of two groups side by side the first is as
// short as it may be: the caller checks the result.
func (n *patternName) findPatternGroups(sample string) map[int]string {
	groups := map[int]string{}
	for i, p := range n.parts {
		rest, ok := strings.CutPrefix(sample, p.text)
		if !ok {
			return nil
		}
		if sample = rest; p.group < 0 {
			continue
		}
		end := len(sample)
		switch {
		case i+2 == len(n.parts) && n.parts[i+1].group < 0:
			end = len(sample) - len(n.parts[i+1].text)
		case i+1 < len(n.parts):
			end = strings.Index(sample, n.parts[i+1].text)
		}
		if end < 0 {
			return nil
		}
		groups[p.group], sample = sample[:end], sample[end:]
	}
	if sample != "" {
		return nil
	}
	return groups
}

// MetricsOf returns the metrics that rules compute from a family on the pages of a namespace's pods: explicit ones first, each in the order
// of the configuration. types are those of all families on these pages.
func (s *Set) MetricsOf(namespace, family string, types FamilyTypes) []ServedMetric {
	var served []ServedMetric
	for _, c := range s.rules {
		if r := c.rule; r != nil && c.ruleReadsPodsOf(r, namespace) && slices.Contains(r.ReadFamilies(), family) {
			if _, conflicts := r.FindTypeConflict(types); !conflicts {
				served = append(served, ServedMetric{Metric: r.Metric, Resource: r.Resource, External: r.External})
			}
		}
	}
	first := map[string]*compiledRule{}
	for _, c := range s.rules {
		if c.example != nil && c.ruleReadsPodsOf(c.example, namespace) {
			served = append(served, s.listPatternMetrics(c, family, types, first)...)
		}
	}
	return served
}

// ruleReadsPodsOf reports whether a rule, or one of its pattern, reads the pages of a namespace's pods.
func (c *compiledRule) ruleReadsPodsOf(r *Rule, namespace string) bool {
	sources := r.SourceNamespaces(namespace)
	return r.Backend == config.ScrapeBackend && !r.HasTargets && (slices.Contains(sources, namespace) || slices.Contains(sources, ""))
}

// listPatternMetrics returns the metrics that a pattern computes from a family, and no rule before it. first has the first pattern that serves
// each sample's name. If it covers the name of a later pattern too, that pattern is for other families: it would serve x_total under the odd
// name x_total_per_second.
func (s *Set) listPatternMetrics(c *compiledRule, family string, types FamilyTypes, first map[string]*compiledRule) []ServedMetric {
	kind, _ := types(family)
	resource := c.spec.Resource
	var served []ServedMetric
	for i := range c.patternNames {
		n := &c.patternNames[i]
		for _, sample := range listFamilySampleNames(family, kind) {
			if n.isFixedPatternName() {
				if _, conflicts := n.findPatternFamily(sample, types); n.parts[0].text == sample && !conflicts {
					served = append(served, ServedMetric{c.spec.Match, resource, c.spec.External, true})
				}
				continue
			}
			for _, name := range c.listMetricsOfPatternName(n, sample) {
				m := ServedMetric{Metric: name, Resource: resource, External: c.spec.External}
				before := first[sample]
				isOdd := before != nil && before != c && before.spec.Resource == resource && before.ruleServesMetricName(name)
				if !isOdd && !slices.Contains(served, m) && s.findServingPattern(resource, name, types) == c {
					first[sample] = cmp.Or(before, c)
					served = append(served, m)
				}
			}
		}
	}
	return served
}

// listFamilySampleNames returns the names of the samples that a family of a type has.
func listFamilySampleNames(family string, kind model.MetricType) []string {
	names := []string{family}
	if kind == model.MetricTypeHistogram || kind == model.MetricTypeSummary { // those of a gauge histogram have other endings
		for _, ending := range histogramEndings {
			names = append(names, family+ending)
		}
	}
	return names
}

// listMetricsOfPatternName returns the names of metrics for which the pattern reads a sample's name.
func (c *compiledRule) listMetricsOfPatternName(n *patternName, sample string) []string {
	groups := n.findPatternGroups(sample)
	if groups == nil {
		return nil
	}
	names, _ := fillPatternGroups(c.matchSyntax, groups)
	return slices.DeleteFunc(names, func(name string) bool {
		found := c.findNameGroups(name)
		return found == nil || n.expandPatternName(found) != sample
	})
}

// findNameGroups returns the groups of match in a metric's name; nil if the pattern does not serve it.
func (c *compiledRule) findNameGroups(name string) []string {
	if len(name) > maxExampleNameBytes || c.except != nil && c.except.MatchString(name) {
		return nil
	}
	return c.match.FindStringSubmatch(name)
}

// fillPatternGroups returns the texts that match re with these texts in its groups, as long as they are few. ok is false if they are not known.
func fillPatternGroups(re *syntax.Regexp, groups map[int]string) (texts []string, ok bool) {
	switch re.Op {
	case syntax.OpCapture:
		if text, known := groups[re.Cap]; known {
			return []string{text}, true
		}
		return fillPatternGroups(re.Sub[0], groups)
	case syntax.OpConcat:
		texts = []string{""}
		for _, sub := range re.Sub {
			more, ok := fillPatternGroups(sub, groups)
			if !ok || len(texts)*len(more) > maxEndings {
				return nil, false
			}
			texts = joinPatternEndings(texts, more)
		}
		return texts, true
	}
	return listPatternEndings(re)
}

// findServingPattern returns the first pattern that computes a metric of a resource from these pages; nil if another rule does, or none.
func (s *Set) findServingPattern(resource, name string, types FamilyTypes) *compiledRule {
	if slices.ContainsFunc(s.rules, func(c *compiledRule) bool {
		return c.rule != nil && c.rule.Resource == resource && c.rule.Metric == name
	}) {
		return nil
	}
	first := true
	for _, c := range s.rules {
		if c.example == nil || c.spec.Resource != resource {
			continue
		}
		groups := c.findNameGroups(name)
		if groups == nil {
			continue
		}
		embedded := c.spec.Backend == config.ScrapeBackend
		if first && !embedded { // no other rule is tried
			return nil
		}
		if embedded && c.exprFindsFamilies(name, groups, types) {
			return c
		}
		if first = false; c.spec.External { // likewise
			return nil
		}
	}
	return nil
}

// exprFindsFamilies reports whether pages have a family that the pattern reads for a metric, and none of another type than it needs.
func (c *compiledRule) exprFindsFamilies(metric string, groups []string, types FamilyTypes) bool {
	found := false
	for i := range c.patternNames {
		n := &c.patternNames[i]
		sample := n.expandPatternName(groups)
		if sample == "" {
			return false
		}
		ok, conflicts := n.findPatternFamily(sample, types)
		if conflicts {
			return false
		}
		found = found || ok
	}
	if found && !model.LegacyValidation.IsValidMetricName(metric) { // a bare name in a query has no dots
		_, err := c.expandPatternRule(metric)
		return err == nil
	}
	return found
}

// findPatternFamily reports whether pages have the family of a sample's name, and whether it has another type than the uses need.
func (n *patternName) findPatternFamily(sample string, types FamilyTypes) (found, conflicts bool) {
	family, kind, ok := findRuleFamilyOfSample(sample, types)
	if !ok {
		return false, false
	}
	kind = guessFamilyTypeByUse(kind, sample, family)
	for _, u := range n.uses {
		u.name, u.addsBuckets = sample, u.addsBounds && isBucketName(sample)
		conflicts = conflicts || u.conflictsWithFamily(kind, family)
	}
	return true, conflicts
}

// findRuleFamilyOfSample returns the family on the pages that may own a sample's name.
func findRuleFamilyOfSample(sample string, types FamilyTypes) (family string, kind model.MetricType, ok bool) {
	if kind, ok = types(sample); ok {
		return sample, kind, true
	}
	for _, ending := range histogramEndings {
		if base, cut := strings.CutSuffix(sample, ending); cut && base != "" {
			kind, ok = types(base)
			return base, kind, ok
		}
	}
	return "", "", false
}
