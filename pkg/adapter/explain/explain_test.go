package explain

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	genericapifilters "k8s.io/apiserver/pkg/endpoints/filters"
	openapinamer "k8s.io/apiserver/pkg/endpoints/openapi"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/util/compatibility"
	"k8s.io/client-go/rest"
	openapi "k8s.io/kube-openapi/pkg/common"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/generated/openapi/core"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/exposition"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/peer"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/recorder"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// knownShop knows an autoscaler with three looks, a target that fails and a metric.
type knownShop struct{}

func (knownShop) List(namespace string) []types.NamespacedName {
	if namespace != "" && namespace != "shop" {
		return nil
	}
	return []types.NamespacedName{{Namespace: "shop", Name: "web"}}
}

func (k knownShop) Log(key types.NamespacedName, since time.Time) (*explainapi.DecisionLog, error) {
	if key != k.List("shop")[0] {
		return nil, nil
	}
	log := &explainapi.DecisionLog{Source: explainapi.Source{UnknownBefore: noon.Add(-time.Hour)}}
	log.Name, log.Namespace = key.Name, key.Namespace
	log.Specs = []explainapi.SpecVersion{{From: noon.Add(-time.Hour), Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
		MinReplicas: new(int32(1)), MaxReplicas: 10,
		Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{
			Metric: autoscalingv2.MetricIdentifier{Name: "request_per_second"},
			Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: new(resource.MustParse("50"))},
		}}},
	}}}
	for i := range 3 {
		at := noon.Add(time.Duration(i-3) * 15 * time.Second)
		if at.Before(since) {
			continue
		}
		log.Decisions = append(log.Decisions, explainapi.Decision{
			Time: at, Pods: []explainapi.Pod{{Name: "web-1", State: explainapi.PodReady}}, Status: lookedStatus(),
			Reads: []explainapi.Read{{Time: at, Values: []explainapi.Value{{Pod: "web-1", Milli: 80_000, AgeMillis: 900, WindowSeconds: 10}}}},
		})
	}
	return log, nil
}

func (k knownShop) Current(key types.NamespacedName) (recorder.Current, bool) {
	if key != k.List("shop")[0] {
		return recorder.Current{}, false
	}
	log, _ := k.Log(key, noon)
	return recorder.Current{Spec: &log.Specs[0].Spec, Status: lookedStatus(), Since: log.Source.UnknownBefore}, true
}

func (knownShop) ReadLogs(context.Context, types.NamespacedName, time.Duration) []peer.Answer {
	return nil
}

func (knownShop) Targets() []metric.Target {
	return []metric.Target{{Namespace: "shop", Pod: "web-1", URL: "http://10.0.0.1:8080/metrics", Families: []string{"http_requests_total"}}}
}

func (knownShop) MetricsPages(namespace string, _ labels.Selector) []discovery.MetricsPage {
	if namespace != "shop" {
		return nil
	}
	page := discovery.MetricsPage{URL: "http://10.0.0.1:8080/metrics"}
	page.Namespace, page.Name, page.Owner = "shop", "web-1", "ReplicaSet/web"
	return []discovery.MetricsPage{page}
}

func (knownShop) ReadFamilies(context.Context, metric.Object, string, exposition.FamilyPageLimits) (exposition.FamilyPage, error) {
	return exposition.FamilyPage{Families: []exposition.ListedFamily{{Name: "http_requests_total", Help: "Requests.", Type: model.MetricTypeCounter}}}, nil
}

func (knownShop) Demanded() []discovery.Demand {
	return []discovery.Demand{{Resource: "pods", Metric: "request_per_second", Namespace: "shop", Standing: true}}
}

func (knownShop) Diagnose(namespace, pod string, _ []string) metric.Omission {
	return metric.Omission{Object: metric.Object{Namespace: namespace, Name: pod}, Reason: metric.ReasonScrapeFailed, Detail: "connection refused"}
}

func (knownShop) ScrapeDuration(string, string) time.Duration { return 12 * time.Millisecond }

// lookedStatus is the status of an autoscaler after the controller's first look.
func lookedStatus() *explainapi.Status {
	return &explainapi.Status{CurrentReplicas: 1, DesiredReplicas: 2, Conditions: []explainapi.Condition{{Type: "AbleToScale", Status: "True"}}}
}

