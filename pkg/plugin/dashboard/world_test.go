package dashboard

// This file holds the cluster of fakes.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
)

var noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

// cluster has one autoscaler, shop/web, with a rate for each of its pods.
type cluster struct {
	now      time.Time
	gone     bool   // the autoscaler
	lost     string // the cause for which autoscalers cannot be listed
	uid      string
	name     string
	rates    []string
	failure  string // of the metric
	refused  bool   // to read the metric
	created  []time.Time
	status   autoscalingv2.HorizontalPodAutoscalerStatus
	holds    func() ([]byte, error)
	record   *explainapi.Explanation // of the adapter; nil: it serves none
	targets  *explainapi.TargetList  // nil: it serves none
	families *explainapi.MetricList  // nil: it lists none

	mu    sync.Mutex // guards reads
	reads map[string]int
}

func newCluster(rates ...string) *cluster {
	c := &cluster{now: noon, uid: "1", name: "web", reads: map[string]int{}}
	c.setPods(rates...)
	c.setReplicas(len(rates), len(rates))
	return c
}

// setPods replaces the rates; pods beyond those there were are created now.
func (c *cluster) setPods(rates ...string) {
	c.rates = rates
	for len(c.created) < len(rates) {
		c.created = append(c.created, c.now)
	}
}

func (c *cluster) setReplicas(now, wanted int) {
	c.status.CurrentReplicas, c.status.DesiredReplicas = int32(now), int32(wanted)
}

// scale is the controller's write of a number.
func (c *cluster) scale(from, to int) {
	c.setReplicas(from, to)
	c.status.LastScaleTime = new(metav1.NewTime(c.now))
}

func (c *cluster) client() kubernetes.Interface {
	client := &fake.Clientset{} // a whole one parses the schema of every API first
	for name, list := range map[string]func() (runtime.Object, error){"horizontalpodautoscalers": c.listScalers, "pods": c.listPods, "deployments": c.listDeployments} {
		client.PrependReactor("list", name, func(clienttesting.Action) (bool, runtime.Object, error) {
			object, err := list()
			return true, object, err
		})
	}
	return client
}

func (c *cluster) listScalers() (runtime.Object, error) {
	if c.lost != "" {
		return nil, errors.New(c.lost)
	}
	list := &autoscalingv2.HorizontalPodAutoscalerList{}
	if !c.gone {
		list.Items = append(list.Items, autoscalingv2.HorizontalPodAutoscaler{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: c.name, UID: types.UID(c.uid)},
			Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
				ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: c.name},
				MinReplicas:    new(int32(2)), MaxReplicas: 20,
				Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{
					Metric: autoscalingv2.MetricIdentifier{Name: "request_per_second"},
					Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: new(resource.MustParse("50"))},
				}}},
			},
			Status: *c.status.DeepCopy(),
		})
	}
	return list, nil
}

func (c *cluster) listPods() (runtime.Object, error) {
	list := &corev1.PodList{}
	for i := range c.rates {
		list.Items = append(list.Items, corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprintf("%s-%d", c.name, i+1), Labels: map[string]string{"app": c.name}, CreationTimestamp: metav1.NewTime(c.created[i])},
			Status:     corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
		})
	}
	return list, nil
}

func (c *cluster) listDeployments() (runtime.Object, error) {
	return &appsv1.DeploymentList{Items: []appsv1.Deployment{{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: c.name},
		Spec:       appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": c.name}}},
	}}}, nil
}

// Read implements reading.Reader.
func (c *cluster) Read(_ context.Context, path string) ([]byte, error) {
	c.mu.Lock()
	c.reads[path]++
	c.mu.Unlock()
	if strings.Contains(path, "/holds") {
		if c.holds != nil {
			return c.holds()
		}
		return nil, apierrors.NewNotFound(corev1.Resource("holds"), "")
	}
	if strings.HasPrefix(path, "/apis/"+explainapi.GroupVersion.String()) {
		isTargets := strings.HasSuffix(path, "/"+explainapi.Targets)
		if isTargets && c.targets != nil {
			return json.Marshal(c.targets)
		}
		if strings.HasSuffix(path, "/"+explainapi.Metrics) {
			if c.families != nil {
				return json.Marshal(c.families)
			}
		} else if !isTargets && c.record != nil {
			return json.Marshal(c.record)
		}
		return nil, apierrors.NewNotFound(corev1.Resource("horizontalpodautoscalers"), "")
	}
	if c.refused {
		return nil, apierrors.NewForbidden(corev1.Resource("pods"), "*", errors.New("no right"))
	}
	if c.failure != "" {
		return nil, errors.New(c.failure)
	}
	items := []string{}
	for i, rate := range c.rates {
		if rate != "" {
			items = append(items, fmt.Sprintf(`{"describedObject":{"name":"%s-%d"},"timestamp":%q,"windowSeconds":10,"value":%q}`,
				c.name, i+1, c.now.Add(-2*time.Second).Format(time.RFC3339), rate))
		}
	}
	return []byte(`{"items":[` + strings.Join(items, ",") + `]}`), nil
}

func (c *cluster) serve(opts Options) *PageServer {
	opts.Client, opts.Metrics, opts.Now = c.client(), reading.MetricReader{Reader: c}, func() time.Time { return c.now }
	return New(opts)
}

// look moves the time on and looks.
func (c *cluster) look(t *testing.T, s *PageServer) {
	c.now = c.now.Add(lookInterval)
	s.Look(t.Context())
}

// get returns the answer to a request for a path of the page.
func get(t *testing.T, s *PageServer, path string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, s.Path()+path, nil)
	r.Host = "127.0.0.1:8088"
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

// getJSON decodes the answer to a request.
func getJSON[T any](t *testing.T, s *PageServer, path string) T {
	t.Helper()
	w := get(t, s, path)
	var v T
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%s: status %d: %v: %s", path, w.Code, err, w.Body)
	}
	return v
}
