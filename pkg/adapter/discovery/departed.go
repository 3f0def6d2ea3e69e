// This file keeps deleted pods for as long as their counts may be within a window.

package discovery

import (
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

const (
	// defaultRetention is how long a deleted pod is kept: the default longest window and its slack.
	defaultRetention = 80 * time.Second
	// maxDepartedPods bounds the deleted pods, of some hundred bytes each: two rollouts of a large cluster.
	maxDepartedPods = 10_000
)

// departedPods holds pods that had an endpoint when they ended. Values are by name, so a pod hides a departed one of its name, and takes its
// place once it has departed too. If the bound is reached, the namespace with the most departed pods loses its oldest, so that
// no namespace pushes out another's pods. It is not safe for concurrent use.
type departedPods struct {
	podIndex
	retention time.Duration
	queues    map[string][]*storedPod // by namespace, in the order of their deletion; some may be dropped since
	dropped   uint64                  // number of pods dropped by the bound
}

func newDepartedPods() departedPods {
	return departedPods{podIndex: newPodIndex(), retention: defaultRetention, queues: map[string][]*storedPod{}}
}

// isWithinPodRetention reports whether a pod that ended at the time is within the retention; the zero time is not.
func (d *departedPods) isWithinPodRetention(ended, now time.Time) bool {
	return !ended.IsZero() && now.Sub(ended) < d.retention
}

// addDepartedPod keeps a pod that was deleted at now.
func (d *departedPods) addDepartedPod(p *storedPod, now time.Time) {
	ended := p.ended
	if p.url != "" {
		ended = now // it ran until it was deleted
	}
	if !d.isWithinPodRetention(ended, now) {
		return
	}
	for len(d.pods) >= maxDepartedPods {
		d.dropOldestDepartedPod()
	}
	gone := &storedPod{Pod: p.Pod, labels: p.labels, ended: ended}
	gone.Live, gone.Ready, gone.Completed, gone.Departed = false, false, false, true
	gone.Omission = newGonePodOmission(p.storedPodKey())
	d.removeIndexedPod(p.storedPodKey())
	d.insertIndexedPod(gone)
	d.queues[p.Namespace] = append(d.queues[p.Namespace], gone)
}

// dropOldestDepartedPod forgets the oldest pod of the namespace with the most.
func (d *departedPods) dropOldestDepartedPod() {
	largest := ""
	for namespace, pods := range d.byNamespace {
		if most := len(d.byNamespace[largest]); len(pods) > most || len(pods) == most && namespace < largest {
			largest = namespace
		}
	}
	for queue := d.queues[largest]; len(queue) > 0; {
		oldest := queue[0]
		queue = queue[1:]
		d.setDepartedQueue(largest, queue)
		if d.pods[oldest.storedPodKey()] == oldest {
			d.removeIndexedPod(oldest.storedPodKey())
			d.dropped++
			return
		}
	}
}

// expireDepartedPods forgets the pods that ended before the retention.
func (d *departedPods) expireDepartedPods(now time.Time) {
	for namespace, queue := range d.queues {
		n := 0
		for n < len(queue) && !d.isWithinPodRetention(queue[n].ended, now) {
			if p := queue[n]; d.pods[p.storedPodKey()] == p {
				d.removeIndexedPod(p.storedPodKey())
			}
			n++
		}
		d.setDepartedQueue(namespace, queue[n:])
	}
}

func (d *departedPods) setDepartedQueue(namespace string, queue []*storedPod) {
	if len(queue) == 0 {
		delete(d.queues, namespace)
		return
	}
	d.queues[namespace] = queue
}

// newGonePodOmission returns the omission of a deleted pod.
func newGonePodOmission(key metric.Object) metric.Omission {
	return metric.Omission{Object: key, Reason: metric.ReasonTerminating, Detail: "pod is gone"}
}
