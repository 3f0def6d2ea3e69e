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
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// fakeEvaluator returns the values that a test gives each rule, for any query, and records the queries.
type fakeEvaluator struct {
	values  map[string][]metric.Value // by name of the rule
	err     error
	bad     string // a namespace whose queries fail; empty: none
	queries chan rule.Query
	busy    atomic.Int32
	maxBusy atomic.Int32
}

func (b *fakeEvaluator) Evaluate(_ context.Context, q rule.Query, _ time.Time) ([]metric.Value, error) {
	if n := b.busy.Add(1); n > b.maxBusy.Load() {
		b.maxBusy.Store(n)
	}
	defer b.busy.Add(-1)
	b.queries <- q
	if b.bad != "" && q.Namespace == b.bad {
		return nil, metric.Errorf(metric.KindInternal, "duplicate series")
	}
	return b.values[q.Rule.Name], b.err
}

func newUsageRuleSet() *rule.UsageRuleSet {
	of := func(resource, nodeLabel string) rule.UsageRules {
		return rule.UsageRules{
			Containers:     &rule.Rule{Name: resource + " of containers", External: true, MaxAge: time.Minute},
			Nodes:          &rule.Rule{Name: resource + " of nodes", External: true, MaxAge: time.Minute},
			NamespaceLabel: "k8s_ns", PodLabel: "k8s_pod", ContainerLabel: "k8s_container", NodeLabel: nodeLabel,
		}
	}
	return &rule.UsageRuleSet{CPU: of("cpu", "node"), Memory: of("memory", "instance"), Window: 5 * time.Minute}
}

func newLabelledValue(v float64, age time.Duration, kv ...string) metric.Value {
	l := map[string]string{}
	for i := 0; i < len(kv); i += 2 {
		l[kv[i]] = kv[i+1]
	}
	return metric.Value{Labels: l, Value: v, Time: measuredAt.Add(-age), Window: 2 * time.Minute}
}

