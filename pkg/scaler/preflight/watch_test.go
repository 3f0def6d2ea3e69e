// Watches: their rights and their numbers.

package preflight

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/config"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/watch"
)

// loadWatchedGates returns a configuration of gates with a metric, a metric of pods, and a query for the given namespaces.
func loadWatchedGates(t *testing.T, queried string) *config.Config {
	t.Helper()
	const open = "open: [{patch: {apiVersion: v1, kind: ConfigMap, name: gate, merge: {data: {open: \"true\"}}}}]"
	cfg, err := config.Load([]byte(`apiVersion: config.tachometer.dev/v1alpha1
kind: ScalerConfig
gates:
- {name: a, namespaces: [cart, shop], ` + open + `, after: {for: 5m, metric: error_ratio, max: 0.01}}
- {name: b, namespaces: [shop], ` + open + `, after: {for: 5m, metric: latency_p99, of: pods, max: 0.25}}
- {name: c, namespaces: ` + queried + `, ` + open + `, after: {for: 5m, query: up, prometheus: "http://prometheus:9090", max: 1}}
`))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// TestWatchRights: a gate that a metric watches needs the right to read it, in each of its namespaces.
func TestWatchRights(t *testing.T) {
	t.Parallel()
	cfg := loadWatchedGates(t, "[shop]")
	var got []string
	for _, r := range listWatchRights(cfg) {
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

// watcher answers with a number, or an error.
type watcher struct {
	value float64
	err   error
	reads *[]string
}

func (w watcher) ReadWatch(_ context.Context, namespace, _ string, of action.Watch) (float64, error) {
	*w.reads = append(*w.reads, namespace+" "+of.Source())
	return w.value, w.err
}

// TestCheckReadsWatches: check reads the number of each watch: a query once, a metric in each namespace. One that cannot be read is missing, and one without a
// value is unknown.
func TestCheckReadsWatches(t *testing.T) {
	t.Parallel()
	cfg := loadWatchedGates(t, "[cart, shop]")
	for name, tc := range map[string]struct {
		err    error
		status Status
		detail string
	}{
		"a number":     {nil, OK, "is 0.5; the maximum is"},
		"unreachable":  {errors.New("query Prometheus: no route to host"), Missing, "no route"},
		"no value":     {fmt.Errorf("the query %w", watch.ErrNoValue), Unknown, "nothing watches the open gate"},
		"not a number": {fmt.Errorf("the query %w", watch.ErrNotNumber), OK, "no traffic yet"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var reads []string
			o := Inspection{Config: cfg, Watcher: watcher{0.5, tc.err, &reads}}
			all := o.checkGateWatches(t.Context())
			if diff := cmp.Diff([]string{"cart error_ratio", "shop error_ratio", "cart the query"}, reads); diff != "" {
				t.Errorf("reads (-want +got):\n%s", diff)
			}
			for _, r := range all {
				if r.Check != "watch" || r.Status != tc.status || !strings.Contains(r.Detail, tc.detail) || (r.Fix != "") != (tc.status == Missing) {
					t.Errorf("%+v", r)
				}
			}
		})
	}
}
