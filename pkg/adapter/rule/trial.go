// Trial evaluations: a rule's expression on made-up series and on none, with Prometheus's engine, when it loads.

package rule

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
)

const (
	// trialTimeout and maxTrialSamples bound a trial. A trial that exceeds them says nothing about the rule.
	trialTimeout    = 10 * time.Second
	maxTrialSamples = 1_000_000
	// maxTrialSeriesSamples bounds the samples of a made-up series.
	maxTrialSeriesSamples = 200
)

// trialTime is the time of a trial.
var trialTime = time.Unix(1_700_000_000, 0)

// tryRuleExpression returns the faults of an expression for the embedded backend that only an evaluation shows: an error, and a
// value without any series, such as of absent(…) or `or vector(0)`. The backend gives values of series only, so that such
// a value is never served. Of any backend it returns the fault of rejectAbsenceCall.
func (c *compiledRule) tryRuleExpression(ctx context.Context, r *Rule) []keyError {
	if r == nil {
		return nil
	}
	window := r.Window.Duration
	if window == 0 {
		window = c.limits.maxWindow
	}
	expr := Query{Rule: r}.Expr(window, nil)
	if r.Backend != config.ScrapeBackend {
		return rejectAbsenceCall(r, expr)
	}
	if _, err := evaluateExprTrial(ctx, expr, trialWorld{made: true, interval: c.limits.interval}); err != nil {
		return newKeyErrorsf("query", "fails when it is evaluated: %w", err)
	}
	values, err := evaluateExprTrial(ctx, expr, trialWorld{interval: c.limits.interval})
	if err == nil && values > 0 {
		return newKeyErrorsf("query", "has a value where there are no series, as absent(…) and `or vector(…)` do; the backend %s "+
			"serves values of series only; write onMissing: {value: NUMBER}", c.spec.Backend)
	}
	return rejectAbsenceCall(r, expr)
}

// rejectAbsenceCall returns the fault of absent(…) in a rule for objects: the adapter's matchers hide the series of all objects but the
// requested ones.
func rejectAbsenceCall(r *Rule, expr string) []keyError {
	t, err := parseRuleExpr(expr)
	if err != nil || r.External {
		return nil
	}
	if function := t.findAbsenceCall(""); function != "" {
		return newKeyErrorsf("query", "%s(…) reads only the series of the requested objects, so that it has a value although others have the series; "+
			"write `unless on (%s)` in place of it, or external: true", function, strings.Join(r.listWantedLabels(), ", "))
	}
	return nil
}

// evaluateExprTrial evaluates an expression in a world and returns the number of its results. It returns no error for a trial
// that takes too long.
func evaluateExprTrial(ctx context.Context, expr string, w trialWorld) (values int, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			values, err = 0, fmt.Errorf("panic: %v", fault)
		}
	}()
	engine := promql.NewEngine(promql.EngineOpts{
		MaxSamples: maxTrialSamples, Timeout: trialTimeout, EnableAtModifier: true, EnableNegativeOffset: true,
		NoStepSubqueryIntervalFn: func(int64) int64 { return w.interval.Milliseconds() },
		Parser:                   parser.NewParser(parser.Options{}),
	})
	q, err := engine.NewInstantQuery(ctx, w, promql.NewPrometheusQueryOpts(false, time.Minute), expr, trialTime)
	if err != nil {
		return 0, err
	}
	defer q.Close()
	result := q.Exec(ctx)
	if isExprTrialTooLong(result.Err) {
		return 0, nil
	}
	if v, ok := result.Value.(promql.Vector); ok {
		values = len(v)
	}
	return values, result.Err
}

func isExprTrialTooLong(err error) bool {
	var timeout promql.ErrQueryTimeout
	var canceled promql.ErrQueryCanceled
	var samples promql.ErrTooManySamples
	return errors.As(err, &timeout) || errors.As(err, &canceled) || errors.As(err, &samples)
}

// trialWorld is a storage with a made-up series, or a histogram, for each selector of an expression; without any series
// unless made.
type trialWorld struct {
	made     bool
	interval time.Duration
}

