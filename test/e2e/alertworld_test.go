package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/labels"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/tachometer-metrics/tachometer/test/harness/adapter"
	"github.com/tachometer-metrics/tachometer/test/harness/sale"
	"github.com/tachometer-metrics/tachometer/test/harness/servers"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// alertCompression divides every duration of the shipped alerts, and changes nothing else: ten minutes become twenty seconds.
const alertCompression = 30

// alertPatience is far above the time that any alert needs with these durations.
const alertPatience = 3 * time.Minute

// alertAccount is the ServiceAccount of the Prometheus of this test.
const alertAccount = "alerts-prometheus"

// alertHPA is an HPA on a metric that becomes old, with its Deployment.
const alertHPA = "test/e2e/manifests/alerts/hpa.yaml"

// alertWorld is both programs in the cluster, an adapter with a certificate of files, and a Prometheus with the shipped alerts.
type alertWorld struct {
	t          *testing.T
	sale       *sale.Sale
	command    scaler
	process    *adapter.Process // nil after its end
	site       *alertSite
	prometheus *servers.Server

	adapterConfig, scalerConfig string
	fresh                       bool   // orders_waiting gets samples
	annotated                   string // a pod of the sample
	events                      int    // sent
	stopStranger                func()

	targets int                  // of Prometheus
	shipped map[string]bool      // names of alerts
	fired   map[string]time.Time // when an alert was first seen firing
	began   time.Time            // the first break
}

// alertSite is what the test serves for the cluster and for Prometheus.
type alertSite struct {
	broken     atomic.Bool // the backend of that name fails
	prometheus atomic.Pointer[httputil.ReverseProxy]
	address    string
}

func newAlertWorld(t *testing.T) *alertWorld {
	t.Helper()
	w := &alertWorld{t: t, command: newScaler(t), site: newAlertSite(t), fresh: true, targets: 5, fired: map[string]time.Time{}}
	var err error
	if w.sale, err = sale.Up(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.removeAlertWorld)
	w.process = startAlertProcess(t)
	w.adapterConfig = strings.ReplaceAll(readManifest(t, "test/e2e/manifests/alerts/adapter.yaml"), "SITE", w.site.address)
	w.scalerConfig = w.addAlertRules()
	w.configureScaler(w.scalerConfig)
	w.prometheus = servers.Prometheus(t, servers.Options{Config: w.formatAlertPrometheusConfig(w.shortenAlerts())})
	target, err := url.Parse(w.prometheus.URL)
	if err != nil {
		t.Fatal(err)
	}
	w.site.prometheus.Store(httputil.NewSingleHostReverseProxy(target))
	return w
}

