// This file has the table of the cluster's pods.

package discovery

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// podTable holds the pods of the cluster, and for a while those that were deleted. It is safe for concurrent use.
type podTable struct {
	mu       sync.RWMutex // guards all fields; a *storedPod itself never changes
	current  podIndex
	byURL    map[string][]*storedPod // the current pods with an endpoint
	departed departedPods
	changes  uint64 // number of insertions since the start
	// newLabels holds the namespaces with a pod whose labels no other pod has, since the last takeNewPodLabels.
	newLabels map[string]struct{}
}

func newPodTable() *podTable {
	return &podTable{current: newPodIndex(), byURL: map[string][]*storedPod{}, departed: newDepartedPods(), newLabels: map[string]struct{}{}}
}

// countTablePods returns the number of pods, and the number of insertions since the start.
func (t *podTable) countTablePods() (pods int, inserted uint64) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.current.pods), t.changes
}

// getPod returns the pod with the key, or nil.
func (t *podTable) getPod(key metric.Object) *storedPod {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.current.pods[key]
}

// upsertWatchedObject stores a pod under its key and reports whether the table changed. It keeps the stored pod if the new
// pod is equal, so that marks keyed by the pod's pointer stay valid.
func (t *podTable) upsertWatchedObject(p *storedPod) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.insertPod(p, time.Now())
}

// removeWatchedObject removes the pod with p's key and reports whether the table held it.
func (t *podTable) removeWatchedObject(p *storedPod) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.removePod(p.podKey(), time.Now())
}

// replaceWatchedObjects makes pods the whole content and reports whether the table changed.
func (t *podTable) replaceWatchedObjects(pods []*storedPod) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	keep := make(map[metric.Object]struct{}, len(pods))
	changed := false
	for _, p := range pods {
		keep[p.podKey()] = struct{}{}
		changed = t.insertPod(p, now) || changed
	}
	for key := range t.current.pods {
		if _, ok := keep[key]; !ok {
			changed = t.removePod(key, now) || changed
		}
	}
	return changed
}

func (t *podTable) insertPod(p *storedPod, now time.Time) bool {
	old := t.current.pods[p.podKey()]
	if old != nil {
		if old.equalStoredPod(p) {
			return false
		}
		t.removeCurrent(p.podKey())
		p.ended = findPodEndTime(old, p, now)
	}
	t.departed.dropDepartedPod(p.podKey())
	if known := t.current.internPodStrings(p); !known && (old == nil || !maps.Equal(old.labels, p.labels)) {
		t.newLabels[p.Namespace] = struct{}{}
	}
	t.changes++
	p.inserted = t.changes
	t.current.insertPod(p)
	if p.url != "" {
		t.byURL[p.url] = append(t.byURL[p.url], p)
	}
	return true
}

// removeCurrent removes and returns the pod with the key; nil if there is none.
func (t *podTable) removeCurrent(key metric.Object) *storedPod {
	p := t.current.removePod(key)
	if p == nil || p.url == "" {
		return p
	}
	others := slices.DeleteFunc(t.byURL[p.url], func(q *storedPod) bool { return q == p })
	if len(others) == 0 {
		delete(t.byURL, p.url)
	} else {
		t.byURL[p.url] = others
	}
	return p
}

// findEndpointRival returns a pod that claims the endpoint of p, and may be the pod behind it; nil if p is.
func (t *podTable) findEndpointRival(p *storedPod) *storedPod {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, q := range t.byURL[p.url] {
		if q != p && !p.ownsEndpointOf(q) {
			return q
		}
	}
	return nil
}

// findPodEndTime returns when a pod ended that replaces old: now, if old is the same pod and ran; zero if it still runs.
func findPodEndTime(old, p *storedPod, now time.Time) time.Time {
	switch {
	case old.UID != p.UID || p.Omission.Reason != metric.ReasonTerminating || p.url != "":
		return time.Time{}
	case old.url != "":
		return now
	default:
		return old.ended
	}
}

func (t *podTable) removePod(key metric.Object, now time.Time) bool {
	p := t.removeCurrent(key)
	if p == nil {
		return false
	}
	t.departed.addDepartedPod(p, now)
	return true
}

// takeNewPodLabels returns the namespaces in which pods with other labels appeared since the last call: a workload was made,
// or has another template.
func (t *podTable) takeNewPodLabels() map[string]struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	namespaces := t.newLabels
	t.newLabels = map[string]struct{}{}
	return namespaces
}

// setDepartedRetention sets how long the table keeps deleted pods.
func (t *podTable) setDepartedRetention(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.departed.retention = d
}

// expireDeparted forgets the pods that were deleted before the retention.
func (t *podTable) expireDeparted(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.departed.expireDepartedPods(now)
}

// countDeparted returns the number of deleted pods in the table, and of those that the bound has dropped since the start.
func (t *podTable) countDeparted() (kept int, dropped uint64) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.departed.pods), t.departed.dropped
}

// visitPods calls f for every pod of the scope that exists, unsorted, while the table is locked for writers: f must be
// short and must not use the table.
func (t *podTable) visitPods(s podScope, f func(*storedPod)) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	t.current.visitPods(s, f)
}

// listPods returns the pods of the scope, departed pods included, sorted by namespace and name; the caller owns the
// slice.
func (t *podTable) listPods(s podScope, now time.Time) []Pod {
	var pods []Pod
	list := func(p *storedPod) {
		pod := p.Pod
		pod.Departed = p.Departed || t.departed.isRecentlyDeparted(p.ended, now)
		pods = append(pods, pod)
	}
	t.mu.RLock()
	t.current.visitPods(s, list)
	t.departed.visitPods(s, func(p *storedPod) {
		if t.departed.isRecentlyDeparted(p.ended, now) {
			list(p)
		}
	})
	t.mu.RUnlock()
	slices.SortFunc(pods, func(a, b Pod) int { return compareDiscoveredObjects(a.Object(), b.Object()) })
	return pods
}
