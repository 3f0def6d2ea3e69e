package scrape

// The bound of series that change from page to page.

import (
	"fmt"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
)

// maxNewPages is the number of pages with new series only that a target may have within the retention, each with as many samples as a
// page may have: its first page, and the first of a program that begins anew. The store so holds at most three times MaxSamples
// series of a target: the series of its newest page, and twice as many that have ended.
const maxNewPages = 2

// seriesChurn counts the new series of a target within the retention.
type seriesChurn struct {
	pages []newSeriesPage // oldest first
	total int             // of pages
}

// newSeriesPage is a page with n new series; t is in milliseconds.
type newSeriesPage struct {
	t int64
	n int
}

// checkSeriesChurn returns an error if n more series at t are too many.
func (c *seriesChurn) checkSeriesChurn(t int64, n int, opts *Options) error {
	old := 0
	for old < len(c.pages) && c.pages[old].t <= t-opts.Retention.Milliseconds() {
		c.total -= c.pages[old].n
		old++
	}
	if old > 0 {
		c.pages = append(c.pages[:0], c.pages[old:]...)
	}
	if limit := maxNewPages * opts.MaxSamples; c.total+n > limit {
		return &exposition.Error{Kind: exposition.KindChurn, Detail: fmt.Sprintf(
			"more than %d new series within %v: the labels change from scrape to scrape", limit, opts.Retention.Round(time.Second))}
	}
	return nil
}

// addNewSeries adds n new series at t.
func (c *seriesChurn) addNewSeries(t int64, n int) {
	c.total += n
	if last := len(c.pages) - 1; last >= 0 && c.pages[last].t == t {
		c.pages[last].n += n
		return
	}
	c.pages = append(c.pages, newSeriesPage{t, n})
}
