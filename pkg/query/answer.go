package query

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"tachometer/pkg/metric"
	"tachometer/pkg/rule"
)

// answer is one evaluation under way.
type answer struct {
	rule.Query
	now                 time.Time
	interval, maxWindow time.Duration

	window time.Duration // in place of $window, for objects that are covered
	span   time.Duration // how far back the expression looks with it; 0 if only at the newest samples
	fixed  bool          // see planner
	survey *survey
	values []metric.Value
	seen   map[subjectKey]struct{} // what has a value
}

// subjectKey is what a value is for: an object, or the labels of an external metric's series.
type subjectKey struct {
	metric.Object
	labels string
}

// prepare surveys the series and chooses the window.
func (a *answer) prepare(ctx context.Context, e *Engine) error {
	a.window = a.Rule.Window.Duration
	if a.Rule.Window.Auto {
		a.window = a.maxWindow
	}
	a.span = a.Rule.Span(a.window)
	if a.span > a.maxWindow {
		return fmt.Errorf("looks back %s, and samples are kept for windows up to %s", a.span, a.maxWindow)
	}
	text := a.Expr(a.window, a.Objects)
	parsed, err := e.parsed.get(text)
	if err != nil {
		return failedExpression(text, err)
	}
	reach := a.span + slackIntervals*a.interval
	a.survey, err = look(ctx, e.data, a.Rule, parsed, a.now, reach, a.lookback())
	if err != nil {
		return err
	}
	a.fixed = !a.Rule.HasWindow() || parsed.extensive
	if !a.fixed && a.Rule.Window.Auto {
		a.window = chooseWindow(candidates(a.interval, a.maxWindow), a.now.UnixMilli(), a.survey.counters)
		a.span = a.Rule.Span(a.window)
	}
	return nil
}

func (a *answer) lookback() time.Duration { return lookbackIntervals * a.interval }

// group is objects that are evaluated together.
type group struct {
	slot
	objects []metric.Object
}

// groups puts the objects that have a slot into groups, the largest first.
func (a *answer) groups() []group {
	p := a.planner()
	bySlot := map[slot]int{}
	var groups []group
	for object, s := range a.survey.subjects {
		at := slot{at: p.now}
		if a.span > 0 {
			ok := false
			if tracks := s.tracks(); len(tracks) > 0 {
				at, ok = p.plan(tracks)
			}
			if !ok {
				continue
			}
		}
		i, known := bySlot[at]
		if !known {
			i = len(groups)
			bySlot[at] = i
			groups = append(groups, group{slot: at})
		}
		groups[i].objects = append(groups[i].objects, object)
	}
	slices.SortFunc(groups, func(a, b group) int { return cmp.Compare(len(b.objects), len(a.objects)) })
	return groups
}

func (a *answer) planner() planner {
	return planner{
		now: a.now.UnixMilli(), interval: a.interval.Milliseconds(), window: a.window.Milliseconds(), fixed: a.fixed,
		span: func(ms int64) int64 { return a.Rule.Span(milliseconds(ms)).Milliseconds() },
	}
}

// ask evaluates the expression for one group and keeps the values.
func (a *answer) ask(ctx context.Context, e *Engine, g group) error {
	window := milliseconds(g.window)
	text := a.Expr(window, a.names(g))
	results, err := e.engine.instant(ctx, text, time.UnixMilli(g.at), a.lookback())
	if err != nil {
		return failedExpression(text, err)
	}
	in := make(map[metric.Object]struct{}, len(g.objects))
	for _, o := range g.objects {
		in[o] = struct{}{}
	}
	var span time.Duration
	if a.span > 0 {
		span = a.Rule.Span(window)
	}
	for _, r := range results {
		if err := a.take(r, in, span); err != nil {
			return err
		}
	}
	return nil
}

// names are the objects of a group as matchers name them; nil if nothing is to be said about them.
func (a *answer) names(g group) []string {
	if a.Rule.External || a.Objects == nil && len(g.objects) == len(a.survey.subjects) {
		return nil
	}
	names := make([]string, 0, len(g.objects))
	for _, o := range g.objects {
		names = append(names, o.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// take makes a value of one result, for a group of the objects in.
func (a *answer) take(r result, in map[metric.Object]struct{}, span time.Duration) error {
	v := metric.Value{Value: r.value, Window: span, Labels: labelMap(r.labels)}
	if a.Rule.External {
		v.Time = a.survey.newestOf(r.labels)
		return a.keep(v, subjectKey{labels: r.labels.String()})
	}
	if label := a.missingLabel(r); label != "" {
		return fmt.Errorf("the result %s has no label %s to name its %s", r.labels, label, a.Rule.ObjectLabel)
	}
	v.Object = objectOf(a.Rule, r.labels)
	subject := a.survey.subjects[v.Object]
	if subject == nil {
		return fmt.Errorf("the result %s names an object that none of its series belongs to", r.labels)
	}
	if _, ok := in[v.Object]; !ok {
		return nil // it has the name of one of the group, in another namespace
	}
	v.Time = time.UnixMilli(subject.newest)
	return a.keep(v, subjectKey{Object: v.Object})
}

// keep adds a value, unless there is one for the same subject.
func (a *answer) keep(v metric.Value, key subjectKey) error {
	if _, twice := a.seen[key]; twice {
		return fmt.Errorf("the result has several series for %s %s, such as %v", a.Rule.ObjectLabel, v.Object, v.Labels)
	}
	if a.seen == nil {
		a.seen = make(map[subjectKey]struct{}, len(a.survey.subjects))
	}
	a.seen[key] = struct{}{}
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
	return cmp.Or(
		strings.Compare(a.Object.Namespace, b.Object.Namespace),
		strings.Compare(a.Object.Name, b.Object.Name),
		compareLabels(a.Labels, b.Labels),
	)
}
