// The usage source that evaluates rules on a backend, as prometheus-adapter does.

package resourcemetrics

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// Evaluator evaluates a rule on its backend. It may be called concurrently.
type Evaluator interface {
	Evaluate(ctx context.Context, q rule.Query, now time.Time) ([]metric.Value, error)
}

// maxConcurrentQueries bounds the concurrent queries of a request. A list of the pods of all namespaces has two queries for each
// namespace.
const maxConcurrentQueries = 8

// RuleSource is the UsageSource that evaluates rules.
type RuleSource struct {
	ruleSet func() *rule.UsageRuleSet
	backend Evaluator
}

var _ UsageSource = (*RuleSource)(nil)

// NewRuleSource returns a source for the current rules. set must be safe for concurrent use; it returns nil if there are no rules.
func NewRuleSource(set func() *rule.UsageRuleSet, backend Evaluator) *RuleSource {
	return &RuleSource{set, backend}
}

var errNoRules = metric.Errorf(metric.KindUnavailable, "the configuration has no rules for resource usage")

// GetPodUsages evaluates the rules for each namespace separately. It omits the pods of a namespace whose evaluation fails, unless all fail.
func (r *RuleSource) GetPodUsages(ctx context.Context, pods []Pod, now time.Time) ([]PodUsage, []metric.Omission, error) {
	set := r.ruleSet()
	if set == nil {
		return nil, nil, errNoRules
	}
	names := map[string][]string{}
	for _, p := range pods {
		names[p.Namespace] = append(names[p.Namespace], p.Name)
	}
	cpu, memory := map[string]*containerValues{}, map[string]*containerValues{}
	var queries errgroup.Group
	queries.SetLimit(maxConcurrentQueries)
	for namespace, objects := range names {
		slices.Sort(objects)
		cpu[namespace], memory[namespace] = &containerValues{}, &containerValues{}
		evaluate := func(rules rule.UsageRules, into *containerValues) {
			q := rule.Query{Rule: rules.Containers, Namespace: namespace, Objects: objects}
			queries.Go(func() error {
				into.err = r.evaluateUsageRule(ctx, q, into, newPodContainerKey(rules), now)
				return nil
			})
		}
		evaluate(set.CPU, cpu[namespace])
		evaluate(set.Memory, memory[namespace])
	}
	_ = queries.Wait() // each namespace has its own error
	var failure error
	failed := 0
	for _, namespace := range slices.Sorted(maps.Keys(names)) {
		if err := cmp.Or(cpu[namespace].err, memory[namespace].err); err != nil {
			failure = cmp.Or(failure, err)
			failed++
		}
	}
	if failure != nil && failed == len(names) {
		return nil, nil, failure
	}
	usages, omitted := collectObjectUsages(pods, func(p Pod) (PodUsage, metric.Omission) {
		if err := cmp.Or(cpu[p.Namespace].err, memory[p.Namespace].err); err != nil {
			return PodUsage{}, metric.Omission{Object: p.Object, Reason: metric.ReasonScrapeFailed, Detail: err.Error()}
		}
		u, reason := joinContainerUsage(cpu[p.Namespace].byObject[p.Name], memory[p.Namespace].byObject[p.Name], set.Window)
		if reason == "" && isStaleResourceUsage(u.Time, now, set.CPU.Containers, set.Memory.Containers) {
			reason = metric.ReasonStale
		}
		u.Object = p.Object
		return u, metric.Omission{Object: p.Object, Reason: reason}
	})
	return usages, omitted, nil
}

// GetNodeUsages evaluates the rules for all nodes at once.
func (r *RuleSource) GetNodeUsages(ctx context.Context, names []string, now time.Time) ([]NodeUsage, []metric.Omission, error) {
	set := r.ruleSet()
	if set == nil {
		return nil, nil, errNoRules
	}
	names = slices.Sorted(slices.Values(names))
	var cpu, memory containerValues
	queries, ctx := errgroup.WithContext(ctx)
	evaluate := func(rules rule.UsageRules, into *containerValues) {
		q := rule.Query{Rule: rules.Nodes, Objects: names}
		queries.Go(func() error {
			return r.evaluateUsageRule(ctx, q, into, newNodeContainerKey(rules), now)
		})
	}
	evaluate(set.CPU, &cpu)
	evaluate(set.Memory, &memory)
	if err := queries.Wait(); err != nil {
		return nil, nil, err
	}
	usages, omitted := collectObjectUsages(names, func(name string) (NodeUsage, metric.Omission) {
		u, reason := joinContainerUsage(cpu.byObject[name], memory.byObject[name], set.Window)
		if reason == "" && isStaleResourceUsage(u.Time, now, set.CPU.Nodes, set.Memory.Nodes) {
			reason = metric.ReasonStale
		}
		if reason != "" {
			return NodeUsage{}, metric.Omission{Object: metric.Object{Name: name}, Reason: reason}
		}
		return NodeUsage{Name: name, Usage: u.Containers[0].Usage, Time: u.Time, Window: u.Window}, metric.Omission{}
	})
	return usages, omitted, nil
}

