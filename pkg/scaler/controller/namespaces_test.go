package controller

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/rollout"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/schedule"
)

// holdsAPI answers the requests for Holds as an API server without any other object.
type holdsAPI struct {
	locked map[string]bool // namespaces, in which the scaler has no rights; empty: all of them at once

	mu    sync.Mutex // guards all below
	fails int        // how many lists of all namespaces still fail
	holds map[string]*hold.Object
}

var _ http.RoundTripper = (*holdsAPI)(nil)

const holdsOfNamespace = "/apis/scaler.tachometer.dev/v1alpha1/namespaces/"

func (a *holdsAPI) RoundTrip(r *http.Request) (*http.Response, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	namespace, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, holdsOfNamespace), "/")
	if !strings.HasPrefix(r.URL.Path, holdsOfNamespace) {
		namespace = ""
	}
	isHolds := strings.HasSuffix(r.URL.Path, "/holds")
	switch {
	case isHolds && a.locked[namespace]:
		return newAPIResponse(apierrors.NewForbidden(hold.GroupVersion.WithResource(hold.Resource).GroupResource(), "", nil).Status(), http.StatusForbidden), nil
	case r.URL.Query().Get("sendInitialEvents") != "": // the client falls back to a list
		return newAPIResponse(apierrors.NewInvalid(hold.GroupVersion.WithKind(hold.Kind).GroupKind(), "", nil).Status(), http.StatusUnprocessableEntity), nil
	case r.URL.Query().Get("watch") != "":
		body, quiet := io.Pipe()
		context.AfterFunc(r.Context(), func() { _ = quiet.Close() })
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: body}, nil
	case isHolds && r.Method == http.MethodPost:
		return a.create(r)
	case r.Method == http.MethodDelete && namespace != "":
		maps.DeleteFunc(a.holds, func(_ string, h *hold.Object) bool {
			return strings.HasSuffix(r.URL.Path, "/"+namespace+"/holds/"+h.Name)
		})
	case isHolds && namespace == "" && a.fails > 0:
		a.fails--
		return newAPIResponse(apierrors.NewInternalError(io.ErrUnexpectedEOF).Status(), http.StatusInternalServerError), nil
	case isHolds:
		return newAPIResponse(a.list(namespace), http.StatusOK), nil
	}
	return newAPIResponse(metav1.List{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "List"}}, http.StatusOK), nil
}

func (a *holdsAPI) create(r *http.Request) (*http.Response, error) {
	made := &hold.Object{}
	if err := json.NewDecoder(r.Body).Decode(made); err != nil {
		return nil, err
	}
	a.holds[made.Namespace+"/"+made.HoldID()] = made
	return newAPIResponse(made, http.StatusCreated), nil
}

func (a *holdsAPI) list(namespace string) hold.ObjectList {
	all := hold.ObjectList{TypeMeta: metav1.TypeMeta{APIVersion: hold.GroupVersion.String(), Kind: hold.Kind + "List"}, ListMeta: metav1.ListMeta{ResourceVersion: "1"}}
	for _, h := range a.holds {
		if namespace == "" || h.Namespace == namespace {
			all.Items = append(all.Items, *h)
		}
	}
	return all
}

func (a *holdsAPI) namespaces() (all []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, h := range a.holds {
		all = append(all, h.Namespace)
	}
	slices.Sort(all)
	return all
}

func newAPIResponse(answer any, code int) *http.Response {
	if status, ok := answer.(metav1.Status); ok {
		status.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
		answer = status
	}
	data, err := json.Marshal(answer)
	if err != nil {
		panic(err)
	}
	return &http.Response{StatusCode: code, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(data))}
}

// newLiveCluster returns the cluster of the API.
func (a *holdsAPI) newLiveCluster(t *testing.T) *rollout.LiveCluster {
	t.Helper()
	cfg := &rest.Config{Host: "http://api", Transport: a, QPS: -1}
	holds, err := hold.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &rollout.LiveCluster{Client: kubernetes.NewForConfigOrDie(cfg), Dynamic: dynamic.NewForConfigOrDie(cfg), Mapper: meta.NewDefaultRESTMapper(nil), Holds: holds}
}

// runController runs a controller for a time.
func (a *holdsAPI) runController(t *testing.T, d time.Duration, opts Options) {
	t.Helper()
	live := a.newLiveCluster(t)
	opts.Caches = rollout.NewCachedCluster(live)
	opts.Engine = rollout.New(rollout.Options{Cluster: live, Reader: opts.Caches, Owner: "me"})
	ctx, cancel := context.WithCancel(klog.NewContext(t.Context(), logr.Discard()))
	var running sync.WaitGroup
	running.Go(func() {
		if err := New(opts).Run(ctx); err != nil {
			t.Error(err)
		}
	})
	time.Sleep(d) //nolint:forbidigo // the bubble's clock: no time passes
	cancel()
	running.Wait()
}

// TestD7LockedNamespace: a namespace in which the scaler has no rights delays the windows of the others by seconds, and not for ever.
func TestD7LockedNamespace(t *testing.T) {
	t.Parallel()
	for name, locked := range map[string]map[string]bool{
		"none": {}, "all at once": {"": true}, "all at once, and one": {"": true, "locked": true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				api := &holdsAPI{locked: locked, holds: map[string]*hold.Object{}}
				start := time.Now()
				s := schedule.Schedule{Name: "hours", Zone: time.UTC, Windows: []schedule.Window{{From: start, To: start.Add(10 * time.Hour), MinReplicas: 8}}}
				want := []string{}
				for _, namespace := range []string{"locked", "sale"} {
					s.Workloads = append(s.Workloads, hold.Workload{APIVersion: "apps/v1", Kind: "Deployment", Namespace: namespace, Name: "shop"})
					if !locked[namespace] {
						want = append(want, namespace)
					}
				}
				api.runController(t, 30*time.Second, Options{Namespaces: []string{"locked", "sale"}, Schedules: []schedule.Schedule{s}})
				if got := api.namespaces(); !slices.Equal(got, want) {
					t.Errorf("holds in %v; want %v", got, want)
				}
			})
		})
	}
}

// TestD16OwnedNamespaceIsFound: an API server that fails while the controller starts does not keep it from the holds that it made in a namespace which the
// configuration no longer names: they end.
func TestD16OwnedNamespaceIsFound(t *testing.T) {
	t.Parallel()
	for fails := range 4 {
		synctest.Test(t, func(t *testing.T) {
			shop := hold.Workload{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "former", Name: "shop"}
			h := hold.NewObject(shop, hold.Hold{ID: "schedule/hours", Replicas: 8}, "me")
			api := &holdsAPI{fails: fails, holds: map[string]*hold.Object{"former/schedule/hours": h}}
			api.runController(t, 2*time.Minute, Options{Namespaces: []string{"sale"}})
			if left := api.namespaces(); len(left) > 0 {
				t.Errorf("after %d failures: holds in %v", fails, left)
			}
		})
	}
}
