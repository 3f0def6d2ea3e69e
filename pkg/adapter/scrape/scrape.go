// Package scrape runs the loops that fetch targets on time and hand their samples on.
//
// One goroutine holds all targets in a heap by the time they are due, and hands them to a bounded number of workers.
// A target is scraped at a fixed place in the interval, one of 64, which a hash of its name decides, so that
// targets do not bunch up; it goes back into the heap when its scrape has ended, so that two scrapes of it cannot
// overlap. Plain HTTP is read by the worker itself, over one connection a target, which costs nothing but memory
// in the kernel while it waits; https and whatever is unusual is left to net/http.
package scrape

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// Appender takes samples; it is called from several goroutines at once, though never for one target.
type Appender interface {
	// Append adds a sample at t, in milliseconds, to the series called ref, or to that of lset where ref is
	// 0 or no longer valid. It returns the series' reference for the next call, or 0 where it has none; an
	// error concerns this sample alone. It must not block.
	Append(ref uint64, lset labels.Labels, t int64, v float64) (uint64, error)
}

// Options are the settings of a Manager, for New and for Reconfigure. A zero value means the default.
type Options struct {
	// Interval is the time between two scrapes of a target. Default 2s.
	Interval time.Duration
	// Timeout is the time that a scrape may take, from connecting to the end of the page. Default: the
	// interval, but at most 10s.
	Timeout time.Duration
	// MaxPageBytes bounds a page. Default 16 MiB: no sane page is larger, and it is never held in memory.
	MaxPageBytes int64
	// MaxSamples bounds the wanted samples of a page. Default 10,000.
	MaxSamples int
	// MaxLabels bounds the labels of a series. Default 64.
	MaxLabels int
	// MaxConcurrent bounds the scrapes at work at one time. Default 64: a scrape takes milliseconds, most of
	// which it waits. Four times as many more may wait for targets that are slow or silent; those cost no
	// CPU, but would take the places of the others.
	MaxConcurrent int

	// New reads the following options; Reconfigure ignores them.

	// Registerer takes the self-metrics; nil: they are counted but not registered.
	Registerer prometheus.Registerer
	// DialContext connects to targets; nil: TCP, directly.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// TLS is for targets with the scheme https; nil: their certificates are verified against the system's.
	TLS *tls.Config
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
	if o.MaxConcurrent <= 0 {
		o.MaxConcurrent = 64
	}
	return o
}

// Manager scrapes a changing set of targets. Its methods may be called from several goroutines, before, while
// and after Run runs.
type Manager struct {
	appender Appender
	fetcher  *pageFetcher
	metrics  *metrics
	seed     uint64         // of the scrape offsets
	wake     chan struct{}  // the scheduler has something to look at
	scrapes  sync.WaitGroup // scrapes under way

	mu             sync.Mutex                    // guards all below, and the parts of a loop that say so
	opts           *Options                      // never changed, but replaced
	loops          map[metric.Object]*scrapeLoop // by target, as set last
	retiring       map[metric.Object]*scrapeLoop // no longer a target, but still in a scrape
	families       map[string]*exposition.Families
	dueLoops       loopQueue            // loops that wait for their time
	readyLoops     [2]fifo[*scrapeLoop] // loops that wait for a free place, by lane
	running        [2]int               // scrapes under way, by lane
	idleWorkers    []scrapeWorker       // those that wait for a job, the last one to begin first
	stopped        bool                 // Run ends
	fastJobs       fifo[*scrapeJob]     // scrapes in the fast lane, by their start; some have ended
	firstRoundLeft int                  // targets of the first SetTargets that were not tried yet
	targetsSet     bool                 // SetTargets was called
	lastTick       time.Time
}

// New returns a manager without targets. It starts nothing.
func New(sink Appender, opts Options) *Manager {
	opts = opts.withDefaults()
	return &Manager{
		appender: sink,
		fetcher:  newPageFetcher(opts),
		metrics:  newMetrics(opts.Registerer),
		seed:     opts.Seed,
		wake:     make(chan struct{}, 1),
		opts:     &opts,
		loops:    map[metric.Object]*scrapeLoop{},
		retiring: map[metric.Object]*scrapeLoop{},
		families: map[string]*exposition.Families{},
	}
}