// containerValues are values by object and container; a node has one container, without a name.
type containerValues struct {
	byObject map[string]map[string]metric.Value
	err      error // there are none
}

// containerKeyFunc returns the object and container of a value; not ok if the query does not cover them.
type containerKeyFunc func(q rule.Query, v metric.Value) (object, container string, ok bool, err error)

func newPodContainerKey(rules rule.UsageRules) containerKeyFunc {
	return func(q rule.Query, v metric.Value) (pod, container string, ok bool, err error) {
		if namespace, found := v.Labels[rules.NamespaceLabel]; found && namespace != q.Namespace {
			return "", "", false, nil
		}
		pod = v.Labels[rules.PodLabel]
		if pod == "" {
			return "", "", false, newUsageLabelError(q, rules.PodLabel, v)
		}
		return pod, v.Labels[rules.ContainerLabel], true, nil
	}
}

func newNodeContainerKey(rules rule.UsageRules) containerKeyFunc {
	return func(q rule.Query, v metric.Value) (node, container string, ok bool, err error) {
		node = v.Labels[rules.NodeLabel]
		if node == "" {
			return "", "", false, newUsageLabelError(q, rules.NodeLabel, v)
		}
		return node, "", true, nil
	}
}

func newUsageLabelError(q rule.Query, label string, v metric.Value) error {
	return metric.Errorf(metric.KindInternal, "rule %s: a result has no label %s: %v", q.Rule.Name, label, v.Labels)
}

// evaluateUsageRule evaluates a query, and sorts its results into values by object and container.
func (r *RuleSource) evaluateUsageRule(ctx context.Context, q rule.Query, into *containerValues, keyOf containerKeyFunc, now time.Time) error {
	if q.Rule == nil {
		return errNoRules
	}
	values, err := r.backend.Evaluate(ctx, q, now)
	if err != nil {
		return fmt.Errorf("rule %s: %w", q.Rule.Name, err)
	}
	into.byObject = map[string]map[string]metric.Value{}
	for _, v := range values {
		object, container, ok, err := keyOf(q, v)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		if into.byObject[object] == nil {
			into.byObject[object] = map[string]metric.Value{}
		}
		if _, twice := into.byObject[object][container]; twice {
			return metric.Errorf(metric.KindInternal, "rule %s: several results for %q: %v", q.Rule.Name,
				strings.TrimSuffix(object+"/"+container, "/"), v.Labels)
		}
		into.byObject[object][container] = v
	}
	return nil
}

// joinContainerUsage returns the usage of an object's containers; a node has a container without a name. A container without memory
// has ended: its CPU within the window is past, and does not count. A container without CPU has just started, so the pod has no usage yet.
func joinContainerUsage(cpu, memory map[string]metric.Value, window time.Duration) (PodUsage, metric.Reason) {
	if len(memory) == 0 {
		return PodUsage{}, metric.ReasonAbsent
	}
	u := PodUsage{Window: window}
	for name, m := range memory {
		if name == "" && len(memory) > 1 {
			continue // the pod's cgroup, which contains the named containers
		}
		c, found := cpu[name]
		if !found {
			return PodUsage{}, metric.ReasonWarmingUp
		}
		for _, v := range []metric.Value{c, m} {
			if u.Time.IsZero() || v.Time.Before(u.Time) {
				u.Time = v.Time
			}
		}
		if window == 0 {
			u.Window = max(u.Window, c.Window)
		}
		u.Containers = append(u.Containers, ContainerUsage{name, Usage{CPU: c.Value, Memory: m.Value}})
	}
	slices.SortFunc(u.Containers, func(a, b ContainerUsage) int { return strings.Compare(a.Name, b.Name) })
	return u, ""
}

// isStaleResourceUsage reports whether a usage is older than the smaller MaxAge of the rules.
func isStaleResourceUsage(at, now time.Time, cpu, memory *rule.Rule) bool {
	limit := min(cpu.MaxAge, memory.MaxAge)
	return limit > 0 && now.Sub(at) > limit
}
