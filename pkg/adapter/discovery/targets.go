package discovery

import (
	"slices"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// podMark is what a plan means for one pod.
type podMark struct {
	families familySet
	// autoscaled tells that the pod is behind an autoscaler that names a metric.
	autoscaled bool
}

// targetSnapshot is what follows from a plan and the pods of one moment. It is never changed.
type targetSnapshot struct {
	// targets are sorted by namespace and name.
	targets    []metric.Target
	marks      map[*storedPod]podMark
	inserted   uint64 // the pods considered are those inserted up to this one
	demanded   []Demand
	unresolved map[string]string
	// emptySelectors are the scale targets that select no pod.
	emptySelectors []objectKey
}

// chooseTargets applies a plan to the pods. A pod is a target when something is demanded of it, it is live, and it
// has an endpoint.
func chooseTargets(p *demandPlan, pods *podTable, sets *familySets) *targetSnapshot {
	count, inserted := pods.countPods()
	s := &targetSnapshot{marks: make(map[*storedPod]podMark, count), inserted: inserted, demanded: p.demanded, unresolved: p.unresolved}
	// Which pods are behind an autoscaler must be known of all before it is asked of any.
	for _, c := range p.demandedPods {
		s.markAllPods(c, pods, sets)
	}
	for _, c := range p.demandedPods {
		s.markOptedIn(c, pods, sets)
	}
	s.targets = s.listTargets(sets)
	return s
}

// listTargets returns the targets, sorted. It sorts the pods and not the targets, which are many times larger: half
// the time of the whole computation otherwise.
func (s *targetSnapshot) listTargets(sets *familySets) []metric.Target {
	chosen := make([]*storedPod, 0, len(s.marks))
	for p, m := range s.marks {
		if p.Live && p.url != "" && m.families != noFamilies {
			chosen = append(chosen, p)
		}
	}
	slices.SortFunc(chosen, func(a, b *storedPod) int { return compareObjects(a.podKey(), b.podKey()) })
	targets := make([]metric.Target, len(chosen))
	for i, p := range chosen {
		targets[i] = metric.Target{
			Namespace: p.Namespace, Pod: p.Name, Node: p.Node, UID: p.UID, URL: p.url,
			Families: sets.listFamilies(s.marks[p].families),
		}
	}
	return targets
}

func (s *targetSnapshot) markAllPods(c *demandedPods, pods *podTable, sets *familySets) {
	families := c.allPodsFamilies
	if c.autoscaled { // all its pods have opted in by that
		families = sets.unionSets(c.allPodsFamilies, c.optedInFamilies)
	} else if families == noFamilies {
		return
	}
	found := false
	pods.visitPods(c.podScope, func(p *storedPod) {
		m := s.marks[p]
		s.marks[p] = podMark{sets.unionSets(m.families, families), m.autoscaled || c.autoscaled}
		found = true
	})
	if c.autoscaled && !found {
		s.emptySelectors = append(s.emptySelectors, c.scaleTarget)
	}
}

func (s *targetSnapshot) markOptedIn(c *demandedPods, pods *podTable, sets *familySets) {
	if c.autoscaled || c.optedInFamilies == noFamilies {
		return
	}
	pods.visitPods(c.podScope, func(p *storedPod) {
		if m := s.marks[p]; p.annotated || m.autoscaled {
			m.families = sets.unionSets(m.families, c.optedInFamilies)
			s.marks[p] = m
		}
	})
}

// isTarget reports whether a pod is a target.
func (s *targetSnapshot) isTarget(key metric.Object) bool {
	_, ok := slices.BinarySearchFunc(s.targets, key, func(t metric.Target, key metric.Object) int {
		return compareObjects(t.Key(), key)
	})
	return ok
}

// NotDemanded is the detail of an omission for a pod that is scraped as soon as somebody asks for a metric of it.
const NotDemanded = "not demanded yet"

// explainPod says why a pod of the table is no target; the zero reason means that it is one.
func (s *targetSnapshot) explainPod(p *storedPod) metric.Omission {
	o := metric.Omission{Object: p.podKey(), Reason: metric.ReasonNotScraped}
	switch m := s.marks[p]; {
	case !p.Live:
		return p.Omission
	case p.skipReason != "":
		o.Detail = p.skipReason
	case s.isTarget(p.podKey()):
		o.Reason = ""
	case p.inserted > s.inserted:
		o.Detail = "pod has just changed"
	case p.annotated || m.autoscaled:
		o.Detail = NotDemanded
	case s.unresolved[p.Namespace] != "":
		o.Detail = s.unresolved[p.Namespace]
	default:
		o.Detail = `annotate it ` + annotationScrape + `: "true" or point a HorizontalPodAutoscaler at it`
	}
	return o
}
