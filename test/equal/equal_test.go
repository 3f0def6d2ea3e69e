// Package equal holds the embedded engine and real servers together: a rule gives the same values on each backend.
package equal

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tachometer/pkg/config"
	"tachometer/pkg/metric"
	"tachometer/pkg/prometheus"
	"tachometer/pkg/rule"
	"tachometer/test/servers"
)

// backend is what evaluates rules.
type backend interface {
	Evaluate(ctx context.Context, q rule.Query, now time.Time) ([]metric.Value, error)
}

// remote is the remote backend on a server. It does not run, so that it asks anew, as of the time of each read.
func remote(t *testing.T, s *servers.Server) *prometheus.Backend {
	t.Helper()
	b, err := prometheus.New(config.Backend{Name: "remote", URL: s.URL, Refresh: time.Nanosecond}, prometheus.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// compile compiles a question's rule for a backend.
func (q question) compile(t *testing.T, backend string) *rule.Rule {
	t.Helper()
	const head = "apiVersion: tachometer/v1alpha1\nkind: AdapterConfig\nbackends:\n- name: remote\n  url: http://127.0.0.1\nrules:\n- metric: m\n"
	text := head + "  " + strings.Join(append(q.lines, "backend: "+backend), "\n  ") + "\n"
	if !q.external {
		text += "  resource: pods\n"
	}
	_, set, err := rule.Load([]byte(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	var r *rule.Rule
	if q.external {
		r, err = set.External("m")
	} else {
		r, err = set.Lookup("pods", "m")
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// evaluate asks one backend.
func (q question) evaluate(t *testing.T, b backend, name string, now time.Time) map[string]metric.Value {
	t.Helper()
	r := q.compile(t, name)
	query := rule.Query{Rule: r, Objects: q.objects, Selector: q.selector}
	if r.Namespaced {
		query.Namespace = q.namespace
	}
	values, err := b.Evaluate(t.Context(), query, now)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	byLabels := map[string]metric.Value{}
	for _, v := range values {
		key := fmt.Sprint(v.Object, v.Labels)
		if _, twice := byLabels[key]; twice {
			t.Errorf("%s: %s twice", name, key)
		}
		byLabels[key] = v
	}
	return byLabels
}

// same takes for equal what differs by rounding: the order of a sum is nobody's promise.
var same = cmp.Options{
	cmp.Comparer(func(a, b float64) bool {
		return a == b || math.IsNaN(a) && math.IsNaN(b) || math.Abs(a-b) <= 1e-9*max(math.Abs(a), math.Abs(b), 1e-3)
	}),
	cmp.Comparer(func(a, b time.Time) bool { return a.Sub(b).Abs() <= time.Millisecond }),
	cmpopts.EquateEmpty(),
}

// compare asks both sides the same.
func (q question) compare(t *testing.T, local, remote backend, now time.Time) (values int) {
	t.Helper()
	want := q.evaluate(t, remote, "remote", now)
	got := q.evaluate(t, local, "scrape", now)
	if d := cmp.Diff(want, got, same); d != "" {
		t.Errorf("%v, at %d (-remote +embedded)\n%s", q, now.UnixMilli(), d)
	}
	return len(want)
}

// TestEmbeddedEqualsPrometheus asks the embedded engine and a real Prometheus that has the same samples, over pods that are
// watched for longer than the window and scraped on time; what the engine does for others is its own (see pkg/query).
func TestEmbeddedEqualsPrometheus(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(seed, false)
			local, remote := w.embedded(t), remote(t, servers.Prometheus(t, servers.Options{Series: w.series}))
			found := 0
			for _, q := range questions(w.rand) {
				found += q.compare(t, local, remote, w.now())
			}
			if found < 80 {
				t.Errorf("only %d values compared", found)
			}
		})
	}
}

// questions are the typical ones, and some that nobody has thought of.
func questions(r *rand.Rand) []question {
	g := grammar{Rand: r, depth: 3}
	var all []question
	for _, expr := range typical {
		all = append(all, g.ask(expr, false))
	}
	for _, expr := range typicalExternal {
		all = append(all, g.ask(expr, true))
	}
	for range 60 {
		all = append(all, g.ask(g.perPod(), false))
	}
	return all
}
