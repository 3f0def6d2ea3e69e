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

// survey is what the store has of the series behind a question: the times of their samples, and how much
// happened between them. Windows are chosen from it, values get their time from it, and where an expression is computed
// directly, also their number.
type survey struct {
	order []*pod // in the order in which they were found
	// subjects and pods are nil where series come pod by pod, each with a subject of its own: nobody needs to look for them.
	subjects map[metric.Object]*subject
	pods     map[podKey]*pod
	// sources are all series, for external metrics, whose results have any labels.
	sources []source
	// sampled has the series of each selector, if they were to be kept.
	sampled [][]sampled
	since   int64 // samples of ranged selectors are known from then on, milliseconds
}

// subject is one object that a value is for. An external metric has one without a name.
type subject struct {
	newest int64
	pods   []*pod
	group  int  // of the answer's groups; −1 if it is in none
	valued bool // has a value already
	room   [1]*pod
}

// podKey names a pod among those of all subjects.
type podKey struct {
	namespace, name string
	node            string // only where nodes are the subjects: a pod may come again on another
}

// pod is what was seen of one pod.
type pod struct {
	id     uint64 // among those of the survey
	object metric.Object
	// subject is that of the object; nil while no series of the pod goes on.
	subject *subject
	// tracks has an entry per metric name of the expression's ranged selectors.
	tracks []namedTrack
	// histories has an entry per selector of the expression, empty where it counts no events.
	histories []window.History

	// room is for these, as long as there is one of each: two allocations less for each pod.
	room struct {
		tracks    [1]namedTrack
		histories [1]window.History
	}
}

type namedTrack struct {
	name  string
	track track
}

// track is the times of the samples of a series, ascending, in milliseconds, since it was first seen or came
// back. The series of one metric name in a pod come from the same pages: one track stands for all.
type track []int64

// source is one series.
type source struct {
	labels labels.Labels
	newest int64
}

// sampled is one series with all its samples within reach.
type sampled struct {
	labels labels.Labels
	pod    *pod
	times  []int64
	values []float64
	// broken tells that there are staleness markers among the samples.
	broken bool
}

// surveyor makes a survey.
type surveyor struct {
	rule *rule.Rule
	// objects are the names asked for, ascending; nil means all.
	objects []string
	// counting tells that histories are wanted, keeping that the samples are.
	counting, keeping bool
	// room is for how many samples there is; with more, none are kept.
	room      int
	selectors []selector

	survey
	last   podKey // of latest
	latest *pod   // that a series was found of
	*memory
}

// reach is how far back a survey looks, for ranged selectors and for others.
type reach struct {
	ranged, instant time.Duration
}

// look surveys the series of the selectors as of now.
func (s *surveyor) look(ctx context.Context, data Data, now time.Time, back reach) error {
	s.survey = survey{sampled: s.lists(len(s.selectors)), since: now.Add(-back.ranged).UnixMilli() + 1}
	if !s.podByPod() {
		s.survey.subjects, s.survey.pods = make(map[metric.Object]*subject, len(s.objects)), make(map[podKey]*pod, len(s.objects))
	}
	label := s.rule.ObjectLabel
	if s.objects == nil {
		label = ""
	}
	for i, sel := range s.selectors {
		if err := ctx.Err(); err != nil {
			return err
		}
		since, matchers := s.since, sel.matchers
		if !sel.ranged {
			since = now.Add(-back.instant).UnixMilli() + 1
		}
		if !s.keeping {
			matchers = sel.telling
		}
		data.Visit(since, now.UnixMilli(), matchers, label, s.objects, func(l labels.Labels, times []int64, values []float64) {
			if len(times) > 0 {
				s.visit(i, l, times, values)
			}
		})
	}
	for _, p := range s.order {
		if p.subject == nil {
			p.subject = s.survey.subjects[p.object] // by another pod, if at all
		}
	}
	return nil
}

// podByPod tells that each pod is seen once, with all its series, and is an object of its own: that spares two maps of all pods,
// a tenth of the time of an evaluation and half of its memory.
func (s *surveyor) podByPod() bool {
	return len(s.selectors) == 1 && s.selectors[0].name != "" && s.rule.ObjectLabel == podLabel && !s.rule.External
}