var _ storage.Queryable = trialWorld{}

// Querier implements storage.Queryable.
func (w trialWorld) Querier(mint, maxt int64) (storage.Querier, error) {
	return exprTrialQuerier{world: w, mint: mint, maxt: maxt}, nil
}

type exprTrialQuerier struct {
	world      trialWorld
	mint, maxt int64 // milliseconds
}

// LabelValues implements storage.Querier.
func (q exprTrialQuerier) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

// LabelNames implements storage.Querier.
func (q exprTrialQuerier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

// Close implements storage.Querier.
func (q exprTrialQuerier) Close() error { return nil }

// Select implements storage.Querier.
func (q exprTrialQuerier) Select(_ context.Context, _ bool, _ *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	l, ok := makeExprTrialLabels(matchers)
	if !ok || !q.world.made {
		return storage.EmptySeriesSet()
	}
	set := &exprTrialSeriesSet{}
	bounds := []string{""}
	if strings.HasSuffix(l.Get(model.MetricNameLabel), "_bucket") && !l.Has(model.BucketLabel) {
		bounds = []string{"0.1", "1", "+Inf"}
	}
	for i, bound := range bounds {
		series := promql.Series{Metric: l, Floats: q.makeTrialSamples(float64(i + 1))}
		if bound != "" {
			series.Metric = labels.NewBuilder(l).Set(model.BucketLabel, bound).Labels()
		}
		set.all = append(set.all, promql.NewStorageSeries(series))
	}
	return set
}

// makeTrialSamples returns samples of a counter, the newest at the end.
func (q exprTrialQuerier) makeTrialSamples(perSecond float64) []promql.FPoint {
	var points []promql.FPoint
	step := max(1, q.world.interval.Milliseconds())
	for t := q.maxt; t >= q.mint && len(points) < maxTrialSeriesSamples; t -= step {
		age := time.Duration(trialTime.UnixMilli()-t) * time.Millisecond
		points = append(points, promql.FPoint{T: t, F: perSecond * max(0, 1e6-age.Seconds())})
	}
	slices.Reverse(points)
	return points
}

// makeExprTrialLabels returns the labels of a series that all matchers match; false if it finds none.
func makeExprTrialLabels(matchers []*labels.Matcher) (labels.Labels, bool) {
	b := labels.NewBuilder(labels.FromStrings("namespace", "x", "pod", "x", "node", "x"))
	for _, m := range matchers {
		if !m.Matches(b.Get(m.Name)) {
			b.Set(m.Name, makeTrialLabelValue(m))
		}
	}
	l := b.Labels()
	for _, m := range matchers {
		if !m.Matches(l.Get(m.Name)) {
			return l, false
		}
	}
	return l, true
}

func makeTrialLabelValue(m *labels.Matcher) string {
	if m.Type == labels.MatchEqual {
		return m.Value
	}
	candidates := []string{"x", "1", strconv.Itoa(math.MaxInt16), m.Value + "x", ""}
	if m.Type == labels.MatchRegexp {
		candidates = append(m.SetMatches(), makeRegexpExample(m.Value))
	}
	for _, value := range candidates {
		if m.Matches(value) {
			return value
		}
	}
	return ""
}

// exprTrialSeriesSet is a storage.SeriesSet of series in memory.
type exprTrialSeriesSet struct {
	all     []storage.Series
	current storage.Series
}

// Next implements storage.SeriesSet.
func (s *exprTrialSeriesSet) Next() bool {
	if len(s.all) == 0 {
		return false
	}
	s.current, s.all = s.all[0], s.all[1:]
	return true
}

// At implements storage.SeriesSet.
func (s *exprTrialSeriesSet) At() storage.Series { return s.current }

// Err implements storage.SeriesSet.
func (s *exprTrialSeriesSet) Err() error { return nil }

// Warnings implements storage.SeriesSet.
func (s *exprTrialSeriesSet) Warnings() annotations.Annotations { return nil }
