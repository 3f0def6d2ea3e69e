package provider

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/model"
	k8slabels "k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	metricsprovider "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

func newObjectDemand(resource, name, namespace, object string, selector k8slabels.Selector) discovery.Demand {
	return discovery.Demand{Resource: resource, Metric: name, Namespace: namespace, Object: object, Selector: selector}
}

// formatValueList returns the items of a list as name=value.
func formatValueList(l *custom_metrics.MetricValueList) string {
	var parts []string
	for _, i := range l.Items {
		parts = append(parts, i.DescribedObject.Name+"="+i.Value.String())
	}
	return strings.Join(parts, " ")
}

func TestQuery(t *testing.T) {
	t.Parallel()
	w := newWorld(t, livePod("b"), livePod("a"), deadPod("c", metric.ReasonTerminating, ""))
	w.embedded.values = []metric.Value{fresh("a", 1), fresh("b", 2)}
	_, err := w.GetMetricBySelector(t.Context(), "shop", mustParse(t, "app=web"), pods("request_per_second"), mustParse(t, "code notin (500,503),route=orders"))
	if err != nil {
		t.Fatal(err)
	}
	if len(w.embedded.queries) != 1 {
		t.Fatalf("%d queries, want 1", len(w.embedded.queries))
	}
	q := w.embedded.queries[0]
	want := `sum by (namespace, pod) (rate(http_requests_total{namespace="shop",pod=~"a|b|c",code!~"500|503",route="orders"}[30s]))`
	if diff := cmp.Diff(want, q.Expr(30*time.Second, q.Objects)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestQueryForNoLivePod(t *testing.T) {
	t.Parallel()
	w := newWorld(t, deadPod("c", metric.ReasonTerminating, ""))
	if _, err := w.GetMetricByName(t.Context(), newNamespacedName("shop", "c"), pods("request_per_second"), nil); err == nil {
		t.Fatal("a terminating pod was answered")
	}
	if len(w.embedded.queries) != 0 {
		t.Errorf("%d queries for no object: those would select any", len(w.embedded.queries))
	}
}

func TestOnePod(t *testing.T) {
	t.Parallel()
	w := newWorld(t, livePod("a"), livePod("b"), deadPod("c", metric.ReasonTerminating, ""))
	w.demands.hpas = []discovery.Demand{newObjectDemand("pods", "request_per_second", "shop", "b", nil)}
	w.embedded.values = []metric.Value{fresh("a", 1.25)}
	w.causes["b"] = metric.Omission{Reason: metric.ReasonScrapeFailed, Detail: "HTTP 500"}
	for name, tc := range map[string]struct {
		pod, want string
		code      int
	}{
		"value":          {"a", "1250m", 0},
		"no value":       {"b", "pod b: 1 scrape failed (HTTP 500)", 503},
		"terminating":    {"c", "pod c: 1 terminating", 503},
		"does not exist": {"d", `there is no pod "d" in namespace "shop"`, 404},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := w.GetMetricByName(t.Context(), newNamespacedName("shop", tc.pod), pods("request_per_second"), nil)
			checkValue(t, got, err, tc.code, tc.want)
		})
	}
}

