// Measures the adapter's resident memory with populations of targets and series.

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/tachometer-metrics/tachometer/test/harness/metricspage"
)

// memory is the part that measures the adapter's memory, beside a minimal kube-apiserver.
type memory struct {
	cpus     processors
	dir      string
	program  string // the adapter
	steady   time.Duration
	profiles string
	log      io.Writer
}

// population is the adapter's input: groups of pods, each with two families of that many series.
type population struct {
	groups, series int
}

func (p population) populationPods() int   { return p.groups * podsPerGroup }
func (p population) populationSeries() int { return 2 * p.series * p.populationPods() }

// The populations. The first shows the memory without pods; differences of the others show the cost of a target and of a series.
var (
	nobody     = population{0, 1}
	someFlat   = population{50, 1}
	manyFlat   = population{250, 1}
	someDeep   = population{50, 12}
	measurable = []population{nobody, someFlat, someDeep, manyFlat}
)

// holding is the adapter's memory with a population.
type holding struct {
	population
	usage
	samples float64
	heap    float64 // bytes in use by the Go runtime, at the end
	stacks  float64 // bytes of stacks
	scrapes float64 // due scrapes that were missed
}

// longestWindow is the longest window of the adapter's defaults.
const longestWindow = time.Minute

func (m *memory) measurePopulations(ctx context.Context) ([]*holding, error) {
	var all []*holding
	for _, p := range measurable {
		h := &holding{population: p}
		if err := m.measurePopulation(ctx, h); err != nil {
			return nil, fmt.Errorf("measure %d pods with %d series a family: %w", p.populationPods(), p.series, err)
		}
		fmt.Fprintf(m.log, "%d pods, %d series, %.0f samples: resident %.1f MB, heap %.1f MB, stacks %.1f MB, %.2f processors, %.0f scrapes left out\n",
			p.populationPods(), p.populationSeries(), h.samples, float64(h.resident)/1e6, h.heap/1e6, h.stacks/1e6, h.cpu.Seconds()/h.elapsed.Seconds(), h.scrapes)
		all = append(all, h)
	}
	return all, nil
}

// measurePopulation runs the adapter with a population until its store is full, and then measures it.
func (m *memory) measurePopulation(ctx context.Context, h *holding) (err error) {
	pages, err := startBenchRole(&m.cpus.others, m.dir, roleFamilies, "-targets", fmt.Sprint(h.series))
	if err != nil {
		return err
	}
	defer pages.endBenchChild()
	// The adapter may use all processors: on a single processor it would hold pages in flight for longer.
	a := &answering{cpus: processors{measured: m.cpus.allProcessors(), others: m.cpus.others}, dir: m.dir, program: m.program, groups: h.groups, log: m.log}
	if a.kube, err = startBenchKube(h.groups, pages.line); err != nil {
		return err
	}
	defer a.kube.Close()
	if err := a.startAdapter(ctx); err != nil {
		return err
	}
	defer a.adapter.endBenchChild()
	client := &http.Client{Timeout: processTimeout, Transport: &http.Transport{TLSClientConfig: a.trust, DisableKeepAlives: true}}
	if err := m.fillBenchStore(ctx, client, a.base, h); err != nil {
		log, _ := os.ReadFile(a.adapter.log.Name())
		return fmt.Errorf("wait for samples: %w; log of the adapter: %s", err, log[max(0, len(log)-2000):])
	}
	watch := meter{measured: a.adapter, serving: pages}
	if h.usage, err = watch.measureBenchWork(ctx, m.steady, nil); err != nil {
		return err
	}
	if err := h.readHolding(ctx, client, a.base); err != nil {
		return err
	}
	return m.profileBenchHeap(ctx, client, a.base, h)
}

// fillBenchStore returns when the store has every series over the longest window, plus some time to collect the garbage of the start.
func (m *memory) fillBenchStore(ctx context.Context, client *http.Client, base string, h *holding) error {
	err := pollBenchUntil(ctx, func() error {
		page, err := readBenchSelfMetrics(ctx, client, base)
		if err == nil && int(page.Sum("tachometer_store_series")) < h.populationSeries() {
			err = fmt.Errorf("%.0f series of %d are there", page.Sum("tachometer_store_series"), h.populationSeries())
		}
		return err
	})
	if err != nil || h.groups == 0 {
		return err
	}
	return sleepInBench(ctx, longestWindow+longestWindow/2)
}

func (h *holding) readHolding(ctx context.Context, client *http.Client, base string) error {
	page, err := readBenchSelfMetrics(ctx, client, base)
	h.samples, h.heap, h.stacks = page.Sum("tachometer_store_samples"), page.Sum("go_memstats_heap_inuse_bytes"), page.Sum("go_memstats_stack_inuse_bytes")
	h.scrapes = page.Sum("tachometer_scrape_missed_total")
	return err
}

// profileBenchHeap keeps a heap profile.
func (m *memory) profileBenchHeap(ctx context.Context, client *http.Client, base string, h *holding) error {
	if m.profiles == "" {
		return nil
	}
	profile, err := fetchBenchPage(ctx, client, base+"/debug/pprof/heap?gc=1")
	if err != nil {
		return err
	}
	name := fmt.Sprintf("heap-%d-pods-%d-series.pprof", h.populationPods(), h.populationSeries())
	return os.WriteFile(filepath.Join(m.profiles, name), profile, 0o600)
}

// readBenchSelfMetrics returns the adapter's self-metrics.
func readBenchSelfMetrics(ctx context.Context, client *http.Client, base string) (metricspage.Page, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/metrics", http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("read self-metrics: %s", response.Status)
	}
	return metricspage.Parse(response.Body)
}
