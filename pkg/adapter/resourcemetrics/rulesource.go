package resourcemetrics

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// UsageRuleSet is how usage is computed by rules. It is not changed once it is given to a Rules.
type UsageRuleSet struct {
	CPU, Memory UsageRules
	// Window is what CPU usage is said to be an average over; 0: what the values themselves say.
	Window time.Duration
}

// UsageRules are the rules of one resource. Containers is asked with Query.Namespace and the names of pods as
// Query.Objects, Nodes with the names of nodes. The labels name what a result is of; CPU is in cores, memory in bytes.
type UsageRules struct {
	Containers, Nodes                                   *rule.Rule
	NamespaceLabel, PodLabel, ContainerLabel, NodeLabel string
}

// Evaluator is what evaluates a rule: a backend, or several by the rule's. It may be called concurrently.
type Evaluator interface {
	Evaluate(ctx context.Context, q rule.Query, now time.Time) ([]metric.Value, error)
}

// maxConcurrentQueries bounds the queries that one read waits for at a time: one that lists the pods of all namespaces asks two of
// each.
const maxConcurrentQueries = 8

// RuleSource is the Source that asks a backend.
type RuleSource struct {
	ruleSet func() *UsageRuleSet
	backend Evaluator
}

var _ UsageSource = (*RuleSource)(nil)

// NewRuleSource returns a source for the rules of the moment. set must be safe for concurrent use; nil says that there are none.
func NewRuleSource(set func() *UsageRuleSet, backend Evaluator) *RuleSource {
	return &RuleSource{set, backend}
}

var errNoRules = metric.Errorf(metric.KindUnavailable, "the configuration has no rules for resource usage")

// GetPodUsages asks for each namespace by itself.
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
	questions, ctx := errgroup.WithContext(ctx)
	questions.SetLimit(maxConcurrentQueries)
	for namespace, objects := range names {
		slices.Sort(objects)
		cpu[namespace], memory[namespace] = &containerValues{}, &containerValues{}
		ask := func(rules UsageRules, into *containerValues) {
			q := rule.Query{Rule: rules.Containers, Namespace: namespace, Objects: objects}
			questions.Go(func() error { return r.evaluateUsageRule(ctx, q, into, rules.podContainerKey, now) })
		}
		ask(set.CPU, cpu[namespace])
		ask(set.Memory, memory[namespace])
	}
	if err := questions.Wait(); err != nil {
		return nil, nil, err
	}
	var usages []PodUsage
	var omitted []metric.Omission
	for _, p := range pods {
		u, reason := joinContainerUsage(cpu[p.Namespace].byObject[p.Name], memory[p.Namespace].byObject[p.Name], set.Window)
		if reason == "" && isUsageStale(u.Time, now, set.CPU.Containers, set.Memory.Containers) {
			reason = metric.ReasonStale
		}
		if reason != "" {
			omitted = append(omitted, metric.Omission{Object: p.Object, Reason: reason})
			continue
		}
		u.Object = p.Object
		usages = append(usages, u)
	}
	return usages, omitted, nil
}

// GetNodeUsages asks for all nodes at once.
func (r *RuleSource) GetNodeUsages(ctx context.Context, names []string, now time.Time) ([]NodeUsage, []metric.Omission, error) {
	set := r.ruleSet()
	if set == nil {
		return nil, nil, errNoRules
	}
	names = slices.Sorted(slices.Values(names))
	var cpu, memory containerValues
	questions, ctx := errgroup.WithContext(ctx)
	ask := func(rules UsageRules, into *containerValues) {
		q := rule.Query{Rule: rules.Nodes, Objects: names}
		questions.Go(func() error { return r.evaluateUsageRule(ctx, q, into, rules.nodeContainerKey, now) })
	}
	ask(set.CPU, &cpu)
	ask(set.Memory, &memory)
	if err := questions.Wait(); err != nil {
		return nil, nil, err
	}
	var usages []NodeUsage
	var omitted []metric.Omission
	for _, name := range names {
		u, reason := joinContainerUsage(cpu.byObject[name], memory.byObject[name], set.Window)
		if reason == "" && isUsageStale(u.Time, now, set.CPU.Nodes, set.Memory.Nodes) {
			reason = metric.ReasonStale
		}
		if reason != "" {
			omitted = append(omitted, metric.Omission{Object: metric.Object{Name: name}, Reason: reason})
			continue
		}
		usages = append(usages, NodeUsage{Name: name, Usage: u.Containers[0].Usage, Time: u.Time, Window: u.Window})
	}
	return usages, omitted, nil
}

// containerValues are values by object and container; a node has one container, without a name.
type containerValues struct {
	byObject map[string]map[string]metric.Value
}

// containerKeyFunc tells what a value is of. Not ok: of nothing that was asked for.
type containerKeyFunc func(q rule.Query, v metric.Value) (object, container string, ok bool, err error)

func (r UsageRules) podContainerKey(q rule.Query, v metric.Value) (pod, container string, ok bool, err error) {
	if namespace, found := v.Labels[r.NamespaceLabel]; found && namespace != q.Namespace {
		return "", "", false, nil
	}
	pod = v.Labels[r.PodLabel]
	if pod == "" {
		return "", "", false, newMissingLabelError(q, r.PodLabel, v)
	}
	return pod, v.Labels[r.ContainerLabel], true, nil
}

func (r UsageRules) nodeContainerKey(q rule.Query, v metric.Value) (node, container string, ok bool, err error) {
	node = v.Labels[r.NodeLabel]
	if node == "" {
		return "", "", false, newMissingLabelError(q, r.NodeLabel, v)
	}
	return node, "", true, nil
}

func newMissingLabelError(q rule.Query, label string, v metric.Value) error {
	return metric.Errorf(metric.KindInternal, "rule %s: a result has no label %s: %v", q.Rule.Name, label, v.Labels)
}

// evaluateUsageRule evaluates one question and sorts its results.
func (r *RuleSource) evaluateUsageRule(ctx context.Context, q rule.Query, into *containerValues, of containerKeyFunc, now time.Time) error {
	if q.Rule == nil {
		return errNoRules
	}
	values, err := r.backend.Evaluate(ctx, q, now)
	if err != nil {
		return fmt.Errorf("rule %s: %w", q.Rule.Name, err)
	}
	into.byObject = map[string]map[string]metric.Value{}
	for _, v := range values {
		object, container, ok, err := of(q, v)
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

// joinContainerUsage is the usage of an object's containers, of which a node has one without a name. A container without memory has ended, and what CPU it used within the window is of
// the past; one without CPU has just started, and the pod has no usage yet.
func joinContainerUsage(cpu, memory map[string]metric.Value, window time.Duration) (PodUsage, metric.Reason) {
	if len(memory) == 0 {
		return PodUsage{}, metric.ReasonAbsent
	}
	u := PodUsage{Window: window}
	for name, m := range memory {
		if name == "" && len(memory) > 1 {
			continue // the pod's cgroup, which the named containers are in
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

// isUsageStale tells whether a usage is older than both rules permit.
func isUsageStale(at, now time.Time, cpu, memory *rule.Rule) bool {
	limit := min(cpu.MaxAge, memory.MaxAge)
	return limit > 0 && now.Sub(at) > limit
}
