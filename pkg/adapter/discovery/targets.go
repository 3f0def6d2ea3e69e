// This file applies a plan to the pods, and explains why a pod is not a target.

package discovery

import (
	"slices"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// podMark holds the families that a plan demands of a pod.
type podMark struct {
	families familySet
	// autoscaled is true if the pod belongs to the scale target of an autoscaler that names a metric.
	autoscaled bool
}

// targetSnapshot is the result of a plan and the pods at one moment. It is immutable.
type targetSnapshot struct {
	// targets are sorted by namespace and name.
	targets    []metric.Target
	marks      map[*storedPod]podMark
	inserted   uint64 // number of the last pod considered
	demanded   []Demand
	unresolved map[string]string
	// contested holds the reasons why demanded pods with an endpoint are no targets: another pod claims the endpoint.
	contested map[metric.Object]string
}

// chooseDiscoveredTargets applies a plan to the pods. A pod is a target if it runs, has an endpoint, and families are demanded of
// it.
func chooseDiscoveredTargets(p *demandPlan, pods *podTable, sets *familySets) *targetSnapshot {
	count, inserted := pods.countDiscoveredPods()
	s := &targetSnapshot{
		marks: make(map[*storedPod]podMark, count), inserted: inserted, demanded: p.demanded, unresolved: p.unresolved,
		contested: map[metric.Object]string{},
	}
	// markOptedIn reads the autoscaled mark, so that markDemandedPods must have visited all pods first.
	for _, c := range p.demandedPods {
		s.markDemandedDiscoveryTargets(c, pods, sets)
	}
	for _, c := range p.demandedPods {
		s.markOptedInDiscoveryTargets(c, pods, sets)
	}
	s.targets = s.listDiscoveredTargets(pods, sets)
	return s
}

// listDiscoveredTargets returns the targets, sorted. It sorts the pods and not the targets, which are many times larger: sorting
// targets would take half the time of the whole computation.
func (s *targetSnapshot) listDiscoveredTargets(pods *podTable, sets *familySets) []metric.Target {
	chosen := make([]*storedPod, 0, len(s.marks))
	for p, m := range s.marks {
		if p.url == "" || m.families == noFamilies {
			continue
		}
		if rival := pods.findDiscoveredEndpointRival(p); rival != nil {
			s.contested[p.discoveredPodKey()] = explainDiscoveredEndpointRival(p, rival)
			continue
		}
		chosen = append(chosen, p)
	}
	slices.SortFunc(chosen, func(a, b *storedPod) int { return compareDiscoveredObjects(a.discoveredPodKey(), b.discoveredPodKey()) })
	targets := make([]metric.Target, len(chosen))
	for i, p := range chosen {
		targets[i] = metric.Target{
			Namespace: p.Namespace, Pod: p.Name, Node: p.Node, UID: p.UID, URL: p.url, Started: p.Started, Ending: !p.Live,
			Families: sets.listDiscoveryDemandFamilies(s.marks[p].families),
		}
	}
	return targets
}

// explainDiscoveredEndpointRival returns why a pod is no target whose endpoint another pod claims: its page would count twice.
func explainDiscoveredEndpointRival(p, rival *storedPod) string {
	text := "pod " + rival.discoveredPodKey().String() + " has the same endpoint " + p.url
	if p.hostNetwork || rival.hostNetwork {
		text += " on the node's network: annotate " + annotationPort + " with different ports"
	}
	return text
}

func (s *targetSnapshot) markDemandedDiscoveryTargets(c *demandedPods, pods *podTable, sets *familySets) {
	families := c.allPodsFamilies
	if c.autoscaled { // the autoscaler opts all its pods in
		families = sets.unionDiscoveryDemandFamilies(c.allPodsFamilies, c.optedInFamilies)
	} else if families == noFamilies {
		return
	}
	pods.visitDiscoveredPods(c.podScope, func(p *storedPod) {
		m := s.marks[p]
		s.marks[p] = podMark{sets.unionDiscoveryDemandFamilies(m.families, families), m.autoscaled || c.autoscaled}
	})
}

func (s *targetSnapshot) markOptedInDiscoveryTargets(c *demandedPods, pods *podTable, sets *familySets) {
	if c.autoscaled || c.optedInFamilies == noFamilies {
		return
	}
	pods.visitDiscoveredPods(c.podScope, func(p *storedPod) {
		if m := s.marks[p]; p.annotated || m.autoscaled {
			m.families = sets.unionDiscoveryDemandFamilies(m.families, c.optedInFamilies)
			s.marks[p] = m
		}
	})
}

// isDiscoveredTarget reports whether a pod is a target.
func (s *targetSnapshot) isDiscoveredTarget(key metric.Object) bool {
	_, ok := slices.BinarySearchFunc(s.targets, key, func(t metric.Target, key metric.Object) int {
		return compareDiscoveredObjects(t.Key(), key)
	})
	return ok
}

// NotDemanded is the detail of an omission for a pod whose scraping starts with the first demand for one of its metrics.
const NotDemanded = "not demanded yet"

// explainUntargetedDiscoveredPod returns the reason why a stored pod is not a target; the zero reason means that it is a target.
func (s *targetSnapshot) explainUntargetedDiscoveredPod(p *storedPod) metric.Omission {
	o := metric.Omission{Object: p.discoveredPodKey(), Reason: metric.ReasonNotScraped}
	switch m := s.marks[p]; {
	case !p.Live:
		return p.Omission
	case p.skipReason != "":
		o.Detail = p.skipReason
	case s.contested[p.discoveredPodKey()] != "":
		o.Detail = s.contested[p.discoveredPodKey()]
	case s.isDiscoveredTarget(p.discoveredPodKey()):
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
