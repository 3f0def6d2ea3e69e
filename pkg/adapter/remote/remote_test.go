package remote

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestOneQueryPerRefresh has 1,000 HPAs on one rule, in as many namespaces, and a server that takes two seconds.
func TestOneQueryPerRefresh(t *testing.T) {
	t.Parallel()
	const hpas, minutes = 1000, 2
	runInBubble(t, "", sharedRules, func(w *testBackend) {
		w.server.updateState(func(s *fakeServer) { s.delay = 2 * time.Second })
		for i := range hpas {
			go func() {
				if _, err := w.evaluateRequests(fmt.Sprintf("ns-%d", i)); err != nil {
					t.Error(err)
				}
			}()
		}
		passTime(10 * time.Second)
		first := len(w.server.receivedQueries())
		if first > 4 {
			t.Errorf("%d queries for the first reads and a refresh, want 4 at most: one, one for all others, two refreshes", first)
		}
		var took []time.Duration
		for range minutes * 4 { // the HPA's period is 15 s
			passTime(15 * time.Second)
			for i := range hpas {
				began := time.Now()
				v, err := w.evaluateRequests(fmt.Sprintf("ns-%d", i))
				if err != nil || len(v) != 1 || v[0].Object.Name != "web-1" || v[0].Object.Namespace != fmt.Sprintf("ns-%d", i) {
					t.Fatal(v, err)
				}
				if age := v[0].Age(time.Now()); age > 10*time.Second {
					t.Errorf("age %v with a refresh of 5s and responses of 2s", age)
				}
				took = append(took, time.Since(began))
			}
		}
		if slices.Max(took) != 0 {
			t.Errorf("a read waited %v", slices.Max(took))
		}
		all := w.server.receivedQueries()
		if got, want := len(all)-first, minutes*60/5; got < want-1 || got > want+1 {
			t.Errorf("%d queries in %d minutes, want one every 5s: %d", got, minutes, want)
		}
		if last := all[len(all)-1]; !strings.Contains(last, "ns-0|ns-1|ns-10|") || !strings.Contains(last, "ns-999") {
			t.Errorf("the last query does not name all namespaces: %.200s", last)
		}
	})
}

// TestReadsFromMemory reads while a server takes two seconds for each response.
func TestReadsFromMemory(t *testing.T) {
	t.Parallel()
	runInBubble(t, "  refresh: 1s\n", sharedRules, func(w *testBackend) {
		const pods = 5000
		var all []fakeSeries
		names := make([]string, 0, 20)
		for i := range pods {
			all = append(all, fakeSeries{fmt.Sprintf("namespace=ns-%d,pod=web-%d", i%10, i), float64(i), time.Now()})
			if i%10 == 3 && len(names) < cap(names) {
				names = append(names, fmt.Sprintf("web-%d", i))
			}
		}
		w.server.alwaysRespond(newVectorResponse(all...))
		q := w.newRuleQuery("requests", "ns-3", names...)
		if _, err := w.Evaluate(w.t.Context(), q, time.Now()); err != nil {
			w.t.Fatal(err)
		}
		w.server.updateState(func(s *fakeServer) { s.delay = 2 * time.Second })
		before := len(w.server.receivedQueries())
		for end := time.Now().Add(6 * time.Second); time.Now().Before(end); passTime(10 * time.Millisecond) {
			began := time.Now()
			v, err := w.Evaluate(w.t.Context(), q, began)
			if err != nil || len(v) != len(names) {
				w.t.Fatal(len(v), err)
			}
			if waited := time.Since(began); waited != 0 {
				w.t.Fatalf("a read waited %v", waited)
			}
		}
		if queries := len(w.server.receivedQueries()) - before; queries < 2 {
			w.t.Errorf("%d queries while it read", queries)
		}
	})
}

