package resourcemetrics

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// Of a pod that moved, the page of its old node says nothing any more: neither by having it nor by losing it.
func TestTableFollowsPods(t *testing.T) {
	t.Parallel()
	pod := metric.Object{Namespace: "n", Name: "p"}
	on := func(node string, at time.Duration) (nodeOnPage, map[metric.Object]podOnNode) {
		return nodeOnPage{usage: NodeUsage{Name: node}}, map[metric.Object]podOnNode{pod: {node: node, usage: PodUsage{Time: epoch.Add(at)}}}
	}
	tb := newTable()
	tb.put(on("old", 0))
	tb.put(on("new", 2*time.Second))
	tb.put(on("old", time.Second))
	if got := tb.pods[pod].node; got != "new" {
		t.Errorf("after an older page: of node %q", got)
	}
	tb.put(nodeOnPage{usage: NodeUsage{Name: "old"}}, nil)
	if got := tb.pods[pod].node; got != "new" {
		t.Errorf("after the old node lost it: of node %q", got)
	}
	tb.drop("new")
	if _, found := tb.pods[pod]; found || len(tb.nodes) != 1 {
		t.Errorf("after its node went: %v, %v", tb.pods, tb.nodes)
	}
}

// A page that arrives after its node went is not served.
func TestNodeGoesDuringRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFleet("a")
		f.on("a", func(*http.Request) (*http.Response, error) {
			<-time.After(5 * time.Second)
			return reply(http.StatusOK, usagePage("a", time.Now())), nil
		})
		k := NewKubelets(f.list, f, KubeletOptions{})
		start(t, k)
		f.set()
		after(10 * time.Second)
		if _, o := k.askPod(t, "a"); o.Reason != metric.ReasonAbsent {
			t.Errorf("pod: %+v", o)
		}
		k.mu.Lock()
		defer k.mu.Unlock()
		if len(k.table.nodes) != 0 {
			t.Errorf("nodes %v", k.table.nodes)
		}
	})
}
