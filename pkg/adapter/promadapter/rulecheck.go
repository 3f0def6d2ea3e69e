// The judgement of rules by the file alone: faults that no cluster and no server can mend, and warnings.

package promadapter

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"text/template/parse"

	template "github.com/DataDog/datadog-agent/pkg/template/text"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// RuleReport is the judgement of the rules of a configuration by the file alone.
type RuleReport struct {
	// Faults are the reasons why a rule never gives a value in any cluster, with any server. The rule fails alone.
	Faults config.Faults
	// Warnings are notes about rules that work, but may be mistakes.
	Warnings config.Faults
	// Notes are about what rules do as their author wrote, with a consequence that the text does not show.
	Notes config.Faults
}

// CheckRules judges all rules.
func (c *Config) CheckRules() RuleReport {
	all := RuleReport{Warnings: slices.Clone(c.warnings)}
	add := func(r RuleReport) {
		all.Faults, all.Warnings = append(all.Faults, r.Faults...), append(all.Warnings, r.Warnings...)
		all.Notes = append(all.Notes, r.Notes...)
	}
	for _, r := range slices.Concat(c.Rules, c.ExternalRules) {
		add(r.compiled.report)
	}
	if c.ResourceRules != nil {
		add(c.ResourceRules.CPU.report)
		add(c.ResourceRules.Memory.report)
	}
	for _, list := range []config.Faults{all.Faults, all.Warnings, all.Notes} {
		slices.SortStableFunc(list, func(a, b config.Fault) int { return cmp.Compare(a.Line, b.Line) })
	}
	return all
}

// seriesRuleChecker judges a rule. The faults of the decoder are not repeated.
type seriesRuleChecker struct {
	*RuleReport
	lines map[string]int
}

func (c seriesRuleChecker) newSeriesRuleFault(path, format string, args ...any) config.Fault {
	return config.Fault{Path: path, Line: strict.NearestLine(c.lines, path), Message: fmt.Sprintf(format, args...)}
}

func (c seriesRuleChecker) addSeriesRuleFault(path, format string, args ...any) {
	c.Faults = append(c.Faults, c.newSeriesRuleFault(path, format, args...))
}

func (c seriesRuleChecker) addSeriesRuleWarning(path, format string, args ...any) {
	c.Warnings = append(c.Warnings, c.newSeriesRuleFault(path, format, args...))
}

// checkSeriesRule judges a rule that compiled without a fault.
func (d *lenientDecoder) checkSeriesRule(r *SeriesRule) {
	c := seriesRuleChecker{&r.compiled.report, d.lines}
	c.checkServedMetricNames(r)
	c.checkNameReferences(r)
	c.checkLabelOverrides(r.path+".resources", r.Resources.Overrides)
	path := r.path + ".metricsQuery"
	if r.compiled.metricsQuery == nil {
		c.addSeriesRuleFault(path, "missing: no query computes the metric")
		return
	}
	resources := listRuleResourcesToCheck(r)
	if len(resources) == 0 {
		c.addSeriesRuleFault(r.path+".resources", "serves no metric: neither overrides nor template names a label of objects")
		return
	}
	if r.external && !r.isNamespacedSeriesRule(Resource{}) {
		c.Notes = append(c.Notes, c.newSeriesRuleFault(r.path+".resources.namespaced", "false: series of every namespace feed this metric, so that whoever runs a pod that the server scrapes "+
			"can move it; name the namespaces in metricsQuery if they are known, such as {namespace=\"mail\"}"))
	}
	uncertain := templateNeedsRequest(r.compiled.metricsQuery) && (r.compiled.selector.onlyName == "" || templateUsesValues(r.compiled.metricsQuery))
	failing := c.checkSeriesRuleResources(r, resources)
	switch {
	case len(failing) == len(resources) && uncertain:
		c.addSeriesRuleWarning(path, "with made-up names: %s", failing[0].fault.Message)
	case len(failing) == len(resources):
		c.Faults = append(c.Faults, failing[0].fault)
		if i := slices.IndexFunc(resources, mappedResource.lacksNamespaceLabel); i >= 0 {
			named := resources[i]
			named.namespaceLabel = "namespace" // a stand-in, for the query's own faults
			if check := r.checkQueryTemplateFor(named, "example"); check.Fault != nil {
				c.addSeriesRuleFault(path, "%v", check.Fault)
			}
		}
	case r.compiled.labelTemplate == nil:
		for _, f := range failing {
			if f.resource == namespacesResource {
				continue // its label only names the namespace
			}
			f.fault.Message = f.resource + ": " + f.fault.Message
			if uncertain {
				f.fault.Message = "with made-up names: " + f.fault.Message
			}
			c.Warnings = append(c.Warnings, f.fault)
		}
	}
}

