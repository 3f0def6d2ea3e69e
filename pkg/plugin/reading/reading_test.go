package reading

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"

	"github.com/tachometer-metrics/tachometer/pkg/hpa"
)

var readingTime = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// answers are bodies by path.
type answers map[string]string

func (a answers) Read(_ context.Context, path string) ([]byte, error) {
	body, ok := a[path]
	if !ok {
		return nil, fmt.Errorf("no answer for %s", path)
	}
	return []byte(body), nil
}

func newIdentifier(name string) autoscalingv2.MetricIdentifier {
	return autoscalingv2.MetricIdentifier{Name: name, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"code": "200"}}}
}

// TestTargetOfAnObject: of two amounts the one of the type counts, as in the HPA controller.
func TestTargetOfAnObject(t *testing.T) {
	t.Parallel()
	for kind, want := range map[autoscalingv2.MetricTargetType]string{autoscalingv2.ValueMetricType: "100", autoscalingv2.AverageValueMetricType: "5"} {
		spec := autoscalingv2.MetricSpec{Object: &autoscalingv2.ObjectMetricSource{Target: autoscalingv2.MetricTarget{
			Type: kind, Value: new(resource.MustParse("100")), AverageValue: new(resource.MustParse("5")),
		}}}
		if got := FormatTarget(TargetOf(spec)); got != want {
			t.Errorf("%s: target %s, want %s", kind, got, want)
		}
	}
}

// TestReadMetric: each type of metric is read at the path that the HPA controller reads, and its answer is understood.
func TestReadMetric(t *testing.T) {
	t.Parallel()
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(schema.GroupVersionKind{Group: "networking.k8s.io", Version: "v1", Kind: "Ingress"}, meta.RESTScopeNamespace)
	custom := `{"items":[{"describedObject":{"name":"web-1"},"timestamp":"2026-11-28T12:00:00Z","windowSeconds":10,"value":"1500m"}]}`
	usage := `{"items":[{"metadata":{"name":"web-1"},"timestamp":"2026-11-28T12:00:00Z","window":"10s","containers":[
		{"name":"web","usage":{"cpu":"1","memory":"1Mi"}},{"name":"proxy","usage":{"cpu":"500m"}}]},
		{"metadata":{"name":"web-2"},"containers":[]}]}`
	ofPod := []Value{{Object: "web-1", Time: readingTime, Window: 10 * time.Second}}
	object := func(version, kind, name string) *autoscalingv2.ObjectMetricSource {
		return &autoscalingv2.ObjectMetricSource{
			Metric:          newIdentifier("rps"),
			DescribedObject: autoscalingv2.CrossVersionObjectReference{APIVersion: version, Kind: kind, Name: name},
		}
	}
	for name, tc := range map[string]struct {
		spec       autoscalingv2.MetricSpec
		path, body string
		milli      int64
		values     []Value
	}{
		"pods": {
			autoscalingv2.MetricSpec{Pods: &autoscalingv2.PodsMetricSource{Metric: newIdentifier("rps")}},
			"/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/*/rps?labelSelector=app%3Dweb&metricLabelSelector=code%3D200", custom, 1500, ofPod,
		},
		"object": {
			autoscalingv2.MetricSpec{Object: object("networking.k8s.io/v1", "Ingress", "front")},
			"/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/ingresses.networking.k8s.io/front/rps?metricLabelSelector=code%3D200", custom, 1500, ofPod,
		},
		"namespace": {
			autoscalingv2.MetricSpec{Object: object("v1", "Namespace", "shop")},
			"/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/metrics/rps?metricLabelSelector=code%3D200", custom, 1500, ofPod,
		},
		"external": {
			autoscalingv2.MetricSpec{External: &autoscalingv2.ExternalMetricSource{Metric: newIdentifier("orders")}},
			"/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/orders?labelSelector=code%3D200",
			`{"items":[{"metricName":"orders","timestamp":"2026-11-28T12:00:00Z","window":10,"value":"7"}]}`, 7000,
			[]Value{{Time: readingTime, Window: 10 * time.Second}},
		},
		"resource": {
			autoscalingv2.MetricSpec{Resource: &autoscalingv2.ResourceMetricSource{Name: "cpu"}},
			"/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods?labelSelector=app%3Dweb", usage, 1500, ofPod,
		},
		"container": {
			autoscalingv2.MetricSpec{ContainerResource: &autoscalingv2.ContainerResourceMetricSource{Name: "cpu", Container: "proxy"}},
			"/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods?labelSelector=app%3Dweb", usage, 500, ofPod,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := MetricReader{Reader: answers{tc.path: tc.body}, Mapper: mapper}.ReadMetric(t.Context(), "shop", "app=web", tc.spec, name)
			if got.Err != nil || got.Path != tc.path || len(got.Values) != 1 {
				t.Fatalf("got %+v, want %s", got, tc.path)
			}
			if m := got.Values[0].Value.MilliValue(); m != tc.milli {
				t.Errorf("value %dm, want %dm", m, tc.milli)
			}
			got.Values[0].Value = tc.values[0].Value
			if diff := cmp.Diff(tc.values, got.Values); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if broken := (MetricReader{Reader: answers{tc.path: "{"}, Mapper: mapper}).ReadMetric(t.Context(), "shop", "app=web", tc.spec, name); broken.Err == nil {
				t.Error("half an answer is no error")
			}
		})
	}
}

