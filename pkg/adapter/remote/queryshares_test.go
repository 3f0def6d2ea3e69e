package remote

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
)

// readSelected reads a metric of the namespace with a selector of its own, as of a request, and returns the standing query.
func (w *testBackend) readSelected(namespace, value string) *standingQuery {
	w.t.Helper()
	q := rule.Query{Rule: &rule.Rule{Metric: "m", Name: "m", Namespaced: namespace != "", Backend: "prometheus"}, Namespace: namespace}
	q.Selector = []*labels.Matcher{labels.MustNewMatcher(labels.MatchEqual, "a", value)}
	w.mu.Lock()
	defer w.mu.Unlock()
	sq, err := w.getOrAddStandingQuery(namespace+"\x00"+value, q, time.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	return sq
}

func (w *testBackend) stands(sq *standingQuery) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.queries[sq.key] == sq
}

// TestReaderKeepsItsShare: a reader of ever new selectors pushes out its own namespace's queries, the longest unread first, and none of
// others.
func TestReaderKeepsItsShare(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		value  string // repeated in each selector
		reads  int
		stands int
	}{
		"many":  {"", 3000, 1000},
		"large": {strings.Repeat("x", 8000), 100, 17}, // 16 in 128 KiB, and the short one
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := NewMetrics(nil)
			w := newTestBackend(t, "", sharedRules, Options{Metrics: m})
			shop, own := w.readSelected("shop", "autoscaler"), w.readSelected("evil", "autoscaler")
			for i := range tc.reads {
				w.readSelected("evil", fmt.Sprint(i)+tc.value)
				if i%10 == 0 {
					w.readSelected("evil", "autoscaler") // read again and again
				}
			}
			if got := len(w.queries); got != tc.stands+1 {
				t.Errorf("%d queries stand, want %d", got, tc.stands+1)
			}
			if !w.stands(shop) || !w.stands(own) {
				t.Errorf("the queries of autoscalers stand: in shop %t, beside the reader %t", w.stands(shop), w.stands(own))
			}
			if got, want := testutil.ToFloat64(m.droppedQueries.WithLabelValues("prometheus")), tc.reads+1-tc.stands; int(got) != want {
				t.Errorf("%v dropped queries are counted, want %d", got, want)
			}
			if w.shares.all.queries != len(w.queries) || len(w.refreshQueue) != len(w.queries) {
				t.Errorf("%d queries, %d counted, %d queued", len(w.queries), w.shares.all.queries, len(w.refreshQueue))
			}
		})
	}
}

// TestGreediestNamespaceGivesWay: at the bound of all namespaces, those with the most lose queries, and one with few never does.
func TestGreediestNamespaceGivesWay(t *testing.T) {
	t.Parallel()
	w := newTestBackend(t, "", sharedRules, Options{})
	shop := w.readSelected("shop", "autoscaler")
	for namespace := range 12 {
		for i := range 1000 {
			w.readSelected(fmt.Sprintf("evil-%d", namespace), fmt.Sprint(i))
		}
	}
	late := w.readSelected("bank", "autoscaler")
	if got := len(w.queries); got != maxAllQueries.queries {
		t.Errorf("%d queries stand, want %d", got, maxAllQueries.queries)
	}
	if !w.stands(shop) || !w.stands(late) {
		t.Errorf("the queries of autoscalers stand: the first %t, the last %t", w.stands(shop), w.stands(late))
	}
}

// TestCommonQueriesKeepTheirShare: queries that belong to no namespace leave room to those that do.
func TestCommonQueriesKeepTheirShare(t *testing.T) {
	t.Parallel()
	w := newTestBackend(t, "", sharedRules, Options{})
	shop := w.readSelected("shop", "autoscaler")
	for i := range 7000 {
		w.readSelected("", fmt.Sprint(i))
	}
	if got := len(w.queries); got != maxCommonQueries.queries+1 || !w.stands(shop) {
		t.Errorf("%d queries stand, want %d; the autoscaler's: %t", got, maxCommonQueries.queries+1, w.stands(shop))
	}
}

// finishResult gives a standing query a result of values with a label of labelLength bytes.
func (w *testBackend) finishResult(sq *standingQuery, values, labelLength int) {
	w.t.Helper()
	result := &queryResult{valuesByNamespace: map[string][]metric.Value{}}
	for range values {
		result.valuesByNamespace[sq.owner] = append(result.valuesByNamespace[sq.owner], metric.Value{Labels: map[string]string{"a": strings.Repeat("x", labelLength)}})
	}
	w.finishQueryResult(sq, result)
}

// finishQueryResult gives a standing query a result.
func (w *testBackend) finishQueryResult(sq *standingQuery, result *queryResult) {
	w.t.Helper()
	w.mu.Lock()
	f := sq.startQueryFetch(time.Now(), nil)
	w.mu.Unlock()
	w.finishQueryFetch(w.t.Context(), sq, f, result, nil)
}

