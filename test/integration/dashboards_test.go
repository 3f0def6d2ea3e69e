package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/test/harness/cluster"
	"github.com/tachometer-metrics/tachometer/test/harness/servers"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// TestDashboards lets a real Prometheus scrape two adapters, of which one has this Prometheus as its backend, while an HPA follows a load. Every
// query of the dashboards over the adapter's own metrics then has data; test/monitoring tests those over kube-state-metrics.
func TestDashboards(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	second := *tacho
	second.process, second.log, second.config = nil, filepath.Join(t.TempDir(), "adapter.log"), filepath.Join(t.TempDir(), "config.yaml")
	var err error
	if second.port, err = cluster.FreePort(shared.HostIP()); err != nil {
		t.Fatal(err)
	}
	prometheus := servers.Prometheus(t, servers.Options{Config: formatDashboardScrapes(t, namespace, tacho.port, second.port)})
	startWithBackend(t, &second, prometheus.URL)
	k := newKubelet(t, namespace)
	k.load.Store(3000)
	newScaled(t, namespace)
	eventually(t, time.Minute, func(context.Context) error { return followed(t, k, 3000) })
	k.load.Store(9500) // a decision, and pods that start
	queries := listDashboardQueries(t)
	if len(queries) < 30 {
		t.Fatalf("%d queries of the dashboards", len(queries))
	}
	eventually(t, 2*time.Minute, func(ctx context.Context) error {
		for path, fails := range map[string]bool{"external.metrics.k8s.io/v1beta1/namespaces/" + namespace + "/own_targets": false, "custom.metrics.k8s.io/v1beta2/namespaces/" + namespace + "/pods/*/never_seen_per_second": true} {
			if _, err := second.get(ctx, "/apis/"+path); (err != nil) != fails {
				return fmt.Errorf("%s: %w", path, err)
			}
		}
		return checkDashboardData(prometheus, queries)
	})
}

// formatDashboardScrapes returns a configuration of Prometheus that scrapes adapters, with the shipped right to read self-metrics.
func formatDashboardScrapes(t *testing.T, namespace string, ports ...int) []byte {
	t.Helper()
	if _, err := shared.Kubectl(t.Context(), "create", "clusterrolebinding", namespace, "--clusterrole=tachometer-self-metrics-reader", "--serviceaccount="+namespace+":default"); err != nil {
		t.Fatal(err)
	}
	token, err := shared.Kubectl(t.Context(), "-n", namespace, "create", "token", "default")
	if err != nil {
		t.Fatal(err)
	}
	var targets []string
	for _, port := range ports {
		targets = append(targets, net.JoinHostPort(shared.HostIP(), strconv.Itoa(port)))
	}
	type object map[string]any
	text, err := json.Marshal(object{
		"global": object{"scrape_interval": "1s", "scrape_timeout": "1s"},
		"scrape_configs": []object{{
			"job_name": "tachometer-adapter", "scheme": "https", "tls_config": object{"insecure_skip_verify": true},
			"authorization": object{"credentials": strings.TrimSpace(string(token))}, "static_configs": []object{{"targets": targets}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// startWithBackend starts an adapter with a rule on a Prometheus, until the test ends.
func startWithBackend(t *testing.T, a *adapter, server string) {
	t.Helper()
	rule := "- {metric: own_targets, external: true, backend: prometheus, from: all, query: sum(tachometer_scrape_targets)}\n"
	text := config + rule + "backends:\n- {name: prometheus, url: " + strconv.Quote(server) + ", refresh: 1s}\n"
	if err := os.WriteFile(a.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	startUntilEnd(t, a, "the adapter with a backend")
}

// listDashboardQueries returns the queries of the shipped dashboards without those of kube-state-metrics.
func listDashboardQueries(t *testing.T) (queries []string) {
	t.Helper()
	root, err := stack.Root(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(root, "manifests", "monitoring", "dashboards", "*.json"))
	if err != nil || len(files) != 2 {
		t.Fatalf("dashboards %v: %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var board struct {
			Panels []struct {
				Targets []struct{ Expr string }
			}
		}
		if err := json.Unmarshal(text, &board); err != nil {
			t.Fatal(err)
		}
		for _, p := range board.Panels {
			for _, target := range p.Targets {
				if !strings.Contains(target.Expr, "kube_") {
					queries = append(queries, target.Expr)
				}
			}
		}
	}
	slices.Sort(queries)
	return slices.Compact(queries)
}

// checkDashboardData returns an error with the queries without data.
func checkDashboardData(prometheus *servers.Server, queries []string) error {
	values := strings.NewReplacer("$__rate_interval", "10s", "$job", "tachometer-adapter", "$rule", requests)
	var empty []string
	for _, query := range queries {
		text := values.Replace(query)
		var answer struct{ Data struct{ Result []any } }
		if err := json.Unmarshal(prometheus.Get("/api/v1/query?query="+url.QueryEscape(text)), &answer); err != nil {
			return fmt.Errorf("%s: %w", text, err)
		}
		if len(answer.Data.Result) == 0 {
			empty = append(empty, text)
		}
	}
	if len(empty) > 0 {
		return fmt.Errorf("no data for\n%s", strings.Join(empty, "\n"))
	}
	return nil
}
