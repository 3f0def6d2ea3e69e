package soak

import (
	"cmp"
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

// timedReads are the results of reads that began in time, and of those for which the generator was late: it wants a processor as the
// adapter does, so a machine that has none for the one has none for the other.
type timedReads struct{ punctual, late *readResults }

func newTimedReads() timedReads { return timedReads{newReadResults(), newReadResults()} }

// share returns the share of the reads that began in time.
func (r timedReads) share() float64 {
	return float64(r.punctual.count()) / float64(max(1, r.punctual.count()+r.late.count()))
}

// rows describes the reads of a time as one or two rows of a table.
func (r timedReads) rows(name string, took time.Duration) string {
	rows := r.punctual.row(name, took)
	if r.late.count() > 0 {
		rows += r.late.row(name+", generator late", took)
	}
	return rows
}

func (r timedReads) all() *readResults {
	all := newReadResults()
	for _, part := range []*readResults{r.punctual, r.late} {
		for code, n := range part.codes {
			all.codes[code] += n
		}
		all.latencies = append(all.latencies, part.latencies...)
		all.failure = cmp.Or(all.failure, part.failure)
	}
	return all
}

// lateness marks the reads of a generator that does not get its processor time.
type lateness struct{ until atomic.Int64 } // in ns of Unix time

const (
	// generatorDelay is the delay of a read from which on its generator is late. A read takes some milliseconds.
	generatorDelay = 250 * time.Millisecond
	// generatorPause is for how long the reads after a late one count as late: an adapter whose scrapes were late has old values for some
	// intervals.
	generatorPause = 10 * time.Second
)

// mark reports whether a read that was due at a time and began at another counts as late.
func (l *lateness) mark(due, began time.Time) bool {
	if began.Sub(due) > generatorDelay {
		l.until.Store(began.Add(generatorPause).UnixNano())
	}
	return began.UnixNano() < l.until.Load()
}

// soakReads are reads that go on at a rate.
type soakReads struct {
	cancel   context.CancelFunc
	workers  sync.WaitGroup
	lateness lateness

	mu      sync.Mutex // guards results
	results timedReads
}

// startSoakReads reads all autoscalers' metrics in turn, at a steady rate as long as workers are free. What is missed is not made up for.
func startSoakReads(t *testing.T, w *soakWorld, user string, rate float64, workers int) *soakReads {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &soakReads{cancel: cancel, results: newTimedReads()}
	client := newSoakClient(w)
	pace := soakPace{gap: time.Duration(float64(time.Second) / rate), due: time.Now()}
	for range workers {
		s.workers.Go(func() {
			for {
				n, due := pace.next(time.Now())
				if wait := time.Until(due); wait > 0 && !retry.Sleep(ctx, wait) || ctx.Err() != nil {
					return
				}
				started := time.Now()
				code, err := w.readSoakMetric(context.WithoutCancel(ctx), client, user, n%*soakAutoscalers)
				late := s.lateness.mark(due, started)
				s.addSoakRead(late, code, err, time.Since(started))
			}
		})
	}
	t.Cleanup(func() { s.stop(); client.CloseIdleConnections() })
	return s
}

// soakPace gives reads their times, a gap apart.
type soakPace struct {
	gap time.Duration

	mu  sync.Mutex // guards the rest
	n   int
	due time.Time
}

// next returns the number and the time of the next read. A time that is long past is moved to now: a burst of what was missed is no load
// of an HPA controller.
func (p *soakPace) next(now time.Time) (n int, due time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	due = p.due
	p.n++
	p.due = p.due.Add(p.gap)
	if p.due.Before(now.Add(-2 * generatorDelay)) {
		p.due = now
	}
	return p.n, due
}

func (s *soakReads) addSoakRead(late bool, code int, err error, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	results := s.results.punctual
	if late {
		results = s.results.late
	}
	results.codes[code]++
	results.latencies = append(results.latencies, took)
	if err != nil {
		results.failure = err
	}
}

// take returns the results since the start or the last call.
func (s *soakReads) take() timedReads {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.results
	s.results = newTimedReads()
	return taken
}

// stop ends the reads and returns the results since the last take.
func (s *soakReads) stop() timedReads {
	s.cancel()
	s.workers.Wait()
	return s.take()
}
