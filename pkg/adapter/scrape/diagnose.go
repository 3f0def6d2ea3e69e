package scrape

// Diagnose: the status of each target, and the reason of a missing value.

import (
	"slices"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// targetStatus is the state of a target after its last scrape. Manager.mu guards it.
type targetStatus struct {
	tried bool
	cause string // the reason of the last scrape's failure; "" after a success
	// pages counts, for each of the sorted families, the newest pages in a row with samples of it. A failed scrape leaves
	// the counts.
	families []string
	pages    []int32
}

// recordScrape records a scrape: the cause of its failure, or the number of samples of each family.
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

// setFamilies replaces the families and keeps the counts of families in both sets.
func (s *targetStatus) setFamilies(families []string) {
	pages := make([]int32, len(families))
	for i, f := range families {
		pages[i], _ = s.pagesInRow(f)
	}
	s.families, s.pages = families, pages
}

// pagesInRow returns the number of newest pages in a row with a family. It returns false if no scrape asked for the family.
func (s *targetStatus) pagesInRow(family string) (pages int32, known bool) {
	i, known := slices.BinarySearch(s.families, family)
	if !known {
		return 0, false
	}
	return s.pages[i], true
}

// minPagesInRow is the number of pages in a row that rules out too few samples as the reason of a missing value: two for a
// rate, and a third because the newest page may be younger than the computation of the value.
const minPagesInRow = 3

// Diagnose returns the reason why a pod has no value of a metric computed from families: no target, a failed scrape, a family
// missing on the page, or too few pages so far.
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

// omissionReason returns the reason and its detail, for the families of a metric and the sorted families asked for.
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
