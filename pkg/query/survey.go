package query

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"tachometer/pkg/metric"
	"tachometer/pkg/rule"
	"tachometer/pkg/window"
)

// The labels that say where a series comes from.
const (
	namespaceLabel = "namespace"
	podLabel       = "pod"
	nodeLabel      = "node"
)

// survey is what the store has of the series behind a question: the times of their samples, and how much
// happened between them. Windows are chosen from it, and values get their time from it.
type survey struct {
	subjects map[metric.Object]*subject
	pods     map[podKey]*pod
	// sources are all series, for external metrics, whose results have any labels.
	sources []source
}

// subject is one object that a value is for. An external metric has one without a name.
type subject struct {
	newest int64
	pods   []*pod
	group  int  // of the answer's groups; −1 if it is in none
	valued bool // has a value already
}

// podKey names a pod among those of all subjects.
type podKey struct {
	namespace, name string
	node            string // only where nodes are the subjects: a pod may come again on another
}

// pod is what was seen of one pod.
type pod struct {
	subject *subject
	// tracks has an entry per metric name of the expression's ranged selectors.
	tracks []namedTrack
	// histories has an entry per selector of the expression, empty where it counts no events.
	histories []window.History
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

// surveyor makes a survey.
type surveyor struct {
	rule *rule.Rule
	// asked are the names asked for, where the expression does not say; nil means all.
	asked map[string]struct{}
	// counting tells that histories are wanted.
	counting  bool
	selectors []selector

	survey
	it      chunkenc.Iterator
	scratch []window.Sample
	times   arena[int64]
	counts  arena[window.Increment]
}

// reach is how far back a survey looks, for ranged selectors and for others.
type reach struct {
	ranged, instant time.Duration
}

// look surveys the series of the selectors as of now.
func (s *surveyor) look(ctx context.Context, data storage.Queryable, now time.Time, back reach) error {
	s.survey = survey{subjects: map[metric.Object]*subject{}, pods: map[podKey]*pod{}}
	for i, sel := range s.selectors {
		d := back.instant
		if sel.ranged {
			d = back.ranged
		}
		q, err := data.Querier(now.Add(-d).UnixMilli()+1, now.UnixMilli())
		if err != nil {
			return fmt.Errorf("open store: %w", err)
		}
		err = s.visit(q.Select(ctx, false, nil, sel.matchers...), i)
		if closeErr := q.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return fmt.Errorf("read store: %w", err)
		}
	}
	return nil
}

// visit surveys the series of one selector.
func (s *surveyor) visit(set storage.SeriesSet, selector int) error {
	sel := s.selectors[selector]
	for set.Next() {
		series := set.At()
		l := series.Labels()
		if !s.wanted(l) {
			continue
		}
		s.read(series)
		if len(s.scratch) == 0 {
			continue
		}
		p := s.pod(l)
		newest := s.scratch[len(s.scratch)-1].Time
		p.subject.newest = max(p.subject.newest, newest)
		if s.rule.External {
			s.sources = append(s.sources, source{labels: l, newest: newest})
		}
		if sel.ranged {
			s.note(p, sel.name)
		}
		if sel.events && s.counting {
			s.count(p, selector)
		}
	}
	return set.Err()
}

func (s *surveyor) wanted(l labels.Labels) bool {
	if s.asked == nil {
		return true
	}
	_, ok := s.asked[l.Get(s.rule.ObjectLabel)]
	return ok
}

// read puts the samples of a series since its last staleness marker into scratch.
func (s *surveyor) read(series storage.Series) {
	s.scratch = s.scratch[:0]
	s.it = series.Iterator(s.it)
	for s.it.Next() == chunkenc.ValFloat {
		t, v := s.it.At()
		if value.IsStaleNaN(v) {
			s.scratch = s.scratch[:0]
			continue
		}
		s.scratch = append(s.scratch, window.Sample{Time: t, Value: v})
	}
}

// pod finds or makes the pod that a series is of, and its subject.
func (s *surveyor) pod(l labels.Labels) *pod {
	key := podKey{namespace: l.Get(namespaceLabel), name: l.Get(podLabel)}
	if s.rule.ObjectLabel == nodeLabel {
		key.node = l.Get(nodeLabel)
	}
	if p := s.pods[key]; p != nil {
		return p
	}
	object := metric.Object{}
	if !s.rule.External {
		object = objectOf(s.rule, l)
	}
	sub := s.subjects[object]
	if sub == nil {
		sub = &subject{group: -1}
		s.subjects[object] = sub
	}
	p := &pod{subject: sub}
	sub.pods = append(sub.pods, p)
	s.pods[key] = p
	return p
}

// note takes the samples in scratch as the track of a metric name, if they tell more than the one there: more
// recent samples, or as recent ones for longer. A series that begins late in a pod that is watched for long, such
// as that of the first error, therefore does not make the pod a young one.
func (s *surveyor) note(p *pod, name string) {
	for i := range p.tracks {
		if p.tracks[i].name == name {
			if p.tracks[i].track.lessThan(s.scratch) {
				p.tracks[i].track = s.track()
			}
			return
		}
	}
	p.tracks = append(p.tracks, namedTrack{name: name, track: s.track()})
}

// track is the times in scratch.
func (s *surveyor) track() track {
	t := s.times.take(len(s.scratch))
	for _, sm := range s.scratch {
		t = append(t, sm.Time)
	}
	return t
}

func (t track) lessThan(samples []window.Sample) bool {
	last, other := t[len(t)-1], samples[len(samples)-1].Time
	if last != other {
		return last < other
	}
	return t[0] > samples[0].Time
}

// count adds the increments in scratch to the history of a selector.
func (s *surveyor) count(p *pod, selector int) {
	if p.histories == nil {
		p.histories = make([]window.History, len(s.selectors))
	}
	h := &p.histories[selector]
	if *h == nil {
		*h = s.counts.take(len(s.scratch))
	}
	h.Add(s.scratch)
}

// counters are the histories of all pods, for each selector whose series count events and that has any.
func (s *survey) counters() (counters [][]window.History) {
	for _, p := range s.pods {
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

// arena hands out slices of a few large ones: a survey makes thousands, and drops them together.
type arena[T any] struct{ free []T }

// take returns an empty slice for n elements.
func (a *arena[T]) take(n int) []T {
	if n > len(a.free) {
		a.free = make([]T, max(n, 1024))
	}
	taken := a.free[:0:n]
	a.free = a.free[n:]
	return taken
}
