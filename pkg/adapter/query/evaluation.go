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

// maxNamedObjects is how many objects an expression names. Where more are asked for it is evaluated for all there are, and
// the others are left out: a regular expression of a thousand names costs more than their neighbours' samples, and
// beyond 256 names Prometheus's matchers no longer say which these are.
const maxNamedObjects = 200

// evaluation is one evaluation under way.
type evaluation struct {
	rule.Query
	now                 time.Time
	interval, maxWindow time.Duration

	window      time.Duration // in place of $window, for objects that are covered
	span        time.Duration // how far back the expression looks with it; 0 if only at the newest samples
	fixedWindow bool          // see planner
	fastPath    *fastPath     // computes it; nil where the engine has to
	buffers     *evalBuffers
	scan        *seriesScan
	evalGroups  []evalGroup
	values      []metric.Value
	// objectCount is how many there are, with a slot or without.
	objectCount int
}

// evalGroup is objects that are evaluated together.
type evalGroup struct {
	evalPoint
	objectCount int
}

// prepareGroups surveys the series, chooses the window, and puts the objects into groups.
func (a *evaluation) prepareGroups(ctx context.Context, e *Engine) error {
	a.window = a.Rule.Window.Duration
	if a.Rule.Window.Auto {
		a.window = a.maxWindow
	}
	a.span = a.Rule.Span(a.window)
	if a.span > a.maxWindow {
		return fmt.Errorf("looks back %s, and samples are kept for windows up to %s", a.span, a.maxWindow)
	}
	parsed, err := e.expressions.getOrParse(a.Expr(placeholderMillis*time.Millisecond, nil))
	if err != nil {
		return wrapExpressionError(a.Expr(a.window, nil), err)
	}
	a.fixedWindow = !a.Rule.HasWindow() || parsed.extensive
	if !e.disableFastPath && (a.Rule.External || isPodOriginLabel(a.Rule.ObjectLabel)) {
		a.fastPath = parsed.fastPath
	}
	auto := a.Rule.Window.Auto && !a.fixedWindow
	s := seriesScanner{rule: a.Rule, selectors: parsed.selectors, countEvents: auto, objectNames: a.sortedObjectNames(), evalBuffers: a.buffers}
	s.keepSamples, s.samplesLeft = a.fastPath != nil, e.opts.MaxSamples
	back := scanReach{ranged: a.span + slackIntervals*a.interval, instant: a.instantLookback()}
	if err := s.scanSeries(ctx, e.data, a.now, back); err != nil {
		return err
	}
	a.scan = &s.seriesScan
	if !s.keepSamples {
		a.fastPath = nil
	}
	if auto {
		a.window = chooseWindow(a.now.UnixMilli(), a.maxWindow, a.scan.eventHistories())
		a.span = a.Rule.Span(a.window)
	}
	a.groupObjects()
	return nil
}

// isPodOriginLabel tells whether all series of a pod are of one object, named by that label.
func isPodOriginLabel(label string) bool {
	return label == podLabel || label == nodeLabel || label == namespaceLabel
}

