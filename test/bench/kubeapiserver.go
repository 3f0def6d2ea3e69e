package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"

	authorization "k8s.io/api/authorization/v1"
	scaling "k8s.io/api/autoscaling/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// kubeAPIServer is a fake with the few resources that the adapter requests: Deployments of podsPerGroup pods, each with an
// autoscaler. Every user may do everything.
type kubeAPIServer struct {
	server *httptest.Server
	proxy  frontProxy

	mu    sync.Mutex     // guards asked
	asked map[string]int // started requests, by method and path
}

const (
	namespace    = "shop"
	podsPerGroup = 20
)

// The metrics that the autoscalers name.
const (
	requestRate = "http_requests_per_second"
	orderRate   = "orders_per_second"
)

func benchGroupName(group int) string { return fmt.Sprintf("web-%03d", group) }

// newKubeAPIServer serves that many groups of pods, whose pages are at a port.
func newKubeAPIServer(groups int, port string, proxy frontProxy) *kubeAPIServer {
	k := &kubeAPIServer{proxy: proxy, asked: map[string]int{}}
	mux := http.NewServeMux()
	serveKubeDiscovery(mux)
	serveKubeObjects(mux, groups, port)
	k.serveAuthentication(mux)
	k.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k.mu.Lock()
		k.asked[r.Method+" "+r.URL.Path]++
		k.mu.Unlock()
		mux.ServeHTTP(w, r)
	}))
	return k
}

// closeWatches ends the watches, so that the server can close.
func (k *kubeAPIServer) closeWatches() {
	k.server.CloseClientConnections()
	k.server.Close()
}

// countRequests returns the numbers of started access reviews and of other started requests.
func (k *kubeAPIServer) countRequests() (reviews, others int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for what, n := range k.asked {
		if strings.HasSuffix(what, "/subjectaccessreviews") {
			reviews += n
		} else {
			others += n
		}
	}
	return reviews, others
}

// writeKubeconfig writes a kubeconfig for this server.
func (k *kubeAPIServer) writeKubeconfig(dir string) (string, error) {
	path := filepath.Join(dir, "kubeconfig")
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: a, cluster: {server: %q}}]\n"+
		"contexts: [{name: a, context: {cluster: a}}]\ncurrent-context: a\n", k.server.URL)
	return path, os.WriteFile(path, []byte(text), 0o600)
}

func respondKubeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // an error means that the client is gone
}

func kubeTypeMeta(apiVersion, kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: apiVersion, Kind: kind}
}

func serveKubeDiscovery(mux *http.ServeMux) {
	always := func(path string, v any) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { respondKubeJSON(w, http.StatusOK, v) })
	}
	group := func(name, version string) metav1.APIGroup {
		v := metav1.GroupVersionForDiscovery{GroupVersion: name + "/" + version, Version: version}
		return metav1.APIGroup{Name: name, Versions: []metav1.GroupVersionForDiscovery{v}, PreferredVersion: v}
	}
	resources := func(groupVersion string, all ...metav1.APIResource) metav1.APIResourceList {
		return metav1.APIResourceList{TypeMeta: kubeTypeMeta("v1", "APIResourceList"), GroupVersion: groupVersion, APIResources: all}
	}
	always("/api", metav1.APIVersions{TypeMeta: kubeTypeMeta("v1", "APIVersions"), Versions: []string{"v1"}})
	always("/apis", metav1.APIGroupList{
		TypeMeta: kubeTypeMeta("v1", "APIGroupList"), Groups: []metav1.APIGroup{group("apps", "v1"), group("autoscaling", "v2")},
	})
	always("/api/v1", resources("v1", metav1.APIResource{Name: "pods", SingularName: "pod", Kind: "Pod", Namespaced: true}))
	always("/apis/autoscaling/v2", resources("autoscaling/v2",
		metav1.APIResource{Name: "horizontalpodautoscalers", Kind: "HorizontalPodAutoscaler", Namespaced: true}))
	always("/apis/apps/v1", resources("apps/v1",
		metav1.APIResource{Name: "deployments", SingularName: "deployment", Kind: "Deployment", Namespaced: true},
		metav1.APIResource{Name: "deployments/scale", Group: "autoscaling", Version: "v1", Kind: "Scale", Namespaced: true}))
}

// serveKubeListAndWatch answers a list, and a watch without events.
func serveKubeListAndWatch(v any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Query().Get("sendInitialEvents") != "": // clients then list
			respondKubeJSON(w, http.StatusUnprocessableEntity, metav1.Status{
				TypeMeta: kubeTypeMeta("v1", "Status"), Status: metav1.StatusFailure, Reason: metav1.StatusReasonInvalid, Code: http.StatusUnprocessableEntity,
			})
		case r.URL.Query().Get("watch") != "":
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		default:
			respondKubeJSON(w, http.StatusOK, v)
		}
	}
}