// lacksNamespaceLabel reports whether queries need a matcher for the namespace, and no label is known.
func (t mappedResource) lacksNamespaceLabel() bool {
	return t.namespaced && t.namespaceLabel == ""
}

// failingResource is a resource for which a rule never computes a metric.
type failingResource struct {
	resource string
	fault    config.Fault
}

// checkNameReferences judges the references of name.as to groups of name.matches.
func (c seriesRuleChecker) checkNameReferences(r *SeriesRule) {
	path, rest, empty := r.path+".name.as", r.compiled.metricAs, false
	for _, ref := range groupReferenceRegexp.FindAllStringSubmatch(r.compiled.metricAs, -1) {
		if name := ref[1] + ref[2]; ref[0] == "$$" || hasCaptureGroup(r.compiled.matches, name) {
			continue
		}
		if rest = strings.ReplaceAll(rest, ref[0], ""); rest == "" {
			empty = true
			c.addSeriesRuleFault(path, "gives every metric an empty name: name.matches has no group %s; write ${1} for the first group", ref[0])
			continue
		}
		c.addSeriesRuleWarning(path, "name.matches has no group %s, which expands to empty text; write ${1} for the first group", ref[0])
	}
	for _, ref := range groupReferenceRegexp.FindAllString(rest, -1) {
		rest = strings.ReplaceAll(rest, ref, "")
	}
	if i := strings.IndexAny(rest, "/%"); i >= 0 {
		c.addSeriesRuleFault(path, "gives names with %q, which no HPA can ask for; write another character", rest[i])
	}
	if !empty {
		c.checkExpandedNames(path, r)
	}
	if strings.Contains(rest, "<<") {
		c.addSeriesRuleWarning(path, "<<…>> is text here; templates are for metricsQuery and resources.template")
	}
	if ref := backslashReferenceRegexp.FindString(rest); ref != "" {
		c.addSeriesRuleWarning(path, "%s is text here, and no group of name.matches; write ${%s}", ref, ref[1:])
	}
}

// backslashReferenceRegexp matches a reference to a group as other programs write it.
var backslashReferenceRegexp = regexp.MustCompile(`\\\d`)

// checkSeriesRuleResources returns the resources for which the rule never works, namespaces last, and adds warnings about others.
func (c seriesRuleChecker) checkSeriesRuleResources(r *SeriesRule, resources []mappedResource) []failingResource {
	path := r.path + ".metricsQuery"
	var failing []failingResource
	warned := false
	for _, res := range resources {
		var fault config.Fault
		one, several := r.checkQueryTemplateFor(res, "example"), r.checkQueryTemplateFor(res, "example", "example-2")
		switch {
		case res.lacksNamespaceLabel():
			remedy := ""
			if r.external {
				remedy = ", or resources.namespaced: false"
			}
			fault = c.newSeriesRuleFault(r.path+".resources", "no label names the namespace; set overrides or template%s", remedy)
		case r.compiled.selector.excludesSeriesLabel(res.objectLabel):
			fault = c.newSeriesRuleFault(r.path+".seriesQuery", "excludes series with the label %s, which names the objects", res.objectLabel)
		case res.namespaced && r.compiled.selector.excludesSeriesLabel(res.namespaceLabel):
			fault = c.newSeriesRuleFault(r.path+".seriesQuery", "excludes series with the label %s, which names the namespace", res.namespaceLabel)
		case one.Fault != nil:
			fault = c.newSeriesRuleFault(path, "%v", one.Fault)
		case several.Fault != nil && !warned && (res.Name != namespacesResource || len(resources) == 1): // beside others, its label only names the namespace
			warned = true
			c.addSeriesRuleWarning(path, "fails for several objects: %v", several.Fault)
			continue
		case one.Warning != "" && !warned:
			warned = true
			c.addSeriesRuleWarning(path, "%s", one.Warning)
			continue
		default:
			continue
		}
		failing = append(failing, failingResource{res.Name, fault})
	}
	slices.SortStableFunc(failing, func(a, b failingResource) int {
		return cmp.Compare(strings.Index(a.resource, namespacesResource), strings.Index(b.resource, namespacesResource))
	})
	return failing
}

