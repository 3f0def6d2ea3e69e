// Errors of rules, timeouts, limits, and the self-metrics.

package query

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/store"
)

func TestEvaluateErrors(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		series  map[string][]float64
		rule    []string
		objects []string
		opts    Options
		kind    metric.Kind
		want    string
	}{
		"several series for one pod": {
			series: map[string][]float64{
				`g{namespace="shop",pod="a",queue="x"}`: {1}, `g{namespace="shop",pod="a",queue="y"}`: {2},
			},
			rule: []string{"query: g"},
			kind: metric.KindInternal,
			want: `evaluate rule "m": the result has several series for pod shop/a, such as {__name__="g", namespace="shop", pod="a", queue=`,
		},
		"a series without the object's label": {
			series: map[string][]float64{`g{namespace="shop"}`: {1}},
			rule:   []string{"query: sum by (namespace, pod) (g)"},
			kind:   metric.KindInternal,
			want:   `evaluate rule "m": the result {namespace="shop"} has no label pod to name its pod`,
		},
		"a label that is made up": {
			series: map[string][]float64{`g{namespace="shop",pod="a"}`: {1}},
			rule:   []string{`query: label_replace(g, "pod", "made-up", "", "")`},
			kind:   metric.KindInternal,
			want:   `names an object that none of its series belongs to`,
		},
		"many to many": {
			series: map[string][]float64{
				`g{namespace="shop",pod="a",queue="x"}`: {1}, `g{namespace="shop",pod="a",queue="y"}`: {2},
			},
			rule:    []string{"query: g * on (namespace, pod) g"},
			objects: []string{"a"},
			kind:    metric.KindInternal,
			want:    `evaluate rule "m": g{namespace="shop",pod="a"} * on (namespace, pod) g{namespace="shop",pod="a"}: `,
		},
		"too many samples": {
			series: map[string][]float64{`x_total{namespace="shop",pod="a"}`: growingValues(30, 0, 1)},
			rule:   []string{"query: sum by (namespace, pod) (rate(x_total[$window]))", "window: 60s"},
			opts:   Options{MaxSamples: 20, Timeout: unhurried.Timeout},
			kind:   metric.KindInternal,
			want:   "too many samples",
		},
		"further back than samples are kept": {
			rule: []string{"query: sum by (namespace, pod) (rate(x_total[1m]))"},
			opts: Options{Settings: Settings{MaxWindow: 30 * time.Second}},
			kind: metric.KindInternal,
			want: `evaluate rule "m": looks back 1m0s, and samples are kept for windows up to 30s`,
		},
		"too slow": {
			series: map[string][]float64{`x_total{namespace="shop",pod="a"}`: growingValues(30, 0, 1)},
			rule:   []string{"query: sum by (namespace, pod) (rate(x_total[$window]))", "window: 60s"},
			opts:   Options{Timeout: time.Nanosecond},
			kind:   metric.KindUnavailable,
			want:   `evaluate rule "m": `,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := store.New(store.Options{})
			for series, values := range tc.series {
				appendSeries(t, s, series, values...)
			}
			q := rule.Query{Rule: compileLines(t, tc.rule), Namespace: "shop", Objects: tc.objects}
			values, err := New(s, tc.opts).Evaluate(t.Context(), q, time.UnixMilli(epoch))
			if err == nil || len(values) > 0 {
				t.Fatalf("%d values, error %v", len(values), err)
			}
			if !strings.Contains(err.Error(), tc.want) || metric.KindOf(err) != tc.kind {
				t.Errorf("kind %d: %v, want kind %d: %s", metric.KindOf(err), err, tc.kind, tc.want)
			}
		})
	}
}

// blockedStore blocks reads until its release.
type blockedStore struct {
	SampleSource
	entered, release chan struct{}
}

func (b blockedStore) Visit(mint, maxt int64, matchers []*labels.Matcher, label string, values []string,
	visit func(labels.Labels, []int64, []float64),
) {
	b.entered <- struct{}{}
	<-b.release
	b.SampleSource.Visit(mint, maxt, matchers, label, values, visit)
}

func TestConcurrencyIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := blockedStore{store.New(store.Options{}), make(chan struct{}, 9), make(chan struct{})}
		e := New(b, Options{MaxConcurrent: 1})
		q := rule.Query{Rule: compileRule(t, interval, "query: max by (namespace, pod) (g)"), Namespace: "shop"}
		first := make(chan error)
		go func() {
			_, err := e.Evaluate(t.Context(), q, time.UnixMilli(epoch))
			first <- err
		}()
		<-b.entered
		started := time.Now()
		_, err := e.Evaluate(t.Context(), q, time.UnixMilli(epoch))
		if metric.KindOf(err) != metric.KindUnavailable || err == nil || !strings.Contains(err.Error(), "wait for 1 other") {
			t.Errorf("second evaluation: %v", err)
		}
		if waited := time.Since(started); waited != 5*time.Second {
			t.Errorf("waited %s, want the timeout of 5s", waited)
		}
		canceled, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := e.Evaluate(canceled, q, time.UnixMilli(epoch)); metric.KindOf(err) != metric.KindUnavailable {
			t.Errorf("canceled evaluation: %v", err)
		}
		if len(b.entered) != 0 {
			t.Error("the store was asked beyond the bound")
		}
		close(b.release)
		<-first
	})
}

func TestInstruments(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	s := store.New(store.Options{})
	appendSeries(t, s, `x_total{namespace="shop",pod="a"}`, growingValues(60, 0, 1)...)
	e := New(s, Options{Registerer: reg, Timeout: unhurried.Timeout})
	for _, query := range []string{
		"sum by (namespace, pod) (rate(x_total[$window]))", "max by (namespace, pod) (nothing)", `label_replace(x_total, "pod", "b", "", "")`,
	} {
		q := rule.Query{Rule: compileRule(t, interval, "query: "+query), Namespace: "shop"}
		_, _ = e.Evaluate(t.Context(), q, time.UnixMilli(epoch)) // the error is one of the outcomes
	}
	want := `
# HELP tachometer_query_evaluations_total Evaluations of rules on the embedded backend.
# TYPE tachometer_query_evaluations_total counter
tachometer_query_evaluations_total{outcome="error"} 1
tachometer_query_evaluations_total{outcome="no_value"} 1
tachometer_query_evaluations_total{outcome="success"} 1
tachometer_query_evaluations_total{outcome="timeout"} 0
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "tachometer_query_evaluations_total"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", err, problems)
	}
}