func serveKubeObjects(mux *http.ServeMux, groups int, port string) {
	pods := core.PodList{TypeMeta: kubeTypeMeta("v1", "PodList"), ListMeta: metav1.ListMeta{ResourceVersion: "1"}}
	hpas := autoscaling.HorizontalPodAutoscalerList{
		TypeMeta: kubeTypeMeta("autoscaling/v2", "HorizontalPodAutoscalerList"), ListMeta: metav1.ListMeta{ResourceVersion: "1"},
	}
	for group := range groups {
		hpas.Items = append(hpas.Items, newBenchAutoscaler(benchGroupName(group)))
		for i := range podsPerGroup {
			pods.Items = append(pods.Items, newBenchTargetPod(benchGroupName(group), group*podsPerGroup+i, port))
		}
	}
	mux.HandleFunc("GET /api/v1/pods", serveKubeListAndWatch(pods))
	mux.HandleFunc("GET /apis/autoscaling/v2/horizontalpodautoscalers", serveKubeListAndWatch(hpas))
	mux.HandleFunc("GET /apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale", func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("name")
		respondKubeJSON(w, http.StatusOK, scaling.Scale{
			TypeMeta: kubeTypeMeta("autoscaling/v1", "Scale"), ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
			Status: scaling.ScaleStatus{Replicas: podsPerGroup, Selector: "app=" + name},
		})
	})
}

func newBenchAutoscaler(name string) autoscaling.HorizontalPodAutoscaler {
	hpa := autoscaling.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID("hpa-" + name), ResourceVersion: "1"},
		Spec: autoscaling.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscaling.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: name},
			MaxReplicas:    podsPerGroup,
		},
	}
	for _, metric := range []string{requestRate, orderRate} {
		hpa.Spec.Metrics = append(hpa.Spec.Metrics, autoscaling.MetricSpec{
			Type: autoscaling.PodsMetricSourceType,
			Pods: &autoscaling.PodsMetricSource{Metric: autoscaling.MetricIdentifier{Name: metric}},
		})
	}
	return hpa
}

func newBenchTargetPod(app string, target int, port string) core.Pod {
	ip, _, _ := strings.Cut(benchTargetAddress(target, port), ":")
	name := fmt.Sprintf("%s-7d4b9c6f58-%05d", app, target)
	return core.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name, UID: types.UID(name), ResourceVersion: "1",
			Labels:      map[string]string{"app": app, "pod-template-hash": "7d4b9c6f58"},
			Annotations: map[string]string{"prometheus.io/port": port},
		},
		Spec: core.PodSpec{NodeName: fmt.Sprintf("node-%03d", target/100)},
		Status: core.PodStatus{
			Phase: core.PodRunning, PodIP: ip, PodIPs: []core.PodIP{{IP: ip}},
			Conditions: []core.PodCondition{{Type: core.PodReady, Status: core.ConditionTrue}},
		},
	}
}

func (k *kubeAPIServer) serveAuthentication(mux *http.ServeMux) {
	config := core.ConfigMap{
		TypeMeta:   kubeTypeMeta("v1", "ConfigMap"),
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "extension-apiserver-authentication", ResourceVersion: "1"},
		Data: map[string]string{
			"client-ca-file": string(k.proxy.authority), "requestheader-client-ca-file": string(k.proxy.authority),
			"requestheader-username-headers": `["X-Remote-User"]`, "requestheader-group-headers": `["X-Remote-Group"]`,
			"requestheader-extra-headers-prefix": `["X-Remote-Extra-"]`, "requestheader-allowed-names": `["front-proxy"]`,
		},
	}
	const configMaps = "GET /api/v1/namespaces/kube-system/configmaps"
	mux.HandleFunc(configMaps, serveKubeListAndWatch(core.ConfigMapList{
		TypeMeta: kubeTypeMeta("v1", "ConfigMapList"), ListMeta: metav1.ListMeta{ResourceVersion: "1"}, Items: []core.ConfigMap{config},
	}))
	mux.HandleFunc(configMaps+"/{name}", func(w http.ResponseWriter, _ *http.Request) { respondKubeJSON(w, http.StatusOK, config) })
	mux.HandleFunc("POST /apis/authorization.k8s.io/v1/subjectaccessreviews", func(w http.ResponseWriter, r *http.Request) {
		var review authorization.SubjectAccessReview
		_ = json.NewDecoder(r.Body).Decode(&review)
		review.Status = authorization.SubjectAccessReviewStatus{Allowed: true}
		respondKubeJSON(w, http.StatusCreated, review)
	})
}
