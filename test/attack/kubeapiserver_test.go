package attack

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	authentication "k8s.io/api/authentication/v1"
	authorization "k8s.io/api/authorization/v1"
	scaling "k8s.io/api/autoscaling/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// fakeCluster is a kube-apiserver with what the adapter asks for, and the metrics pages of its pods. Every token is a user's name, and
// every user may read everything.
type fakeCluster struct {
	server *httptest.Server
	pages  string // port of the pods' pages
	pods   []core.Pod
	hpas   []autoscaling.HorizontalPodAutoscaler
	// selectors are those of Deployments, by namespace/name.
	selectors map[string]string
	scales    atomic.Int64 // requests for scale subresources
	events    atomic.Int64 // Events that the adapter wrote
}

// newFakeCluster has a good pod and its autoscaler in namespace shop, and an annotated pod in namespace evil.
func newFakeCluster(t *testing.T, page http.Handler) *fakeCluster {
	t.Helper()
	listener, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	pages := &httptest.Server{Listener: listener, Config: &http.Server{Handler: page, ReadHeaderTimeout: time.Minute}}
	pages.Start()
	t.Cleanup(pages.Close)
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	c := &fakeCluster{pages: port, selectors: map[string]string{"shop/web": "app=web", "evil/evil": "app=evil"}}
	c.addPod("shop", "web", "127.0.0.2")
	c.addPod("evil", "evil", "127.0.0.3")
	c.addAutoscaler("shop", "web", goodMetric)
	return c
}

func (c *fakeCluster) addPod(namespace, app, ip string) {
	name := fmt.Sprintf("%s-%d", app, len(c.pods))
	c.pods = append(c.pods, core.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name, UID: types.UID(namespace + name), ResourceVersion: "1", Labels: map[string]string{"app": app},
			Annotations: map[string]string{"prometheus.io/port": c.pages, "prometheus.io/scrape": "true"},
		},
		Spec: core.PodSpec{NodeName: "node"},
		Status: core.PodStatus{
			Phase: core.PodRunning, PodIP: ip, PodIPs: []core.PodIP{{IP: ip}},
			Conditions: []core.PodCondition{{Type: core.PodReady, Status: core.ConditionTrue}},
		},
	})
}

func (c *fakeCluster) addAutoscaler(namespace, target string, metrics ...string) {
	hpa := autoscaling.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: target, UID: types.UID(namespace + target), ResourceVersion: "1"},
		Spec: autoscaling.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscaling.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: target}, MaxReplicas: 9,
		},
	}
	for _, metric := range metrics {
		hpa.Spec.Metrics = append(hpa.Spec.Metrics, autoscaling.MetricSpec{
			Type: autoscaling.PodsMetricSourceType, Pods: &autoscaling.PodsMetricSource{Metric: autoscaling.MetricIdentifier{Name: metric}},
		})
	}
	c.hpas = append(c.hpas, hpa)
}

// startCluster serves the cluster until the test ends, and returns the path of its kubeconfig.
func (c *fakeCluster) startCluster(t *testing.T) (kubeconfig string) {
	t.Helper()
	mux := http.NewServeMux()
	serveAPIDiscovery(mux)
	c.serveClusterObjects(mux)
	serveClusterReviews(mux)
	c.server = httptest.NewServer(mux)
	t.Cleanup(func() { c.server.CloseClientConnections(); c.server.Close() })
	kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: a, cluster: {server: %q}}]\n"+
		"contexts: [{name: a, context: {cluster: a}}]\ncurrent-context: a\n", c.server.URL)
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return kubeconfig
}

func answerJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // an error means that the client is gone
}

func answerStatus(w http.ResponseWriter, code int, reason metav1.StatusReason) {
	answerJSON(w, code, metav1.Status{TypeMeta: newTypeMeta("v1", "Status"), Status: metav1.StatusFailure, Reason: reason, Code: int32(code)}) //nolint:gosec // an HTTP status
}

func newTypeMeta(apiVersion, kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: apiVersion, Kind: kind}
}

func serveAPIDiscovery(mux *http.ServeMux) {
	group := func(name, version string) metav1.APIGroup {
		v := metav1.GroupVersionForDiscovery{GroupVersion: name + "/" + version, Version: version}
		return metav1.APIGroup{Name: name, Versions: []metav1.GroupVersionForDiscovery{v}, PreferredVersion: v}
	}
	resources := func(groupVersion string, all ...metav1.APIResource) metav1.APIResourceList {
		return metav1.APIResourceList{TypeMeta: newTypeMeta("v1", "APIResourceList"), GroupVersion: groupVersion, APIResources: all}
	}
	for path, v := range map[string]any{
		"/api":                 metav1.APIVersions{TypeMeta: newTypeMeta("v1", "APIVersions"), Versions: []string{"v1"}},
		"/apis":                metav1.APIGroupList{TypeMeta: newTypeMeta("v1", "APIGroupList"), Groups: []metav1.APIGroup{group("apps", "v1"), group("autoscaling", "v2")}},
		"/api/v1":              resources("v1", metav1.APIResource{Name: "pods", SingularName: "pod", Kind: "Pod", Namespaced: true}),
		"/apis/autoscaling/v2": resources("autoscaling/v2", metav1.APIResource{Name: "horizontalpodautoscalers", Kind: "HorizontalPodAutoscaler", Namespaced: true}),
		"/apis/apps/v1": resources("apps/v1",
			metav1.APIResource{Name: "deployments", SingularName: "deployment", Kind: "Deployment", Namespaced: true},
			metav1.APIResource{Name: "deployments/scale", Group: "autoscaling", Version: "v1", Kind: "Scale", Namespaced: true}),
	} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, http.StatusOK, v) })
	}
}

