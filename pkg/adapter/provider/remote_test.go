package provider

import (
	"slices"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// TestRemoteNeverAWrongNumber holds the rows of the design's table of that name for rules on a server, from what the server
// says to what an HPA's Pods metric sees: all pods of app web in namespace shop.
func TestRemoteNeverAWrongNumber(t *testing.T) {
	t.Parallel()
	a, b, c := livePod("a"), livePod("b"), livePod("c")
	again := livePod("b") // after an earlier pod of that name
	again.Created = noon.Add(-2 * time.Second)
	absent := func(n int) map[metric.Reason]int { return map[metric.Reason]int{metric.ReasonAbsent: n} }
	runRemote(t, map[string]remoteCase{
		"all have values, each of its own age": {
			pods: []labelledPod{b, a}, server: vector("namespace=shop,pod=a 1.5 1s", "namespace=shop,pod=b 2 9s"),
			want: "a=1500m@1s b=2@9s", query: `(sum by (namespace, pod) (requests{namespace="shop",pod!=""})) or label_replace(max by (namespace, pod) (timestamp(`,
		},
		"window of the expression": {
			pods: []labelledPod{a}, server: vector("namespace=shop,pod=a 1 1s"), read: "pods/*/rate", want: "a=1@1s/60s",
		},
		"one by name": {
			pods: []labelledPod{a, b}, server: vector("namespace=shop,pod=a 1 1s", "namespace=shop,pod=b 2 1s"),
			read: "pods/b/requests", want: "b=2@1s",
		},
		"of the asked namespace only": {
			pods: []labelledPod{a, b}, server: vector("namespace=bank,pod=a 5 1s", "namespace=shop,pod=b 2 1s"),
			want: "b=2@1s", omitted: absent(1),
		},
		"selector of series": {
			pods: []labelledPod{a}, server: vector("namespace=shop,pod=a 1 1s"), selector: "code notin (500,503),route=orders",
			want: "a=1@1s", query: `requests{namespace="shop",pod!="",code!~"500|503",route="orders"}`,
		},

		"pod terminating, its series still there: left out": {
			pods:   []labelledPod{a, deadPod("b", metric.ReasonTerminating, ""), deadPod("c", metric.ReasonTerminating, "pod has failed")},
			server: vector("namespace=shop,pod=a 1 1s", "namespace=shop,pod=b 2 1s", "namespace=shop,pod=c 2 1s"),
			want:   "a=1@1s", omitted: map[metric.Reason]int{metric.ReasonTerminating: 2},
		},
		"only pod terminating: 503, and nobody is asked": {
			pods: []labelledPod{deadPod("a", metric.ReasonTerminating, "")}, server: vector("namespace=shop,pod=a 1 1s"),
			want: "503 1 pod: 1 terminating", omitted: map[metric.Reason]int{metric.ReasonTerminating: 1}, query: "-",
		},
		"pod gone, its series still there: left out": {
			pods: []labelledPod{a}, server: vector("namespace=shop,pod=a 1 1s", "namespace=shop,pod=gone 9 1s"), want: "a=1@1s",
		},
		"series of an earlier pod of that name: left out": {
			pods: []labelledPod{a, again}, server: vector("namespace=shop,pod=a 1 1s", "namespace=shop,pod=b 2 1500ms"),
			want: "a=1@1s", omitted: absent(1),
		},

		"stale by the server's own time, one of many: left out": {
			pods: []labelledPod{a, b}, server: vector("namespace=shop,pod=a 1 10s", "namespace=shop,pod=b 2 10.001s"),
			want: "a=1@10s", omitted: map[metric.Reason]int{metric.ReasonStale: 1},
		},
		"stale, all: 503": {
			pods: []labelledPod{a, b}, server: vector("namespace=shop,pod=a 1 1m", "namespace=shop,pod=b 2 2m"),
			want: "503 2 pods: 2 stale (over maxAge 10s)", omitted: map[metric.Reason]int{metric.ReasonStale: 2},
		},
		"from the future: left out": {
			pods: []labelledPod{a, b}, server: vector("namespace=shop,pod=a 1 1s", "namespace=shop,pod=b 2 -11s"),
			want: "a=1@1s", omitted: map[metric.Reason]int{metric.ReasonStale: 1},
		},
		"sample time missing, one of many: left out": {
			pods: []labelledPod{a, b}, server: vector("namespace=shop,pod=a 1 1s", "namespace=shop,pod=b 2"),
			want: "a=1@1s", omitted: map[metric.Reason]int{metric.ReasonStale: 1},
		},
		"sample time missing, the only one: 503": {
			pods: []labelledPod{a}, server: vector("namespace=shop,pod=a 1"),
			want: "503 1 pod: 1 stale (over maxAge 10s)", omitted: map[metric.Reason]int{metric.ReasonStale: 1},
		},
		"sample time no time: 503": {
			pods: []labelledPod{a}, server: vector("namespace=shop,pod=a 1", "namespace=shop,pod=a,tachometer_sample_time=1 NaN"),
			want: "503 1 pod: 1 stale (over maxAge 10s)", omitted: map[metric.Reason]int{metric.ReasonStale: 1},
		},
		"sample time cannot be asked for: that of the evaluation": {
			pods: []labelledPod{a}, server: vector("namespace=shop,pod=a 1"), read: "pods/*/timeless", want: "a=1@0s",
		},

		"NaN, one of many: left out": {
			pods: []labelledPod{a, b}, server: vector("namespace=shop,pod=a 1 1s", "namespace=shop,pod=b NaN 1s"),
			want: "a=1@1s", omitted: map[metric.Reason]int{metric.ReasonNotANumber: 1},
		},
		"NaN, the only one: 503": {
			pods: []labelledPod{a}, server: vector("namespace=shop,pod=a NaN 1s"),
			want: "503 1 pod: 1 not a number", omitted: map[metric.Reason]int{metric.ReasonNotANumber: 1},
		},
		"Inf and -Inf, among many: left out": {
			pods: []labelledPod{a, b, c}, server: vector("namespace=shop,pod=a 1 1s", "namespace=shop,pod=b +Inf 1s", "namespace=shop,pod=c -Inf 1s"),
			want: "a=1@1s", omitted: map[metric.Reason]int{metric.ReasonOutOfRange: 2},
		},
		"Inf, the only one: 503": {
			pods: []labelledPod{a}, server: vector("namespace=shop,pod=a +Inf 1s"),
			want: "503 1 pod: 1 out of range", omitted: map[metric.Reason]int{metric.ReasonOutOfRange: 1},
		},
		"-Inf, the only one: 503": {
			pods: []labelledPod{a}, server: vector("namespace=shop,pod=a -Inf 1s"),
			want: "503 1 pod: 1 out of range", omitted: map[metric.Reason]int{metric.ReasonOutOfRange: 1},
		},
		"beyond the range of a quantity, one of many: left out": {
			pods: []labelledPod{a, b}, server: vector("namespace=shop,pod=a 1 1s", "namespace=shop,pod=b 1e16 1s"),
			want: "a=1@1s", omitted: map[metric.Reason]int{metric.ReasonOutOfRange: 1},
		},
		"beyond the range of a float, the only one: 503": {
			pods: []labelledPod{a}, server: vector("namespace=shop,pod=a 1e999 1s"),
			want: "503 1 pod: 1 out of range", omitted: map[metric.Reason]int{metric.ReasonOutOfRange: 1},
		},
		"sum beyond what the autoscaler can add up: 503": {
			pods: []labelledPod{a, b}, server: vector("namespace=shop,pod=a 5e15 1s", "namespace=shop,pod=b 5e15 1s"),
			want: "503 2 values: their sum is out of range",
		},

		"negative: 500 with rule and pod": {
			pods: []labelledPod{a, b}, server: vector("namespace=shop,pod=a 1 1s", "namespace=shop,pod=b -0.5 1s"),
			want:    `500 rule "requests" gives -0.5 for shop/b: negative values are rejected; correct the query, or set allowNegative: true`,
			omitted: map[metric.Reason]int{metric.ReasonNegative: 1},
		},
		"negative with allowNegative: served": {
			pods: []labelledPod{a}, server: vector("namespace=shop,pod=a -0.5 1s"), read: "pods/*/balance", want: "a=-500m@1s",
		},
		"negative that rounds to zero: zero": {
			pods: []labelledPod{a}, server: vector("namespace=shop,pod=a -1e-17 1s"), want: "a=0@1s",
		},

		"no pod matches: 404 with namespace and selector, and nobody is asked": {
			server: vector("namespace=shop,pod=a 1 1s"), want: `404 no pod matches selector "app=web" in namespace "shop"`, query: "-",
		},
		"no pod of that name: 404": {
			read: "pods/a/requests", server: vector("namespace=shop,pod=a 1 1s"), want: `404 there is no pod "a" in namespace "shop"`, query: "-",
		},
		"no rule for the metric: 404 with the nearest": {
			pods: []labelledPod{a}, read: "pods/*/requets", want: `404 no rule for metric "requets" on pods; nearest: requests`, query: "-",
		},
		"pods match, none has a series: 503 with the count": {
			pods: []labelledPod{a, b}, server: vector(),
			want: "503 2 pods: 2 absent (backend prometheus has no series)", omitted: absent(2),
		},
		"pods match, none has a result of a filter: 503 that says so": {
			pods: []labelledPod{a, b}, server: vector(), read: "pods/*/busy",
			want: "503 2 pods: 2 absent (backend prometheus has no series, or the rule excludes them)", omitted: absent(2),
		},
		"pods match, none has a value: 503 with the counts": {
			pods:   []labelledPod{a, b, c, livePod("d")},
			server: vector("namespace=shop,pod=a NaN 1s", "namespace=shop,pod=b 1 1m", "namespace=shop,pod=gone 1 1s"),
			want:   "503 4 pods: 2 absent (backend prometheus has no series), 1 stale (over maxAge 10s), 1 not a number",
			omitted: map[metric.Reason]int{
				metric.ReasonAbsent: 2, metric.ReasonStale: 1, metric.ReasonNotANumber: 1,
			},
		},

		"onMissing zero: for every live pod without a number, and not for one whose number is old": {
			pods:   []labelledPod{a, b, c, livePod("d"), deadPod("z", metric.ReasonTerminating, "")},
			server: vector("namespace=shop,pod=a 1 1s", "namespace=shop,pod=b NaN 1s", "namespace=shop,pod=c 3 1m"), read: "pods/*/zero",
			want: "a=1@1s b=0@0s d=0@0s",
			omitted: map[metric.Reason]int{
				metric.ReasonNotANumber: 1, metric.ReasonStale: 1, metric.ReasonAbsent: 1, metric.ReasonTerminating: 1,
			},
		},
		"onMissing value: that value": {
			pods: []labelledPod{a, b}, server: vector("namespace=shop,pod=a 1 1s"), read: "pods/*/seven", want: "a=1@1s b=7@0s", omitted: absent(1),
		},
		"onMissing and an omitted value: 503": {
			pods: []labelledPod{a}, server: vector("namespace=shop,pod=a +Inf 1s"), read: "pods/*/zero",
			want: "503 1 pod: 1 out of range", omitted: map[metric.Reason]int{metric.ReasonOutOfRange: 1},
		},
		"onMissing and a negative number: 500": {
			pods: []labelledPod{a}, server: vector("namespace=shop,pod=a -1 1s"), read: "pods/*/zero",
			want:    `500 rule "zero" gives -1 for shop/a: negative values are rejected; correct the query, or set allowNegative: true`,
			omitted: map[metric.Reason]int{metric.ReasonNegative: 1},
		},
		"onMissing and no pod: 404": {
			read: "pods/*/zero", want: `404 no pod matches selector "app=web" in namespace "shop"`, query: "-",
		},
		"onMissing and the server down: 503": {
			pods: []labelledPod{a}, down: true, read: "pods/*/zero", want: "503 backend prometheus: connection refused, since T; no answer yet",
		},
		"onMissing and a partial response: 503": {
			pods: []labelledPod{a}, server: vector().with(`"warnings":["store 2 is away"]`), read: "pods/*/zero",
			want: "503 backend prometheus: partial response: store 2 is away, since T; no answer yet",
		},

		"labels of the backend": {
			pods: []labelledPod{a, b}, server: vector("kubernetes_namespace=shop,k8s_pod_name=a 1 1s", "kubernetes_namespace=bank,k8s_pod_name=b 1 1s"),
			read: "pods/*/mapped", want: "a=1@1s", omitted: absent(1),
			query: `sum by (kubernetes_namespace, k8s_pod_name) (requests{kubernetes_namespace="shop",k8s_pod_name!=""})`,
		},
		"labels of the rule": {
			pods: []labelledPod{a}, server: vector("namespace=shop,exported_pod=a 1 1s"),
			read: "pods/*/exported", want: "a=1@1s", query: `(requests{namespace="shop",exported_pod!=""})`,
		},
		"labels of the backend, result with the usual ones: 500": {
			pods: []labelledPod{a}, server: vector("namespace=shop,pod=a 1 1s"), read: "pods/*/mapped",
			want: `500 rule "mapped": backend other: the result {namespace="shop", pod="a"} has no label kubernetes_namespace to name its namespace`,
		},

		"sum over a Deployment's pods": {
			pods: []labelledPod{a, b}, server: vector("namespace=shop,pod=a 1 1s", "namespace=shop,pod=b 2 3s"),
			read: "deployments.apps/web/requests", want: "web=3@1s",
		},
		"sum over a Deployment's pods, of which one lacks its series: 503": {
			pods: []labelledPod{a, b}, server: vector("namespace=shop,pod=a 1 1s"), read: "deployments.apps/web/requests",
			want: "503 a sum over 2 pods needs them all: 1 absent (backend prometheus has no series)", omitted: absent(1),
		},
		"sum over a Deployment's pods, of which one is stale: 503": {
			pods: []labelledPod{a, b}, server: vector("namespace=shop,pod=a 1 1s", "namespace=shop,pod=b 1 1m"), read: "deployments.apps/web/requests",
			want: "503 a sum over 2 pods needs them all: 1 stale (over maxAge 10s)", omitted: map[metric.Reason]int{metric.ReasonStale: 1},
		},
		"sum over a namespace's pods, of which one lacks its series: 503": {
			pods: []labelledPod{a, b}, server: vector("namespace=shop,pod=a 1 1s"), read: "namespaces/shop/requests",
			want: "503 a sum over 2 pods needs them all: 1 absent (backend prometheus has no series)", omitted: absent(1),
		},
		"sum over a Deployment's pods, of which one terminates": {
			pods:   []labelledPod{a, deadPod("b", metric.ReasonTerminating, "")},
			server: vector("namespace=shop,pod=a 1 1s", "namespace=shop,pod=b 2 1s"), read: "deployments.apps/web/requests",
			want: "web=1@1s", omitted: map[metric.Reason]int{metric.ReasonTerminating: 1},
		},
		"average over a Deployment's pods, of which one lacks its series": {
			pods: []labelledPod{a, b, c}, server: vector("namespace=shop,pod=a 1 1s", "namespace=shop,pod=b 2 1s"),
			read: "deployments.apps/web/average", want: "web=1500m@1s", omitted: absent(1),
		},
	})
}

// TestRemoteServerFaults has every invalid response of a server.
func TestRemoteServerFaults(t *testing.T) {
	t.Parallel()
	pod := []labelledPod{livePod("a")}
	const whole = "namespace=shop,pod=a 1 1s"
	text := func(code int, contentType, body string) reply {
		return reply{code: code, contentType: contentType, body: body}
	}
	table := map[string]remoteCase{
		"down at start":   {down: true, want: "503 backend prometheus: connection refused, since T; no answer yet"},
		"slow":            {server: reply{never: true}, read: "pods/*/hasty", want: "503 backend hasty: timeout after 600ms, since T; no answer yet"},
		"401":             {server: text(401, "text/plain", ""), want: "503 backend prometheus: unauthorised (HTTP 401): check the credentials under http, since T; no answer yet"},
		"403":             {server: text(403, "text/html", "<html>"), want: "503 backend prometheus: unauthorised (HTTP 403): check the credentials under http, since T; no answer yet"},
		"429":             {server: text(429, "text/plain", "slow down\n"), want: "503 backend prometheus: HTTP 429: slow down, since T; no answer yet"},
		"500":             {server: text(500, "text/plain", "panic\nat line 3"), want: "503 backend prometheus: HTTP 500: panic, since T; no answer yet"},
		"503 of the API":  {server: text(503, "", `{"status":"error","errorType":"timeout","error":"query timed out"}`), want: "503 backend prometheus: HTTP 503: query timed out, since T; no answer yet"},
		"200 of an error": {server: reply{body: `{"status":"error","errorType":"unavailable","error":"starting"}`}, want: "503 backend prometheus: unavailable: starting, since T; no answer yet"},
		"another path":    {server: text(404, "text/plain", "404 page not found\n"), want: "503 backend prometheus: HTTP 404: 404 page not found: no Prometheus API at this url, since T; no answer yet"},
		"query rejected": {
			server: text(400, "", `{"status":"error","errorType":"bad_data","error":"1:2: parse error"}`),
			want:   `500 rule "requests": backend prometheus: rejects the query: 1:2: parse error`,
		},

		"partial response": {
			server: vector(whole).with(`"warnings":["store 2 is away"]`),
			want:   "503 backend prometheus: partial response: store 2 is away, since T; no answer yet",
		},
		"partial response, accepted": {server: vector(whole).with(`"warnings":["store 2 is away"]`), read: "pods/*/trusting", want: "a=1@1s"},
		"isPartial": {
			server: vector(whole).with(`"isPartial":true`), want: "503 backend prometheus: partial response: isPartial, since T; no answer yet",
		},
		"isPartial, accepted":      {server: vector(whole).with(`"isPartial":true`), read: "pods/*/trusting", want: "a=1@1s"},
		"isPartial, but it is not": {server: vector(whole).with(`"isPartial":false,"warnings":[]`), want: "a=1@1s"},
		"infos":                    {server: vector(whole).with(`"infos":["PromQL info: x"]`), want: "a=1@1s"},

		"duplicate series for one pod": {
			server: vector("namespace=shop,pod=a,job=x 1 1s", "namespace=shop,pod=a,job=y 2 1s"),
			want: `500 rule "requests": backend prometheus: two results for pod shop/a: {job="x", namespace="shop", pod="a"} and ` +
				`{job="y", namespace="shop", pod="a"}; aggregate by (pod)`,
		},
		"duplicate series with the same labels": {
			server: vector(whole, "namespace=shop,pod=a 2 1s"),
			want: `500 rule "requests": backend prometheus: two results for pod shop/a: {namespace="shop", pod="a"} and ` +
				`{namespace="shop", pod="a"}; aggregate by (pod)`,
		},
		"result without the pod's label": {
			server: vector(whole, "namespace=shop,instance=b 2 1s"),
			want:   `500 rule "requests": backend prometheus: the result {instance="b", namespace="shop"} has no label pod to name its object`,
		},
		"result without the namespace's label": {
			server: vector("pod=a 1 1s"),
			want:   `500 rule "requests": backend prometheus: the result {pod="a"} has no label namespace to name its namespace`,
		},

		"HTML": {
			server: text(200, "text/html; charset=utf-8", "<html><form>"),
			want: "503 backend prometheus: the answer is an HTML page, not JSON, perhaps for logging in: check the url and the credentials, " +
				"since T; no answer yet",
		},
		"another content type": {
			server: text(200, "text/plain; version=0.0.4", "up 1"), want: `503 backend prometheus: the answer is "text/plain", not JSON: check the url, since T; no answer yet`,
		},
		"truncated JSON": {
			server: reply{body: vector(whole).body[:100]}, want: "503 backend prometheus: the answer is truncated JSON of 100 bytes, since T; no answer yet",
		},
		"too large": {
			server: vector(slices.Repeat([]string{whole}, 20)...), read: "pods/*/narrow",
			want: "503 backend narrow: the answer has more than the 1024 bytes of maxResponseBytes, since T; no answer yet",
		},
		"matrix": {
			server: reply{body: `{"status":"success","data":{"resultType":"matrix","result":[]}}`},
			want:   `500 rule "requests": backend prometheus: the result is a "matrix", not a vector`,
		},
		"native histogram": {
			server: reply{body: `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"namespace":"shop","pod":"a"},"histogram":[1,{}]}]}}`},
			want: `500 rule "requests": backend prometheus: the result {namespace="shop", pod="a"} is a native histogram: ` +
				`use a function that makes a number of it`,
		},
	}
	for name, tc := range table {
		tc.pods = pod
		table[name] = tc
	}
	runRemote(t, table)
}
