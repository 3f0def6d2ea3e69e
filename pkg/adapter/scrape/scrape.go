// Package scrape fetches the pages of targets on time: the queue of due targets, workers, fair places, HTTP requests, and the status of
// each target and family.
//
// One goroutine holds all targets in a heap by due time, and hands them to a bounded number of workers. A hash of a target's
// name decides at which of 64 places in the interval the target is scraped, so that targets do not bunch up. A target returns
// to the heap after its scrape has ended, so that two scrapes of it cannot overlap. A worker reads plain HTTP itself, by
// package http1, over one connection a target; between scrapes that connection costs memory in the kernel only. net/http
// handles https and unusual responses.
package scrape

// The Manager: its options, its scheduler, and its health.

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/panics"
	"github.com/tachometer-metrics/tachometer/pkg/retry"
)

// Appender takes samples. Several goroutines call it at once, but never for the same target.
type Appender interface {
	// Append adds a sample at t, in milliseconds, to the series with the reference ref, or to the series with the labels lset
	// if ref is 0 or no longer valid. It returns the reference of the series for the next call, or 0 without one. An error
	// concerns this sample alone. Append must not block.
	Append(ref uint64, lset labels.Labels, t int64, v float64) (uint64, error)
	// Create returns the references of series with the labels lsets, and makes the missing series, all of them or none with
	// an error. t is the time of their first samples. It may keep the labels, which never change, and must not block.
	Create(t int64, lsets []labels.Labels) ([]uint64, error)
	// Forget drops a series with all its samples. It must not block.
	Forget(ref uint64)
	// Reserve takes memory for the series of a namespace that a parser remembers, or gives it back if bytes is negative. An error
	// means that there is no room.
	Reserve(namespace string, bytes int64) error
}

// Options are the settings of a Manager, for New and for Reconfigure. A zero value means the default.
type Options struct {
	// Interval is the time between two scrapes of a target. Default 2s.
	Interval time.Duration
	// Timeout bounds a scrape, from connecting to the end of the page. Default: the interval, but at most 10s.
	Timeout time.Duration
	// MaxPageBytes bounds a page. Default 16 MiB: no sane page is larger. The scraper never holds a page in memory.
	MaxPageBytes int64
	// MaxSamples bounds the demanded samples of a page. Default 10,000. A target may have twice as many new series within the
	// retention, so that at most twice as many ended series of it are in memory.
	MaxSamples int
	// MaxLabels bounds the labels of a series. Default 64.
	MaxLabels int
	// MaxLabelBytes bounds the labels of a series, names and values together. Default 2 KiB.
	MaxLabelBytes int
	// Retention is how long the appender keeps samples. The start of a container further back is of no use, and a series that
	// a steady target did not show for as long does not exist. Default 90s.
	Retention time.Duration
	// MaxConcurrent bounds the concurrent scrapes. Default 64: a scrape takes milliseconds and mostly waits. A namespace gets at most
	// three quarters of the places, and fewer the more others scrape. Four times as
	// many further scrapes may wait for slow or silent targets: they cost no CPU, but would take the places of the others.
	MaxConcurrent int

	// New reads the following options; Reconfigure ignores them.

	// Registerer takes the self-metrics; nil: they are counted but not registered.
	Registerer prometheus.Registerer
	// DialContext connects to targets; nil: TCP, directly.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// Clock tells the time of samples; nil: a clock of the manager's own.
	Clock *SampleClock
	// Seed moves this process's scrapes within the interval, so that replicas do not scrape in step.
	Seed uint64
}

func (o Options) withDefaults() Options {
	if o.Interval <= 0 {
		o.Interval = 2 * time.Second
	}
	if o.Timeout <= 0 {
		o.Timeout = min(o.Interval, 10*time.Second)
	}
	if o.MaxPageBytes <= 0 {
		o.MaxPageBytes = 16 << 20
	}
	if o.MaxSamples <= 0 {
		o.MaxSamples = 10_000
	}
	if o.MaxLabels <= 0 {
		o.MaxLabels = 64
	}
	if o.MaxLabelBytes <= 0 {
		o.MaxLabelBytes = 2 << 10
	}
	if o.Retention <= 0 {
		o.Retention = 90 * time.Second
	}
	if o.Clock == nil {
		o.Clock = NewSampleClock()
	}
	if o.MaxConcurrent <= 0 {
		o.MaxConcurrent = 64
	}
	return o
}

// Manager scrapes a changing set of targets. Its methods may be called concurrently, before, during and after Run.
type Manager struct {
	appender Appender
	fetcher  *pageFetcher
	metrics  *metrics
	panics   *panics.Guard
	clock    *SampleClock
	seed     uint64         // of the scrape offsets
	wake     chan struct{}  // wakes the scheduler
	scrapes  sync.WaitGroup // scrapes under way

	mu             sync.Mutex                    // guards all below, and the parts of a loop that say so
	opts           *Options                      // never changed, but replaced
	loops          map[metric.Object]*scrapeLoop // of the current targets
	retiring       map[metric.Object]*scrapeLoop // no longer a target, but still in a scrape
	families       map[string]*exposition.Families
	ages           demandAges
	unseen         map[metric.Object]metric.TimeSpan // see UnseenPods
	dueLoops       loopQueue                         // loops that wait for their due time
	places         map[string]*namespacePlaces       // by namespace
	waiting        [2]waitingQueue[*namespacePlaces] // namespaces with loops that wait for a place, by lane
	running        [2]int                            // scrapes under way, by lane
	idleWorkers    []scrapeWorker                    // workers without a job; the last gets the next job
	stopped        bool                              // Run is ending
	fastJobs       waitingQueue[*scrapeJob]          // scrapes in the fast lane, by start; some have ended
	heldJobs       []*scrapeJob                      // long scrapes in the fast lane without a place in the slow lane
	firstRoundLeft int                               // targets of the first SetTargets without a scrape so far
	targetsSet     bool                              // SetTargets was called
	lastTick       time.Time                         // when the scheduler last ran
}

