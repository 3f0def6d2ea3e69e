// Measures the evaluation of an expression over stored samples, beside the engine of Prometheus.

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/teststorage"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/query"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/store"
	"github.com/tachometer-metrics/tachometer/test/harness/host"
)

// evaluating is the part that measures the bare evaluation of an expression: Tachometer over its store, beside Prometheus's engine
// over Prometheus's storage.
type evaluating struct {
	series  []int
	samples int // of each series
	steady  time.Duration
	log     io.Writer
	now     time.Time
}

// evaluation is one row of the report.
type evaluation struct {
	series     int
	who        string
	cpu        time.Duration
	of         int  // number of evaluations
	prometheus bool // the peer
}

func (e *evaluation) secondsEach() float64 { return e.cpu.Seconds() / float64(e.of) }

const evaluated = "sum by (namespace, pod) (rate(http_requests_total[$window]))"

func (s *settings) reportEvaluating(ctx context.Context, _ string, load float64, out io.Writer) (string, error) {
	e := &evaluating{series: []int{5000}, samples: 45, steady: s.steady / 10, log: out, now: time.Now()}
	head := describeBenchMachine(e.now, load)
	all, err := e.measureEvaluators(ctx)
	if err != nil {
		return "", err
	}
	return head + "\n\n" + e.formatEvaluating(all), nil
}

func (e *evaluating) measureEvaluators(ctx context.Context) (all []*evaluation, err error) {
	for _, series := range e.series {
		rows, err := e.compareEvaluators(ctx, series)
		if err != nil {
			return nil, err
		}
		all = append(all, rows...)
	}
	return all, nil
}

// compareEvaluators measures all evaluators over the same samples.
func (e *evaluating) compareEvaluators(ctx context.Context, series int) (rows []*evaluation, err error) {
	theirs, err := teststorage.NewWithError()
	if err != nil {
		return nil, fmt.Errorf("make Prometheus's storage: %w", err)
	}
	defer func() { err = errors.Join(err, theirs.Close()) }()
	mine := store.New(store.Options{})
	pods, err := e.fillStores(ctx, series, mine, theirs)
	if err != nil {
		return nil, err
	}
	for _, window := range []string{"60s", "auto"} {
		ask, err := e.ownEvaluator(mine, window, pods) //nolint:contextcheck // a rule's trial evaluates in memory
		if err != nil {
			return nil, err
		}
		row, err := e.measureEvaluator(ctx, evaluation{series: series, who: "Tachometer, window " + window}, ask)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	row, err := e.measureEvaluator(ctx, evaluation{series: series, who: "Prometheus's engine and storage", prometheus: true}, e.peerEvaluator(theirs, series))
	return append(rows, row), err
}

// fillStores adds a counter for each pod, with a sample every 2 s, to both stores.
func (e *evaluating) fillStores(ctx context.Context, series int, mine *store.Store, theirs storage.Appendable) (pods []string, err error) {
	app := theirs.Appender(ctx)
	for i := range series {
		pod := fmt.Sprintf("checkout-7d9f8b6c5d-%05d", i)
		pods = append(pods, pod)
		l := labels.FromStrings("__name__", "http_requests_total", "namespace", namespace, "pod", pod,
			"node", fmt.Sprintf("node-%02d", i%50), "method", "GET", "route", "/orders/{id}", "code", "200")
		for j := range e.samples {
			at := e.now.Add(time.Duration(j-e.samples) * 2 * time.Second).Add(time.Duration(i*37%2000) * time.Millisecond).UnixMilli()
			v := float64(j * (80 + i%20))
			if _, err := mine.Append(0, l, at, v); err != nil {
				return nil, fmt.Errorf("fill the store: %w", err)
			}
			if _, err := app.Append(0, l, at, v); err != nil {
				return nil, fmt.Errorf("fill Prometheus's storage: %w", err)
			}
		}
	}
	return pods, app.Commit()
}

// ownEvaluator returns a function that evaluates a rule like a read, and returns the number of values.
func (e *evaluating) ownEvaluator(mine *store.Store, window string, pods []string) (func(context.Context) (int, error), error) {
	_, set, err := rule.Load([]byte("apiVersion: config.tachometer.dev/v1alpha1\nkind: AdapterConfig\nrules:\n- metric: m\n  query: " + evaluated + "\n  window: " + window + "\n"))
	if err != nil {
		return nil, err
	}
	r, err := set.Lookup("pods", "m")
	if err != nil {
		return nil, err
	}
	engine := query.New(mine, query.Options{Timeout: processTimeout})
	return func(ctx context.Context) (int, error) {
		values, err := engine.Evaluate(ctx, rule.Query{Rule: r, Namespace: namespace, Objects: pods}, e.now)
		return len(values), err
	}, nil
}

// peerEvaluator returns a function that evaluates the same expression for all pods, the cheapest way for Prometheus.
func (e *evaluating) peerEvaluator(theirs storage.Queryable, series int) func(context.Context) (int, error) {
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1000 * series, Timeout: time.Minute, Parser: parser.NewParser(parser.Options{})})
	text := `sum by (namespace, pod) (rate(http_requests_total{namespace="` + namespace + `"}[60s]))`
	return func(ctx context.Context) (int, error) {
		q, err := engine.NewInstantQuery(ctx, theirs, nil, text, e.now)
		if err != nil {
			return 0, err
		}
		defer q.Close()
		vector, err := q.Exec(ctx).Vector()
		return len(vector), err
	}
}

// measureEvaluator warms up, and then evaluates for a time.
func (e *evaluating) measureEvaluator(ctx context.Context, row evaluation, ask func(context.Context) (int, error)) (*evaluation, error) {
	for _, d := range []time.Duration{e.steady / 5, e.steady} {
		before, err := host.CPUTime(os.Getpid())
		if err != nil {
			return nil, err
		}
		row.of = 0
		for begin := time.Now(); time.Since(begin) < d || row.of == 0; row.of++ {
			if n, err := ask(ctx); err != nil || n != row.series {
				return nil, fmt.Errorf("evaluate %s of %d series: %d values, %w", row.who, row.series, n, err)
			}
		}
		after, err := host.CPUTime(os.Getpid())
		if err != nil {
			return nil, err
		}
		row.cpu = after - before
	}
	fmt.Fprintf(e.log, "%d series, %s: %.4f ms of %d evaluations\n", row.series, row.who, 1000*row.secondsEach(), row.of)
	return &row, nil
}

func (e *evaluating) formatEvaluating(all []*evaluation) string {
	var w bytes.Buffer
	fmt.Fprintf(&w, `CPU of one evaluation of `+"`%s`"+` over %d samples a series, one series a pod. Tachometer
gets all pods by name and checks the samples' age. Prometheus's engine reads Prometheus's storage.

| series | evaluated by | CPU, ms | × Prometheus |
| --- | --- | --- | --- |
`, evaluated, e.samples)
	for _, row := range all {
		ratio := ""
		for _, peer := range all {
			if peer.prometheus && !row.prometheus && peer.series == row.series {
				ratio = fmt.Sprintf("%.2f", row.secondsEach()/peer.secondsEach())
			}
		}
		fmt.Fprintf(&w, "| %d | %s | %.3f | %s |\n", row.series, row.who, 1000*row.secondsEach(), ratio)
	}
	return w.String()
}