// listAndWatch answers a list, and a watch without events.
func listAndWatch(v any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Query().Get("sendInitialEvents") != "": // clients then list
			answerStatus(w, http.StatusUnprocessableEntity, metav1.StatusReasonInvalid)
		case r.URL.Query().Get("watch") != "":
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		default:
			answerJSON(w, http.StatusOK, v)
		}
	}
}

func (c *fakeCluster) serveClusterObjects(mux *http.ServeMux) {
	list := metav1.ListMeta{ResourceVersion: "1"}
	mux.HandleFunc("GET /api/v1/pods", listAndWatch(core.PodList{TypeMeta: newTypeMeta("v1", "PodList"), ListMeta: list, Items: c.pods}))
	mux.HandleFunc("GET /apis/autoscaling/v2/horizontalpodautoscalers", listAndWatch(autoscaling.HorizontalPodAutoscalerList{
		TypeMeta: newTypeMeta("autoscaling/v2", "HorizontalPodAutoscalerList"), ListMeta: list, Items: c.hpas,
	}))
	mux.HandleFunc("POST /api/v1/namespaces/{namespace}/events", func(w http.ResponseWriter, r *http.Request) {
		c.events.Add(1)
		var event core.Event
		_ = json.NewDecoder(r.Body).Decode(&event)
		answerJSON(w, http.StatusCreated, event)
	})
	mux.HandleFunc("GET /apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale", func(w http.ResponseWriter, r *http.Request) {
		c.scales.Add(1)
		namespace, name := r.PathValue("namespace"), r.PathValue("name")
		selector, ok := c.selectors[namespace+"/"+name]
		if !ok {
			answerStatus(w, http.StatusNotFound, metav1.StatusReasonNotFound)
			return
		}
		answerJSON(w, http.StatusOK, scaling.Scale{
			TypeMeta: newTypeMeta("autoscaling/v1", "Scale"), ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
			Status: scaling.ScaleStatus{Replicas: 1, Selector: selector},
		})
	})
}

func serveClusterReviews(mux *http.ServeMux) {
	config := core.ConfigMap{
		TypeMeta:   newTypeMeta("v1", "ConfigMap"),
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "extension-apiserver-authentication", ResourceVersion: "1"},
	}
	const configMaps = "GET /api/v1/namespaces/kube-system/configmaps"
	mux.HandleFunc(configMaps, listAndWatch(core.ConfigMapList{
		TypeMeta: newTypeMeta("v1", "ConfigMapList"), ListMeta: metav1.ListMeta{ResourceVersion: "1"}, Items: []core.ConfigMap{config},
	}))
	mux.HandleFunc(configMaps+"/{name}", func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, http.StatusOK, config) })
	mux.HandleFunc("POST /apis/authentication.k8s.io/v1/tokenreviews", func(w http.ResponseWriter, r *http.Request) {
		var review authentication.TokenReview
		_ = json.NewDecoder(r.Body).Decode(&review)
		review.Status = authentication.TokenReviewStatus{Authenticated: true, User: authentication.UserInfo{Username: review.Spec.Token}}
		answerJSON(w, http.StatusCreated, review)
	})
	mux.HandleFunc("POST /apis/authorization.k8s.io/v1/subjectaccessreviews", func(w http.ResponseWriter, r *http.Request) {
		var review authorization.SubjectAccessReview
		_ = json.NewDecoder(r.Body).Decode(&review)
		review.Status = authorization.SubjectAccessReviewStatus{Allowed: true}
		answerJSON(w, http.StatusCreated, review)
	})
}

// goodPage is the page of an honest pod: a counter that rises by 100 a second.
func goodPage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	count := strconv.FormatInt(time.Now().UnixMilli()/10%1_000_000_000, 10)
	_, _ = fmt.Fprint(w, "# TYPE "+goodFamily+" counter\n"+goodFamily+" "+count+"\n")
}

const (
	goodFamily = "http_requests_total"
	goodMetric = "http_requests_per_second"
)

// numberedNames returns names of metrics that a rule serves.
func numberedNames(count int) []string {
	names := make([]string, count)
	for i := range names {
		names[i] = fmt.Sprintf("some_metric_of_mine_%06d", i)
	}
	return names
}

// evilPage is the good page, and for each name that is asked for a series.
func evilPage(w http.ResponseWriter, r *http.Request) {
	goodPage(w, r)
	var b strings.Builder
	for _, name := range r.URL.Query()["name[]"] {
		if len(name) < 300 && name != goodFamily {
			fmt.Fprintf(&b, "%s 1\n", name)
		}
	}
	_, _ = fmt.Fprint(w, b.String())
}
