package discovery

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// watchServer is as much of an API server as discovery needs: it streams lists as a real one does since
// Kubernetes 1.34, which client-go's fake clients cannot.
type watchServer struct {
	t          *testing.T
	forbidden  atomic.Int32 // how many more watches of pods are rejected
	pods, hpas []runtime.Object
	more       chan watch.Event // of pods, after the list
	watching   atomic.Int32
}

func (s *watchServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasSuffix(r.URL.Path, "/scale"):
		s.writeReply(w, http.StatusOK, &autoscalingv1.Scale{
			TypeMeta: metav1.TypeMeta{APIVersion: "autoscaling/v1", Kind: "Scale"},
			Status:   autoscalingv1.ScaleStatus{Selector: "app=web"},
		})
	case strings.HasSuffix(r.URL.Path, "/pods") && s.forbidden.Add(-1) >= 0:
		s.writeReply(w, http.StatusForbidden, &metav1.Status{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
			Status:   metav1.StatusFailure, Reason: metav1.StatusReasonForbidden, Code: http.StatusForbidden, Message: "pods are forbidden",
		})
	case r.URL.Query().Get("sendInitialEvents") != "true":
		s.t.Errorf("unexpected request %s", r.URL)
		w.WriteHeader(http.StatusBadRequest)
	case strings.HasSuffix(r.URL.Path, "/pods"):
		end := &corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}}
		s.streamEvents(w, r, s.pods, end, &end.ObjectMeta, s.more)
	default:
		end := &autoscalingv2.HorizontalPodAutoscaler{TypeMeta: metav1.TypeMeta{APIVersion: "autoscaling/v2", Kind: "HorizontalPodAutoscaler"}}
		s.streamEvents(w, r, s.hpas, end, &end.ObjectMeta, nil)
	}
}

func (s *watchServer) writeReply(w http.ResponseWriter, code int, object any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	if err := json.NewEncoder(w).Encode(object); err != nil {
		s.t.Errorf("reply: %v", err)
	}
}

func (s *watchServer) streamEvents(w http.ResponseWriter, r *http.Request, list []runtime.Object, end runtime.Object, meta *metav1.ObjectMeta, more <-chan watch.Event) {
	w.Header().Set("Content-Type", "application/json;stream=watch")
	send := func(kind watch.EventType, object runtime.Object) {
		_ = json.NewEncoder(w).Encode(map[string]any{"type": kind, "object": object})
		w.(http.Flusher).Flush()
	}
	for _, object := range list {
		send(watch.Added, object)
	}
	meta.ResourceVersion, meta.Annotations = "7", map[string]string{metav1.InitialEventsAnnotationKey: "true"}
	send(watch.Bookmark, end)
	s.watching.Add(1)
	for {
		select {
		case <-r.Context().Done():
			return
		case e := <-more:
			send(e.Type, e.Object)
		}
	}
}

func typedPod(p *corev1.Pod) *corev1.Pod {
	p.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
	p.ResourceVersion = "8"
	return p
}

// TestAgainstHTTP runs discovery with its real clients: a permission that comes late, streamed lists, events,
// and the scale subresource.
func TestAgainstHTTP(t *testing.T) {
	h := newHPA("shop", "web", "web", podsMetric("rps"))
	h.TypeMeta = metav1.TypeMeta{APIVersion: "autoscaling/v2", Kind: "HorizontalPodAutoscaler"}
	s := &watchServer{t: t, pods: []runtime.Object{typedPod(apiPod("shop", "web-1"))}, hpas: []runtime.Object{h}, more: make(chan watch.Event)}
	s.forbidden.Store(2) // the streamed list, and the plain one that client-go tries next
	server := httptest.NewServer(s)
	defer server.Close()
	clients, err := NewClients(&rest.Config{Host: server.URL}, testMapper())
	if err != nil {
		t.Fatal(err)
	}
	d := New(clients, Options{})
	d.SetRules(prefixRules{})
	news := make(chan []metric.Target, 10)
	d.OnTargets(func(targets []metric.Target) { news <- targets })
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = d.Run(ctx) })
	defer wg.Wait()
	defer cancel()

	expect := func(want ...string) {
		t.Helper()
		for targets := range news {
			var got []string
			for _, target := range targets {
				name := target.Pod
				if target.Ending {
					name += " ends"
				}
				got = append(got, name)
			}
			if strings.Join(got, " ") == strings.Join(want, " ") {
				return
			}
			t.Logf("targets %v, want %v", got, want)
		}
	}
	expect("web-1")
	s.more <- watch.Event{Type: watch.Added, Object: typedPod(apiPod("shop", "web-2"))}
	expect("web-1", "web-2")
	s.more <- watch.Event{Type: watch.Modified, Object: typedPod(apiPod("shop", "web-1", markTerminating))}
	expect("web-1 ends", "web-2")
	s.more <- watch.Event{Type: watch.Deleted, Object: typedPod(apiPod("shop", "web-2"))}
	expect("web-1 ends")
	if _, ok := d.Pod("shop", "web-2"); ok || !d.HasSynced() || s.watching.Load() != 2 {
		t.Errorf("deleted pod known: %v, synced %v, %d watches", ok, d.HasSynced(), s.watching.Load())
	}
}
