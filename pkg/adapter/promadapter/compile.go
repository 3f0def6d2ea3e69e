package promadapter

import (
	"errors"
	"fmt"
	"regexp"
	"text/template"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// compiledRuleText is what a rule's text means.
type compiledRuleText struct {
	selector      seriesSelector
	filters       []compiledFilter
	matches       *regexp.Regexp
	metricAs      string
	labelTemplate *labelTemplate     // nil: none
	metricsQuery  *template.Template // nil: none
	// queryErr says why no read of the rule can be answered, although the file loads; nil if that is not certain.
	queryErr error
	// warnings are what is odd about the rule, though served.
	warnings []string
}

// compiledFilter is a compiled Filter.
type compiledFilter struct {
	re        *regexp.Regexp
	mustMatch bool
}

// servesSeries tells whether series of that name belong to the rule.
func (c *compiledRuleText) servesSeries(name string) bool {
	for _, f := range c.filters {
		if f.re.MatchString(name) != f.mustMatch {
			return false
		}
	}
	return c.selector.admitsName(name) && c.matches.MatchString(name)
}

// expandMetricName is the API's name for a series that passes.
func (c *compiledRuleText) expandMetricName(series string) string {
	m := c.matches.FindStringSubmatchIndex(series)
	if m == nil {
		return ""
	}
	return string(c.matches.ExpandString(nil, c.metricAs, series, m))
}

func (d *lenientDecoder) compileAllRules(c *Config) {
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

func (d *lenientDecoder) compileSeriesRule(r *Rule) {
	if d.failed[r.path] {
		return // not even a mapping
	}
	c := &r.compiled
	var err error
	switch c.selector, err = parseSeriesSelector(r.SeriesQuery); {
	case d.failedWithin[r.path+".seriesQuery"]:
	case r.SeriesQuery == "":
		d.addFault(r.path+".seriesQuery", "required: a series selector")
	case err != nil:
		d.addFault(r.path+".seriesQuery", "is no series selector: %v", err)
	}
	for i, f := range r.SeriesFilters {
		d.compileSeriesFilter(strict.IndexPath(r.path+".seriesFilters", i), f, c)
	}
	d.compileNameMapping(r)
	c.labelTemplate = d.compileLabelTemplate(r.path+".resources", r.Resources)
	if c.metricsQuery = d.compileQueryTemplate(r.path+".metricsQuery", r.MetricsQuery); c.metricsQuery == nil {
		c.queryErr = errors.New("metricsQuery: missing")
	} else if _, err := r.renderQuery(r.exampleRequest()); err != nil {
		c.queryErr = fmt.Errorf("metricsQuery: %w", err)
	}
	if c.selector.onlyName != "" && c.matches != nil && !c.servesSeries(c.selector.onlyName) {
		c.warnings = append(c.warnings, fmt.Sprintf("serves nothing: its filters exclude %s, the only series that it finds", c.selector.onlyName))
	}
}

// exampleRequest is a question like those that will be asked, but for its names.
func (r *Rule) exampleRequest() queryRequest {
	q := queryRequest{series: "example", namespaceLabel: "namespace", namespace: "example"}
	if !r.external {
		q.objectLabel, q.objects, q.groupBy = "pod", []string{"example"}, []string{"pod"}
	}
	return q
}

func (d *lenientDecoder) compileSeriesFilter(path string, f SeriesFilter, c *compiledRuleText) {
	key, expr := "is", f.Is
	if f.IsNot != "" {
		key, expr = "isNot", f.IsNot
	}
	switch {
	case d.failedWithin[path]:
		return
	case f.Is != "" && f.IsNot != "":
		d.addFault(path, "has both is and isNot; write two filters")
		return
	case expr == "":
		d.addFault(path, "has neither is nor isNot")
		return
	}
	if re := d.compileRegexp(path+"."+key, expr); re != nil {
		c.filters = append(c.filters, compiledFilter{re, key == "is"})
	}
}

func (d *lenientDecoder) compileRegexp(path, expr string) *regexp.Regexp {
	re, err := regexp.Compile(expr)
	if err != nil {
		d.addFault(path, "is no regular expression: %s", formatRegexpError(err))
		return nil
	}
	return re
}

// anyNameRegexp is what name.matches means where it is empty.
var anyNameRegexp = regexp.MustCompile(".*")

func (d *lenientDecoder) compileNameMapping(r *Rule) {
	c, path := &r.compiled, r.path+".name"
	c.matches, c.metricAs = anyNameRegexp, r.Name.As
	if r.Name.Matches != "" {
		if c.matches = d.compileRegexp(path+".matches", r.Name.Matches); c.matches == nil {
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
			d.addFault(path+".as", "required: name.matches has %d groups", n)
		}
		return
	}
	for _, ref := range groupReferenceRegexp.FindAllStringSubmatch(c.metricAs, -1) {
		if name := ref[1] + ref[2]; ref[0] != "$$" && !hasCaptureGroup(c.matches, name) {
			c.warnings = append(c.warnings, fmt.Sprintf("name.as: %s refers to no group of name.matches, and stands for nothing", ref[0]))
		}
	}
}

// groupReferenceRegexp is a reference in name.as: $name takes as many letters, digits and underscores as there are.
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
			d.addFault(path+".overrides", "has a label without a name")
		case o.Resource == "" && !d.failedWithin[at]:
			d.addFault(at+".resource", "required: the resource that the label names objects of")
		}
	}
	if m.Template == "" || d.failedWithin[path+".template"] {
		return nil
	}
	t, err := parseLabelTemplate(m.Template)
	if err != nil {
		d.addFault(path+".template", "%v", err)
		return nil
	}
	return t
}

// compileQueryTemplate is the template, or nil if there is none.
func (d *lenientDecoder) compileQueryTemplate(path, text string) *template.Template {
	if text == "" {
		return nil
	}
	t, err := parseTemplate("metricsQuery", text)
	if err != nil {
		d.addFault(path, "is no template: %v", err)
		return nil
	}
	return t
}

func (d *lenientDecoder) compileUsageTemplates(r *ResourceRule) {
	r.labelTemplate = d.compileLabelTemplate(r.path+".resources", r.Resources)
	r.containerTemplate = d.compileQueryTemplate(r.path+".containerQuery", r.ContainerQuery)
	r.nodeTemplate = d.compileQueryTemplate(r.path+".nodeQuery", r.NodeQuery)
}
