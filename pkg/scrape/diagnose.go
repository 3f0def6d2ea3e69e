package scrape

import (
	"slices"

	"tachometer/pkg/metric"
)

// status is what is known of a target since its last scrape. Manager.mu guards it.
type status struct {
	tried bool
	cause string // why the last scrape failed; "" if it did not
	// pages is, by family, how many pages in a row had samples of it; a page that was not had leaves it.
	pages map[string]int
}

// set notes a scrape: why it failed, or the number of samples it had of each family.
func (s *status) set(cause string, families []string, counts []int) {
	s.tried, s.cause = true, cause
	if counts == nil {
		return
	}
	if len(s.pages) != len(families) {
		s.dropOthers(families)
	}
	for i, f := range families {
		if counts[i] == 0 {
			s.pages[f] = 0
		} else {
			s.pages[f]++
		}
	}
}

// dropOthers forgets families that are not wanted any more.
func (s *status) dropOthers(families []string) {
	kept := make(map[string]int, len(families))
	for _, f := range families {
		if n, ok := s.pages[f]; ok {
			kept[f] = n
		}
	}
	s.pages = kept
}

// enough is how many pages must have had a family before a missing value cannot be for want of samples: two
// for a rate, and one more because the newest may have come after the value was computed.
const enough = 3

// Diagnose says why the pod has no value of a metric that is computed from families: no target, a scrape that
// failed, a family that the page does not have, or too few pages so far.
func (m *Manager) Diagnose(namespace, pod string, families []string) metric.Omission {
	key := metric.Object{Namespace: namespace, Name: pod}
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.loops[key]
	if l == nil {
		return metric.Omission{Object: key, Reason: metric.ReasonNotScraped}
	}
	reason, detail := l.status.explain(families, l.endpoint.families.Names())
	return metric.Omission{Object: key, Reason: reason, Detail: detail}
}

func (s *status) explain(families, asked []string) (metric.Reason, string) {
	switch {
	case !s.tried:
		return metric.ReasonWarmingUp, "not scraped yet"
	case s.cause != "":
		return metric.ReasonScrapeFailed, s.cause
	}
	reason, detail := metric.ReasonAbsent, "no series of it matches"
	for _, f := range families {
		if _, ok := slices.BinarySearch(asked, f); !ok {
			return metric.ReasonWarmingUp, f + " not scraped yet"
		}
		n, known := s.pages[f]
		switch {
		case known && n == 0:
			return metric.ReasonAbsent, "no " + f + " on its page"
		case n < enough:
			reason, detail = metric.ReasonWarmingUp, "scraped for a moment only"
		}
	}
	return reason, detail
}
