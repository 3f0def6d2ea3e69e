package e2e

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	custom "k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	external "k8s.io/metrics/pkg/apis/external_metrics/v1beta1"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// The e2e configuration's metric with a fixed window, and the window.
const (
	fixed       = "fixed_window_requests"
	fixedWindow = 20 * time.Second
)

// value is an item of a response, in any version of either API.
type value struct {
	Name     string
	Value    float64
	Window   time.Duration
	Stamp    time.Time
	Selector *metav1.LabelSelector
}

// answer reads a path and parses the response by its API version.
func answer(ctx context.Context, path string) ([]value, error) {
	data, err := s.Get(ctx, path)
	if err != nil {
		return nil, err
	}
	if strings.Contains(path, "external.metrics") {
		return externalValues(data)
	}
	// v1beta1 has the same items, with different names for the metric and the window.
	var list struct {
		Items []struct {
			custom.MetricValue
			MetricName string `json:"metricName"`
			Window     *int64 `json:"window"`
		}
	}
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("parse the answer of %s: %w", path, err)
	}
	var values []value
	for _, item := range list.Items {
		v := value{Name: item.DescribedObject.Name, Value: item.Value.AsApproximateFloat64(), Stamp: item.Timestamp.Time}
		if w := cmp.Or(item.WindowSeconds, item.Window); w != nil {
			v.Window = time.Duration(*w) * time.Second
		}
		if item.MetricName == "" && item.Metric.Name == "" {
			return nil, fmt.Errorf("no metric name in the answer of %s", path)
		}
		values = append(values, v)
	}
	return values, nil
}

func externalValues(data []byte) ([]value, error) {
	var list external.ExternalMetricValueList
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("parse an external answer: %w", err)
	}
	var values []value
	for _, item := range list.Items {
		v := value{Value: item.Value.AsApproximateFloat64(), Stamp: item.Timestamp.Time}
		if item.WindowSeconds != nil {
			v.Window = time.Duration(*item.WindowSeconds) * time.Second
		}
		values = append(values, v)
	}
	return values, nil
}

