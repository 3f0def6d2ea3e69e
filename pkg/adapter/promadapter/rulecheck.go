// The judgement of rules by the file alone: faults that no cluster and no server can mend, and warnings.

package promadapter

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"

	"github.com/prometheus/common/model"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// RuleReport is the judgement of the rules of a configuration by the file alone.
type RuleReport struct {
	// Faults are the reasons why a rule never gives a value, whatever the cluster and the server have. The rule fails alone.
	Faults config.Faults
	// Warnings are notes about rules that work, but may be mistakes.
	Warnings config.Faults
}

// CheckRules judges all rules.
func (c *Config) CheckRules() RuleReport {
	var all RuleReport
	add := func(r RuleReport) {
		all.Faults, all.Warnings = append(all.Faults, r.Faults...), append(all.Warnings, r.Warnings...)
	}
	for _, r := range slices.Concat(c.Rules, c.ExternalRules) {
		add(r.compiled.report)
	}
	if c.ResourceRules != nil {
		add(c.ResourceRules.CPU.report)
		add(c.ResourceRules.Memory.report)
	}
	for _, list := range []config.Faults{all.Faults, all.Warnings} {
		slices.SortStableFunc(list, func(a, b config.Fault) int { return cmp.Compare(a.Line, b.Line) })
	}
	return all
}

// ruleChecker judges a rule. The faults of the decoder are not repeated.
type ruleChecker struct {
	*RuleReport
	lines map[string]int
}

func (c ruleChecker) newRuleFault(path, format string, args ...any) config.Fault {
	return config.Fault{Path: path, Line: strict.NearestLine(c.lines, path), Message: fmt.Sprintf(format, args...)}
}

func (c ruleChecker) addRuleFault(path, format string, args ...any) {
	c.Faults = append(c.Faults, c.newRuleFault(path, format, args...))
}

func (c ruleChecker) addRuleWarning(path, format string, args ...any) {
	c.Warnings = append(c.Warnings, c.newRuleFault(path, format, args...))
}

// checkSeriesRule judges a rule that compiled without a fault.
func (d *lenientDecoder) checkSeriesRule(r *Rule) {
	c := ruleChecker{&r.compiled.report, d.lines}
	c.checkServedNames(r)
	c.checkMetricName(r)
	path := r.path + ".metricsQuery"
	if r.compiled.metricsQuery == nil {
		c.addRuleFault(path, "missing: no query computes the metric")
		return
	}
	resources := listCheckedResources(r)
	if len(resources) == 0 {
		c.addRuleFault(r.path+".resources", "serves no metric: neither overrides nor template names a label of objects")
		return
	}
	uncertain := dependsOnRequest(r.compiled.metricsQuery) && (r.compiled.selector.onlyName == "" || usesLabelValues(r.compiled.metricsQuery))
	failing := c.checkRuleResources(r, resources)
	switch {
	case len(failing) == len(resources) && uncertain:
		c.addRuleWarning(path, "with made-up names: %s", failing[0].fault.Message)
	case len(failing) == len(resources):
		c.Faults = append(c.Faults, failing[0].fault)
		if i := slices.IndexFunc(resources, mappedResource.lacksNamespaceLabel); i >= 0 {
			named := resources[i]
			named.namespaceLabel = "namespace" // a stand-in, for the query's own faults
			if check := r.checkLegacyTemplateFor(named, "example"); check.Fault != nil {
				c.addRuleFault(path, "%v", check.Fault)
			}
		}
	case r.compiled.labelTemplate == nil && !uncertain:
		for _, f := range failing {
			if f.resource == namespacesResource {
				continue // its label only names the namespace
			}
			f.fault.Message = f.resource + ": " + f.fault.Message
			c.Warnings = append(c.Warnings, f.fault)
		}
	}
}

// lacksNamespaceLabel reports whether queries need a matcher for the namespace, and no label is known.
func (t mappedResource) lacksNamespaceLabel() bool { return t.namespaced && t.namespaceLabel == "" }

// failingResource is a resource for which a rule never computes a metric.
type failingResource struct {
	resource string
	fault    config.Fault
}

// checkServedNames judges whether the filters leave any name, if the seriesQuery names its series.
func (c ruleChecker) checkServedNames(r *Rule) {
	var names []string
	for _, m := range r.compiled.selector.matchers {
		if m.Name == model.MetricNameLabel && !m.Matches("") {
			names = append(names, m.SetMatches()...)
		}
	}
	if own := r.compiled.selector.onlyName; own != "" {
		names = []string{own}
	}
	if len(names) == 0 || slices.ContainsFunc(names, r.compiled.legacyRuleServesSeries) {
		return
	}
	path := r.path + ".name.matches"
	if slices.ContainsFunc(names, r.compiled.matches.MatchString) {
		path = r.path + ".seriesFilters"
	}
	c.addRuleFault(path, "serves no metric: excludes %s, the only series of seriesQuery", strings.Join(names, ", "))
}

// checkMetricName judges the references of name.as to groups of name.matches.
func (c ruleChecker) checkMetricName(r *Rule) {
	path, rest := r.path+".name.as", r.compiled.metricAs
	for _, ref := range groupReferenceRegexp.FindAllStringSubmatch(r.compiled.metricAs, -1) {
		if name := ref[1] + ref[2]; ref[0] == "$$" || hasCaptureGroup(r.compiled.matches, name) {
			continue
		}
		if rest = strings.ReplaceAll(rest, ref[0], ""); rest == "" {
			c.addRuleFault(path, "gives every metric an empty name: name.matches has no group %s; write ${1} for the first group", ref[0])
			continue
		}
		c.addRuleWarning(path, "name.matches has no group %s, which expands to empty text; write ${1} for the first group", ref[0])
	}
}

