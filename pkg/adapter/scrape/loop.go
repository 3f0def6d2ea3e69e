package scrape

import (
	"context"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// lane is where a loop waits for a free place.
type lane int

const (
	fast lane = iota
	slow      // the last scrape took longer than patience, or this one does
)

// loop is one target in its life as a target. It is either in the queue, in a ready list, in a scrape, or waits
// for its predecessor; a scrape owns the parts that say so, Manager.mu guards the rest.
type loop struct {
	key       metric.Object // never changes, nor do uid, node and place
	uid, node string
	place     place

	endpoint   *endpoint
	due        time.Time
	lane       lane
	scraping   bool // a scrape is under way
	gone       bool // no longer a target
	firstRound bool
	status     status

	call   call               // the scrape under way
	wire   wire               // owned by the scrape under way
	parser *exposition.Parser // likewise
	newest int64              // time of the newest sample handed on, ms; likewise
}

func newLoop(t metric.Target, families *exposition.Families, p place) *loop {
	own := labels.NewBuilder(labels.EmptyLabels())
	own.Set("namespace", t.Namespace).Set("pod", t.Pod).Set("node", t.Node)
	return &loop{
		key: t.Key(), uid: t.UID, node: t.Node, place: p,
		endpoint: newEndpoint(t.URL, families),
		parser:   exposition.NewParser(own.Labels()),
	}
}

// is reports whether t is the target of the loop: the same pod, whose series have the same labels.
func (l *loop) is(t metric.Target) bool { return l.uid == t.UID && l.node == t.Node }

// update changes what is asked for and where; a scrape under way ends as it began.
func (l *loop) update(t metric.Target, families *exposition.Families) {
	if l.endpoint.url != t.URL || l.endpoint.families != families {
		l.endpoint = l.endpoint.with(t.URL, families)
	}
}

// job is one scrape: what it needs to know, as of its start. Manager.mu guards lane and ended; the rest does
// not change.
type job struct {
	loop         *loop
	endpoint     *endpoint
	due, started time.Time
	opts         *Options

	lane  lane
	ended bool
}

// outcome is what a scrape came to.
type outcome struct {
	start, end time.Time
	bytes      int64
	counts     []int // samples by family; nil unless the page was accepted
	err        error // why there is no page
	refused    error // why the sink refused a sample
	cancelled  bool  // by the end of Run or of the target: says nothing about the target
}

// begin makes the scrape of l that starts now. The caller holds m.mu.
func (m *Manager) begin(l *loop, now time.Time) *job {
	l.scraping = true
	l.call.begin(now.Add(m.opts.Timeout))
	j := &job{loop: l, endpoint: l.endpoint, due: l.due, started: now, opts: m.opts, lane: l.lane}
	if m.running[j.lane]++; j.lane == fast {
		m.quick.push(j)
	}
	return j
}

// scrape fetches one page and hands its samples on, or none of them.
func (m *Manager) scrape(ctx context.Context, j *job) outcome {
	o := outcome{start: time.Now()}
	page := exposition.Page{
		Families: j.endpoint.families, Now: o.start,
		MaxBytes: j.opts.MaxPageBytes, MaxSamples: j.opts.MaxSamples, MaxLabels: j.opts.MaxLabels,
	}
	var r exposition.Result
	r, o.bytes, o.err = m.fetcher.fetch(ctx, j.loop, j.endpoint, page)
	if o.err == nil {
		o.counts = r.Counts
		o.refused = m.handOn(j.loop, r, o.start)
	}
	o.end = time.Now()
	o.cancelled = o.err != nil && (j.loop.call.wasCut() || ctx.Err() != nil)
	return o
}

// handOn appends the samples of a page and ends the series that it has no longer. It returns why a sample was
// refused, if one was. That of a sample with a time of its own does not count: a page that repeats it until
// there is a newer one is not to blame.
func (m *Manager) handOn(l *loop, r exposition.Result, start time.Time) (refused error) {
	now := start.UnixMilli()
	stored := 0
	for _, s := range r.Samples {
		ref, err := m.sink.Append(s.Series.Ref, s.Series.Labels, s.Time, s.Value)
		s.Series.Ref = ref
		switch {
		case err == nil:
			stored++
			l.newest = max(l.newest, s.Time)
		case s.Time == now:
			refused = err
		}
	}
	for _, s := range r.Vanished {
		m.mark(s, now)
	}
	m.metrics.stored.Add(float64(stored))
	m.metrics.refused.Add(float64(len(r.Samples) - stored))
	return refused
}

// finish notes a scrape's outcome, and schedules the loop's next scrape or ends the loop.
func (m *Manager) finish(ctx context.Context, j *job, o outcome) {
	if o.cancelled {
		m.settle(j, o)
		return
	}
	m.metrics.observe(j, o)
	before, after := m.settle(j, o)
	if before == after {
		return
	}
	log := klog.FromContext(ctx).WithValues(
		"namespace", j.loop.key.Namespace, "pod", j.loop.key.Name, "url", j.endpoint.shown)
	switch { // failing every two seconds is one event
	case before == "":
		log.Info("Scrape fails", "err", after)
	case after == "":
		log.Info("Scrape works again", "lastErr", before)
	default:
		log.V(2).Info("Scrape fails otherwise", "err", after, "lastErr", before)
	}
}

// settle brings the manager's books up to date after a scrape. It returns why the target's last scrape and
// this one failed; empty where they did not.
func (m *Manager) settle(j *job, o outcome) (before, after string) {
	l := j.loop
	m.mu.Lock()
	defer m.mu.Unlock()
	l.scraping, j.ended = false, true
	m.running[j.lane]--
	if l.gone {
		m.left(l, o.end)
		return "", ""
	}
	before = l.status.cause
	if !o.cancelled {
		m.tried(l)
		l.status.set(o.cause(j.opts.Timeout).text, j.endpoint.families.Names(), o.counts)
		l.lane = o.lane(j.opts.Timeout)
	}
	next, missed := nextDue(j.due, o.end, m.opts.Interval, l.place)
	m.metrics.missed.Add(float64(missed))
	m.schedule(l, next)
	return before, l.status.cause
}

// lane is the one for a target's next scrape.
func (o outcome) lane(timeout time.Duration) lane {
	if o.end.Sub(o.start) > patience(timeout) {
		return slow
	}
	return fast
}
