// The newest usage of all pods and nodes, from the pages of their nodes.

package resourcemetrics

import (
	"maps"
	"slices"
	"strings"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// podPageUsage is a pod's usage by a node's page, or the reason for its absence.
type podPageUsage struct {
	node   string
	usage  PodUsage
	reason metric.Reason
}

// nodePageUsage is a node's usage by its own page, or the reason for its absence.
type nodePageUsage struct {
	usage  NodeUsage
	reason metric.Reason
}

// latestUsage is the newest usage of all pods and nodes. It is not safe for concurrent use.
type latestUsage struct {
	nodes      map[string]nodePageUsage
	pods       map[metric.Object]podPageUsage
	podsByNode map[string][]metric.Object // the pods of each node's last page
}

func newLatestUsage() latestUsage {
	return latestUsage{nodes: map[string]nodePageUsage{}, pods: map[metric.Object]podPageUsage{}, podsByNode: map[string][]metric.Object{}}
}

// replaceNodeUsage replaces the usage by a node's earlier page. If two nodes report a pod, which was deleted and made again
// elsewhere, the newer sample counts.
func (t *latestUsage) replaceNodeUsage(node nodePageUsage, pods map[metric.Object]podPageUsage) {
	name := node.usage.Name
	t.removeNodeUsage(name)
	t.nodes[name] = node
	t.podsByNode[name] = slices.Collect(maps.Keys(pods))
	for o, p := range pods {
		if other, found := t.pods[o]; !found || !other.usage.Time.After(p.usage.Time) {
			t.pods[o] = p
		}
	}
}

// removeNodeUsage removes the usage by a node's page.
func (t *latestUsage) removeNodeUsage(node string) {
	for _, o := range t.podsByNode[node] {
		if t.pods[o].node == node {
			delete(t.pods, o)
		}
	}
	delete(t.podsByNode, node)
	delete(t.nodes, node)
}

// newNodePageUsage returns a node's usage by its history.
func newNodePageUsage(name string, h usageHistory, l windowLimits) nodePageUsage {
	u, s, reason := h.computeContainerUsage(l)
	return nodePageUsage{NodeUsage{Name: name, Usage: u, Time: s.time, Window: s.window}, reason}
}

// newPodPageUsages returns the usage of the pods of a page. A pod with a container without usage has no usage.
func newPodPageUsages(node string, containers map[containerID]usageHistory, l windowLimits) map[metric.Object]podPageUsage {
	pods := map[metric.Object]podPageUsage{}
	for c, h := range containers {
		p, known := pods[c.pod]
		if !known {
			p = podPageUsage{node: node, usage: PodUsage{Object: c.pod}}
		}
		p.addContainerUsage(c.name, h, l)
		pods[c.pod] = p
	}
	for o, p := range pods {
		slices.SortFunc(p.usage.Containers, func(a, b ContainerUsage) int { return strings.Compare(a.Name, b.Name) })
		pods[o] = p
	}
	return pods
}

// addContainerUsage adds a container. The pod's time is its oldest container's, and its window the longest: the autoscaler considers
// a pod that became ready within the window as still starting.
func (p *podPageUsage) addContainerUsage(name string, h usageHistory, l windowLimits) {
	u, s, reason := h.computeContainerUsage(l)
	if reason != "" {
		if p.reason == "" || reason == metric.ReasonWarmingUp {
			p.reason = reason // of two reasons, the temporary
		}
		return
	}
	if p.usage.Time.IsZero() || s.time.Before(p.usage.Time) {
		p.usage.Time = s.time
	}
	p.usage.Window = max(p.usage.Window, s.window)
	p.usage.Containers = append(p.usage.Containers, ContainerUsage{name, u})
}