// TestMetricSelectors: an empty selector selects all, as no selector does, and the selector in a path is one that the API understands. One that is
// invalid, which kube-apiserver stores all the same, is an error.
func TestMetricSelectors(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		selector *metav1.LabelSelector
		query    string
		failure  string
	}{
		"none":    {nil, "", ""},
		"empty":   {&metav1.LabelSelector{}, "", ""},
		"a set":   {&metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "code", Operator: "In", Values: []string{"500", "503"}}}}, "code+in+%28500%2C503%29", ""},
		"absent":  {&metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "code", Operator: "DoesNotExist"}}}, "%21code", ""},
		"invalid": {&metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "code", Operator: "Equals", Values: []string{"500"}}}}, "", "the selector of the metric is invalid: "},
	} {
		id := autoscalingv2.MetricIdentifier{Name: "orders", Selector: tc.selector}
		for key, spec := range map[string]autoscalingv2.MetricSpec{
			"labelSelector":       {External: &autoscalingv2.ExternalMetricSource{Metric: id}},
			"metricLabelSelector": {Pods: &autoscalingv2.PodsMetricSource{Metric: id}},
		} {
			got := MetricReader{Reader: answers{}}.ReadMetric(t.Context(), "shop", "app=web", spec, name)
			u, err := url.Parse(got.Path)
			if err != nil {
				t.Fatal(err)
			}
			want, _ := url.QueryUnescape(tc.query)
			if value := u.Query().Get(key); value != want || u.Query().Has(key) != (want != "") {
				t.Errorf("%s: %s=%q, want %q", name, key, value, want)
			}
			if tc.failure != "" && (got.Err == nil || !strings.HasPrefix(got.Err.Error(), tc.failure) || got.Path != "") {
				t.Errorf("%s: %v", name, got.Err)
			}
		}
	}
}

// TestEmptyAnswers: an answer without a value is an error, as for the HPA controller. Else no value of a queue were an empty queue.
func TestEmptyAnswers(t *testing.T) {
	t.Parallel()
	for want, spec := range map[string]autoscalingv2.MetricSpec{
		"no metrics returned from custom metrics API":   {Pods: &autoscalingv2.PodsMetricSource{}},
		"no metrics returned from external metrics API": {External: &autoscalingv2.ExternalMetricSource{}},
		"no metrics returned from resource metrics API": {Resource: &autoscalingv2.ResourceMetricSource{Name: "cpu"}},
	} {
		a := MetricReader{Reader: anyAnswer(`{"items":[]}`)}.ReadMetric(t.Context(), "shop", "app=web", spec, "")
		if !errors.Is(a.Err, ErrNoValues) || a.Err.Error() != want {
			t.Errorf("error %v, want %s", a.Err, want)
		}
	}
}

// anyAnswer is the answer to every read.
type anyAnswer string

func (a anyAnswer) Read(context.Context, string) ([]byte, error) { return []byte(a), nil }

// TestUsageOfContainers: a pod of which one container lacks the resource has no usage, and each container is rounded up to thousandths.
func TestUsageOfContainers(t *testing.T) {
	t.Parallel()
	page := anyAnswer(`{"items":[{"metadata":{"name":"web-1"},"containers":[{"name":"web","usage":{"cpu":"100200u"}},{"name":"proxy","usage":{"cpu":"100200u"}}]},
		{"metadata":{"name":"web-2"},"containers":[{"name":"web","usage":{"cpu":"1"}},{"name":"proxy","usage":{"memory":"1Mi"}}]}]}`)
	a := MetricReader{Reader: page}.ReadMetric(t.Context(), "shop", "app=web", autoscalingv2.MetricSpec{Resource: &autoscalingv2.ResourceMetricSource{Name: "cpu"}}, "")
	if len(a.Values) != 1 || a.Values[0].Object != "web-1" || a.Values[0].Value.MilliValue() != 202 {
		t.Errorf("values %+v, error %v", a.Values, a.Err)
	}
}

