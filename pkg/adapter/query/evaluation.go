// One evaluation: scan the series, choose the window, group the objects, compute their values.

package query

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/window"
)

// maxNamedObjects bounds the objects named in an expression. Beyond it the expression covers all objects, and the
// evaluation drops the others. A regular expression of a thousand names costs more than their neighbours' samples, and
// beyond 256 names Prometheus's matchers no longer list their names.
const maxNamedObjects = 200

// evaluation is the state of one evaluation.
type evaluation struct {
	rule.Query
	now                 time.Time
	interval, maxWindow time.Duration
	scrapeInterval      time.Duration // of new samples: interval, or less after a change
	newestInterval      time.Duration // see newestSampleInterval

	window      time.Duration // replaces $window for objects with samples that cover it
	span        time.Duration // how far back the expression looks; 0 if it reads only the newest samples
	fixedWindow bool          // see pointPlanner
	filters     string        // see parsedExpression
	// mixedIntervals is set while the store has samples from before a change of the scrape interval: pods have steps of different lengths.
	mixedIntervals bool
	moved          bool      // all objects have one evalPoint, over a common stretch
	fastPath       *fastPath // computes the expression; nil if only the engine can
	buffers        *evalBuffers
	scan           *evaluationScan
	selectors      []exprSelector
	evalGroups     []evalGroup
	values         []metric.Value
	missing        []metric.Omission // the pods that a sum lacks
	// objectCount is the number of objects, with an evalPoint or without.
	objectCount int
}

// evalGroup is a group of objects with a common evalPoint.
type evalGroup struct {
	evalPoint
	objectCount int
}

// preparePromQLQuery scans the series, chooses the window, and groups the objects.
func (ev *evaluation) preparePromQLQuery(ctx context.Context, e *Engine) error {
	ev.window = ev.Rule.Window.Duration
	if ev.Rule.Window.Auto {
		ev.window = ev.maxWindow
	}
	ev.span = ev.Rule.Span(ev.window)
	if ev.span > ev.maxWindow {
		return fmt.Errorf("looks back %s, and samples are kept for windows up to %s", ev.span, ev.maxWindow)
	}
	parsed, err := e.expressions.getOrParsePromQLExpression(ev.Namespace, ev.Expr(placeholderMillis*time.Millisecond, nil), !ev.Reviewed)
	if err != nil {
		return wrapPromQLError(ev.Expr(ev.window, nil), err)
	}
	ev.fixedWindow, ev.filters = !ev.Rule.HasWindow() || parsed.extensive, parsed.filters
	if !e.disableFastPath && (ev.Rule.External || isPodLabel(ev.Rule.ObjectLabel)) {
		ev.fastPath = parsed.fastPath
	}
	auto := ev.Rule.Window.Auto && !ev.fixedWindow
	ev.selectors = parsed.selectors
	s := evaluationScanner{rule: ev.Rule, selectors: parsed.selectors, countEvents: auto || ev.mustFindLoadMoves(), objectNames: ev.sortedQueryObjects(), evalBuffers: ev.buffers}
	s.keepSamples, s.samplesLeft, s.maxSamples = ev.fastPath != nil || ev.span > 0 || parsed.mergesBuckets(), e.opts.MaxSamples, e.opts.MaxSamples
	s.interval = ev.interval.Milliseconds()
	if ev.Reviewed {
		s.budget = &reviewSampleBudget{cost: ev.Rule.EvaluationCost()}
	}
	moved, err := ev.scanQueryGroup(ctx, e, &s)
	if err != nil {
		return err
	}
	if !s.keepSamples {
		ev.fastPath = nil
	}
	ev.omitPodsWithWrongCounters()
	ev.omitUnboundedHistograms()
	if err := ev.planQueryGroups(&s, auto, moved); err != nil {
		return err
	}
	return ev.podsMissingFromQueryError()
}

