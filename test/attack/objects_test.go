// Tenants whose objects are many, or as large as etcd takes.

package attack

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/retry"
	"github.com/tachometer-metrics/tachometer/test/harness/kubeapi"
)

// TestManyAutoscalers: a thousand autoscalers of one namespace, each with 50 KB of metrics, are served up to its bounds. This kube-apiserver
// does not stream lists: the adapter lists in pages.
func TestManyAutoscalers(t *testing.T) {
	joinShare(t)
	kube := startShop(t, http.HandlerFunc(evilPage))
	names := numberedNames(500)
	for i := range 1000 {
		kube.SetAutoscaler(kubeapi.NewAutoscaler("evil", fmt.Sprintf("evil-%04d", i), names...))
	}
	a := startAdapter(t, kube)
	a.await("explained autoscalers", func() (bool, string) {
		code, body, err := a.get(t.Context(), evilReader, "/apis/explain.tachometer.dev/v1alpha1/namespaces/evil/horizontalpodautoscalers")
		explained := fmt.Sprintf("%d, %d bytes, %v", code, len(body), err)
		t.Log(explained)
		if len(body) > 32<<20 {
			t.Fatal(explained)
		}
		return err == nil && code == http.StatusOK, explained
	})
	a.judge()
}

// TestLabelledPods: pods of a tenant that never run, each with 5,000 labels of its own, 300 KB, fill no memory.
func TestLabelledPods(t *testing.T) {
	joinShare(t)
	kube := startShop(t, http.HandlerFunc(evilPage))
	for i := range 200 {
		pod := kubeapi.NewPod("evil", fmt.Sprintf("pending-%04d", i), "evil", "127.0.0.9:1")
		pod.Status = core.PodStatus{Phase: core.PodPending}
		for l := range 5000 {
			pod.Labels[fmt.Sprintf("label-%04d-%04d", i, l)] = strings.Repeat("x", 30)
		}
		kube.SetPod(pod)
	}
	a := startAdapter(t, kube)
	retry.Sleep(t.Context(), attackTime(5*time.Second))
	a.judge()
}

// TestLongAnnotations: pods whose annotations make URLs of 100 KB, autoscalers whose targets have names of 500 KB, fill no memory, and cost
// no lookup with such a name.
func TestLongAnnotations(t *testing.T) {
	joinShare(t)
	kube := startShop(t, http.HandlerFunc(evilPage))
	for i := range 300 {
		pod := kubeapi.NewPod("evil", fmt.Sprintf("evil-%04d", i), "evil", fmt.Sprintf("127.0.2.%d:1", 1+i%250))
		pod.Annotations["prometheus.io/scrape"] = "true"
		pod.Annotations["prometheus.io/path"] = "/" + strings.Repeat("\n", 100_000) + fmt.Sprint(i)
		kube.SetPod(pod)
	}
	for i := range 60 {
		hpa := kubeapi.NewAutoscaler("evil", fmt.Sprintf("evil-%04d", i), goodMetric)
		hpa.Spec.ScaleTargetRef.Name = strings.Repeat("x", 500_000) + fmt.Sprint(i)
		kube.SetAutoscaler(hpa)
	}
	a := startAdapter(t, kube)
	before := kube.CountLookups()
	retry.Sleep(t.Context(), attackTime(10*time.Second))
	if n := kube.CountLookups() - before; n > 5 { // of the good HPA
		t.Errorf("%d lookups of targets with names of 500 KB", n)
	}
	a.judge()
}

// TestManyMetrics: 200 autoscalers of one namespace with fifty metrics each, all of which a pod has, cost no other namespace anything.
func TestManyMetrics(t *testing.T) {
	joinShare(t)
	kube := startShop(t, http.HandlerFunc(evilPage))
	names := numberedNames(10_000)
	for i := range 200 {
		hpa := kubeapi.NewAutoscaler("evil", fmt.Sprintf("evil-%04d", i), names[50*i:50*i+50]...)
		hpa.Spec.ScaleTargetRef.Name = "evil"
		kube.SetAutoscaler(hpa)
	}
	a := startAdapter(t, kube)
	retry.Sleep(t.Context(), attackTime(10*time.Second))
	a.judge()
}