// newBuiltinRules returns the rules of an adapter without a configuration.
func newBuiltinRules(t *testing.T) *rule.Set {
	t.Helper()
	_, set, err := rule.Load([]byte("apiVersion: config.tachometer.dev/v1alpha1\nkind: AdapterConfig\n"))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// serveShop serves the API as a generic API server does, without authentication.
func serveShop(t *testing.T) string {
	t.Helper()
	return serveAPIOverHTTP(t, New(Deps{
		Records: knownShop{}, Peers: knownShop{}, Discovery: knownShop{}, Scrapes: knownShop{}, Replica: "adapter-1", Now: func() time.Time { return noon },
		Families:  func(string, string, bool) []string { return []string{"http_requests_total"} },
		MetricsOf: newBuiltinRules(t).MetricsOf,
	}))
}

const apiPath = "/apis/explain.tachometer.dev/v1alpha1"

// serveAPIOverHTTP serves an API over HTTP, and returns its URL.
func serveAPIOverHTTP(t *testing.T, a *API) string {
	t.Helper()
	h := httptest.NewServer(newUnauthenticatedHandler(t, a))
	t.Cleanup(h.Close)
	return h.URL + apiPath
}

// newUnauthenticatedHandler returns an API as a generic API server serves it, without authentication.
func newUnauthenticatedHandler(t *testing.T, a *API) http.Handler {
	t.Helper()
	group := a.Group()
	config := genericapiserver.NewConfig(serializer.NewCodecFactory(group.Scheme))
	config.EffectiveVersion = compatibility.DefaultBuildEffectiveVersion()
	config.ExternalAddress = "127.0.0.1:443"
	config.LoopbackClientConfig = &rest.Config{}
	namer := openapinamer.NewDefinitionNamer(group.Scheme)
	definitions := func(ref openapi.ReferenceCallback) map[string]openapi.OpenAPIDefinition {
		all := core.GetOpenAPIDefinitions(ref)
		maps.Copy(all, a.Definitions(ref))
		return all
	}
	config.OpenAPIConfig = genericapiserver.DefaultOpenAPIConfig(definitions, namer)
	config.OpenAPIV3Config = genericapiserver.DefaultOpenAPIV3Config(definitions, namer)
	config.BuildHandlerChainFunc = func(h http.Handler, c *genericapiserver.Config) http.Handler {
		return genericapifilters.WithRequestInfo(h, c.RequestInfoResolver)
	}
	server, err := config.Complete(nil).New("test", genericapiserver.NewEmptyDelegate())
	if err != nil {
		t.Fatal(err)
	}
	if err := server.InstallAPIGroup(group); err != nil {
		t.Fatal(err)
	}
	server.PrepareRun()
	t.Cleanup(server.Destroy)
	return server.Handler
}

// getDecodedAnswer reads a URL, and decodes the answer into out unless it is nil.
func getDecodedAnswer(t *testing.T, url, accept string, out any) (code int, body string) {
	t.Helper()
	code, body = sendJSONRequest(t, http.MethodGet, url, accept, "")
	if out != nil {
		if err := json.Unmarshal([]byte(body), out); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
	}
	return code, body
}

// sendJSONRequest sends a request with a JSON body, which may be empty.
func sendJSONRequest(t *testing.T, method, url, accept, body string) (code int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

// TestAPI: each resource is served with the replica that answered, and discovery names all of them.
func TestAPI(t *testing.T) {
	t.Parallel()
	url := serveShop(t)
	shop := url + "/namespaces/shop/"
	var resources metav1.APIResourceList
	getDecodedAnswer(t, url, "application/json", &resources)
	var names []string
	for _, r := range resources.APIResources {
		names = append(names, r.Name+" "+r.Verbs.String())
	}
	if got, want := strings.Join(names, ", "), "horizontalpodautoscalers [get list], horizontalpodautoscalers/decisions [get], metrics [list], rulereviews [create], targets [get list]"; got != want {
		t.Errorf("resources %s, want %s", got, want)
	}

	var e explainapi.Explanation
	getDecodedAnswer(t, shop+"horizontalpodautoscalers/web", "application/json", &e)
	if e.Kind != "Explanation" || e.APIVersion != explainapi.GroupVersion.String() || e.Source.Replica != "adapter-1" || e.Latest == nil || !e.Source.UnknownBefore.Equal(noon.Add(-time.Hour)) {
		t.Errorf("explanation %+v", e)
	}
	if c := e.Computed; c == nil || c.Replicas != 2 || len(c.Metrics) != 1 || c.Metrics[0].Usage != 80_000 || c.Metrics[0].Stage != "scaled" {
		t.Errorf("computed %+v", c)
	}

	var log explainapi.DecisionLog
	getDecodedAnswer(t, shop+"horizontalpodautoscalers/web/decisions?since=40s", "application/json", &log)
	if len(log.Decisions) != 2 || log.Source.Replica != "adapter-1" || log.Kind != "DecisionLog" {
		t.Fatalf("log %+v", log)
	}
	if log.Decisions[1].Pods != nil || log.Decisions[1].Status != nil {
		t.Errorf("repeated parts are not left out: %+v", log.Decisions[1])
	}
	log.Complete()
	if len(log.Decisions[1].Pods) != 1 || log.Decisions[1].Status == nil {
		t.Errorf("left-out parts are not filled in: %+v", log.Decisions[1])
	}

	var list explainapi.ExplanationList
	getDecodedAnswer(t, url+"/horizontalpodautoscalers", "application/json", &list)
	if len(list.Items) != 1 || list.Items[0].Status == nil || list.Items[0].Status.DesiredReplicas != 2 {
		t.Errorf("list %+v", list)
	}
	var targets explainapi.TargetList
	getDecodedAnswer(t, shop+"targets", "application/json", &targets)
	if len(targets.Items) != 1 || targets.Items[0].State != "scrape_failed" || targets.Items[0].Error != "connection refused" || targets.Items[0].DurationMillis != 12 || targets.Source.Replica != "adapter-1" {
		t.Errorf("targets %+v", targets)
	}
	var other explainapi.TargetList
	if getDecodedAnswer(t, url+"/namespaces/other/targets", "application/json", &other); len(other.Items) != 0 {
		t.Errorf("targets of another namespace: %+v", other)
	}
}

// TestMetricsAPI: the metrics of a namespace are the families of its pods with what demands them, and those of all namespaces the demands alone.
func TestMetricsAPI(t *testing.T) {
	t.Parallel()
	url := serveShop(t)
	var metrics explainapi.MetricList
	getDecodedAnswer(t, url+"/namespaces/shop/metrics", "application/json", &metrics)
	if m := metrics.Items; len(m) != 1 || m[0].Name != "http_requests_total" || m[0].Type != "counter" || m[0].Targets != 1 || len(m[0].Demands) != 1 || !m[0].Demands[0].Autoscaled || m[0].Demands[0].Families[0] != "http_requests_total" {
		t.Errorf("metrics %+v", metrics)
	}
	var all explainapi.MetricList
	getDecodedAnswer(t, url+"/metrics", "application/json", &all)
	if len(all.Items) != 1 || all.Items[0].Name != "request_per_second" || all.Items[0].IsFamily() || len(all.Pages) != 0 {
		t.Errorf("metrics of all namespaces %+v", all)
	}
}

// TestAPIErrors: what is not known and what is wrong is said with its name.
func TestAPIErrors(t *testing.T) {
	t.Parallel()
	shop := serveShop(t) + "/namespaces/shop/"
	for path, want := range map[string]string{
		"horizontalpodautoscalers/wep":                      "404 this replica knows no autoscaler shop/wep",
		"horizontalpodautoscalers/wep/decisions":            "404 this replica knows no autoscaler shop/wep",
		"horizontalpodautoscalers/web/decisions?since=soon": `400 since="soon": want a time span above 0, such as 30m or 1h`,
		"horizontalpodautoscalers/web/decisions?scope=all":  `400 scope="all": want replica, or no scope for all replicas`,
		"targets/web-2": "404 this replica knows no target shop/web-2",
		"metrics?fieldSelector=metadata.name%3Db": "400 metrics have no fields to select by: select the pods by labels",
		"targets?labelSelector=a%3Db":             "400 objects of this API have no labels and no fields to select by: read all, or one by name",
	} {
		var status metav1.Status
		code, _ := getDecodedAnswer(t, shop+path, "application/json", &status)
		if got := fmt.Sprintf("%d %s", code, status.Message); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

// TestKubectlTable: kubectl get shows columns.
func TestKubectlTable(t *testing.T) {
	t.Parallel()
	shop := serveShop(t) + "/namespaces/shop/"
	for resource, want := range map[string][]any{
		"horizontalpodautoscalers": {"web", "1", "2", "adapter-1", "2026-11-28T11:00:00Z"},
		"targets":                  {"web-1", "scrape_failed", "12ms", "http://10.0.0.1:8080/metrics", "connection refused"},
		"metrics":                  {"http_requests_total", "counter", 1.0, "autoscaler", "request_per_second,http_requests_per_second", "Requests."},
	} {
		var table metav1.Table
		getDecodedAnswer(t, shop+resource, "application/json;as=Table;v=v1;g=meta.k8s.io", &table)
		if len(table.Rows) != 1 || len(table.ColumnDefinitions) != len(want) {
			t.Errorf("%s: table %+v", resource, table)
			continue
		}
		for i, cell := range table.Rows[0].Cells {
			if cell != want[i] {
				t.Errorf("%s: cell %d is %v, want %v", resource, i, cell, want[i])
			}
			if c := table.ColumnDefinitions[i]; c.Priority > 0 != (c.Name == "Help") {
				t.Errorf("%s: column %s has priority %d; kubectl shows the help with -o wide alone", resource, c.Name, c.Priority)
			}
		}
	}
}
