// Rules for metrics.k8s.io, from resourceRules.

package promadapter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"text/template"
	"time"

	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// UsageRuleSet has the rules of resourceRules for metrics.k8s.io.
type UsageRuleSet struct {
	CPU, Memory UsageRules
	// Window is the declared averaging window of the values; 0 if the file does not say.
	Window time.Duration
}

// UsageRules are the rules of CPU or memory. They are external, so that every container has a result of its own. A query of
// Containers has Query.Namespace and the names of pods as Query.Objects, a query of Nodes the names of nodes. A rule is nil if
// the file has no query for it. The labels identify the object of a result.
type UsageRules struct {
	Containers, Nodes                                   *rule.Rule
	NamespaceLabel, PodLabel, ContainerLabel, NodeLabel string
}

// UsageRules returns the rules of resourceRules. It returns nil without resourceRules and before their lookup has succeeded;
// Rules().Notes() has the reason.
func (c *Catalog) UsageRules() *UsageRuleSet { return c.usageRuleSet.Load() }

// usageRetryInterval is the delay before a failed lookup of the resources of resourceRules is retried.
const usageRetryInterval = 30 * time.Second

// resolveUsageRules looks up the resources of resourceRules, until a lookup succeeds.
func (c *Catalog) resolveUsageRules(ctx context.Context) {
	if c.resourceRules == nil || c.usageRuleSet.Load() != nil {
		return
	}
	u, err := c.resourceRules.newUsageRuleSet(c.resources, c.opts)
	if err == nil {
		c.usageRuleSet.Store(u)
	} else if c.usageErr == nil || c.usageErr.Error() != err.Error() {
		klog.FromContext(ctx).Error(err, "Rule of prometheus-adapter fails", "rule", "resourceRules")
	}
	c.usageErr = err
	c.opts.Metrics.setRuleFailing("resourceRules", err)
}

func (r *ResourceRules) newUsageRuleSet(cluster ResourceLookup, opts Options) (*UsageRuleSet, error) {
	u := &UsageRuleSet{Window: r.Window}
	for _, pair := range []struct {
		from *ResourceRule
		to   *UsageRules
	}{{&r.CPU, &u.CPU}, {&r.Memory, &u.Memory}} {
		if err := pair.from.resolveUsageRule(cluster, opts, pair.to); err != nil {
			return nil, fmt.Errorf("%s: %w", pair.from.path, err)
		}
	}
	return u, nil
}

func (r *ResourceRule) resolveUsageRule(cluster ResourceLookup, opts Options, u *UsageRules) error {
	m, err := resolveResourceMapping(r.Resources, r.labelTemplate, cluster)
	if err != nil {
		return err
	}
	for _, pair := range []struct {
		resource string
		to       *string
	}{{namespacesResource, &u.NamespaceLabel}, {"pods", &u.PodLabel}, {"nodes", &u.NodeLabel}} {
		// The labels of the series are unknown here, so the first override wins.
		if *pair.to, err = m.findResourceLabel(pair.resource, func(string) bool { return false }); err != nil {
			return err
		}
	}
	u.ContainerLabel = r.ContainerLabel
	if r.containerTemplate != nil {
		u.Containers = r.newUsageRule(opts, "containerQuery", r.containerTemplate, u.NamespaceLabel, u.PodLabel, u.ContainerLabel)
	}
	if r.nodeTemplate != nil {
		u.Nodes = r.newUsageRule(opts, "nodeQuery", r.nodeTemplate, "", u.NodeLabel)
	}
	return nil
}

// newUsageRule returns the rule of a template. The first label of groupBy names its objects.
func (r *ResourceRule) newUsageRule(opts Options, key string, t *template.Template, namespaceLabel string, groupBy ...string) *rule.Rule {
	path := r.path + "." + key
	return rule.Rule{
		Metric: path, Name: path, External: true, Namespaced: namespaceLabel != "", NamespaceLabel: namespaceLabel,
		Backend: opts.Backend, Aggregate: config.AggregateSum, MaxAge: opts.MaxAge,
	}.WithTemplate(func(q rule.Query) (string, error) {
		request := queryRequest{selector: q.Selector, objectLabel: groupBy[0], objects: q.Objects, groupBy: groupBy}
		if q.Rule.Namespaced {
			request.namespaceLabel, request.namespace = namespaceLabel, q.Namespace
		}
		text, err := renderUsageQuery(t, request)
		if err != nil {
			return "", metric.Errorf(metric.KindInternal, "%s: %w", path, err)
		}
		return text, nil
	})
}

func renderUsageQuery(t *template.Template, q queryRequest) (string, error) {
	if q.objectLabel == "" {
		return "", errors.New("no label for the objects; set resources.overrides or resources.template")
	}
	args, err := q.buildQueryArguments()
	if err != nil {
		return "", err
	}
	return renderTemplate(t, args)
}

// usageNotes returns lines for people about resourceRules.
func (c *Catalog) usageNotes() (failures, oddities []string) {
	switch {
	case c.resourceRules == nil:
		return nil, nil
	case c.usageErr != nil:
		failures = append(failures, "resourceRules: "+c.usageErr.Error())
	case c.usageRuleSet.Load() == nil:
		failures = append(failures, "resourceRules: resources are not looked up yet")
	}
	for _, r := range []*ResourceRule{&c.resourceRules.CPU, &c.resourceRules.Memory} {
		for _, f := range slices.Concat(r.report.Faults, r.report.Warnings) {
			oddities = append(oddities, f.Path+": "+f.Message)
		}
	}
	return failures, oddities
}
