// The scan: reads the series behind a query once, for windows, times and the fast path.

package query

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/window"
)

// The labels that identify the origin of a series.
const (
	namespaceLabel = "namespace"
	podLabel       = "pod"
	nodeLabel      = "node"
)

// evaluationScan holds the store's data for an evaluation: the sample times of its series, and the events between them. The
// window comes from the events, the time of a value from the sample times. On the fast path the number of a value
// comes from it too.
type evaluationScan struct {
	orderedPods []*evaluatedPod // in the order of the store
	// objects and pods are nil if series come pod by pod, each pod an object of its own: no look-up is needed then.
	objects map[metric.Object]*evaluatedObject
	pods    map[podKey]*evaluatedPod
	// externalSeries are all series of an external metric; its results may have any labels.
	externalSeries []externalSeries
	// seriesBySelector has the series of each selector, if the scan keeps samples.
	seriesBySelector [][]evaluatedSeries
	since            int64      // the scan has samples of ranged selectors from then on, milliseconds
	holes            []timeSpan // see appendCounterHoles
	// edgeCounts are counts of series until the edges of a common stretch, from the sample before; nil where each series tells its own.
	edgeCounts map[edgeKey]float64
	// hasEnded is set if a counter ended or began again within reach, hasBegun if a counter began at zero, hasWoken if one
	// stood at zero and began to count.
	hasEnded, hasBegun, hasWoken bool
}

// evaluatedObject is an object of a value. An external metric has a single object without a name.
type evaluatedObject struct {
	newest     int64
	pods       []*evaluatedPod
	groupIndex int // index in evalGroups; −1 without a group
	hasValue   bool
	inlinePods [1]*evaluatedPod
}

// podKey identifies a pod among the pods of all objects.
type podKey struct {
	namespace, name string
	node            string // only if nodes are the objects: a pod may return on another node
}

// evaluatedPod holds the data of a pod.
type evaluatedPod struct {
	id     uint64 // index in orderedPods
	object metric.Object
	// scannedObject belongs to object; it is nil while no series of the pod is current.
	scannedObject *evaluatedObject
	labels        labels.Labels // of its first series
	// newest is the time of the newest sample of a series that goes on; 0 if all series ended.
	newest int64
	silent bool // newest is older than the rule's maxAge
	// readied is the time at which the pod became ready, if it did so lately, in milliseconds; else 0.
	readied int64
	// unreadied is the time at which the pod stopped being ready, if it did so lately, likewise.
	unreadied int64
	// settled is the time since which load no longer moves to the pod or away from it; 0 outside a common stretch.
	settled int64
	// taken is the part of its load that young pods took from takenAt on, in milliseconds, before a counter ended; 0 without any.
	taken   float64
	takenAt int64
	// gaveAt is the last time within its newest increment at which another pod became ready, in milliseconds; 0 without any.
	gaveAt int64
	// ended is the time of the newest sample of an ended counter; ends has the distinct times of all ends, ascending after the scan.
	ended int64
	ends  []int64
	// samples and decreases belong to the counter with the most decreases, decreasesSince is its first sample.
	samples, decreases int
	decreasesSince     int64
	// boundedBuckets counts the series of a histogram with a bound, of the selector that was looked at last.
	boundedBuckets int
	// unexplained counts the decreases that no restart explains, unexplainedSince the samples since the last; see separateCounterProcesses.
	unexplained, unexplainedSince int
	// steadyRates has the results of steadyQueriedRate by metric name, where they were needed.
	steadyRates map[string]float64
	// sampleTimes has an entry per metric name of the expression's ranged selectors.
	sampleTimes []namedSampleTimes
	endedTimes  []namedSampleTimes // of counters that ended
	// histories has an entry per selector of the expression, empty if the selector counts no events.
	histories []window.History

	// inline holds the first element of each list: two allocations less for each pod.
	inline struct {
		sampleTimes [1]namedSampleTimes
		histories   [1]window.History
	}
}

type namedSampleTimes struct {
	name  string
	times evaluatedTimes
	// pagedSince is the first of times, or the first sample of a counter of the same process that ended since.
	pagedSince int64
	// since is pagedSince, or the first sample of the tracks that these continue. hasIncrement is set if two samples of
	// a track are between. fromZero is set if the counters are known to have begun at zero with since, or before without a count.
	since                  int64
	hasIncrement, fromZero bool
}

// evaluatedTimes are the times of a series' samples, ascending, in milliseconds, since its first sample or its return.
// The series of a metric name in a pod come from the same pages: the times of one stand for all.
type evaluatedTimes []int64

