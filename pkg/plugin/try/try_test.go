package try

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/golden"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
)

var (
	tryTime = time.Date(2026, 11, 28, 12, 0, 2, 0, time.UTC)
)

// adapter is an adapter that answers reviews of jobs_waiting and orders, and knows no other rule.
type adapter struct {
	faults []explainapi.RuleFault
	absent bool // no pod has a value
	asked  []explainapi.RuleReviewSpec
	err    error
}

// Create implements Creator: the review goes over the wire as with a real adapter.
func (a *adapter) Create(_ context.Context, path string, object []byte) ([]byte, error) {
	if path != "/apis/explain.tachometer.dev/v1alpha1/namespaces/shop/rulereviews" {
		return nil, fmt.Errorf("no answer for %s", path)
	}
	var review explainapi.RuleReview
	if err := json.Unmarshal(object, &review); err != nil {
		return nil, err
	}
	a.asked = append(a.asked, review.Spec)
	if a.err != nil {
		return nil, a.err
	}
	source := explainapi.Source{Replica: "tachometer-adapter-1", Time: tryTime}
	switch name := review.Spec.Metric; {
	case len(a.faults) > 0:
		review.Status = explainapi.RuleReviewStatus{Source: source, Faults: a.faults}
	case review.Spec.External && name == "orders":
		review.Status = explainapi.RuleReviewStatus{
			Source: source, Metric: name, External: true, Families: []string{"orders_waiting"},
			Values: []explainapi.ReviewedValue{{Labels: map[string]string{"shop": "north", "queue": "mail"}, Milli: 7000, Time: tryTime.Add(-time.Second)}},
		}
	case name == "" || name == "jobs_waiting":
		review.Status = explainapi.RuleReviewStatus{
			Source: source, Metric: "jobs_waiting", Resource: "pods", Families: []string{"worker_queue_jobs"},
			Omitted: []explainapi.Omission{{Pod: "web-3", Reason: "scrape_failed", Detail: "connection refused"}},
		}
		if a.absent {
			review.Status.Error = "3 pods: 3 scrape failed (connection refused)"
			break
		}
		for i, milli := range []int64{42_500, 37_500} {
			review.Status.Values = append(review.Status.Values, explainapi.ReviewedValue{Object: fmt.Sprint("web-", i+1), Milli: milli, Time: tryTime.Add(-2 * time.Second), WindowSeconds: 10})
		}
	default:
		err := apierrors.NewNotFound(schema.GroupResource{}, "")
		err.ErrStatus.Message = fmt.Sprintf("no rule for metric %q on pods; nearest: jobs_waiting", name)
		return nil, err
	}
	return json.Marshal(review)
}

// Read implements reading.Reader: the metrics APIs serve cpu alone.
func (*adapter) Read(_ context.Context, path string) ([]byte, error) {
	if strings.HasPrefix(path, "/apis/metrics.k8s.io/") {
		return []byte(`{"items":[{"metadata":{"name":"web-1"},"timestamp":"2026-11-28T12:00:00Z","window":"10s","containers":[{"name":"web","usage":{"cpu":"50m"}}]}]}`), nil
	}
	return nil, errors.New("not served")
}

func (a *adapter) options() Options {
	return Options{
		Reviewer: RESTReviewer{a}, Namespace: "shop", File: "rule.yaml", Config: "rules: …",
		Now: func() time.Time { return tryTime },
	}
}

// newTriedShop returns three pods and their autoscaler with metrics.
func newTriedShop(metrics ...autoscalingv2.MetricSpec) (*autoscalingv2.HorizontalPodAutoscaler, *inventory.Inventory) {
	labels := map[string]string{"app": "web"}
	objects := &inventory.Inventory{Workloads: []inventory.Workload{{
		Kind: "Deployment", Namespace: "shop", Name: "web", Selector: &metav1.LabelSelector{MatchLabels: labels},
	}}}
	for i := range 3 {
		objects.Pods = append(objects.Pods, corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprint("web-", i+1), Labels: labels},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Resources: corev1.ResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m")},
			}}}},
			Status: corev1.PodStatus{
				Phase: corev1.PodRunning, StartTime: &metav1.Time{Time: tryTime.Add(-time.Hour)},
				Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Time{Time: tryTime.Add(-time.Hour)}}},
			},
		})
	}
	return &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"},
			MinReplicas:    new(int32(1)), MaxReplicas: 10, Metrics: metrics,
		},
	}, objects
}

