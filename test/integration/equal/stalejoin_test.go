package equal

import (
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/tachometer-metrics/tachometer/test/harness/servers"
)

// TestStaleSideOfAJoin: on a real Prometheus, a living side of an expression makes a dead one no younger.
func TestStaleSideOfAJoin(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Millisecond)
	died := now.Add(-3 * time.Minute)
	series := func(until time.Time, l ...string) servers.Series {
		s := servers.Series{Labels: labels.FromStrings(l...)}
		for at := until.Add(-4 * time.Minute); !at.After(until); at = at.Add(15 * time.Second) {
			s.Samples = append(s.Samples, servers.Sample{T: at.UnixMilli(), V: float64(at.Unix() - until.Unix() + 1000)})
		}
		return s
	}
	b := newRemoteBackend(t, servers.Prometheus(t, servers.Options{Series: []servers.Series{
		series(died, "__name__", "http_requests_total", "namespace", "shop", "pod", "web-1", "app", "web"),
		series(now, "__name__", "http_requests_total", "namespace", "shop", "pod", "web-2", "app", "web"),
		series(now, "__name__", "kube_pod_info", "namespace", "shop", "pod", "web-1"),
		series(now, "__name__", "kube_pod_info", "namespace", "shop", "pod", "web-2"),
		series(now, "__name__", "kube_deployment_spec_replicas", "namespace", "shop", "deployment", "web"),
	}}))
	for _, expr := range []string{
		`sum by (namespace, pod) (rate(http_requests_total[5m]))`,
		`sum by (namespace, pod) (rate(http_requests_total[5m])) * on (namespace, pod) group_left () kube_pod_info`,
		`kube_pod_info * on (namespace, pod) sum by (namespace, pod) (rate(http_requests_total[5m]))`,
		`sum by (namespace, pod) (rate(http_requests_total[5m])) and on (namespace, pod) kube_pod_info`,
		`sum by (namespace, pod) (rate(http_requests_total[5m])) / on (namespace) group_left () sum by (namespace) (kube_deployment_spec_replicas)`,
		`sum by (namespace, pod) (rate(http_requests_total[5m])) / on (namespace) group_left () sum by (namespace) (rate(http_requests_total[5m]))`,
		`sum by (namespace, pod) (label_replace(rate(http_requests_total[5m]), "pod", "$1", "pod", "(.*)")) unless on (pod) absent_pods`,
		`sum by (namespace, pod) (rate(http_requests_total[5m])) or sum by (namespace, pod) (kube_pod_info)`,
	} {
		t.Run(expr, func(t *testing.T) {
			t.Parallel()
			q := question{lines: []string{"query: '" + expr + "'"}, namespace: "shop"}
			for key, v := range q.evaluate(t, b, "remote", now) {
				want := now
				if v.Object.Name == "web-1" {
					want = died
				}
				if got := v.Time.Sub(want).Abs(); got > time.Second {
					t.Errorf("%s is %s old, want %s", key, now.Sub(v.Time), now.Sub(want))
				}
			}
		})
	}
}