// visit surveys one series of a selector.
func (s *surveyor) visit(selector int, l labels.Labels, times []int64, values []float64) {
	sel := s.selectors[selector]
	p := s.pod(l)
	times = append(s.times.take(len(times)), times...)
	goesOn := lastMarker(values) + 1 // samples behind it are of what is there now
	if s.room -= len(times); s.room < 0 {
		s.keeping = false
	}
	if s.keeping {
		values = append(s.values.take(len(values)), values...)
		s.sampled[selector] = append(s.sampled[selector], sampled{labels: l, pod: p, times: times, values: values, broken: goesOn > 0})
	}
	times, values = times[goesOn:], values[goesOn:]
	if len(times) == 0 || sel.buckets && l.Get(labels.BucketLabel) != lastBucket {
		return
	}
	if p.subject == nil {
		s.introduce(p)
	}
	newest := times[len(times)-1]
	p.subject.newest = max(p.subject.newest, newest)
	if s.rule.External {
		s.sources = append(s.sources, source{labels: l, newest: newest})
	}
	if sel.ranged {
		p.note(sel.name, times)
	}
	if sel.events && s.counting {
		s.count(p, selector, times, values)
	}
}

// lastMarker is the index of the last staleness marker, or −1.
func lastMarker(values []float64) int {
	for i := len(values) - 1; i >= 0; i-- {
		if value.IsStaleNaN(values[i]) {
			return i
		}
	}
	return -1
}

// pod finds or makes the pod that a series is of. Those of one pod come one after the other.
func (s *surveyor) pod(l labels.Labels) *pod {
	key := podKey{namespace: l.Get(namespaceLabel), name: l.Get(podLabel)}
	if s.rule.ObjectLabel == nodeLabel {
		key.node = l.Get(nodeLabel)
	}
	if s.latest != nil && key == s.last { // spares a look into a map by three strings
		return s.latest
	}
	p := s.survey.pods[key]
	if p == nil {
		p = s.memory.pods.one()
		p.id, p.tracks = uint64(len(s.order)), p.room.tracks[:0]
		if !s.rule.External {
			p.object = objectOf(s.rule, l)
		}
		if s.survey.pods != nil {
			s.survey.pods[key] = p
		}
		s.order = append(s.order, p)
	}
	s.last, s.latest = key, p
	return p
}

// introduce gives a pod its subject.
func (s *surveyor) introduce(p *pod) {
	p.subject = s.survey.subjects[p.object]
	if p.subject == nil {
		p.subject = s.memory.subjects.one()
		p.subject.group, p.subject.pods = -1, p.subject.room[:0]
		if s.survey.subjects != nil {
			s.survey.subjects[p.object] = p.subject
		}
	}
	p.subject.pods = append(p.subject.pods, p)
}

// all calls each for every subject, in the order in which they were found.
func (s *survey) all(each func(of metric.Object, is *subject)) {
	for _, p := range s.order {
		if p.subject != nil && p.subject.pods[0] == p {
			each(p.object, p.subject)
		}
	}
}

// find is the subject that an object is, or nil.
func (s *survey) find(o metric.Object) *subject {
	if s.subjects == nil {
		s.subjects = make(map[metric.Object]*subject, len(s.order))
		s.all(func(of metric.Object, is *subject) { s.subjects[of] = is })
	}
	return s.subjects[o]
}

// note takes times as the track of a metric name, if they tell more than the one there: more
// recent samples, or as recent ones for longer. A series that begins late in a pod that is watched for long, such
// as that of the first error, therefore does not make the pod a young one.
func (p *pod) note(name string, times track) {
	for i := range p.tracks {
		if p.tracks[i].name == name {
			if p.tracks[i].track.lessThan(times) {
				p.tracks[i].track = times
			}
			return
		}
	}
	p.tracks = append(p.tracks, namedTrack{name: name, track: times})
}

func (t track) lessThan(other track) bool {
	if t.last() != other.last() {
		return t.last() < other.last()
	}
	return t[0] > other[0]
}

// count adds the increments of a series to the history of a selector.
func (s *surveyor) count(p *pod, selector int, times []int64, values []float64) {
	if p.histories == nil {
		p.histories = p.room.histories[:]
		if len(s.selectors) > 1 {
			p.histories = make([]window.History, len(s.selectors))
		}
	}
	h := &p.histories[selector]
	if *h == nil {
		*h = s.counts.take(len(times))
	}
	h.Add(times, values)
}

// counters are the histories of all pods, for each selector whose series count events and that has any.
func (s *survey) counters() (counters [][]window.History) {
	for _, p := range s.order {
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

// track is the shortest of the pod's tracks: a range may not reach beyond it, or a family that is demanded
// since a moment ago would be read as one that rarely counts.
func (p *pod) track() track {
	var shortest track
	for _, t := range p.tracks {
		if shortest == nil || t.track[0] > shortest[0] {
			shortest = t.track
		}
	}
	return shortest
}

// tracks appends those of the subject's pods to dst.
func (s *subject) tracks(dst []track) []track {
	for _, p := range s.pods {
		if t := p.track(); t != nil {
			dst = append(dst, t)
		}
	}
	return dst
}
