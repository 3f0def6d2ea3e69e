package command

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// fakeAPI is a kube-apiserver with the paths of some objects, which patches and writes change.
type fakeAPI struct {
	url string

	mu       sync.Mutex // guards all below
	objects  map[string]map[string]any
	requests []string                    // METHOD PATH?QUERY
	forbids  string                      // METHOD PATH that the user has no right to; empty: none
	adopts   bool                        // a controller labels each new hold
	onPatch  func(object map[string]any) // before a patch of a hold: another client is faster
}

// newFakeAPI returns a cluster with the Deployments shop and cart of 2 replicas in namespace sale, and the kind Rollout, short ro.
func newFakeAPI(t *testing.T) *fakeAPI {
	t.Helper()
	a := &fakeAPI{objects: map[string]map[string]any{}}
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	a.url = server.URL
	for _, name := range []string{"shop", "cart"} {
		a.objects["/apis/apps/v1/namespaces/sale/deployments/"+name] = map[string]any{
			"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": name, "namespace": "sale", "resourceVersion": "1"},
			"spec": map[string]any{"replicas": 2, "selector": map[string]any{"matchLabels": map[string]any{"app": name}}},
		}
	}
	a.objects["/apis/argoproj.io/v1alpha1/namespaces/sale/rollouts/web"] = map[string]any{
		"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": map[string]any{"name": "web", "namespace": "sale", "resourceVersion": "1"},
	}
	return a
}

// addHold adds a Hold of deployment/shop.
func (a *fakeAPI) addHold(name string, spec, status map[string]any) {
	spec["workload"] = map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"}
	a.objects[holdsPath+"/"+name] = map[string]any{
		"apiVersion": "scaler.tachometer.dev/v1alpha1", "kind": "Hold", "spec": spec, "status": status,
		"metadata": map[string]any{
			"name": name, "namespace": "sale", "uid": name, "resourceVersion": "1", "generation": 1, "creationTimestamp": "2026-11-27T00:00:00Z",
			"labels": map[string]any{"app.kubernetes.io/managed-by": "tachometer-scaler"}, "finalizers": []any{"scaler.tachometer.dev/give-back"},
		},
	}
}

const holdsPath = "/apis/scaler.tachometer.dev/v1alpha1/namespaces/sale/holds"

// fakeResources are the resources that discovery shows.
var fakeResources = map[string][]metav1.APIResource{
	"apps/v1": {
		{Name: "deployments", SingularName: "deployment", Kind: "Deployment", Namespaced: true, ShortNames: []string{"deploy"}},
		{Name: "deployments/scale", Group: "autoscaling", Version: "v1", Kind: "Scale", Namespaced: true},
		{Name: "daemonsets", SingularName: "daemonset", Kind: "DaemonSet", Namespaced: true, ShortNames: []string{"ds"}},
	},
	"argoproj.io/v1alpha1": {
		{Name: "rollouts", SingularName: "rollout", Kind: "Rollout", Namespaced: true, ShortNames: []string{"ro"}},
		{Name: "rollouts/scale", Group: "autoscaling", Version: "v1", Kind: "Scale", Namespaced: true},
	},
}

// serveDiscovery answers a path of discovery, and reports whether it was one.
func serveDiscovery(path string) (any, bool) {
	switch path {
	case "/api":
		return metav1.APIVersions{Versions: []string{"v1"}}, true
	case "/api/v1":
		return metav1.APIResourceList{GroupVersion: "v1"}, true
	case "/apis":
		var groups metav1.APIGroupList
		for version := range fakeResources {
			name, _, _ := strings.Cut(version, "/")
			v := metav1.GroupVersionForDiscovery{GroupVersion: version, Version: strings.TrimPrefix(version, name+"/")}
			groups.Groups = append(groups.Groups, metav1.APIGroup{Name: name, Versions: []metav1.GroupVersionForDiscovery{v}, PreferredVersion: v})
		}
		return groups, true
	}
	resources, ok := fakeResources[strings.TrimPrefix(path, "/apis/")]
	return metav1.APIResourceList{GroupVersion: strings.TrimPrefix(path, "/apis/"), APIResources: resources}, ok
}