// scanQueryGroup scans the series, and reports whether load moved between their pods. Then it scans all that the store has: behind a
// pause of a pod, its last sample before tells its count, and a window may become so short that it has too few events.
func (ev *evaluation) scanQueryGroup(ctx context.Context, e *Engine, s *evaluationScanner) (moved bool, err error) {
	reach := ev.scanReachOfWindow()
	if err := s.scanQuerySeries(ctx, e.data, ev.now, reach); err != nil {
		return false, err
	}
	ev.scan = &s.evaluationScan
	ev.markSilentPods()
	ev.noteUnseenQueriedPods()
	moved = ev.span > 0 && ev.groupLoadMoved()
	if all := Retention(ev.maxWindow, ev.interval); moved && (reach.ranged < all || !s.countEvents) {
		reach.ranged, s.countEvents = max(reach.ranged, all), true
		if err := s.scanQuerySeries(ctx, e.data, ev.now, reach); err != nil {
			return false, err
		}
		ev.markSilentPods()
		ev.noteUnseenQueriedPods()
	}
	if !moved && !s.countEvents && ev.span > 0 && !ev.fixedWindow && ev.hasLateScannedPod() { // see findLoadMoveBetweenPods
		s.countEvents = true
		if err := s.scanQuerySeries(ctx, e.data, ev.now, reach); err != nil {
			return false, err
		}
		ev.markSilentPods()
	}
	ev.noteReadinessOfQueriedPods()
	return moved, nil
}

// noteUnseenQueriedPods notes the counts that no page shows as a hole.
func (ev *evaluation) noteUnseenQueriedPods() {
	if unseen := (timeSpan{ev.Unseen.From.UnixMilli(), ev.Unseen.To.UnixMilli()}); unseen.to > ev.scan.since {
		ev.scan.holes, ev.scan.hasEnded = append(ev.scan.holes, unseen), true
	}
}

// noteReadinessOfQueriedPods notes when pods became ready, or stopped being ready.
func (ev *evaluation) noteReadinessOfQueriedPods() {
	if len(ev.Readied)+len(ev.Unreadied) == 0 {
		return
	}
	for _, p := range ev.scan.orderedPods {
		pod := metric.Object{Namespace: p.labels.Get(namespaceLabel), Name: p.labels.Get(podLabel)}
		if at, ok := ev.Readied[pod]; ok {
			p.readied = at.UnixMilli()
		}
		if at, ok := ev.Unreadied[pod]; ok {
			p.unreadied = at.UnixMilli()
		}
	}
}

const (
	// shortWindowIntervals is the length of a fixed window, in scrape intervals, in which a missing scrape leaves few increments.
	shortWindowIntervals = 5
	// maxEdgeIntervals is the length of a fixed window, in scrape intervals, up to which the edges of the pods' own windows matter: load
	// that moves from pod to pod is counted twice, or not at all, for up to an interval.
	maxEdgeIntervals = 10
)

// mustFindLoadMoves reports whether the window is so short that load which moves between pods must be found.
func (ev *evaluation) mustFindLoadMoves() bool {
	return !ev.Rule.Window.Auto && !ev.fixedWindow && ev.window <= maxEdgeIntervals*ev.interval
}

// planQueryGroups chooses the window and groups the objects.
func (ev *evaluation) planQueryGroups(s *evaluationScanner, auto, moved bool) error {
	if moved && auto && ev.groupLoadSteppedSinceMove(s) {
		ev.groupQueryObjects()
		return nil
	}
	if moved {
		if longest := ev.span + slackIntervals*ev.interval; ev.hasLateScannedPod() {
			if since, shared := ev.findLoadMoveBetweenPods(longest, longest, ev.scan.selectorHistories()); !shared {
				ev.noteLoadMove(since)
			}
		}
		return ev.planMovedGroup(s, auto)
	}
	if s.countEvents {
		counters, longest := ev.scan.selectorHistories(), ev.span+slackIntervals*ev.interval
		if auto {
			counters, longest = append(counters, ev.scan.quantileHistories(s.selectors)...), ev.maxWindow
		}
		chosen, shared := longest, true
		if auto || ev.mustFindLoadMoves() {
			chosen, shared = chooseQueryWindow(ev.now.UnixMilli(), longest, counters, window.Choose)
		}
		if shared && (ev.hasLateScannedPod() || ev.mustFindLoadMoves()) {
			chosen, shared = ev.findLoadMoveBetweenPods(chosen, longest, counters)
		}
		if !shared && s.keepSamples {
			ev.noteLoadMove(chosen) // a pod that is late may have lost its load, or have got more
			return ev.planMovedGroup(s, auto)
		}
		if auto {
			ev.window = chosen
			ev.span = ev.Rule.Span(ev.window)
		}
	}
	ev.groupQueryObjects()
	return nil
}

