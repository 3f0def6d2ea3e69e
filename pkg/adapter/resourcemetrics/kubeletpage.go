package resourcemetrics

import (
	"errors"
	"time"

	"github.com/prometheus/common/model"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// The families of a kubelet's /metrics/resource that are read. The last two, 1 and not 0, say that the page lacks what it
// should have.
const (
	containerCPU    = "container_cpu_usage_seconds_total"
	containerMemory = "container_memory_working_set_bytes"
	containerStart  = "container_start_time_seconds"
	nodeCPU         = "node_cpu_usage_seconds_total"
	nodeMemory      = "node_memory_working_set_bytes"
	pageError       = "resource_scrape_error"
	oldPageError    = "scrape_error"
)

func kubeletFamilies() *exposition.Families {
	return exposition.NewFamilies([]string{
		containerCPU, containerMemory, containerStart, nodeCPU, nodeMemory, pageError, oldPageError,
	})
}

// containerID names one in a cluster.
type containerID struct {
	pod  metric.Object
	name string
}

// kubeletPage is what a kubelet tells: of its node, and of every container that has a line.
type kubeletPage struct {
	node       usageReading
	containers map[containerID]usageReading
}

var errIncomplete = errors.New("the kubelet could not read its containers' usage")

// newKubeletPage sorts a page's samples; an error if the page itself says that it is not complete.
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
			p.node.addReadingSample(name, s.Value, at)
		default:
			c := containerID{metric.Object{Namespace: l.Get("namespace"), Name: l.Get("pod")}, l.Get("container")}
			r := p.containers[c]
			r.addReadingSample(name, s.Value, at)
			p.containers[c] = r
		}
	}
	return p, nil
}

// addReadingSample adds a sample. A running process has used some CPU and some memory: 0, as some runtimes report it for what they did
// not measure, is no measurement.
func (r *usageReading) addReadingSample(name string, v float64, at time.Time) {
	switch name {
	case containerCPU, nodeCPU:
		if v > 0 {
			r.cpu, r.cpuTime = v, at
		}
	case containerMemory, nodeMemory:
		if v > 0 {
			r.memory, r.memoryTime = v, at
		}
	case containerStart:
		r.started = parseStartTime(v)
	}
}

// parseStartTime is a time that a page gives as seconds since the epoch, to the millisecond: a float has no more. What is no
// time is the zero time.
func parseStartTime(v float64) time.Time {
	const year3000 = 32503680000
	if !(v > 0 && v < year3000) {
		return time.Time{}
	}
	return time.UnixMilli(int64(v * 1000))
}
