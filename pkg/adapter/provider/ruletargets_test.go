package provider

import (
	"testing"
	"time"

	k8slabels "k8s.io/apimachinery/pkg/labels"
	metricsprovider "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

const rabbitmqSource = "service:mail/rabbitmq"

// rabbitmqPod returns a pod of the source.
func rabbitmqPod(name string, change func(*discovery.Pod)) labelledPod {
	p := labelledPod{Pod: discovery.Pod{Namespace: rabbitmqSource, Name: name, Live: true, Ready: true}}
	if change != nil {
		change(&p.Pod)
	}
	return p
}

// TestRuleTargets: every target of a rule must answer. Without that the metric is an error, also with onMissing: never a zero.
func TestRuleTargets(t *testing.T) {
	t.Parallel()
	gone := func(p *discovery.Pod) { p.Live, p.Departed = false, true }
	for name, tc := range map[string]struct {
		pods   []labelledPod
		values []metric.Value
		causes causeOf
		metric string
		want   string // empty: the sum
		sum    string
	}{
		"all answer":              {pods: []labelledPod{rabbitmqPod("a", nil), rabbitmqPod("b", nil)}, values: []metric.Value{newQueueValue("a", 1), newQueueValue("b", 2)}, sum: "3"},
		"an empty queue":          {pods: []labelledPod{rabbitmqPod("a", nil)}, values: []metric.Value{newQueueValue("a", 0)}, sum: "0"},
		"proved absent, zero":     {pods: []labelledPod{rabbitmqPod("a", nil)}, metric: "queue_messages_or_zero", sum: "0"},
		"excluded":                {pods: []labelledPod{rabbitmqPod("a", nil)}, values: []metric.Value{excludedValue("")}, want: `has no series now in namespace "service:mail/rabbitmq": a comparison of the rule excludes it`},
		"excluded, zero":          {pods: []labelledPod{rabbitmqPod("a", nil)}, values: []metric.Value{excludedValue("")}, metric: "queue_messages_or_zero", sum: "0"},
		"no pod":                  {want: `rule "queue_messages": no pod runs behind service:mail/rabbitmq`},
		"no pod, zero":            {metric: "queue_messages_or_zero", want: `no pod runs behind service:mail/rabbitmq`},
		"only pods that end":      {pods: []labelledPod{rabbitmqPod("a", gone)}, metric: "queue_messages_or_zero", want: "no pod runs behind"},
		"a pod is no target":      {pods: []labelledPod{rabbitmqPod("unknown", nil)}, metric: "queue_messages_or_zero", causes: causeOf{"unknown": {Reason: metric.ReasonNotScraped, Detail: "not found"}}, want: "1 target: 1 not scraped (not found)"},
		"one of two fails":        {pods: []labelledPod{rabbitmqPod("a", nil), rabbitmqPod("b", nil)}, values: []metric.Value{newQueueValue("a", 1)}, causes: causeOf{"b": {Reason: metric.ReasonScrapeFailed, Detail: "timeout"}}, want: "2 targets: 1 scrape failed (timeout)"},
		"all fail, zero":          {pods: []labelledPod{rabbitmqPod("a", nil)}, metric: "queue_messages_or_zero", causes: causeOf{"a": {Reason: metric.ReasonScrapeFailed, Detail: "timeout"}}, want: "1 target: 1 scrape failed (timeout)"},
		"other pods do not count": {pods: []labelledPod{livePod("a")}, metric: "queue_messages_or_zero", want: "no pod runs behind"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tc.pods...)
			w.embedded.values = tc.values
			for k, v := range tc.causes {
				w.causes[k] = v
			}
			name := defaultString(tc.metric, "queue_messages")
			w.demands.hpas = []discovery.Demand{{Metric: name, Namespace: rabbitmqSource, External: true}}
			got, err := w.GetExternalMetric(t.Context(), "shop", k8slabels.Everything(), metricsprovider.ExternalMetricInfo{Metric: name})
			if tc.want != "" {
				checkStatus(t, err, 503, tc.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			sum := got.Items[0].Value.DeepCopy()
			for _, v := range got.Items[1:] {
				sum.Add(v.Value)
			}
			if sum.String() != tc.sum {
				t.Errorf("sum %s, want %s", sum.String(), tc.sum)
			}
		})
	}
}

// TestFallbackWakes: a Service without pods is an error at first, and the fallback after its time.
func TestFallbackWakes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	now := noon
	w.Now = func() time.Time { return now }
	read := func() (string, error) {
		got, err := w.GetExternalMetric(t.Context(), "shop", k8slabels.Everything(), metricsprovider.ExternalMetricInfo{Metric: "queue_messages_or_fallback"})
		if err != nil {
			return "", err
		}
		return got.Items[0].Value.String(), nil
	}
	_, err := read()
	checkStatus(t, err, 503, "warming up")
	w.demands.hpas = []discovery.Demand{{Metric: "queue_messages_or_fallback", Namespace: rabbitmqSource, External: true}}
	now = now.Add(2 * time.Second)
	if got, err := read(); got != "3" || err != nil {
		t.Errorf("after the time of the fallback: %s, %v; want 3", got, err)
	}
}

