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
	slowLane      // the last scrape or the scrape under way took longer than fastLaneLimit
)

// scrapeLoop is one target for as long as it is a target. It is in the queue, in a ready list, or in a scrape, or it waits for
// its predecessor. The scrape under way owns the fields marked so; Manager.mu guards the rest.
type scrapeLoop struct {
	key       metric.Object // key, uid, node and offset never change
	uid, node string
	offset    scrapeOffset

	endpoint   *targetEndpoint
	due        time.Time
	lane       lane
	scraping   bool // a scrape is under way
	retired    bool // no longer a target
	firstRound bool
	status     targetStatus

	inflight     http1.Inflight     // of the scrape under way
	conn         http1.Conn         // owned by the scrape under way, else guarded by Manager.mu
	parser       *exposition.Parser // likewise
	newestSample int64              // time of the newest appended sample, ms; likewise
}

func newScrapeLoop(t metric.Target, families *exposition.Families, p scrapeOffset) *scrapeLoop {
	own := labels.NewBuilder(labels.EmptyLabels())
	own.Set("namespace", t.Namespace).Set("pod", t.Pod).Set("node", t.Node)
	return &scrapeLoop{
		key: t.Key(), uid: t.UID, node: t.Node, offset: p,
		endpoint: newTargetEndpoint(t.URL, families),
		parser:   exposition.NewParser(own.Labels()),
	}
}

// scrapesTarget reports whether t is the target of the loop: the same pod, with the same labels for its series.
func (l *scrapeLoop) scrapesTarget(t metric.Target) bool { return l.uid == t.UID && l.node == t.Node }

// updateEndpoint changes the URL and the families; a scrape under way keeps the previous endpoint.
func (l *scrapeLoop) updateEndpoint(t metric.Target, families *exposition.Families) {
	if l.endpoint.url != t.URL || l.endpoint.families != families {
		l.endpoint = l.endpoint.cloneFor(t.URL, families)
	}
}

// scrapeJob is one scrape, with the settings at its start. Manager.mu guards lane and ended; the rest does not change.
type scrapeJob struct {
	loop         *scrapeLoop
	endpoint     *targetEndpoint
	due, started time.Time
	opts         *Options

	lane  lane
	ended bool
}

// scrapeOutcome is the result of a scrape.
type scrapeOutcome struct {
	start, end time.Time
	bytes      int64
	counts     []int // samples by family; nil unless the page was accepted
	err        error // the fetch or the page failed
	rejected   error // the appender rejected a sample
	cancelled  bool  // the end of Run or of the target ended the scrape: the result says nothing about the target
}

// startScrape returns a scrape of l that starts now. The caller holds m.mu.
func (m *Manager) startScrape(l *scrapeLoop, now time.Time) *scrapeJob {
	l.scraping = true
	l.inflight.SetDeadline(now.Add(m.opts.Timeout))
	j := &scrapeJob{loop: l, endpoint: l.endpoint, due: l.due, started: now, opts: m.opts, lane: l.lane}
	if m.running[j.lane]++; j.lane == fastLane {
		m.fastJobs.push(j)
	}
	return j
}

// scrapeTarget fetches a page and appends all its samples, or none if it rejects the page.
func (m *Manager) scrapeTarget(ctx context.Context, j *scrapeJob) scrapeOutcome {
	o := scrapeOutcome{start: time.Now()}
	page := exposition.PageOptions{
		Families: j.endpoint.families, Now: o.start,
		MaxBytes: j.opts.MaxPageBytes, MaxSamples: j.opts.MaxSamples, MaxLabels: j.opts.MaxLabels,
	}
	var r exposition.ParsedPage
	r, o.bytes, o.err = m.fetcher.fetchPage(ctx, j.loop, j.endpoint, page)
	if o.err == nil {
		o.counts = r.Counts
		o.rejected = m.appendSamples(j.loop, r, o.start)
	}
	o.end = time.Now()
	o.cancelled = o.err != nil && (j.loop.inflight.WasInterrupted() || ctx.Err() != nil)
	return o
}

// appendSamples appends the samples of a page and ends the series that the page no longer has. It returns the error of a
// rejected sample. A rejected sample with a time of its own is no error: a page repeats it until a newer sample exists.
func (m *Manager) appendSamples(l *scrapeLoop, r exposition.ParsedPage, start time.Time) (rejected error) {
	now := start.UnixMilli()
	stored := 0
	for _, s := range r.Samples {
		ref, err := m.appender.Append(s.Series.Ref, s.Series.Labels, s.Time, s.Value)
		s.Series.Ref = ref
		switch {
		case err == nil:
			stored++
			l.newestSample = max(l.newestSample, s.Time)
		case s.Time == now:
			rejected = err
		}
	}
	for _, s := range r.Vanished {
		m.appendStaleMarker(s, now)
	}
	m.metrics.storedSamples.Add(float64(stored))
	m.metrics.rejectedSamples.Add(float64(len(r.Samples) - stored))
	return rejected
}

// finishScrape records and logs a scrape's outcome, and schedules the loop's next scrape or ends the loop.
func (m *Manager) finishScrape(ctx context.Context, j *scrapeJob, o scrapeOutcome) {
	if o.cancelled {
		m.recordOutcome(j, o)
		return
	}
	m.metrics.observeScrape(j, o)
	before, after := m.recordOutcome(j, o)
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

// recordOutcome updates the manager's state after a scrape. It returns the causes of the target's last failure and of this
// failure; empty for a success.
func (m *Manager) recordOutcome(j *scrapeJob, o scrapeOutcome) (before, after string) {
	l := j.loop
	m.mu.Lock()
	defer m.mu.Unlock()
	l.scraping, j.ended = false, true
	m.running[j.lane]--
	if l.retired {
		m.finishRetired(l, o.end)
		return "", ""
	}
	before = l.status.cause
	if !o.cancelled {
		m.markTried(l)
		l.status.recordScrape(o.classifyOutcome(j.opts.Timeout).text, j.endpoint.families.Names(), o.counts)
		l.lane = o.nextLane(j.opts.Timeout)
	}
	next, missed := nextScrapeTime(j.due, o.end, m.opts.Interval, l.offset)
	m.metrics.missedScrapes.Add(float64(missed))
	m.scheduleLoop(l, next)
	return before, l.status.cause
}

// nextLane returns the lane of a target's next scrape.
func (o scrapeOutcome) nextLane(timeout time.Duration) lane {
	if o.end.Sub(o.start) > fastLaneLimit(timeout) {
		return slowLane
	}
	return fastLane
}
