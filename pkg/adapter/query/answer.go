package query

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// maxNamed is how many objects an expression names. Where more are asked for it is evaluated for all there are, and
// the others are left out: a regular expression of a thousand names costs more than their neighbours' samples, and
// beyond 256 names Prometheus's matchers no longer say which these are.
const maxNamed = 200

// answer is one evaluation under way.
type answer struct {
	rule.Query
	now                 time.Time
	interval, maxWindow time.Duration

	window time.Duration // in place of $window, for objects that are covered
	span   time.Duration // how far back the expression looks with it; 0 if only at the newest samples
	fixed  bool          // see planner
	direct *direct       // computes it; nil where the engine has to
	memory *memory
	survey *survey
	groups []group
	values []metric.Value
	// objects is how many there are, with a slot or without.
	objects int
}

// group is objects that are evaluated together.
type group struct {
	slot
	objects int
}

// prepare surveys the series, chooses the window, and puts the objects into groups.
func (a *answer) prepare(ctx context.Context, e *Engine) error {
	a.window = a.Rule.Window.Duration
	if a.Rule.Window.Auto {
		a.window = a.maxWindow
	}
	a.span = a.Rule.Span(a.window)
	if a.span > a.maxWindow {
		return fmt.Errorf("looks back %s, and samples are kept for windows up to %s", a.span, a.maxWindow)
	}
	parsed, err := e.parsed.get(a.Expr(placeholder*time.Millisecond, nil))
	if err != nil {
		return failedExpression(a.Expr(a.window, nil), err)
	}
	a.fixed = !a.Rule.HasWindow() || parsed.extensive
	if !e.indirect && (a.Rule.External || knownBy(a.Rule.ObjectLabel)) {
		a.direct = parsed.direct
	}
	auto := a.Rule.Window.Auto && !a.fixed
	s := surveyor{rule: a.Rule, selectors: parsed.selectors, counting: auto, objects: a.asked(), memory: a.memory}
	s.keeping, s.room = a.direct != nil, e.opts.MaxSamples
	back := reach{ranged: a.span + slackIntervals*a.interval, instant: a.lookback()}
	if err := s.look(ctx, e.data, a.now, back); err != nil {
		return err
	}
	a.survey = &s.survey
	if !s.keeping {
		a.direct = nil
	}
	if auto {
		a.window = chooseWindow(a.now.UnixMilli(), a.maxWindow, a.survey.counters())
		a.span = a.Rule.Span(a.window)
	}
	a.divide()
	return nil
}

// knownBy tells whether all series of a pod are of one object, named by that label.
func knownBy(label string) bool {
	return label == podLabel || label == nodeLabel || label == namespaceLabel
}

// asked are the names of the objects, ascending; nil means all.
func (a *answer) asked() []string {
	if a.Objects == nil || a.Rule.ObjectLabel == "" {
		return nil
	}
	for i := 1; i < len(a.Objects); i++ {
		if a.Objects[i-1] >= a.Objects[i] {
			return slices.Compact(slices.Sorted(slices.Values(a.Objects)))
		}
	}
	return a.Objects
}

func (a *answer) lookback() time.Duration { return lookbackIntervals * a.interval }

// divide puts the objects that have a slot into groups.
func (a *answer) divide() {
	p := planner{
		now: a.now.UnixMilli(), interval: a.interval.Milliseconds(), window: a.window.Milliseconds(), fixed: a.fixed,
		anchored: a.Rule.Window.Auto && a.window < a.maxWindow,
		span:     func(ms int64) int64 { return a.Rule.Span(milliseconds(ms)).Milliseconds() },
	}
	bySlot := map[slot]int{}
	var tracks []track
	a.survey.all(func(_ metric.Object, s *subject) {
		a.objects++
		at := slot{at: p.now}
		if a.span > 0 {
			tracks = s.tracks(tracks[:0])
			ok := false
			if len(tracks) > 0 {
				at, ok = p.plan(tracks)
			}
			if !ok {
				return
			}
		}
		i, known := bySlot[at]
		if !known {
			i = len(a.groups)
			bySlot[at] = i
			a.groups = append(a.groups, group{slot: at})
		}
		s.group = i
		a.groups[i].objects++
	})
}