// checkQueryTemplateFor judges the query for made-up objects of a resource.
func (r *SeriesRule) checkQueryTemplateFor(res mappedResource, objects ...string) rule.TemplateCheck {
	q, groupBy := rule.Query{Namespace: "example"}, []string(nil)
	checked := rule.Rule{
		Name: r.path, Resource: res.Name, External: r.external, Namespaced: res.namespaced,
		NamespaceLabel: res.namespaceLabel, ObjectLabel: res.objectLabel,
	}
	if !r.external {
		q.Objects, groupBy = objects, []string{res.objectLabel}
	}
	q.Rule = checked.WithTemplate(rule.Template{Render: func(q rule.Query) (string, error) {
		return r.renderSeriesQuery(r.newQueryRequest(q, cmp.Or(r.compiled.selector.onlyName, sampleSeriesName), groupBy))
	}})
	check := q.CheckTemplate(groupBy...)
	if check.Fault != nil && r.external && !res.namespaced { // no matcher at all
		q.Selector = []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "example", "example")}
		if selected := q.CheckTemplate(groupBy...); selected.Fault == nil {
			return rule.TemplateCheck{Warning: fmt.Sprintf("fails for requests without a metric selector: %v", check.Fault)}
		}
	}
	if delimiters := regexp.MustCompile(`\{\{|&lt;`).FindString(r.MetricsQuery); check.Fault != nil && delimiters != "" {
		check.Fault = fmt.Errorf("%w; a template begins with <<, not with %s", check.Fault, delimiters)
	}
	return check
}

// listRuleResourcesToCheck returns the resources to try: all resources of the overrides, and with a template the resources of every
// cluster. An unknown resource may be cluster-scoped.
func listRuleResourcesToCheck(r *SeriesRule) []mappedResource {
	known := resolvedMapping{template: r.compiled.labelTemplate, cluster: anyResources{}}
	for _, o := range r.Resources.Overrides {
		res, _ := known.cluster.LookupResource(o.overriddenResource())
		known.overrides, known.resources = append(known.overrides, o), append(known.resources, res)
	}
	namespaceLabel, _ := known.findResourceLabel(namespacesResource, r.compiled.selector.assertsSeriesLabel)
	if r.external {
		return []mappedResource{{namespaceLabel: namespaceLabel, namespaced: r.isNamespacedSeriesRule(Resource{})}}
	}
	all := known.resources[:len(known.resources):len(known.resources)]
	if r.compiled.labelTemplate != nil {
		all = append(all, wellKnownResources...)
	}
	var out []mappedResource
	for _, res := range all {
		label, _ := known.findResourceLabel(res.Name, r.compiled.selector.assertsSeriesLabel)
		m := mappedResource{res, label, namespaceLabel, r.isNamespacedSeriesRule(res)}
		if !slices.Contains(out, m) {
			out = append(out, m)
		}
	}
	return out
}

// anyResources looks up resources without a cluster. An unknown resource is cluster-scoped, because it may be.
type anyResources struct{}

