// Attacks of known kinds by another field, verb, path, header or object.

package attack

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	autoscaling "k8s.io/api/autoscaling/v2"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/retry"
	"github.com/tachometer-metrics/tachometer/test/harness/adapter"
	"github.com/tachometer-metrics/tachometer/test/harness/kubeapi"
)

// siblingPages are pages of a hostile pod, each of another name for every scrape n.
var siblingPages = map[string]func(n int64) string{
	"names of 16 KB": func(n int64) string {
		var b strings.Builder
		for i := range 200 {
			fmt.Fprintf(&b, "%s_%d_%d 1\n", strings.Repeat("x", 16_000), n, i)
		}
		return b.String()
	},
	"help of 8 MB": func(int64) string {
		return "# HELP " + goodFamily + " " + strings.Repeat("h", 8<<20) + "\n# TYPE " + goodFamily + " counter\n"
	},
	"label names that churn": func(n int64) string {
		var b strings.Builder
		for i := range 5000 {
			fmt.Fprintf(&b, "%s{l%d_%d=\"1\"} 1\n", goodFamily, n, i)
		}
		return b.String()
	},
	"creation times that churn": func(n int64) string {
		var b strings.Builder
		fmt.Fprintf(&b, "# TYPE http_requests counter\n")
		for i := range 5000 {
			fmt.Fprintf(&b, "%s{i=\"%d\"} 1\nhttp_requests_created{i=\"%d\"} %d.%d\n", goodFamily, i, i, 1_700_000_000+i, n)
		}
		return b.String() + "# EOF\n"
	},
	"exemplars": func(n int64) string {
		var b strings.Builder
		fmt.Fprintf(&b, "# TYPE http_requests counter\n")
		for i := range 5000 {
			fmt.Fprintf(&b, "%s{i=\"%d\"} 1 # {trace=\"%d-%s\"} 1 1\n", goodFamily, i, n, strings.Repeat("t", 100))
		}
		return b.String() + "# EOF\n"
	},
	"types and units that change": func(n int64) string {
		return fmt.Sprintf("# TYPE %s %s\n# UNIT %s u%d\n%s %d\n", goodFamily, []string{"counter", "gauge", "histogram", "summary", "info"}[n%5], goodFamily, n, goodFamily, n)
	},
}

// TestSiblingPages: pages that are hostile by their names, texts and times fill no memory.
func TestSiblingPages(t *testing.T) {
	skipShare(t)
	var scrapes atomic.Int64
	var page atomic.Value
	page.Store(siblingPages["exemplars"])
	kube := startShop(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.Host, "127.0.0.3:") { // the good pod
			goodPage(w, r)
			return
		}
		text := page.Load().(func(int64) string)(scrapes.Add(1))
		if strings.HasSuffix(text, "# EOF\n") {
			w.Header().Set("Content-Type", "application/openmetrics-text; version=1.0.0")
		}
		_, _ = fmt.Fprint(w, text)
	}))
	kube.SetAutoscaler(kubeapi.NewAutoscaler("evil", "evil", goodMetric))
	a := startAdapter(t, kube)
	for name, write := range siblingPages {
		page.Store(write)
		retry.Sleep(t.Context(), 7*time.Second)
		t.Log(name)
		a.judge()
	}
}

