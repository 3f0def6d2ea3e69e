package provider

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// TestRemoteObjects reads objects whose name is a label of the results.
func TestRemoteObjects(t *testing.T) {
	t.Parallel()
	runRemote(t, map[string]remoteCase{
		"one": {
			server: vector("namespace=shop,service=cart 7 2s", "namespace=shop,service=web 3 1s"), read: "services/cart/hits",
			want: "cart=7@2s", query: `sum by (namespace, service) (hits{namespace="shop",service!=""})`,
		},
		"all": {
			server: vector("namespace=shop,service=web 3 1s", "namespace=shop,service=cart 7 2s", "namespace=bank,service=till 1 1s"),
			read:   "services/*/hits", want: "cart=7@2s web=3@1s",
		},
		"all, of which some have no number": {
			server: vector("namespace=shop,service=web 3 1s", "namespace=shop,service=cart NaN 2s", "namespace=shop,service=till 1 1m"),
			read:   "services/*/hits", want: "web=3@1s",
			omitted: map[metric.Reason]int{metric.ReasonNotANumber: 1, metric.ReasonStale: 1},
		},
		"none": {
			server: vector(), read: "services/cart/hits",
			want: "503 services cart: 1 absent (backend prometheus has no series)", omitted: map[metric.Reason]int{metric.ReasonAbsent: 1},
		},
		"none, onMissing": {
			server: vector(), read: "services/cart/hits_or_zero", want: "cart=0@0s", omitted: map[metric.Reason]int{metric.ReasonAbsent: 1},
		},
		"none at all": {server: vector(), read: "services/*/hits", want: `503 rule "hits" has no series for any of services`},
		"NaN": {
			server: vector("namespace=shop,service=cart NaN 2s"), read: "services/cart/hits",
			want: "503 services shop/cart: 1 not a number", omitted: map[metric.Reason]int{metric.ReasonNotANumber: 1},
		},
		"stale": {
			server: vector("namespace=shop,service=cart 1 11s"), read: "services/cart/hits",
			want: "503 services shop/cart: 1 stale (over maxAge 10s)", omitted: map[metric.Reason]int{metric.ReasonStale: 1},
		},
		"negative": {
			server: vector("namespace=shop,service=cart -1 2s"), read: "services/cart/hits",
			want:    `500 rule "hits" gives -1 for shop/cart: negative values are rejected; correct the query, or set allowNegative: true`,
			omitted: map[metric.Reason]int{metric.ReasonNegative: 1},
		},
		"twice": {
			server: vector("namespace=shop,service=cart,job=a 1 2s", "namespace=shop,service=cart,job=b 1 2s"), read: "services/cart/hits",
			want: `500 rule "hits": backend prometheus: two results for service shop/cart: {job="a", namespace="shop", service="cart"} and ` +
				`{job="b", namespace="shop", service="cart"}; aggregate by (service)`,
		},
		"another's label missing": {
			server: vector("namespace=shop,service=cart 1 2s", "namespace=shop,pod=a 1 2s"), read: "services/cart/hits",
			want: `500 rule "hits": backend prometheus: the result {namespace="shop", pod="a"} has no label service to name its object`,
		},
		"of the cluster": {
			server: vector("instance=n1 0.5 2s", "instance=n2 1 1s"), read: "nodes/n1/load", want: "n1=500m@2s", query: `(load{instance!=""})`,
		},
		"server down": {down: true, read: "services/cart/hits", want: "503 backend prometheus: connection refused, since T; no answer yet"},
	})
}