func TestWithoutRun(t *testing.T) {
	t.Parallel()
	w := newNetworkBackend(t, "", sharedRules)
	then := time.Date(2026, 1, 2, 3, 4, 5, 678e6, time.UTC)
	v, err := w.Evaluate(t.Context(), w.newRuleQuery("requests", "shop", "web-1"), then)
	if got := formatValues(v, err); got != "shop/web-1=1" {
		t.Fatal(got)
	}
	if age := v[0].Age(then); age != time.Second {
		t.Errorf("age %v, want that of the sample: 1s", age)
	}
	if v[0].Window != time.Minute {
		t.Errorf("window %v, want 1m", v[0].Window)
	}
	form := w.server.forms[0]
	for key, want := range map[string]string{
		"time": "1767323045.678", "timeout": "5m",
		"query": `(sum by (namespace, pod) (rate(http_requests_total{namespace="shop",pod!=""}[1m]))) or ` +
			`label_replace(max by (namespace, pod) (timestamp(http_requests_total{namespace="shop",pod!=""})), "tachometer_sample_time", "1", "", "")`,
	} {
		if got := form.Get(key); got != want {
			t.Errorf("%s = %s\nwant %s", key, got, want)
		}
	}
	for i, later := range []time.Duration{4 * time.Second, time.Minute} {
		if _, err := w.Evaluate(t.Context(), w.newRuleQuery("requests", "shop"), then.Add(later)); err != nil || len(w.server.receivedQueries()) != i+1 {
			t.Errorf("%v later: %d queries, %v; want %d", later, len(w.server.receivedQueries()), err, i+1)
		}
	}
}

func TestUnreadIsForgotten(t *testing.T) {
	t.Parallel()
	runInBubble(t, "", sharedRules, func(w *testBackend) {
		for _, n := range []string{"a", "b"} {
			if _, err := w.evaluateRequests(n); err != nil {
				t.Fatal(err)
			}
		}
		for range 20 {
			passTime(10 * time.Second)
			if _, err := w.evaluateRequests("a"); err != nil {
				t.Fatal(err)
			}
		}
		all := w.server.receivedQueries()
		if last := all[len(all)-1]; strings.Contains(last, "b") && strings.Contains(last, `namespace=~"a|b"`) {
			t.Errorf("asks for a namespace that nobody reads: %s", last)
		}
		passTime(4 * time.Minute)
		n := len(w.server.receivedQueries())
		passTime(time.Minute)
		if got := len(w.server.receivedQueries()); got != n || len(w.queries) != 0 {
			t.Errorf("%d queries without a read; %d kept", got-n, len(w.queries))
		}
		if got := formatValues(w.evaluateRequests("b")); got != "b/web-1=1" {
			t.Errorf("read again: %s", got)
		}
	})
}

func TestFirstReadsShareOneQuery(t *testing.T) {
	t.Parallel()
	runInBubble(t, "", sharedRules, func(w *testBackend) {
		w.server.updateState(func(s *fakeServer) { s.delay = time.Second })
		for _, namespaces := range [][]string{{"a", "a", "a"}, {"b", "c", "d", "a"}} {
			for _, n := range namespaces {
				go func() {
					if got := formatValues(w.evaluateRequests(n)); got != n+"/web-1=1" {
						t.Error(got)
					}
				}()
			}
			synctest.Wait()
		}
		passTime(2 * time.Second)
		if got := w.server.receivedQueries(); len(got) != 2 || !strings.Contains(got[1], `namespace=~"b|c|d"`) {
			t.Errorf("queries %q, want one for a and one for all others read meanwhile", got)
		}
	})
}

// TestFirstReadsOneByOne has the few workers of an HPA controller read many namespaces: each first read queries its own
// namespace, and a refresh queries all, on time.
func TestFirstReadsOneByOne(t *testing.T) {
	t.Parallel()
	const namespaces = 40
	runInBubble(t, "", sharedRules, func(w *testBackend) {
		w.server.updateState(func(s *fakeServer) { s.delay = 500 * time.Millisecond })
		for i := range namespaces {
			if got, want := formatValues(w.evaluateRequests(fmt.Sprintf("ns-%d", i))), fmt.Sprintf("ns-%d/web-1=1", i); got != want {
				t.Fatalf("%s, want %s", got, want)
			}
			v, err := w.evaluateRequests("ns-0")
			if err != nil || v[0].Age(time.Now()) > 10*time.Second {
				t.Errorf("while new ones come: %v, %v", v, err)
			}
		}
		one, all := 0, 0
		for _, q := range w.server.receivedQueries() {
			if strings.Contains(q, `namespace="`) {
				one++
			} else {
				all++
			}
		}
		if one+all > namespaces+6 || all < 3 || all > 6 { // in 20 s
			t.Errorf("%d queries for one namespace and %d for all, want about %d and 4", one, all, namespaces)
		}
		passTime(10 * time.Second)
		for i := range namespaces {
			if got, want := formatValues(w.evaluateRequests(fmt.Sprintf("ns-%d", i))), fmt.Sprintf("ns-%d/web-1=1", i); got != want {
				t.Errorf("%s, want %s", got, want)
			}
		}
		if q := w.server.receivedQueries(); !strings.Contains(q[len(q)-1], "ns-0|ns-1|ns-10|") {
			t.Errorf("the last query does not name all: %s", q[len(q)-1])
		}
	})
}
