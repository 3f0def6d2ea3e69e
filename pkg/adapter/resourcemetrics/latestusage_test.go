package resourcemetrics

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// The page of the old node of a moved pod does not count, with the pod or without it.
func TestTableFollowsPods(t *testing.T) {
	t.Parallel()
	pod := metric.Object{Namespace: "n", Name: "p"}
	on := func(node string, at time.Duration) (nodePageUsage, map[metric.Object]podPageUsage) {
		return nodePageUsage{usage: NodeUsage{Name: node}}, map[metric.Object]podPageUsage{pod: {node: node, usage: PodUsage{Time: epoch.Add(at)}}}
	}
	tb := newLatestUsage()
	tb.replaceNodeUsage(on("old", 0))
	tb.replaceNodeUsage(on("new", 2*time.Second))
	tb.replaceNodeUsage(on("old", time.Second))
	if got := tb.pods[pod].node; got != "new" {
		t.Errorf("after an older page: of node %q", got)
	}
	tb.replaceNodeUsage(nodePageUsage{usage: NodeUsage{Name: "old"}}, nil)
	if got := tb.pods[pod].node; got != "new" {
		t.Errorf("after the old node lost it: of node %q", got)
	}
	tb.removeNodeUsage("new")
	if _, found := tb.pods[pod]; found || len(tb.nodes) != 1 {
		t.Errorf("after its node went: %v, %v", tb.pods, tb.nodes)
	}
}

// The source drops a page that arrives after the removal of its node.
func TestNodeGoesDuringRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFakeKubelets("a")
		f.setResponse("a", func(*http.Request) (*http.Response, error) {
			<-time.After(5 * time.Second)
			return newPageResponse(http.StatusOK, usagePage("a", time.Now())), nil
		})
		k := NewKubeletSource(f.listNodes, f, KubeletOptions{})
		startKubelets(t, k)
		f.setNodes()
		passTime(10 * time.Second)
		if _, o := k.mustGetPodUsage(t, "a"); o.Reason != metric.ReasonAbsent {
			t.Errorf("pod: %+v", o)
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		if len(k.latest.nodes) != 0 {
			t.Errorf("nodes %v", k.latest.nodes)
		}
	})
}

// A page that lacks one of a pod's containers gives no part of the usage as the whole: the container's last reading counts, with its time.
func TestPageLacksContainer(t *testing.T) {
	t.Parallel()
	pod := metric.Object{Namespace: "n", Name: "p"}
	k, u := NewKubeletSource(nil, nil, KubeletOptions{}), &kubeletState{node: "a"}
	page := func(second float64, containers ...string) {
		p := kubeletPage{containers: map[containerID]usageReading{}}
		for _, c := range containers {
			p.containers[containerID{pod, c}] = readingAt(second, second)
		}
		k.recordKubeletPage(kubeletRead{kubelet: u}, p)
	}
	check := func(step string, second float64, reason metric.Reason, containers ...string) {
		t.Helper()
		got := k.latest.pods[pod]
		var names []string
		for _, c := range got.usage.Containers {
			names = append(names, c.Name)
		}
		if diff := cmp.Diff(containers, names); diff != "" || got.reason != reason || reason == "" && got.usage.Time.Sub(epoch).Seconds() != second {
			t.Errorf("%s: reason %q at %v, containers (-want +got):\n%s", step, got.reason, got.usage.Time.Sub(epoch), diff)
		}
	}
	page(0, "app", "proxy")
	page(15, "app", "proxy")
	check("both", 15, "", "app", "proxy")
	page(30, "app")
	check("a page without the proxy", 15, "", "app", "proxy")
	page(45, "app", "proxy")
	check("the proxy is back", 45, "", "app", "proxy")
	page(60, "app")
	page(75, "app")
	check("the proxy has ended", 75, "", "app")
	page(90, "app", "proxy")
	check("the proxy starts anew", 90, metric.ReasonWarmingUp, "app")
	page(105)
	if _, found := k.latest.pods[pod]; found {
		t.Error("the pod is on no page, and has a usage")
	}
}

// Another machine with the name of a node has other counters, which may be higher: its first page gives no usage.
func TestNodeOnAnotherMachine(t *testing.T) {
	t.Parallel()
	k, u := NewKubeletSource(nil, nil, KubeletOptions{}), &kubeletState{node: "a"}
	for i, step := range []struct {
		machine nodeMachine
		cpu     float64
		want    metric.Reason
	}{
		{nodeMachine{"1", "10.0.0.1:10250"}, 100, metric.ReasonWarmingUp},
		{nodeMachine{"1", "10.0.0.1:10250"}, 115, ""},
		{nodeMachine{"1", "10.0.0.2:10250"}, 50_000, metric.ReasonWarmingUp},
		{nodeMachine{"1", "10.0.0.2:10250"}, 50_015, ""},
		{nodeMachine{"2", "10.0.0.2:10250"}, 90_000, metric.ReasonWarmingUp},
		{nodeMachine{"2", "10.0.0.2:10250"}, 90_015, ""},
	} {
		k.recordKubeletPage(kubeletRead{u, step.machine}, kubeletPage{node: readingAt(float64(15*i), step.cpu)})
		got := k.latest.nodes["a"]
		if got.reason != step.want || step.want == "" && got.usage.Usage.CPU != 1 {
			t.Errorf("page %d: reason %q, usage %v", i, got.reason, got.usage.Usage)
		}
	}
}
