package resourcemetrics

import (
	"context"
	"fmt"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// GetPodUsages answers from memory.
func (k *KubeletSource) GetPodUsages(_ context.Context, pods []Pod, now time.Time) ([]PodUsage, []metric.Omission, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	usages := make([]PodUsage, 0, len(pods))
	var omitted []metric.Omission
	for _, p := range pods {
		usage, o := k.lookupPodUsage(p, now)
		if o.Reason != "" {
			o.Object = p.Object
			omitted = append(omitted, o)
			continue
		}
		usages = append(usages, usage)
	}
	return usages, omitted, nil
}

func (k *KubeletSource) lookupPodUsage(p Pod, now time.Time) (PodUsage, metric.Omission) {
	e, found := k.latest.pods[p.Object]
	switch {
	case !found:
		return PodUsage{}, k.explainUnknownPod()
	case e.reason != "":
		return PodUsage{}, metric.Omission{Reason: e.reason}
	case e.usage.Time.Add(-e.usage.Window).Before(p.Created):
		// Measured, in part at least, on an earlier pod of that name.
		return PodUsage{}, metric.Omission{Reason: metric.ReasonWarmingUp}
	case now.Sub(e.usage.Time) > k.opts.MaxAge:
		return PodUsage{}, k.explainStaleUsage(e.node)
	}
	return e.usage, metric.Omission{}
}

// GetNodeUsages answers from memory.
func (k *KubeletSource) GetNodeUsages(_ context.Context, names []string, now time.Time) ([]NodeUsage, []metric.Omission, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	usages := make([]NodeUsage, 0, len(names))
	var omitted []metric.Omission
	for _, name := range names {
		usage, o := k.lookupNodeUsage(name, now)
		if o.Reason != "" {
			o.Object.Name = name
			omitted = append(omitted, o)
			continue
		}
		usages = append(usages, usage)
	}
	return usages, omitted, nil
}

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
	case now.Sub(e.usage.Time) > k.opts.MaxAge:
		return NodeUsage{}, k.explainStaleUsage(name)
	}
	return e.usage, metric.Omission{}
}

// explainStaleUsage says why the usage of what is on a node is too old.
func (k *KubeletSource) explainStaleUsage(node string) metric.Omission {
	if u := k.kubelets[node]; u != nil && u.lastFailure != "" {
		return metric.Omission{Reason: metric.ReasonScrapeFailed, Detail: u.lastFailure}
	}
	return metric.Omission{Reason: metric.ReasonStale, Detail: "the kubelet repeats what it measured long ago, or its clock is late"}
}

// explainUnknownPod says why a pod is on no page. On which node it runs is not known here.
func (k *KubeletSource) explainUnknownPod() metric.Omission {
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