// ask evaluates the expression for one group and keeps the values.
func (a *answer) ask(ctx context.Context, e *Engine, i int) error {
	g := a.groups[i]
	results, err := a.results(ctx, e, i)
	if err != nil {
		return err
	}
	var span time.Duration
	if a.span > 0 {
		span = a.Rule.Span(milliseconds(g.window))
	}
	a.values = slices.Grow(a.values, g.objects)
	for _, r := range results {
		if err := a.take(r, i, span); err != nil {
			return err
		}
	}
	return nil
}

// results are what the expression gives for a group.
func (a *answer) results(ctx context.Context, e *Engine, i int) ([]result, error) {
	g := a.groups[i]
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if a.direct != nil {
		m := moment{survey: a.survey, memory: a.memory, group: i, at: g.at, window: g.window, lookback: a.lookback().Milliseconds()}
		if results, ok := a.direct.results(&m, a.Rule, a.now.UnixMilli()); ok {
			return results, nil
		}
	}
	text := a.Expr(milliseconds(g.window), a.names(i))
	results, err := e.engine.instant(ctx, text, time.UnixMilli(g.at), a.lookback())
	if err != nil {
		return nil, failedExpression(text, err)
	}
	return results, nil
}

// names are the objects of a group as matchers name them; nil if nothing is to be said about them.
func (a *answer) names(group int) []string {
	n := a.groups[group].objects
	if a.Rule.External || a.Objects == nil && n == a.objects || n > maxNamed {
		return nil
	}
	names := make([]string, 0, n)
	a.survey.all(func(of metric.Object, is *subject) {
		if is.group == group {
			names = append(names, of.Name)
		}
	})
	slices.Sort(names)
	return slices.Compact(names)
}

// take makes a value of one result of a group.
func (a *answer) take(r result, group int, span time.Duration) error {
	v := metric.Value{Value: r.value, Window: span}
	if a.Rule.External {
		v.Time, v.Labels = a.survey.newestOf(r.labels), labelMap(r.labels)
		a.values = append(a.values, v)
		return nil
	}
	var s *subject
	if r.pod != nil {
		v.Object, s = r.pod.object, r.pod.subject
	} else {
		if label := a.missingLabel(r); label != "" {
			return fmt.Errorf("the result %s has no label %s to name its %s", r.labels, label, a.Rule.ObjectLabel)
		}
		v.Object = objectOf(a.Rule, r.labels)
		s = a.survey.find(v.Object)
	}
	switch {
	case s == nil && len(a.Objects) > maxNamed:
		return nil // not asked for
	case s == nil:
		return fmt.Errorf("the result %s names an object that none of its series belongs to", r.labels)
	case s.group != group:
		return nil // it is in another group, and the expression could not tell them apart
	case s.valued:
		return fmt.Errorf("the result has several series for %s %s, such as %s", a.Rule.ObjectLabel, v.Object, r.labels)
	}
	s.valued = true
	v.Time = time.UnixMilli(s.newest)
	a.values = append(a.values, v)
	return nil
}

// missingLabel is the label that a result lacks to name its object, or empty.
func (a *answer) missingLabel(r result) string {
	if a.Rule.Namespaced && !r.labels.Has(namespaceLabel) {
		return namespaceLabel
	}
	if !r.labels.Has(a.Rule.ObjectLabel) {
		return a.Rule.ObjectLabel
	}
	return ""
}

func compareValues(a, b metric.Value) int {
	if c := strings.Compare(a.Object.Namespace, b.Object.Namespace); c != 0 {
		return c
	}
	if c := strings.Compare(a.Object.Name, b.Object.Name); c != 0 {
		return c
	}
	return compareLabels(a.Labels, b.Labels)
}