func newTriedMetric(name, target string) autoscalingv2.MetricSpec {
	spec := newTriedPodsMetric(name)
	spec.Pods.Target = autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: new(resource.MustParse(target))}
	return spec
}

func checkTriedGolden(t *testing.T, trial *RuleTrial, name string) {
	t.Helper()
	var out bytes.Buffer
	if err := trial.Print(&out, output.TableOptions{}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", name+".golden")
	golden.Compare(t, path, out.String())
}

// TestReview: values, omissions, errors and faults are printed as a person reads them, and what is broken ends with a code of its own.
func TestReview(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		adapter *adapter
		spec    explainapi.RuleReviewSpec
		broken  bool
	}{
		"values":   {&adapter{}, explainapi.RuleReviewSpec{Selector: "app=web"}, false},
		"external": {&adapter{}, explainapi.RuleReviewSpec{Metric: "orders", External: true}, false},
		"error":    {&adapter{absent: true}, explainapi.RuleReviewSpec{}, true},
		"faults": {&adapter{faults: []explainapi.RuleFault{
			{Path: "rules[0].query", Line: 5, Message: "the result has no label pod; aggregate by (namespace, pod)"}, {Path: "rules[0].windw", Line: 6, Message: "unknown key; did you mean window?"},
		}}, explainapi.RuleReviewSpec{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			trial, err := Review(t.Context(), tc.spec, tc.adapter.options())
			if err != nil {
				t.Fatal(err)
			}
			if trial.Broken() != tc.broken {
				t.Errorf("broken %t, want %t", trial.Broken(), tc.broken)
			}
			checkTriedGolden(t, trial, name)
			want := tc.spec
			want.Config = "rules: …"
			if diff := cmp.Diff([]explainapi.RuleReviewSpec{want}, tc.adapter.asked); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
		})
	}
}

// TestReviewFor: an autoscaler's metrics come from the file's rules, others from the metrics APIs, and the HPA's arithmetic decides.
func TestReviewFor(t *testing.T) {
	t.Parallel()
	cpu := autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
		Name: corev1.ResourceCPU, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: new(int32(60))},
	}}
	a := &adapter{}
	autoscaler, objects := newTriedShop(newTriedMetric("jobs_waiting", "10"), cpu)
	trial, err := ReviewFor(t.Context(), autoscaler, objects, reading.MetricReader{Reader: a}, a.options())
	if err != nil {
		t.Fatal(err)
	}
	checkTriedGolden(t, trial, "hpa")
	if m := trial.Explanation.Metrics; m[0].Wish == nil || *m[0].Wish != 8 || m[1].Wish == nil {
		t.Errorf("metrics %+v", m)
	}
	if len(a.asked) != 1 || a.asked[0].Selector != "app=web" || a.asked[0].Resource != "pods" || a.asked[0].Object != "" {
		t.Errorf("asked %+v", a.asked)
	}
	live := *autoscaler
	live.Status.CurrentReplicas, live.Status.Conditions = 3, []autoscalingv2.HorizontalPodAutoscalerCondition{{Type: "AbleToScale", Reason: "ScaleDownStabilized"}}
	objects.HPAs = []autoscalingv2.HorizontalPodAutoscaler{live}
	again, err := ReviewFor(t.Context(), autoscaler, objects, reading.MetricReader{Reader: a}, a.options())
	if err != nil || again.Explanation.Sentence != trial.Explanation.Sentence {
		t.Errorf("beside the deployed autoscaler: %v, %+v", err, again.Explanation)
	}
}

// TestTriedPodsThatStart: a pod that starts has the review's reason, and still says what counts in its place.
func TestTriedPodsThatStart(t *testing.T) {
	t.Parallel()
	a := &adapter{}
	autoscaler, objects := newTriedShop(newTriedMetric("jobs_waiting", "10"))
	objects.Pods[2].Status = corev1.PodStatus{Phase: corev1.PodPending}
	trial, err := ReviewFor(t.Context(), autoscaler, objects, reading.MetricReader{Reader: a}, a.options())
	if err != nil {
		t.Fatal(err)
	}
	got := trial.Explanation.Pods[2].Values[0]
	if got.Note != "scrape failed (connection refused), counts as 0" || got.CountsAs != "0" {
		t.Errorf("%+v", got)
	}
}

