package discovery

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// pageServer is an API server that streams no lists: it answers in pages, and holds watches.
type pageServer struct {
	pods []corev1.Pod

	mu       sync.Mutex // guards the rest
	expired  expiredPages
	requests int
	most     int // bytes of the largest page that was written
}

func (s *pageServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	if query.Get("watch") != "" {
		if query.Get("sendInitialEvents") != "" {
			http.Error(w, "no streams", http.StatusUnprocessableEntity)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if !strings.HasSuffix(r.URL.Path, "/pods") {
		_ = json.NewEncoder(w).Encode(&autoscalingv2.HorizontalPodAutoscalerList{
			TypeMeta: metav1.TypeMeta{APIVersion: "autoscaling/v2", Kind: "HorizontalPodAutoscalerList"}, ListMeta: metav1.ListMeta{ResourceVersion: "7"},
		})
		return
	}
	s.mu.Lock()
	expired := s.expired.answerExpired(w, r)
	s.mu.Unlock()
	if expired {
		return
	}
	begin := parsePageToken(query.Get("continue"))
	limit, _ := strconv.Atoi(query.Get("limit"))
	if limit == 0 {
		limit = len(s.pods)
	}
	end := min(len(s.pods), begin+limit)
	page := &corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}, ListMeta: metav1.ListMeta{ResourceVersion: "7"}, Items: s.pods[begin:end]}
	if end < len(s.pods) {
		page.Continue = strconv.Itoa(end)
	}
	text, _ := json.Marshal(page)
	n, _ := w.Write(text)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	s.most = max(s.most, n)
}

// newPagePods returns so many pods with so many bytes of annotations each.
func newPagePods(count, bytes int) []corev1.Pod {
	pods := make([]corev1.Pod, count)
	for i := range pods {
		pods[i] = *apiPod("shop", fmt.Sprintf("web-%05d", i))
		pods[i].Annotations = map[string]string{"note": strings.Repeat("x", bytes)}
	}
	return pods
}

// syncPages reads the list of a server and checks its size. It returns the requests so far, and the bytes of the largest page.
func syncPages(t *testing.T, s *pageServer) (requests, most int) {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	clients, err := NewClients(&rest.Config{Host: server.URL}, nil)
	if err != nil {
		t.Fatal(err)
	}
	table, synced := newWatchedPodTable(), make(chan struct{})
	complete := sync.OnceFunc(func() { close(synced) })
	store := &reflectorStore[*storedPod]{resource: "pods", strip: endpointPolicy{}.stripPod, sink: table, onChange: complete, onError: func() {}}
	var end sync.WaitGroup
	end.Go(func() { watchClusterPods(t.Context(), store, clients.Kube) })
	t.Cleanup(end.Wait)
	<-synced
	if pods, _ := table.countStoredPods(); pods != len(s.pods) {
		t.Errorf("%d of %d pods", pods, len(s.pods))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t.Logf("%d requests, largest page %d KiB", s.requests, s.most>>10)
	return s.requests, s.most
}

// TestListsTakeFewRequests: 5,000 usual pods come in few pages.
func TestListsTakeFewRequests(t *testing.T) {
	t.Parallel()
	s := &pageServer{pods: newPagePods(5000, 1000)}
	requests, _ := syncPages(t, s)
	if requests > 25 {
		t.Errorf("%d requests", requests)
	}
}

// TestLargeObjectsComeInSmallPages: behind pages of small objects that let the next one grow, large objects still come few at a time.
func TestLargeObjectsComeInSmallPages(t *testing.T) {
	t.Parallel()
	s := &pageServer{pods: append(newPagePods(500, 1000), newPagePods(150, 400_000)...)}
	for i := range s.pods {
		s.pods[i].Name = fmt.Sprintf("web-%05d", i)
	}
	requests, most := syncPages(t, s)
	if requests > 25 {
		t.Errorf("%d requests", requests)
	}
	if allowed := 4 * maxDiscoveryPageBytes; most > allowed { // more is on its way when the client closes the connection
		t.Errorf("a page of %d MiB was read, want at most %d MiB", most>>20, allowed>>20)
	}
}
