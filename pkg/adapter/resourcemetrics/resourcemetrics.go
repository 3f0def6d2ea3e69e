// Package resourcemetrics serves metrics.k8s.io: the CPU and memory usage of pods and nodes, read from kubelets or computed by rules,
// each with its own time and window.
package resourcemetrics

import (
	"context"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// Pod is a pod of a request for usage.
type Pod struct {
	metric.Object
	// Created is the creation time of the pod: earlier measurements belong to an earlier pod of the same name.
	Created time.Time
}

// Usage is a use of CPU and memory.
type Usage struct {
	// CPU is in cores, on average over a window.
	CPU float64
	// Memory is the working set in bytes.
	Memory float64
}

// ContainerUsage is the usage of a container of a pod.
type ContainerUsage struct {
	Name string
	Usage
}

// PodUsage is the usage of a pod. It has all running containers, each with both resources: the autoscaler adds them up, and a sum
// without a container is a wrong number.
type PodUsage struct {
	Object     metric.Object
	Containers []ContainerUsage
	// Time is the time of the newest sample. Of several containers, the oldest such time counts.
	Time time.Time
	// Window is the time that the CPU usage is averaged over.
	Window time.Duration
}

// NodeUsage is the usage of a node. Time and Window are as in PodUsage.
type NodeUsage struct {
	Name string
	Usage
	Time   time.Time
	Window time.Duration
}

// UsageSource returns the usage of pods and nodes. Its methods may be called concurrently, and end when ctx does. An object without
// a usage, or with a usage too old at now, is among the omissions, with the reason. The numbers are as measured: the caller
// validates them. The slices belong to the caller, except the slices inside a usage, which the caller must not change. An error
// means that no usage is known.
type UsageSource interface {
	GetPodUsages(ctx context.Context, pods []Pod, now time.Time) ([]PodUsage, []metric.Omission, error)
	GetNodeUsages(ctx context.Context, names []string, now time.Time) ([]NodeUsage, []metric.Omission, error)
}

// collectObjectUsages calls getUsage for every object, and separates usages from omissions, which have a reason.
func collectObjectUsages[O, U any](objects []O, getUsage func(O) (U, metric.Omission)) ([]U, []metric.Omission) {
	usages := make([]U, 0, len(objects))
	var omitted []metric.Omission
	for _, object := range objects {
		u, o := getUsage(object)
		if o.Reason != "" {
			omitted = append(omitted, o)
			continue
		}
		usages = append(usages, u)
	}
	return usages, omitted
}
