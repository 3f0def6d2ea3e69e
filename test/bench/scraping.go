// Measures scrapers over the same targets: the adapter, Prometheus, and the bare reading of pages with net/http.

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/common/model"

	"github.com/tachometer-metrics/tachometer/test/harness/metricspage"
)

// scraping is the part that compares scrapers.
type scraping struct {
	cpus       processors
	dir        string // for temporary files
	prometheus string // the program
	sizes      []int
	peerLimit  int // maximum number of targets for the peers
	interval   time.Duration
	steady     time.Duration // duration of a measurement
	profiles   string        // folder for CPU profiles; empty: none
	log        io.Writer
	client     *http.Client

	empty map[string]int64 // resident memory of each system without targets
}

// system is a compared system, and the mode of its targets.
type system struct {
	name string
	mode string
}

// The systems.
const (
	tachometer  = "Tachometer"
	peer        = "Prometheus"
	askingPeer  = "Prometheus, `params: name[]`"
	bareReading = "net/http alone"
)

// result is a row of the report.
type result struct {
	system
	usage
	targets    int
	scrapes    int64
	due        float64
	growth     float64 // bytes of memory per target, above the memory without targets
	late       float64 // p99 of lateness, in seconds; 0 if the system does not report it
	percentile bool
}

func (r *result) cpuPerScrape() time.Duration { return r.cpu / time.Duration(max(1, r.scrapes)) }
func (r *result) servingCPUPerScrape() time.Duration {
	return r.served / time.Duration(max(1, r.scrapes))
}

// measureScraping measures all systems at all sizes.
func (s *scraping) measureScraping(ctx context.Context) ([]*result, error) {
	if err := checkOpenFileLimit(slices.Max(s.sizes)); err != nil {
		return nil, err
	}
	s.empty = map[string]int64{}
	var all []*result
	for _, size := range s.sizes {
		for _, one := range s.systemsOfSize(size) {
			r, err := s.measureSystem(ctx, one, size)
			if err != nil {
				return nil, fmt.Errorf("measure %s with %d targets: %w", one.name, size, err)
			}
			fmt.Fprintf(s.log, "%5d targets, %s pages, %s: %v CPU a scrape, %.1f KB a target, late p99 %.1f ms, target %v, %d scrapes of %.0f, others %.2f\n",
				size, one.mode, one.name, r.cpuPerScrape(), r.growth/1000, 1000*r.late, r.servingCPUPerScrape(), r.scrapes, r.due, r.foreign)
			all = append(all, r)
		}
	}
	return all, nil
}

// systemsOfSize returns the systems to measure at a size, each next to its peer. It includes the targets' own cost with the fewest
// targets only: that cost is the same at each size.
func (s *scraping) systemsOfSize(size int) []system {
	if size > s.peerLimit {
		return []system{{tachometer, wholePages}, {tachometer, namedPages}}
	}
	all := []system{
		{peer, wholePages}, {tachometer, wholePages}, {bareReading, wholePages}, {tachometer, namedPages}, {askingPeer, namedPages},
	}
	if size == s.sizes[0] {
		all = append(all, system{peer, livePages}, system{tachometer, livePages})
	}
	return all
}

func (s *scraping) measureSystem(ctx context.Context, one system, size int) (*result, error) {
	base, known := s.empty[one.name]
	if !known {
		none, err := s.observeSystem(ctx, one, 0)
		if err != nil {
			return nil, err
		}
		base = none.resident
		s.empty[one.name] = base
	}
	r, err := s.observeSystem(ctx, one, size)
	if err != nil {
		return nil, err
	}
	r.growth = float64(r.resident-base) / float64(size)
	return r, nil
}

// warmUp is the number of intervals before a measurement: the cost of first scrapes is over, and each target is scraped at its own
// offset in the interval.
const warmUp = 5

// observeSystem runs a system with that many targets.
func (s *scraping) observeSystem(ctx context.Context, one system, size int) (*result, error) {
	dir, err := os.MkdirTemp(s.dir, "run-")
	if err != nil {
		return nil, err
	}
	pages, err := startBenchRole(&s.cpus.others, dir, rolePages, "-mode", one.mode)
	if err != nil {
		return nil, err
	}
	defer pages.endBenchChild()
	scraper, control, err := s.startSystem(ctx, one, size, dir, pages.line)
	if err != nil {
		return nil, err
	}
	defer scraper.endBenchChild()
	steady := s.steady
	if size == 0 {
		steady = s.interval
	}
	if err := sleepInBench(ctx, warmUp*s.interval); err != nil {
		return nil, err
	}
	r := &result{system: one, targets: size}
	return r, s.watchScraper(ctx, r, steady, scraper, pages, control)
}

