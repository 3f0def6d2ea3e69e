// The rights of watches.

package preflight

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/config"
)

// TestWatchRights: a gate that a metric watches needs the right to read it, in each of its namespaces.
func TestWatchRights(t *testing.T) {
	t.Parallel()
	const open = "open: [{patch: {apiVersion: v1, kind: ConfigMap, name: gate, merge: {data: {open: \"true\"}}}}]"
	cfg, err := config.Load([]byte(`apiVersion: config.tachometer.dev/v1alpha1
kind: ScalerConfig
gates:
- {name: a, namespaces: [cart, shop], ` + open + `, after: {for: 5m, metric: error_ratio, max: 0.01}}
- {name: b, namespaces: [shop], ` + open + `, after: {for: 5m, metric: latency_p99, of: pods, max: 0.25}}
- {name: c, namespaces: [shop], ` + open + `, after: {for: 5m, query: up, prometheus: "http://prometheus:9090", max: 1}}
`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range listPreflightWatchRights(cfg) {
		got = append(got, r.String())
	}
	want := []string{
		"list error_ratio.external.metrics.k8s.io in namespace cart", "list error_ratio.external.metrics.k8s.io in namespace shop",
		"get pods.custom.metrics.k8s.io/latency_p99 in namespace shop",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
