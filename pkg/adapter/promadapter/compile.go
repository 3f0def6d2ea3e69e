// Compilation of a decoded file: selectors, regular expressions and templates, with a fault for each that is invalid.

package promadapter

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	template "github.com/DataDog/datadog-agent/pkg/template/text"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// compiledSeriesRule is the compiled text of a rule.
type compiledSeriesRule struct {
	selector      seriesQuerySelector
	filters       []compiledFilter
	matches       *regexp.Regexp
	metricAs      string
	labelTemplate *labelTemplate     // nil: none
	metricsQuery  *template.Template // nil: none
	report        RuleReport
}

// compiledFilter is a compiled SeriesFilter.
type compiledFilter struct {
	re        *regexp.Regexp
	mustMatch bool
}

func (c *compiledSeriesRule) servesSeriesName(name string) bool {
	for _, f := range c.filters {
		if f.re.MatchString(name) != f.mustMatch {
			return false
		}
	}
	return c.selector.admitsSeriesName(name) && c.matches.MatchString(name)
}

// classicNameRegexp matches names that stand in PromQL without quotes.
var classicNameRegexp = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*$`)

// mayHoldSeriesName reports whether a template may hold the name of a series. Templates put names into the query as
// they are, so that a name of other characters would be a part of the query: whoever runs a pod could read the series of every
// namespace. A name that the seriesQuery itself spells out is its author's.
func (c *compiledSeriesRule) mayHoldSeriesName(name string) bool {
	return classicNameRegexp.MatchString(name) || slices.ContainsFunc(c.selector.matchers, func(m *labels.Matcher) bool {
		return m.Name == model.MetricNameLabel && (m.Type == labels.MatchEqual && m.Value == name ||
			m.Type == labels.MatchRegexp && slices.Contains(m.SetMatches(), name))
	})
}

// expandMetricNameAs returns the metric name of a series. It is empty if name.matches does not match.
func (c *compiledSeriesRule) expandMetricNameAs(series string) string {
	m := c.matches.FindStringSubmatchIndex(series)
	if m == nil {
		return ""
	}
	return string(c.matches.ExpandString(nil, c.metricAs, series, m))
}

func (d *lenientDecoder) compileConfigRules(c *Config) {
	for i := range c.Rules {
		d.compileSeriesRule(&c.Rules[i])
	}
	for i := range c.ExternalRules {
		d.compileSeriesRule(&c.ExternalRules[i])
	}
	if c.ResourceRules != nil {
		d.compileUsageTemplates(&c.ResourceRules.CPU)
		d.compileUsageTemplates(&c.ResourceRules.Memory)
	}
}

func (d *lenientDecoder) compileSeriesRule(r *SeriesRule) {
	if d.failed[r.path] {
		return // not a mapping
	}
	c := &r.compiled
	if !d.failedWithin[r.path+".seriesQuery"] {
		d.compileSeriesQuery(r)
	}
	for i, f := range r.SeriesFilters {
		d.compileSeriesFilter(strict.IndexPath(r.path+".seriesFilters", i), f, c)
	}
	d.compileNameMapping(r)
	c.labelTemplate = d.compileLabelTemplate(r.path+".resources", r.Resources)
	c.metricsQuery = d.compileQueryTemplate(r.path+".metricsQuery", r.MetricsQuery)
	if !d.failedWithin[r.path] && c.selectsSeries() {
		d.checkSeriesRule(r)
	}
}

// compileSeriesQuery parses the selector of a rule. A fault is the rule's alone: prometheus-adapter starts, and serves its other lists of
// rules.
func (d *lenientDecoder) compileSeriesQuery(r *SeriesRule) {
	c := seriesRuleChecker{&r.compiled.report, d.lines}
	var err error
	switch r.compiled.selector, err = parseSeriesQuery(r.SeriesQuery); {
	case r.SeriesQuery == "":
		c.addSeriesRuleFault(r.path+".seriesQuery", "required: a series selector")
	case err != nil:
		c.addSeriesRuleFault(r.path+".seriesQuery", "is not a series selector: %v", err)
	}
}

// selectsSeries reports whether the seriesQuery is a selector.
func (c *compiledSeriesRule) selectsSeries() bool { return len(c.selector.matchers) > 0 }

func (d *lenientDecoder) compileSeriesFilter(path string, f SeriesFilter, c *compiledSeriesRule) {
	key, expr := "is", f.Is
	if f.IsNot != "" {
		key, expr = "isNot", f.IsNot
	}
	switch {
	case d.failedWithin[path]:
		return
	case f.Is != "" && f.IsNot != "":
		d.addLenientFault(path, "has both is and isNot; write two filters")
		return
	case expr == "":
		d.addLenientFault(path, "has neither is nor isNot; set is or isNot")
		return
	}
	if re := d.compileRuleRegexp(path+"."+key, expr); re != nil {
		c.filters = append(c.filters, compiledFilter{re, key == "is"})
	}
}

func (d *lenientDecoder) compileRuleRegexp(path, expr string) *regexp.Regexp {
	re, err := regexp.Compile(expr)
	if err != nil {
		remedy := ""
		if strings.Contains(expr, "(?!") || strings.Contains(expr, "(?<!") {
			remedy = "; exclude series by seriesFilters with isNot"
		}
		d.addLenientFault(path, "is not a regular expression: %s%s", formatRegexpError(err), remedy)
		return nil
	}
	return re
}

// anyNameRegexp is the default of name.matches.
var anyNameRegexp = regexp.MustCompile(".*")

func (d *lenientDecoder) compileNameMapping(r *SeriesRule) {
	c, path := &r.compiled, r.path+".name"
	c.matches, c.metricAs = anyNameRegexp, r.Name.As
	if r.Name.Matches != "" {
		if c.matches = d.compileRuleRegexp(path+".matches", r.Name.Matches); c.matches == nil {
			return
		}
	}
	if c.metricAs == "" {
		switch n := c.matches.NumSubexp(); n {
		case 0:
			c.metricAs = "$0"
		case 1:
			c.metricAs = "$1"
		default:
			d.addLenientFault(path+".as", "required, because name.matches has %d groups", n)
		}
	}
}

// groupReferenceRegexp matches a reference in name.as. A $name extends over all letters, digits and underscores that follow.
var groupReferenceRegexp = regexp.MustCompile(`\$(?:\$|(\w+)|\{(\w+)\})`)

func hasCaptureGroup(re *regexp.Regexp, name string) bool {
	for i := range re.NumSubexp() + 1 {
		if name == fmt.Sprint(i) {
			return true
		}
	}
	return re.SubexpIndex(name) >= 0
}

func (d *lenientDecoder) compileLabelTemplate(path string, m ResourceMapping) *labelTemplate {
	for _, o := range m.Overrides {
		at := path + ".overrides." + o.Label
		switch {
		case o.Label == "":
			d.addLenientFault(path+".overrides", "has a label with an empty name")
		case o.Resource == "" && !d.failedWithin[at]:
			d.addLenientFault(at+".resource", "required: the resource of the label's objects")
		case strings.Contains(o.Group, "/") && !d.failedWithin[at]:
			group, _, _ := strings.Cut(o.Group, "/")
			d.addLenientFault(at+".group", "%s is a group with a version, which no resource has; write %s", strict.Quote(o.Group), group)
		}
	}
	if m.Template == "" || d.failedWithin[path+".template"] {
		return nil
	}
	t, err := parseLabelTemplate(m.Template)
	if err != nil {
		d.addLenientFault(path+".template", "%v", err)
		return nil
	}
	return t
}

// compileQueryTemplate returns the template, or nil if text is empty or invalid.
func (d *lenientDecoder) compileQueryTemplate(path, text string) *template.Template {
	if text == "" {
		return nil
	}
	t, err := parseSeriesRuleTemplate("metricsQuery", text)
	if err != nil {
		remedy := ""
		if strings.Count(text, "<<") > strings.Count(text, ">>") {
			remedy = "; close each << with >>"
		}
		d.addLenientFault(path, "is not a template: %v%s", err, remedy)
		return nil
	}
	return t
}

func (d *lenientDecoder) compileUsageTemplates(r *ResourceRule) {
	r.labelTemplate = d.compileLabelTemplate(r.path+".resources", r.Resources)
	r.containerTemplate = d.compileQueryTemplate(r.path+".containerQuery", r.ContainerQuery)
	r.nodeTemplate = d.compileQueryTemplate(r.path+".nodeQuery", r.NodeQuery)
	if !d.failedWithin[r.path] {
		d.checkUsageRule(r)
	}
}