func TestAggregated(t *testing.T) {
	t.Parallel()
	a, b, c := livePod("a"), livePod("b"), livePod("c")
	gone := deadPod("d", metric.ReasonTerminating, "")
	pending := deadPod("p", metric.ReasonNotScraped, "pod is pending")
	two := []metric.Value{aged("a", 1, 3*time.Second), aged("b", 2.5, time.Second)}
	for name, tc := range map[string]struct {
		resource, object, metric string
		pods                     []labelledPod
		values                   []metric.Value
		causes                   causeOf
		exposed                  string // pod/family: on the pod's page
		want                     string
		code                     int
	}{
		"sum":                        {pods: []labelledPod{a, b, gone, pending}, values: two, want: "3500m"},
		"service":                    {resource: "services", pods: []labelledPod{a, b}, values: two, want: "3500m"},
		"deployment, group left out": {resource: "deployments", pods: []labelledPod{a, b}, values: two, want: "3500m"},
		"max":                        {metric: "in_flight", pods: []labelledPod{a, b, c}, values: two, want: "2500m"},
		"avg over those present":     {metric: "latency", pods: []labelledPod{a, b, c}, values: two, want: "1750m"},
		"sum lacks a pod that warms up": {
			pods: []labelledPod{a, b, c}, values: two, causes: causeOf{"c": {Reason: metric.ReasonWarmingUp}},
			code: 503, want: "a sum over 3 pods needs them all: 1 warming up",
		},
		"sum lacks a pod whose scrape fails": {
			pods: []labelledPod{a, b, c}, values: two, causes: causeOf{"c": {Reason: metric.ReasonScrapeFailed, Detail: "connection refused"}},
			code: 503, want: "a sum over 3 pods needs them all: 1 scrape failed (connection refused)",
		},
		"sum lacks a NaN": {
			pods: []labelledPod{a, b, c}, values: append([]metric.Value{fresh("c", math.NaN())}, two...),
			code: 503, want: "a sum over 3 pods needs them all: 1 not a number",
		},
		"sum needs no pod that was scraped and adds nothing": {
			pods: []labelledPod{a, b, c}, values: two, causes: causeOf{"c": {Reason: metric.ReasonAbsent}}, want: "3500m",
		},
		"sum of a remote backend needs a pod without series": {
			metric: "remote", pods: []labelledPod{a, b, c}, values: two,
			code: 503, want: "a sum over 3 pods needs them all: 1 absent (backend prometheus has no series)",
		},
		"sum of a service needs a pod that is not scraped": {
			resource: "services", pods: []labelledPod{a, b, c}, values: two, causes: causeOf{"c": {Reason: metric.ReasonNotScraped, Detail: "no port"}},
			code: 503, want: "a sum over 3 pods needs them all: 1 not scraped (no port)",
		},
		"sum of a namespace does not need a pod that is not scraped": {
			resource: "namespaces", object: "shop", pods: []labelledPod{a, b, c}, values: two,
			causes: causeOf{"c": {Reason: metric.ReasonNotScraped, Detail: "no port"}}, want: "3500m",
		},
		"sum of a node": {resource: "nodes", object: "n1", pods: []labelledPod{a, b}, values: two, want: "3500m"},
		"sum with what onMissing says": {
			metric: "seven_if_missing", pods: []labelledPod{a, b, c}, values: two, want: "10500m",
		},
		"sum needs a pod that does not answer, whatever onMissing says": {
			metric: "seven_if_missing", pods: []labelledPod{a, b, c}, values: two, causes: causeOf{"c": {Reason: metric.ReasonScrapeFailed}},
			code: 503, want: "a sum over 3 pods needs them all: 1 scrape failed",
		},
		"sum of rates leaves out a pod that is not ready and does not answer": {
			pods: []labelledPod{a, b, unready("c")}, values: two, causes: causeOf{"c": {Reason: metric.ReasonScrapeFailed}}, want: "3500m",
		},
		"sum of rates needs a pod that is not ready and answers": {
			pods: []labelledPod{a, b, unready("c")}, values: two, causes: causeOf{"c": {Reason: metric.ReasonWarmingUp}},
			code: 503, want: "a sum over 3 pods needs them all: 1 warming up",
		},
		"sum of rates needs a pod that has just stopped being ready: its counts are within the window": {
			pods: []labelledPod{a, b, unready("c")}, values: append(append([]metric.Value(nil), two...), omittedValue("c", metric.ReasonStale, "no sample within the window")),
			causes: causeOf{"c": {Reason: metric.ReasonScrapeFailed}}, code: 503, want: "a sum over 3 pods needs them all: 1 scrape failed (no sample within the window)",
		},
		"the engine's own words for a stale pod": {
			pods: []labelledPod{a, b, c}, values: append(append([]metric.Value(nil), two...), omittedValue("c", metric.ReasonStale, "no sample within the window")),
			code: 503, want: "a sum over 3 pods needs them all: 1 stale (no sample within the window)",
		},
		"sum of gauges needs a pod that is not ready": {
			metric: "balance", pods: []labelledPod{a, b, unready("c")}, values: two, causes: causeOf{"c": {Reason: metric.ReasonScrapeFailed}},
			code: 503, want: "a sum over 3 pods needs them all: 1 scrape failed",
		},
		"max needs a ready pod that does not answer: it may be the slowest": {
			metric: "in_flight", pods: []labelledPod{a, b, c}, values: two, causes: causeOf{"c": {Reason: metric.ReasonScrapeFailed}},
			code: 503, want: "a maximum over 3 pods needs them all: 1 scrape failed",
		},
		"max without a new pod": {
			metric: "in_flight", pods: []labelledPod{a, b, c}, values: two, causes: causeOf{"c": {Reason: metric.ReasonWarmingUp}}, want: "2500m",
		},
		"max without a pod that is not ready": {
			metric: "in_flight", pods: []labelledPod{a, b, unready("c")}, values: two, causes: causeOf{"c": {Reason: metric.ReasonScrapeFailed}},
			want: "2500m",
		},
		"no proof of absence": {
			pods: []labelledPod{a, b, c}, values: two, causes: causeOf{"c": {}},
			code: 503, want: "a sum over 3 pods needs them all: 1 stale (no fresh sample)",
		},
		"no proof of absence, and onMissing": {
			metric: "seven_if_missing", pods: []labelledPod{a, b, c}, values: two, causes: causeOf{"c": {Reason: metric.ReasonStale}},
			code: 503, want: "a sum over 3 pods needs them all: 1 stale",
		},
		"the engine omits a pod": {
			pods: []labelledPod{a, b, c}, values: append([]metric.Value{omittedValue("c", metric.ReasonDecreasing, "a counter decreases")}, two...),
			code: 503, want: "a sum over 3 pods needs them all: 1 decreasing (a counter decreases)",
		},
		"a comparison excludes the only pod": {
			pods: []labelledPod{a}, values: []metric.Value{omittedValue("a", metric.ReasonAbsent, "a comparison of the rule excludes it")},
			causes: causeOf{"a": {Reason: metric.ReasonWarmingUp, Detail: "scraped for 35s only"}}, exposed: "a/http_requests_total",
			code: 503, want: "1 pod: 1 absent (a comparison of the rule excludes it)",
		},
		"a comparison excludes a pod whose scrapes fail": {
			pods: []labelledPod{a}, values: []metric.Value{omittedValue("a", metric.ReasonAbsent, "a comparison of the rule excludes it")},
			causes: causeOf{"a": {Reason: metric.ReasonScrapeFailed, Detail: "HTTP 500"}},
			code:   503, want: "1 pod: 1 scrape failed (HTTP 500)",
		},
		"sum beyond the range": {
			pods: []labelledPod{a, b}, values: []metric.Value{fresh("a", 9e15), fresh("b", 9e15)},
			code: 503, want: "deployments.apps shop/web: 1 out of range",
		},
		"none has a value": {pods: []labelledPod{a, gone}, code: 503, want: "2 pods: 1 absent (no series of it matches), 1 terminating"},
		"selects no pod":   {object: "idle", pods: []labelledPod{a}, code: 404, want: `deployments.apps "shop/idle" has no pods`},
		"does not exist":   {object: "none", code: 404, want: "deployments.apps shop/none does not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tc.pods...)
			w.embedded.values, w.remote.values = tc.values, tc.values
			for k, v := range tc.causes {
				w.causes[k] = v
			}
			if tc.exposed != "" {
				w.types[tc.exposed] = model.MetricTypeCounter
			}
			resource, object, namespace := defaultString(tc.resource, "deployments.apps"), defaultString(tc.object, "web"), "shop"
			if resource == "namespaces" || resource == "nodes" {
				namespace = ""
			}
			info := newResourceMetricInfo(resource, defaultString(tc.metric, "request_per_second"))
			canonical := resource
			if canonical == "deployments" {
				canonical = "deployments.apps"
			}
			w.demands.hpas = []discovery.Demand{newObjectDemand(canonical, info.Metric, namespace, object, nil)}
			got, err := w.GetMetricByName(t.Context(), newNamespacedName(namespace, object), info, nil)
			checkValue(t, got, err, tc.code, tc.want)
			if want := noon.Add(-time.Second); tc.code == 0 && !got.Timestamp.Time.Equal(want) {
				t.Errorf("timestamp %v, want that of the newest, %v", got.Timestamp, want)
			}
		})
	}
}