// externalSeries is a series of an external metric.
type externalSeries struct {
	labels labels.Labels
	newest int64
}

// evaluatedSeries is a series with all its samples within reach.
type evaluatedSeries struct {
	labels labels.Labels
	pod    *evaluatedPod
	times  []int64
	values []float64
	// hasMarkers is set if staleness markers are among the samples.
	hasMarkers bool
	isCounter  bool
}

// evaluationScanner fills a evaluationScan.
type evaluationScanner struct {
	rule *rule.Rule
	// objectNames are the requested names, ascending; nil means all.
	objectNames []string
	// countEvents asks for histories, keepSamples for samples.
	countEvents, keepSamples bool
	interval                 int64 // milliseconds
	// samplesLeft is the room for further samples, of maxSamples. If it is exceeded, the scan keeps no samples.
	samplesLeft, maxSamples int
	selectors               []exprSelector
	budget                  *reviewSampleBudget // nil for a rule of the configuration

	data  SampleSource
	until int64 // the scan has samples up to then, milliseconds

	evaluationScan
	latestKey podKey        // of latestPod
	latestPod *evaluatedPod // the pod of the previous series
	*evalBuffers
}

// scanReach is how far back a scan looks, for ranged selectors and for others.
type scanReach struct {
	ranged, instant time.Duration
}

// scanQuerySeries scans the series of the selectors as of now.
func (s *evaluationScanner) scanQuerySeries(ctx context.Context, data SampleSource, now time.Time, reach scanReach) error {
	s.latestKey, s.latestPod, s.samplesLeft = podKey{}, nil, s.maxSamples
	s.data, s.until = data, now.UnixMilli()
	s.budget.resetReviewBudget()
	s.evaluationScan = evaluationScan{seriesBySelector: s.resetScannedSeries(len(s.selectors)), since: now.Add(-reach.ranged).UnixMilli() + 1}
	if !s.scansQueryPodByPod() {
		s.evaluationScan.objects, s.evaluationScan.pods = make(map[metric.Object]*evaluatedObject, len(s.objectNames)), make(map[podKey]*evaluatedPod, len(s.objectNames))
	}
	label := s.rule.ObjectLabel
	if s.objectNames == nil {
		label = ""
	}
	for i, sel := range s.selectors {
		if err := ctx.Err(); err != nil {
			return err
		}
		since, matchers := s.since, sel.matchers
		if !sel.ranged {
			since = now.Add(-reach.instant).UnixMilli() + 1
		}
		if !s.keepSamples {
			matchers = sel.scanMatchers
		}
		data.Visit(since, now.UnixMilli(), matchers, label, s.objectNames, func(l labels.Labels, times []int64, values []float64) {
			if len(times) > 0 && s.budget.spendReviewBudget(l, len(times)) {
				s.addScannedSeries(i, l, times, values)
			}
		})
	}
	if err := s.budget.reviewBudgetError(); err != nil {
		return err
	}
	for _, p := range s.orderedPods {
		p.extendPodSampleTimes()
		if p.scannedObject == nil {
			p.scannedObject = s.evaluationScan.objects[p.object] // from another pod of the object, if any
		}
	}
	return nil
}

// scansQueryPodByPod returns whether each pod comes once, with all its series, and is an object of its own. This spares
// two maps of all pods: a tenth of an evaluation's time and half of its memory.
func (s *evaluationScanner) scansQueryPodByPod() bool {
	return len(s.selectors) == 1 && s.selectors[0].name != "" && s.rule.ObjectLabel == podLabel && !s.rule.External
}