func newContainerValue(v float64, age time.Duration, pod, name string) metric.Value {
	return newLabelledValue(v, age, "k8s_ns", "n", "k8s_pod", pod, "k8s_container", name)
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
			cpu: []metric.Value{newContainerValue(.5, time.Second, "p", "c")}, memory: []metric.Value{newContainerValue(7, 0, "p", "c")}, window: 5 * time.Minute,
			want: []PodUsage{{Containers: []ContainerUsage{{"c", Usage{.5, 7}}}, Time: measuredAt.Add(-time.Second), Window: 5 * time.Minute}},
		},
		"several, with their cgroup": {
			cpu:    []metric.Value{newContainerValue(1, 0, "p", "b"), newContainerValue(2, 0, "p", "a"), newContainerValue(3, 0, "p", "")},
			memory: []metric.Value{newContainerValue(1, 0, "p", "b"), newContainerValue(2, 0, "p", "a"), newContainerValue(3, 9*time.Second, "p", "")},
			want:   []PodUsage{{Containers: []ContainerUsage{{"a", Usage{2, 2}}, {"b", Usage{1, 1}}}, Time: measuredAt, Window: 2 * time.Minute}},
		},
		"without names": {
			cpu: []metric.Value{newLabelledValue(1, 0, "k8s_pod", "p")}, memory: []metric.Value{newLabelledValue(2, 0, "k8s_pod", "p")},
			want: []PodUsage{{Containers: []ContainerUsage{{"", Usage{1, 2}}}, Time: measuredAt, Window: 2 * time.Minute}},
		},
		"one has ended": {
			cpu:    []metric.Value{newContainerValue(1, 0, "p", "init"), newContainerValue(2, 0, "p", "c")},
			memory: []metric.Value{newContainerValue(5, 0, "p", "c")},
			want:   []PodUsage{{Containers: []ContainerUsage{{"c", Usage{2, 5}}}, Time: measuredAt, Window: 2 * time.Minute}},
		},
		"one has just started": {
			cpu:    []metric.Value{newContainerValue(2, 0, "p", "c")},
			memory: []metric.Value{newContainerValue(5, 0, "p", "c"), newContainerValue(5, 0, "p", "young")},
			reason: metric.ReasonWarmingUp,
		},
		"no memory":     {cpu: []metric.Value{newContainerValue(2, 0, "p", "c")}, reason: metric.ReasonAbsent},
		"another pod":   {cpu: []metric.Value{newContainerValue(2, 0, "q", "c")}, memory: []metric.Value{newContainerValue(2, 0, "q", "c")}, reason: metric.ReasonAbsent},
		"another space": {cpu: []metric.Value{newLabelledValue(2, 0, "k8s_ns", "m", "k8s_pod", "p")}, memory: []metric.Value{newLabelledValue(2, 0, "k8s_ns", "m", "k8s_pod", "p")}, reason: metric.ReasonAbsent},
		"too old":       {cpu: []metric.Value{newContainerValue(2, 61*time.Second, "p", "c")}, memory: []metric.Value{newContainerValue(2, 0, "p", "c")}, reason: metric.ReasonStale},
		"twice": {
			cpu: []metric.Value{newContainerValue(2, 0, "p", "c"), newContainerValue(3, 0, "p", "c")}, memory: []metric.Value{newContainerValue(2, 0, "p", "c")},
			err: `rule cpu of containers: several results for "p/c"`,
		},
		"without the pod": {cpu: []metric.Value{newLabelledValue(1, 0, "pod", "p")}, err: "rule cpu of containers: a result has no label k8s_pod"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := &fakeEvaluator{queries: make(chan rule.Query, 10), values: map[string][]metric.Value{"cpu of containers": tc.cpu, "memory of containers": tc.memory}}
			set := newUsageRuleSet()
			set.Window = tc.window
			pod := metric.Object{Namespace: "n", Name: "p"}
			usages, omitted, err := NewRuleSource(func() *rule.UsageRuleSet { return set }, b).GetPodUsages(t.Context(), []Pod{{Object: pod}}, measuredAt)
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
			if diff := cmp.Diff(tc.want, usages, cmpopts.EquateEmpty()); diff != "" {
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
	b := &fakeEvaluator{queries: make(chan rule.Query, 1000)}
	var pods []Pod
	for _, namespace := range strings.Split("abcdefghijklmnopqrstuvwxyz", "") {
		pods = append(pods, Pod{Object: metric.Object{Namespace: namespace, Name: "2"}}, Pod{Object: metric.Object{Namespace: namespace, Name: "1"}})
	}
	set := newUsageRuleSet()
	if _, omitted, err := NewRuleSource(func() *rule.UsageRuleSet { return set }, b).GetPodUsages(t.Context(), pods, measuredAt); err != nil || len(omitted) != len(pods) {
		t.Fatalf("%d omissions, %v", len(omitted), err)
	}
	if len(b.queries) != 52 || b.maxBusy.Load() > maxConcurrentQueries {
		t.Errorf("%d questions, up to %d at a time", len(b.queries), b.maxBusy.Load())
	}
	for range 52 {
		if q := <-b.queries; q.Namespace == "" || !slices.Equal(q.Objects, []string{"1", "2"}) {
			t.Errorf("asked for %q in %q", q.Objects, q.Namespace)
		}
	}
}

// TestRulesOfABadNamespace: a list of the pods of all namespaces lacks those of a namespace whose evaluation fails, and no others.
func TestRulesOfABadNamespace(t *testing.T) {
	t.Parallel()
	b := &fakeEvaluator{queries: make(chan rule.Query, 10), bad: "bank", values: map[string][]metric.Value{
		"cpu of containers": {newContainerValue(1, 0, "p", "c")}, "memory of containers": {newContainerValue(2, 0, "p", "c")},
	}}
	set := newUsageRuleSet()
	r := NewRuleSource(func() *rule.UsageRuleSet { return set }, b)
	bank, other := Pod{Object: metric.Object{Namespace: "bank", Name: "p"}}, Pod{Object: metric.Object{Namespace: "n", Name: "p"}}
	usages, omitted, err := r.GetPodUsages(t.Context(), []Pod{bank, other}, measuredAt)
	if err != nil || len(usages) != 1 || usages[0].Object != other.Object || len(omitted) != 1 || omitted[0].Object != bank.Object {
		t.Errorf("%+v, %+v, %v; want the pod of n alone", usages, omitted, err)
	}
	if _, _, err := r.GetPodUsages(t.Context(), []Pod{bank}, measuredAt); err == nil || !strings.Contains(err.Error(), "duplicate series") {
		t.Errorf("%v, want the error of the only namespace", err)
	}
}

func TestRulesNodes(t *testing.T) {
	t.Parallel()
	b := &fakeEvaluator{queries: make(chan rule.Query, 10), values: map[string][]metric.Value{
		"cpu of nodes":    {newLabelledValue(3, time.Second, "node", "a"), newLabelledValue(math.NaN(), 0, "node", "b"), newLabelledValue(1, time.Hour, "node", "c"), newLabelledValue(1, 0, "node", "d")},
		"memory of nodes": {newLabelledValue(9, 0, "instance", "a"), newLabelledValue(9, 0, "instance", "b"), newLabelledValue(9, 0, "instance", "c")},
	}}
	set := newUsageRuleSet()
	r := NewRuleSource(func() *rule.UsageRuleSet { return set }, b)
	usages, omitted, err := r.GetNodeUsages(t.Context(), []string{"d", "a", "b", "c"}, measuredAt)
	if err != nil {
		t.Fatal(err)
	}
	if len(usages) != 2 || usages[0].Name != "a" || usages[0].Usage != (Usage{3, 9}) || !usages[0].Time.Equal(measuredAt.Add(-time.Second)) ||
		usages[0].Window != 5*time.Minute || !math.IsNaN(usages[1].CPU) { // the API rejects NaN
		t.Errorf("usages %+v", usages)
	}
	want := []metric.Omission{{Object: metric.Object{Name: "c"}, Reason: metric.ReasonStale}, {Object: metric.Object{Name: "d"}, Reason: metric.ReasonAbsent}}
	if diff := cmp.Diff(want, omitted); diff != "" {
		t.Errorf("omissions (-want +got):\n%s", diff)
	}
	b.values["memory of nodes"] = append(b.values["memory of nodes"], newLabelledValue(1, 0, "node", "a"))
	if _, _, err := r.GetNodeUsages(t.Context(), []string{"a"}, measuredAt); err == nil || !strings.Contains(err.Error(), "rule memory of nodes: a result has no label instance") {
		t.Errorf("error %v", err)
	}
}

func TestRulesFaults(t *testing.T) {
	t.Parallel()
	b := &fakeEvaluator{queries: make(chan rule.Query, 10), err: metric.Errorf(metric.KindUnavailable, "down")}
	half := newUsageRuleSet()
	half.Memory.Containers, half.Memory.Nodes = nil, nil
	for name, set := range map[string]*rule.UsageRuleSet{"none": nil, "down": newUsageRuleSet(), "half": half} {
		r := NewRuleSource(func() *rule.UsageRuleSet { return set }, b)
		if _, _, err := r.GetPodUsages(t.Context(), []Pod{{}}, measuredAt); metric.KindOf(err) != metric.KindUnavailable {
			t.Errorf("%s: Pods = %v", name, err)
		}
		if _, _, err := r.GetNodeUsages(t.Context(), []string{"a"}, measuredAt); metric.KindOf(err) != metric.KindUnavailable {
			t.Errorf("%s: Nodes = %v", name, err)
		}
	}
}