// TestRESTReader: it asks for JSON, whatever the client prefers, and keeps the server's own words.
func TestRESTReader(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get("Accept"), "protobuf") {
			t.Errorf("Accept: %s", r.Header.Get("Accept"))
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"2 pods: 2 stale","code":503,"details":{"causes":[{"reason":"stale"}]}}`)
	}))
	t.Cleanup(server.Close)
	reader, err := NewRESTReader(&rest.Config{Host: server.URL, ContentConfig: rest.ContentConfig{ContentType: runtime.ContentTypeProtobuf, AcceptContentTypes: runtime.ContentTypeProtobuf}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = reader.Read(t.Context(), "/apis/x/v1/namespaces/shop/pods/*/rps?labelSelector=a%3Db")
	if err == nil || err.Error() != "2 pods: 2 stale" || !apierrors.HasStatusCause(err, "stale") {
		t.Errorf("error = %v, want the server's", err)
	}
}

// TestFormatAmount: an amount has the unit of its target, so that both can be compared by eye.
func TestFormatAmount(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		target string
		milli  int64
		want   string
	}{
		{"50", 61500, "61.5"}, {"50", 61000, "61"}, {"50m", 61, "61m"}, {"500m", 61500, "61500m"}, {"1", -250, "-0.25"}, {"200Mi", 314572800000, "300Mi"}, {"2Gi", 1717986918400, "1.6Gi"}, {"1M", 1500000000, "1500k"}, {"60%", 72000, "72"}, {"?", 0, "0"}, {"", 5, "0.005"},
	} {
		if got := FormatAmount(tc.target, tc.milli); got != tc.want {
			t.Errorf("FormatAmount(%q, %d) = %q, want %q", tc.target, tc.milli, got, tc.want)
		}
	}
}

// usageServer serves CPU in one version of the API.
type usageServer string

func (s usageServer) Read(_ context.Context, path string) ([]byte, error) {
	if !strings.HasPrefix(path, "/apis/metrics.k8s.io/"+string(s)+"/") {
		return nil, apierrors.NewNotFound(schema.GroupResource{Group: ResourceGroup, Resource: "pods"}, "")
	}
	return []byte(`{"items":[{"metadata":{"name":"web-1"},"containers":[{"name":"web","usage":{"cpu":"1"}}]}]}`), nil
}

// unservedReader is a kube-apiserver that knows no path.
type unservedReader struct{}

func (unservedReader) Read(context.Context, string) ([]byte, error) {
	return nil, &apierrors.StatusError{ErrStatus: metav1.Status{Reason: metav1.StatusReasonNotFound, Message: "the server could not find the requested resource"}}
}

// TestUnservedGroups: the error for a path that nothing serves names its group.
func TestUnservedGroups(t *testing.T) {
	t.Parallel()
	for group, spec := range map[string]autoscalingv2.MetricSpec{
		ResourceGroup: {Resource: &autoscalingv2.ResourceMetricSource{Name: "cpu"}},
		CustomGroup:   {Pods: &autoscalingv2.PodsMetricSource{}},
		ExternalGroup: {External: &autoscalingv2.ExternalMetricSource{}},
	} {
		a := MetricReader{Reader: unservedReader{}}.ReadMetric(t.Context(), "shop", "app=web", spec, "")
		if want := group + " is not served: the server could not find the requested resource"; !apierrors.IsNotFound(a.Err) || a.Err.Error() != want {
			t.Errorf("%v, want %s", a.Err, want)
		}
	}
}

// TestUsageVersions: CPU is read in the version that the server has. Without one, the error is that of the first.
func TestUsageVersions(t *testing.T) {
	t.Parallel()
	spec := autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{Name: "cpu"}}
	for version, isServed := range map[string]bool{"v1beta1": true, "v1": true, "v2": false} {
		a := MetricReader{Reader: usageServer(version)}.ReadMetric(t.Context(), "shop", "app=web", spec, "cpu of pods")
		if isServed && (a.Err != nil || len(a.Values) != 1 || a.Path != "/apis/metrics.k8s.io/"+version+"/namespaces/shop/pods?labelSelector=app%3Dweb") {
			t.Errorf("%s: %+v", version, a)
		}
		if !isServed && !apierrors.IsNotFound(a.Err) {
			t.Errorf("%s: error %v", version, a.Err)
		}
	}
}

// TestWindowsOfServers: a metrics server answers any window. One beyond all reason is bounded, and a negative one is none.
func TestWindowsOfServers(t *testing.T) {
	t.Parallel()
	for seconds, want := range map[int64]time.Duration{math.MaxInt64: hpa.MaxWindow, 13_000_000_000: hpa.MaxWindow, math.MinInt64: 0, -5: 0, 10: 10 * time.Second} {
		custom, err := parseCustomValues(fmt.Appendf(nil, `{"items":[{"windowSeconds":%d,"value":"1"}]}`, seconds))
		external, externalErr := parseExternalValues(fmt.Appendf(nil, `{"items":[{"window":%d,"value":"1"}]}`, seconds))
		if err != nil || externalErr != nil || custom[0].Window != want || external[0].Window != want {
			t.Errorf("%d seconds: %+v, %v; %+v, %v; want %v", seconds, custom, err, external, externalErr, want)
		}
	}
}

// TestHugeValues: a value of a few bytes that takes the memory of all its digits is an error.
func TestHugeValues(t *testing.T) {
	t.Parallel()
	body := []byte(`{"items":[{"value":"1e-100000"}]}`)
	if values, err := parseCustomValues(body); err == nil {
		t.Errorf("custom: %v", values)
	}
	if values, err := parseExternalValues(body); err == nil {
		t.Errorf("external: %v", values)
	}
}