// addScannedSeries adds a series of a selector to the scan.
func (s *evaluationScanner) addScannedSeries(selector int, l labels.Labels, times []int64, values []float64) {
	sel := s.selectors[selector]
	p := s.findOrAddPodOfSeries(l)
	times = append(s.times.allocArenaSlice(len(times)), times...)
	track := findCurrentTrack(sel, times, values, s.interval)
	if sel.isCounter && track.afterMarker {
		samples := len(times)
		if times, values = joinResumedCounter(times, values); len(times) < samples {
			track = findCurrentTrack(sel, times, values, s.interval)
		}
	}
	decreases := track.decreases
	if sel.isCounter && decreases > 0 {
		unexplained, since := 0, 0
		if times, values, unexplained, since = s.separateProcessesOfQueriedPod(p, l, times, values); unexplained > 0 {
			track = findCurrentTrack(sel, times, values, s.interval)
			p.noteUnexplainedDecreases(unexplained, len(times)-since)
		}
	}
	bound := l.Get(labels.BucketLabel)                                          // empty: a counter with a name that ends like buckets'
	countsAll := !sel.lastBucketOnly || bound == "" || bound == lastBucketBound // not a part of the events
	if s.samplesLeft -= len(times); s.samplesLeft < 0 {
		s.keepSamples = false
	}
	if s.keepSamples {
		kept := append(s.values.allocArenaSlice(len(values)), values...)
		s.seriesBySelector[selector] = append(s.seriesBySelector[selector], evaluatedSeries{labels: l, pod: p, times: times, values: kept, hasMarkers: track.afterMarker, isCounter: sel.isCounter})
	}
	if sel.isCounter {
		p.noteCounterDecreases(times, decreases)
		s.hasBegun = s.hasBegun || track.fromZero && times[track.first] > s.since+s.interval
		s.hasWoken = s.hasWoken || track.fromZero && times[track.lastZeroOfTrack(values)] > s.since+s.interval
		if track.start > 0 {
			s.hasEnded = true
			s.holes = appendCounterHoles(s.holes, s.since, times, values, s.interval)
			p.noteTrackEnds(sel, track, times, values)
		}
		if countsAll && sel.countsEvents && s.countEvents {
			s.addSeriesIncrements(p, selector, times, values)
		}
	}
	times = times[track.start:]
	if len(times) == 0 || !countsAll {
		return
	}
	if p.scannedObject == nil {
		s.linkPodToMetricObject(p)
	}
	newest := times[len(times)-1]
	p.newest = max(p.newest, newest)
	p.scannedObject.newest = max(p.scannedObject.newest, newest)
	if s.rule.External {
		s.externalSeries = append(s.externalSeries, externalSeries{labels: l, newest: newest})
	}
	if sel.ranged {
		p.updatePodSampleTimes(track.namedTrackSampleTimes(sel, times))
	}
}

func (t currentCounterTrack) namedTrackSampleTimes(sel exprSelector, times []int64) namedSampleTimes {
	return namedSampleTimes{name: sel.name, times: times, pagedSince: times[0], since: t.since, fromZero: t.fromZero, hasIncrement: t.hasIncrement}
}

// setPodCountedRange sets the properties that all counters of this name in a pod share in a range.
func (p *evaluatedPod) setPodCountedRange(name string, r *countedRange) {
	r.readied, r.unreadied, r.settled, r.silent, r.podSince, r.podEnded = p.readied, p.unreadied, p.settled, p.silent, 0, 0
	r.taken, r.takenAt, r.gaveAt = p.taken, p.takenAt, p.gaveAt
	for i := range p.sampleTimes {
		if t := &p.sampleTimes[i]; t.name == name {
			if r.podSince = t.pagedSince; t.fromZero && t.since == t.pagedSince { // no counter of it counted before
				r.podEnded = t.pagedSince
			}
		}
	}
	before := len(p.ends)
	if r.podSince > 0 {
		before, _ = slices.BinarySearch(p.ends, r.podSince+1)
	}
	if before > 0 {
		r.podEnded = max(r.podEnded, p.ends[before-1])
	}
}

// findOrAddPodOfSeries returns the pod of a series. The series of a pod come one after the other.
func (s *evaluationScanner) findOrAddPodOfSeries(l labels.Labels) *evaluatedPod {
	key := podKey{namespace: l.Get(namespaceLabel), name: l.Get(podLabel)}
	if s.rule.ObjectLabel == nodeLabel {
		key.node = l.Get(nodeLabel)
	}
	if s.latestPod != nil && key == s.latestKey { // spares a map look-up by three strings
		return s.latestPod
	}
	p := s.evaluationScan.pods[key]
	if p == nil {
		p = s.evalBuffers.pods.allocArenaElement()
		p.id, p.labels, p.sampleTimes = uint64(len(s.orderedPods)), l, p.inline.sampleTimes[:0]
		if !s.rule.External {
			p.object = findEvaluatedObject(s.rule, l)
		}
		if s.evaluationScan.pods != nil {
			s.evaluationScan.pods[key] = p
		}
		s.orderedPods = append(s.orderedPods, p)
	}
	s.latestKey, s.latestPod = key, p
	return p
}

// linkPodToMetricObject links a pod to its object.
func (s *evaluationScanner) linkPodToMetricObject(p *evaluatedPod) {
	p.scannedObject = s.evaluationScan.objects[p.object]
	if p.scannedObject == nil {
		p.scannedObject = s.evalBuffers.objects.allocArenaElement()
		p.scannedObject.groupIndex, p.scannedObject.pods = -1, p.scannedObject.inlinePods[:0]
		if s.evaluationScan.objects != nil {
			s.evaluationScan.objects[p.object] = p.scannedObject
		}
	}
	p.scannedObject.pods = append(p.scannedObject.pods, p)
}

