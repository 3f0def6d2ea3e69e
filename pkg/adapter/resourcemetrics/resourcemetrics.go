// Package resource serves metrics.k8s.io: what pods and nodes use of CPU and memory, each with its own time and window.
package resourcemetrics

import (
	"context"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// Pod is a pod whose usage is asked for.
type Pod struct {
	metric.Object
	// Created is when the API server made the pod: what was measured before is of an earlier one of that name.
	Created time.Time
}

// Usage is what something uses.
type Usage struct {
	// CPU is in cores, on average over a window.
	CPU float64
	// Memory is the working set in bytes.
	Memory float64
}

// ContainerUsage is what one container of a pod uses.
type ContainerUsage struct {
	Name string
	Usage
}

// PodUsage is what a pod uses. It has all of its running containers, each with both resources: the autoscaler adds
// them up, and a sum that lacks a container is a wrong number.
type PodUsage struct {
	Object     metric.Object
	Containers []ContainerUsage
	// Time is that of the newest sample; of several containers, of the one whose newest sample is the oldest.
	Time time.Time
	// Window is what the CPU usage is an average over.
	Window time.Duration
}

// NodeUsage is what a node uses; Time and Window are as in PodUsage.
type NodeUsage struct {
	Name string
	Usage
	Time   time.Time
	Window time.Duration
}

// UsageSource is where usage comes from. Its methods may be called concurrently, and end when ctx does. What has no usage,
// or one that is too old at now, is not among the usages but among the omissions, with the reason. The numbers are as
// measured: who asks judges whether they are numbers at all. The slices belong to the caller, but for what is in a
// usage, which nobody changes. An error means that nothing can be told of any.
type UsageSource interface {
	GetPodUsages(ctx context.Context, pods []Pod, now time.Time) ([]PodUsage, []metric.Omission, error)
	GetNodeUsages(ctx context.Context, names []string, now time.Time) ([]NodeUsage, []metric.Omission, error)
}
