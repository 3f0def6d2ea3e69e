package discovery

import (
	"slices"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// mark is what a plan means for one pod.
type mark struct {
	families familySet
	// behind tells that the pod is behind an autoscaler that names a metric.
	behind bool
}

// snapshot is what follows from a plan and the pods of one moment. It is never changed.
type snapshot struct {
	// targets are sorted by namespace and name.
	targets    []metric.Target
	marks      map[*pod]mark
	inserted   uint64 // the pods considered are those inserted up to this one
	demanded   []Demand
	unresolved map[string]string
	// deserted are the scale targets that select no pod.
	deserted []objectKey
}

// choose applies a plan to the pods. A pod is a target when something is demanded of it, it is live, and it
// has an endpoint.
func choose(p *plan, pods *table, sets *familySets) *snapshot {
	count, inserted := pods.size()
	s := &snapshot{marks: make(map[*pod]mark, count), inserted: inserted, demanded: p.demanded, unresolved: p.unresolved}
	// Which pods are behind an autoscaler must be known of all before it is asked of any.
	for _, c := range p.claims {
		s.claimAlways(c, pods, sets)
	}
	for _, c := range p.claims {
		s.claimOpted(c, pods, sets)
	}
	s.targets = s.list(sets)
	return s
}

// list returns the targets, sorted. It sorts the pods and not the targets, which are many times larger: half
// the time of the whole computation otherwise.
func (s *snapshot) list(sets *familySets) []metric.Target {
	chosen := make([]*pod, 0, len(s.marks))
	for p, m := range s.marks {
		if p.Live && p.url != "" && m.families != noFamilies {
			chosen = append(chosen, p)
		}
	}
	slices.SortFunc(chosen, func(a, b *pod) int { return compareObjects(a.key(), b.key()) })
	targets := make([]metric.Target, len(chosen))
	for i, p := range chosen {
		targets[i] = metric.Target{
			Namespace: p.Namespace, Pod: p.Name, Node: p.Node, UID: p.UID, URL: p.url,
			Families: sets.list(s.marks[p].families),
		}
	}
	return targets
}

func (s *snapshot) claimAlways(c *claim, pods *table, sets *familySets) {
	families := c.always
	if c.behind { // all its pods have opted in by that
		families = sets.union(c.always, c.opted)
	} else if families == noFamilies {
		return
	}
	found := false
	pods.each(c.scope, func(p *pod) {
		m := s.marks[p]
		s.marks[p] = mark{sets.union(m.families, families), m.behind || c.behind}
		found = true
	})
	if c.behind && !found {
		s.deserted = append(s.deserted, c.owner)
	}
}

func (s *snapshot) claimOpted(c *claim, pods *table, sets *familySets) {
	if c.behind || c.opted == noFamilies {
		return
	}
	pods.each(c.scope, func(p *pod) {
		if m := s.marks[p]; p.annotated || m.behind {
			m.families = sets.union(m.families, c.opted)
			s.marks[p] = m
		}
	})
}

// target reports whether a pod is a target.
func (s *snapshot) target(key metric.Object) bool {
	_, ok := slices.BinarySearchFunc(s.targets, key, func(t metric.Target, key metric.Object) int {
		return compareObjects(t.Key(), key)
	})
	return ok
}

// NotDemanded is the detail of an omission for a pod that is scraped as soon as somebody asks for a metric of it.
const NotDemanded = "not demanded yet"

// explain says why a pod of the table is no target; the zero reason means that it is one.
func (s *snapshot) explain(p *pod) metric.Omission {
	o := metric.Omission{Object: p.key(), Reason: metric.ReasonNotScraped}
	switch m := s.marks[p]; {
	case !p.Live:
		return p.Why
	case p.refused != "":
		o.Detail = p.refused
	case s.target(p.key()):
		o.Reason = ""
	case p.inserted > s.inserted:
		o.Detail = "pod has just changed"
	case p.annotated || m.behind:
		o.Detail = NotDemanded
	case s.unresolved[p.Namespace] != "":
		o.Detail = s.unresolved[p.Namespace]
	default:
		o.Detail = `annotate it ` + annotationScrape + `: "true" or point a HorizontalPodAutoscaler at it`
	}
	return o
}
