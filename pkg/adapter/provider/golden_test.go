package provider

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/emicklei/go-restful/v3"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	genericapi "k8s.io/apiserver/pkg/endpoints"
	genericapifilters "k8s.io/apiserver/pkg/endpoints/filters"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	"k8s.io/metrics/pkg/apis/external_metrics"
	libserver "sigs.k8s.io/custom-metrics-apiserver/pkg/apiserver"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/apiserver/installer"
	metricsprovider "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"
	customstorage "sigs.k8s.io/custom-metrics-apiserver/pkg/registry/custom_metrics"
	externalstorage "sigs.k8s.io/custom-metrics-apiserver/pkg/registry/external_metrics"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/golden"
)

// newHandler is the library's own HTTP side over a provider: routes, versions and encoding, without authorization.
func newHandler(t testing.TB, p *Provider) http.Handler {
	t.Helper()
	container := restful.NewContainer()
	container.Router(restful.CurlyRouter{})
	for _, group := range []string{custom_metrics.GroupName, external_metrics.GroupName} {
		info := genericapiserver.NewDefaultAPIGroupInfo(group, libserver.Scheme, runtime.NewParameterCodec(libserver.Scheme), libserver.Codecs)
		for _, version := range info.PrioritizedVersions {
			g := &installer.MetricsAPIGroupVersion{
				APIGroupVersion: &genericapi.APIGroupVersion{
					Root: genericapiserver.APIGroupPrefix, GroupVersion: version, MetaGroupVersion: info.MetaGroupVersion,
					ParameterCodec: info.ParameterCodec, Serializer: info.NegotiatedSerializer,
					Creater:   info.Scheme, //nolint:misspell // the library's field
					Convertor: info.Scheme, Typer: info.Scheme,
					UnsafeConvertor: runtime.UnsafeObjectConvertor(info.Scheme), Namer: runtime.Namer(meta.NewAccessor()),
				},
				DynamicStorage: customstorage.NewREST(p), ResourceLister: metricsprovider.NewCustomMetricResourceLister(p), Handlers: &installer.CMHandlers{},
			}
			if group == external_metrics.GroupName {
				g.DynamicStorage, g.ResourceLister = externalstorage.NewREST(p), metricsprovider.NewExternalMetricResourceLister(p)
				g.Handlers = &installer.EMHandlers{}
			}
			if err := g.InstallREST(container); err != nil {
				t.Fatalf("install %s: %v", version, err)
			}
		}
	}
	resolver := genericapiserver.NewRequestInfoResolver(&genericapiserver.Config{})
	return genericapifilters.WithRequestInfo(container.ServeMux, resolver)
}

// TestGolden shows requests and their answers as a client sees them.
func TestGolden(t *testing.T) {
	t.Parallel()
	const (
		v1beta1 = "/apis/custom.metrics.k8s.io/v1beta1"
		v1beta2 = "/apis/custom.metrics.k8s.io/v1beta2"
		ext     = "/apis/external.metrics.k8s.io/v1beta1"
	)
	for name, path := range map[string]string{
		"pods_v1beta1":            v1beta1 + "/namespaces/shop/pods/*/request_per_second?labelSelector=app%3Dweb",
		"pods_v1beta2":            v1beta2 + "/namespaces/shop/pods/*/request_per_second?labelSelector=app%3Dweb",
		"pods_metric_selector":    v1beta2 + "/namespaces/shop/pods/*/request_per_second?labelSelector=app%3Dweb&metricLabelSelector=route%3Dorders,code+notin+(500,503)",
		"pod":                     v1beta2 + "/namespaces/shop/pods/web-1/request_per_second",
		"deployment":              v1beta2 + "/namespaces/shop/deployments.apps/web/request_per_second",
		"service":                 v1beta2 + "/namespaces/shop/services/web/request_per_second",
		"namespace":               v1beta2 + "/namespaces/shop/metrics/traffic",
		"node":                    v1beta2 + "/nodes/n1/load",
		"nodes":                   v1beta1 + "/nodes/*/load",
		"external":                ext + "/namespaces/shop/orders_waiting?labelSelector=queue%3Da",
		"error_no_pods":           v1beta2 + "/namespaces/shop/pods/*/request_per_second?labelSelector=app%3Dnothing",
		"error_no_values":         v1beta2 + "/namespaces/shop/pods/*/request_per_second?labelSelector=app%3Dcold",
		"error_no_rule":           v1beta2 + "/namespaces/shop/pods/*/request_per_secnd",
		"error_selector":          v1beta2 + "/namespaces/shop/pods/*/request_per_second?metricLabelSelector=size%3E3",
		"error_external_selector": ext + "/namespaces/shop/orders_waiting?labelSelector=queue%3D",
		"discovery":               v1beta2,
		"discovery_external":      ext,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewRecorder()
			newHandler(t, newGoldenProvider(t)).ServeHTTP(server, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
			var pretty bytes.Buffer
			fmt.Fprintf(&pretty, "GET %s\n%d\n", path, server.Code)
			if err := json.Indent(&pretty, server.Body.Bytes(), "", "  "); err != nil {
				t.Fatalf("answer %d %q: %v", server.Code, server.Body, err)
			}
			pretty.WriteByte('\n')
			file := filepath.Join("testdata", name+".golden")
			golden.Compare(t, file, pretty.String())
		})
	}
}

func newGoldenProvider(t *testing.T) *Provider {
	cold := livePod("cold-1")
	cold.labels = map[string]string{"app": "cold"}
	rejected := livePod("cold-2")
	rejected.labels = cold.labels
	w := newWorld(t, livePod("web-1"), livePod("web-2"), deadPod("web-3", metric.ReasonTerminating, ""), cold, rejected)
	w.backends["scrape"] = byMetric{
		"request_per_second": {fresh("web-1", 103.25), aged("web-2", 99, 1500*time.Millisecond)},
		"traffic":            {{Object: metric.Object{Name: "shop"}, Value: 202.25, Time: noon}},
		"load":               {{Object: metric.Object{Name: "n1"}, Value: 0.75, Time: noon}, {Object: metric.Object{Name: "n2"}, Time: noon}},
		"orders_waiting":     {newQueueValue("a", 17)},
	}
	w.causes["cold-1"] = metric.Omission{Reason: metric.ReasonScrapeFailed, Detail: "connection refused"}
	w.causes["cold-2"] = metric.Omission{Reason: metric.ReasonScrapeFailed, Detail: "connection refused"}
	w.demands.hpas = []discovery.Demand{
		newObjectDemand("pods", "logins_per_second", "shop", "", nil), newObjectDemand("namespaces", "traffic", "", "shop", nil),
		newObjectDemand("nodes", "load", "", "n1", nil), newObjectDemand("nodes", "load", "", "", nil),
		{Metric: "orders_waiting", Namespace: "shop", Selector: mustParse(t, "queue=a"), External: true},
	}
	return w.Provider
}
