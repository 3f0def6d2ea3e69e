// This file has the table of the cluster's pods.

package discovery

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// watchedPodTable holds the pods of the cluster, and for a while the deleted ones. It is safe for concurrent use.
type watchedPodTable struct {
	mu       sync.RWMutex // guards all fields; a *storedPod itself never changes
	current  podIndex
	byURL    map[string][]*storedPod // the current pods with an endpoint
	departed departedPods
	changes  uint64 // number of insertions since the start
	// newLabels holds the namespaces with a pod that shares its labels with no other, since the last takeNamespacesWithNewPodLabels.
	newLabels map[string]struct{}
	// ruleTargets are the keys of the pods of rules' own targets among the current pods.
	ruleTargets map[metric.Object]struct{}
	// sampleNow is the clock of samples.
	sampleNow func() time.Time
}

func newWatchedPodTable() *watchedPodTable {
	return &watchedPodTable{
		sampleNow: time.Now,
		current:   newPodIndex(), byURL: map[string][]*storedPod{}, departed: newDepartedPods(), newLabels: map[string]struct{}{},
		ruleTargets: map[metric.Object]struct{}{},
	}
}

// countStoredPods returns the number of pods, and the number of insertions since the start.
func (t *watchedPodTable) countStoredPods() (pods int, inserted uint64) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.current.pods), t.changes
}

// getStoredPod returns the pod with the key, or nil.
func (t *watchedPodTable) getStoredPod(key metric.Object) *storedPod {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.current.pods[key]
}

// upsertWatchedObject stores a pod under its key and reports whether the table changed. It keeps the stored pod if the new
// pod is equal, so that marks keyed by the pod's pointer stay valid.
func (t *watchedPodTable) upsertWatchedObject(p *storedPod) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.insertStoredPod(p, time.Now())
}

// removeWatchedObject removes the pod with p's key and reports whether the table held it.
func (t *watchedPodTable) removeWatchedObject(p *storedPod) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.removeStoredPod(p.storedPodKey(), time.Now())
}

// replaceWatchedObjects makes pods the whole content and reports whether the table changed.
func (t *watchedPodTable) replaceWatchedObjects(pods []*storedPod) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	keep := make(map[metric.Object]struct{}, len(pods))
	changed := false
	for _, p := range pods {
		keep[p.storedPodKey()] = struct{}{}
		changed = t.insertStoredPod(p, now) || changed
	}
	for key := range t.current.pods {
		_, ok := keep[key]
		if _, isRuleTarget := t.ruleTargets[key]; !ok && !isRuleTarget {
			changed = t.removeStoredPod(key, now) || changed
		}
	}
	return changed
}

// limitPodTimes moves times of the pod that lie ahead of now, by the clock of samples, back to it: no observed event is in the future. The
// clocks of kube-apiserver and the kubelet may be ahead, and a sample from before the pod's creation counts as another pod's. old is the
// pod as it was, or nil: its times stay as long as the cluster tells the same.
func (p *storedPod) limitPodTimes(old *storedPod, now time.Time) {
	now = time.Unix(now.Unix(), 0) // truncated as the cluster's times
	p.reported = [...]time.Time{p.Created, p.Started, p.Readied, p.Unreadied}
	for i, at := range [...]*time.Time{&p.Created, &p.Started, &p.Readied, &p.Unreadied} {
		switch {
		case old != nil && old.UID == p.UID && old.reported[i].Equal(p.reported[i]):
			*at = [...]time.Time{old.Created, old.Started, old.Readied, old.Unreadied}[i]
		case at.After(now):
			*at = now
		}
	}
}

func (t *watchedPodTable) insertStoredPod(p *storedPod, now time.Time) bool {
	old := t.current.pods[p.storedPodKey()]
	p.limitPodTimes(old, t.sampleNow())
	if old != nil {
		if old.equalStoredPod(p) {
			return false
		}
		t.removeCurrentPod(p.storedPodKey())
		p.ended = findPodEndTime(old, p, now)
	}
	if known := t.current.internPodStrings(p); !known && (old == nil || !maps.Equal(old.labels, p.labels)) {
		t.newLabels[p.Namespace] = struct{}{}
	}
	t.changes++
	p.inserted = t.changes
	t.current.insertIndexedPod(p)
	if p.url != "" {
		t.byURL[p.url] = append(t.byURL[p.url], p)
	}
	return true
}

// removeCurrentPod removes and returns the pod with the key; nil if there is none.
func (t *watchedPodTable) removeCurrentPod(key metric.Object) *storedPod {
	p := t.current.removeIndexedPod(key)
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
func (t *watchedPodTable) findEndpointRival(p *storedPod) *storedPod {
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

func (t *watchedPodTable) removeStoredPod(key metric.Object, now time.Time) bool {
	p := t.removeCurrentPod(key)
	if p == nil {
		return false
	}
	t.departed.addDepartedPod(p, now)
	return true
}

// takeNamespacesWithNewPodLabels returns the namespaces in which pods with other labels appeared since the last call: a workload was made,
// or has another template.
func (t *watchedPodTable) takeNamespacesWithNewPodLabels() map[string]struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	namespaces := t.newLabels
	t.newLabels = map[string]struct{}{}
	return namespaces
}

// setDepartedRetention sets how long the table keeps deleted pods.
func (t *watchedPodTable) setDepartedRetention(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.departed.retention = d
}

// expireDepartures forgets the pods that were deleted before the retention.
func (t *watchedPodTable) expireDepartures(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.departed.expireDepartedPods(now)
}

// countDepartures returns the number of deleted pods in the table, and how many the bound has dropped since the start.
func (t *watchedPodTable) countDepartures() (kept int, dropped uint64) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.departed.pods), t.departed.dropped
}

// visitStoredPods calls f for every pod of the scope that exists, unsorted, while the table is locked for writers: f must be
// short and must not use the table.
func (t *watchedPodTable) visitStoredPods(s podScope, f func(*storedPod)) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	t.current.visitIndexedPods(s, f)
}

// listScopedPods returns the pods of the scope, departed pods included, sorted by namespace and name; the caller owns the
// slice.
func (t *watchedPodTable) listScopedPods(s podScope, now time.Time) []Pod {
	var pods []Pod
	list := func(p *storedPod) {
		pod := p.Pod
		pod.Departed = p.Departed || t.departed.isWithinPodRetention(p.ended, now)
		pods = append(pods, pod)
	}
	t.mu.RLock()
	t.current.visitIndexedPods(s, list)
	t.departed.visitIndexedPods(s, func(p *storedPod) {
		if _, replaced := t.current.pods[p.storedPodKey()]; !replaced && t.departed.isWithinPodRetention(p.ended, now) {
			list(p)
		}
	})
	t.mu.RUnlock()
	slices.SortFunc(pods, func(a, b Pod) int { return a.Object().Compare(b.Object()) })
	return pods
}