// sortedObjectNames are the names of the objects, ascending; nil means all.
func (a *evaluation) sortedObjectNames() []string {
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

func (a *evaluation) instantLookback() time.Duration { return lookbackIntervals * a.interval }

// groupObjects puts the objects that have a slot into groups.
func (a *evaluation) groupObjects() {
	p := pointPlanner{
		now: a.now.UnixMilli(), interval: a.interval.Milliseconds(), window: a.window.Milliseconds(), fixedWindow: a.fixedWindow,
		anchored: a.Rule.Window.Auto && a.window < a.maxWindow,
		span:     func(ms int64) int64 { return a.Rule.Span(millisDuration(ms)).Milliseconds() },
	}
	bySlot := map[evalPoint]int{}
	var tracks []sampleTimes
	a.scan.forEachObject(func(_ metric.Object, s *scannedObject) {
		a.objectCount++
		at := evalPoint{at: p.now}
		if a.span > 0 {
			tracks = s.appendSampleTimes(tracks[:0])
			ok := false
			if len(tracks) > 0 {
				at, ok = p.planPoint(tracks)
			}
			if !ok {
				return
			}
		}
		i, known := bySlot[at]
		if !known {
			i = len(a.evalGroups)
			bySlot[at] = i
			a.evalGroups = append(a.evalGroups, evalGroup{evalPoint: at})
		}
		s.groupIndex = i
		a.evalGroups[i].objectCount++
	})
}

// evaluateGroup evaluates the expression for one group and keeps the values.
func (a *evaluation) evaluateGroup(ctx context.Context, e *Engine, i int) error {
	g := a.evalGroups[i]
	results, err := a.computeGroupResults(ctx, e, i)
	if err != nil {
		return err
	}
	var span time.Duration
	if a.span > 0 {
		span = a.Rule.Span(millisDuration(g.window))
	}
	a.values = slices.Grow(a.values, g.objectCount)
	for _, r := range results {
		if err := a.addResultValue(r, i, span); err != nil {
			return err
		}
	}
	return nil
}

// computeGroupResults are what the expression gives for a group.
func (a *evaluation) computeGroupResults(ctx context.Context, e *Engine, i int) ([]evalResult, error) {
	g := a.evalGroups[i]
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if a.fastPath != nil {
		m := formulaInput{seriesScan: a.scan, evalBuffers: a.buffers, groupIndex: i, at: g.at, window: g.window, lookback: a.instantLookback().Milliseconds()}
		if results, ok := a.fastPath.computeResults(&m, a.Rule, a.now.UnixMilli()); ok {
			return results, nil
		}
	}
	text := a.Expr(millisDuration(g.window), a.groupObjectNames(i))
	results, err := e.promqlEngine.queryInstant(ctx, text, time.UnixMilli(g.at), a.instantLookback())
	if err != nil {
		return nil, wrapExpressionError(text, err)
	}
	return results, nil
}

// groupObjectNames are the objects of a group as matchers name them; nil if nothing is to be said about them.
func (a *evaluation) groupObjectNames(group int) []string {
	n := a.evalGroups[group].objectCount
	if a.Rule.External || a.Objects == nil && n == a.objectCount || n > maxNamedObjects {
		return nil
	}
	names := make([]string, 0, n)
	a.scan.forEachObject(func(of metric.Object, is *scannedObject) {
		if is.groupIndex == group {
			names = append(names, of.Name)
		}
	})
	slices.Sort(names)
	return slices.Compact(names)
}

// addResultValue makes a value of one result of a group.
func (a *evaluation) addResultValue(r evalResult, group int, span time.Duration) error {
	v := metric.Value{Value: r.value, Window: span}
	if a.Rule.External {
		v.Time, v.Labels = a.scan.newestSampleTime(r.labels), resultLabelMap(r.labels)
		a.values = append(a.values, v)
		return nil
	}
	var s *scannedObject
	if r.pod != nil {
		v.Object, s = r.pod.object, r.pod.scannedObject
	} else {
		if label := a.missingObjectLabel(r); label != "" {
			return fmt.Errorf("the result %s has no label %s to name its %s", r.labels, label, a.Rule.ObjectLabel)
		}
		v.Object = objectFromLabels(a.Rule, r.labels)
		s = a.scan.findObject(v.Object)
	}
	switch {
	case s == nil && len(a.Objects) > maxNamedObjects:
		return nil // not asked for
	case s == nil:
		return fmt.Errorf("the result %s names an object that none of its series belongs to", r.labels)
	case s.groupIndex != group:
		return nil // it is in another group, and the expression could not tell them apart
	case s.hasValue:
		return fmt.Errorf("the result has several series for %s %s, such as %s", a.Rule.ObjectLabel, v.Object, r.labels)
	}
	s.hasValue = true
	v.Time = time.UnixMilli(s.newest)
	a.values = append(a.values, v)
	return nil
}

// missingObjectLabel is the label that a result lacks to name its object, or empty.
func (a *evaluation) missingObjectLabel(r evalResult) string {
	if a.Rule.Namespaced && !r.labels.Has(namespaceLabel) {
		return namespaceLabel
	}
	if !r.labels.Has(a.Rule.ObjectLabel) {
		return a.Rule.ObjectLabel
	}
	return ""
}

func compareMetricValues(a, b metric.Value) int {
	if c := strings.Compare(a.Object.Namespace, b.Object.Namespace); c != 0 {
		return c
	}
	if c := strings.Compare(a.Object.Name, b.Object.Name); c != 0 {
		return c
	}
	return compareLabelMaps(a.Labels, b.Labels)
}
