package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	promconfig "github.com/prometheus/common/config"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

func readTestFile(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func globTestFiles(t testing.TB, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no files %s: %v", pattern, err)
	}
	return files
}

func TestLoadBad(t *testing.T) {
	t.Parallel()
	files := globTestFiles(t, "testdata/*.bad.yaml")
	if len(files) != len(badFiles) {
		t.Errorf("%d files, %d entries in badFiles", len(files), len(badFiles))
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".bad.yaml")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := Load(readTestFile(t, file))
			if err == nil {
				t.Fatal("loaded")
			}
			if c != nil {
				t.Error("a configuration beside the error")
			}
			if diff := cmp.Diff(badFiles[name], strings.Split(err.Error(), "\n")); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			var faults Faults
			if !errors.As(err, &faults) {
				t.Errorf("error is %T, want Faults", err)
			}
		})
	}
}

func TestLoadTooLarge(t *testing.T) {
	t.Parallel()
	_, err := Load(make([]byte, strict.MaxBytes+1))
	want := "the file has 1048577 bytes; the limit is 1048576"
	if err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestLoadMinimal(t *testing.T) {
	t.Parallel()
	got, err := Load([]byte("---\napiVersion: config.tachometer.dev/v1alpha1\nkind: AdapterConfig\n---\n# no second document\n---\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	if diff := cmp.Diff(&want, got, cmpopts.IgnoreUnexported(Config{}, promconfig.ProxyConfig{})); diff != "" {
		t.Errorf("a file without settings differs from Default (-Default +Load):\n%s", diff)
	}
}

// TestLoadAliases: aliases give the HTTP configuration of several servers the values of an anchor elsewhere in the file, and whole numbers may
// have any notation of YAML. Zeros in front mean nothing, as in YAML 1.2.
func TestLoadAliases(t *testing.T) {
	t.Parallel()
	c, err := Load([]byte(`apiVersion: config.tachometer.dev/v1alpha1
kind: AdapterConfig
scrape: {maxSamples: 10_000, maxSeries: 0x4000, maxLabels: 0100}
backends:
- name: a
  url: http://a
  http: {authorization: &token {credentials_file: /etc/token}, tls_config: &tls {ca_file: /etc/ca, server_name: "0123"}}
- name: b
  url: http://b
  http:
    authorization: *token
    tls_config: {<<: *tls, server_name: b}
`))
	if err != nil {
		t.Fatal(err)
	}
	b := c.Backends[1].HTTP
	if b.Authorization == nil || b.Authorization.CredentialsFile != "/etc/token" || b.TLSConfig.CAFile != "/etc/ca" || b.TLSConfig.ServerName != "b" {
		t.Errorf("HTTP configuration %+v", b)
	}
	if c.Scrape.MaxSamples != 10_000 || c.Scrape.MaxSeries != 0x4000 || c.Scrape.MaxLabels != 100 {
		t.Errorf("maxSamples %d, maxSeries %d, maxLabels %d", c.Scrape.MaxSamples, c.Scrape.MaxSeries, c.Scrape.MaxLabels)
	}
}

func TestDefault(t *testing.T) {
	t.Parallel()
	want := Config{
		Scrape: Scrape{
			Interval: 2 * time.Second, Timeout: 2 * time.Second, MaxPageBytes: 16 << 20,
			MaxSamples: 10_000, MaxLabels: 64, MaxLabelBytes: 2 << 10, MaxSeries: 200_000, MaxStoreBytes: 64 << 20, MaxConcurrent: 64,
		},
		MaxAge: 10 * time.Second, MaxWindow: time.Minute,
	}
	if diff := cmp.Diff(want, Default(), cmpopts.IgnoreUnexported(Config{}, promconfig.ProxyConfig{})); diff != "" {
		t.Errorf("Default (-want +got):\n%s", diff)
	}
}

func TestLoadFull(t *testing.T) {
	t.Parallel()
	got, err := Load(readTestFile(t, "testdata/full.good.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	seven, no := 7.5, false
	plain := promconfig.DefaultHTTPClientConfig
	withToken := plain
	withToken.Authorization = &promconfig.Authorization{Type: "Bearer", CredentialsFile: "/etc/token"}
	withToken.FollowRedirects = false
	usual := Labels{Namespace: "namespace", Pod: "pod", Node: "node"}
	want := &Config{
		Scrape: Scrape{
			Interval: 5 * time.Second, Timeout: 1500 * time.Millisecond, MaxPageBytes: 4 << 20,
			MaxSamples: 500, MaxLabels: 32, MaxLabelBytes: 1 << 10, MaxSeries: 1000, MaxStoreBytes: 64 << 20, MaxConcurrent: 8,
		},
		MaxAge: 20 * time.Second, MaxWindow: 2 * time.Minute,
		Backends: []Backend{
			{
				Name: "prometheus", URL: "http://prometheus.monitoring.svc:9090", Refresh: 5 * time.Second, Timeout: 5 * time.Second,
				MaxAge: 2 * time.Minute, Labels: usual, Method: MethodPost, MaxResponseBytes: 4 << 20, HTTP: plain,
			},
			{
				Name: "thanos", URL: "https://thanos/tenant?x=y", Failover: []string{"https://thanos-2/tenant"}, Refresh: 10 * time.Second,
				Timeout: 20 * time.Second, MaxAge: 5 * time.Minute, AcceptPartial: true, Method: MethodGet, MaxResponseBytes: 1 << 20,
				Labels: Labels{Namespace: "kubernetes_namespace", Pod: "kubernetes_pod_name", Node: "node"}, HTTP: withToken,
			},
		},
		HasRules: true,
		Rules: []Rule{
			{
				Metric: "request_per_second", Resource: "pods", Query: "sum by (namespace, pod) (rate(http_requests_total[$window]))",
				Window: Window{Auto: true}, HasWindow: true, Backend: "scrape", Aggregate: AggregateSum, MaxAge: 20 * time.Second, Labels: usual,
			},
			{
				Match: "^(.+)_seconds_avg$", Except: "^go_", Resource: "pods", Backend: "scrape", Aggregate: AggregateAvg, HasAggregate: true,
				Query:  "sum by (namespace, pod) (rate(${1}_seconds_sum[$window]))\n/ sum by (namespace, pod) (rate(${1}_seconds_count[$window]))\n",
				Window: Window{Duration: 90 * time.Second}, HasWindow: true, OnMissing: new(float64), MaxAge: time.Minute,
				Labels: usual,
			},
			{
				Metric: "orders_waiting", External: true, Namespaced: &no, FromAll: true, Query: "sum(orders_waiting)", Window: Window{Auto: true},
				Backend: "scrape", Aggregate: AggregateSum, OnMissing: &seven, AllowNegative: true, MaxAge: 20 * time.Second,
				Labels: usual,
			},
			{
				Metric: "free_bytes", Resource: "nodes", Query: "sum by (node) (node_filesystem_free_bytes)", Window: Window{Auto: true},
				Backend: "scrape", Aggregate: AggregateSum, MaxAge: 20 * time.Second, Labels: usual,
			},
			{
				Metric: "orders_waiting_elsewhere", External: true, Namespaced: &no, From: []string{"bank", "shop"}, Backend: "thanos",
				Query: "sum by (queue) (orders_waiting)", Aggregate: AggregateSum, MaxAge: 5 * time.Minute,
				Labels: Labels{Namespace: "team", Pod: "kubernetes_pod_name", Node: "node"}, Fallback: &Fallback{3 * time.Minute, 10},
			},
			{
				Metric: "requests", Resource: "services", Backend: "prometheus", Aggregate: AggregateSum, MaxAge: 2 * time.Minute,
				Query:  "sum by (namespace, service) (rate(requests_total[$window]))",
				Window: Window{Duration: 2 * time.Minute}, HasWindow: true,
				Labels: Labels{Namespace: "namespace", Pod: "pod", Node: "node", Object: "service"},
			},
			{
				Metric: "queue_messages", External: true, Namespaced: &no, Query: "sum by (queue) (rabbitmq_queue_messages_ready)", Window: Window{Auto: true},
				Targets: &Targets{ServiceNamespace: "mail", ServiceName: "rabbitmq", Port: 15692, Path: "/metrics/per-object"},
				Backend: "scrape", Aggregate: AggregateSum, MaxAge: 20 * time.Second, Labels: usual,
			},
			{
				Metric: "sessions", External: true, Namespaced: &no, Query: "sum(sessions)", Window: Window{Auto: true},
				Targets: &Targets{Addresses: []string{"http://10.0.0.5:9419/metrics", "https://[fd00::5]:9419/metrics?all=1"}},
				Backend: "scrape", Aggregate: AggregateSum, MaxAge: 20 * time.Second, Labels: usual,
			},
			{
				Metric: "gateway_requests", Resource: "services", Namespaced: &no, Query: "sum(rate(gateway_requests_total[$window]))", Window: Window{Auto: true},
				Targets: &Targets{ServiceNamespace: "ingress", ServiceName: "gateway", Port: 9113, Path: "/metrics"},
				Backend: "scrape", Aggregate: AggregateSum, MaxAge: 20 * time.Second, Fallback: &Fallback{After: time.Minute, Value: 20},
				Labels: Labels{Namespace: "exported_namespace", Pod: "pod", Node: "node", Object: "service"},
			},
			{
				Metric: "replicas_needed", Resource: "pods", Query: "sum by (namespace, pod) (replicas_needed)", Window: Window{Auto: true},
				WhenNoPods: new(1.0), Backend: "scrape", Aggregate: AggregateSum, MaxAge: 20 * time.Second, Labels: usual,
			},
		},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Config{}, promconfig.ProxyConfig{})); diff != "" {
		t.Errorf("Load (-want +got):\n%s", diff)
	}
}

func TestDerivedDefaults(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		interval                   string
		timeout, maxAge, maxWindow time.Duration
	}{
		"fast": {"500ms", 500 * time.Millisecond, 2500 * time.Millisecond, time.Minute},
		"slow": {"30s", 10 * time.Second, 150 * time.Second, 150 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := Load([]byte("apiVersion: config.tachometer.dev/v1alpha1\nkind: AdapterConfig\nscrape: {interval: " + tc.interval + "}\n"))
			if err != nil {
				t.Fatal(err)
			}
			if c.Scrape.Timeout != tc.timeout || c.MaxAge != tc.maxAge || c.MaxWindow != tc.maxWindow {
				t.Errorf("timeout %v, maxAge %v, maxWindow %v; want %v, %v, %v",
					c.Scrape.Timeout, c.MaxAge, c.MaxWindow, tc.timeout, tc.maxAge, tc.maxWindow)
			}
		})
	}
}

func TestLine(t *testing.T) {
	t.Parallel()
	c, err := Load(readTestFile(t, "testdata/full.good.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{
		"": 1, "apiVersion": 1, "scrape.interval": 4, "rules[0]": 32, "rules[0].query": 33,
		"rules[0].backend": 32, // not in the file: the rule's own line
		"rules[99].query":  31, "nonsense": 1,
	} {
		if got := c.Line(path); got != want {
			t.Errorf("Line(%q) = %d, want %d", path, got, want)
		}
	}
	d := Default()
	if got := d.Line("rules[0]"); got != 0 {
		t.Errorf("Line without a file = %d, want 0", got)
	}
}

func TestWindowString(t *testing.T) {
	t.Parallel()
	for want, w := range map[string]Window{"auto": {Auto: true}, "30s": {Duration: 30 * time.Second}} {
		if w.String() != want {
			t.Errorf("String = %q, want %q", w.String(), want)
		}
	}
}

// FuzzLoad: whatever the file, Load says yes with everything in its bounds, or no with faults in order.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"testdata/*.yaml", "../rule/testdata/*.yaml", "../rule/builtin.yaml"} {
		for _, file := range globTestFiles(f, pattern) {
			f.Add(readTestFile(f, file))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Load(data)
		if err != nil {
			checkFaultOrder(t, err)
			return
		}
		if c.Scrape.Interval < minScrapeInterval || c.Scrape.Timeout > c.Scrape.Interval || c.Scrape.Timeout <= 0 ||
			c.MaxAge < c.Scrape.Interval || c.MaxWindow < minAutoIntervals*c.Scrape.Interval {
			t.Errorf("out of bounds: %+v", c)
		}
		for i, r := range c.Rules {
			if (r.Metric == "") == (r.Match == "") || r.Query == "" || r.Backend == "" || r.MaxAge <= 0 || (r.Resource == "") != r.External {
				t.Errorf("rules[%d] is incomplete: %+v", i, r)
			}
		}
	})
}

func checkFaultOrder(t *testing.T, err error) {
	var faults Faults
	if !errors.As(err, &faults) || len(faults) == 0 {
		t.Fatalf("error is %T: %v", err, err)
	}
	line := 0
	for _, f := range faults {
		if f.Message == "" || f.Line < line {
			t.Errorf("fault %+v after line %d", f, line)
		}
		line = f.Line
	}
}
