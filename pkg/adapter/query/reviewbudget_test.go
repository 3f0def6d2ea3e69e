package query

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/store"
)

// TestReviewedEvaluationIsBounded: an evaluation for a review ends where its operations would hold too many labels, and the same rule of
// the configuration has its values.
func TestReviewedEvaluationIsBounded(t *testing.T) {
	t.Parallel()
	s := store.New(store.Options{})
	for i := range 400 {
		appendSeries(t, s, fmt.Sprintf(`g{namespace="shop",pod="a",i="%d",x=%q}`, i, strings.Repeat("x", 1500)), 1)
	}
	// Each call copies the labels of 400 series, and the engine holds all of them until the innermost is computed.
	deep := strings.Repeat("abs(g) + (", 50) + "g" + strings.Repeat(")", 50)
	for expression, fits := range map[string]bool{"g": true, deep: false} {
		q := rule.Query{Rule: compileLines(t, []string{"query: sum by (namespace, pod) (" + expression + ")"}), Namespace: "shop", Objects: []string{"a"}}
		for _, q.Reviewed = range []bool{false, true} {
			e := New(s, unhurried)
			values, err := e.Evaluate(t.Context(), q, time.UnixMilli(epoch))
			switch {
			case !q.Reviewed || fits:
				if err != nil || len(values) != 1 {
					t.Errorf("%.20s, reviewed: %t: %v, %v", expression, q.Reviewed, values, err)
				}
			case err == nil || !strings.Contains(err.Error(), "would hold more than 6 MiB of labels, the limit of a review"):
				t.Errorf("%.20s: %v", expression, err)
			}
			if n, _ := e.expressions.byText.Usage(); (n > 0) == q.Reviewed {
				t.Errorf("%.20s, reviewed: %t: %d expressions are remembered", expression, q.Reviewed, n)
			}
		}
	}
}

// TestReviewBudget: samples and labels are counted apart, and anew for each scan; without a budget nothing is.
func TestReviewBudget(t *testing.T) {
	t.Parallel()
	l := labels.FromStrings("x", "y")
	b := &reviewSampleBudget{}
	if !b.spendReviewBudget(l, maxReviewedSamples) || b.spendReviewBudget(l, 1) || b.reviewBudgetError() == nil {
		t.Errorf("after %d samples: %v", b.samples, b.reviewBudgetError())
	}
	if b.resetReviewBudget(); !b.spendReviewBudget(l, 1) {
		t.Error("a new scan has no budget")
	}
	var none *reviewSampleBudget
	if none.resetReviewBudget(); !none.spendReviewBudget(l, 1<<40) || none.reviewBudgetError() != nil {
		t.Error("a rule of the configuration has a bound")
	}
}
