// Usages of a KubeletSource, from memory, and the reasons for omissions.

package resourcemetrics

import (
	"context"
	"fmt"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// GetPodUsages returns usages from memory.
func (k *KubeletSource) GetPodUsages(_ context.Context, pods []Pod, now time.Time) ([]PodUsage, []metric.Omission, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	usages, omitted := collectObjectUsages(pods, func(p Pod) (PodUsage, metric.Omission) {
		u, o := k.lookupPodUsage(p, now)
		o.Object = p.Object
		return u, o
	})
	return usages, omitted, nil
}

// GetNodeUsages returns usages from memory.
func (k *KubeletSource) GetNodeUsages(_ context.Context, names []string, now time.Time) ([]NodeUsage, []metric.Omission, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	usages, omitted := collectObjectUsages(names, func(name string) (NodeUsage, metric.Omission) {
		u, o := k.lookupNodeUsage(name, now)
		o.Object.Name = name
		return u, o
	})
	return usages, omitted, nil
}

// lookupPodUsage returns the usage of a pod, or the reason for its omission. The caller holds k.mu.
func (k *KubeletSource) lookupPodUsage(p Pod, now time.Time) (PodUsage, metric.Omission) {
	e, found := k.latest.pods[p.Object]
	switch {
	case !found:
		return PodUsage{}, k.explainPodWithoutUsage()
	case e.reason != "":
		return PodUsage{}, metric.Omission{Reason: e.reason}
	case e.usage.Time.Add(-e.usage.Window).Before(p.Created):
		// At least a part of the window belongs to an earlier pod of the same name.
		return PodUsage{}, metric.Omission{Reason: metric.ReasonWarmingUp}
	case now.Sub(e.usage.Time) > maxUsageAge:
		return PodUsage{}, k.explainStaleUsage(e.node)
	}
	return e.usage, metric.Omission{}
}

// lookupNodeUsage returns the usage of a node, or the reason for its omission. The caller holds k.mu.
func (k *KubeletSource) lookupNodeUsage(name string, now time.Time) (NodeUsage, metric.Omission) {
	e, found := k.latest.nodes[name]
	u := k.kubelets[name]
	switch {
	case !found && (u == nil || u.lastFailure == ""):
		return NodeUsage{}, metric.Omission{Reason: metric.ReasonWarmingUp}
	case !found:
		return NodeUsage{}, metric.Omission{Reason: metric.ReasonScrapeFailed, Detail: u.lastFailure}
	case e.reason != "":
		return NodeUsage{}, metric.Omission{Reason: e.reason}
	case now.Sub(e.usage.Time) > maxUsageAge:
		return NodeUsage{}, k.explainStaleUsage(name)
	}
	return e.usage, metric.Omission{}
}

// explainStaleUsage returns the reason for an old usage of a node or its pods. The caller holds k.mu.
func (k *KubeletSource) explainStaleUsage(node string) metric.Omission {
	if u := k.kubelets[node]; u != nil && u.lastFailure != "" {
		return metric.Omission{Reason: metric.ReasonScrapeFailed, Detail: u.lastFailure}
	}
	return metric.Omission{Reason: metric.ReasonStale, Detail: "the kubelet repeats an old measurement, or its clock is late"}
}

// explainPodWithoutUsage returns the reason for a pod on no page. The source does not know the pod's node. The caller holds k.mu.
func (k *KubeletSource) explainPodWithoutUsage() metric.Omission {
	unread, failing, text := 0, 0, ""
	for _, u := range k.kubelets {
		switch {
		case u.lastFailure != "":
			failing++
			text = u.lastFailure
		case u.reads == 0:
			unread++
		}
	}
	switch {
	case failing > 0:
		return metric.Omission{Reason: metric.ReasonScrapeFailed, Detail: fmt.Sprintf("%d of %d kubelets; one: %s", failing, len(k.kubelets), text)}
	case unread > 0:
		return metric.Omission{Reason: metric.ReasonWarmingUp}
	}
	return metric.Omission{Reason: metric.ReasonAbsent, Detail: "no kubelet reports it"}
}
