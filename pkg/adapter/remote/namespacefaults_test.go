package remote

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"
)

// badSeries are series of a namespace that permit no number: the response of a server that reads them, and the error of the namespace.
var badSeries = map[string]struct {
	spoil func(right fakeResponse) fakeResponse
	want  string
}{
	"a native histogram": {
		addResults(`{"metric":{"namespace":"bank","pod":"a"},"histogram":[1,{"count":"1","sum":"2"}]}`),
		`the result {namespace="bank", pod="a"} is a native histogram: use a function that makes a number of it`,
	},
	"two results of a pod": {
		addResults(`{"metric":{"namespace":"bank","pod":"a","x":"1"},"value":[1,"1"]},{"metric":{"namespace":"bank","pod":"a","x":"2"},"value":[1,"1"]}`),
		`two results for pod bank/a: {namespace="bank", pod="a", x="1"} and {namespace="bank", pod="a", x="2"}; aggregate by (pod)`,
	},
	"series that no match keeps apart": {
		func(fakeResponse) fakeResponse {
			return fakeResponse{code: 422, body: `{"status":"error","errorType":"execution","error":"found duplicate series for the match group"}`}
		},
		"rejects the query: found duplicate series for the match group",
	},
	"a warning of PromQL": {
		func(right fakeResponse) fakeResponse {
			return fakeResponse{body: strings.TrimSuffix(right.body, "}") + `,"warnings":["PromQL warning: bucket label \"le\" is missing"]}`}
		},
		`PromQL warning: bucket label "le" is missing`,
	},
	"a response over maxResponseBytes": {
		func(fakeResponse) fakeResponse { return fakeResponse{body: strings.Repeat(" ", 5000)} },
		"the answer has more than the 4096 bytes of maxResponseBytes",
	},
}

func addResults(results string) func(fakeResponse) fakeResponse {
	return func(right fakeResponse) fakeResponse {
		return fakeResponse{body: strings.Replace(right.body, `"result":[`, `"result":[`+results+",", 1)}
	}
}

// TestBadSeriesOfAnotherNamespace: series of one namespace take no number from the others, which share a query with it.
func TestBadSeriesOfAnotherNamespace(t *testing.T) {
	t.Parallel()
	for name, tc := range badSeries {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runInBubble(t, "  maxResponseBytes: 4Ki\n", sharedRules, func(w *testBackend) {
				w.server.setScript(func(form url.Values) fakeResponse {
					right := respondPerNamespace(form)
					if strings.Contains(form.Get("query"), "bank") {
						return tc.spoil(right)
					}
					return right
				})
				for range 40 { // ten minutes
					for namespace, want := range map[string]string{
						"shop": "shop/web-1=1", "depot": "depot/web-1=1", "bank": tc.want,
					} {
						if got := formatValues(w.evaluateRequests(namespace)); !strings.Contains(got, want) {
							t.Fatalf("%s: %s, want %s", namespace, got, want)
						}
					}
					passTime(15 * time.Second)
				}
				w.server.setScript(respondPerNamespace)
				passTime(30 * time.Second)
				for _, namespace := range []string{"bank", "depot", "shop"} {
					if got := formatValues(w.evaluateRequests(namespace)); got != namespace+"/web-1=1" {
						t.Errorf("%s: %s, although its series are right again", namespace, got)
					}
				}
				passTime(6 * time.Second)
				if queries := w.server.receivedQueries(); !strings.Contains(queries[len(queries)-1], "bank|depot|shop") {
					t.Errorf("the namespaces share no query again: %s", queries[len(queries)-1])
				}
			})
		})
	}
}

// TestCostOfBadSeries bounds the queries of a minute, of 12 refreshes, while many namespaces or all of them have bad series.
func TestCostOfBadSeries(t *testing.T) {
	t.Parallel()
	const namespaces, refreshes = 500, 12
	for name, tc := range map[string]struct{ bad, most, wrong int }{
		"one namespace":   {1, 2 * refreshes, 1},
		"five namespaces": {5, 6 * refreshes, 5},
		"100 namespaces":  {100, (1 + maxFaultRetries + maxHalvingQueries) * refreshes, namespaces},
		"all namespaces":  {namespaces, refreshes + 2*maxHalvingQueries, namespaces},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runInBubble(t, "", sharedRules, func(w *testBackend) {
				for i := range namespaces {
					_, _ = w.evaluateRequests(fmt.Sprintf("n%03d", i))
				}
				passTime(6 * time.Second)
				w.server.setScript(func(form url.Values) fakeResponse {
					right := respondPerNamespace(form)
					for i := range tc.bad {
						if strings.Contains(form.Get("query"), fmt.Sprintf("n%03d", i*namespaces/tc.bad)) {
							return addResults(fmt.Sprintf(`{"metric":{"namespace":"n%03d","pod":"a"},"histogram":[1,{}]}`, i*namespaces/tc.bad))(right)
						}
					}
					return right
				})
				passTime(time.Minute) // to find them
				before := len(w.server.receivedQueries())
				passTime(time.Minute)
				if n := len(w.server.receivedQueries()) - before; n < refreshes || n > tc.most {
					t.Errorf("%d queries in a minute, want %d at most", n, tc.most)
				}
				wrong := 0
				for i := range namespaces {
					if _, err := w.evaluateRequests(fmt.Sprintf("n%03d", i)); err != nil {
						wrong++
					}
				}
				if wrong > tc.wrong {
					t.Errorf("%d namespaces with an error, want %d at most", wrong, tc.wrong)
				}
			})
		})
	}
}

// TestSizeOfHalvedResponses: namespaces whose responses exceed the bound together have an error, although each fits alone.
func TestSizeOfHalvedResponses(t *testing.T) {
	t.Parallel()
	runInBubble(t, "  maxResponseBytes: 4Ki\n", sharedRules, func(w *testBackend) {
		w.server.setScript(func(form url.Values) fakeResponse {
			var all []fakeSeries
			for n := range strings.SplitSeq(namespaceMatcher.FindStringSubmatch(form.Get("query"))[1], "|") {
				for i := range 8 {
					all = append(all, fakeSeries{fmt.Sprintf("namespace=%s,pod=%s-%d", n, strings.Repeat("a", 60), i), 1, time.Now()})
				}
			}
			return newVectorResponse(all...)
		})
		const namespaces = 12
		for range 3 {
			for i := range namespaces {
				_, _ = w.evaluateRequests(fmt.Sprintf("n%d", i))
			}
			passTime(10 * time.Second)
		}
		kept := 0
		for i := range namespaces {
			values, _ := w.evaluateRequests(fmt.Sprintf("n%d", i))
			kept += len(values)
		}
		if kept == 0 || kept == 8*namespaces {
			t.Errorf("%d values of %d, want those of some namespaces", kept, 8*namespaces)
		}
	})
}
