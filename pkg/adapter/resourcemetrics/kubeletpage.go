// The families of a page of a kubelet, and the readings in it.

package resourcemetrics

import (
	"errors"
	"math"
	"time"

	"github.com/prometheus/common/model"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// The families of a kubelet's /metrics/resource that the adapter reads. A value of the last two other than 0 means that the page is
// incomplete.
const (
	containerCPU    = "container_cpu_usage_seconds_total"
	containerMemory = "container_memory_working_set_bytes"
	containerStart  = "container_start_time_seconds"
	nodeCPU         = "node_cpu_usage_seconds_total"
	nodeMemory      = "node_memory_working_set_bytes"
	pageError       = "resource_scrape_error"
	oldPageError    = "scrape_error"
)

func listKubeletFamilies() *exposition.Families {
	return exposition.NewFamilies([]string{
		containerCPU, containerMemory, containerStart, nodeCPU, nodeMemory, pageError, oldPageError,
	})
}

// containerID identifies a container in the cluster.
type containerID struct {
	pod  metric.Object
	name string
}

// kubeletPage has the readings of a page: of the node, and of every container on it.
type kubeletPage struct {
	node       usageReading
	containers map[containerID]usageReading
}

var errIncomplete = errors.New("the kubelet could not read its containers' usage")

// newKubeletPage sorts a page's samples by container. It returns errIncomplete if the page itself states an error.
func newKubeletPage(samples []exposition.Sample) (kubeletPage, error) {
	p := kubeletPage{containers: make(map[containerID]usageReading, len(samples)/3)}
	for _, s := range samples {
		l := s.Series.Labels
		at := time.UnixMilli(s.Time)
		switch name := l.Get(model.MetricNameLabel); name {
		case pageError, oldPageError:
			if s.Value != 0 {
				return kubeletPage{}, errIncomplete
			}
		case nodeCPU, nodeMemory:
			p.node.addContainerSample(name, s.Value, at)
		default:
			c := containerID{metric.Object{Namespace: l.Get("namespace"), Name: l.Get("pod")}, l.Get("container")}
			r := p.containers[c]
			r.addContainerSample(name, s.Value, at)
			p.containers[c] = r
		}
	}
	return p, nil
}

// addContainerSample adds a sample. It ignores 0 as no measurement: a running process has used some CPU and memory, and some runtimes
// report 0 for containers that they did not measure. A negative or infinite number is none either.
func (r *usageReading) addContainerSample(name string, v float64, at time.Time) {
	switch name {
	case containerCPU, nodeCPU:
		if v > 0 && !math.IsInf(v, 1) {
			r.cpu, r.cpuTime = v, at
		}
	case containerMemory, nodeMemory:
		if v > 0 && !math.IsInf(v, 1) {
			r.memory, r.memoryTime = v, at
		}
	case containerStart:
		r.started = parseContainerStart(v)
	}
}

// parseContainerStart returns the time of v seconds since the epoch, to the millisecond: a float is not exact. It returns the
// zero time if v is not a time.
func parseContainerStart(v float64) time.Time {
	const year3000 = 32503680000
	if !(v > 0 && v < year3000) {
		return time.Time{}
	}
	return time.UnixMilli(int64(v * 1000))
}
