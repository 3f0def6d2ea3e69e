// The judgement of the names of a rule: of its series, of its metrics and of its resources.

package promadapter

import (
	"fmt"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// listSeriesQueryNames returns the names of series that seriesQuery spells out; none if it has a pattern.
func (r *SeriesRule) listSeriesQueryNames() []string {
	if own := r.compiled.selector.onlyName; own != "" {
		return []string{own}
	}
	var names []string
	for _, m := range r.compiled.selector.matchers {
		if m.Name == model.MetricNameLabel && !m.Matches("") {
			names = append(names, m.SetMatches()...)
		}
	}
	return names
}

// checkServedMetricNames judges whether seriesQuery selects any series, and whether the filters leave any name.
func (c seriesRuleChecker) checkServedMetricNames(r *SeriesRule) {
	if err := rule.FindExcludingMatchers(r.compiled.selector.matchers, nil); err != nil {
		c.addSeriesRuleFault(r.path+".seriesQuery", "%v", err)
		return
	}
	names := r.listSeriesQueryNames()
	if slices.ContainsFunc(names, r.compiled.servesSeriesName) {
		return
	}
	filtersExclude := !slices.ContainsFunc(names, r.compiled.matches.MatchString)
	what := strings.Join(names, ", ") + ", the only series of seriesQuery"
	if len(names) == 0 {
		if !r.excludesEverySeriesName(r.compiled.matches.String()) {
			return
		}
		filtersExclude, what = !r.excludesEverySeriesName(), "every name that seriesQuery selects"
	}
	path := r.path + ".seriesFilters"
	if filtersExclude {
		path = r.path + ".name.matches"
	}
	c.addSeriesRuleFault(path, "serves no metric: excludes %s", what)
}

// excludesEverySeriesName reports whether no name of a series satisfies seriesQuery, seriesFilters and further expressions, which
// match anywhere in it.
func (r *SeriesRule) excludesEverySeriesName(further ...string) bool {
	const anywhere = "(?s:.*)(?:%s)(?s:.*)"
	must := []string{"(?s:.+)"} // a name is not empty
	for _, expr := range further {
		must = append(must, fmt.Sprintf(anywhere, expr))
	}
	named := slices.DeleteFunc(slices.Clone(r.compiled.selector.matchers), func(m *labels.Matcher) bool { return m.Name != model.MetricNameLabel })
	for _, f := range r.compiled.filters {
		expr := fmt.Sprintf(anywhere, f.re)
		if f.mustMatch {
			must = append(must, expr)
			continue
		}
		named = append(named, &labels.Matcher{Type: labels.MatchNotRegexp, Value: expr})
	}
	return rule.ExcludeEachOther(named, must...)
}

// checkExpandedNames judges the metrics of series with known names.
func (c seriesRuleChecker) checkExpandedNames(path string, r *SeriesRule) {
	for _, series := range r.listSeriesQueryNames() {
		switch name := r.compiled.expandMetricNameAs(series); {
		case !r.compiled.servesSeriesName(series):
		case name == "":
			c.addSeriesRuleFault(path, "gives the metric of %s an empty name; write another name", series)
			return
		case name == "." || name == "..":
			c.addSeriesRuleFault(path, "gives the metric of %s the name %s, which no HPA can ask for; write another name", series, name)
			return
		}
	}
}

// builtinGroups are the API groups without a dot in their names, of every cluster. Groups of custom resources have one.
var builtinGroups = []string{"apps", "batch", "autoscaling", "policy"}

// shortResourceNames maps names that only kubectl knows to plurals.
var shortResourceNames = map[string]string{
	"po": "pods", "ns": namespacesResource, "no": "nodes", "svc": "services", "deploy": "deployments", "sts": "statefulsets",
	"ds": "daemonsets", "rs": "replicasets", "rc": "replicationcontrollers", "cj": "cronjobs", "ing": "ingresses",
	"hpa": "horizontalpodautoscalers", "pv": "persistentvolumes", "pvc": "persistentvolumeclaims",
}

// checkLabelOverrides judges the groups and the names of resources.
func (c seriesRuleChecker) checkLabelOverrides(path string, overrides []LabelOverride) {
	for _, o := range overrides {
		at, name := path+".overrides."+o.Label, strings.ToLower(o.Resource)
		known, err := commonResources{}.LookupResource(o.Resource)
		isCommon := err == nil
		remedy := "write the resource's own group"
		switch {
		case isCommon && known.Group == "":
			remedy = "remove it, because the group of " + known.Name + " has no name"
		case isCommon:
			remedy = "write " + known.Group
		}
		switch {
		case o.Group == "" && shortResourceNames[name] != "":
			c.addSeriesRuleWarning(at+".resource", "%s is a short name, which only kubectl knows; write %s", o.Resource, shortResourceNames[name])
		case o.Group == "extensions":
			c.addSeriesRuleWarning(at+".group", "extensions has no resources since Kubernetes 1.22; %s", remedy)
		case o.Group == "", strings.Contains(o.Group, "."):
		case !slices.Contains(builtinGroups, o.Group):
			c.addSeriesRuleFault(at+".group", "no cluster has the group %s; %s", o.Group, remedy)
		case isCommon && o.Group != known.Group && known.Group != "autoscaling":
			c.addSeriesRuleFault(at+".group", "the group %s has no %s; %s", o.Group, o.Resource, remedy)
		}
	}
}
