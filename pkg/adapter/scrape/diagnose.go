package scrape

import (
	"slices"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// targetStatus is what is known of a target since its last scrape. Manager.mu guards it.
type targetStatus struct {
	tried bool
	cause string // why the last scrape failed; "" if it did not
	// pages is how many pages in a row had samples of each of the families, which are sorted; a page that was not
	// had leaves it.
	families []string
	pages    []int32
}

// recordScrape notes a scrape: why it failed, or the number of samples it had of each family.
func (s *targetStatus) recordScrape(cause string, families []string, counts []int) {
	s.tried, s.cause = true, cause
	if counts == nil {
		return
	}
	if !slices.Equal(s.families, families) {
		s.setFamilies(families)
	}
	for i, n := range counts {
		if s.pages[i]++; n == 0 {
			s.pages[i] = 0
		}
	}
}

// setFamilies forgets families that are not wanted any more.
func (s *targetStatus) setFamilies(families []string) {
	pages := make([]int32, len(families))
	for i, f := range families {
		pages[i], _ = s.pagesInRow(f)
	}
	s.families, s.pages = families, pages
}

// pagesInRow returns how many pages in a row had a family, if a page was looked at for it.
func (s *targetStatus) pagesInRow(family string) (pages int32, known bool) {
	i, known := slices.BinarySearch(s.families, family)
	if !known {
		return 0, false
	}
	return s.pages[i], true
}

// minPagesInRow is how many pages must have had a family before a missing value cannot be for want of samples: two
// for a rate, and one more because the newest may have come after the value was computed.
const minPagesInRow = 3

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
	reason, detail := l.status.omissionReason(families, l.endpoint.families.Names())
	return metric.Omission{Object: key, Reason: reason, Detail: detail}
}

func (s *targetStatus) omissionReason(families, asked []string) (metric.Reason, string) {
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
		n, known := s.pagesInRow(f)
		switch {
		case known && n == 0:
			return metric.ReasonAbsent, "no " + f + " on its page"
		case n < minPagesInRow:
			reason, detail = metric.ReasonWarmingUp, "scraped for a moment only"
		}
	}
	return reason, detail
}