// noteLoadMove notes that load moved so long ago.
func (ev *evaluation) noteLoadMove(ago time.Duration) {
	if began := ev.now.Add(-ago); began.After(ev.MovedAt) {
		ev.MovedAt = began
	}
}

// scanReachOfWindow returns how far back the scan looks. For sums it looks for series that go on without a fresh sample.
func (ev *evaluation) scanReachOfWindow() scanReach {
	reach := scanReach{ranged: ev.span + slackIntervals*ev.interval, instant: ev.promQLSelectorLookback()}
	if ev.querySumsPods() {
		reach.instant = max(reach.instant, Retention(ev.maxWindow, ev.interval))
	}
	return reach
}

// interpolatesRangeEnds reports whether rates and increases are those between the ends of their ranges, by interpolation. PromQL
// extrapolates each series by its own mean: a counter that begins within the range, beside one whose events it takes over,
// would make the sum too low. So does a counter that stood at zero, beyond which PromQL does not extrapolate. A window that begins at a change
// has increments from before it at its begin, which only the extrapolation leaves out.
func (ev *evaluation) interpolatesRangeEnds() bool {
	return ev.moved || ev.scan.hasBegun || ev.scan.hasWoken && !ev.windowBeginsAtLoadChange()
}

// windowBeginsAtLoadChange reports whether the window begins at a change of the load.
func (ev *evaluation) windowBeginsAtLoadChange() bool {
	return ev.Rule.Window.Auto && ev.window < ev.maxWindow
}

// isPodLabel returns whether this label names the same object for all series of a pod.
func isPodLabel(label string) bool {
	return label == podLabel || label == nodeLabel || label == namespaceLabel
}

// sortedQueryObjects returns the names of the objects, ascending; nil means all.
func (ev *evaluation) sortedQueryObjects() []string {
	if ev.Objects == nil || ev.Rule.ObjectLabel == "" {
		return nil
	}
	for i := 1; i < len(ev.Objects); i++ {
		if ev.Objects[i-1] >= ev.Objects[i] {
			return slices.Compact(slices.Sorted(slices.Values(ev.Objects)))
		}
	}
	return ev.Objects
}

// promQLSelectorLookback returns the greatest age of a sample for a selector without range: the rule's maxAge, so that an older
// sample is omitted for its age and never taken for none. PromQL leaves out a sample as old as the look-back.
func (ev *evaluation) promQLSelectorLookback() time.Duration {
	return min(max(lookbackIntervals*ev.interval, ev.Rule.MaxAge)+time.Millisecond, Retention(ev.maxWindow, ev.interval))
}