// TestSelectorsOfAutoscalers: autoscalers whose metrics have selectors of 1,000 requirements each, each other ones, fill no memory.
func TestSelectorsOfAutoscalers(t *testing.T) {
	joinShare(t)
	kube := startShop(t, http.HandlerFunc(evilPage))
	for i := range 300 {
		hpa := kubeapi.NewAutoscaler("evil", fmt.Sprintf("evil-%04d", i), goodMetric)
		hpa.Spec.ScaleTargetRef.Name = "evil"
		selector := &meta.LabelSelector{MatchLabels: map[string]string{}}
		for r := range 1000 {
			selector.MatchLabels[fmt.Sprintf("k%d-%d", i, r)] = strings.Repeat("v", 60)
		}
		for m := range hpa.Spec.Metrics {
			hpa.Spec.Metrics[m].Pods.Metric.Selector = selector
		}
		kube.SetAutoscaler(hpa)
	}
	a := startAdapter(t, kube)
	retry.Sleep(t.Context(), attackTime(10*time.Second))
	a.judge()
}

// TestSelectorsOfDeployments: autoscalers of Deployments whose selectors have 5,000 requirements each, 300 KB, fill no memory.
func TestSelectorsOfDeployments(t *testing.T) {
	joinShare(t)
	kube := startShop(t, http.HandlerFunc(evilPage))
	for i := range 300 {
		name := fmt.Sprintf("evil-%04d", i)
		requirements := make([]string, 5000)
		for r := range requirements {
			requirements[r] = fmt.Sprintf("k%d-%d=%s", i, r, strings.Repeat("v", 50))
		}
		kube.AddSelectingDeployment("evil", name, strings.Join(requirements, ","), 1)
		kube.SetAutoscaler(kubeapi.NewAutoscaler("evil", name, goodMetric))
	}
	a := startAdapter(t, kube)
	retry.Sleep(t.Context(), attackTime(15*time.Second))
	a.judge()
}

// TestSelectorOfEach: 10,000 autoscalers of one namespace, each of its own Deployment with its own selector and its own metric selector, cost no other
// namespace anything. The good autoscaler comes after them.
func TestSelectorOfEach(t *testing.T) {
	skipShare(t)
	kube := startShop(t, http.HandlerFunc(evilPage))
	for i := range 10_000 {
		name := fmt.Sprintf("evil-%05d", i)
		kube.AddSelectingDeployment("evil", name, fmt.Sprintf("app=evil,n=%d", i), 1)
		hpa := kubeapi.NewAutoscaler("evil", name, goodMetric)
		hpa.Spec.Metrics[0].Pods.Metric.Selector = &meta.LabelSelector{MatchLabels: map[string]string{"code": fmt.Sprint(i)}}
		kube.SetAutoscaler(hpa)
	}
	began := time.Now()
	a := startAdapter(t, kube)
	t.Logf("the first good read after %v", time.Since(began))
	a.await("readiness", func() (bool, string) {
		code, body, err := a.get(t.Context(), evilReader, "/readyz")
		return code == http.StatusOK, fmt.Sprintf("%d %.300s %v", code, body, err)
	})
	t.Logf("ready after %v", time.Since(began))
	before := kube.CountLookups()
	retry.Sleep(t.Context(), 30*time.Second)
	t.Logf("%d lookups in 30 s", kube.CountLookups()-before)
	for _, path := range []string{"", "/evil-00000", "/evil-09999/decisions"} {
		asked := time.Now()
		code, body, err := a.get(t.Context(), evilReader, "/apis/explain.tachometer.dev/v1alpha1/namespaces/evil/horizontalpodautoscalers"+path)
		t.Logf("explain %q: %d, %d bytes, %v, %v", path, code, len(body), time.Since(asked), err)
		if len(body) > 32<<20 {
			t.Errorf("explain %q has %d bytes", path, len(body))
		}
	}
	if code, body, err := a.get(t.Context(), hpaController, "/apis/explain.tachometer.dev/v1alpha1/namespaces/shop/horizontalpodautoscalers/web/decisions"); err != nil || code != http.StatusOK {
		t.Errorf("the record of another namespace: %d %.200s %v", code, body, err)
	}
	a.judge()
}
