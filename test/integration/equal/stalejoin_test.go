package equal

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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

// TestAgeOfAnotherTime: on a real Prometheus, a comparison with earlier values is not as old as they are, and a value of a series that had
// died before the time that it reads is as old as it was then.
func TestAgeOfAnotherTime(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Second)
	died := now.Add(-11 * time.Minute)
	series := func(until time.Time, pod string) servers.Series {
		s := servers.Series{Labels: labels.FromStrings("__name__", "queue", "namespace", "shop", "pod", pod)}
		for at := until.Add(-20 * time.Minute); !at.After(until); at = at.Add(15 * time.Second) {
			s.Samples = append(s.Samples, servers.Sample{T: at.UnixMilli(), V: 7})
		}
		return s
	}
	b := newRemoteBackend(t, servers.Prometheus(t, servers.Options{Series: []servers.Series{series(now, "web-1"), series(died, "web-2")}}))
	for name, tc := range map[string]struct {
		expr string
		ages map[string]time.Duration
	}{
		"the past":           {`queue offset 8m`, map[string]time.Duration{"web-1": 0, "web-2": 3 * time.Minute}},
		"a rate of the past": {`rate(queue[2m] offset 8m)`, map[string]time.Duration{"web-1": 0}},
		"a comparison":       {`queue - queue offset 12m`, map[string]time.Duration{"web-1": 0}},
		"a comparison of sums": {
			`sum by (namespace, pod) (queue) / on (namespace) group_left () sum by (namespace) (queue offset 12m)`, map[string]time.Duration{"web-1": 0},
		},
		"a fixed time":           {fmt.Sprintf(`queue @ %d`, now.Add(-8*time.Minute).Unix()), map[string]time.Duration{"web-1": 0, "web-2": 3 * time.Minute}},
		"before a fixed time":    {fmt.Sprintf(`queue @ %d offset 1m`, now.Add(-9*time.Minute).Unix()), map[string]time.Duration{"web-1": 0, "web-2": time.Minute}},
		"the end of the query":   {`queue @ end()`, map[string]time.Duration{"web-1": 0}},
		"the time after a value": {`queue @ end() offset -1m`, map[string]time.Duration{"web-1": time.Minute}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := question{lines: []string{"query: '" + tc.expr + "'"}, namespace: "shop"}
			ages := map[string]time.Duration{}
			for _, v := range q.evaluate(t, b, "remote", now) {
				ages[v.Object.Name] = now.Sub(v.Time).Round(time.Minute)
			}
			if diff := cmp.Diff(tc.ages, ages); diff != "" {
				t.Errorf("ages (-want +got):\n%s", diff)
			}
		})
	}
}
