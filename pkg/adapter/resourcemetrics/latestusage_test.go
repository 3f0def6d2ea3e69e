package resourcemetrics

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// The page of the old node of a moved pod does not count, with the pod or without it.
func TestTableFollowsPods(t *testing.T) {
	t.Parallel()
	pod := metric.Object{Namespace: "n", Name: "p"}
	on := func(node string, at time.Duration) (nodePageUsage, map[metric.Object]podPageUsage) {
		return nodePageUsage{usage: NodeUsage{Name: node}}, map[metric.Object]podPageUsage{pod: {node: node, usage: PodUsage{Time: epoch.Add(at)}}}
	}
	tb := newLatestResourceUsage()
	tb.replaceNodeResourceUsage(on("old", 0))
	tb.replaceNodeResourceUsage(on("new", 2*time.Second))
	tb.replaceNodeResourceUsage(on("old", time.Second))
	if got := tb.pods[pod].node; got != "new" {
		t.Errorf("after an older page: of node %q", got)
	}
	tb.replaceNodeResourceUsage(nodePageUsage{usage: NodeUsage{Name: "old"}}, nil)
	if got := tb.pods[pod].node; got != "new" {
		t.Errorf("after the old node lost it: of node %q", got)
	}
	tb.removeNodeResourceUsage("new")
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
