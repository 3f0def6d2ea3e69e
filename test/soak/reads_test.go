package soak

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/retry"
	"github.com/tachometer-metrics/tachometer/test/harness/adapter"
)

// newSoakClient returns a client with kube-apiserver's certificate.
func newSoakClient(w *soakWorld) *http.Client { return adapter.NewClient(w.trust.Clone(), 1) }

// readSoakMetric reads an autoscaler's metric through kube-apiserver's front proxy, and returns the status; 0 without a response.
func (w *soakWorld) readSoakMetric(ctx context.Context, client *http.Client, user string, autoscaler int) (int, error) {
	url := fmt.Sprintf("%s/apis/custom.metrics.k8s.io/v1beta2/namespaces/%s/pods/*/%s?labelSelector=app%%3D%s",
		w.URL, soakNamespace(autoscaler), soakMetric, soakApp(autoscaler))
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, err
	}
	request.Header = http.Header{"X-Remote-User": {user}, "X-Remote-Group": {"system:authenticated"}}
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %.200s", response.Status, body)
	}
	return response.StatusCode, err
}

// readResults are the results of reads of one kind.
type readResults struct {
	codes     map[int]int // by status; 0: no response
	failure   error
	latencies []time.Duration
}

func newReadResults() *readResults { return &readResults{codes: map[int]int{}} }

func (r *readResults) count() int { return len(r.latencies) }

// row describes the reads of a time as a row of a table.
func (r *readResults) row(name string, took time.Duration) string {
	if r.count() == 0 {
		return fmt.Sprintf("| %s | 0 | | | | |\n", name)
	}
	var codes []string
	for _, code := range slices.Sorted(maps.Keys(r.codes)) {
		codes = append(codes, fmt.Sprintf("%d: %d", code, r.codes[code]))
	}
	return fmt.Sprintf("| %s | %.0f | %s | %.1f ms | %.1f ms | %.1f ms |\n", name, float64(r.count())/took.Seconds(),
		strings.Join(codes, ", "), 1e3*r.quantile(0.5).Seconds(), 1e3*r.quantile(0.99).Seconds(), 1e3*r.quantile(1).Seconds())
}

// quantile returns a quantile of the latencies; 0 without reads.
func (r *readResults) quantile(q float64) time.Duration {
	if r.count() == 0 {
		return 0
	}
	slices.Sort(r.latencies)
	return r.latencies[int(q*float64(r.count()-1))]
}

// soakReads are reads that go on at a rate.
type soakReads struct {
	cancel  context.CancelFunc
	workers sync.WaitGroup

	mu      sync.Mutex // guards results
	results *readResults
}

// soakWorkers is the number of reads in flight of one kind: more than the places of a lane.
const soakWorkers = 300

// startSoakReads reads all autoscalers' metrics in turn, at a steady rate as long as workers are free.
func startSoakReads(t *testing.T, w *soakWorld, user string, rate float64) *soakReads {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &soakReads{cancel: cancel, results: newReadResults()}
	var next atomic.Int64
	began := time.Now()
	client := newSoakClient(w)
	for range soakWorkers {
		s.workers.Go(func() {
			for {
				n := next.Add(1)
				due := began.Add(time.Duration(float64(n) / rate * float64(time.Second)))
				if wait := time.Until(due); wait > 0 && !retry.Sleep(ctx, wait) || ctx.Err() != nil {
					return
				}
				started := time.Now()
				code, err := w.readSoakMetric(context.WithoutCancel(ctx), client, user, int(n)%*soakAutoscalers)
				s.addSoakRead(code, err, time.Since(started))
			}
		})
	}
	t.Cleanup(func() { s.stop(); client.CloseIdleConnections() })
	return s
}

func (s *soakReads) addSoakRead(code int, err error, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.results.codes[code]++
	s.results.latencies = append(s.results.latencies, took)
	if err != nil {
		s.results.failure = err
	}
}

// take returns the results since the start or the last call.
func (s *soakReads) take() *readResults {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.results
	s.results = newReadResults()
	return taken
}

// stop ends the reads and returns the results since the last take.
func (s *soakReads) stop() *readResults {
	s.cancel()
	s.workers.Wait()
	return s.take()
}
