package provider

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	k8slabels "k8s.io/apimachinery/pkg/labels"
	metricsprovider "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// newQueueValue returns a value of an external rule.
func newQueueValue(name string, v float64) metric.Value {
	return metric.Value{Labels: map[string]string{"queue": name}, Value: v, Time: noon.Add(-time.Second)}
}

// missingPods is the engine's error for a sum without these pods.
func missingPods(names ...string) error {
	e := &metric.MissingError{}
	for _, name := range names {
		e.Omissions = append(e.Omissions, metric.Omission{
			Object: metric.Object{Namespace: "shop", Name: name}, Reason: metric.ReasonStale, Detail: "over maxAge 10s",
		})
	}
	return metric.Errorf(metric.KindUnavailable, "evaluate rule: %w", e)
}

func TestExternal(t *testing.T) {
	t.Parallel()
	old := newQueueValue("b", 2)
	old.Time = noon.Add(-time.Minute)
	for name, tc := range map[string]struct {
		metric   string // orders_waiting by default
		selector string
		values   []metric.Value
		err      error
		causes   causeOf
		first    bool          // without an earlier demand
		runs     time.Duration // since the start of the adapter; 0: unknown
		want     string
		code     int
	}{
		"sorted by labels":   {values: []metric.Value{newQueueValue("b", 2), newQueueValue("a", 1.5)}, want: `{queue="a"}=1500m {queue="b"}=2`},
		"negative":           {values: []metric.Value{newQueueValue("a", -1)}, code: 500, want: `rule "orders_waiting" gives -1: negative values are rejected`},
		"negative, allowed":  {metric: "profit", values: []metric.Value{newQueueValue("a", -1)}, want: `{queue="a"}=-1`},
		"NaN, one of many":   {values: []metric.Value{newQueueValue("a", math.NaN()), newQueueValue("b", 2)}, want: `{queue="b"}=2`},
		"NaN, the only one":  {values: []metric.Value{newQueueValue("a", math.NaN())}, code: 503, want: "1 series: 1 not a number"},
		"Inf, one of many":   {values: []metric.Value{newQueueValue("a", math.Inf(1)), newQueueValue("b", 2)}, code: 503, want: "2 series: 1 out of range"},
		"stale, one of many": {values: []metric.Value{newQueueValue("a", 1), old}, code: 503, want: "2 series: 1 stale (over maxAge 10s)"},
		"sum out of range":   {values: []metric.Value{newQueueValue("a", 9e15), newQueueValue("b", 9e15)}, code: 503, want: "2 values: their sum is out of range"},
		"two of one label":   {values: []metric.Value{newQueueValue("a", 1), newQueueValue("a", 2)}, code: 500, want: `rule "orders_waiting": two series with the labels {queue="a"}`},
		"excluded by a comparison": {
			values: []metric.Value{{Reason: metric.ReasonAbsent, Detail: "a comparison of the rule excludes it", Time: noon}},
			code:   503, want: `rule "orders_waiting" has no series now in namespace "shop": a comparison of the rule excludes it`,
		},
		"excluded by a comparison, onMissing": {
			metric: "orders_or_zero", values: []metric.Value{{Reason: metric.ReasonAbsent, Detail: "a comparison of the rule excludes it", Time: noon}},
			want: `{}=0`,
		},
		"none":              {code: 503, want: `rule "orders_waiting" has no series now in namespace "shop"`},
		"none that matches": {selector: "queue=x", code: 503, want: `rule "orders_waiting" has no series now in namespace "shop" that matches selector "queue=x"`},
		"none, onMissing":   {metric: "orders_or_zero", want: `{}=0`},
		"none, onMissing, and a target fails": {
			metric: "orders_or_zero", causes: causeOf{"b": {Reason: metric.ReasonScrapeFailed, Detail: "timeout"}},
			code: 503, want: "2 pods: 1 scrape failed (timeout)",
		},
		"none, onMissing, and the page of a target is old": {
			metric: "orders_or_zero", causes: causeOf{"b": {Reason: metric.ReasonStale, Detail: "newest page 9s old"}},
			code: 503, want: "2 pods: 1 stale (newest page 9s old)",
		},
		"NaN, onMissing":    {metric: "orders_or_zero", values: []metric.Value{newQueueValue("a", math.NaN()), newQueueValue("b", 2)}, want: `{queue="a"}=0 {queue="b"}=2`},
		"no rule":           {metric: "orders_waitin", code: 404, want: "orders_waiting"},
		"operator rejected": {selector: "size>1", code: 400, want: "cannot be expressed"},
		"backend down":      {err: metric.Errorf(metric.KindUnavailable, "down since noon"), code: 503, want: "down since noon"},
		"a target warms up": {values: []metric.Value{newQueueValue("a", 1)}, causes: causeOf{"b": {Reason: metric.ReasonWarmingUp}}, code: 503, want: "2 pods: 1 warming up"},
		"a target fails":    {values: []metric.Value{newQueueValue("a", 1)}, causes: causeOf{"b": {Reason: metric.ReasonScrapeFailed}}, want: `{queue="a"}=1`},
		"a target never answered since a start lately": {
			values: []metric.Value{newQueueValue("a", 1)}, causes: causeOf{"b": {Reason: metric.ReasonScrapeFailed, Detail: "HTTP 503"}}, runs: 59 * time.Second,
			code: 503, want: "2 pods: 1 scrape failed (HTTP 503)",
		},
		"a target never answered for a minute": {
			values: []metric.Value{newQueueValue("a", 1)}, causes: causeOf{"b": {Reason: metric.ReasonScrapeFailed}}, runs: time.Minute, want: `{queue="a"}=1`,
		},
		"a pod without a fresh sample": {
			err: missingPods("b"), causes: causeOf{"b": {Reason: metric.ReasonScrapeFailed, Detail: "timeout"}},
			code: 503, want: "the sum lacks 1 pod: 1 scrape failed (timeout)",
		},
		"a pod without a fresh sample, although it is scraped": {
			err: missingPods("b"), code: 503, want: "the sum lacks 1 pod: 1 stale (over maxAge 10s)",
		},
		"a pod without a fresh sample, onMissing": {
			metric: "orders_or_zero", err: missingPods("a", "b"), code: 503, want: "the sum lacks 2 pods: 2 stale (over maxAge 10s)",
		},
		"a pod is no target":  {values: []metric.Value{newQueueValue("a", 1)}, causes: causeOf{"b": {Reason: metric.ReasonNotScraped}}, want: `{queue="a"}=1`},
		"asked first":         {first: true, values: []metric.Value{newQueueValue("a", 1)}, code: 503, want: "warming up: asked for the first time now"},
		"asked first, zero":   {metric: "orders_or_zero", first: true, code: 503, want: "warming up: asked for the first time now"},
		"over all namespaces": {metric: "everywhere", values: []metric.Value{newQueueValue("a", 1)}, want: `{queue="a"}=1`},
		"of one namespace":    {metric: "elsewhere", values: []metric.Value{newQueueValue("a", 1)}, want: `{queue="a"}=1`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, livePod("a"), livePod("b"))
			w.embedded.values, w.embedded.err = tc.values, tc.err
			if tc.runs > 0 {
				w.Started = noon.Add(-tc.runs)
			}
			for k, v := range tc.causes {
				w.causes[k] = v
			}
			name, namespace, asked := defaultString(tc.metric, "orders_waiting"), "shop", "shop"
			switch name {
			case "everywhere":
				namespace, asked = "", ""
			case "elsewhere": // the rule's own matcher
				namespace, asked = "bank", ""
			}
			selector := mustParse(t, tc.selector)
			if !tc.first {
				w.demands.hpas = []discovery.Demand{{Metric: name, Namespace: namespace, Selector: selector, External: true}}
			}
			got, err := w.GetExternalMetric(t.Context(), "shop", selector, metricsprovider.ExternalMetricInfo{Metric: name})
			if tc.code != 0 {
				checkStatus(t, err, tc.code, tc.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var parts []string
			for _, i := range got.Items {
				if i.MetricName != name {
					t.Errorf("metric name %q, want %q", i.MetricName, name)
				}
				parts = append(parts, seriesText(i.MetricLabels)+"="+i.Value.String())
			}
			if diff := cmp.Diff(tc.want, strings.Join(parts, " ")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if q := w.embedded.queries[0]; q.Namespace != asked || q.Objects != nil {
				t.Errorf("query of namespace %q, objects %v; want %q and any", q.Namespace, q.Objects, asked)
			}
			if d := w.demands.read; len(d) != 1 || d[0].Namespace != namespace || !d[0].External {
				t.Errorf("demands %+v, want one, external, of namespace %q", d, namespace)
			}
		})
	}
}

func seriesText(l map[string]string) string {
	if len(l) == 0 {
		return "{}"
	}
	var parts []string
	for k, v := range l {
		parts = append(parts, k+`="`+v+`"`)
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func TestExternalSelector(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, _ = w.GetExternalMetric(t.Context(), "shop", mustParse(t, "queue in (a,b)"), metricsprovider.ExternalMetricInfo{Metric: "orders_waiting"})
	q := w.embedded.queries[0]
	want := `sum by (queue) (orders_waiting{namespace="shop",queue=~"a|b"})`
	if diff := cmp.Diff(want, q.Expr(0, nil)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	_, err := w.GetExternalMetric(t.Context(), "shop", k8slabels.Nothing(), metricsprovider.ExternalMetricInfo{Metric: "orders_waiting"})
	checkStatus(t, err, 400, "the metric selector selects nothing")
}

// TestFallback reads an external metric over the minutes in which its backend is down.
func TestFallback(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	now := noon
	w.Now = func() time.Time { return now }
	down := metric.Errorf(metric.KindUnavailable, "connection refused")
	for _, step := range []struct {
		at   time.Duration
		err  error
		want string // the error's text where it begins with "!"
	}{
		{0, nil, `{queue="a"}=3`},
		{15 * time.Second, down, "!connection refused"},
		{3*time.Minute - time.Second, down, "!connection refused"},
		{3 * time.Minute, down, "{}=12500m"}, // since the last value
		{4 * time.Minute, metric.Errorf(metric.KindNotFound, "no such metric"), "!no such metric"},
		{5 * time.Minute, nil, `{queue="a"}=3`},
		{6 * time.Minute, down, "!connection refused"},
	} {
		now = noon.Add(step.at)
		v := newQueueValue("a", 3)
		v.Time = now
		w.remote.values, w.remote.err = []metric.Value{v}, step.err
		list, err := w.GetExternalMetric(t.Context(), "shop", nil, metricsprovider.ExternalMetricInfo{Metric: "orders_or_fallback"})
		got := ""
		if err != nil {
			got = "!" + err.Error()
		} else {
			got = seriesText(list.Items[0].MetricLabels) + "=" + list.Items[0].Value.String()
		}
		if got != step.want {
			t.Errorf("after %v: %s, want %s", step.at, got, step.want)
		}
	}
	const want = `
# HELP tachometer_provider_active_fallbacks Metrics last answered with the rule's fallback, within ten minutes.
# TYPE tachometer_provider_active_fallbacks gauge
tachometer_provider_active_fallbacks 0
# HELP tachometer_provider_fallbacks_total Requests answered with the rule's fallback.
# TYPE tachometer_provider_fallbacks_total counter
tachometer_provider_fallbacks_total 1
`
	if err := testutil.GatherAndCompare(w.registry, strings.NewReader(want),
		"tachometer_provider_active_fallbacks", "tachometer_provider_fallbacks_total"); err != nil {
		t.Error(err)
	}
}