// removeAlertWorld gives the sample back as it was.
func (w *alertWorld) removeAlertWorld() {
	if w.t.Failed() {
		dumpScaler()
	}
	if err := w.sale.Down(context.Background()); err != nil {
		w.t.Error(err)
	}
	if w.process != nil {
		if err := w.process.Stop(); err != nil {
			w.t.Error(err)
		}
	}
	if _, code := w.command.run(w.t, "release", "deploy/sample", "--all"); code != 0 {
		w.t.Errorf("release: exit code %d", code)
	}
	w.setMinReplicas(2)
	w.kubectl("delete", "--ignore-not-found", "-f", filepath.Join(s.Root, alertHPA))
	ctx := context.Background()
	if err := s.InstallAdapter(ctx, "test/e2e/manifests/adapter"); err != nil {
		w.t.Error(err)
	}
	configure(ctx, w.t, configuration(w.t)) // at once: the next test reads its rules
	err := stack.Wait(ctx, 2*time.Minute, func(ctx context.Context) error {
		for range 5 { // five reads reach both replicas with high probability
			if _, err := answer(ctx, stack.PodsMetric(fixed)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		w.t.Error(err)
	}
}

// addAlertRules returns the configuration of the sale with the rules and verifications of this test.
func (w *alertWorld) addAlertRules() string {
	w.t.Helper()
	m, err := s.Client.CoreV1().ConfigMaps(stack.AdapterNamespace).Get(w.t.Context(), "tachometer-scaler-config", metav1.GetOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	var config map[string]any
	var more struct {
		Verifications map[string]any
		Rules         []any
	}
	if err := yaml.Unmarshal([]byte(m.Data["config.yaml"]), &config); err != nil {
		w.t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict([]byte(readManifest(w.t, "test/e2e/manifests/alerts/scaler.yaml")), &more); err != nil {
		w.t.Fatal(err)
	}
	maps.Copy(config["verifications"].(map[string]any), more.Verifications)
	events := config["events"].(map[string]any)
	events["rules"] = append(events["rules"].([]any), more.Rules...)
	text, err := yaml.Marshal(config)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

// alertDuration finds the durations of alerts: ranges of expressions, and how long an expression must hold.
var alertDuration = regexp.MustCompile(`(?m)(\[)(\d+[smh])(\])|(^\s+for: )(\d+[smh])($)`)

// shortenAlerts writes the shipped alerts with shorter durations, and returns the files.
func (w *alertWorld) shortenAlerts() (files []string) {
	w.t.Helper()
	w.shipped = map[string]bool{}
	dir := w.t.TempDir()
	for _, name := range []string{"alerts.yaml", "scaler-alerts.yaml"} {
		shipped := readManifest(w.t, filepath.Join("manifests/monitoring", name))
		for _, rule := range parseAlerts(w.t, shipped) {
			w.shipped[rule["alert"].(string)] = true
		}
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(shortenAlertDurations(w.t, shipped)), 0o600); err != nil {
			w.t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}

func shortenAlertDurations(t *testing.T, shipped string) string {
	t.Helper()
	return alertDuration.ReplaceAllStringFunc(shipped, func(found string) string {
		match := alertDuration.FindStringSubmatch(found)
		length, err := time.ParseDuration(match[2] + match[5])
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%s%s%dms%s%s", match[1], match[4], length.Milliseconds()/alertCompression, match[3], match[6])
	})
}

// parseAlerts returns the rules of a file of alerts.
func parseAlerts(t *testing.T, text string) (rules []map[string]any) {
	t.Helper()
	var file struct {
		Groups []struct{ Rules []map[string]any }
	}
	if err := yaml.Unmarshal([]byte(text), &file); err != nil {
		t.Fatal(err)
	}
	for _, group := range file.Groups {
		rules = append(rules, group.Rules...)
	}
	if len(rules) == 0 {
		t.Fatal("a file of alerts without an alert")
	}
	return rules
}

// TestAlertDurations compares the alerts of TestAlerts with the shipped ones: every duration is shorter, and all else is the same.
func TestAlertDurations(t *testing.T) {
	t.Parallel()
	inExpression := regexp.MustCompile(`\[[0-9a-z]+\]`)
	for _, name := range []string{"alerts.yaml", "scaler-alerts.yaml"} {
		shipped := readManifest(t, filepath.Join("manifests/monitoring", name))
		want, got := parseAlerts(t, shipped), parseAlerts(t, shortenAlertDurations(t, shipped))
		for i, rule := range got {
			if long, found := want[i]["for"].(string); found {
				if a, b := parseAlertDuration(t, long), parseAlertDuration(t, rule["for"].(string)); a != b*alertCompression {
					t.Errorf("%s: for: %v, shipped %v", rule["alert"], b, a)
				}
			}
			short, long := inExpression.FindAllString(rule["expr"].(string), -1), inExpression.FindAllString(want[i]["expr"].(string), -1)
			for k := range long {
				if a, b := parseAlertDuration(t, strings.Trim(long[k], "[]")), parseAlertDuration(t, strings.Trim(short[k], "[]")); a != b*alertCompression {
					t.Errorf("%s: %s, shipped %s", rule["alert"], short[k], long[k])
				}
			}
			for _, r := range []map[string]any{rule, want[i]} {
				r["expr"] = inExpression.ReplaceAllString(r["expr"].(string), "[]")
				delete(r, "for")
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-shipped +short):\n%s", name, diff)
		}
	}
}

func parseAlertDuration(t *testing.T, text string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// formatAlertPrometheusConfig returns a configuration that scrapes every replica each second. It is JSON, which is YAML too.
func (w *alertWorld) formatAlertPrometheusConfig(rules []string) []byte {
	w.t.Helper()
	token := w.createAlertToken()
	type object map[string]any
	discover := func(program string) []object {
		return []object{{"url": "http://" + w.site.address + "/targets/" + program, "refresh_interval": "1s"}}
	}
	adapterJob := func(job object) object {
		maps.Copy(job, object{
			"scheme": "https", "tls_config": object{"insecure_skip_verify": true}, "authorization": object{"credentials": token},
		})
		return job
	}
	text, err := json.Marshal(object{
		"global":     object{"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
		"rule_files": rules,
		"scrape_configs": []object{
			adapterJob(object{"job_name": "tachometer-adapter", "http_sd_configs": discover("tachometer-adapter")}),
			{"job_name": "tachometer-scaler", "http_sd_configs": discover("tachometer-scaler")},
			adapterJob(object{"job_name": "files", "static_configs": []object{{"targets": []string{strings.TrimPrefix(w.process.URL, "https://")}}}}),
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return text
}

// createAlertToken returns a token with the rights of the shipped role for self-metrics.
func (w *alertWorld) createAlertToken() string {
	w.t.Helper()
	w.kubectl("-n", stack.AdapterNamespace, "create", "serviceaccount", alertAccount)
	w.t.Cleanup(func() { w.kubectl("-n", stack.AdapterNamespace, "delete", "serviceaccount/"+alertAccount) })
	w.kubectl("create", "clusterrolebinding", alertAccount, "--clusterrole=tachometer-self-metrics-reader",
		"--serviceaccount="+stack.AdapterNamespace+":"+alertAccount)
	w.t.Cleanup(func() { w.kubectl("delete", "clusterrolebinding/"+alertAccount) })
	return w.kubectl("-n", stack.AdapterNamespace, "create", "token", alertAccount, "--duration=1h")
}

// newAlertSite serves the targets of Prometheus, and two backends of the adapter, until the test ends.
func newAlertSite(t *testing.T) *alertSite {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(s.Cluster.HostIP(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	site := &alertSite{address: l.Addr().String()}
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: site}}
	server.Start()
	t.Cleanup(server.Close)
	return site
}

// ServeHTTP serves /targets/PROGRAM, and Prometheus under /prometheus and /broken.
func (a *alertSite) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	_, rest, _ := strings.Cut(r.URL.Path, "/")
	first, rest, _ := strings.Cut(rest, "/")
	proxy := a.prometheus.Load()
	switch {
	case first == "targets":
		serveAlertTargets(out, r, rest)
	case first == "broken" && a.broken.Load() || proxy == nil:
		http.Error(out, "broken", http.StatusServiceUnavailable)
	default:
		r.URL.Path = "/" + rest
		proxy.ServeHTTP(out, r)
	}
}

func serveAlertTargets(out http.ResponseWriter, r *http.Request, program string) {
	pods, err := s.Client.CoreV1().Pods(stack.AdapterNamespace).List(r.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=" + program})
	if err != nil {
		http.Error(out, err.Error(), http.StatusBadGateway) // Prometheus keeps its current targets
		return
	}
	port := map[string]string{"tachometer-adapter": "6443", "tachometer-scaler": "8080"}[program]
	targets := []string{}
	for _, pod := range pods.Items {
		if pod.Status.PodIP != "" && pod.DeletionTimestamp == nil {
			targets = append(targets, net.JoinHostPort(pod.Status.PodIP, port))
		}
	}
	out.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(out).Encode([]map[string]any{{"targets": targets}}) // an error means that the reader is gone
}

// lookAtAlerts returns the alerts that are pending or firing, by state, and remembers the firing ones.
func (w *alertWorld) lookAtAlerts() map[string][]string {
	w.t.Helper()
	if w.fresh {
		w.prometheus.Write(servers.Series{
			Labels:  labels.FromStrings("__name__", "orders_waiting", "namespace", stack.SampleNamespace),
			Samples: []servers.Sample{{T: time.Now().UnixMilli(), V: 7}},
		})
	}
	var response struct {
		Data struct {
			Alerts []struct {
				Labels map[string]string
				State  string
			}
		}
	}
	if err := json.Unmarshal(w.prometheus.Get("/api/v1/alerts"), &response); err != nil {
		w.t.Fatal(err)
	}
	states := map[string][]string{}
	for _, a := range response.Data.Alerts {
		name := a.Labels["alertname"]
		states[a.State] = append(states[a.State], name)
		if _, seen := w.fired[name]; !seen && a.State == "firing" && !w.began.IsZero() {
			w.fired[name] = time.Now()
			w.t.Logf("%5.1f s: %s fires", time.Since(w.began).Seconds(), name)
		}
	}
	return states
}

// awaitAlerts waits until each of the alerts was firing at some time.
func (w *alertWorld) awaitAlerts(names ...string) {
	w.t.Helper()
	err := stack.Wait(w.t.Context(), alertPatience, func(context.Context) error {
		states := w.lookAtAlerts()
		missing := slices.DeleteFunc(slices.Clone(names), func(name string) bool { _, ok := w.fired[name]; return ok })
		if len(missing) > 0 {
			return fmt.Errorf("never fired: %v; now %v", missing, states)
		}
		return nil
	})
	if err != nil {
		w.t.Error(err) // the others can still show what they do
	}
}

// awaitNoAlerts waits until Prometheus scrapes both programs, no alert fires, and none is about to.
func (w *alertWorld) awaitNoAlerts(when string) {
	w.t.Helper()
	err := stack.Wait(w.t.Context(), alertPatience, func(context.Context) error {
		if scraped := string(w.prometheus.Get("/api/v1/query?query=count(up%3D%3D1)")); !strings.Contains(scraped, `,"`+fmt.Sprint(w.targets)+`"]`) {
			return fmt.Errorf("%s: scraped targets: %s, want %d", when, scraped, w.targets)
		}
		if states := w.lookAtAlerts(); len(states) > 0 {
			return fmt.Errorf("%s: %v", when, states)
		}
		return nil
	})
	if err != nil {
		w.t.Error(err)
	}
}