func (a *fakeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if found, ok := serveDiscovery(r.URL.Path); ok {
		_ = json.NewEncoder(w).Encode(found)
		return
	}
	if r.Method+" "+r.URL.Path == a.forbids {
		w.WriteHeader(http.StatusForbidden)
		_ = json.NewEncoder(w).Encode(map[string]any{"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "Forbidden", "code": 403})
		return
	}
	var body map[string]any
	if data, err := io.ReadAll(r.Body); err == nil {
		_ = json.Unmarshal(data, &body) // Events are protobuf: they are dropped
	}
	if r.Method == http.MethodDelete { // beside the body, an API server ignores the parameters
		r.URL.RawQuery = ""
		if body["dryRun"] != nil {
			r.URL.RawQuery = "dryRun=All"
		}
	}
	a.requests = append(a.requests, r.Method+" "+r.URL.RequestURI())
	answer := a.answer(r, body)
	if changed, ok := answer.(map[string]any); ok && changed == nil {
		w.WriteHeader(http.StatusConflict)
		answer = map[string]any{"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "Conflict", "code": 409}
	}
	if answer == nil {
		w.WriteHeader(http.StatusNotFound)
		answer = map[string]any{"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404, "message": "not found: " + r.URL.Path}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

// answer acts on a request; nil: the object does not exist.
func (a *fakeAPI) answer(r *http.Request, body map[string]any) any {
	path, dry := r.URL.Path, r.URL.Query().Get("dryRun") != ""
	switch {
	case strings.HasSuffix(path, "/events") && r.Method != http.MethodGet:
		return map[string]any{"apiVersion": "v1", "kind": "Event"}
	case r.Method == http.MethodPost:
		metadata := body["metadata"].(map[string]any)
		metadata["uid"], metadata["resourceVersion"], metadata["generation"] = metadata["name"], "1", 1
		if labels, ok := metadata["labels"].(map[string]any); ok && a.adopts {
			labels["scaler.tachometer.dev/controller"] = "tachometer.tachometer-scaler"
		}
		if !dry {
			a.objects[path+"/"+metadata["name"].(string)] = body
		}
		return body
	case r.Method == http.MethodGet && a.objects[path] == nil && !strings.HasSuffix(path, "/nobody") && !strings.Contains(path, "/leases/"):
		return a.list(path)
	case r.Method == http.MethodDelete:
		if !dry {
			a.objects[path]["metadata"].(map[string]any)["deletionTimestamp"] = "2026-11-28T00:00:00Z"
		}
		return map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Success"}
	}
	object, status := a.objects[strings.TrimSuffix(strings.TrimSuffix(path, "/status"), "/scale")], strings.HasSuffix(path, "/status")
	switch {
	case object == nil:
		return nil
	case r.Method == http.MethodGet:
		return object
	}
	return a.change(object, body, status, r.Method == http.MethodPut, dry)
}

// change puts or merges a body into an object.
func (a *fakeAPI) change(object, body map[string]any, status, put, dry bool) map[string]any {
	if dry {
		object = copyObject(object)
	}
	metadata := object["metadata"].(map[string]any)
	switch {
	case status:
		object["status"] = body["status"]
		return object
	case put && body["metadata"].(map[string]any)["finalizers"] == nil:
		delete(a.objects, holdsPath+"/"+metadata["name"].(string))
		return object
	case put:
		object["spec"] = body["spec"]
	default:
		patched, _ := body["metadata"].(map[string]any)
		if a.onPatch != nil {
			a.onPatch(object)
		}
		if v := patched["resourceVersion"]; v != nil && v != metadata["resourceVersion"] {
			return nil
		}
		delete(body, "metadata")
		mergeObject(object, body)
		if annotations, ok := patched["annotations"].(map[string]any); ok {
			mergeObject(metadata, map[string]any{"annotations": annotations})
		}
	}
	if g, ok := metadata["generation"].(float64); ok {
		metadata["generation"] = g + 1
	} else if g, ok := metadata["generation"].(int); ok {
		metadata["generation"] = g + 1
	}
	return object
}

func copyObject(object map[string]any) map[string]any {
	data, _ := json.Marshal(object)
	var c map[string]any
	_ = json.Unmarshal(data, &c)
	return c
}

// mergeObject merges a JSON merge patch.
func mergeObject(object, patch map[string]any) {
	for key, value := range patch {
		inner, isMap := value.(map[string]any)
		there, wasMap := object[key].(map[string]any)
		switch {
		case value == nil:
			delete(object, key)
		case isMap && wasMap:
			mergeObject(there, inner)
		default:
			object[key] = value
		}
	}
}

// list lists the objects below a path.
func (a *fakeAPI) list(path string) map[string]any {
	items := []any{}
	for _, name := range slices.Sorted(maps.Keys(a.objects)) {
		object := a.objects[name]
		if rest, ok := strings.CutPrefix(name, path+"/"); ok && !strings.Contains(rest, "/") {
			items = append(items, object)
		}
	}
	kind, version := "HoldList", "scaler.tachometer.dev/v1alpha1"
	switch {
	case strings.HasSuffix(path, "/horizontalpodautoscalers"):
		kind, version = "HorizontalPodAutoscalerList", "autoscaling/v2"
	case strings.HasSuffix(path, "/pods"):
		kind, version = "PodList", "v1"
	case strings.HasSuffix(path, "/events"):
		kind, version = "EventList", "v1"
	case strings.HasSuffix(path, "/deployments"):
		kind, version = "DeploymentList", "apps/v1"
	}
	return map[string]any{"apiVersion": version, "kind": kind, "metadata": map[string]any{}, "items": items}
}

// hold returns a Hold as it is now; nil: there is none.
func (a *fakeAPI) hold(name string) map[string]any {
	a.mu.Lock()
	defer a.mu.Unlock()
	return copyObject(a.objects[holdsPath+"/"+name])
}

// wrote lists the requests since the start that write, except Events and their fields.
func (a *fakeAPI) wrote() (all []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.requests {
		if !strings.HasPrefix(r, http.MethodGet) && !strings.Contains(r, "/events") {
			all = append(all, r)
		}
	}
	return all
}

// run runs a command, and returns its outputs and exit code.
func (a *fakeAPI) run(t *testing.T, args ...string) (out, errs string, code int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	p := &Program{Name: "scaler", Out: &stdout, Errs: &stderr, LoadConfig: func() (*rest.Config, string, error) {
		return &rest.Config{Host: a.url, Timeout: time.Minute}, "sale", nil
	}}
	root := &cobra.Command{Use: "scaler", SilenceUsage: true, SilenceErrors: true}
	p.AddOutputFlag(root.PersistentFlags())
	root.AddCommand(p.NewHoldCommands()...)
	root.AddCommand(p.NewOtherCommands()...)
	root.SetArgs(args)
	root.SetOut(&stdout)
	root.SetErr(&stderr)
	if err := root.ExecuteContext(t.Context()); err != nil {
		code, _ = ExitCode(err)
		stderr.WriteString(err.Error())
	}
	return stdout.String(), stderr.String(), code
}