func (anyResources) LookupResource(name string) (Resource, error) {
	r, err := commonResources{}.LookupResource(name)
	if metric.KindOf(err) == metric.KindNotFound {
		return Resource{Name: name, Singular: name}, nil
	}
	return r, err
}

// checkUsageRule judges the queries of a resource rule.
func (d *lenientDecoder) checkUsageRule(r *ResourceRule) {
	c := seriesRuleChecker{&r.report, d.lines}
	c.checkLabelOverrides(r.path+".resources", r.Resources.Overrides)
	known := resolvedMapping{template: r.labelTemplate, cluster: anyResources{}}
	for _, o := range r.Resources.Overrides {
		res, _ := known.cluster.LookupResource(o.overriddenResource())
		known.overrides, known.resources = append(known.overrides, o), append(known.resources, res)
	}
	label := func(resource string) string {
		l, _ := known.findResourceLabel(resource, func(string) bool { return false })
		return l
	}
	c.checkUsageQuery(r, "containerQuery", r.containerTemplate, label(namespacesResource), label("pods"), r.ContainerLabel)
	c.checkUsageQuery(r, "nodeQuery", r.nodeTemplate, "", label("nodes"))
}

// checkUsageQuery judges a query for made-up objects. The first label of groupBy names them.
func (c seriesRuleChecker) checkUsageQuery(r *ResourceRule, key string, t *template.Template, namespaceLabel string, groupBy ...string) {
	path := r.path + "." + key
	switch {
	case t == nil:
		c.addSeriesRuleWarning(path, "missing: its part of metrics.k8s.io is not served")
		return
	case groupBy[0] == "":
		c.addSeriesRuleFault(r.path+".resources", "no label names the objects of %s; set overrides or template", key)
		return
	case key == "containerQuery" && r.ContainerLabel == "":
		c.addSeriesRuleFault(r.path+".containerLabel", "required: the label with the name of the container, such as container")
		return
	case key == "containerQuery" && namespaceLabel == "":
		c.addSeriesRuleFault(r.path+".resources", "no label names the namespace; set overrides or template")
		return
	}
	q := rule.Query{Rule: r.newUsageRule(Options{}, key, t, namespaceLabel, groupBy...), Objects: []string{"example", "example-2"}}
	if namespaceLabel != "" {
		q.Namespace = "example"
	}
	check := q.CheckTemplate(slices.DeleteFunc(groupBy, func(l string) bool { return l == "" })...)
	switch {
	case check.Fault != nil && templateNeedsRequest(t):
		c.addSeriesRuleWarning(path, "with made-up names: %v", check.Fault)
	case check.Fault != nil:
		c.addSeriesRuleFault(path, "%v", check.Fault)
	case check.Warning != "":
		c.addSeriesRuleWarning(path, "%s", check.Warning)
	}
}

// errEmptyText is the error of a template that gives empty text.
var errEmptyText = errors.New("the template gives empty text")

// templateNeedsRequest reports whether a template may give an expression of another form for another request.
func templateNeedsRequest(t *template.Template) bool {
	return slices.ContainsFunc(t.Root.Nodes, func(n parse.Node) bool {
		if n.Type() == parse.NodeAction {
			return strings.Contains(n.String(), "LabelValuesByName")
		}
		return slices.Contains([]parse.NodeType{parse.NodeIf, parse.NodeRange, parse.NodeWith, parse.NodeTemplate}, n.Type())
	})
}

// templateBranchesBySeries reports whether a template has a condition or a loop over the name of the series.
func templateBranchesBySeries(t *template.Template) bool {
	return slices.ContainsFunc(t.Root.Nodes, func(n parse.Node) bool {
		return n.Type() != parse.NodeAction && n.Type() != parse.NodeText && strings.Contains(n.String(), ".Series")
	})
}

// templateUsesValues reports whether a template uses the values of the request's matchers.
func templateUsesValues(t *template.Template) bool {
	return strings.Contains(t.Root.String(), "LabelValuesByName")
}
