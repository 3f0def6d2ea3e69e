package soak

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/memorybounds"
	"github.com/tachometer-metrics/tachometer/pkg/retry"
	"github.com/tachometer-metrics/tachometer/test/harness/metricspage"
)

// adapterSample is the state of the adapter at a time.
type adapterSample struct {
	at                                time.Duration // since the first sample
	resident, heap, goroutines, files float64
	// goal is the size of the heap at which the collector begins, records the bytes of the records of autoscalers, which are bounded.
	goal, records            float64
	targets, series, scrapes float64
}

// collectorRoom is what the heap takes for each living byte: with GOGC at its default the collector begins at twice the living bytes.
const collectorRoom = 2

// sampledColumn is a quantity of a run. It must not grow from the median of the second quarter to that of the last by more than a share,
// if it has one.
type sampledColumn struct {
	name, unit string
	most       float64 // 0: it is shown, and not judged
	of         func(adapterSample) float64
}

// sampledColumns are judged without the records of autoscalers, which take hours to fill to their bound: they are shown apart.
var sampledColumns = []sampledColumn{
	{"resident memory", "MiB", 0, func(s adapterSample) float64 { return s.resident / (1 << 20) }},
	{"heap in use", "MiB", 0, func(s adapterSample) float64 { return s.heap / (1 << 20) }},
	{"records of autoscalers", "MiB", 0, func(s adapterSample) float64 { return s.records / (1 << 20) }},
	{"living heap without records", "MiB", 0.10, func(s adapterSample) float64 { return (s.goal/collectorRoom - s.records) / (1 << 20) }},
	{"resident memory without records", "MiB", 0.10, func(s adapterSample) float64 { return (s.resident - collectorRoom*s.records) / (1 << 20) }},
	{"goroutines", "", 0.10, func(s adapterSample) float64 { return s.goroutines }},
	{"file descriptors", "", 0.10, func(s adapterSample) float64 { return s.files }},
}

// maxRecordBytes is the bound of the records of autoscalers, by its default.
const maxRecordBytes = memorybounds.Records

// watchAdapter samples the adapter at a hundred times within d, at least.
func (w *soakWorld) watchAdapter(t *testing.T, d time.Duration) []adapterSample {
	t.Helper()
	var samples []adapterSample
	began := time.Now()
	for time.Since(began) < d {
		s, err := w.sampleAdapter(t)
		if err != nil {
			t.Fatalf("after %s: %v", time.Since(began).Round(time.Second), err)
		}
		s.at = time.Since(began)
		samples = append(samples, s)
		retry.Sleep(t.Context(), min(10*time.Second, d/100))
	}
	return samples
}

func (w *soakWorld) sampleAdapter(t *testing.T) (s adapterSample, err error) {
	t.Helper()
	resident, err := w.ReadMemory()
	if err != nil {
		return s, err
	}
	files, err := w.CountFiles()
	if err != nil {
		return s, err
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.URL+"/metrics", http.NoBody)
	if err != nil {
		return s, err
	}
	request.Header = http.Header{"X-Remote-User": {"monitoring"}, "X-Remote-Group": {"system:authenticated"}}
	client := newSoakClient(w)
	defer client.CloseIdleConnections()
	response, err := client.Do(request)
	if err != nil {
		return s, err
	}
	defer response.Body.Close()
	metrics, err := metricspage.Parse(response.Body)
	if err != nil {
		return s, err
	}
	return adapterSample{
		resident: float64(resident), files: float64(files), heap: metrics.Sum("go_memstats_heap_inuse_bytes"),
		goal: metrics.Sum("go_memstats_next_gc_bytes"), records: metrics.Sum("tachometer_hpa_record_bytes"),
		goroutines: metrics.Sum("go_goroutines"), targets: metrics.Sum("tachometer_scrape_targets"),
		series: metrics.Sum("tachometer_store_series"), scrapes: metrics.Sum("tachometer_scrape_requests_total"),
	}, nil
}

// growthOf returns the growth of a column as a share of its size.
func growthOf(samples []adapterSample, c sampledColumn) float64 {
	n := len(samples)
	early, late := medianOf(samples[n/4:n/2], c), medianOf(samples[3*n/4:], c)
	return (late - early) / math.Max(early, 1)
}

func medianOf(samples []adapterSample, c sampledColumn) float64 {
	if len(samples) == 0 {
		return 0
	}
	values := make([]float64, len(samples))
	for i, s := range samples {
		values[i] = c.of(s)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// slopeOf returns the slope of a column by least squares, in its unit an hour.
func slopeOf(samples []adapterSample, c sampledColumn) float64 {
	var n, sumX, sumY, sumXX, sumXY float64
	for _, s := range samples {
		x, y := s.at.Hours(), c.of(s)
		n, sumX, sumY, sumXX, sumXY = n+1, sumX+x, sumY+y, sumXX+x*x, sumXY+x*y
	}
	if width := n*sumXX - sumX*sumX; width > 0 {
		return (n*sumXY - sumX*sumY) / width
	}
	return 0
}

// describeSoak describes the world and the samples in Markdown.
func describeSoak(w *soakWorld, rate float64, samples []adapterSample) string {
	var b strings.Builder
	first, last := samples[0], samples[len(samples)-1]
	fmt.Fprintf(&b, "%d autoscalers, %.0f targets, %.0f series; %.0f reads a second; a pod replaced each %s; %.0f scrapes a second; measured for %s; in a memory cgroup: %t\n\n",
		*soakAutoscalers, last.targets, last.series, rate, churnInterval, (last.scrapes-first.scrapes)/(last.at-first.at).Seconds(), last.at.Round(time.Second), w.Limited)
	b.WriteString("| quantity | median of the second quarter | median of the last quarter | growth | bound | slope |\n| --- | --- | --- | --- | --- | --- |\n")
	n := len(samples)
	for _, c := range sampledColumns {
		bound := "none"
		if c.most > 0 {
			bound = fmt.Sprintf("%.0f %%", 100*c.most)
		}
		fmt.Fprintf(&b, "| %s | %.1f %s | %.1f %s | %+.1f %% | %s | %+.1f %s an hour |\n", c.name, medianOf(samples[n/4:n/2], c), c.unit,
			medianOf(samples[3*n/4:], c), c.unit, 100*growthOf(samples, c), bound, slopeOf(samples, c), c.unit)
	}
	fmt.Fprintf(&b, "\nThe records had %.1f MiB at the end, of at most %d MiB. Living heap is half of the heap at which the collector begins; "+
		"resident memory without records lacks them twice, because the collector leaves as much room again.\n", last.records/(1<<20), maxRecordBytes>>20)
	return b.String()
}