// groupQueryObjects groups the objects by their evalPoints. Objects without an evalPoint are in no group.
func (ev *evaluation) groupQueryObjects() {
	p := pointPlanner{
		now: ev.now.UnixMilli(), interval: ev.interval.Milliseconds(), window: ev.window.Milliseconds(), fixedWindow: ev.fixedWindow,
		anchored: ev.windowBeginsAtLoadChange(),
		span:     func(ms int64) int64 { return ev.Rule.Span(evalMillisToDuration(ms)).Milliseconds() },
	}
	byPoint := map[evalPoint]int{}
	var podTimes []evaluatedTimes
	ev.scan.forEachScannedObject(func(_ metric.Object, s *evaluatedObject) {
		ev.objectCount++
		if s.hasValue {
			return // omitted
		}
		at := evalPoint{at: p.now}
		if ev.span > 0 {
			podTimes = s.appendShortestSampleTimes(podTimes[:0])
			ok := false
			if len(podTimes) > 0 {
				at, ok = p.planQueryEvalPoint(podTimes)
			}
			if !ok {
				return
			}
		}
		i, known := byPoint[at]
		if !known {
			i = len(ev.evalGroups)
			byPoint[at] = i
			ev.evalGroups = append(ev.evalGroups, evalGroup{evalPoint: at})
		}
		s.groupIndex = i
		ev.evalGroups[i].objectCount++
	})
}

// evaluateQueryGroup evaluates the expression for a group and adds its values.
func (ev *evaluation) evaluateQueryGroup(ctx context.Context, e *Engine, i int) error {
	g := ev.evalGroups[i]
	results, err := ev.computeQueryResults(ctx, e, i)
	if err != nil {
		return err
	}
	var span time.Duration
	if ev.span > 0 {
		span = ev.Rule.Span(evalMillisToDuration(g.window))
	}
	ev.values = slices.Grow(ev.values, g.objectCount)
	for _, r := range results {
		if err := ev.addQueryResult(r, i, span); err != nil {
			return err
		}
	}
	if ev.filters == "" || ev.Reviewed {
		return nil
	}
	return ev.omitComparedQueryObjects(ctx, e, i)
}

// computeQueryResults returns the results of the expression for a group.
func (ev *evaluation) computeQueryResults(ctx context.Context, e *Engine, i int) ([]evalResult, error) {
	g := ev.evalGroups[i]
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if ev.fastPath != nil {
		in := fastPathInput{evaluationScan: ev.scan, evalBuffers: ev.buffers, groupIndex: i, at: g.at, window: g.window, lookback: ev.promQLSelectorLookback().Milliseconds()}
		in.now, in.interval, in.interpolatesRangeEnds = ev.now.UnixMilli(), ev.interval.Milliseconds(), ev.interpolatesRangeEnds()
		if results, ok := ev.fastPath.computePromQLFastPath(&in, ev.Rule); ok {
			return results, nil
		}
	}
	return ev.queryWithPromQLEngine(ctx, e, i, ev.Expr(evalMillisToDuration(g.window), ev.queryGroupObjectNames(i)))
}

// queryWithPromQLEngine returns the results of an expression for a group from Prometheus's engine.
func (ev *evaluation) queryWithPromQLEngine(ctx context.Context, e *Engine, i int, text string) ([]evalResult, error) {
	g, engine := ev.evalGroups[i], e.choosePromQLEngine(ev.Query)
	if ev.interpolatesRangeEnds() {
		engine = engine.promQLOverCommonStretch(ev.scan, ev.now.UnixMilli(), ev.interval.Milliseconds())
	}
	results, err := engine.queryPromQLEngine(ctx, text, time.UnixMilli(g.at), ev.promQLSelectorLookback())
	if err != nil {
		return nil, wrapPromQLError(text, err)
	}
	return results, nil
}

// queryGroupObjectNames returns the names of a group's objects for matchers; nil if the expression needs no such matcher.
func (ev *evaluation) queryGroupObjectNames(group int) []string {
	n := ev.evalGroups[group].objectCount
	if ev.Rule.External || ev.Objects == nil && n == ev.objectCount || n > maxNamedObjects {
		return nil
	}
	names := make([]string, 0, n)
	ev.scan.forEachScannedObject(func(object metric.Object, scanned *evaluatedObject) {
		if scanned.groupIndex == group {
			names = append(names, object.Name)
		}
	})
	slices.Sort(names)
	return slices.Compact(names)
}