// TestWhenNoPods: an object that has no pods, or whose pods are all ending, has the rule's value. A pod without a value is no proof of
// that, and no more is a pod that has not started.
func TestWhenNoPods(t *testing.T) {
	t.Parallel()
	ending := deadPod("a", metric.ReasonTerminating, "")
	ending.Departed = true
	for name, tc := range map[string]struct {
		pods []labelledPod
		want string // a status; empty: the rule's value
	}{
		"none":        {},
		"ending":      {pods: []labelledPod{ending}},
		"without one": {pods: []labelledPod{livePod("a")}, want: "1 pod: 1 absent (no series of it matches)"},
		"pending":     {pods: []labelledPod{deadPod("a", metric.ReasonNotScraped, "pod is pending")}, want: "1 pod: 1 not scraped (pod is pending)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tc.pods...)
			w.demands.hpas = []discovery.Demand{{Resource: "services", Metric: "needed", Namespace: "shop", Object: "web"}}
			got, err := w.GetMetricByName(t.Context(), newNamespacedName("shop", "web"), newResourceMetricInfo("services", "needed"), nil)
			if tc.want != "" {
				checkStatus(t, err, 503, tc.want)
			} else if err != nil || got.Value.String() != "2" {
				t.Errorf("%v, %v; want the rule's 2", got, err)
			}
		})
	}
	w := newWorld(t)
	_, err := w.GetMetricByName(t.Context(), newNamespacedName("shop", "none"), newResourceMetricInfo("services", "needed"), nil)
	checkStatus(t, err, 404, "does not exist")
}

const gatewaySource = "service:ingress/gateway"

