package discovery

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/tachometer-metrics/tachometer/pkg/podpage"
)

// numberedLabels returns labels with values of a size.
func numberedLabels(count, size int) map[string]string {
	labels := map[string]string{"app": "web"}
	for i := 1; i < count; i++ {
		labels[fmt.Sprintf("label-%05d", i)] = strings.Repeat("x", size)
	}
	return labels
}

// TestPodTextsAreBounded: what a tenant writes into a pod takes a bounded part of the adapter's memory, and the pod says why it is skipped.
func TestPodTextsAreBounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 200_000)
	for name, tc := range map[string]struct {
		change func(*corev1.Pod)
		reason string // empty: it is scraped
	}{
		"usual":               {withLabels(numberedLabels(30, 60)), ""},
		"the most labels":     {withLabels(numberedLabels(maxPodLabels, 60)), ""},
		"too many labels":     {withLabels(numberedLabels(maxPodLabels+1, 1)), "pod has 101 labels of"},
		"labels too long":     {withLabels(map[string]string{"app": "web", "x": long}), "pod has 2 labels of 200007 bytes"},
		"labels of 600 KB":    {combine(withoutAddress, withLabels(numberedLabels(10_000, 50))), "pod has 10000 labels of"},
		"path too long":       {withAnnotations(podpage.AnnotationPath, long), "make a URL of 200"},
		"escapes in the path": {withAnnotations(podpage.AnnotationPath, "/a"+strings.Repeat("\n", 1_000)+"b"), "make a URL of 3023 bytes"},
		"parameter too long":  {withAnnotations("prometheus.io/param_x", long), "make a URL of 200"},
		"scheme that is long": {withAnnotations(podpage.AnnotationScheme, long), "neither \"http\" nor \"https\""},
		"port that is long":   {withAnnotations(podpage.AnnotationPort, long), "not a port number"},
		"scrape that is long": {withAnnotations(podpage.AnnotationScrape, strings.Repeat("\x1b[2J", 50_000)), "neither \"true\" nor \"false\""},
		"owner that is long": {func(p *corev1.Pod) {
			p.OwnerReferences = []metav1.OwnerReference{{Kind: "ReplicaSet", Name: long, Controller: new(true)}}
		}, ""},
		"owner's kind is long": {func(p *corev1.Pod) {
			p.OwnerReferences = []metav1.OwnerReference{{Kind: long, Name: "x", Controller: new(true)}}
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := endpointPolicy{}.newStoredPod(apiPod("shop", "web-1", tc.change))
			if (p.url == "") != (tc.reason != "") || !strings.Contains(p.skipReason, tc.reason) {
				t.Errorf("url %.100q, reason %.300q; want %q", p.url, p.skipReason, tc.reason)
			}
			size := len(p.url) + len(p.skipReason) + len(p.Owner)
			for key, value := range p.labels {
				size += len(key) + len(value)
			}
			if limit := maxPodLabelBytes + maxEndpointBytes + 1_000; size > limit {
				t.Errorf("%d bytes of texts are stored, want at most %d", size, limit)
			}
		})
	}
}

// TestReferenceTextsAreBounded: an autoscaler's references are stored up to the bound of an object's name.
func TestReferenceTextsAreBounded(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1_000_000)
	for name, target := range map[string]autoscalingv2.CrossVersionObjectReference{
		"name": {APIVersion: "apps/v1", Kind: "Deployment", Name: long}, "kind": {APIVersion: "apps/v1", Kind: long, Name: "web"},
		"group": {APIVersion: long + "/v1", Kind: "Deployment", Name: "web"},
	} {
		hpa := newHPA("shop", "web", "web", podsMetric("rps"))
		hpa.Spec.ScaleTargetRef = target
		if got := newStoredAutoscaler(hpa).scaleTarget; got != unnamedReference {
			t.Errorf("%s: %.100v", name, got)
		}
	}
}

// pagedPods serves pods in pages, and remembers the sizes of the pages.
type pagedPods struct {
	pods  []corev1.Pod
	pages []int
}

func (s *pagedPods) list(_ context.Context, o metav1.ListOptions) (*corev1.PodList, error) {
	begin, _ := strconv.Atoi(o.Continue)
	end := len(s.pods)
	if o.ResourceVersion == "" && o.Limit > 0 {
		end = min(end, begin+int(o.Limit))
	}
	page := &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "7"}, Items: slices.Clone(s.pods[begin:end])}
	if end < len(s.pods) {
		page.Continue = strconv.Itoa(end)
	}
	s.pages = append(s.pages, end-begin)
	return page, nil
}

// TestListsComeInPages: a server that cannot stream lists is asked for pages, and every object of every page arrives.
func TestListsComeInPages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := &pagedPods{}
		for i := range 3*discoveryPageSize + 10 {
			source.pods = append(source.pods, *apiPod("shop", fmt.Sprintf("web-%03d", i)))
		}
		table := newWatchedPodTable()
		store := &reflectorStore[*storedPod]{resource: "pods", strip: endpointPolicy{}.stripPod, sink: table, onChange: func() {}, onError: func() {}}
		watched := func(context.Context, metav1.ListOptions) (watch.Interface, error) { return watch.NewFake(), nil }
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			store.runReflector(ctx, newListerWatcher(store, fake.NewClientset(), source.list, watched), &corev1.Pod{})
		}()
		synctest.Wait()
		pods, _ := table.countStoredPods()
		if synced, err := store.readSyncState(); !synced || err != nil || pods != len(source.pods) {
			t.Errorf("%d of %d pods, synced %t, %v", pods, len(source.pods), synced, err)
		}
		if want := []int{discoveryPageSize, 2 * discoveryPageSize, 10}; !slices.Equal(source.pages, want) {
			t.Errorf("pages of %v objects, want %v", source.pages, want)
		}
		cancel()
		<-ended
	})
}