// TestRemoteExternal reads external metrics of namespace shop.
func TestRemoteExternal(t *testing.T) {
	t.Parallel()
	runRemote(t, map[string]remoteCase{
		"several series, several items": {
			server: vector("queue=b 2 1s", "queue=a 1.5 3s"), read: "external/orders", want: `{queue="a"}=1500m@3s {queue="b"}=2@1s`,
		},
		"without labels": {server: vector("- 4 1s"), read: "external/all_orders", want: "{}=4@1s"},
		"namespace of the request, by default": {
			server: vector("queue=a 1 1s"), read: "external/orders", want: `{queue="a"}=1@1s`, query: `(sum by (queue) (orders{namespace="shop"}))`,
		},
		"namespace of the request": {
			server: vector("queue=a 1 1s"), read: "external/orders_here", want: `{queue="a"}=1@1s`, query: `(sum by (queue) (orders{namespace="shop"}))`,
		},
		"no namespace": {
			server: vector("queue=a 1 1s"), read: "external/orders_everywhere", want: `{queue="a"}=1@1s`, query: `(sum by (queue) (orders))`,
		},
		"namespace of the rule": {
			server: vector("queue=a 1 1s"), read: "external/orders_of_bank", want: `{queue="a"}=1@1s`, query: `(sum by (queue) (orders{namespace="bank"}))`,
		},
		"namespace as the backend calls it": {
			server: vector("queue=a 1 1s"), read: "external/orders_mapped", want: `{queue="a"}=1@1s`, query: `(sum by (queue) (orders{kubernetes_namespace="shop"}))`,
		},
		"selector": {
			server: vector("queue=a 1 1s"), read: "external/orders", selector: "queue in (a,b.c),vip", want: `{queue="a"}=1@1s`,
			query: `(sum by (queue) (orders{namespace="shop",queue=~"a|b\\.c",vip!=""}))`,
		},
		"selector that cannot be expressed": {
			read: "external/orders", selector: "size>1", query: "-",
			want: `400 metric selector "size>1": operator "gt" cannot be expressed over the labels of series, which are compared as strings`,
		},
		"duplicate label sets": {
			server: vector("queue=a 1 1s", "queue=a 2 1s"), read: "external/orders", want: `500 rule "orders": two series with the labels {queue="a"}`,
		},
		"stale, one of several": {
			server: vector("queue=a 1 1s", "queue=b 2 11s"), read: "external/orders",
			want: "503 2 series: 1 stale (over maxAge 10s)", omitted: map[metric.Reason]int{metric.ReasonStale: 1},
		},
		"sample time missing, one of several": {
			server: vector("queue=a 1 1s", "queue=b 2"), read: "external/orders",
			want: "503 2 series: 1 stale (over maxAge 10s)", omitted: map[metric.Reason]int{metric.ReasonStale: 1},
		},
		"Inf, one of several": {
			server: vector("queue=a 1 1s", "queue=b +Inf 1s"), read: "external/orders",
			want: "503 2 series: 1 out of range", omitted: map[metric.Reason]int{metric.ReasonOutOfRange: 1},
		},
		"NaN, one of several: it has no number to add": {
			server: vector("queue=a 1 1s", "queue=b NaN 1s"), read: "external/orders",
			want: `{queue="a"}=1@1s`, omitted: map[metric.Reason]int{metric.ReasonNotANumber: 1},
		},
		"NaN, the only one": {
			server: vector("queue=a NaN 1s"), read: "external/orders",
			want: "503 1 series: 1 not a number", omitted: map[metric.Reason]int{metric.ReasonNotANumber: 1},
		},
		"sum out of range": {server: vector("queue=a 9e15 1s", "queue=b 9e15 1s"), read: "external/orders", want: "503 2 values: their sum is out of range"},
		"negative": {
			server: vector("queue=a 1 1s", "queue=b -1 1s"), read: "external/orders",
			want:    `500 rule "orders" gives -1: negative values are rejected; correct the query, or set allowNegative: true`,
			omitted: map[metric.Reason]int{metric.ReasonNegative: 1},
		},
		"negative, allowed": {server: vector("queue=a -1 1s"), read: "external/profit", want: `{queue="a"}=-1@1s`},
		"none": {
			server: vector(), read: "external/orders", selector: "queue=x",
			want:    `503 rule "orders" has no series now in namespace "shop" that matches selector "queue=x"`,
			omitted: map[metric.Reason]int{metric.ReasonAbsent: 1},
		},
		"none, onMissing": {server: vector(), read: "external/orders_or_zero", want: "{}=0@0s", omitted: map[metric.Reason]int{metric.ReasonAbsent: 1}},
		"stale, onMissing: a number that is old is not missing": {
			server: vector("queue=a 1 1s", "queue=b 2 11s"), read: "external/orders_or_zero",
			want: "503 2 series: 1 stale (over maxAge 10s)", omitted: map[metric.Reason]int{metric.ReasonStale: 1},
		},
		"down, onMissing": {down: true, read: "external/orders_or_zero", want: "503 backend prometheus: connection refused, since T; no answer yet"},
		"partial response": {
			server: vector("queue=a 1 1s").with(`"warnings":["store 2 is away"]`), read: "external/orders",
			want: "503 backend prometheus: partial response: store 2 is away, since T; no answer yet",
		},
		"no rule":                   {read: "external/order", want: `404 no rule for external metric "order"; nearest: orders`, query: "-"},
		"down, before the fallback": {down: true, read: "external/orders_or_fallback", want: "503 backend prometheus: connection refused, since T; no answer yet"},
	})
}