// TestReads reads every kind of object in every version of the API under a known, steady load: the values agree with the sent load
// within 5 %.
func TestReads(t *testing.T) {
	needNode(t)
	const rate = low
	send(t, rate)
	ctx := t.Context()
	if err := stack.Wait(ctx, 90*time.Second, func(ctx context.Context) error { return steady(ctx, 2) }); err != nil {
		t.Fatal(err)
	}
	const namespaced = "/namespaces/" + stack.SampleNamespace
	selector := "?labelSelector=app.kubernetes.io%2Fname%3Dsample"
	pods, err := s.ReadyPods(ctx)
	if err != nil {
		t.Fatal(err)
	}
	each := float64(rate) / float64(len(pods))
	type read struct {
		name, path string
		items      int
		want       float64
	}
	var reads []read
	for _, version := range []string{"v1beta1", "v1beta2"} {
		root := "/apis/custom.metrics.k8s.io/" + version
		reads = append(reads,
			read{version + " pods", root + namespaced + "/pods/*/" + fixed, len(pods), each},
			read{version + " pods by label", root + namespaced + "/pods/*/" + fixed + selector, len(pods), each},
			read{version + " one pod", root + namespaced + "/pods/" + pods[0].Name + "/" + fixed, 1, each},
			read{version + " by metric label", root + namespaced + "/pods/*/" + fixed + selector + "&metricLabelSelector=code%3D200%2Cmethod+in+%28GET%2CPOST%29", len(pods), each},
			read{version + " service", root + namespaced + "/services/sample/" + fixed, 1, rate},
			read{version + " deployment", root + namespaced + "/deployments.apps/sample/" + fixed, 1, rate},
			read{version + " namespace", root + namespaced + "/metrics/" + fixed, 1, rate},
		)
	}
	reads = append(reads,
		read{"external", "/apis/external.metrics.k8s.io/v1beta1" + namespaced + "/all_requests", 1, rate},
		read{"external by label", "/apis/external.metrics.k8s.io/v1beta1" + namespaced + "/all_requests?labelSelector=code%3D200", 1, rate})
	for _, r := range reads {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel() // each waits until its window is full
			err := stack.Wait(ctx, 60*time.Second, func(ctx context.Context) error { return agrees(ctx, r.path, r.items, r.want) })
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// agrees returns an error unless a response over a full window agrees with the offered load within 5 %.
func agrees(ctx context.Context, path string, items int, want float64) error {
	values, err := answer(ctx, path)
	if err != nil {
		return err
	}
	if len(values) != items {
		return fmt.Errorf("%s: %d items, want %d", path, len(values), items)
	}
	for _, v := range values {
		if v.Window != fixedWindow {
			return fmt.Errorf("%s: a window of %v so far, want %v", path, v.Window, fixedWindow)
		}
		if v.Value < want*0.95 || v.Value > want*1.05 {
			return fmt.Errorf("%s: %s is %.2f, want %.2f within 5 %%", path, v.Name, v.Value, want)
		}
		if age := time.Since(v.Stamp); age > 10*time.Second || age < -time.Second {
			return fmt.Errorf("%s: %s is %v old", path, v.Name, age)
		}
	}
	return nil
}

// TestRejections sends unanswerable requests: the status and the message give the reason.
func TestRejections(t *testing.T) {
	needNode(t)
	const namespaced = stack.CustomMetrics + "/namespaces/" + stack.SampleNamespace
	for name, tc := range map[string]struct {
		path string
		code int32
		want []string
	}{
		"no such rule":        {namespaced + "/pods/*/fixed_window_request", http.StatusNotFound, []string{"fixed_window_request", "nearest", fixed}},
		"no pod selected":     {namespaced + "/pods/*/" + fixed + "?labelSelector=app%3Dnone", http.StatusNotFound, []string{"app=none", stack.SampleNamespace}},
		"no such pod":         {namespaced + "/pods/nobody/" + fixed, http.StatusNotFound, []string{"nobody"}},
		"no such deployment":  {namespaced + "/deployments.apps/nobody/" + fixed, http.StatusNotFound, []string{"nobody"}},
		"a family never seen": {namespaced + "/pods/*/never_seen_per_second", http.StatusServiceUnavailable, []string{"2 pods"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := s.Get(t.Context(), tc.path)
			var status apierrors.APIStatus
			if !asStatus(err, &status) {
				t.Fatalf("got %v, want a status", err)
			}
			if got := status.Status().Code; got != tc.code {
				t.Errorf("status %d, want %d: %s", got, tc.code, status.Status().Message)
			}
			shown, err := s.Kubectl(t.Context(), "get", "--raw", tc.path)
			if err == nil {
				t.Errorf("kubectl get --raw succeeds: %s", shown)
			}
			for _, want := range tc.want {
				if !strings.Contains(shown, want) {
					t.Errorf("kubectl shows %q, which lacks %q", shown, want)
				}
			}
		})
	}
}

// reviewedConfig has a rule that is not deployed, on a family that the sample exposes.
const reviewedConfig = `apiVersion: config.tachometer.dev/v1alpha1
kind: AdapterConfig
rules:
- metric: reviewed_requests
  query: sum by (namespace, pod) (rate(http_requests_total[$window]))
`

// TestRuleReview: kube-apiserver passes a review on, and the adapter answers with a value of each pod, or with the fault and its line.
func TestRuleReview(t *testing.T) {
	needNode(t)
	pods, err := s.ReadyPods(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = stack.Wait(t.Context(), 60*time.Second, func(ctx context.Context) error {
		status, err := reviewRule(ctx, reviewedConfig)
		if err == nil && (status.Error != "" || len(status.Values) != len(pods) || status.Metric != "reviewed_requests") {
			err = fmt.Errorf("status %+v, want a value of each of %d pods", status, len(pods))
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	err = stack.Wait(t.Context(), 60*time.Second, func(ctx context.Context) error { // while the rate of reviews is used up
		status, err := reviewRule(ctx, reviewedConfig+"  windw: 5s\n")
		if err == nil && (len(status.Faults) != 1 || status.Faults[0].Line != 6 || len(status.Values) > 0) {
			err = fmt.Errorf("status %+v, want a fault in line 6", status)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// reviewRule creates a review of the sample's pods, and returns its status.
func reviewRule(ctx context.Context, text string) (status explainapi.RuleReviewStatus, err error) {
	review := explainapi.RuleReview{Spec: explainapi.RuleReviewSpec{Config: text, Selector: "app.kubernetes.io/name=sample"}}
	review.APIVersion, review.Kind = explainapi.GroupVersion.String(), "RuleReview"
	body, err := json.Marshal(review)
	if err != nil {
		return status, err
	}
	path := "/apis/" + explainapi.GroupVersion.String() + "/namespaces/" + stack.SampleNamespace + "/" + explainapi.RuleReviews
	data, err := s.Client.Discovery().RESTClient().Post().AbsPath(path).SetHeader("Content-Type", "application/json").Body(body).DoRaw(ctx)
	if err != nil {
		return status, err
	}
	err = json.Unmarshal(data, &review)
	return review.Status, err
}

// TestForbidden reads as a user without the right.
func TestForbidden(t *testing.T) {
	needNode(t)
	kubeconfig, err := s.Cluster.AddUser("nobody", "nobodies")
	if err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		stack.PodsMetric(fixed),
		"/apis/external.metrics.k8s.io/v1beta1/namespaces/" + stack.SampleNamespace + "/all_requests",
	} {
		_, err := client.Discovery().RESTClient().Get().RequestURI(path).DoRaw(t.Context())
		if !apierrors.IsForbidden(err) {
			t.Errorf("%s as nobody: %v, want 403", path, err)
		}
	}
}

// TestAPIServices checks the registration of the aggregated APIs.
func TestAPIServices(t *testing.T) {
	needNode(t)
	out, err := s.Kubectl(t.Context(), "get", "apiservices", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Items []struct {
			Metadata struct{ Name string }
			Spec     struct {
				CABundle              []byte
				InsecureSkipTLSVerify bool
			}
			Status struct {
				Conditions []struct{ Type, Status, Message string }
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, item := range list.Items {
		if !strings.Contains(item.Metadata.Name, "custom.metrics") && !strings.Contains(item.Metadata.Name, "external.metrics") {
			continue
		}
		found++
		if len(item.Spec.CABundle) == 0 || item.Spec.InsecureSkipTLSVerify {
			t.Errorf("%s: caBundle of %d bytes, insecureSkipTLSVerify %v", item.Metadata.Name, len(item.Spec.CABundle), item.Spec.InsecureSkipTLSVerify)
		}
		for _, c := range item.Status.Conditions {
			if c.Type == "Available" && c.Status != "True" {
				t.Errorf("%s is not available: %s", item.Metadata.Name, c.Message)
			}
		}
	}
	if found != 3 {
		t.Errorf("%d APIServices, want 3", found)
	}
}