// forEachScannedObject calls each for every object, in the order of their first pods.
func (s *evaluationScan) forEachScannedObject(each func(object metric.Object, scanned *evaluatedObject)) {
	for _, p := range s.orderedPods {
		if p.scannedObject != nil && p.scannedObject.pods[0] == p {
			each(p.object, p.scannedObject)
		}
	}
}

// noteCounterDecreases keeps the decreases of the counter that decreased most often.
func (p *evaluatedPod) noteCounterDecreases(times []int64, decreases int) {
	if decreases > p.decreases {
		p.samples, p.decreases, p.decreasesSince = len(times), decreases, times[0]
	}
}

// findScannedObject returns the scanned object of that name, or nil.
func (s *evaluationScan) findScannedObject(o metric.Object) *evaluatedObject {
	if s.objects == nil {
		s.objects = make(map[metric.Object]*evaluatedObject, len(s.orderedPods))
		s.forEachScannedObject(func(object metric.Object, scanned *evaluatedObject) { s.objects[object] = scanned })
	}
	return s.objects[o]
}

// updatePodSampleTimes keeps times as the sample times of a metric name, if they cover more than the present times:
// newer samples, or equally new samples for longer. A series that begins late in an old pod, such as the first
// error's, therefore does not make the pod look young.
func (p *evaluatedPod) updatePodSampleTimes(found namedSampleTimes) {
	for i := range p.sampleTimes {
		known := &p.sampleTimes[i]
		if known.name != found.name {
			continue
		}
		switch {
		case known.times.sampleTimesCoverLess(found.times):
			*known = found
		case known.times[0] == found.times[0]:
			known.fromZero = known.fromZero && found.fromZero
		}
		return
	}
	p.sampleTimes = append(p.sampleTimes, found)
}

func (t evaluatedTimes) sampleTimesCoverLess(other evaluatedTimes) bool {
	if t.lastSampleTime() != other.lastSampleTime() {
		return t.lastSampleTime() < other.lastSampleTime()
	}
	return t[0] > other[0]
}

// addSeriesIncrements adds the increments of a series to the history of a selector.
func (s *evaluationScanner) addSeriesIncrements(p *evaluatedPod, selector int, times []int64, values []float64) {
	if p.histories == nil {
		p.histories = p.inline.histories[:]
		if len(s.selectors) > 1 {
			p.histories = make([]window.History, len(s.selectors))
		}
	}
	h := &p.histories[selector]
	if *h == nil {
		*h = s.increments.allocArenaSlice(len(times))
	}
	h.Add(times, values)
}

// selectorHistories returns the histories of all pods, by selector; empty for a selector without histories.
func (s *evaluationScan) selectorHistories() (counters []window.Counter) {
	for _, p := range s.orderedPods {
		for i, h := range p.histories {
			for len(counters) <= i {
				counters = append(counters, window.Counter{})
			}
			if h != nil {
				counters[i].Pods = append(counters[i].Pods, h)
			}
		}
	}
	return counters
}

// shortestSampleTimes returns the shortest of the pod's sample times. A range must not reach beyond it, or a family
// demanded a moment ago would look like a counter of few events.
func (p *evaluatedPod) shortestSampleTimes() evaluatedTimes {
	var shortest evaluatedTimes
	for _, t := range p.sampleTimes {
		if shortest == nil || t.times[0] > shortest[0] {
			shortest = t.times
		}
	}
	return shortest
}

// appendShortestSampleTimes appends the shortest sample times of the object's pods to dst.
func (s *evaluatedObject) appendShortestSampleTimes(dst []evaluatedTimes) []evaluatedTimes {
	for _, p := range s.pods {
		if t := p.shortestSampleTimes(); t != nil {
			dst = append(dst, t)
		}
	}
	return dst
}

// haveObjectSeriesEnded reports whether all series of the object's pods ended, or are too old to go on.
func (s *evaluatedObject) haveObjectSeriesEnded() bool {
	return !slices.ContainsFunc(s.pods, func(p *evaluatedPod) bool { return p.newest > 0 && !p.silent })
}

// objectCountsKnownFor returns the time before until over which the counts of the object's pods are known: at least a millisecond.
func (s *evaluatedObject) objectCountsKnownFor(until int64) time.Duration {
	longest := int64(1)
	for _, p := range s.pods {
		since := p.podCountsKnownSince()
		if since == math.MinInt64 {
			return math.MaxInt64
		}
		longest = max(longest, until-since)
	}
	return evalMillisToDuration(longest)
}
