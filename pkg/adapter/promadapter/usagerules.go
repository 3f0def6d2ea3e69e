package promadapter

import (
	"context"
	"errors"
	"fmt"
	"text/template"
	"time"

	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// UsageRuleSet is how resourceRules compute metrics.k8s.io.
type UsageRuleSet struct {
	CPU, Memory UsageRules
	// Window is what the values are said to be an average over; 0: the file does not say.
	Window time.Duration
}

// UsageRules are the rules of one resource, external so that every container has its own result. Containers is asked with
// Query.Namespace and the names of pods as Query.Objects, Nodes with the names of nodes; nil where the file has no query.
// The labels name what a result is of.
type UsageRules struct {
	Containers, Nodes                                   *rule.Rule
	NamespaceLabel, PodLabel, ContainerLabel, NodeLabel string
}

// UsageRules is how resourceRules compute metrics.k8s.io; nil if there are none, or not yet: Rules().Notes() says why.
func (c *Catalog) UsageRules() *UsageRuleSet { return c.usageRuleSet.Load() }

// usageRetryInterval is how soon the resources of resourceRules are looked up again.
const usageRetryInterval = 30 * time.Second

// resolveUsageRules looks up what resourceRules name, until that succeeds once.
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
	for _, each := range []struct {
		of   *ResourceRule
		into *UsageRules
	}{{&r.CPU, &u.CPU}, {&r.Memory, &u.Memory}} {
		if err := each.of.resolveUsageRule(cluster, opts, each.into); err != nil {
			return nil, fmt.Errorf("%s: %w", each.of.path, err)
		}
	}
	return u, nil
}

func (r *ResourceRule) resolveUsageRule(cluster ResourceLookup, opts Options, u *UsageRules) error {
	m, err := resolveResourceMapping(r.Resources, r.labelTemplate, cluster)
	if err != nil {
		return err
	}
	for _, each := range []struct {
		resource string
		into     *string
	}{{namespacesResource, &u.NamespaceLabel}, {"pods", &u.PodLabel}, {"nodes", &u.NodeLabel}} {
		// Any label will do: there is no series yet to tell which of several it has.
		if *each.into, err = m.findResourceLabel(each.resource, func(string) bool { return false }); err != nil {
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

// newUsageRule makes the rule of one template. Its objects are named by the first of groupBy.
func (r *ResourceRule) newUsageRule(opts Options, key string, t *template.Template, namespaceLabel string, groupBy ...string) *rule.Rule {
	path := r.path + "." + key
	return rule.Rule{
		Metric: path, Name: path, External: true, Namespaced: namespaceLabel != "", NamespaceLabel: namespaceLabel,
		Backend: opts.Backend, Aggregate: config.AggregateSum, MaxAge: opts.MaxAge,
	}.WithTemplate(func(q rule.Query) (string, error) {
		ask := queryRequest{selector: q.Selector, objectLabel: groupBy[0], objects: q.Objects, groupBy: groupBy}
		if q.Rule.Namespaced {
			ask.namespaceLabel, ask.namespace = namespaceLabel, q.Namespace
		}
		text, err := renderUsageQuery(t, ask)
		if err != nil {
			return "", metric.Errorf(metric.KindInternal, "%s: %w", path, err)
		}
		return text, nil
	})
}

func renderUsageQuery(t *template.Template, q queryRequest) (string, error) {
	if q.objectLabel == "" {
		return "", errors.New("no label names the objects: give resources.overrides or resources.template")
	}
	args, err := q.buildQueryArguments()
	if err != nil {
		return "", err
	}
	return renderTemplate(t, args)
}

// usageNotes are lines for people about resourceRules.
func (c *Catalog) usageNotes() (failures, odd []string) {
	switch {
	case c.resourceRules == nil:
		return nil, nil
	case c.usageErr != nil:
		failures = append(failures, "resourceRules: "+c.usageErr.Error())
	case c.usageRuleSet.Load() == nil:
		failures = append(failures, "resourceRules: their resources are not looked up yet")
	}
	for _, r := range []*ResourceRule{&c.resourceRules.CPU, &c.resourceRules.Memory} {
		if r.containerTemplate == nil {
			odd = append(odd, r.path+".containerQuery: missing")
		}
		if r.nodeTemplate == nil {
			odd = append(odd, r.path+".nodeQuery: missing")
		}
	}
	return failures, odd
}