// watchScraper measures, and fills in the result.
func (s *scraping) watchScraper(ctx context.Context, r *result, steady time.Duration, scraper, pages *process, control string) error {
	before, err := s.readScraper(ctx, r.name, pages.line, control)
	if err != nil {
		return err
	}
	m := meter{measured: scraper, serving: pages}
	if r.usage, err = m.measureBenchWork(ctx, steady, nil); err != nil {
		return err
	}
	after, err := s.readScraper(ctx, r.name, pages.line, control)
	if err != nil {
		return err
	}
	r.scrapes = after.served - before.served
	if failed := after.failed - before.failed; failed > float64(r.scrapes)/100 {
		return fmt.Errorf("%.0f of %d scrapes failed, and a failed scrape costs less: see the log lines above", failed, r.scrapes)
	}
	r.due = float64(r.targets) * r.elapsed.Seconds() / s.interval.Seconds()
	r.late, r.percentile = after.lateness.histogramObservedSince(before.lateness).interpolateHistogramQuantile(0.99)
	if s.profiles == "" || r.targets == 0 || r.name == bareReading {
		return nil
	}
	return s.profileScraper(ctx, control, filepath.Join(s.profiles, fmt.Sprintf("scrape-%.4s-%s-%d.pprof", r.name, r.mode, r.targets)))
}

// profileScraper keeps a CPU profile, taken after the measurement, which it would disturb.
func (s *scraping) profileScraper(ctx context.Context, control, file string) error {
	patient := &http.Client{Timeout: processTimeout}
	profile, err := fetchBenchPage(ctx, patient, "http://"+control+"/debug/pprof/profile?seconds=10")
	if err != nil {
		return err
	}
	return os.WriteFile(file, profile, 0o600)
}

// scraperReading is a reading from outside at a moment.
type scraperReading struct {
	served   int64
	failed   float64 // scrapes by the adapter
	lateness histogram
}

func (s *scraping) readScraper(ctx context.Context, name, pages, control string) (scraperReading, error) {
	var now scraperReading
	served, err := fetchBenchPage(ctx, s.client, "http://127.0.0.1:"+pages+"/served")
	if err == nil {
		now.served, err = strconv.ParseInt(string(served), 10, 64)
	}
	if err != nil || name != tachometer {
		return now, err
	}
	page, err := fetchBenchPage(ctx, s.client, "http://"+control+"/metrics")
	if err != nil {
		return now, err
	}
	metrics, err := metricspage.Parse(bytes.NewReader(page))
	if err != nil {
		return now, err
	}
	const requests = "tachometer_scrape_requests_total"
	now.failed = metrics.Sum(requests) - metrics.Sum(requests, "outcome", "success")
	now.lateness, err = readBenchHistogram(metrics, "tachometer_scrape_lateness_seconds")
	return now, err
}

// startSystem returns the process and the address of its self-metrics.
func (s *scraping) startSystem(ctx context.Context, one system, size int, dir, port string) (*process, string, error) {
	roles := map[string]string{tachometer: roleTachometer, bareReading: roleBare}
	if role := roles[one.name]; role != "" {
		p, err := startBenchRole(&s.cpus.measured, dir, role, "-port", port, "-targets", strconv.Itoa(size), "-interval", s.interval.String())
		if err != nil {
			return nil, "", err
		}
		return p, "127.0.0.1:" + p.line, nil
	}
	config, err := s.writeScrapeConfig(dir, port, size, one.name == askingPeer)
	if err != nil {
		return nil, "", err
	}
	control, err := freeBenchAddress()
	if err != nil {
		return nil, "", err
	}
	p, err := startBenchChild(&s.cpus.measured, dir, s.prometheus, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+control, "--log.level=warn")
	if err != nil {
		return nil, "", err
	}
	if err := p.awaitBenchChildOK(ctx, s.client, "http://"+control+"/-/ready"); err != nil {
		p.endBenchChild()
		return nil, "", err
	}
	return p, control, nil
}

// writeScrapeConfig writes the configuration of a Prometheus that keeps the targets' demanded family. If asking is set, Prometheus
// requests that family alone. JSON is valid YAML.
func (s *scraping) writeScrapeConfig(dir, port string, size int, asking bool) (string, error) {
	type object map[string]any
	addresses := make([]string, size)
	for i := range addresses {
		addresses[i] = benchTargetAddress(i, port)
	}
	job := object{
		"job_name":        "bench",
		"file_sd_configs": []object{{"files": []string{filepath.Join(dir, "targets.json")}}},
		"metric_relabel_configs": []object{
			{"source_labels": []string{"__name__"}, "regex": family, "action": "keep"},
		},
	}
	if asking {
		job["params"] = object{"name[]": []string{family}}
	}
	file := filepath.Join(dir, "prometheus.yml")
	err := writeBenchJSON(file, object{
		"global":         object{"scrape_interval": model.Duration(s.interval).String(), "scrape_timeout": model.Duration(s.interval).String()},
		"scrape_configs": []object{job},
	})
	if err == nil {
		err = writeBenchJSON(filepath.Join(dir, "targets.json"), []object{{"targets": addresses}})
	}
	return file, err
}

func writeBenchJSON(path string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}

// readBenchHistogram reads a histogram without labels from a page.
func readBenchHistogram(metrics metricspage.Page, name string) (histogram, error) {
	if metrics[name] == nil {
		return nil, fmt.Errorf("read metrics: no %s", name)
	}
	h := histogram{}
	for _, b := range metrics[name].GetMetric()[0].GetHistogram().GetBucket() {
		h = append(h, bucket{b.GetUpperBound(), float64(b.GetCumulativeCount())})
	}
	return h, nil
}
