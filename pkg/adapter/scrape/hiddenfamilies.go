package scrape

// Families that a target has, but does not show to the request under way. Absence needs proof: a page by family that lacks a family
// proves nothing until the target is known to find its families by name. A registry of Python's multiprocess mode finds none of
// them, and answers an empty page.

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
)

// firstProbeWait is the time to the second look for families that a page lacks. It doubles with each look, up to namesRetry.
const firstProbeWait = 10 * time.Second

// maxWitnessBytes bounds the name of a family that a target is asked for as a proof.
const maxWitnessBytes = 200

// revealHiddenFamilies looks, once in a while, for the families that a page lacks. It reports whether another request shows more;
// later scrapes then make that request.
func (f *pageFetcher) revealHiddenFamilies(ctx context.Context, l *scrapeLoop, e *scrapedEndpoint, page exposition.PageOptions, found exposition.ParsedPage, now time.Time) bool {
	if now.Before(e.probeAfter) || !lacksAnyFamily(found) {
		return false
	}
	e.probeWait = min(max(firstProbeWait, 2*e.probeWait), namesRetry)
	e.probeAfter = now.Add(e.probeWait)
	page.FindBeginnings = false
	return f.revealFamiliesByName(ctx, l, e, page, found, now) || f.revealEscapedFamilies(ctx, l, e, page, found)
}

// fetchRevealedPage gets the page again by the request that shows more than the page r did. Its counters did not begin since r,
// which did not show them.
func (f *pageFetcher) fetchRevealedPage(ctx context.Context, l *scrapeLoop, e *scrapedEndpoint, page exposition.PageOptions, r exposition.ParsedPage) (exposition.ParsedPage, int64, error) {
	earlier, vanished := slices.Clone(r.Earlier), slices.Clone(r.Vanished)
	page.FindBeginnings = false
	revealed, n, err := f.requestTargetPage(ctx, l, e, e.getWholePageRequest(), l.parser, page)
	if err == nil {
		revealed.Earlier, revealed.Vanished = append(earlier, revealed.Earlier...), append(vanished, revealed.Vanished...)
	}
	return revealed, n, err
}

// revealFamiliesByName compares a page by family with the whole page, and asks for a family of the whole page by its name: a target
// that does not show it hides others too. Such a target is asked for whole pages from then on.
func (f *pageFetcher) revealFamiliesByName(ctx context.Context, l *scrapeLoop, e *scrapedEndpoint, page exposition.PageOptions, found exposition.ParsedPage, now time.Time) bool {
	if e.requestsWholePage(now) {
		return false
	}
	page.FindFirstName = !e.namesProven
	whole, err := f.probeTargetPage(ctx, l, e, e.newWholePageRequest(false), page)
	if err != nil {
		return false
	}
	if hasMoreFamilies(whole, found) {
		e.namesHidden = true
		return true
	}
	if name := whole.FirstName; name != "" && len(name) <= maxWitnessBytes {
		page.Families = exposition.NewFamilies([]string{name})
		byName, err := f.probeTargetPage(ctx, l, e, e.newNamedRequest(page.Families), page)
		e.namesHidden = err == nil && byName.Families[0].Samples == 0
		e.namesProven = err == nil && byName.Families[0].Samples > 0
	}
	return false
}

// revealEscapedFamilies looks for the families that a page lacks under their names without dots if requests ask for names as they are,
// and the other way round. A Go service with the family http.requests shows http_requests to curl, and so to the author of an
// HPA.
func (f *pageFetcher) revealEscapedFamilies(ctx context.Context, l *scrapeLoop, e *scrapedEndpoint, page exposition.PageOptions, found exposition.ParsedPage) bool {
	if !lacksEscapedFamily(e.families.Names(), found, e.escaped) {
		return false
	}
	probed, err := f.probeTargetPage(ctx, l, e, e.newWholePageRequest(!e.escaped), page)
	if err != nil || !hasMoreFamilies(probed, found) {
		return false
	}
	e.escaped, e.wholeRequest = !e.escaped, requestTemplate{}
	return true
}

// probeTargetPage makes a request for a page of which no sample is kept: it only lists the families.
func (f *pageFetcher) probeTargetPage(ctx context.Context, l *scrapeLoop, e *scrapedEndpoint, q requestTemplate, page exposition.PageOptions) (exposition.ParsedPage, error) {
	p := exposition.NewParser(labels.EmptyLabels())
	defer p.Release()
	r, _, err := f.requestTargetPage(ctx, l, e, q, p, page)
	return r, err
}

func lacksAnyFamily(found exposition.ParsedPage) bool {
	return slices.ContainsFunc(found.Families, func(f exposition.FamilyResult) bool { return f.Samples == 0 && f.Err == nil })
}

// hasMoreFamilies reports whether a page has all families of another page, and more.
func hasMoreFamilies(page, than exposition.ParsedPage) (more bool) {
	for i, family := range page.Families {
		before := than.Families[i]
		if family.Samples == 0 && before.Samples > 0 {
			return false
		}
		more = more || family.Samples > 0 && before.Samples == 0 && before.Err == nil
	}
	return more
}

// lacksEscapedFamily reports whether a page lacks a family that a page with the other way to write names may have: a name
// without dots may stand for a name with dots.
func lacksEscapedFamily(families []string, found exposition.ParsedPage, escaped bool) bool {
	for i, name := range families {
		legacy := model.LegacyValidation.IsValidMetricName(name)
		if found.Families[i].Samples == 0 && found.Families[i].Err == nil && legacy != escaped && (escaped || strings.Contains(name, "_")) {
			return true
		}
	}
	return false
}
