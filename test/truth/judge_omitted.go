package truth

// The pods that an answer cannot have: their counts are the tolerance below the truth.

import (
	"slices"
	"time"
)

// omittedHistories returns the counts of pods that the watch has not announced so far, and of serving pods that a list leaves out: their
// reader counts them without a value, until the watch tells that they are gone. A list is by name: without a name it has no counts of
// earlier pods of this name either.
func (p *player) omittedHistories(r *reader, out *answer, c rateCase) []truthHistory {
	if r.kind != "pods" {
		return p.unknownHistories(out, c)
	}
	missing := p.unknownHistories(out, c)
	for i, s := range c.services {
		for _, pod := range slices.Concat(s.pods, s.departed) {
			if _, ok := out.values[pod.name]; ok || pod.counts[c.families[i]] == nil || p.isUnknown(pod, out.at) || p.isKnownToLeave(pod, out.at) {
				continue
			}
			for _, named := range slices.Concat(s.pods, s.departed) {
				if named.name == pod.name && named.counts[c.families[i]] != nil {
					missing = append(missing, named.counts[c.families[i]].history)
				}
			}
		}
	}
	return missing
}

// isUnknown reports whether the watch has not announced a pod's address so far, or so lately that no page is due.
func (p *player) isUnknown(pod *podProcess, now time.Time) bool {
	return p.lag > 0 && !pod.started.IsZero() && now.Sub(pod.started) < p.lag+p.settings.interval/8
}

// isKnownToLeave reports whether the watch has told that a pod is deleted or gone.
func (p *player) isKnownToLeave(pod *podProcess, now time.Time) bool {
	left := pod.deleted
	if left.IsZero() && !slices.Contains(pod.service.pods, pod) {
		left = pod.stopped
	}
	return !left.IsZero() && now.Sub(left) >= p.lag
}

// unknownHistories returns the counts of the pods that the watch has not announced so far.
func (p *player) unknownHistories(out *answer, c rateCase) (unknown []truthHistory) {
	for i, s := range c.services {
		for _, pod := range s.pods {
			if counts := pod.counts[c.families[i]]; counts != nil && p.isUnknown(pod, out.at) {
				unknown = append(unknown, counts.history)
			}
		}
	}
	return unknown
}

// omitsRunningPod reports whether a list leaves out a pod that the adapter has known to run for longer than two intervals.
func (p *player) omitsRunningPod(out *answer, c rateCase) bool {
	for _, pod := range c.services[0].pods {
		young := out.at.Sub(pod.started) < p.lag+2*p.settings.interval+time.Second
		if _, ok := out.values[pod.name]; !ok && pod.running && !pod.deleting && !young {
			return true
		}
	}
	return false
}
