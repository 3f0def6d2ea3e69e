package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	authentication "k8s.io/api/authentication/v1"
	authorization "k8s.io/api/authorization/v1"
	scaling "k8s.io/api/autoscaling/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/util/cert"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/resourcemetrics"
)

// fakeCluster is a kube-apiserver with the objects that the adapter reads: one Deployment with one pod on one node, and an autoscaler on
// it. The pod's counter rises by a hundred a second. Everybody may read.
type fakeCluster struct {
	t          *testing.T
	kubeconfig string

	// readsOnly forbids autoscalers, Secrets and APIServices, to which prometheus-adapter's service account has no right.
	readsOnly atomic.Bool

	mu          sync.Mutex // guards the fields below
	secret      core.Secret
	apiServices map[string]*apiregistration.APIService
	node        core.NodeStatus
}

func newFakeCluster(t *testing.T) *fakeCluster {
	t.Helper()
	c := &fakeCluster{t: t, apiServices: map[string]*apiregistration.APIService{}}
	c.secret.Name, c.secret.Namespace, c.secret.ResourceVersion = "tachometer-adapter-cert", "tachometer", "1"
	for _, name := range append(slices.Clone(apiServices), resourcemetrics.APIServices...) {
		c.apiServices[name] = &apiregistration.APIService{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			Spec:       apiregistration.APIServiceSpec{Service: &apiregistration.ServiceReference{Namespace: "tachometer", Name: "tachometer-adapter"}},
		}
	}
	mux := http.NewServeMux()
	c.serveDiscovery(mux)
	c.serveObjects(mux, c.targetPod())
	c.serveAuthentication(mux)
	c.serveCertificates(mux)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, beyond := range []string{"/horizontalpodautoscalers", "/secrets", "/apiservices"} {
			if c.readsOnly.Load() && strings.Contains(r.URL.Path, beyond) {
				t.Errorf("%s %s, which is forbidden", r.Method, r.URL.Path)
				http.Error(w, "forbidden", http.StatusForbidden)
				return
			}
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections) // first: the API server library leaves watches open
	c.kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: a, cluster: {server: %q}}]\n"+
		"contexts: [{name: a, context: {cluster: a}}]\ncurrent-context: a\n", server.URL)
	if err := os.WriteFile(c.kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

// targetPod serves the pod's page and returns the pod. The page has times of its own, so that no pause of the machine changes the rate.
// They are some seconds old: those after the begin of a scrape would be corrected.
func (c *fakeCluster) targetPod() core.Pod {
	begin := time.Now().Add(-time.Hour).UnixMilli()
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		at := time.Now().Add(-10 * time.Second).UnixMilli()
		fmt.Fprintf(w, "# TYPE http_requests_total counter\nhttp_requests_total %f %d\n", float64(at-begin)/10, at)
	}))
	c.t.Cleanup(page.Close)
	u, err := url.Parse(page.URL)
	if err != nil {
		c.t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(u.Host)
	if err != nil {
		c.t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		c.t.Fatal(err)
	}
	return core.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web-1", UID: "1", ResourceVersion: "1", Labels: map[string]string{"app": "web"}},
		Spec:       core.PodSpec{NodeName: "node", Containers: []core.Container{{Name: "web", Ports: []core.ContainerPort{{ContainerPort: int32(number)}}}}},
		Status: core.PodStatus{
			Phase: core.PodRunning, PodIP: host, PodIPs: []core.PodIP{{IP: host}},
			Conditions: []core.PodCondition{{Type: core.PodReady, Status: core.ConditionTrue}},
		},
	}
}

func writeAnswer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v)
}

// newTypeMeta gives an object its kind, which JSON needs and Go's types do without.
func newTypeMeta(apiVersion, kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: apiVersion, Kind: kind}
}

