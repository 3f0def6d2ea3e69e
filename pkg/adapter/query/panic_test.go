package query

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/store"
)

// panickingStore panics when its series are read.
type panickingStore struct{ SampleSource }

func (panickingStore) Visit(int64, int64, []*labels.Matcher, string, []string, func(labels.Labels, []int64, []float64)) {
	panic("text of a series")
}

// TestPanicEndsOneEvaluation: an evaluation that panics is an internal error that shows nothing of the data, and gives its place back.
func TestPanicEndsOneEvaluation(t *testing.T) {
	t.Parallel()
	e := New(panickingStore{store.New(store.Options{})}, Options{MaxConcurrent: 1})
	q := rule.Query{Rule: compileRule(t, interval, "query: max by (namespace, pod) (g)"), Namespace: "shop"}
	for range 3 {
		values, err := e.Evaluate(t.Context(), q, time.UnixMilli(epoch))
		if err == nil || metric.KindOf(err) != metric.KindInternal || values != nil || strings.Contains(err.Error(), "text of a series") {
			t.Errorf("an evaluation that panics: %v, %v", values, err)
		}
	}
	if got := testutil.ToFloat64(e.metrics.panics); got != 3 {
		t.Errorf("%v panics counted, want 3", got)
	}
}
