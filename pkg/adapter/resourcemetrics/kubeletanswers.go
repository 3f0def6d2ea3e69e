package resourcemetrics

import (
	"context"
	"fmt"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// Pods answers from memory.
func (k *Kubelets) Pods(_ context.Context, pods []Pod, now time.Time) ([]PodUsage, []metric.Omission, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	usages := make([]PodUsage, 0, len(pods))
	var omitted []metric.Omission
	for _, p := range pods {
		usage, o := k.pod(p, now)
		if o.Reason != "" {
			o.Object = p.Object
			omitted = append(omitted, o)
			continue
		}
		usages = append(usages, usage)
	}
	return usages, omitted, nil
}

func (k *Kubelets) pod(p Pod, now time.Time) (PodUsage, metric.Omission) {
	e, found := k.table.pods[p.Object]
	switch {
	case !found:
		return PodUsage{}, k.unknown()
	case e.reason != "":
		return PodUsage{}, metric.Omission{Reason: e.reason}
	case e.usage.Time.Add(-e.usage.Window).Before(p.Created):
		// Measured, in part at least, on an earlier pod of that name.
		return PodUsage{}, metric.Omission{Reason: metric.ReasonWarmingUp}
	case now.Sub(e.usage.Time) > k.opts.MaxAge:
		return PodUsage{}, k.stale(e.node)
	}
	return e.usage, metric.Omission{}
}

// Nodes answers from memory.
func (k *Kubelets) Nodes(_ context.Context, names []string, now time.Time) ([]NodeUsage, []metric.Omission, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	usages := make([]NodeUsage, 0, len(names))
	var omitted []metric.Omission
	for _, name := range names {
		usage, o := k.node(name, now)
		if o.Reason != "" {
			o.Object.Name = name
			omitted = append(omitted, o)
			continue
		}
		usages = append(usages, usage)
	}
	return usages, omitted, nil
}

func (k *Kubelets) node(name string, now time.Time) (NodeUsage, metric.Omission) {
	e, found := k.table.nodes[name]
	u := k.kubelets[name]
	switch {
	case !found && (u == nil || u.failing == ""):
		return NodeUsage{}, metric.Omission{Reason: metric.ReasonWarmingUp}
	case !found:
		return NodeUsage{}, metric.Omission{Reason: metric.ReasonScrapeFailed, Detail: u.failing}
	case e.reason != "":
		return NodeUsage{}, metric.Omission{Reason: e.reason}
	case now.Sub(e.usage.Time) > k.opts.MaxAge:
		return NodeUsage{}, k.stale(name)
	}
	return e.usage, metric.Omission{}
}

// stale says why the usage of what is on a node is too old.
func (k *Kubelets) stale(node string) metric.Omission {
	if u := k.kubelets[node]; u != nil && u.failing != "" {
		return metric.Omission{Reason: metric.ReasonScrapeFailed, Detail: u.failing}
	}
	return metric.Omission{Reason: metric.ReasonStale, Detail: "the kubelet repeats what it measured long ago, or its clock is late"}
}

// unknown says why a pod is on no page. On which node it runs is not known here.
func (k *Kubelets) unknown() metric.Omission {
	unread, failing, text := 0, 0, ""
	for _, u := range k.kubelets {
		switch {
		case u.failing != "":
			failing++
			text = u.failing
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