func (c *fakeCluster) serveDiscovery(mux *http.ServeMux) {
	group := func(name, version string) metav1.APIGroup {
		v := metav1.GroupVersionForDiscovery{GroupVersion: name + "/" + version, Version: version}
		return metav1.APIGroup{Name: name, Versions: []metav1.GroupVersionForDiscovery{v}, PreferredVersion: v}
	}
	resources := func(groupVersion string, all ...metav1.APIResource) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			writeAnswer(w, http.StatusOK, metav1.APIResourceList{TypeMeta: newTypeMeta("v1", "APIResourceList"), GroupVersion: groupVersion, APIResources: all})
		}
	}
	mux.HandleFunc("GET /api", func(w http.ResponseWriter, _ *http.Request) {
		writeAnswer(w, http.StatusOK, metav1.APIVersions{TypeMeta: newTypeMeta("v1", "APIVersions"), Versions: []string{"v1"}})
	})
	mux.HandleFunc("GET /apis", func(w http.ResponseWriter, _ *http.Request) {
		writeAnswer(w, http.StatusOK, metav1.APIGroupList{
			TypeMeta: newTypeMeta("v1", "APIGroupList"),
			Groups:   []metav1.APIGroup{group("apps", "v1"), group("autoscaling", "v2")},
		})
	})
	mux.HandleFunc("GET /api/v1", resources("v1",
		metav1.APIResource{Name: "pods", SingularName: "pod", Kind: "Pod", Namespaced: true},
		metav1.APIResource{Name: "nodes", SingularName: "node", Kind: "Node"},
		metav1.APIResource{Name: "namespaces", SingularName: "namespace", Kind: "Namespace"}))
	mux.HandleFunc("GET /apis/autoscaling/v2", resources("autoscaling/v2",
		metav1.APIResource{Name: "horizontalpodautoscalers", Kind: "HorizontalPodAutoscaler", Namespaced: true}))
	mux.HandleFunc("GET /apis/apps/v1", resources("apps/v1",
		metav1.APIResource{Name: "deployments", SingularName: "deployment", Kind: "Deployment", Namespaced: true},
		metav1.APIResource{Name: "deployments/scale", Group: "autoscaling", Version: "v1", Kind: "Scale", Namespaced: true}))
}

// serveList answers a list, and a watch on which nothing happens.
func serveList(v any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Query().Get("sendInitialEvents") != "": // clients then list
			writeAnswer(w, http.StatusUnprocessableEntity, metav1.Status{
				TypeMeta: newTypeMeta("v1", "Status"), Status: metav1.StatusFailure, Reason: metav1.StatusReasonInvalid, Code: http.StatusUnprocessableEntity,
			})
		case r.URL.Query().Get("watch") != "":
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusOK)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		default:
			writeAnswer(w, http.StatusOK, v)
		}
	}
}

func (c *fakeCluster) serveObjects(mux *http.ServeMux, pod core.Pod) {
	version := metav1.ListMeta{ResourceVersion: "1"}
	whole := serveList(core.PodList{TypeMeta: newTypeMeta("v1", "PodList"), ListMeta: version, Items: []core.Pod{pod}})
	metadata := serveList(metav1.PartialObjectMetadataList{
		TypeMeta: newTypeMeta("meta.k8s.io/v1", "PartialObjectMetadataList"), ListMeta: version,
		Items: []metav1.PartialObjectMetadata{{TypeMeta: newTypeMeta("meta.k8s.io/v1", "PartialObjectMetadata"), ObjectMeta: pod.ObjectMeta}},
	})
	mux.HandleFunc("GET /api/v1/pods", func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get("Accept"), "as=PartialObjectMetadataList") {
			metadata(w, r)
			return
		}
		whole(w, r)
	})
	mux.HandleFunc("GET /api/v1/nodes", func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		node := core.Node{ObjectMeta: metav1.ObjectMeta{Name: "node", UID: "3", ResourceVersion: "1"}, Status: c.node}
		c.mu.Unlock()
		serveList(core.NodeList{TypeMeta: newTypeMeta("v1", "NodeList"), ListMeta: version, Items: []core.Node{node}})(w, r)
	})
	hpa := autoscaling.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web", UID: "2", ResourceVersion: "1"},
		Spec: autoscaling.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscaling.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"},
			MaxReplicas:    5,
			Metrics: []autoscaling.MetricSpec{{
				Type: autoscaling.PodsMetricSourceType,
				Pods: &autoscaling.PodsMetricSource{Metric: autoscaling.MetricIdentifier{Name: "request_per_second"}},
			}},
		},
	}
	mux.HandleFunc("GET /apis/autoscaling/v2/horizontalpodautoscalers", serveList(autoscaling.HorizontalPodAutoscalerList{
		TypeMeta: newTypeMeta("autoscaling/v2", "HorizontalPodAutoscalerList"), ListMeta: version, Items: []autoscaling.HorizontalPodAutoscaler{hpa},
	}))
	mux.HandleFunc("GET /apis/apps/v1/namespaces/default/deployments/web/scale", func(w http.ResponseWriter, _ *http.Request) {
		writeAnswer(w, http.StatusOK, scaling.Scale{
			TypeMeta: newTypeMeta("autoscaling/v1", "Scale"), ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"},
			Status: scaling.ScaleStatus{Replicas: 1, Selector: "app=web"},
		})
	})
}

