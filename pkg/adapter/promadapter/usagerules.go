// Rules for metrics.k8s.io, from resourceRules.

package promadapter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	template "github.com/DataDog/datadog-agent/pkg/template/text"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// UsageRules returns the rules of resourceRules. It returns nil without resourceRules and before their lookup has succeeded;
// Rules().Notes() has the reason.
func (c *Catalog) UsageRules() *rule.UsageRuleSet { return c.usageRuleSet.Load() }

// usageRetryInterval is the delay before a failed lookup of the resources of resourceRules is retried.
const usageRetryInterval = 30 * time.Second

// resolveUsageRules looks up the resources and labels of resourceRules, until both are known.
func (c *Catalog) resolveUsageRules(ctx context.Context, now time.Time) {
	if c.resourceRules == nil || c.usageRuleSet.Load() != nil && c.usageUnsettled == "" {
		return
	}
	r := resourceRulesResolver{
		ctx: ctx, cluster: c.resources, opts: c.opts,
		chooser: objectLabelChooser{c.series, now.Add(-c.opts.Lookback), now},
	}
	u, err := r.resolveUsageRuleSet(c.resourceRules)
	if err == nil {
		c.usageRuleSet.Store(u)
		c.usageUnsettled = r.unsettled
	} else if c.usageErr == nil || c.usageErr.Error() != err.Error() {
		klog.FromContext(ctx).Error(err, "Rule of prometheus-adapter fails", "rule", "resourceRules")
	}
	c.usageErr = err
	if faults := slices.Concat(c.resourceRules.CPU.report.Faults, c.resourceRules.Memory.report.Faults); err == nil {
		err = faults.Err()
	}
	c.opts.Metrics.setSeriesRuleFailing("resourceRules", err)
}

// resourceRulesResolver resolves resourceRules once.
type resourceRulesResolver struct {
	ctx     context.Context //nolint:containedctx // it lives no longer than a call
	cluster ResourceLookup
	opts    Options
	chooser objectLabelChooser
	// unsettled is the reason why a label is a guess; empty if none is.
	unsettled string
}

func (r *resourceRulesResolver) resolveUsageRuleSet(rules *ResourceRules) (*rule.UsageRuleSet, error) {
	u := &rule.UsageRuleSet{Window: rules.Window}
	for _, pair := range []struct {
		from *ResourceRule
		to   *rule.UsageRules
	}{{&rules.CPU, &u.CPU}, {&rules.Memory, &u.Memory}} {
		if err := r.resolveUsageRule(pair.from, pair.to); err != nil {
			return nil, fmt.Errorf("%s: %w", pair.from.path, err)
		}
	}
	return u, nil
}

func (r *resourceRulesResolver) resolveUsageRule(rule *ResourceRule, u *rule.UsageRules) error {
	m, err := resolveResourceMapping(rule.Resources, rule.labelTemplate, r.cluster)
	if err != nil {
		return err
	}
	for _, l := range []struct {
		resource string
		query    *template.Template
		to       *string
	}{
		{namespacesResource, rule.containerTemplate, &u.NamespaceLabel},
		{"pods", rule.containerTemplate, &u.PodLabel},
		{"nodes", rule.nodeTemplate, &u.NodeLabel},
	} {
		if *l.to, err = r.resolveUsageLabel(rule, m, l.resource, l.query); err != nil {
			return err
		}
	}
	u.ContainerLabel = rule.ContainerLabel
	if rule.containerTemplate != nil {
		u.Containers = rule.newUsageRule(r.opts, "containerQuery", rule.containerTemplate, u.NamespaceLabel, u.PodLabel, u.ContainerLabel)
	}
	if rule.nodeTemplate != nil {
		u.Nodes = rule.newUsageRule(r.opts, "nodeQuery", rule.nodeTemplate, "", u.NodeLabel)
	}
	return nil
}

// resolveUsageLabel returns the label for objects of the resource. It prefers the override with names of objects in the
// series of the query to the first override.
func (r *resourceRulesResolver) resolveUsageLabel(rule *ResourceRule, m resolvedMapping, resource string, query *template.Template) (string, error) {
	candidates := m.listOverrideLabels(resource)
	if len(candidates) < 2 || query == nil {
		return m.findResourceLabel(resource, func(string) bool { return false })
	}
	match := parseTemplateSelectors(query)
	if len(match) == 0 {
		r.unsettled = fmt.Sprintf("%s: cannot tell which of the labels %s the series have, and takes %s: its query is not PromQL",
			rule.path, strings.Join(candidates, ", "), candidates[0])
		return candidates[0], nil
	}
	label, err := r.chooser.chooseObjectLabel(r.ctx, match, candidates)
	if err == nil && label == "" {
		r.unsettled = fmt.Sprintf("%s: no series seen yet; of the labels %s for %s it takes %s", rule.path, strings.Join(candidates, ", "), resource, candidates[0])
		label = candidates[0]
	}
	return label, err
}

// newUsageRule returns the rule of a template. The first label of groupBy names its objects.
func (r *ResourceRule) newUsageRule(opts Options, key string, t *template.Template, namespaceLabel string, groupBy ...string) *rule.Rule {
	path := r.path + "." + key
	return rule.Rule{
		Metric: path, Name: path, External: true, Namespaced: namespaceLabel != "", NamespaceLabel: namespaceLabel,
		Backend: opts.Backend, Aggregate: config.AggregateSum, MaxAge: opts.MaxAge,
	}.WithTemplate(rule.Template{Render: func(q rule.Query) (string, error) {
		request := queryRequest{selector: q.Selector, objectLabel: groupBy[0], objects: q.Objects, groupBy: groupBy}
		if q.Rule.Namespaced {
			request.namespaceLabel, request.namespace = namespaceLabel, q.Namespace
		}
		text, err := renderUsageQuery(t, request)
		if err != nil {
			return "", metric.Errorf(metric.KindInternal, "%s: %w", path, err)
		}
		return text, nil
	}})
}

func renderUsageQuery(t *template.Template, q queryRequest) (string, error) {
	if q.objectLabel == "" {
		return "", errors.New("no label for the objects; set resources.overrides or resources.template")
	}
	args, err := q.buildQueryArguments()
	if err != nil {
		return "", err
	}
	return renderSeriesRuleTemplate(t, args)
}

// describeUsageRules returns lines for people about resourceRules.
func (c *Catalog) describeUsageRules() (failures, oddities []string) {
	switch {
	case c.resourceRules == nil:
		return nil, nil
	case c.usageErr != nil:
		failures = append(failures, "resourceRules: "+c.usageErr.Error())
	case c.usageRuleSet.Load() == nil:
		failures = append(failures, "resourceRules: resources are not looked up yet")
	case c.usageUnsettled != "":
		oddities = append(oddities, c.usageUnsettled)
	}
	for _, r := range []*ResourceRule{&c.resourceRules.CPU, &c.resourceRules.Memory} {
		for _, f := range slices.Concat(r.report.Faults, r.report.Warnings) {
			oddities = append(oddities, f.Path+": "+f.Message)
		}
	}
	return failures, oddities
}
