package query

import (
	"context"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/window"
)

// The labels that say where a series comes from.
const (
	namespaceLabel = "namespace"
	podLabel       = "pod"
	nodeLabel      = "node"
)

// seriesScan is what the store has of the series behind a question: the times of their samples, and how much
// happened between them. Windows are chosen from it, values get their time from it, and where an expression is computed
// directly, also their number.
type seriesScan struct {
	orderedPods []*scannedPod // in the order in which they were found
	// objects and pods are nil where series come pod by pod, each with a subject of its own: nobody needs to look for them.
	objects map[metric.Object]*scannedObject
	pods    map[podKey]*scannedPod
	// externalSeries are all series, for external metrics, whose results have any labels.
	externalSeries []externalSeries
	// seriesBySelector has the series of each selector, if they were to be kept.
	seriesBySelector [][]scannedSeries
	since            int64 // samples of ranged selectors are known from then on, milliseconds
}

// scannedObject is one object that a value is for. An external metric has one without a name.
type scannedObject struct {
	newest     int64
	pods       []*scannedPod
	groupIndex int  // of the answer's groups; −1 if it is in none
	hasValue   bool // has a value already
	inlinePods [1]*scannedPod
}

// podKey names a pod among those of all subjects.
type podKey struct {
	namespace, name string
	node            string // only where nodes are the subjects: a pod may come again on another
}

// scannedPod is what was seen of one pod.
type scannedPod struct {
	id     uint64 // among those of the survey
	object metric.Object
	// scannedObject is that of the object; nil while no series of the pod goes on.
	scannedObject *scannedObject
	// sampleTimes has an entry per metric name of the expression's ranged selectors.
	sampleTimes []namedSampleTimes
	// histories has an entry per selector of the expression, empty where it counts no events.
	histories []window.History

	// inline is for these, as long as there is one of each: two allocations less for each pod.
	inline struct {
		sampleTimes [1]namedSampleTimes
		histories   [1]window.History
	}
}

type namedSampleTimes struct {
	name  string
	times sampleTimes
}

// sampleTimes is the times of the samples of a series, ascending, in milliseconds, since it was first seen or came
// back. The series of one metric name in a pod come from the same pages: one track stands for all.
type sampleTimes []int64

// externalSeries is one series.
type externalSeries struct {
	labels labels.Labels
	newest int64
}

// scannedSeries is one series with all its samples within reach.
type scannedSeries struct {
	labels labels.Labels
	pod    *scannedPod
	times  []int64
	values []float64
	// hasMarkers tells that there are staleness markers among the samples.
	hasMarkers bool
}

// seriesScanner makes a survey.
type seriesScanner struct {
	rule *rule.Rule
	// objectNames are the names asked for, ascending; nil means all.
	objectNames []string
	// countEvents tells that histories are wanted, keeping that the samples are.
	countEvents, keepSamples bool
	// samplesLeft is for how many samples there is; with more, none are kept.
	samplesLeft int
	selectors   []exprSelector

	seriesScan
	latestKey podKey      // of latest
	latestPod *scannedPod // that a series was found of
	*evalBuffers
}

// scanReach is how far back a survey looks, for ranged selectors and for others.
type scanReach struct {
	ranged, instant time.Duration
}

// scanSeries surveys the series of the selectors as of now.
func (s *seriesScanner) scanSeries(ctx context.Context, data SampleSource, now time.Time, reach scanReach) error {
	s.seriesScan = seriesScan{seriesBySelector: s.resetSeriesLists(len(s.selectors)), since: now.Add(-reach.ranged).UnixMilli() + 1}
	if !s.visitsPodByPod() {
		s.seriesScan.objects, s.seriesScan.pods = make(map[metric.Object]*scannedObject, len(s.objectNames)), make(map[podKey]*scannedPod, len(s.objectNames))
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
			if len(times) > 0 {
				s.addSeries(i, l, times, values)
			}
		})
	}
	for _, p := range s.orderedPods {
		if p.scannedObject == nil {
			p.scannedObject = s.seriesScan.objects[p.object] // by another pod, if at all
		}
	}
	return nil
}

// visitsPodByPod tells that each pod is seen once, with all its series, and is an object of its own: that spares two maps of all pods,
// a tenth of the time of an evaluation and half of its memory.
func (s *seriesScanner) visitsPodByPod() bool {
	return len(s.selectors) == 1 && s.selectors[0].name != "" && s.rule.ObjectLabel == podLabel && !s.rule.External
}

// addSeries surveys one series of a selector.
func (s *seriesScanner) addSeries(selector int, l labels.Labels, times []int64, values []float64) {
	sel := s.selectors[selector]
	p := s.findOrAddPod(l)
	times = append(s.times.allocSlice(len(times)), times...)
	current := lastStaleMarker(values) + 1 // samples behind it are of what is there now
	if s.samplesLeft -= len(times); s.samplesLeft < 0 {
		s.keepSamples = false
	}
	if s.keepSamples {
		values = append(s.values.allocSlice(len(values)), values...)
		s.seriesBySelector[selector] = append(s.seriesBySelector[selector], scannedSeries{labels: l, pod: p, times: times, values: values, hasMarkers: current > 0})
	}
	times, values = times[current:], values[current:]
	if len(times) == 0 || sel.lastBucketOnly && l.Get(labels.BucketLabel) != lastBucketBound {
		return
	}
	if p.scannedObject == nil {
		s.addObject(p)
	}
	newest := times[len(times)-1]
	p.scannedObject.newest = max(p.scannedObject.newest, newest)
	if s.rule.External {
		s.externalSeries = append(s.externalSeries, externalSeries{labels: l, newest: newest})
	}
	if sel.ranged {
		p.updateSampleTimes(sel.name, times)
	}
	if sel.countsEvents && s.countEvents {
		s.addIncrements(p, selector, times, values)
	}
}