// TestTargetsOfObjects: a Service without pods of its own has a value from the pages of the gateway, over its own series alone. Without
// every page it is an error.
func TestTargetsOfObjects(t *testing.T) {
	t.Parallel()
	gateway := labelledPod{Pod: discovery.Pod{Namespace: gatewaySource, Name: "a", Live: true, Ready: true}}
	rate := func(v float64) metric.Value { return metric.Value{Value: v, Time: noon.Add(-time.Second)} }
	for name, tc := range map[string]struct {
		pods   []labelledPod
		values []metric.Value
		causes causeOf
		metric string
		want   string // a value, or the error of a status 503 or 500
		status int
	}{
		"requests":             {pods: []labelledPod{gateway}, values: []metric.Value{rate(7)}, want: "7"},
		"none now":             {pods: []labelledPod{gateway}, values: []metric.Value{rate(0)}, want: "0"},
		"excluded":             {pods: []labelledPod{gateway}, values: []metric.Value{excludedValue("")}, want: `absent (a comparison of the rule excludes it)`, status: 503},
		"no series":            {pods: []labelledPod{gateway}, want: `absent (no series has exported_namespace="shop" and service="web")`, status: 503},
		"no series, zero":      {pods: []labelledPod{gateway}, metric: "gateway_requests_or_zero", want: "0"},
		"two values":           {pods: []labelledPod{gateway}, values: []metric.Value{rate(1), rate(2)}, want: "2 values for services shop/web", status: 500},
		"no gateway, zero":     {metric: "gateway_requests_or_zero", want: "no pod runs behind service:ingress/gateway", status: 503},
		"a page fails, zero":   {pods: []labelledPod{gateway}, metric: "gateway_requests_or_zero", causes: causeOf{"a": {Reason: metric.ReasonScrapeFailed, Detail: "timeout"}}, want: "1 target: 1 scrape failed (timeout)", status: 503},
		"a negative number":    {pods: []labelledPod{gateway}, values: []metric.Value{rate(-1)}, want: "negative", status: 500},
		"its own pods, no use": {pods: []labelledPod{livePod("web")}, values: []metric.Value{rate(7)}, want: "no pod runs behind service:ingress/gateway", status: 503},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tc.pods...)
			w.embedded.values = tc.values
			for k, v := range tc.causes {
				w.causes[k] = v
			}
			metricName := defaultString(tc.metric, "gateway_requests")
			w.demands.hpas = []discovery.Demand{{Resource: "services", Metric: metricName, Namespace: gatewaySource}}
			got, err := w.GetMetricByName(t.Context(), newNamespacedName("shop", "web"), newResourceMetricInfo("services", metricName), nil)
			if tc.status != 0 {
				checkStatus(t, err, tc.status, tc.want)
				return
			}
			if err != nil || got.Value.String() != tc.want || got.DescribedObject.Name != "web" || got.DescribedObject.Namespace != "shop" {
				t.Fatalf("%+v, %v; want %s", got, err, tc.want)
			}
			const filtered = `sum(rate(gateway_requests_total{namespace="service:ingress/gateway",exported_namespace="shop",service="web"}[1m]))`
			if q := w.embedded.queries[0]; q.Expr(time.Minute, q.Objects) != filtered {
				t.Errorf("expression %s, want %s", q.Expr(time.Minute, q.Objects), filtered)
			}
		})
	}
	w := newWorld(t, gateway)
	_, err := w.GetMetricBySelector(t.Context(), "shop", k8slabels.Everything(), newResourceMetricInfo("services", "gateway_requests"), nil)
	checkStatus(t, err, 400, "ask for one by name")
}

// TestObjectFallbackWakes: a gateway that is gone is an error at first, and the fallback after its time, for each object on its own.
func TestObjectFallbackWakes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	now := noon
	w.Now = func() time.Time { return now }
	w.demands.hpas = []discovery.Demand{{Resource: "services", Metric: "gateway_requests_or_fallback", Namespace: gatewaySource}}
	read := func(name string) string {
		got, err := w.GetMetricByName(t.Context(), newNamespacedName("shop", name), newResourceMetricInfo("services", "gateway_requests_or_fallback"), nil)
		if err != nil {
			return err.Error()
		}
		return got.DescribedObject.Name + "=" + got.Value.String()
	}
	const gone = `rule "gateway_requests_or_fallback": no pod runs behind service:ingress/gateway`
	for _, step := range []struct {
		after        time.Duration
		object, want string
	}{
		{0, "web", gone}, {50 * time.Second, "web", gone}, {60 * time.Second, "web", "web=20"}, {61 * time.Second, "cart", gone}, {121 * time.Second, "cart", "cart=20"},
	} {
		now = noon.Add(step.after)
		if got := read(step.object); got != step.want {
			t.Errorf("%s after %s: %s, want %s", step.object, step.after, got, step.want)
		}
	}
}
