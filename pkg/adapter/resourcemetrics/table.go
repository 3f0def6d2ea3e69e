package resourcemetrics

import (
	"maps"
	"slices"
	"strings"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// podOnNode is what a node's page tells of a pod: its usage, or the reason why it has none yet.
type podOnNode struct {
	node   string
	usage  PodUsage
	reason metric.Reason
}

// nodeOnPage is what a node's page tells of itself.
type nodeOnPage struct {
	usage  NodeUsage
	reason metric.Reason
}

// table is the newest usage of everything, whichever node told it. It is not safe for concurrent use.
type table struct {
	nodes map[string]nodeOnPage
	pods  map[metric.Object]podOnNode
	on    map[string][]metric.Object // the pods of each node's last page
}

func newTable() table {
	return table{nodes: map[string]nodeOnPage{}, pods: map[metric.Object]podOnNode{}, on: map[string][]metric.Object{}}
}

// put replaces what a node told before. Of a pod that two nodes tell of, as one that was deleted here and made again
// there, the newer sample counts.
func (t *table) put(node nodeOnPage, pods map[metric.Object]podOnNode) {
	name := node.usage.Name
	t.drop(name)
	t.nodes[name] = node
	t.on[name] = slices.Collect(maps.Keys(pods))
	for o, p := range pods {
		if other, found := t.pods[o]; !found || !other.usage.Time.After(p.usage.Time) {
			t.pods[o] = p
		}
	}
}

// drop forgets what a node told.
func (t *table) drop(node string) {
	for _, o := range t.on[node] {
		if t.pods[o].node == node {
			delete(t.pods, o)
		}
	}
	delete(t.on, node)
	delete(t.nodes, node)
}

func nodeEntry(name string, h history, l limits) nodeOnPage {
	u, s, reason := h.usage(l)
	return nodeOnPage{NodeUsage{Name: name, Usage: u, Time: s.time, Window: s.window}, reason}
}

// podEntries are the pods of a page. A pod of which one container has no usage yet has none.
func podEntries(node string, containers map[container]history, l limits) map[metric.Object]podOnNode {
	pods := map[metric.Object]podOnNode{}
	for c, h := range containers {
		p, known := pods[c.pod]
		if !known {
			p = podOnNode{node: node, usage: PodUsage{Object: c.pod}}
		}
		p.add(c.name, h, l)
		pods[c.pod] = p
	}
	for o, p := range pods {
		slices.SortFunc(p.usage.Containers, func(a, b ContainerUsage) int { return strings.Compare(a.Name, b.Name) })
		pods[o] = p
	}
	return pods
}

// add adds a container. The pod's time is its oldest container's, and its window the longest: the autoscaler takes a pod
// that became ready within the window for one that still starts.
func (p *podOnNode) add(name string, h history, l limits) {
	u, s, reason := h.usage(l)
	if reason != "" {
		if p.reason == "" || reason == metric.ReasonWarmingUp {
			p.reason = reason // of two, the one that passes
		}
		return
	}
	if p.usage.Time.IsZero() || s.time.Before(p.usage.Time) {
		p.usage.Time = s.time
	}
	p.usage.Window = max(p.usage.Window, s.window)
	p.usage.Containers = append(p.usage.Containers, ContainerUsage{name, u})
}