// addQueryResult adds the value of a group's result.
func (ev *evaluation) addQueryResult(r evalResult, group int, span time.Duration) error {
	v := metric.Value{Value: r.value, Window: span}
	if math.IsNaN(r.value) && ev.resultCountsNoEvents(r, ev.evalGroups[group].at, span) {
		v.Detail = "no events in " + span.Round(time.Second).String()
	}
	if ev.Rule.External {
		v.Labels = listEvaluatedLabels(r.labels)
		ev.setQueryValueTime(&v, ev.scan.newestQuerySample(r.labels), ev.evalGroups[group].at)
		ev.values = append(ev.values, v)
		return nil
	}
	var s *evaluatedObject
	if r.pod != nil {
		v.Object, s = r.pod.object, r.pod.scannedObject
	} else {
		if label := ev.missingQueryResultLabel(r); label != "" {
			return fmt.Errorf("the result %s has no label %s to name its %s", r.labels, label, ev.Rule.ObjectLabel)
		}
		v.Object = findEvaluatedObject(ev.Rule, r.labels)
		s = ev.scan.findScannedObject(v.Object)
	}
	switch {
	case s == nil && (len(ev.Objects) > maxNamedObjects || ev.moved):
		return nil // not requested, or it ended since the end of the stretch
	case s == nil:
		return fmt.Errorf("the result %s names an object that none of its series belongs to", r.labels)
	case s.groupIndex != group:
		return nil // it is in another group, and the expression could not separate them
	case s.hasValue && ev.Rule.NonAdditive != "":
		return ev.Rule.NewSeriesSumError(r.labels.String())
	case s.hasValue:
		return fmt.Errorf("the result has several series for %s %s, such as %s", ev.Rule.ObjectLabel, v.Object, r.labels)
	}
	s.hasValue = true
	v.Ended = s.haveObjectSeriesEnded()
	ev.setQueryValueTime(&v, time.UnixMilli(s.newest), ev.evalGroups[group].at)
	if ev.moved {
		v.Window = min(span, s.objectCountsKnownFor(v.Time.UnixMilli()))
	}
	ev.values = append(ev.values, v)
	return nil
}

// setQueryValueTime sets the end of a value's window: the newest sample, or the earlier end of a common stretch.
func (ev *evaluation) setQueryValueTime(v *metric.Value, newest time.Time, end int64) {
	v.Time = newest
	if ev.moved && end < newest.UnixMilli() {
		v.Time, v.Lag = time.UnixMilli(end), newest.Sub(time.UnixMilli(end))
	}
}

// resultCountsNoEvents reports whether the counters behind a result have no events within the span before at, as behind a quantile of nothing.
func (ev *evaluation) resultCountsNoEvents(r evalResult, at int64, span time.Duration) bool {
	within, counters := countedRange{from: at - span.Milliseconds(), to: at, interval: ev.interval.Milliseconds()}, 0
	for _, series := range ev.scan.seriesBySelector {
		for i := range series {
			s := &series[i]
			if !s.isCounter || r.pod != nil && s.pod != r.pod || r.pod == nil && !hasEvaluatedLabels(r.labels, s.labels) {
				continue
			}
			if n, _ := increaseBetweenSamples(s.times, s.values, within); n != 0 {
				return false
			}
			counters++
		}
	}
	return counters > 0
}

// missingQueryResultLabel returns the label that a result lacks to name its object, or an empty string.
func (ev *evaluation) missingQueryResultLabel(r evalResult) string {
	if ev.Rule.Namespaced && !r.labels.Has(namespaceLabel) {
		return namespaceLabel
	}
	if !r.labels.Has(ev.Rule.ObjectLabel) {
		return ev.Rule.ObjectLabel
	}
	return ""
}

func compareQueryValues(a, b metric.Value) int {
	if c := strings.Compare(a.Object.Namespace, b.Object.Namespace); c != 0 {
		return c
	}
	if c := strings.Compare(a.Object.Name, b.Object.Name); c != 0 {
		return c
	}
	return compareEvaluatedLabels(a.Labels, b.Labels)
}
