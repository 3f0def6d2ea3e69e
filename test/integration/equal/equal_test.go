// Package equal holds the embedded engine and real servers together: a rule gives the same values on each backend.
package equal

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/remote"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/test/harness/servers"
)

// backend is what evaluates rules.
type backend interface {
	Evaluate(ctx context.Context, q rule.Query, now time.Time) ([]metric.Value, error)
}

// newRemoteBackend returns the remote backend on a server. It does not run, so that it asks anew, as of the time of each read.
func newRemoteBackend(t *testing.T, s *servers.Server) *remote.Backend {
	t.Helper()
	b, err := remote.New(config.Backend{Name: "remote", URL: s.URL, Refresh: time.Nanosecond}, remote.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// config returns the configuration with a question's rule for a backend.
func (q question) config(backend string) string {
	const head = "apiVersion: config.tachometer.dev/v1alpha1\nkind: AdapterConfig\nbackends:\n- name: remote\n  url: http://127.0.0.1\nrules:\n- metric: m\n"
	text := head + "  " + strings.Join(append(slices.Clone(q.lines), "backend: "+backend), "\n  ") + "\n"
	if !q.external {
		text += "  resource: pods\n  aggregate: max\n  allowNegative: true\n"
	}
	return text
}

// compile compiles a question's rule for a backend.
func (q question) compile(t *testing.T, backend string) *rule.Rule {
	t.Helper()
	text := q.config(backend)
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
		if !query.Rule.External {
			v.Labels = nil // the object says what they do
		}
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

// leaveOutOmitted leaves out what the engine omits and a server computes. Where the engine says that there is nothing, the server must
// have nothing, too.
func leaveOutOmitted[K comparable](want, got map[K]metric.Value) {
	for key, v := range got {
		if v.Reason == "" {
			continue
		}
		delete(got, key)
		if v.Reason != metric.ReasonAbsent {
			delete(want, key)
		}
	}
}

// compare asks both sides the same.
func (q question) compare(t *testing.T, local, remote backend, now time.Time) (values int) {
	t.Helper()
	want := q.evaluate(t, remote, "remote", now)
	got := q.evaluate(t, local, "scrape", now)
	leaveOutOmitted(want, got)
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
			local, remote := w.embedded(t), newRemoteBackend(t, servers.Prometheus(t, servers.Options{Series: w.series}))
			found := 0
			for _, q := range append(questions(w.rand), unusualQuestions(seed)...) {
				found += q.compare(t, local, remote, w.now())
			}
			if found < 120 {
				t.Errorf("only %d values compared", found)
			}
		})
	}
}

// TestLabelNames asks a Prometheus that calls namespaces and pods otherwise: the objects and their values are the same.
func TestLabelNames(t *testing.T) {
	t.Parallel()
	w := newWorld(0, false)
	local := w.embedded(t)
	renamed := slices.Clone(w.series)
	for i, one := range renamed {
		b := labels.NewBuilder(one.Labels).Del("namespace", "pod")
		renamed[i].Labels = b.Set("kubernetes_namespace", one.Labels.Get("namespace")).Set("k8s_pod", one.Labels.Get("pod")).Labels()
	}
	remote := newRemoteBackend(t, servers.Prometheus(t, servers.Options{Series: renamed}))
	found := 0
	for _, q := range questions(w.rand) {
		if q.external {
			continue
		}
		theirs := q
		theirs.lines = append(slices.Clone(q.lines), "labels: {namespace: kubernetes_namespace, pod: k8s_pod}")
		theirs.lines[0] = strings.NewReplacer("namespace", "kubernetes_namespace", "pod", "k8s_pod").Replace(q.lines[0])
		now := w.now()
		want, got := byObject(theirs.evaluate(t, remote, "remote", now)), byObject(q.evaluate(t, local, "scrape", now))
		leaveOutOmitted(want, got)
		if d := cmp.Diff(want, got, same); d != "" {
			t.Errorf("%v, at %d (-remote +embedded)\n%s", theirs, now.UnixMilli(), d)
		}
		found += len(want)
	}
	if found < 80 {
		t.Errorf("only %d values compared", found)
	}
}

// byObject are values by what they are for.
func byObject(values map[string]metric.Value) map[metric.Object]metric.Value {
	objects := map[metric.Object]metric.Value{}
	for _, v := range values {
		objects[v.Object] = v
	}
	return objects
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
	for len(all) < len(typical)+len(typicalExternal)+60 {
		if q := g.ask(g.perPod(), false); !q.givesNothing() {
			all = append(all, q)
		}
	}
	return all
}

// unusualQuestions are those with the rarer parts of PromQL.
func unusualQuestions(seed uint64) (all []question) {
	g := grammar{Rand: rand.New(rand.NewPCG(seed, 1))}
	for _, expr := range unusual {
		all = append(all, g.ask(expr, false))
	}
	for _, expr := range unusualExternal {
		all = append(all, g.ask(expr, true))
	}
	return all
}

// givesNothing reports whether a made-up expression is a fault at load because its filters leave nothing.
func (q question) givesNothing() bool {
	_, _, err := rule.Load([]byte(q.config("scrape")))
	return err != nil && strings.Contains(err.Error(), "never has a result")
}
