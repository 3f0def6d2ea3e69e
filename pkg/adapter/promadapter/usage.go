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

// Usage is how resourceRules compute metrics.k8s.io.
type Usage struct {
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

// Usage is how resourceRules compute metrics.k8s.io; nil if there are none, or not yet: Rules().Notes() says why.
func (c *Catalog) Usage() *Usage { return c.usage.Load() }

// usageRetry is how soon the resources of resourceRules are looked up again.
const usageRetry = 30 * time.Second

// resolveUsage looks up what resourceRules name, until that succeeds once.
func (c *Catalog) resolveUsage(ctx context.Context) {
	if c.usageRules == nil || c.usage.Load() != nil {
		return
	}
	u, err := c.usageRules.usage(c.resources, c.opts)
	if err == nil {
		c.usage.Store(u)
	} else if c.usageErr == nil || c.usageErr.Error() != err.Error() {
		klog.FromContext(ctx).Error(err, "Rule of prometheus-adapter fails", "rule", "resourceRules")
	}
	c.usageErr = err
	c.opts.Metrics.trouble("resourceRules", err)
}

func (r *ResourceRules) usage(cluster Resources, opts Options) (*Usage, error) {
	u := &Usage{Window: r.Window}
	for _, each := range []struct {
		of   *ResourceRule
		into *UsageRules
	}{{&r.CPU, &u.CPU}, {&r.Memory, &u.Memory}} {
		if err := each.of.resolve(cluster, opts, each.into); err != nil {
			return nil, fmt.Errorf("%s: %w", each.of.path, err)
		}
	}
	return u, nil
}

func (r *ResourceRule) resolve(cluster Resources, opts Options, u *UsageRules) error {
	m, err := resolveMapping(r.Resources, r.labels, cluster)
	if err != nil {
		return err
	}
	for _, each := range []struct {
		resource string
		into     *string
	}{{namespaces, &u.NamespaceLabel}, {"pods", &u.PodLabel}, {"nodes", &u.NodeLabel}} {
		// Any label will do: there is no series yet to tell which of several it has.
		if *each.into, err = m.labelOf(each.resource, func(string) bool { return false }); err != nil {
			return err
		}
	}
	u.ContainerLabel = r.ContainerLabel
	if r.container != nil {
		u.Containers = r.rule(opts, "containerQuery", r.container, u.NamespaceLabel, u.PodLabel, u.ContainerLabel)
	}
	if r.node != nil {
		u.Nodes = r.rule(opts, "nodeQuery", r.node, "", u.NodeLabel)
	}
	return nil
}

// rule makes the rule of one template. Its objects are named by the first of groupBy.
func (r *ResourceRule) rule(opts Options, key string, t *template.Template, namespaceLabel string, groupBy ...string) *rule.Rule {
	path := r.path + "." + key
	return rule.Rule{
		Metric: path, Name: path, External: true, Namespaced: namespaceLabel != "", NamespaceLabel: namespaceLabel,
		Backend: opts.Backend, Aggregate: config.AggregateSum, MaxAge: opts.MaxAge,
	}.WithTemplate(func(q rule.Query) (string, error) {
		ask := question{selector: q.Selector, objectLabel: groupBy[0], objects: q.Objects, groupBy: groupBy}
		if q.Rule.Namespaced {
			ask.namespaceLabel, ask.namespace = namespaceLabel, q.Namespace
		}
		text, err := renderUsage(t, ask)
		if err != nil {
			return "", metric.Errorf(metric.KindInternal, "%s: %w", path, err)
		}
		return text, nil
	})
}

func renderUsage(t *template.Template, q question) (string, error) {
	if q.objectLabel == "" {
		return "", errors.New("no label names the objects: give resources.overrides or resources.template")
	}
	args, err := q.arguments()
	if err != nil {
		return "", err
	}
	return execute(t, args)
}

// usageNotes are lines for people about resourceRules.
func (c *Catalog) usageNotes() (failures, odd []string) {
	switch {
	case c.usageRules == nil:
		return nil, nil
	case c.usageErr != nil:
		failures = append(failures, "resourceRules: "+c.usageErr.Error())
	case c.usage.Load() == nil:
		failures = append(failures, "resourceRules: their resources are not looked up yet")
	}
	for _, r := range []*ResourceRule{&c.usageRules.CPU, &c.usageRules.Memory} {
		if r.container == nil {
			odd = append(odd, r.path+".containerQuery: missing")
		}
		if r.node == nil {
			odd = append(odd, r.path+".nodeQuery: missing")
		}
	}
	return failures, odd
}
