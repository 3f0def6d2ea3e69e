// The section of the report on scraping: the cost of a scrape for the scraper and for the target.

package main

import (
	"bytes"
	"fmt"
	"io"
)

// formatScraping returns the section on scraping.
func (s *scraping) formatScraping(results []*result) string {
	var w bytes.Buffer
	service := newBenchService()
	service.advanceBenchSeries()
	whole, named := service.renderBenchPage(""), service.renderBenchPage("name[]="+family)
	fmt.Fprintf(&w, `Every %v each target serves a page of promhttp: %d series, %.1f KB. The scraper keeps the family %s: %d series, %.1f KB where a target
honours `+"`name[]`"+`. Each scraper has a processor to itself for %v, after %v. *CPU* is of one scrape; *× Prometheus* compares with whole
pages and as many targets, at most %d, its limit; *memory* is resident for one target, beyond the empty process (%s).

| targets | pages | scraper | CPU, ms | × Prometheus | memory, KB | scrapes made |
| --- | --- | --- | --- | --- | --- | --- |
`, s.interval, countPageSeries(whole), benchKilobytes(len(whole)), family, countPageSeries(named), benchKilobytes(len(named)), s.steady,
		warmUp*s.interval, s.peerLimit, s.idleMemoryText(results))
	for _, r := range results {
		if r.mode != livePages {
			s.writeScrapingRow(&w, r, results)
		}
	}
	s.reportTargets(&w, results)
	return w.String()
}

func benchKilobytes(bytes int) float64 { return float64(bytes) / 1000 }

// idleMemoryText returns the systems' memory without targets.
func (s *scraping) idleMemoryText(results []*result) string {
	text, told := "", map[string]bool{}
	for _, r := range results {
		if told[r.name] {
			continue
		}
		told[r.name] = true
		if text != "" {
			text += "; "
		}
		text += fmt.Sprintf("%s %.1f MB", r.name, float64(s.empty[r.name])/1e6)
	}
	return text
}

// peerScrapeResult returns the peer's result with the same number of targets, or else with its largest number below.
func peerScrapeResult(results []*result, r *result, mode string) *result {
	var found *result
	for _, other := range results {
		if other.name == peer && other.mode == mode && other.targets <= r.targets && (found == nil || found.targets < other.targets) {
			found = other
		}
	}
	return found
}

func (s *scraping) writeScrapingRow(w io.Writer, r *result, results []*result) {
	ratio := ""
	if other := peerScrapeResult(results, r, wholePages); other != nil && other != r {
		ratio = fmt.Sprintf("%.2f", r.cpuPerScrape().Seconds()/other.cpuPerScrape().Seconds())
	}
	fmt.Fprintf(w, "| %d | %s | %s | %.3f | %s | %.1f | %d of %.0f |\n", r.targets, r.mode, r.name,
		1000*r.cpuPerScrape().Seconds(), ratio, r.growth/1000, r.scrapes, r.due)
}

// reportTargets writes the cost of a scrape for a target that gathers and renders each page.
func (s *scraping) reportTargets(w io.Writer, results []*result) {
	fmt.Fprint(w, `
**Cost for the target**: its CPU for one scrape. Prometheus requests a compressed page.

| asked by | CPU, ms | × asked by Prometheus |
| --- | --- | --- |
`)
	for _, r := range results {
		if r.mode != livePages {
			continue
		}
		ratio := ""
		if other := peerScrapeResult(results, r, livePages); other != nil && other != r {
			ratio = fmt.Sprintf("%.2f", r.servingCPUPerScrape().Seconds()/other.servingCPUPerScrape().Seconds())
		}
		fmt.Fprintf(w, "| %s | %.3f | %s |\n", r.name, 1000*r.servingCPUPerScrape().Seconds(), ratio)
	}
}
