package scrape

// One target's loop: a scrape from its start to its outcome.

import (
	"context"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/scrape/http1"
)

// lane is one of two lists of loops that wait for a free place.
type lane int

const (
	fastLane lane = iota
	slowLane      // the last scrape or the scrape under way took longer than computeFastLaneLimit
)

// scrapeLoop is one target for as long as it is a target. It is in the queue, in a ready list, or in a scrape, or it waits for
// its predecessor. The scrape under way owns the fields marked so; Manager.mu guards the rest.
type scrapeLoop struct {
	key       metric.Object // key, uid, node and offset never change
	uid, node string
	offset    scrapeOffset

	places     *namespacePlaces // of its namespace; never changes
	endpoint   *scrapedEndpoint // replaced between scrapes; the scrape under way owns its lessons
	asked      rankedFamilies   // of the next scrape
	started    time.Time        // when the container behind the endpoint started; zero: unknown
	finished   time.Time        // when the process before ended; zero: unknown
	stopped    bool             // the container does not run, as far as the cluster tells
	ready      bool             // the pod is ready: it may serve requests while its page fails
	readyAt    time.Time        // the pod became ready, by the manager's clock; zero: it was not seen to since its series ended
	unreadyAt  time.Time        // the pod stopped being ready, by the manager's clock; zero: it is ready, or was not before
	replaced   bool             // the container has ended or started again, and no scrape has shown since whether its page goes on
	ending     bool             // the pod is being deleted
	endingAt   time.Time        // since then, by the manager's clock; zero: it is not, or was before it was a target
	ended      bool             // and its first scrape has failed since: no scrape follows
	due        time.Time
	lane       lane
	scraping   bool // a scrape is under way
	retired    bool // no longer a target
	firstRound bool
	status     targetStatus

	inflight         http1.InflightRequest // of the scrape under way
	conn             http1.Conn            // owned by the scrape under way, else guarded by Manager.mu
	parser           *exposition.Parser    // likewise; nil: the series have ended
	predecessor      *scrapeLoop           // likewise; the loop of the pod's URL before, until the first scrape; nil: none
	reserve          func(int64) error     // takes memory for the parser's series; nil: nobody counts; never changes
	newSeries        seriesChurn           // owned like conn
	newestSample     int64                 // time of the newest appended sample, ms; likewise
	rejectedFamilies map[string]struct{}   // families with ended series, for which the appender has no room; likewise
}

func newScrapeLoop(t metric.Target, families rankedFamilies, p scrapeOffset) *scrapeLoop {
	own := labels.NewBuilder(labels.EmptyLabels())
	own.Set("namespace", t.Namespace).Set("pod", t.Pod).Set("node", t.Node)
	return &scrapeLoop{
		key: t.Key(), uid: t.UID, node: t.Node, offset: p,
		endpoint: newScrapedEndpoint(t.URL, families.families), asked: families,
		started: t.Started, finished: t.Finished, stopped: t.Stopped, ready: t.Ready, ending: t.Ending,
		parser: exposition.NewParser(own.Labels()),
	}
}

// isLoopOfTarget reports whether t is the target of the loop: the same pod and URL, with the same labels for its series. Another
// URL may be another program, with other counters of the same names.
func (l *scrapeLoop) isLoopOfTarget(t metric.Target) bool {
	return l.uid == t.UID && l.node == t.Node && l.endpoint.url == t.URL && (t.Ending || !l.ended)
}

// isLoopOver reports whether no scrape follows.
func (l *scrapeLoop) isLoopOver() bool { return l.retired || l.ended }

// updateScrapeTarget applies the changes of a target at now; a scrape under way keeps the previous families.
func (l *scrapeLoop) updateScrapeTarget(t metric.Target, families rankedFamilies, now time.Time) {
	switch {
	case t.Ready:
		if !l.ready {
			l.readyAt = now
		}
		l.unreadyAt = time.Time{}
	case l.ready:
		l.unreadyAt = now
	}
	if t.Ending && !l.ending {
		l.endingAt = now
	}
	l.replaced = l.replaced || !l.started.IsZero() && !l.started.Equal(t.Started)
	l.started, l.finished, l.stopped, l.ready, l.ending = t.Started, t.Finished, t.Stopped, t.Ready, t.Ending
	l.asked = families
}

// scrapeJob is one scrape, with the settings at its start. Manager.mu guards lane and ended; the rest does not change.
type scrapeJob struct {
	loop         *scrapeLoop
	endpoint     *scrapedEndpoint
	ranks        []int     // of the endpoint's families
	processStart time.Time // when the target's container started; zero: unknown
	newProcess   bool      // the cluster has not told so far that the container started
	knownProcess bool      // the process had a page at the pod's URL before: its counters did not begin here
	ready        bool      // the pod is ready
	ending       bool      // the pod is being deleted
	due, started time.Time
	opts         *Options

	lane  lane
	ended bool
}

// scrapeOutcome is the result of a scrape.
type scrapeOutcome struct {
	start, end time.Time
	bytes      int64
	families   []exposition.FamilyResult // nil unless the page was accepted; valid until the next scrape of the target
	rejected   []error                   // by family, why it has no sample: the page's fault, or the appender's; nil: none is rejected
	noRoom     bool                      // the appender rejected a family
	err        error                     // the fetch or the page failed
	panicked   bool                      // a bug of this program ended the scrape
	cancelled  bool                      // the end of Run or of the target ended the scrape: the result says nothing about the target
}

