package inventory

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// servePagedAutoscalers starts a kube-apiserver with so many autoscalers, and no other resource. It counts the pages; the second of the first
// read has expired if isExpired is set.
func servePagedAutoscalers(t *testing.T, total int, isExpired bool) (kubernetes.Interface, *atomic.Int32) {
	t.Helper()
	pages := &atomic.Int32{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path != "/apis/autoscaling/v2/horizontalpodautoscalers" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		number := pages.Add(1)
		if isExpired && number == 2 {
			w.WriteHeader(http.StatusGone)
			_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Code: http.StatusGone, Reason: metav1.StatusReasonExpired})
			return
		}
		first, _ := strconv.Atoi(r.URL.Query().Get("continue"))
		limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
		if limit == 0 {
			limit = total
		}
		list := autoscalingv2.HorizontalPodAutoscalerList{TypeMeta: metav1.TypeMeta{Kind: "HorizontalPodAutoscalerList", APIVersion: "autoscaling/v2"}}
		for i := first; i < min(first+limit, total); i++ {
			list.Items = append(list.Items, autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprintf("web-%04d", i)}})
		}
		if first+limit < total {
			list.Continue = strconv.Itoa(first + limit)
		}
		_ = json.NewEncoder(w).Encode(list)
	}))
	t.Cleanup(server.Close)
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return client, pages
}

// TestPages: a large cluster is read in pages, and completely; also where a page has expired.
func TestPages(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		total     int
		isExpired bool
		pages     int32
	}{
		"one page":               {500, false, 1},
		"three pages":            {1200, false, 3},
		"a page that is expired": {1200, true, 3},
		"none":                   {0, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, pages := servePagedAutoscalers(t, tc.total, tc.isExpired)
			i := ReadScaled(t.Context(), client, "")
			if len(i.HPAs) != tc.total || pages.Load() != tc.pages {
				t.Fatalf("%d autoscalers in %d pages, want %d in %d; unread %v", len(i.HPAs), pages.Load(), tc.total, tc.pages, i.Unread)
			}
			if tc.total > 0 && i.HPAs[tc.total-1].Name != fmt.Sprintf("web-%04d", tc.total-1) {
				t.Errorf("the last is %s", i.HPAs[tc.total-1].Name)
			}
			if err := AutoscalerError(i.Unread); err != nil || len(i.Unread) != 3 {
				t.Errorf("unread %v, error %v; want workloads and pods", i.Unread, err)
			}
		})
	}
}

// TestUnansweredReads: without an answer to the first read, no other waits as long; a right that is missing ends none.
func TestUnansweredReads(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answer func(w http.ResponseWriter, r *http.Request)
		reads  int32
	}{
		"no answer": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, 1},
		"no right":  {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, 7},
	} {
		reads := &atomic.Int32{}
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			reads.Add(1)
			tc.answer(w, r)
		}))
		t.Cleanup(server.Close)
		client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL, Timeout: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		objects := ReadCluster(t.Context(), client, "shop")
		if reads.Load() != tc.reads || len(objects.Unread) != 7 || objects.Unread[6].Reason == "" {
			t.Errorf("%s: %d reads, want %d; unread: %+v", name, reads.Load(), tc.reads, objects.Unread)
		}
	}
}