// sinceNoon is how two minutes after noon a message tells of what began with the first refresh.
var sinceNoon = regexp.MustCompile(`since 12:00:0\d UTC \(1m5\ds ago\); last answer 12:00:00 UTC$`)

// TestRemoteDownLater has a server that answers well at noon, then no more: what it said is served while young.
func TestRemoteDownLater(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		then reply
		why  string
	}{
		"down":             {refused, "connection refused"},
		"slow":             {reply{never: true}, "timeout after 600ms"},
		"401":              {reply{code: 401}, "unauthorised (HTTP 401): check the credentials under http"},
		"429":              {reply{code: 429}, "HTTP 429"},
		"500":              {reply{code: 500}, "HTTP 500"},
		"partial response": {vector().with(`"warnings":["store 2 is away"]`), "partial response: store 2 is away"},
		"truncated JSON":   {reply{body: vector().body[:20]}, "the answer is truncated JSON of 20 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runRemoteStory(t, []labelledPod{livePod("a"), livePod("b")}, func(w *remoteWorld, s *prometheusServer) {
				good := vector("namespace=shop,pod=a 1 0s", "namespace=shop,pod=b 2 3s")
				s.set(good)
				gone := "503 backend hasty: " + tc.why + ", since T; last answer 12:00:00 UTC"
				for _, step := range []struct {
					at   time.Duration
					want string
				}{
					{0, "a=1@0s b=2@3s"},
					{7 * time.Second, "a=1@7s b=2@10s"},
					{8 * time.Second, "a=1@8s"},
					{10 * time.Second, "a=1@10s"},
					{11 * time.Second, gone},
					{2 * time.Minute, gone},
				} {
					sleepUntilAfterNoon(step.at)
					if got := w.read("pods/*/hasty", ""); got != step.want {
						t.Errorf("after %v: %s\nwant %s", step.at, got, step.want)
					}
					s.set(tc.then)
				}
				if !sinceNoon.MatchString(w.rejected) {
					t.Errorf("%q, want %v", w.rejected, sinceNoon)
				}
			})
		})
	}
}

// TestRemoteFallback reads an external metric over the minutes in which its server is down, back, and down again.
func TestRemoteFallback(t *testing.T) {
	t.Parallel()
	runRemoteStory(t, nil, func(w *remoteWorld, s *prometheusServer) {
		const down = "503 backend prometheus: connection refused, since T; last answer "
		s.set(vector("queue=a 3 0s"))
		for _, step := range []struct {
			at   time.Duration
			want string
			then reply
		}{
			{0, `{queue="a"}=3@0s`, refused},
			{9 * time.Second, `{queue="a"}=3@9s`, refused}, // the last value
			{15 * time.Second, down + "12:00:00 UTC", refused},
			{3*time.Minute + 8*time.Second, down + "12:00:00 UTC", refused},
			{3*time.Minute + 9*time.Second, "{}=12500m@0s", refused},
			{3*time.Minute + 30*time.Second, "{}=12500m@0s", vector("queue=a 4 -5m")}, // of five past
			{5 * time.Minute, `{queue="a"}=4@0s`, refused},
			{6 * time.Minute, "503 backend prometheus: connection refused, since T; last answer 12:0", refused},
		} {
			sleepUntilAfterNoon(step.at)
			if got := w.read("external/orders_or_fallback", ""); !strings.HasPrefix(got, step.want) {
				t.Errorf("after %v: %s\nwant %s", step.at, got, step.want)
			}
			s.set(step.then)
		}
	})
}