// startScrape returns a scrape of l that starts now. The caller holds m.mu.
func (m *Manager) startScrape(l *scrapeLoop, now time.Time) *scrapeJob {
	if l.endpoint.families != l.asked.families {
		l.endpoint = l.endpoint.cloneForFamilies(l.asked.families)
	}
	l.scraping = true
	l.inflight.SetDeadline(now.Add(m.opts.Timeout))
	j := &scrapeJob{
		loop: l, endpoint: l.endpoint, ranks: l.asked.ranks, processStart: l.started, newProcess: l.stopped, ready: l.ready, ending: l.ending, due: l.due, started: now, opts: m.opts, lane: l.lane,
	}
	j.knownProcess = l.predecessor != nil && !l.status.pageAt.IsZero() && l.status.processStart.Equal(l.started)
	l.places.running[j.lane]++
	if m.running[j.lane]++; j.lane == fastLane {
		m.fastJobs.pushScrapeQueue(j)
	}
	return j
}

// endingInterval is the time between two scrapes of a pod that is being deleted, at most: it may be gone within seconds, with all
// that it counted since its last scrape.
const endingInterval = time.Second

// maxBeginningIntervals is the greatest age of a process at its first page with which its counters get a zero at their beginning, in
// scrape intervals. Between the zero and the page counts are taken for even, and a process that is found late may have
// counted nothing for a while: the rate from its first page on is nearer to the truth.
const maxBeginningIntervals = 5

// scrapeTarget fetches a page and appends its samples. A family that the page or the appender rejects gets none.
func (m *Manager) scrapeTarget(ctx context.Context, j *scrapeJob) scrapeOutcome {
	o := scrapeOutcome{start: time.Now()}
	page := exposition.PageOptions{
		Families: j.endpoint.families, Ranks: j.ranks, FindBeginnings: true,
		Started: j.processStart, NewProcess: j.newProcess, Oldest: m.clock.Now().Add(-min(j.opts.Retention, maxBeginningIntervals*j.opts.Interval)),
		MaxBytes: j.opts.MaxPageBytes, MaxSamples: j.opts.MaxSamples, MaxLabels: j.opts.MaxLabels,
		MaxLabelBytes: j.opts.MaxLabelBytes, Reserve: j.loop.reserve,
	}
	if j.knownProcess {
		page.Started = time.Time{}
	}
	var r exposition.ParsedPage
	r, o.bytes, o.err = m.fetcher.fetchTargetPage(ctx, j.loop, j.endpoint, page)
	if o.err == nil || !j.ready { // else the pod may serve requests that no page shows: see endFailedScrapeSeries
		m.endLoopPredecessor(j.loop, m.clock.clockTimeAt(o.start).UnixMilli()-1) //nolint:contextcheck // a panic over an object is logged without a context
	}
	if o.err == nil {
		o.families = r.Families
		o.rejected, o.noRoom = m.appendScrapedPage(j, r)
	}
	o.end = time.Now()
	o.cancelled = o.err != nil && (j.loop.inflight.WasInterrupted() || ctx.Err() != nil)
	return o
}

// finishScrape records and logs a scrape's outcome, and schedules the loop's next scrape or ends the loop.
func (m *Manager) finishScrape(ctx context.Context, j *scrapeJob, o scrapeOutcome) {
	before, after, last := m.recordScrapeOutcome(j, o) //nolint:contextcheck // a panic over an object is logged without a context
	if o.cancelled || last {
		return
	}
	m.metrics.observeScrape(j, o)
	if before == after {
		return
	}
	log := klog.FromContext(ctx).WithValues(
		"namespace", j.loop.key.Namespace, "pod", j.loop.key.Name, "target", j.endpoint.loggedURL)
	switch { // a target that fails every two seconds is one event
	case before == "":
		log.Info("Scrape fails", "reason", after)
	case after == "":
		log.Info("Scrape succeeds again", "lastReason", before)
	default:
		log.V(2).Info("Scrape fails for another reason", "reason", after, "lastReason", before)
	}
}

// recordScrapeOutcome updates the manager's state after a scrape. It returns the causes of the target's last failure and of this
// failure, empty for a success; and whether this failure is the end of a terminating pod.
func (m *Manager) recordScrapeOutcome(j *scrapeJob, o scrapeOutcome) (before, after string, last bool) {
	l := j.loop
	m.mu.Lock()
	defer m.mu.Unlock()
	l.scraping, j.ended = false, true
	m.running[j.lane]--
	l.places.running[j.lane]--
	if o.panicked {
		m.renewPanickedLoop(l)
	}
	if l.retired {
		m.finishRetiredLoop(l)
		return "", "", false
	}
	before = l.status.failure
	if o.cancelled && l.ending && l.inflight.WasInterrupted() { // see prepareTargetEnd
		m.endTerminatedLoop(l)
		return before, before, true
	}
	if !o.cancelled {
		m.markTargetScraped(l)
		if o.err != nil && j.ending {
			m.endTerminatedLoop(l)
			return before, before, true
		}
		l.status.recordScrape(j, o, m.clock.clockTimeAt(o.end))
		m.endFailedScrapeSeries(l, m.clock.clockTimeAt(o.end))
		l.lane = o.chooseNextLane(j.opts.Timeout)
	}
	interval := m.opts.Interval
	if l.ending {
		interval = min(interval, endingInterval)
	}
	next, missed := nextScrapeTime(j.due, o.end, interval, l.offset)
	m.metrics.missedScrapes.Add(float64(missed))
	m.scheduleScrapeLoop(l, next)
	return before, l.status.failure, false
}

// chooseNextLane returns the lane of a target's next scrape.
func (o scrapeOutcome) chooseNextLane(timeout time.Duration) lane {
	if o.end.Sub(o.start) > computeFastLaneLimit(timeout) {
		return slowLane
	}
	return fastLane
}
