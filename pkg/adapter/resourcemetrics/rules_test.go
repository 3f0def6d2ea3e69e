package resourcemetrics

import (
	"context"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// backend answers with the values that a test gives each rule, whatever is asked, and remembers the questions.
type backend struct {
	values map[string][]metric.Value // by name of the rule
	err    error
	asked  chan rule.Query
	busy   atomic.Int32
	most   atomic.Int32
}

func (b *backend) Evaluate(_ context.Context, q rule.Query, _ time.Time) ([]metric.Value, error) {
	if n := b.busy.Add(1); n > b.most.Load() {
		b.most.Store(n)
	}
	defer b.busy.Add(-1)
	b.asked <- q
	return b.values[q.Rule.Name], b.err
}

func ruleSet() *RuleSet {
	of := func(resource, nodeLabel string) UsageRules {
		return UsageRules{
			Containers:     &rule.Rule{Name: resource + " of containers", External: true, MaxAge: time.Minute},
			Nodes:          &rule.Rule{Name: resource + " of nodes", External: true, MaxAge: time.Minute},
			NamespaceLabel: "k8s_ns", PodLabel: "k8s_pod", ContainerLabel: "k8s_container", NodeLabel: nodeLabel,
		}
	}
	return &RuleSet{CPU: of("cpu", "node"), Memory: of("memory", "instance"), Window: 5 * time.Minute}
}

func value(v float64, age time.Duration, kv ...string) metric.Value {
	l := map[string]string{}
	for i := 0; i < len(kv); i += 2 {
		l[kv[i]] = kv[i+1]
	}
	return metric.Value{Labels: l, Value: v, Time: measured.Add(-age), Window: 2 * time.Minute}
}

func ofContainer(v float64, age time.Duration, pod, name string) metric.Value {
	return value(v, age, "k8s_ns", "n", "k8s_pod", pod, "k8s_container", name)
}

func TestRulesPods(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		cpu, memory []metric.Value
		window      time.Duration
		want        []PodUsage
		reason      metric.Reason
		err         string
	}{
		"one container": {
			cpu: []metric.Value{ofContainer(.5, time.Second, "p", "c")}, memory: []metric.Value{ofContainer(7, 0, "p", "c")}, window: 5 * time.Minute,
			want: []PodUsage{{Containers: []ContainerUsage{{"c", Usage{.5, 7}}}, Time: measured.Add(-time.Second), Window: 5 * time.Minute}},
		},
		"several, with their cgroup": {
			cpu:    []metric.Value{ofContainer(1, 0, "p", "b"), ofContainer(2, 0, "p", "a"), ofContainer(3, 0, "p", "")},
			memory: []metric.Value{ofContainer(1, 0, "p", "b"), ofContainer(2, 0, "p", "a"), ofContainer(3, 9*time.Second, "p", "")},
			want:   []PodUsage{{Containers: []ContainerUsage{{"a", Usage{2, 2}}, {"b", Usage{1, 1}}}, Time: measured, Window: 2 * time.Minute}},
		},
		"without names": {
			cpu: []metric.Value{value(1, 0, "k8s_pod", "p")}, memory: []metric.Value{value(2, 0, "k8s_pod", "p")},
			want: []PodUsage{{Containers: []ContainerUsage{{"", Usage{1, 2}}}, Time: measured, Window: 2 * time.Minute}},
		},
		"one has ended": {
			cpu:    []metric.Value{ofContainer(1, 0, "p", "init"), ofContainer(2, 0, "p", "c")},
			memory: []metric.Value{ofContainer(5, 0, "p", "c")},
			want:   []PodUsage{{Containers: []ContainerUsage{{"c", Usage{2, 5}}}, Time: measured, Window: 2 * time.Minute}},
		},
		"one has just started": {
			cpu:    []metric.Value{ofContainer(2, 0, "p", "c")},
			memory: []metric.Value{ofContainer(5, 0, "p", "c"), ofContainer(5, 0, "p", "young")},
			reason: metric.ReasonWarmingUp,
		},
		"no memory":     {cpu: []metric.Value{ofContainer(2, 0, "p", "c")}, reason: metric.ReasonAbsent},
		"another pod":   {cpu: []metric.Value{ofContainer(2, 0, "q", "c")}, memory: []metric.Value{ofContainer(2, 0, "q", "c")}, reason: metric.ReasonAbsent},
		"another space": {cpu: []metric.Value{value(2, 0, "k8s_ns", "m", "k8s_pod", "p")}, memory: []metric.Value{value(2, 0, "k8s_ns", "m", "k8s_pod", "p")}, reason: metric.ReasonAbsent},
		"too old":       {cpu: []metric.Value{ofContainer(2, 61*time.Second, "p", "c")}, memory: []metric.Value{ofContainer(2, 0, "p", "c")}, reason: metric.ReasonStale},
		"twice": {
			cpu: []metric.Value{ofContainer(2, 0, "p", "c"), ofContainer(3, 0, "p", "c")}, memory: []metric.Value{ofContainer(2, 0, "p", "c")},
			err: `rule cpu of containers: several results for "p/c"`,
		},
		"without the pod": {cpu: []metric.Value{value(1, 0, "pod", "p")}, err: "rule cpu of containers: a result has no label k8s_pod"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := &backend{asked: make(chan rule.Query, 10), values: map[string][]metric.Value{"cpu of containers": tc.cpu, "memory of containers": tc.memory}}
			set := ruleSet()
			set.Window = tc.window
			pod := metric.Object{Namespace: "n", Name: "p"}
			usages, omitted, err := NewRules(func() *RuleSet { return set }, b).Pods(t.Context(), []Pod{{Object: pod}}, measured)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) || metric.KindOf(err) != metric.KindInternal {
					t.Errorf("error %v, want %q", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for i := range tc.want {
				tc.want[i].Object = pod
			}
			if diff := cmp.Diff(tc.want, usages); diff != "" {
				t.Errorf("usages (-want +got):\n%s", diff)
			}
			var want []metric.Omission
			if tc.reason != "" {
				want = []metric.Omission{{Object: pod, Reason: tc.reason}}
			}
			if diff := cmp.Diff(want, omitted); diff != "" {
				t.Errorf("omissions (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRulesAskByNamespace(t *testing.T) {
	t.Parallel()
	b := &backend{asked: make(chan rule.Query, 1000)}
	var pods []Pod
	for _, namespace := range strings.Split("abcdefghijklmnopqrstuvwxyz", "") {
		pods = append(pods, Pod{Object: metric.Object{Namespace: namespace, Name: "2"}}, Pod{Object: metric.Object{Namespace: namespace, Name: "1"}})
	}
	set := ruleSet()
	if _, omitted, err := NewRules(func() *RuleSet { return set }, b).Pods(t.Context(), pods, measured); err != nil || len(omitted) != len(pods) {
		t.Fatalf("%d omissions, %v", len(omitted), err)
	}
	if len(b.asked) != 52 || b.most.Load() > maxQueries {
		t.Errorf("%d questions, up to %d at a time", len(b.asked), b.most.Load())
	}
	for range 52 {
		if q := <-b.asked; q.Namespace == "" || !slices.Equal(q.Objects, []string{"1", "2"}) {
			t.Errorf("asked for %q in %q", q.Objects, q.Namespace)
		}
	}
}

func TestRulesNodes(t *testing.T) {
	t.Parallel()
	b := &backend{asked: make(chan rule.Query, 10), values: map[string][]metric.Value{
		"cpu of nodes":    {value(3, time.Second, "node", "a"), value(math.NaN(), 0, "node", "b"), value(1, time.Hour, "node", "c"), value(1, 0, "node", "d")},
		"memory of nodes": {value(9, 0, "instance", "a"), value(9, 0, "instance", "b"), value(9, 0, "instance", "c")},
	}}
	set := ruleSet()
	r := NewRules(func() *RuleSet { return set }, b)
	usages, omitted, err := r.Nodes(t.Context(), []string{"d", "a", "b", "c"}, measured)
	if err != nil {
		t.Fatal(err)
	}
	if len(usages) != 2 || usages[0].Name != "a" || usages[0].Usage != (Usage{3, 9}) || !usages[0].Time.Equal(measured.Add(-time.Second)) ||
		usages[0].Window != 5*time.Minute || !math.IsNaN(usages[1].CPU) { // what is no number is judged by the API
		t.Errorf("usages %+v", usages)
	}
	want := []metric.Omission{{Object: metric.Object{Name: "c"}, Reason: metric.ReasonStale}, {Object: metric.Object{Name: "d"}, Reason: metric.ReasonAbsent}}
	if diff := cmp.Diff(want, omitted); diff != "" {
		t.Errorf("omissions (-want +got):\n%s", diff)
	}
	b.values["memory of nodes"] = append(b.values["memory of nodes"], value(1, 0, "node", "a"))
	if _, _, err := r.Nodes(t.Context(), []string{"a"}, measured); err == nil || !strings.Contains(err.Error(), "rule memory of nodes: a result has no label instance") {
		t.Errorf("error %v", err)
	}
}

func TestRulesFaults(t *testing.T) {
	t.Parallel()
	b := &backend{asked: make(chan rule.Query, 10), err: metric.Errorf(metric.KindUnavailable, "down")}
	half := ruleSet()
	half.Memory.Containers, half.Memory.Nodes = nil, nil
	for name, set := range map[string]*RuleSet{"none": nil, "down": ruleSet(), "half": half} {
		r := NewRules(func() *RuleSet { return set }, b)
		if _, _, err := r.Pods(t.Context(), []Pod{{}}, measured); metric.KindOf(err) != metric.KindUnavailable {
			t.Errorf("%s: Pods = %v", name, err)
		}
		if _, _, err := r.Nodes(t.Context(), []string{"a"}, measured); metric.KindOf(err) != metric.KindUnavailable {
			t.Errorf("%s: Nodes = %v", name, err)
		}
	}
}
