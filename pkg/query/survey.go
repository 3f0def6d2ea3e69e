package query

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"

	"tachometer/pkg/metric"
	"tachometer/pkg/rule"
)

// The labels that say where a series comes from.
const (
	namespaceLabel = "namespace"
	podLabel       = "pod"
)

// survey is what the store has of the series behind a question: the times of their samples, and how much
// happened between them. Windows are chosen from it, and values get their time from it.
type survey struct {
	subjects map[metric.Object]*subject
	// counters holds, for each selector whose series count events, the increments of each of its pods.
	counters [][]history
	// sources are all series, for external metrics, whose results have any labels.
	sources []source
}

// subject is one object that a value is for. An external metric has one without a name.
type subject struct {
	newest int64
	pods   map[metric.Object]*pod
}

// pod is what was seen of one pod.
type pod struct {
	// tracks has an entry per metric name of the expression's ranged selectors.
	tracks []namedTrack
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
	rule    *rule.Rule
	querier storage.Querier
	it      chunkenc.Iterator
	scratch []sample
	survey
}

type sample struct {
	t int64
	v float64
}

// look surveys the selectors as of now: ranged ones as far back as reach, the others as far as lookback.
func look(ctx context.Context, data storage.Queryable, r *rule.Rule, e *expression, now time.Time, reach, lookback time.Duration) (*survey, error) {
	s := &surveyor{rule: r, survey: survey{subjects: map[metric.Object]*subject{}}}
	for _, sel := range e.selectors {
		back := lookback
		if sel.ranged {
			back = reach
		}
		mint := now.Add(-back).UnixMilli() + 1
		q, err := data.Querier(mint, now.UnixMilli())
		if err != nil {
			return nil, fmt.Errorf("open store: %w", err)
		}
		s.querier = q
		err = s.visit(ctx, sel)
		if closeErr := q.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return nil, fmt.Errorf("read store: %w", err)
		}
	}
	return &s.survey, nil
}

// visit surveys the series of one selector.
func (s *surveyor) visit(ctx context.Context, sel selector) error {
	histories := map[metric.Object]*history{}
	set := s.querier.Select(ctx, false, nil, sel.matchers...)
	for set.Next() {
		series := set.At()
		s.read(series)
		if len(s.scratch) == 0 {
			continue
		}
		from := metric.Object{Namespace: series.Labels().Get(namespaceLabel), Name: series.Labels().Get(podLabel)}
		s.note(series.Labels(), from, sel)
		if sel.events {
			h := histories[from]
			if h == nil {
				h = &history{}
				histories[from] = h
			}
			h.add(s.scratch)
		}
	}
	if len(histories) > 0 {
		all := make([]history, 0, len(histories))
		for _, h := range histories {
			all = append(all, *h)
		}
		s.counters = append(s.counters, all)
	}
	return set.Err()
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
		s.scratch = append(s.scratch, sample{t, v})
	}
}

// note enters the series in scratch into the survey.
func (s *surveyor) note(l labels.Labels, from metric.Object, sel selector) {
	newest := s.scratch[len(s.scratch)-1].t
	object := s.object(l)
	sub := s.subjects[object]
	if sub == nil {
		sub = &subject{pods: map[metric.Object]*pod{}}
		s.subjects[object] = sub
	}
	sub.newest = max(sub.newest, newest)
	if s.rule.External {
		s.sources = append(s.sources, source{labels: l, newest: newest})
	}
	if !sel.ranged {
		return
	}
	p := sub.pods[from]
	if p == nil {
		p = &pod{}
		sub.pods[from] = p
	}
	p.note(sel.name, s.scratch)
}

// object is the object that a series belongs to.
func (s *surveyor) object(l labels.Labels) metric.Object {
	if s.rule.External {
		return metric.Object{}
	}
	return objectOf(s.rule, l)
}

// note takes the samples as the track of a metric name, if they tell more than the one there: more recent
// samples, or as recent ones for longer. A series that begins late in a pod that is watched for long, such as
// the first error's, therefore does not make the pod a young one.
func (p *pod) note(name string, samples []sample) {
	for i := range p.tracks {
		if p.tracks[i].name == name {
			if t := &p.tracks[i].track; t.lessThan(samples) {
				*t = appendTimes((*t)[:0], samples)
			}
			return
		}
	}
	p.tracks = append(p.tracks, namedTrack{name: name, track: appendTimes(make(track, 0, len(samples)), samples)})
}

func (t track) lessThan(samples []sample) bool {
	last, other := t[len(t)-1], samples[len(samples)-1].t
	if last != other {
		return last < other
	}
	return t[0] > samples[0].t
}

func appendTimes(t track, samples []sample) track {
	for _, s := range samples {
		t = append(t, s.t)
	}
	return t
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

// tracks are those of the subject's pods.
func (s *subject) tracks() []track {
	var all []track
	for _, p := range s.pods {
		if t := p.track(); t != nil {
			all = append(all, t)
		}
	}
	return all
}