// TestResultsAreShared: ever new selectors with large results push out queries of their own namespace, and in all stay within a bound. A
// single query stays, whatever its result.
func TestResultsAreShared(t *testing.T) {
	t.Parallel()
	w := newTestBackend(t, "", sharedRules, Options{})
	shop := w.readSelected("shop", "autoscaler")
	w.finishResult(shop, 1000, 100)
	bank := w.readSelected("bank", "autoscaler")
	w.finishResult(bank, 1000, 9<<10) // alone above the bound of a namespace
	for namespace := range 4 {        // more would need the room of the bank even with a query each
		for i := range 60 {
			w.finishResult(w.readSelected(fmt.Sprintf("evil-%d", namespace), fmt.Sprint(i)), 1000, 500)
			if got := w.shares.byNamespace[fmt.Sprintf("evil-%d", namespace)].resultBytes; got > maxNamespaceQueries.resultBytes {
				t.Fatalf("a namespace has results of %d bytes, want at most %d", got, maxNamespaceQueries.resultBytes)
			}
		}
	}
	if w.shares.all.resultBytes > maxAllQueries.resultBytes {
		t.Errorf("results have %d bytes, want at most %d", w.shares.all.resultBytes, maxAllQueries.resultBytes)
	}
	if !w.stands(shop) || !w.stands(bank) {
		t.Errorf("the queries of autoscalers stand: shop %t, bank %t", w.stands(shop), w.stands(bank))
	}
	w.finishResult(shop, 0, 0)
	for _, sq := range w.queries {
		w.removeStandingQuery(sq)
	}
	if w.shares.all != (queryBounds{}) || len(w.shares.byNamespace) > 0 {
		t.Errorf("without a query %+v are left", w.shares.all)
	}
}

// TestLargeResultsOfOneNamespace: five metrics of 5,000 pods in one namespace stay in memory.
func TestLargeResultsOfOneNamespace(t *testing.T) {
	t.Parallel()
	w := newTestBackend(t, "", sharedRules, Options{})
	var all []*standingQuery
	for i := range 5 {
		sq := w.readSelected("shop", fmt.Sprint(i))
		all = append(all, sq)
		result := &queryResult{valuesByNamespace: map[string][]metric.Value{}}
		for pod := range 5000 {
			v := metric.Value{Object: metric.Object{Namespace: "shop", Name: fmt.Sprintf("checkout-api-7d9f8c6b5d-%05d", pod)}}
			result.valuesByNamespace["shop"] = append(result.valuesByNamespace["shop"], v)
		}
		w.finishQueryResult(sq, result)
	}
	for i, sq := range all {
		if !w.stands(sq) {
			t.Errorf("query %d is gone", i)
		}
	}
}

// TestSingleResultsAreBounded: many namespaces with a single large result each stay within the bound of all, and a small one stays.
func TestSingleResultsAreBounded(t *testing.T) {
	t.Parallel()
	w := newTestBackend(t, "", sharedRules, Options{})
	shop := w.readSelected("shop", "autoscaler")
	w.finishResult(shop, 1000, 100)
	for namespace := range 20 {
		w.finishResult(w.readSelected(fmt.Sprint("evil-", namespace), "large"), 1000, 4<<10)
	}
	if got := w.shares.all.resultBytes; got > maxAllQueries.resultBytes || got < maxAllQueries.resultBytes/2 {
		t.Errorf("results have %d bytes, want at most %d", got, maxAllQueries.resultBytes)
	}
	if !w.stands(shop) {
		t.Error("the query with a small result is gone")
	}
}

// TestObjectsOfQueriesAreCounted: the names of objects in the key of a query count as its result does.
func TestObjectsOfQueriesAreCounted(t *testing.T) {
	t.Parallel()
	w := newTestBackend(t, "", sharedRules, Options{})
	objects := make([]string, 5000)
	for i := range objects {
		objects[i] = strings.Repeat("x", 250)
	}
	q := rule.Query{Rule: &rule.Rule{Metric: "m", Name: "m", Namespaced: true, Backend: "prometheus", External: true}, Namespace: "evil", Objects: objects}
	for i := range 100 {
		w.mu.Lock()
		if _, err := w.getOrAddStandingQuery(fmt.Sprint(i), q, time.Now()); err != nil {
			t.Error(err)
		}
		w.mu.Unlock()
	}
	if got := w.shares.all.resultBytes; got > maxNamespaceQueries.resultBytes || got < 1<<20 {
		t.Errorf("the names of objects have %d bytes, want at most %d", got, maxNamespaceQueries.resultBytes)
	}
}