func (c *fakeCluster) serveAuthentication(mux *http.ServeMux) {
	ca, _, err := cert.GenerateSelfSignedCertKey("front-proxy", nil, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	config := core.ConfigMap{
		TypeMeta:   newTypeMeta("v1", "ConfigMap"),
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "extension-apiserver-authentication", ResourceVersion: "1"},
		Data: map[string]string{
			"client-ca-file": string(ca), "requestheader-client-ca-file": string(ca),
			"requestheader-username-headers": `["X-Remote-User"]`, "requestheader-group-headers": `["X-Remote-Group"]`,
			"requestheader-extra-headers-prefix": `["X-Remote-Extra-"]`, "requestheader-allowed-names": `["front-proxy"]`,
		},
	}
	const configMaps = "GET /api/v1/namespaces/kube-system/configmaps"
	mux.HandleFunc(configMaps, serveList(core.ConfigMapList{
		TypeMeta: newTypeMeta("v1", "ConfigMapList"), ListMeta: metav1.ListMeta{ResourceVersion: "1"}, Items: []core.ConfigMap{config},
	}))
	mux.HandleFunc(configMaps+"/{name}", func(w http.ResponseWriter, _ *http.Request) { writeAnswer(w, http.StatusOK, config) })
	mux.HandleFunc("POST /apis/authentication.k8s.io/v1/tokenreviews", func(w http.ResponseWriter, r *http.Request) {
		var review authentication.TokenReview
		_ = json.NewDecoder(r.Body).Decode(&review)
		review.Status = authentication.TokenReviewStatus{Authenticated: true, User: authentication.UserInfo{Username: review.Spec.Token}}
		writeAnswer(w, http.StatusCreated, review)
	})
	mux.HandleFunc("POST /apis/authorization.k8s.io/v1/subjectaccessreviews", func(w http.ResponseWriter, r *http.Request) {
		var review authorization.SubjectAccessReview
		_ = json.NewDecoder(r.Body).Decode(&review)
		review.Status = authorization.SubjectAccessReviewStatus{Allowed: true}
		writeAnswer(w, http.StatusCreated, review)
	})
}

func (c *fakeCluster) serveCertificates(mux *http.ServeMux) {
	const secret = "/api/v1/namespaces/tachometer/secrets/tachometer-adapter-cert"
	mux.HandleFunc("GET "+secret, func(w http.ResponseWriter, _ *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.secret.TypeMeta = newTypeMeta("v1", "Secret")
		writeAnswer(w, http.StatusOK, c.secret)
	})
	mux.HandleFunc("PUT "+secret, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		object, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, &schema.GroupVersionKind{Version: "v1", Kind: "Secret"}, nil)
		sent, ok := object.(*core.Secret)
		c.mu.Lock()
		defer c.mu.Unlock()
		if err != nil || !ok || sent.ResourceVersion != c.secret.ResourceVersion {
			writeAnswer(w, http.StatusConflict, metav1.Status{
				TypeMeta: newTypeMeta("v1", "Status"), Status: metav1.StatusFailure, Reason: metav1.StatusReasonConflict, Code: http.StatusConflict,
			})
			return
		}
		c.secret = *sent
		c.secret.ResourceVersion += "1"
		c.secret.TypeMeta = newTypeMeta("v1", "Secret")
		writeAnswer(w, http.StatusOK, c.secret)
	})
	const apiService = "/apis/apiregistration.k8s.io/v1/apiservices/{name}"
	mux.HandleFunc("GET "+apiService, func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		s := c.apiServices[r.PathValue("name")]
		s.TypeMeta = newTypeMeta("apiregistration.k8s.io/v1", "APIService")
		writeAnswer(w, http.StatusOK, s)
	})
	mux.HandleFunc("PATCH "+apiService, func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		s := c.apiServices[r.PathValue("name")]
		_ = json.NewDecoder(r.Body).Decode(s) // a merge patch, of which only fields that it has are sent
		writeAnswer(w, http.StatusOK, s)
	})
}

// placeKubelet has the node's status name a kubelet's address.
func (c *fakeCluster) placeKubelet(address string) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		c.t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		c.t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.node.Addresses = []core.NodeAddress{{Type: core.NodeHostName, Address: "node"}, {Type: core.NodeInternalIP, Address: host}}
	c.node.DaemonEndpoints.KubeletEndpoint.Port = int32(number)
}

// caBundle is the authority with which kube-apiserver would verify the adapter.
func (c *fakeCluster) caBundle() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.apiServices[apiServices[0]].Spec.CABundle
}

// trustsAPIService tells that an APIService is verified as the others are.
func (c *fakeCluster) trustsAPIService(name string) bool {
	bundle := c.caBundle()
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(bundle) > 0 && bytes.Equal(c.apiServices[name].Spec.CABundle, bundle)
}