// New returns a manager without targets. It starts no goroutine: see Run.
func New(appender Appender, opts Options) *Manager {
	opts = opts.withDefaults()
	m := newMetrics(opts.Registerer)
	return &Manager{
		appender: appender,
		fetcher:  newPageFetcher(opts),
		metrics:  m,
		panics:   panics.NewGuard("scrape", m.panics),
		clock:    opts.Clock,
		seed:     opts.Seed,
		wake:     make(chan struct{}, 1),
		opts:     &opts,
		loops:    map[metric.Object]*scrapeLoop{},
		retiring: map[metric.Object]*scrapeLoop{},
		unseen:   map[metric.Object]metric.TimeSpan{},
		families: map[string]*exposition.Families{},
		places:   map[string]*namespacePlaces{},
	}
}

// maxSchedulerSleep is the longest sleep of the scheduler, even when no scrape is due, so that CheckLive sees it run.
const maxSchedulerSleep = time.Second

// Run scrapes until ctx ends. It returns nil after all its scrapes have ended.
func (m *Manager) Run(ctx context.Context) error {
	defer m.stopScrapes()
	retry.RunRounds(ctx, m.wake, m.startDueScrapes)
	return nil
}

// wakeScrapeScheduler wakes the scheduler at once, or after its current round.
func (m *Manager) wakeScrapeScheduler() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// startDueScrapes starts the due scrapes, as far as places are free, and returns the time that the scheduler may sleep. The
// end of a scrape wakes the scheduler earlier where necessary.
func (m *Manager) startDueScrapes(ctx context.Context, now time.Time) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lastTick = now
	for m.dueLoops.Len() > 0 && !m.dueLoops[0].due.After(now) {
		if l := m.dueLoops.popScrapeLoop(); !l.isLoopOver() {
			m.awaitScrapePlace(l)
		}
	}
	wait := m.changeScrapeLanes(now)
	for j := m.startNextScrape(now); j != nil; j = m.startNextScrape(now) {
		m.assignScrapeJob(ctx, j)
	}
	if m.dueLoops.Len() > 0 {
		wait = min(wait, m.dueLoops[0].due.Sub(now))
	}
	return max(0, wait)
}

// startNextScrape begins the next waiting scrape: the namespaces take turns. It returns nil if no place is free or no scrape waits. The
// caller holds m.mu.
func (m *Manager) startNextScrape(now time.Time) *scrapeJob {
	for _, lane := range [...]lane{fastLane, slowLane} {
		if l := m.nextReadyLoop(lane); l != nil {
			return m.startScrape(l, now)
		}
	}
	return nil
}

// slowLaneFactor is the number of places in the slow lane for each place in the fast lane. A node that dies with its 110 pods
// must not hold up all other scrapes until the last of its scrapes has timed out. A waiting scrape costs some 20 KiB.
const slowLaneFactor = 4

// findLaneCapacity returns the number of scrapes that a lane may hold. The caller holds m.mu.
func (m *Manager) findLaneCapacity(l lane) int {
	if l == slowLane {
		return slowLaneFactor * m.opts.MaxConcurrent
	}
	return m.opts.MaxConcurrent
}

// computeFastLaneLimit returns the longest time of a scrape in the fast lane. A longer scrape waits for its target and costs no CPU.
func computeFastLaneLimit(timeout time.Duration) time.Duration { return timeout / 8 }

// changeScrapeLanes moves long scrapes from the fast lane to the slow lane, as far as their namespaces have places there. It returns
// the time until its next call is due. The caller holds m.mu.
func (m *Manager) changeScrapeLanes(now time.Time) time.Duration {
	m.moveHeldScrapes()
	for m.fastJobs.scrapeQueueLength() > 0 {
		j := m.fastJobs.peekScrapeQueue()
		if !j.ended {
			if left := computeFastLaneLimit(j.opts.Timeout) - now.Sub(j.started); left > 0 {
				return min(maxSchedulerSleep, left)
			}
			if !m.moveLongScrape(j) {
				m.heldJobs = append(m.heldJobs, j)
			}
		}
		m.fastJobs.popScrapeQueue()
	}
	return maxSchedulerSleep
}

// CheckLive returns an error if the scheduler did not run within the last ten seconds. It runs every second, independent of the
// targets.
func (m *Manager) CheckLive(now time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lastTick.IsZero() {
		return fmt.Errorf("scrape scheduler has not started")
	}
	if silent := now.Sub(m.lastTick); silent > 10*maxSchedulerSleep {
		return fmt.Errorf("scrape scheduler has not run for %v", silent.Round(time.Second))
	}
	return nil
}

// FirstRoundDone reports whether every target of the first SetTargets had a scrape or is no longer a target. It returns true
// before the first SetTargets, and if the first SetTargets had no targets.
func (m *Manager) FirstRoundDone() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.firstRoundLeft == 0
}

// Reconfigure replaces the options, except the options for New alone. Scrapes under way end with the old options.
func (m *Manager) Reconfigure(opts Options) {
	opts = opts.withDefaults()
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if opts.Interval != m.opts.Interval { // else every target keeps its phase
		m.dueLoops.advanceDueLoops(now, opts.Interval)
	}
	m.opts = &opts
	m.wakeScrapeScheduler()
}
