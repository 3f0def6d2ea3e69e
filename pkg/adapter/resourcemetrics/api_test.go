package resourcemetrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	genericapifilters "k8s.io/apiserver/pkg/endpoints/filters"
	"k8s.io/apiserver/pkg/endpoints/openapi"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/util/compatibility"
	"k8s.io/client-go/rest"
	"k8s.io/metrics/pkg/client/clientset/versioned"
	"sigs.k8s.io/metrics-server/pkg/api"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

var measuredAt = time.Unix(1_900_000_000, 0)

// fakeUsage has objects and their usage, which never change.
type fakeUsage struct {
	pods, nodes []*metav1.PartialObjectMetadata
	usage       map[metric.Object]PodUsage
	nodeUsage   map[string]NodeUsage
	unsynced    error
	err         error // of the source
}

func newObjectMetadata(namespace, name, app string) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": app}}}
}

func newPodUsage(name string, containers ...ContainerUsage) PodUsage {
	return PodUsage{Object: metric.Object{Namespace: "default", Name: name}, Containers: containers, Time: measuredAt, Window: 15032 * time.Millisecond}
}

// newTwoPodUsage returns two pods of an application with a usage, a third that is too young, and two nodes, one with a usage.
func newTwoPodUsage() *fakeUsage {
	f := &fakeUsage{
		pods: []*metav1.PartialObjectMetadata{
			newObjectMetadata("default", "web-2", "web"), newObjectMetadata("default", "web-1", "web"), newObjectMetadata("default", "young", "young"), newObjectMetadata("other", "idle", "idle"),
		},
		nodes:     []*metav1.PartialObjectMetadata{newObjectMetadata("", "b", "x"), newObjectMetadata("", "a", "x")},
		usage:     map[metric.Object]PodUsage{},
		nodeUsage: map[string]NodeUsage{"a": {Name: "a", Usage: Usage{1.5, 1 << 30}, Time: measuredAt, Window: 15 * time.Second}},
	}
	f.setPodUsage(newPodUsage("web-1", ContainerUsage{"proxy", Usage{.0005, 1 << 20}}, ContainerUsage{"web", Usage{.25, 2 << 20}}))
	f.setPodUsage(newPodUsage("web-2", ContainerUsage{"web", Usage{1.0 / 3, 1}}))
	return f
}

func (f *fakeUsage) setPodUsage(u PodUsage) { f.usage[u.Object] = u }

func (f *fakeUsage) SyncError() error { return f.unsynced }

func (f *fakeUsage) objectsOf(resource string) []*metav1.PartialObjectMetadata {
	if resource == Pods {
		return f.pods
	}
	return f.nodes
}

func (f *fakeUsage) List(resource, namespace string, s labels.Selector) []*metav1.PartialObjectMetadata {
	var found []*metav1.PartialObjectMetadata
	for _, o := range f.objectsOf(resource) {
		if (namespace == "" || o.Namespace == namespace) && s.Matches(labels.Set(o.Labels)) {
			found = append(found, o)
		}
	}
	return found
}

func (f *fakeUsage) Get(resource string, name metric.Object) *metav1.PartialObjectMetadata {
	i := slices.IndexFunc(f.objectsOf(resource), func(o *metav1.PartialObjectMetadata) bool {
		return o.Namespace == name.Namespace && o.Name == name.Name
	})
	if i < 0 {
		return nil
	}
	return f.objectsOf(resource)[i]
}

func (f *fakeUsage) GetPodUsages(_ context.Context, pods []Pod, _ time.Time) ([]PodUsage, []metric.Omission, error) {
	var found []PodUsage
	var omitted []metric.Omission
	for _, p := range pods {
		if u, ok := f.usage[p.Object]; ok {
			found = append(found, u)
		} else {
			omitted = append(omitted, metric.Omission{Object: p.Object, Reason: metric.ReasonWarmingUp})
		}
	}
	return found, omitted, f.err
}

func (f *fakeUsage) GetNodeUsages(_ context.Context, names []string, _ time.Time) ([]NodeUsage, []metric.Omission, error) {
	var found []NodeUsage
	var omitted []metric.Omission
	for _, n := range names {
		if u, ok := f.nodeUsage[n]; ok {
			found = append(found, u)
		} else {
			omitted = append(omitted, metric.Omission{Object: metric.Object{Name: n}, Reason: metric.ReasonScrapeFailed, Detail: "timeout"})
		}
	}
	return found, omitted, f.err
}

