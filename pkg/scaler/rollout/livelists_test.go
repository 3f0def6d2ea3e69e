package rollout

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// largePods is an API server with pods, whose lists it gives in pages.
type largePods struct {
	count    int
	newPod   func(i int) corev1.Pod
	unpaged  atomic.Int64 // lists without a limit
	maxLimit atomic.Int64
}

// ServeHTTP implements http.Handler.
func (p *largePods) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	limit, _ := strconv.Atoi(r.FormValue("limit"))
	from, _ := strconv.Atoi(r.FormValue("continue"))
	if limit == 0 {
		p.unpaged.Add(1)
		limit = p.count
	}
	p.maxLimit.Store(max(p.maxLimit.Load(), int64(limit)))
	page := corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}}
	for i := from; i < min(p.count, from+limit); i++ {
		page.Items = append(page.Items, p.newPod(i))
	}
	if next := from + limit; next < p.count {
		page.Continue = strconv.Itoa(next)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(page)
}

// newLargeCluster returns a cluster with the pods.
func newLargeCluster(t *testing.T, pods *largePods) *LiveCluster {
	t.Helper()
	server := httptest.NewServer(pods)
	t.Cleanup(server.Close)
	return &LiveCluster{Client: kubernetes.NewForConfigOrDie(&rest.Config{Host: server.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}})}
}

// TestLivePodsArePaged: a tenant's large pods are read in small pages, and take the memory of their used parts alone. A pod above the bound of
// an object belongs to no workload, as in the caches.
func TestLivePodsArePaged(t *testing.T) {
	t.Parallel()
	pods := &largePods{count: 301, newPod: func(i int) corev1.Pod {
		pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprint("web-", i), Labels: map[string]string{"app": "web"}, Annotations: map[string]string{"note": strings.Repeat("x", 60<<10)},
		}, Status: corev1.PodStatus{PodIP: "10.0.0.1"}}
		if i == 300 {
			pod.Labels["long"] = strings.Repeat("x", maxCachedObjectBytes)
		}
		return pod
	}}
	found, err := newLargeCluster(t, pods).ListPods(t.Context(), "sale", "app=web")
	if err != nil || len(found) != 300 || pods.unpaged.Load() > 0 || pods.maxLimit.Load() > 100 {
		t.Fatalf("%d pods, %v, %d lists without a limit, pages of up to %d", len(found), err, pods.unpaged.Load(), pods.maxLimit.Load())
	}
	for i := range found {
		if pod := &found[i]; pod.Name != fmt.Sprint("web-", i) || pod.Status.PodIP == "" || pod.Size() > 200 {
			t.Fatalf("pod %d is %s with address %q and %d bytes", i, pod.Name, pod.Status.PodIP, pod.Size())
		}
	}
}

// TestLivePodsAreBounded: the pods of one workload take no more than the bound of a list, however many there are.
func TestLivePodsAreBounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxCachedObjectBytes-1000)
	pods := &largePods{count: 1 << 30, newPod: func(i int) corev1.Pod {
		return corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("web-", i), Labels: map[string]string{"app": "web", "long": long}}}
	}}
	if found, err := newLargeCluster(t, pods).ListPods(t.Context(), "sale", "app=web"); !errors.Is(err, errLargeList) || found != nil {
		t.Errorf("%d pods, %v; want %v", len(found), err, errLargeList)
	}
}

// TestLargeListsAreTrouble: a list above its bound is trouble of its workload, and no error that is tried again for ever in silence.
func TestLargeListsAreTrouble(t *testing.T) {
	t.Parallel()
	if !isTroubleError(fmt.Errorf("list autoscalers: %w", errLargeList)) {
		t.Error("the list is no trouble")
	}
	budget := listBudget(maxLiveListBytes)
	hpa := &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Name: strings.Repeat("x", maxLiveListBytes)}}
	if err := budget.takeListBytes(hpa); !errors.Is(err, errLargeList) {
		t.Errorf("an object above the bound: %v", err)
	}
}
