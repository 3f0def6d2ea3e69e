package apiserver

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/endpoints/request"
)

const (
	gatedMetricPath  = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/*/x"
	gatedExplainPath = "/apis/explain.tachometer.dev/v1alpha1/namespaces/shop/targets"
)

// serveGated sends a request of the user through the gate, and returns the number of those that next serves at that moment.
func serveGated(ctx context.Context, handler http.Handler, name, path string) {
	r := httptest.NewRequestWithContext(request.WithUser(ctx, &user.DefaultInfo{Name: name}), http.MethodGet, path, http.NoBody)
	handler.ServeHTTP(httptest.NewRecorder(), r)
}

// TestProcessorGate: readers compute as many at a time as there are places, one that waits gives its place back, and no HPA waits for one.
func TestProcessorGate(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		user, path string
		after      time.Duration
		want       int // requests of 10 that are being served then
	}{
		"readers compute":                  {"reader", gatedMetricPath, maxProcessorTime / 2, 1},
		"readers wait for a scrape":        {"reader", gatedMetricPath, 4*maxProcessorTime + maxProcessorTime/2, 5},
		"requests that never wait":         {"reader", gatedExplainPath, maxProcessorWait / 2, 1},
		"lists of families wait for pages": {"reader", strings.Replace(gatedExplainPath, "targets", "metrics", 1), 4*maxProcessorTime + maxProcessorTime/2, 5},
		"reads of the HPA":                 {hpaUser, gatedMetricPath, 0, 10},
		"probes need no place":             {user.Anonymous, "/livez", 0, 10},
		"strangers take no more places":    {"stranger", "/metrics", maxProcessorWait / 2, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				gate := newProcessorGate(newTestLanes(), newProcessorLoad(), defaultServerLimits())
				gate.places = make(chan struct{}, 1)
				serving, end := make(chan struct{}, 10), make(chan struct{})
				handler := gate.gateRequestHandler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { serving <- struct{}{}; <-end }))
				for range 10 {
					go serveGated(t.Context(), handler, tc.user, tc.path)
				}
				time.Sleep(tc.after) //nolint:forbidigo // virtual time
				synctest.Wait()
				if len(serving) != tc.want {
					t.Errorf("%d requests are served, want %d", len(serving), tc.want)
				}
				close(end)
				time.Sleep(time.Hour) //nolint:forbidigo // virtual time
				if synctest.Wait(); len(serving) != 10 || len(gate.places) != 0 {
					t.Errorf("in the end %d of 10 were served, and %d places are taken", len(serving), len(gate.places))
				}
			})
		})
	}
}

// TestProcessorGateSheds: an overload gets 429 long before its requests time out.
func TestProcessorGateSheds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gate := newProcessorGate(newTestLanes(), newProcessorLoad(), defaultServerLimits())
		gate.places = make(chan struct{}) // all are taken
		w, began := httptest.NewRecorder(), time.Now()
		r := httptest.NewRequestWithContext(request.WithUser(t.Context(), &user.DefaultInfo{Name: "reader"}), http.MethodGet, gatedMetricPath, http.NoBody)
		gate.gateRequestHandler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was served") })).ServeHTTP(w, r)
		if waited := time.Since(began); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" || waited != maxProcessorWait {
			t.Errorf("%d after %s", w.Code, waited)
		}
	})
}

// TestResponsesShowTheirSize: readers' responses of the APIs are not compressed, so that the budget counts all of their bytes.
func TestResponsesShowTheirSize(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{gatedExplainPath: "", gatedMetricPath: "", "/metrics": "gzip"} {
		gate := newProcessorGate(newTestLanes(), newProcessorLoad(), defaultServerLimits())
		r := httptest.NewRequestWithContext(request.WithUser(t.Context(), &user.DefaultInfo{Name: "reader"}), http.MethodGet, path, http.NoBody)
		r.Header.Set("Accept-Encoding", "gzip")
		gate.gateRequestHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if got := r.Header.Get("Accept-Encoding"); got != want {
				t.Errorf("%s accepts %q, want %q", path, got, want)
			}
		})).ServeHTTP(httptest.NewRecorder(), r)
	}
}

// TestProcessorGateEnds: a request that ends before it has a place takes none.
func TestProcessorGateEnds(t *testing.T) {
	t.Parallel()
	gate := newProcessorGate(newTestLanes(), newProcessorLoad(), defaultServerLimits())
	gate.places = make(chan struct{}) // no place at all
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	serveGated(ctx, gate.gateRequestHandler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was served") })), "reader", gatedMetricPath)
}

// TestReplicasReadEachOther: reads of two replicas, which ask each other for their records, are served at once, and so is a metric beside a read that
// waits for a replica. Reads of records take turns.
func TestReplicasReadEachOther(t *testing.T) {
	t.Parallel()
	const path = "/apis/explain.tachometer.dev/v1alpha1/namespaces/shop/horizontalpodautoscalers/web/decisions"
	synctest.Test(t, func(t *testing.T) {
		var replicas [2]http.Handler
		codes := make(chan int, 10)
		ask := func(replica int, path string) {
			r := httptest.NewRequestWithContext(request.WithUser(t.Context(), &user.DefaultInfo{Name: "reader"}), http.MethodGet, path, http.NoBody)
			w := httptest.NewRecorder()
			replicas[replica].ServeHTTP(w, r)
			codes <- w.Code
		}
		const pause = 3 * maxProcessorTime
		for i := range replicas {
			gate := newProcessorGate(newTestLanes(), newProcessorLoad(), defaultServerLimits())
			gate.places, gate.recordReads = make(chan struct{}, 1), make(chan struct{}, 1)
			replicas[i] = gate.gateRequestHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				if r.URL.Path == path && r.URL.RawQuery == "" {
					<-time.After(pause) // both replicas have begun
					ask(1-i, path+"?scope=replica")
				}
			}))
		}
		began := time.Now()
		var reads sync.WaitGroup
		for i := range replicas {
			reads.Go(func() { ask(i, path) })
			reads.Go(func() { ask(i, gatedMetricPath) })
		}
		reads.Wait()
		if took := time.Since(began); took != pause {
			t.Errorf("%v for reads that ask each other, want %v", took, pause)
		}
		for range 2 {
			reads.Go(func() { ask(0, path) })
		}
		reads.Wait()
		if took := time.Since(began); took != 3*pause {
			t.Errorf("%v after two reads of one replica, want %v", took, 3*pause)
		}
		close(codes)
		for code := range codes {
			if code != http.StatusOK {
				t.Errorf("status %d", code)
			}
		}
	})
}

// TestReadersWaitForHPAs: no reader begins to compute while HPAs' reads have all processors, and one does in each maxProcessorTime all the same.
func TestReadersWaitForHPAs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gate := newProcessorGate(newTestLanes(), &processorLoad{processors: 2, freed: make(chan struct{})}, defaultServerLimits())
		gate.places = make(chan struct{}, 1)
		var served atomic.Int64
		end := make(chan struct{})
		handler := gate.gateRequestHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if u, _ := request.UserFrom(r.Context()); u.GetName() == hpaUser {
				<-end
				return
			}
			served.Add(1)
		}))
		const pause = maxProcessorTime / 2
		for want := range int64(3) {
			go serveGated(t.Context(), handler, hpaUser, gatedMetricPath)
			go serveGated(t.Context(), handler, hpaUser, gatedMetricPath)
			synctest.Wait()
			go serveGated(t.Context(), handler, "reader", gatedMetricPath)
			time.Sleep(pause) //nolint:forbidigo // virtual time
			if synctest.Wait(); served.Load() != want {
				t.Errorf("%d readers are served beside two reads of HPAs, want %d", served.Load(), want)
			}
			time.Sleep(pause) //nolint:forbidigo // virtual time
			if synctest.Wait(); served.Load() != want+1 {
				t.Errorf("%d readers are served after %v, want %d", served.Load(), maxProcessorTime, want+1)
			}
		}
		close(end)
	})
}