// lastStaleMarker is the index of the last staleness marker, or −1.
func lastStaleMarker(values []float64) int {
	for i := len(values) - 1; i >= 0; i-- {
		if value.IsStaleNaN(values[i]) {
			return i
		}
	}
	return -1
}

// findOrAddPod finds or makes the pod that a series is of. Those of one pod come one after the other.
func (s *seriesScanner) findOrAddPod(l labels.Labels) *scannedPod {
	key := podKey{namespace: l.Get(namespaceLabel), name: l.Get(podLabel)}
	if s.rule.ObjectLabel == nodeLabel {
		key.node = l.Get(nodeLabel)
	}
	if s.latestPod != nil && key == s.latestKey { // spares a look into a map by three strings
		return s.latestPod
	}
	p := s.seriesScan.pods[key]
	if p == nil {
		p = s.evalBuffers.pods.allocElement()
		p.id, p.sampleTimes = uint64(len(s.orderedPods)), p.inline.sampleTimes[:0]
		if !s.rule.External {
			p.object = objectFromLabels(s.rule, l)
		}
		if s.seriesScan.pods != nil {
			s.seriesScan.pods[key] = p
		}
		s.orderedPods = append(s.orderedPods, p)
	}
	s.latestKey, s.latestPod = key, p
	return p
}

// addObject gives a pod its subject.
func (s *seriesScanner) addObject(p *scannedPod) {
	p.scannedObject = s.seriesScan.objects[p.object]
	if p.scannedObject == nil {
		p.scannedObject = s.evalBuffers.objects.allocElement()
		p.scannedObject.groupIndex, p.scannedObject.pods = -1, p.scannedObject.inlinePods[:0]
		if s.seriesScan.objects != nil {
			s.seriesScan.objects[p.object] = p.scannedObject
		}
	}
	p.scannedObject.pods = append(p.scannedObject.pods, p)
}

// forEachObject calls each for every subject, in the order in which they were found.
func (s *seriesScan) forEachObject(each func(object metric.Object, scanned *scannedObject)) {
	for _, p := range s.orderedPods {
		if p.scannedObject != nil && p.scannedObject.pods[0] == p {
			each(p.object, p.scannedObject)
		}
	}
}

// findObject is the subject that an object is, or nil.
func (s *seriesScan) findObject(o metric.Object) *scannedObject {
	if s.objects == nil {
		s.objects = make(map[metric.Object]*scannedObject, len(s.orderedPods))
		s.forEachObject(func(object metric.Object, scanned *scannedObject) { s.objects[object] = scanned })
	}
	return s.objects[o]
}

// updateSampleTimes takes times as the track of a metric name, if they tell more than the one there: more
// recent samples, or as recent ones for longer. A series that begins late in a pod that is watched for long, such
// as that of the first error, therefore does not make the pod a young one.
func (p *scannedPod) updateSampleTimes(name string, times sampleTimes) {
	for i := range p.sampleTimes {
		if p.sampleTimes[i].name == name {
			if p.sampleTimes[i].times.coversLessThan(times) {
				p.sampleTimes[i].times = times
			}
			return
		}
	}
	p.sampleTimes = append(p.sampleTimes, namedSampleTimes{name: name, times: times})
}

func (t sampleTimes) coversLessThan(other sampleTimes) bool {
	if t.lastTime() != other.lastTime() {
		return t.lastTime() < other.lastTime()
	}
	return t[0] > other[0]
}

// addIncrements adds the increments of a series to the history of a selector.
func (s *seriesScanner) addIncrements(p *scannedPod, selector int, times []int64, values []float64) {
	if p.histories == nil {
		p.histories = p.inline.histories[:]
		if len(s.selectors) > 1 {
			p.histories = make([]window.History, len(s.selectors))
		}
	}
	h := &p.histories[selector]
	if *h == nil {
		*h = s.increments.allocSlice(len(times))
	}
	h.Add(times, values)
}

// eventHistories are the histories of all pods, for each selector whose series count events and that has any.
func (s *seriesScan) eventHistories() (counters [][]window.History) {
	for _, p := range s.orderedPods {
		for i, h := range p.histories {
			for len(counters) <= i {
				counters = append(counters, nil)
			}
			if h != nil {
				counters[i] = append(counters[i], h)
			}
		}
	}
	return slices.DeleteFunc(counters, func(pods []window.History) bool { return len(pods) == 0 })
}

// shortestSampleTimes is the shortest of the pod's tracks: a range may not reach beyond it, or a family that is demanded
// since a moment ago would be read as one that rarely counts.
func (p *scannedPod) shortestSampleTimes() sampleTimes {
	var shortest sampleTimes
	for _, t := range p.sampleTimes {
		if shortest == nil || t.times[0] > shortest[0] {
			shortest = t.times
		}
	}
	return shortest
}

// appendSampleTimes appends those of the subject's pods to dst.
func (s *scannedObject) appendSampleTimes(dst []sampleTimes) []sampleTimes {
	for _, p := range s.pods {
		if t := p.shortestSampleTimes(); t != nil {
			dst = append(dst, t)
		}
	}
	return dst
}