// TestSiblingObjects: autoscalers with large statuses, annotations and managed fields, and one that names pods of another namespace, cost no memory
// and no scrape of these.
func TestSiblingObjects(t *testing.T) {
	skipShare(t)
	kube := startShop(t, http.HandlerFunc(evilPage))
	for i := range 200 {
		hpa := kubeapi.NewAutoscaler("evil", fmt.Sprintf("evil-%03d", i), goodMetric)
		hpa.Annotations = map[string]string{"a": strings.Repeat("a", 200_000)}
		hpa.ManagedFields = []meta.ManagedFieldsEntry{{Manager: strings.Repeat("m", 100_000), FieldsType: "FieldsV1"}}
		hpa.Spec.Metrics = append(hpa.Spec.Metrics, autoscaling.MetricSpec{Type: autoscaling.ObjectMetricSourceType, Object: &autoscaling.ObjectMetricSource{
			DescribedObject: autoscaling.CrossVersionObjectReference{Kind: "Pod", Name: "web-0"}, Metric: autoscaling.MetricIdentifier{Name: goodMetric},
		}})
		for m := range 2000 {
			hpa.Status.CurrentMetrics = append(hpa.Status.CurrentMetrics, autoscaling.MetricStatus{Type: autoscaling.PodsMetricSourceType, Pods: &autoscaling.PodsMetricStatus{
				Metric: autoscaling.MetricIdentifier{Name: fmt.Sprintf("metric_of_status_%d_%d", i, m)},
			}})
		}
		for c := range 500 {
			hpa.Status.Conditions = append(hpa.Status.Conditions, autoscaling.HorizontalPodAutoscalerCondition{
				Type: autoscaling.HorizontalPodAutoscalerConditionType(fmt.Sprintf("C%d", c)), Reason: "R", Message: strings.Repeat("\u0301\u202e", 200),
			})
		}
		kube.SetAutoscaler(hpa)
	}
	a := startAdapter(t, kube)
	retry.Sleep(t.Context(), 15*time.Second)
	code, body, err := a.get(t.Context(), evilReader, "/apis/explain.tachometer.dev/v1alpha1/namespaces/evil/horizontalpodautoscalers")
	t.Logf("explain: %d, %d bytes, %v", code, len(body), err)
	if len(body) > 4<<20 {
		t.Errorf("the list of autoscalers has %d bytes", len(body))
	}
	a.judge()
}

// TestSiblingSelectors: autoscalers whose selectors are at every bound at once, with names that a terminal obeys, fill no memory; the log shows the
// names quoted.
func TestSiblingSelectors(t *testing.T) {
	skipShare(t)
	kube := startShop(t, http.HandlerFunc(evilPage))
	for i := range 60 {
		hpa := kubeapi.NewAutoscaler("evil", fmt.Sprintf("evil-%02d", i), numberedNames(60)...)
		for m := range hpa.Spec.Metrics {
			metric := &hpa.Spec.Metrics[m].Pods.Metric
			metric.Name = fmt.Sprintf("\x1b]0;x\a\u202e\u2028%d_%d", i, m)
			metric.Selector = &meta.LabelSelector{}
			for r := range 100 {
				values := make([]string, 10)
				for v := range values {
					values[v] = fmt.Sprintf("%d-%d-%d", i, r, v)
				}
				metric.Selector.MatchExpressions = append(metric.Selector.MatchExpressions, meta.LabelSelectorRequirement{
					Key: fmt.Sprintf("k%d-%d-%d", i, m, r), Operator: meta.LabelSelectorOpNotIn, Values: values,
				})
			}
		}
		kube.SetAutoscaler(hpa)
	}
	a := startAdapter(t, kube)
	retry.Sleep(t.Context(), 15*time.Second)
	t.Logf("%d Events", kube.CountEvents())
	if log := a.Log(); strings.ContainsAny(log, "\x1b\a\u202e\u2028") {
		t.Errorf("the log has characters that a terminal obeys: %q", log)
	}
	for _, path := range []string{"/metrics", "/readyz?verbose", "/livez?verbose"} {
		if _, body, _ := a.get(t.Context(), hpaController, path); strings.ContainsAny(body, "\x1b\a\u202e\u2028") {
			t.Errorf("%s has characters that a terminal obeys: %.500q", path, body)
		}
	}
	a.judge()
}