// serveUsageAPI starts a generic API server with only this group, without authorization.
func serveUsageAPI(t *testing.T, f *fakeUsage, r prometheus.Registerer) string {
	t.Helper()
	a := New(Deps{Objects: f, Source: f, Now: func() time.Time { return measuredAt.Add(4 * time.Second) }}, Options{Registerer: r})
	config := genericapiserver.NewConfig(api.Codecs)
	config.EffectiveVersion = compatibility.DefaultBuildEffectiveVersion()
	config.ExternalAddress = "127.0.0.1:443"
	config.LoopbackClientConfig = &rest.Config{}
	namer := openapi.NewDefinitionNamer(api.Scheme)
	config.OpenAPIConfig = genericapiserver.DefaultOpenAPIConfig(a.Definitions, namer)
	config.OpenAPIV3Config = genericapiserver.DefaultOpenAPIV3Config(a.Definitions, namer)
	config.BuildHandlerChainFunc = func(h http.Handler, c *genericapiserver.Config) http.Handler {
		return genericapifilters.WithRequestInfo(h, c.RequestInfoResolver)
	}
	server, err := config.Complete(nil).New("test", genericapiserver.NewEmptyDelegate())
	if err != nil {
		t.Fatal(err)
	}
	if err := server.InstallAPIGroup(a.Group()); err != nil {
		t.Fatal(err)
	}
	server.PrepareRun()
	h := httptest.NewServer(server.Handler)
	t.Cleanup(h.Close)
	t.Cleanup(server.Destroy)
	return h.URL
}