// checkRuleResources returns the resources for which the rule never works, namespaces last, and adds warnings about others.
func (c ruleChecker) checkRuleResources(r *Rule, resources []mappedResource) []failingResource {
	path := r.path + ".metricsQuery"
	var failing []failingResource
	warned := false
	for _, res := range resources {
		var fault config.Fault
		one, several := r.checkLegacyTemplateFor(res, "example"), r.checkLegacyTemplateFor(res, "example", "example-2")
		switch {
		case res.lacksNamespaceLabel():
			remedy := ""
			if r.external {
				remedy = ", or resources.namespaced: false"
			}
			fault = c.newRuleFault(r.path+".resources", "no label names the namespace; set overrides or template%s", remedy)
		case one.Fault != nil:
			fault = c.newRuleFault(path, "%v", one.Fault)
		case several.Fault != nil && !warned:
			warned = true
			c.addRuleWarning(path, "fails for several objects: %v", several.Fault)
			continue
		case one.Warning != "" && !warned:
			warned = true
			c.addRuleWarning(path, "%s", one.Warning)
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

// checkLegacyTemplateFor judges the query for made-up objects of a resource.
func (r *Rule) checkLegacyTemplateFor(res mappedResource, objects ...string) rule.TemplateCheck {
	q, groupBy := rule.Query{Namespace: "example"}, []string(nil)
	checked := rule.Rule{
		Name: r.path, Resource: res.Name, External: r.external, Namespaced: res.namespaced,
		NamespaceLabel: res.namespaceLabel, ObjectLabel: res.objectLabel,
	}
	if !r.external {
		q.Objects, groupBy = objects, []string{res.objectLabel}
	}
	q.Rule = checked.WithTemplate(func(q rule.Query) (string, error) {
		return r.renderQuery(r.newQueryRequest(q, cmp.Or(r.compiled.selector.onlyName, "example"), groupBy))
	})
	return q.CheckTemplate(groupBy...)
}

// listCheckedResources returns the resources to try: all resources of the overrides, and with a template the resources of every
// cluster. An unknown resource may be cluster-scoped.
func listCheckedResources(r *Rule) []mappedResource {
	known := resolvedMapping{template: r.compiled.labelTemplate, cluster: anyResources{}}
	for _, o := range r.Resources.Overrides {
		res, _ := known.cluster.LookupResource(o.overrideResourceName())
		known.overrides, known.resources = append(known.overrides, o), append(known.resources, res)
	}
	namespaceLabel, _ := known.findResourceLabel(namespacesResource, r.compiled.selector.seriesQueryAssertsLabel)
	if r.external {
		return []mappedResource{{namespaceLabel: namespaceLabel, namespaced: r.legacyRuleIsNamespaced(Resource{})}}
	}
	all := known.resources[:len(known.resources):len(known.resources)]
	if r.compiled.labelTemplate != nil {
		all = append(all, wellKnownResources...)
	}
	var out []mappedResource
	for _, res := range all {
		label, _ := known.findResourceLabel(res.Name, r.compiled.selector.seriesQueryAssertsLabel)
		m := mappedResource{res, label, namespaceLabel, r.legacyRuleIsNamespaced(res)}
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
	c := ruleChecker{&r.report, d.lines}
	known := resolvedMapping{template: r.labelTemplate, cluster: anyResources{}}
	for _, o := range r.Resources.Overrides {
		res, _ := known.cluster.LookupResource(o.overrideResourceName())
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
func (c ruleChecker) checkUsageQuery(r *ResourceRule, key string, t *template.Template, namespaceLabel string, groupBy ...string) {
	path := r.path + "." + key
	switch {
	case t == nil:
		c.addRuleWarning(path, "missing: its part of metrics.k8s.io is not served")
		return
	case groupBy[0] == "":
		c.addRuleFault(r.path+".resources", "no label names the objects of %s; set overrides or template", key)
		return
	case key == "containerQuery" && namespaceLabel == "":
		c.addRuleFault(r.path+".resources", "no label names the namespace; set overrides or template")
		return
	}
	q := rule.Query{Rule: r.newLegacyUsageRule(Options{}, key, t, namespaceLabel, groupBy...), Objects: []string{"example", "example-2"}}
	if namespaceLabel != "" {
		q.Namespace = "example"
	}
	check := q.CheckTemplate(slices.DeleteFunc(groupBy, func(l string) bool { return l == "" })...)
	switch {
	case check.Fault != nil && dependsOnRequest(t):
		c.addRuleWarning(path, "with made-up names: %v", check.Fault)
	case check.Fault != nil:
		c.addRuleFault(path, "%v", check.Fault)
	case check.Warning != "":
		c.addRuleWarning(path, "%s", check.Warning)
	}
}

// errEmptyText is the error of a template that gives empty text.
var errEmptyText = errors.New("the template gives empty text")

// dependsOnRequest reports whether a template may give an expression of another form for another request.
func dependsOnRequest(t *template.Template) bool {
	return slices.ContainsFunc(t.Root.Nodes, func(n parse.Node) bool {
		if n.Type() == parse.NodeAction {
			return strings.Contains(n.String(), "LabelValuesByName")
		}
		return slices.Contains([]parse.NodeType{parse.NodeIf, parse.NodeRange, parse.NodeWith, parse.NodeTemplate}, n.Type())
	})
}

// usesLabelValues reports whether a template uses the values of the request's matchers.
func usesLabelValues(t *template.Template) bool {
	return strings.Contains(t.Root.String(), "LabelValuesByName")
}