// siblingRequests are floods of callers, by path and header of the request n.
var siblingRequests = map[string]func(n int) (method, path, user string, header http.Header){
	"namespaces": func(n int) (string, string, string, http.Header) {
		return http.MethodGet, podsPath(fmt.Sprintf("none-%d", n), goodMetric, "app=x"), evilReader, nil
	},
	"resources": func(n int) (string, string, string, http.Header) {
		return http.MethodGet, fmt.Sprintf("/apis/custom.metrics.k8s.io/v1beta2/namespaces/evil/kinds%d.example%d.com/a/%s", n, n, goodMetric), evilReader, nil
	},
	"parameters": func(n int) (string, string, string, http.Header) {
		return http.MethodGet, podsPath("evil", goodMetric, "app=evil") + fmt.Sprintf("&limit=%d&continue=%s&timeout=%ds&resourceVersion=%d", n, strings.Repeat("c", 20_000), n, n), evilReader, nil
	},
	"media types": func(n int) (string, string, string, http.Header) {
		return http.MethodGet, podsPath("evil", goodMetric, "app=evil"), evilReader, http.Header{"Accept": {fmt.Sprintf("application/json;as=Table;v=%d;g=%s", n, strings.Repeat("g", 7000))}}
	},
	"spans": func(n int) (string, string, string, http.Header) {
		return http.MethodGet, fmt.Sprintf("/apis/explain.tachometer.dev/v1alpha1/namespaces/evil/horizontalpodautoscalers/a%d/decisions?since=%ds", n, n), evilReader, nil
	},
	"anonymous verbs": func(n int) (string, string, string, http.Header) {
		return []string{"OPTIONS", "HEAD", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"}[n%7], fmt.Sprintf("/apis/x%d", n), "", nil
	},
	"basic credentials": func(n int) (string, string, string, http.Header) {
		return http.MethodGet, podsPath("evil", goodMetric, "app=evil"), "", http.Header{"Authorization": {fmt.Sprintf("Basic %d%s", n, strings.Repeat("b", 15_000))}}
	},
	"impersonation": func(n int) (string, string, string, http.Header) {
		return http.MethodGet, podsPath("evil", goodMetric, "app=evil"), evilReader, http.Header{"Impersonate-User": {fmt.Sprintf("u%d", n)}, "Impersonate-Group": {strings.Repeat("g", 5000)}}
	},
}

// TestSiblingRequests: floods of readers and strangers by other fields than names and selectors.
func TestSiblingRequests(t *testing.T) {
	skipShare(t)
	kube := startShop(t, http.HandlerFunc(evilPage))
	a := startAdapter(t, kube)
	for name, build := range siblingRequests {
		var codes reviewCodes
		lookups := kube.CountLookups()
		reviews, _ := kube.CountRequests()
		done := flood(t, 5000, 5*time.Second, func(ctx context.Context, n int) {
			method, path, user, header := build(n)
			request, err := http.NewRequestWithContext(ctx, method, a.URL+path, http.NoBody)
			if err != nil {
				t.Error(err)
				return
			}
			for key, values := range header {
				request.Header[key] = values
			}
			if user != "" {
				request.Header.Set("Authorization", "Bearer "+user)
			}
			response, err := a.client.Do(request)
			if err != nil {
				codes.count(0)
				return
			}
			codes.count(response.StatusCode)
			_ = response.Body.Close()
		})
		after, _ := kube.CountRequests()
		t.Logf("%s: %d requests, %d lookups, %d reviews, %s", name, done, kube.CountLookups()-lookups, after-reviews, codes.describe())
		a.judge()
	}
}

// TestSiblingCertificates: clients with certificates of their own making, a new one each time, keep their few places.
func TestSiblingCertificates(t *testing.T) {
	skipShare(t)
	a := startAdapter(t, startShop(t, http.HandlerFunc(evilPage)))
	var codes reviewCodes
	flood(t, 2000, 6*time.Second, func(_ context.Context, n int) {
		key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		template := &x509.Certificate{SerialNumber: big.NewInt(int64(n)), DNSNames: []string{strings.Repeat("x", 200)}, NotAfter: time.Now().Add(time.Hour)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Error(err)
			return
		}
		trust, err := a.NewTLSConfig(tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key})
		if err != nil {
			t.Error(err)
			return
		}
		client := adapter.NewClient(trust, byte(2+n%20))
		defer client.CloseIdleConnections()
		code, _ := askDoor(t.Context(), client, a.URL+podsPath("evil", goodMetric, "app=evil"), http.Header{})
		codes.count(code)
	})
	t.Logf("by status: %s", codes.describe())
	a.judge()
}
