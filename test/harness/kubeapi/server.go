// Package kubeapi is a fake kube-apiserver with the few resources that the adapter asks for. Pods and autoscalers may come and go while
// it serves: watches see it.
package kubeapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	scaling "k8s.io/api/autoscaling/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Options say how a server answers reviews. The zero value is usable.
type Options struct {
	// Authenticate returns the user of a token and whether it has one. Nil: every token is the name of its user.
	Authenticate func(token string) (user string, known bool)
	// Authorize reports whether a user may do everything. Nil: every user may.
	Authorize func(user string) bool
	// ReviewTime is the duration of a TokenReview or SubjectAccessReview.
	ReviewTime time.Duration
}

// Server is a fake kube-apiserver. It is safe for concurrent use.
type Server struct {
	// Proxy has the credentials with which a kube-apiserver reads from an aggregated API.
	Proxy FrontProxy

	opts        Options
	http        *httptest.Server
	pods, hpas  *objectList
	lookups     atomic.Int64
	events      atomic.Int64
	deployments sync.Map // of scaling.ScaleStatus, by namespace/name

	mu       sync.Mutex     // guards requests
	requests map[string]int // started requests, by method and path
}

// Start serves until Close.
func Start(opts Options) (*Server, error) {
	proxy, err := newSignedFrontProxy(time.Now())
	if err != nil {
		return nil, err
	}
	s := &Server{
		Proxy: proxy, opts: opts, requests: map[string]int{},
		pods: newObjectList("v1", "Pod"), hpas: newObjectList("autoscaling/v2", "HorizontalPodAutoscaler"),
	}
	mux := http.NewServeMux()
	handleResourceDiscovery(mux)
	s.handleObjectRequests(mux)
	s.handleAccessReviews(mux)
	s.http = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests[r.Method+" "+r.URL.Path]++
		s.mu.Unlock()
		mux.ServeHTTP(w, r)
	}))
	return s, nil
}

// Close ends the watches and the server.
func (s *Server) Close() {
	s.http.CloseClientConnections()
	s.http.Close()
}

// WriteKubeconfig writes a kubeconfig for this server into dir and returns its path.
func (s *Server) WriteKubeconfig(dir string) (string, error) {
	path := filepath.Join(dir, "kubeconfig")
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: a, cluster: {server: %q}}]\n"+
		"contexts: [{name: a, context: {cluster: a}}]\ncurrent-context: a\n", s.http.URL)
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// AddDeployment adds a Deployment. Its pods have its name as their label app.
func (s *Server) AddDeployment(namespace, name string, replicas int32) {
	s.AddSelectingDeployment(namespace, name, "app="+name, replicas)
}

// AddSelectingDeployment adds a Deployment with a selector.
func (s *Server) AddSelectingDeployment(namespace, name, selector string, replicas int32) {
	s.deployments.Store(namespace+"/"+name, scaling.ScaleStatus{Replicas: replicas, Selector: selector})
}

// SetPod adds or replaces a pod.
func (s *Server) SetPod(pod core.Pod) { s.pods.setListedObject(&pod) }

// RemovePod removes a pod.
func (s *Server) RemovePod(namespace, name string) { s.pods.removeListedObject(namespace, name) }

// SetAutoscaler adds or replaces an autoscaler.
func (s *Server) SetAutoscaler(hpa autoscaling.HorizontalPodAutoscaler) {
	s.hpas.setListedObject(&hpa)
}

// CountLookups returns the number of requests for scale subresources.
func (s *Server) CountLookups() int64 { return s.lookups.Load() }

// CountEvents returns the number of Events that were written.
func (s *Server) CountEvents() int64 { return s.events.Load() }

// CountRequests returns the numbers of started reviews, of tokens and of access, and of other started requests.
func (s *Server) CountRequests() (reviews, others int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for request, n := range s.requests {
		if strings.HasSuffix(request, "reviews") {
			reviews += n
		} else {
			others += n
		}
	}
	return reviews, others
}

func writeJSONResponse(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // an error means that the client is gone
}

func writeFailureStatus(w http.ResponseWriter, code int32, reason metav1.StatusReason) {
	writeJSONResponse(w, int(code), newFailureStatus(code, reason))
}

func newFailureStatus(code int32, reason metav1.StatusReason) metav1.Status {
	return metav1.Status{TypeMeta: newObjectTypeMeta("v1", "Status"), Status: metav1.StatusFailure, Reason: reason, Code: code}
}

func newObjectTypeMeta(apiVersion, kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: apiVersion, Kind: kind}
}

// handleResourceDiscovery tells which resources there are.
func handleResourceDiscovery(mux *http.ServeMux) {
	group := func(name, version string) metav1.APIGroup {
		v := metav1.GroupVersionForDiscovery{GroupVersion: name + "/" + version, Version: version}
		return metav1.APIGroup{Name: name, Versions: []metav1.GroupVersionForDiscovery{v}, PreferredVersion: v}
	}
	resources := func(groupVersion string, all ...metav1.APIResource) metav1.APIResourceList {
		return metav1.APIResourceList{TypeMeta: newObjectTypeMeta("v1", "APIResourceList"), GroupVersion: groupVersion, APIResources: all}
	}
	for path, v := range map[string]any{
		"/api":                 metav1.APIVersions{TypeMeta: newObjectTypeMeta("v1", "APIVersions"), Versions: []string{"v1"}},
		"/apis":                metav1.APIGroupList{TypeMeta: newObjectTypeMeta("v1", "APIGroupList"), Groups: []metav1.APIGroup{group("apps", "v1"), group("autoscaling", "v2")}},
		"/api/v1":              resources("v1", metav1.APIResource{Name: "pods", SingularName: "pod", Kind: "Pod", Namespaced: true}),
		"/apis/autoscaling/v2": resources("autoscaling/v2", metav1.APIResource{Name: "horizontalpodautoscalers", Kind: "HorizontalPodAutoscaler", Namespaced: true}),
		"/apis/apps/v1": resources("apps/v1",
			metav1.APIResource{Name: "deployments", SingularName: "deployment", Kind: "Deployment", Namespaced: true},
			metav1.APIResource{Name: "deployments/scale", Group: "autoscaling", Version: "v1", Kind: "Scale", Namespaced: true}),
	} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { writeJSONResponse(w, http.StatusOK, v) })
	}
}

func (s *Server) handleObjectRequests(mux *http.ServeMux) {
	mux.Handle("GET /api/v1/pods", s.pods)
	mux.Handle("GET /apis/autoscaling/v2/horizontalpodautoscalers", s.hpas)
	mux.HandleFunc("POST /api/v1/namespaces/{namespace}/events", func(w http.ResponseWriter, r *http.Request) {
		s.events.Add(1)
		var event core.Event
		_ = json.NewDecoder(r.Body).Decode(&event)
		writeJSONResponse(w, http.StatusCreated, event)
	})
	mux.HandleFunc("GET /apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale", func(w http.ResponseWriter, r *http.Request) {
		s.lookups.Add(1)
		namespace, name := r.PathValue("namespace"), r.PathValue("name")
		status, ok := s.deployments.Load(namespace + "/" + name)
		if !ok {
			writeFailureStatus(w, http.StatusNotFound, metav1.StatusReasonNotFound)
			return
		}
		writeJSONResponse(w, http.StatusOK, scaling.Scale{
			TypeMeta: newObjectTypeMeta("autoscaling/v1", "Scale"), ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
			Status: status.(scaling.ScaleStatus),
		})
	})
}