// TestNodeWithNamespaces: pods of the same name in two namespaces are two pods.
func TestNodeWithNamespaces(t *testing.T) {
	t.Parallel()
	other := livePod("a")
	other.Namespace = "bank"
	w := newWorld(t, livePod("a"), other)
	v := fresh("a", 2)
	v.Object.Namespace = "bank"
	w.embedded.values = []metric.Value{fresh("a", 1), v}
	got, err := w.GetMetricByName(t.Context(), newNamespacedName("", "n1"), newResourceMetricInfo("nodes", "request_per_second"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.Value.String() != "3" {
		t.Errorf("value %s, want 3", got.Value.String())
	}
	for _, q := range w.embedded.queries {
		if q.Namespace == "" {
			t.Error("a query spans namespaces: a rule that sums by pod would add up different pods")
		}
	}
}

// excludedValue is what the engine says of an object that the rule excludes.
func excludedValue(name string) metric.Value {
	return metric.Value{Object: metric.Object{Name: name}, Time: noon, Reason: metric.ReasonAbsent, Detail: "a comparison of the rule excludes it"}
}

func TestLabelled(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		resource, object, metric string
		values                   []metric.Value
		causes                   causeOf
		fresh                    bool // without an earlier demand
		want                     string
		code                     int
	}{
		"namespace": {values: []metric.Value{{Object: metric.Object{Name: "shop"}, Value: 12, Time: noon}}, want: "12"},
		"node": {
			resource: "nodes", object: "n1", metric: "load",
			values: []metric.Value{{Object: metric.Object{Name: "n1"}, Value: 0.5, Time: noon}}, want: "500m",
		},
		"asked for the first time": {
			fresh: true, values: []metric.Value{{Object: metric.Object{Name: "shop"}, Value: 12, Time: noon}},
			code: 503, want: "warming up: asked for the first time now; first values in about 2 scrape intervals",
		},
		"a target warms up: the sum would be too low": {
			values: []metric.Value{{Object: metric.Object{Name: "shop"}, Value: 12, Time: noon}},
			causes: causeOf{"b": {Reason: metric.ReasonWarmingUp}},
			code:   503, want: "2 pods: 1 warming up",
		},
		"a target fails": {
			values: []metric.Value{{Object: metric.Object{Name: "shop"}, Value: 12, Time: noon}},
			causes: causeOf{"b": {Reason: metric.ReasonScrapeFailed}}, want: "12",
		},
		"no value": {
			causes: causeOf{"b": {Reason: metric.ReasonScrapeFailed, Detail: "HTTP 500"}},
			code:   503, want: "2 pods: 1 scrape failed (HTTP 500), 1 absent (no series of it matches)",
		},
		"a comparison excludes it, and a target was scraped for a moment": {
			values: []metric.Value{excludedValue("shop")}, causes: causeOf{"b": {Reason: metric.ReasonAbsent}},
			code: 503, want: "namespaces shop: 1 absent (a comparison of the rule excludes it)",
		},
		"a comparison excludes it, and a target may have more series": {
			values: []metric.Value{excludedValue("shop")}, causes: causeOf{"b": {Reason: metric.ReasonWarmingUp}},
			code: 503, want: "2 pods: 1 warming up",
		},
		"a comparison excludes it, no pods": {object: "empty", values: []metric.Value{excludedValue("empty")}, code: 404, want: "has no pods"},
		"no pods":                           {object: "empty", code: 404, want: `namespaces "empty" has no pods`},
		"NaN":                               {values: []metric.Value{{Object: metric.Object{Name: "shop"}, Value: math.NaN(), Time: noon}}, code: 503, want: "namespaces shop: 1 not a number"},
		"stale":                             {values: []metric.Value{{Object: metric.Object{Name: "shop"}, Value: 1}}, code: 503, want: "namespaces shop: 1 stale"},
		"negative":                          {values: []metric.Value{{Object: metric.Object{Name: "shop"}, Value: -1, Time: noon}}, code: 500, want: `rule "traffic" gives -1 for shop`},
		"two of it": {
			values: []metric.Value{{Object: metric.Object{Name: "shop"}, Time: noon}, {Object: metric.Object{Name: "shop"}, Time: noon}},
			code:   500, want: `rule "traffic": two values for namespaces "shop"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, livePod("a"), livePod("b"))
			w.embedded.values = tc.values
			for k, v := range tc.causes {
				w.causes[k] = v
			}
			resource, object := defaultString(tc.resource, "namespaces"), defaultString(tc.object, "shop")
			info := newResourceMetricInfo(resource, defaultString(tc.metric, "traffic"))
			if !tc.fresh {
				w.demands.hpas = []discovery.Demand{newObjectDemand(resource, info.Metric, "", object, nil)}
			}
			got, err := w.GetMetricByName(t.Context(), newNamespacedName("", object), info, nil)
			checkValue(t, got, err, tc.code, tc.want)
		})
	}
}

func TestAllLabelled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, livePod("a"))
	w.demands.hpas = []discovery.Demand{newObjectDemand("nodes", "load", "", "", nil)}
	w.embedded.values = []metric.Value{
		{Object: metric.Object{Name: "n2"}, Value: 2, Time: noon}, {Object: metric.Object{Name: "n1"}, Value: 1, Time: noon},
		{Object: metric.Object{Name: "n3"}, Value: math.NaN(), Time: noon},
	}
	got, err := w.GetMetricBySelector(t.Context(), "", k8slabels.Everything(), newResourceMetricInfo("nodes", "load"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("n1=1 n2=2", formatValueList(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	_, err = w.GetMetricBySelector(t.Context(), "", mustParse(t, "zone=a"), newResourceMetricInfo("nodes", "load"), nil)
	checkStatus(t, err, 400, "nodes cannot be selected here: ask for one by name")
	w.embedded.values = []metric.Value{{Object: metric.Object{Name: "n2"}, Value: 2, Time: noon}, excludedValue("n1")}
	if got, err = w.GetMetricBySelector(t.Context(), "", k8slabels.Everything(), newResourceMetricInfo("nodes", "load"), nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("n2=2", formatValueList(got)); diff != "" {
		t.Errorf("with an excluded node (-want +got):\n%s", diff)
	}
	w.embedded.values = []metric.Value{excludedValue("n1")}
	_, err = w.GetMetricBySelector(t.Context(), "", k8slabels.Everything(), newResourceMetricInfo("nodes", "load"), nil)
	checkStatus(t, err, 503, "1 object: 1 absent (a comparison of the rule excludes it)")
	w.embedded.values = nil
	_, err = w.GetMetricBySelector(t.Context(), "", k8slabels.Everything(), newResourceMetricInfo("nodes", "load"), nil)
	checkStatus(t, err, 503, `rule "load" has no series for any of nodes`)
}

func TestRejected(t *testing.T) {
	t.Parallel()
	w := newWorld(t, livePod("a"))
	t.Cleanup(func() {
		if len(w.demands.read) != 0 {
			t.Errorf("rejected reads made a demand: %v", w.demands.read)
		}
	})
	for name, tc := range map[string]struct {
		read func() error
		code int
		want string
	}{
		"pods of all namespaces": {
			func() error {
				_, err := w.GetMetricBySelector(t.Context(), "", k8slabels.Everything(), pods("request_per_second"), nil)
				return err
			}, 400, "pods are in a namespace: ask for namespaces/NAMESPACE/pods/NAME/request_per_second",
		},
		"a node through a namespace": {
			func() error {
				_, err := w.GetMetricByName(t.Context(), newNamespacedName("shop", "n1"), newResourceMetricInfo("nodes", "load"), nil)
				return err
			}, 400, "nodes are in no namespace: ask for nodes/NAME/load",
		},
		"a namespace through a namespace": {
			func() error {
				_, err := w.GetMetricByName(t.Context(), newNamespacedName("shop", "shop"), newResourceMetricInfo("namespaces", "load"), nil)
				return err
			}, 400, "namespaces are in no namespace: ask for namespaces/NAME/metrics/load",
		},
		"all services": {
			func() error {
				_, err := w.GetMetricBySelector(t.Context(), "shop", k8slabels.Everything(), newResourceMetricInfo("services", "request_per_second"), nil)
				return err
			}, 400, "services cannot be selected here: ask for one by name",
		},
		"unknown resource": {
			func() error {
				_, err := w.GetMetricByName(t.Context(), newNamespacedName("shop", "x"), newResourceMetricInfo("gadgets.example.com", "request_per_second"), nil)
				return err
			}, 404, `the cluster has no resource "gadgets.example.com"`,
		},
		"operator without a matcher": {
			func() error {
				_, err := w.GetMetricByName(t.Context(), newNamespacedName("shop", "a"), pods("request_per_second"), mustParse(t, "size>3"))
				return err
			}, 400, "cannot be expressed",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkStatus(t, tc.read(), tc.code, tc.want)
		})
	}
}

// TestFirstRead: the first request starts the scraping, and its response says so.
func TestFirstRead(t *testing.T) {
	t.Parallel()
	a, b := livePod("a"), livePod("b")
	w := newWorld(t, a, b)
	w.causes["a"] = metric.Omission{Reason: metric.ReasonNotScraped, Detail: "not demanded yet"}
	w.causes["b"] = metric.Omission{Reason: metric.ReasonWarmingUp}
	read := func() error {
		_, err := w.GetMetricBySelector(t.Context(), "shop", mustParse(t, "app=web"), pods("zero_if_missing"), nil)
		return err
	}
	checkStatus(t, read(), 503, "2 pods: 2 warming up (asked for the first time now; first values in about 2 scrape intervals)")
	if len(w.demands.read) != 1 || !w.isRequestDemanded(newObjectDemand("pods", "zero_if_missing", "shop", "", mustParse(t, "app=web"))) {
		t.Fatalf("demands %+v, want the read's", w.demands.read)
	}
	w.causes["a"] = metric.Omission{Reason: metric.ReasonWarmingUp, Detail: "1 sample"}
	checkStatus(t, read(), 503, "2 pods: 2 warming up (1 sample)")
}

// TestFirstReadOfOneThatCannotBeScraped: a cause that a user can remove stays visible.
func TestFirstReadOfOneThatCannotBeScraped(t *testing.T) {
	t.Parallel()
	w := newWorld(t, livePod("a"))
	w.causes["a"] = metric.Omission{Reason: metric.ReasonNotScraped, Detail: "no port is declared"}
	_, err := w.GetMetricBySelector(t.Context(), "shop", mustParse(t, "app=web"), pods("request_per_second"), nil)
	checkStatus(t, err, 503, "1 pod: 1 not scraped (no port is declared)")
}

func TestUnknownBackend(t *testing.T) {
	t.Parallel()
	w := newWorld(t, livePod("a"))
	delete(w.backends, "prometheus")
	_, err := w.GetMetricByName(t.Context(), newNamespacedName("shop", "a"), pods("remote"), nil)
	checkStatus(t, err, 500, `rule "remote": there is no backend "prometheus"`)
}

func TestRequestThatEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, livePod("a"))
	w.embedded.err = context.DeadlineExceeded
	_, err := w.GetMetricByName(t.Context(), newNamespacedName("shop", "a"), pods("request_per_second"), nil)
	checkStatus(t, err, 503, `metric "request_per_second": the request ended before the answer was ready`)
}

func defaultString(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// TestDirect: where results name the objects themselves, an object has its own value, and no pods are looked at.
func TestDirect(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	of := func(name string, v float64) metric.Value {
		return metric.Value{Object: metric.Object{Namespace: "shop", Name: name}, Value: v, Time: noon.Add(-time.Second)}
	}
	w.remote.values = []metric.Value{of("cart", 7), of("web", 3)}
	info := metricsprovider.CustomMetricInfo{GroupResource: schema.GroupResource{Resource: "services"}, Namespaced: true, Metric: "requests_of_service"}
	v, err := w.GetMetricByName(t.Context(), newNamespacedName("shop", "cart"), info, nil)
	if err != nil {
		t.Fatal(err)
	}
	if v.Value.String() != "7" || v.DescribedObject.Kind != "Service" || v.DescribedObject.Name != "cart" {
		t.Errorf("answer %+v", v)
	}
	list, err := w.GetMetricBySelector(t.Context(), "shop", k8slabels.Everything(), info, nil)
	if err != nil || len(list.Items) != 2 {
		t.Fatalf("all services: %v, %v", list, err)
	}
	_, err = w.GetMetricByName(t.Context(), newNamespacedName("shop", "bank"), info, nil)
	checkStatus(t, err, 503, "services bank: 1 absent (backend prometheus has no series)")
}

// TestAggregateWithoutCase: a new aggregate must not silently become a sum.
func TestAggregateWithoutCase(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("aggregate min has a value, want a panic")
		}
	}()
	aggregatePodValues("min", []*metric.Value{{Value: 1}, {Value: 2}})
}
