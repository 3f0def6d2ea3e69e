package promadapter

import (
	"errors"
	"fmt"
	"regexp"
	"text/template"
)

// compiled is what a rule's text means.
type compiled struct {
	selector selector
	filters  []filter
	matches  *regexp.Regexp
	as       string
	labels   *labelTemplate     // nil: none
	query    *template.Template // nil: none
	// broken says why no read of the rule can be answered, although the file loads; nil if that is not certain.
	broken error
	// hints are what is odd about the rule, though served.
	hints []string
}

// filter is a compiled Filter.
type filter struct {
	re   *regexp.Regexp
	want bool
}

// passes tells whether series of that name belong to the rule.
func (c *compiled) passes(name string) bool {
	for _, f := range c.filters {
		if f.re.MatchString(name) != f.want {
			return false
		}
	}
	return c.selector.admits(name) && c.matches.MatchString(name)
}

// metricName is the API's name for a series that passes.
func (c *compiled) metricName(series string) string {
	m := c.matches.FindStringSubmatchIndex(series)
	if m == nil {
		return ""
	}
	return string(c.matches.ExpandString(nil, c.as, series, m))
}

func (d *decoder) compile(c *Config) {
	for i := range c.Rules {
		d.compileRule(&c.Rules[i])
	}
	for i := range c.ExternalRules {
		d.compileRule(&c.ExternalRules[i])
	}
	if c.ResourceRules != nil {
		d.compileResource(&c.ResourceRules.CPU)
		d.compileResource(&c.ResourceRules.Memory)
	}
}

// wrong reports a fault at a path, on its line or that of the nearest one around it.
func (d *decoder) wrong(path, format string, args ...any) {
	at := path
	for at != "" && d.lines[at] == 0 {
		at = parent(at)
	}
	d.fault(path, d.lines[at], format, args...)
}

func (d *decoder) compileRule(r *Rule) {
	if d.failed[r.path] {
		return // not even a mapping
	}
	c := &r.compiled
	var err error
	switch c.selector, err = parseSelector(r.SeriesQuery); {
	case d.failedWithin[r.path+".seriesQuery"]:
	case r.SeriesQuery == "":
		d.wrong(r.path+".seriesQuery", "required: a series selector")
	case err != nil:
		d.wrong(r.path+".seriesQuery", "is no series selector: %v", err)
	}
	for i, f := range r.SeriesFilters {
		d.compileFilter(index(r.path+".seriesFilters", i), f, c)
	}
	d.compileName(r)
	c.labels = d.compileMapping(r.path+".resources", r.Resources)
	if c.query = d.compileQuery(r.path+".metricsQuery", r.MetricsQuery); c.query == nil {
		c.broken = errors.New("metricsQuery: missing")
	} else if _, err := r.render(r.example()); err != nil {
		c.broken = fmt.Errorf("metricsQuery: %w", err)
	}
	if c.selector.name != "" && c.matches != nil && !c.passes(c.selector.name) {
		c.hints = append(c.hints, fmt.Sprintf("serves nothing: its filters exclude %s, the only series that it finds", c.selector.name))
	}
}

// example is a question like those that will be asked, but for its names.
func (r *Rule) example() question {
	q := question{series: "example", namespaceLabel: "namespace", namespace: "example"}
	if !r.external {
		q.objectLabel, q.objects, q.groupBy = "pod", []string{"example"}, []string{"pod"}
	}
	return q
}

func (d *decoder) compileFilter(path string, f Filter, c *compiled) {
	key, expr := "is", f.Is
	if f.IsNot != "" {
		key, expr = "isNot", f.IsNot
	}
	switch {
	case d.failedWithin[path]:
		return
	case f.Is != "" && f.IsNot != "":
		d.wrong(path, "has both is and isNot; write two filters")
		return
	case expr == "":
		d.wrong(path, "has neither is nor isNot")
		return
	}
	if re := d.regexp(path+"."+key, expr); re != nil {
		c.filters = append(c.filters, filter{re, key == "is"})
	}
}

func (d *decoder) regexp(path, expr string) *regexp.Regexp {
	re, err := regexp.Compile(expr)
	if err != nil {
		d.wrong(path, "is no regular expression: %s", regexpError(err))
		return nil
	}
	return re
}

// anyName is what name.matches means where it is empty.
var anyName = regexp.MustCompile(".*")

func (d *decoder) compileName(r *Rule) {
	c, path := &r.compiled, r.path+".name"
	c.matches, c.as = anyName, r.Name.As
	if r.Name.Matches != "" {
		if c.matches = d.regexp(path+".matches", r.Name.Matches); c.matches == nil {
			return
		}
	}
	if c.as == "" {
		switch n := c.matches.NumSubexp(); n {
		case 0:
			c.as = "$0"
		case 1:
			c.as = "$1"
		default:
			d.wrong(path+".as", "required: name.matches has %d groups", n)
		}
		return
	}
	for _, ref := range reference.FindAllStringSubmatch(c.as, -1) {
		if name := ref[1] + ref[2]; ref[0] != "$$" && !hasGroup(c.matches, name) {
			c.hints = append(c.hints, fmt.Sprintf("name.as: %s refers to no group of name.matches, and stands for nothing", ref[0]))
		}
	}
}

// reference is a reference in name.as: $name takes as many letters, digits and underscores as there are.
var reference = regexp.MustCompile(`\$(?:\$|(\w+)|\{(\w+)\})`)

func hasGroup(re *regexp.Regexp, name string) bool {
	for i := range re.NumSubexp() + 1 {
		if name == fmt.Sprint(i) {
			return true
		}
	}
	return re.SubexpIndex(name) >= 0
}

func (d *decoder) compileMapping(path string, m ResourceMapping) *labelTemplate {
	for _, o := range m.Overrides {
		at := path + ".overrides." + o.Label
		switch {
		case o.Label == "":
			d.wrong(path+".overrides", "has a label without a name")
		case o.Resource == "" && !d.failedWithin[at]:
			d.wrong(at+".resource", "required: the resource that the label names objects of")
		}
	}
	if m.Template == "" || d.failedWithin[path+".template"] {
		return nil
	}
	t, err := parseLabelTemplate(m.Template)
	if err != nil {
		d.wrong(path+".template", "%v", err)
		return nil
	}
	return t
}

// compileQuery is the template, or nil if there is none.
func (d *decoder) compileQuery(path, text string) *template.Template {
	if text == "" {
		return nil
	}
	t, err := parseTemplate("metricsQuery", text)
	if err != nil {
		d.wrong(path, "is no template: %v", err)
		return nil
	}
	return t
}

func (d *decoder) compileResource(r *ResourceRule) {
	r.labels = d.compileMapping(r.path+".resources", r.Resources)
	r.container = d.compileQuery(r.path+".containerQuery", r.ContainerQuery)
	r.node = d.compileQuery(r.path+".nodeQuery", r.NodeQuery)
}
