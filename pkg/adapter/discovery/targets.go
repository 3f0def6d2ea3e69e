// This file applies a plan to the pods, and explains why a pod is not a target.

package discovery

import (
	"slices"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/podpage"
)

// podMark holds the claims of a plan on a pod.
type podMark struct {
	claims claimChain
	// autoscaled is true if the pod belongs to the scale target of an autoscaler that names a metric.
	autoscaled bool
}

// plannedTargets are the result of a plan and the pods at one moment. They are immutable.
type plannedTargets struct {
	// targets are sorted by namespace and name.
	targets    []metric.Target
	marks      map[*storedPod]podMark
	inserted   uint64 // number of the last pod considered
	demanded   []Demand
	unresolved map[string]string
	standing   map[demandKey]struct{}
	// contested holds the reasons why demanded pods with an endpoint are no targets: another pod claims the endpoint, or the demand
	// is too large.
	contested map[metric.Object]string
}

// chooseTargets applies a plan to the pods. A pod is a target if it runs, has an endpoint, and families are demanded of
// it.
func chooseTargets(p *demandPlan, pods *watchedPodTable) *plannedTargets {
	if p.sets.exhausted { // pods that are gone have used up the bounds, maybe
		p.sets = newFamilySets()
	}
	count, inserted := pods.countStoredPods()
	s := &plannedTargets{
		marks: make(map[*storedPod]podMark, count), inserted: inserted, demanded: p.demanded, unresolved: p.unresolved, standing: p.standing,
		contested: map[metric.Object]string{},
	}
	// markOptedInTargets reads the autoscaled mark, so that markDemandedTargets must have visited all pods first.
	for _, c := range p.demandedPods {
		s.markDemandedTargets(c, pods, p.sets)
	}
	for _, c := range p.demandedPods {
		s.markOptedInTargets(c, pods, p.sets)
	}
	s.targets = s.listSnapshotTargets(pods, p.sets)
	return s
}

// listSnapshotTargets returns the targets, sorted. It sorts the pods and not the targets, which are many times larger: sorting
// targets would take half the time of the whole computation.
func (s *plannedTargets) listSnapshotTargets(pods *watchedPodTable, sets *familySets) []metric.Target {
	chosen := make([]*storedPod, 0, len(s.marks))
	for p, m := range s.marks {
		if p.url == "" || m.claims == noClaims {
			continue
		}
		if len(sets.resolvePodFamilies(p.Namespace, m.claims).all) == 0 {
			s.contested[p.storedPodKey()] = overFamilyBudget
			continue
		}
		if rival := pods.findEndpointRival(p); rival != nil {
			s.contested[p.storedPodKey()] = explainEndpointRival(p, rival)
			continue
		}
		chosen = append(chosen, p)
	}
	slices.SortFunc(chosen, func(a, b *storedPod) int { return a.storedPodKey().Compare(b.storedPodKey()) })
	targets := make([]metric.Target, len(chosen))
	for i, p := range chosen {
		families := sets.resolvePodFamilies(p.Namespace, s.marks[p].claims)
		targets[i] = metric.Target{
			Namespace: p.Namespace, Pod: p.Name, Node: p.Node, UID: p.UID, URL: p.url, Started: p.Started, Finished: p.Finished, Stopped: p.Stopped, Ready: p.Ready,
			Ending: !p.Live, Families: families.all, Standing: families.standing,
		}
	}
	return targets
}

// explainEndpointRival returns why a pod is no target: another pod claims its endpoint, and its page would count twice.
func explainEndpointRival(p, rival *storedPod) string {
	text := "pod " + rival.storedPodKey().String() + " has the same endpoint " + p.url
	if p.hostNetwork || rival.hostNetwork {
		text += " on the node's network: annotate " + podpage.AnnotationPort + " with different ports"
	}
	return text
}

func (s *plannedTargets) markDemandedTargets(c *demandedPods, pods *watchedPodTable, sets *familySets) {
	if !c.autoscaled && len(c.allPodsFamilies) == 0 {
		return
	}
	pods.visitStoredPods(c.podScope, func(p *storedPod) {
		m := s.marks[p]
		m.autoscaled = m.autoscaled || c.autoscaled
		m.claims = sets.extendClaimChain(m.claims, podClaim{pods: c})
		if c.autoscaled { // the autoscaler opts all its pods in
			m.claims = sets.extendClaimChain(m.claims, podClaim{c, true})
		}
		s.marks[p] = m
	})
}

func (s *plannedTargets) markOptedInTargets(c *demandedPods, pods *watchedPodTable, sets *familySets) {
	if c.autoscaled || len(c.optedInFamilies) == 0 {
		return
	}
	pods.visitStoredPods(c.podScope, func(p *storedPod) {
		if m := s.marks[p]; p.annotated || m.autoscaled {
			m.claims = sets.extendClaimChain(m.claims, podClaim{c, true})
			s.marks[p] = m
		}
	})
}

// isChosenPodTarget reports whether a pod is a target.
func (s *plannedTargets) isChosenPodTarget(key metric.Object) bool {
	_, ok := slices.BinarySearchFunc(s.targets, key, func(t metric.Target, key metric.Object) int {
		return t.Key().Compare(key)
	})
	return ok
}

// overFamilyBudget is the detail of an omission for a pod without room for its families.
const overFamilyBudget = "its namespace demands too many different sets of metric families: name fewer metrics"

// NotDemanded is the detail of an omission for a pod: its scraping starts with the first demand for one of its metrics.
const NotDemanded = "not demanded yet"

// explainUntargetedPod returns the reason why a stored pod is not a target; the zero reason means that it is a target.
func (s *plannedTargets) explainUntargetedPod(p *storedPod) metric.Omission {
	o := metric.Omission{Object: p.storedPodKey(), Reason: metric.ReasonNotScraped}
	switch m := s.marks[p]; {
	case !p.Live:
		return p.Omission
	case p.skipReason != "":
		o.Detail = p.skipReason
	case s.contested[p.storedPodKey()] != "":
		o.Detail = s.contested[p.storedPodKey()]
	case s.isChosenPodTarget(p.storedPodKey()):
		o.Reason = ""
	case p.inserted > s.inserted:
		o.Detail = "pod has just changed"
	case p.annotated || m.autoscaled:
		o.Detail = NotDemanded
	case s.unresolved[p.Namespace] != "":
		o.Detail = s.unresolved[p.Namespace]
	default:
		o.Detail = `annotate it ` + podpage.AnnotationScrape + `: "true" or point a HorizontalPodAutoscaler at it`
	}
	return o
}