// TestReviewForFaults: faults, a metric without a rule, missing rights and an older adapter end with their reason and the way out.
func TestReviewForFaults(t *testing.T) {
	t.Parallel()
	notFound := apierrors.NewGenericServerResponse(http.StatusNotFound, "post", schema.GroupResource{}, "", "", 0, true)
	forbidden := apierrors.NewForbidden(schema.GroupResource{Group: "explain.tachometer.dev", Resource: "rulereviews"}, "", errors.New("no right"))
	for name, tc := range map[string]struct {
		adapter *adapter
		metric  string
		want    string
	}{
		"no rule":       {&adapter{}, "jobs_waitng", "no rule of rule.yaml serves a metric of hpa/web, which names jobs_waitng"},
		"no rights":     {&adapter{err: forbidden}, "jobs_waiting", `rulereviews.explain.tachometer.dev is forbidden: no right; grant it: kubectl -n shop create rolebinding rule-reviewers --clusterrole=tachometer-rule-reviewer --user=NAME`},
		"older adapter": {&adapter{err: notFound}, "jobs_waiting", ErrNotServed.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			autoscaler, objects := newTriedShop(newTriedMetric(tc.metric, "10"))
			_, err := ReviewFor(t.Context(), autoscaler, objects, reading.MetricReader{Reader: tc.adapter}, tc.adapter.options())
			if err == nil || err.Error() != tc.want {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
	a := &adapter{faults: []explainapi.RuleFault{{Line: 1, Message: "bad"}}}
	autoscaler, objects := newTriedShop(newTriedMetric("jobs_waiting", "10"), newTriedMetric("other", "1"))
	trial, err := ReviewFor(t.Context(), autoscaler, objects, reading.MetricReader{Reader: a}, a.options())
	if err != nil || len(trial.Faults) != 1 || trial.Explanation != nil || !trial.Broken() || len(a.asked) != 1 {
		t.Errorf("a faulty file: %v, %+v, asked %d times", err, trial, len(a.asked))
	}
}

// TestTriedPaths: each path that the HPA controller reads becomes the review of its metric.
func TestTriedPaths(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]explainapi.RuleReviewSpec{
		"/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/*/a%2Fb?labelSelector=app%3Dweb&metricLabelSelector=code%3D200": {Resource: "pods", Metric: "a/b", Selector: "app=web", MetricSelector: "code=200"},
		"/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/deployments.apps/web/load":                                           {Resource: "deployments.apps", Object: "web", Metric: "load"},
		"/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/metrics/load":                                                        {Resource: "namespaces", Object: "shop", Metric: "load"},
		"/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/orders?labelSelector=queue%3Dmail":                                 {External: true, Metric: "orders", MetricSelector: "queue=mail"},
		"/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods":                                                                       {},
		"/apis/apps/v1/namespaces/shop/deployments/web/scale":                                                                     {},
	} {
		got, ok := parseReviewPath(path)
		if diff := cmp.Diff(want, got); diff != "" || ok != (want.Metric != "") {
			t.Errorf("%s: %t (-want +got):\n%s", path, ok, diff)
		}
	}
}

func newTriedPodsMetric(name string) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{
		Type: autoscalingv2.PodsMetricSourceType,
		Pods: &autoscalingv2.PodsMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: name}},
	}
}

// TestTriedWindows: an answer has any window. One beyond all reason is shown as such, and a negative one is noted.
func TestTriedWindows(t *testing.T) {
	t.Parallel()
	status := explainapi.RuleReviewStatus{Source: explainapi.Source{Time: tryTime}, Metric: "jobs_waiting"}
	for _, seconds := range []int64{math.MaxInt64, 10_000_000_000, -5} {
		status.Values = append(status.Values, explainapi.ReviewedValue{Object: fmt.Sprint("window:", seconds), Milli: 1000, Time: tryTime, WindowSeconds: seconds})
	}
	var out strings.Builder
	if err := (&RuleTrial{Namespace: "shop"}).printRuleReview(&out, &status, output.TableOptions{}); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); strings.Count(text, "365d or more") != 2 || strings.Count(text, "negative window") != 1 {
		t.Error(text)
	}
}