// maxSchedulerSleep is how often the scheduler looks up although nothing is due, so that Live can tell that it would.
const maxSchedulerSleep = time.Second

// Run scrapes until ctx ends. It returns nil after every scrape that it started has ended.
func (m *Manager) Run(ctx context.Context) error {
	defer m.stopScrapes()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.wake:
		case <-timer.C:
		}
		timer.Reset(m.startDueScrapes(ctx, time.Now()))
	}
}

// wakeScheduler wakes the scheduler, now or as soon as it looks.
func (m *Manager) wakeScheduler() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// startDueScrapes starts the scrapes that are due, as far as places are free, and returns how long the scheduler may
// sleep. A scrape that ends wakes it earlier where that matters.
func (m *Manager) startDueScrapes(ctx context.Context, now time.Time) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lastTick = now
	for m.dueLoops.Len() > 0 && !m.dueLoops[0].due.After(now) {
		if l := m.dueLoops.popLoop(); !l.retired {
			m.readyLoops[l.lane].push(l)
		}
	}
	wait := m.changeLanes(now)
	for j := m.startNextScrape(now); j != nil; j = m.startNextScrape(now) {
		m.assignJob(ctx, j)
	}
	if m.dueLoops.Len() > 0 {
		wait = min(wait, m.dueLoops[0].due.Sub(now))
	}
	return max(0, wait)
}

// startNextScrape begins the scrape that has waited longest for a place that is free now, or returns nil. The caller holds
// m.mu.
func (m *Manager) startNextScrape(now time.Time) *scrapeJob {
	for _, lane := range [...]lane{fastLane, slowLane} {
		for m.readyLoops[lane].len() > 0 && m.running[lane] < m.laneCapacity(lane) {
			if l := m.readyLoops[lane].pop(); !l.retired {
				return m.startScrape(l, now)
			}
		}
	}
	return nil
}

// slowLaneFactor is how many scrapes of slow or silent targets may wait for each that may be at work. A node
// that dies with its 110 pods must not hold up the scrapes of all the others until the last has run into its
// timeout. A waiting scrape costs some 20 KiB.
const slowLaneFactor = 4

func (m *Manager) laneCapacity(l lane) int {
	if l == slowLane {
		return slowLaneFactor * m.opts.MaxConcurrent
	}
	return m.opts.MaxConcurrent
}

// fastLaneLimit is how long a scrape counts as being at work; after that it waits.
func fastLaneLimit(timeout time.Duration) time.Duration { return timeout / 8 }

// changeLanes moves the scrapes that have been under way for long from the fast lane to the slow one, as far as
// that has places. It returns when it wants to look again.
func (m *Manager) changeLanes(now time.Time) time.Duration {
	for m.fastJobs.len() > 0 {
		j := m.fastJobs.peek()
		if !j.ended {
			if m.running[slowLane] >= m.laneCapacity(slowLane) {
				break
			}
			if left := fastLaneLimit(j.opts.Timeout) - now.Sub(j.started); left > 0 {
				return min(maxSchedulerSleep, left)
			}
			m.running[fastLane]--
			m.running[slowLane]++
			j.lane = slowLane
		}
		m.fastJobs.pop()
	}
	return maxSchedulerSleep
}

// CheckLive returns an error unless the scheduler looked up lately: it does so every second, whatever the targets do.
func (m *Manager) CheckLive(now time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lastTick.IsZero() {
		return fmt.Errorf("scrape scheduler has not started")
	}
	if silent := now.Sub(m.lastTick); silent > 10*maxSchedulerSleep {
		return fmt.Errorf("scrape scheduler stands still for %v", silent.Round(time.Second))
	}
	return nil
}

// FirstRoundDone reports whether every target of the first SetTargets was tried once or is a target no more.
// It is true before the first SetTargets and where that had no targets.
func (m *Manager) FirstRoundDone() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.firstRoundLeft == 0
}

// Reconfigure replaces the options, except those that only New reads. Scrapes under way end with the old options.
func (m *Manager) Reconfigure(opts Options) {
	opts = opts.withDefaults()
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.opts = &opts
	m.dueLoops.advanceDue(now, opts.Interval)
	m.wakeScheduler()
}