func getURL(t *testing.T, url, accept string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

const (
	groupPath   = "/apis/metrics.k8s.io/v1beta1"
	acceptTable = "application/json;as=Table;v=v1;g=meta.k8s.io"
)

func TestAPI(t *testing.T) {
	t.Parallel()
	url := serveUsageAPI(t, newTwoPodUsage(), nil)
	for name, tc := range map[string]struct {
		path, accept string
		code         int
		want, not    []string
	}{
		"one pod": {
			path: "/namespaces/default/pods/web-1", code: 200,
			want: []string{
				`"kind":"PodMetrics"`, `"timestamp":"2030-03-17T17:46:40Z"`, `"window":"15.032s"`, `"labels":{"app":"web"}`,
				`{"name":"proxy","usage":{"cpu":"500u","memory":"1Mi"}},{"name":"web","usage":{"cpu":"250m","memory":"2Mi"}}`,
			},
		},
		"all pods":                  {path: "/pods", code: 200, want: []string{`"name":"web-1"`, `"name":"web-2"`, `"cpu":"333333333n"`}, not: []string{"young", "idle"}},
		"sorted":                    {path: "/pods", accept: acceptTable, code: 200, want: []string{`"cells":["web-1","250500u","3Mi","15.032s"]`}},
		"of a namespace":            {path: "/namespaces/other/pods", code: 200, want: []string{`"items":[]`}},
		"selected":                  {path: "/namespaces/default/pods?labelSelector=app%3Dweb", code: 200, want: []string{`"name":"web-1"`, `"name":"web-2"`}},
		"selected by name":          {path: "/pods?fieldSelector=metadata.name%3Dweb-2", code: 200, want: []string{`"name":"web-2"`}, not: []string{"web-1"}},
		"selected by what is not":   {path: "/pods?fieldSelector=spec.nodeName%3Da", code: 400, want: []string{"spec.nodeName"}},
		"none selected":             {path: "/namespaces/default/pods?labelSelector=app%3Dnone", code: 200, want: []string{`"items":[]`}},
		"selected, but no usage":    {path: "/namespaces/default/pods?labelSelector=app%3Dyoung", code: 503, want: []string{"no usage of 1 pod: 1 warming up"}},
		"a pod without usage":       {path: "/namespaces/default/pods/young", code: 404, want: []string{"no usage of pod default/young: 1 warming up"}},
		"no such pod":               {path: "/namespaces/default/pods/none", code: 404, want: []string{"there is no pod default/none"}},
		"nodes":                     {path: "/nodes", code: 200, want: []string{`"kind":"NodeMetricsList"`, `"name":"a"`, `"usage":{"cpu":"1500m","memory":"1Gi"}`}, not: []string{`"name":"b"`}},
		"one node":                  {path: "/nodes/a", code: 200, want: []string{`"kind":"NodeMetrics"`, `"cpu":"1500m"`}},
		"a node without usage":      {path: "/nodes/b", code: 404, want: []string{"no usage of node b: 1 scrape failed (timeout)"}},
		"no such node":              {path: "/nodes/c", code: 404, want: []string{"there is no node c"}},
		"table of one":              {path: "/nodes/a", accept: acceptTable, code: 200, want: []string{`"cells":["a","1500m","1Gi","15s"]`, `"name":"cpu"`}},
		"table without definitions": {path: "/nodes/a", accept: acceptTable, code: 200, want: []string{`"kind":"Table"`}},
		"resources": {path: "", code: 200, want: []string{
			`{"name":"nodes","singularName":"","namespaced":false,"kind":"NodeMetrics","verbs":["get","list"]}`,
			`{"name":"pods","singularName":"","namespaced":true,"kind":"PodMetrics","verbs":["get","list"]}`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, body := getURL(t, url+groupPath+tc.path, tc.accept)
			if code != tc.code {
				t.Fatalf("%d, want %d: %s", code, tc.code, body)
			}
			for _, want := range tc.want {
				if !strings.Contains(body, want) {
					t.Errorf("no %s in %s", want, body)
				}
			}
			for _, not := range tc.not {
				if strings.Contains(body, not) {
					t.Errorf("%s in %s", not, body)
				}
			}
		})
	}
}

// The autoscaler's own client reads each encoding.
func TestAPIWithClient(t *testing.T) {
	t.Parallel()
	url := serveUsageAPI(t, newTwoPodUsage(), nil)
	for _, encoding := range []string{runtime.ContentTypeJSON, runtime.ContentTypeProtobuf, runtime.ContentTypeCBOR} {
		t.Run(encoding, func(t *testing.T) {
			t.Parallel()
			client, err := versioned.NewForConfig(&rest.Config{Host: url, ContentConfig: rest.ContentConfig{ContentType: encoding}})
			if err != nil {
				t.Fatal(err)
			}
			options := metav1.ListOptions{LabelSelector: "app=web"}
			list, err := client.MetricsV1beta1().PodMetricses("default").List(t.Context(), options)
			if err != nil {
				t.Fatal(err)
			}
			stable, err := client.MetricsV1().PodMetricses("default").List(t.Context(), options)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(fmt.Sprint(list.Items), fmt.Sprint(stable.Items)); diff != "" {
				t.Errorf("v1beta1 and v1 (-v1beta1 +v1):\n%s", diff)
			}
			var got []int64
			for _, p := range list.Items {
				for _, c := range p.Containers {
					got = append(got, c.Usage.Cpu().ScaledValue(-9), c.Usage.Memory().Value())
				}
				if !p.Timestamp.Time.Equal(measuredAt) || p.Window.Duration != 15032*time.Millisecond {
					t.Errorf("%s: at %s over %s", p.Name, p.Timestamp, p.Window.Duration)
				}
			}
			if diff := cmp.Diff([]int64{500_000, 1 << 20, 250_000_000, 2 << 20, 333_333_333, 1}, got); diff != "" {
				t.Errorf("usage (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAPIFaults(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		spoil func(*fakeUsage)
		code  int
		want  string
	}{
		"not synced":   {func(f *fakeUsage) { f.unsynced = errors.New("pods have not been listed yet") }, 503, "pods have not been listed yet"},
		"backend down": {func(f *fakeUsage) { f.err = metric.Errorf(metric.KindUnavailable, "backend p is down since 12:00") }, 503, "backend p is down since 12:00"},
		"bad rule":     {func(f *fakeUsage) { f.err = metric.Errorf(metric.KindInternal, "rule cpu: no label pod") }, 500, "rule cpu: no label pod"},
		"a fault here": {func(f *fakeUsage) { f.err = errors.New("secret") }, 500, "the adapter's log has the cause"},
		"too late":     {func(f *fakeUsage) { f.err = context.DeadlineExceeded }, 503, "ended before the answer"},
		"NaN": {func(f *fakeUsage) {
			f.setPodUsage(newPodUsage("web-1", ContainerUsage{"a", Usage{1, 1}}, ContainerUsage{"b", Usage{math.NaN(), 1}}))
		}, 404, "1 not a number"},
		"negative": {func(f *fakeUsage) { f.setPodUsage(newPodUsage("web-1", ContainerUsage{"a", Usage{-1, 1}})) }, 404, "1 negative"},
		"infinite": {func(f *fakeUsage) { f.setPodUsage(newPodUsage("web-1", ContainerUsage{"a", Usage{1, math.Inf(1)}})) }, 404, "1 out of range"},
		"too much": {func(f *fakeUsage) { f.setPodUsage(newPodUsage("web-1", ContainerUsage{"a", Usage{1, 1e17}})) }, 404, "1 out of range"},
		"empty":    {func(f *fakeUsage) { f.setPodUsage(newPodUsage("web-1")) }, 404, "1 absent"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newTwoPodUsage()
			tc.spoil(f)
			url := serveUsageAPI(t, f, nil)
			code, body := getURL(t, url+groupPath+"/namespaces/default/pods/web-1", "application/json")
			if code != tc.code || !strings.Contains(body, tc.want) || strings.Contains(body, "secret") {
				t.Errorf("%d %s, want %d %q", code, body, tc.code, tc.want)
			}
			if tc.code != http.StatusNotFound { // a list fails too, instead of being empty
				if code, body := getURL(t, url+groupPath+"/pods", "application/json"); code != tc.code {
					t.Errorf("list: %d %s, want %d", code, body, tc.code)
				}
			}
		})
	}
}

func TestAPICounts(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewPedanticRegistry()
	url := serveUsageAPI(t, newTwoPodUsage(), registry)
	for _, path := range []string{"/pods", "/nodes"} {
		if code, body := getURL(t, url+groupPath+path, "application/json"); code != http.StatusOK {
			t.Fatalf("%d %s", code, body)
		}
	}
	const want = `
# HELP tachometer_resource_omissions_total Pods and nodes without usage in a response.
# TYPE tachometer_resource_omissions_total counter
tachometer_resource_omissions_total{reason="scrape_failed",resource="nodes"} 1
tachometer_resource_omissions_total{reason="warming_up",resource="pods"} 2
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "tachometer_resource_omissions_total"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("self-metrics: %v %v", problems, err)
	}
}

func TestTableWithoutHeaders(t *testing.T) {
	t.Parallel()
	if got := newUsageTable(&metav1.TableOptions{NoHeaders: true}).table.ColumnDefinitions; got != nil {
		t.Errorf("columns %v", got)
	}
	if got := newUsageTable(nil).table.ColumnDefinitions; len(got) != 4 {
		t.Errorf("columns %v", got)
	}
}

func FuzzQuantities(f *testing.F) {
	for _, v := range []float64{0, 1e-10, .5e-9, 1.0 / 3, 1, 9.2e9, 9.3e9, 9.2e15, 1e19, -1e-12, math.Inf(1), math.NaN(), math.MaxFloat64} {
		f.Add(v, v)
	}
	f.Fuzz(func(t *testing.T, cpu, memory float64) {
		list, reason := Usage{cpu, memory}.toResourceList()
		if reason != "" {
			if list != nil {
				t.Errorf("%v served, and %s", list, reason)
			}
			return
		}
		for name, want := range map[corev1.ResourceName]float64{corev1.ResourceCPU: cpu, corev1.ResourceMemory: memory} {
			q := list[name]
			unit := map[corev1.ResourceName]float64{corev1.ResourceCPU: 1e-9, corev1.ResourceMemory: 1}[name]
			if got := q.AsApproximateFloat64(); math.Abs(got-want) > unit/2+want*1e-12 || q.Sign() < 0 {
				t.Errorf("%s: %v for %v", name, got, want)
			}
			if want >= 1 && q.MilliValue() <= 0 { // the autoscaler reads it
				t.Errorf("%s: %v reads as %d thousandths", name, want, q.MilliValue())
			}
		}
	})
}

func TestStatusIsOne(t *testing.T) {
	t.Parallel()
	err := usageObjectLookup{nil, Pods}.toUsageStatusError(t.Context(), "a", metric.Errorf(metric.KindInvalid, "no"))
	if !apierrors.IsBadRequest(err) {
		t.Errorf("%v", err)
	}
}
