// Prometheus's own engine, wrapped in this file alone.

package query

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// promqlEngine evaluates expressions with Prometheus's engine.
type promqlEngine struct {
	promql *promql.Engine
	data   storage.Queryable
}

// evalResult is an element of an instant vector. A scalar has no labels.
type evalResult struct {
	labels labels.Labels
	value  float64
	// pod is set if the pod, and not the labels, names the object of the result. The labels are then the labels of a
	// series behind the result.
	pod *evaluatedPod
}

func (e *Engine) choosePromQLEngine(q rule.Query) *promqlEngine {
	if q.Reviewed {
		return e.reviewEngine
	}
	return e.promqlEngine
}

// promQLOverCommonStretch returns the engine with rates and increases between the ends of their ranges, from the samples of
// a scan until until, in milliseconds; see commonstretch.go.
func (e *promqlEngine) promQLOverCommonStretch(s *evaluationScan, until, interval int64) *promqlEngine {
	pods := map[metric.Object]*evaluatedPod{}
	for _, p := range s.orderedPods {
		pods[metric.Object{Namespace: p.labels.Get(namespaceLabel), Name: p.labels.Get(podLabel)}] = p
	}
	return &promqlEngine{promql: e.promql, data: stretchQueryable{
		data: e.data, since: s.since, until: until, interval: interval, edgeCounts: s.edgeCounts,
		pod: func(l labels.Labels) *evaluatedPod {
			return pods[metric.Object{Namespace: l.Get(namespaceLabel), Name: l.Get(podLabel)}]
		},
	}}
}

// newPromQLEngine returns an engine over data. A subquery without a step has step: the scrape interval.
func newPromQLEngine(data storage.Queryable, maxSamples int, timeout time.Duration, step func() time.Duration) *promqlEngine {
	return &promqlEngine{data: data, promql: promql.NewEngine(promql.EngineOpts{
		// No registerer: the engine would name its metrics prometheus_engine_*.
		MaxSamples: maxSamples,
		Timeout:    timeout,
		// As in Prometheus, so that an expression has the same meaning in both.
		EnableAtModifier:         true,
		NoStepSubqueryIntervalFn: func(int64) int64 { return step().Milliseconds() },
		EnableNegativeOffset:     true,
		Parser:                   newPromQLParser(),
	})}
}

// queryPromQLEngine evaluates expr as of at. A vector selector finds samples up to lookback old.
func (e *promqlEngine) queryPromQLEngine(ctx context.Context, expr string, at time.Time, lookback time.Duration) ([]evalResult, error) {
	q, err := e.promql.NewInstantQuery(ctx, e.data, promql.NewPrometheusQueryOpts(false, lookback), expr, at)
	if err != nil {
		return nil, err
	}
	defer q.Close()
	result := q.Exec(ctx)
	if result.Err != nil {
		return nil, result.Err
	}
	switch v := result.Value.(type) {
	case promql.Scalar:
		return []evalResult{{value: v.V}}, nil
	case promql.Vector:
		results := make([]evalResult, 0, len(v))
		for _, s := range v {
			results = append(results, evalResult{labels: s.Metric, value: s.F})
		}
		return results, nil
	default:
		return nil, fmt.Errorf("the result is a %s, not an instant vector", parser.DocumentedType(v.Type()))
	}
}
