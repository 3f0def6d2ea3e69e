package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// newcomersObjects are what a newcomer deploys in a namespace.
type newcomersObjects struct {
	deployment *appsv1.Deployment
	hpa        *autoscalingv2.HorizontalPodAutoscaler
	service    *corev1.Service
	budget     *policyv1.PodDisruptionBudget          // nil: none
	rival      *autoscalingv2.HorizontalPodAutoscaler // nil: none
}

// newNewcomersObjects returns objects that work: the sample, scaled by a counter that moves without requests.
func newNewcomersObjects(t *testing.T) *newcomersObjects {
	t.Helper()
	sample, err := s.Client.AppsV1().Deployments(stack.SampleNamespace).Get(t.Context(), "sample", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{"app": "web"}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: appsv1.DeploymentSpec{
		Replicas: new(int32(1)), Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: *sample.Spec.Template.DeepCopy(),
	}}
	d.Spec.Template.Labels = labels
	d.Spec.Template.Spec.ServiceAccountName, d.Spec.Template.Spec.DeprecatedServiceAccount = "", ""
	d.Spec.Template.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("16Mi")}
	return &newcomersObjects{
		deployment: d,
		service: &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: corev1.ServiceSpec{
			Selector: labels, Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromString("http")}},
		}},
		hpa: &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"},
			MinReplicas:    new(int32(1)), MaxReplicas: 2,
			Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{
				Metric: autoscalingv2.MetricIdentifier{Name: "go_memstats_mallocs_per_second"},
				Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: new(resource.MustParse("1G"))},
			}}},
		}},
	}
}

// create creates the objects in a new namespace.
func (o *newcomersObjects) create(t *testing.T, namespace string) {
	t.Helper()
	ctx := t.Context()
	_, err := s.Client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Client.CoreV1().Namespaces().Delete(context.Background(), namespace, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	hpas := s.Client.AutoscalingV2().HorizontalPodAutoscalers(namespace)
	if o.deployment != nil {
		_, err = s.Client.AppsV1().Deployments(namespace).Create(ctx, o.deployment, metav1.CreateOptions{})
	}
	if err == nil {
		_, err = s.Client.CoreV1().Services(namespace).Create(ctx, o.service, metav1.CreateOptions{})
	}
	if err == nil {
		_, err = hpas.Create(ctx, o.hpa, metav1.CreateOptions{})
	}
	if err == nil && o.rival != nil {
		_, err = hpas.Create(ctx, o.rival, metav1.CreateOptions{})
	}
	if err == nil && o.budget != nil {
		_, err = s.Client.PolicyV1().PodDisruptionBudgets(namespace).Create(ctx, o.budget, metav1.CreateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// newcomersFaults are faults in a newcomer's own objects, and what `kubectl tachometer doctor` says first, and `explain` of the autoscaler.
var newcomersFaults = map[string]struct {
	spoil         func(*newcomersObjects)
	first         string // the line of doctor
	says, explain string
}{
	"none": {func(*newcomersObjects) {}, "Nothing is broken.", "", "go_memstats_mallocs_per_second is "},
	"typo": {
		func(o *newcomersObjects) { o.hpa.Spec.Metrics[0].Pods.Metric.Name = "http_requests_per_secnd" },
		"First broken: metric", "nearest: http_requests_per_second", "nearest: http_requests_per_second",
	},
	"port": {
		func(o *newcomersObjects) {
			o.deployment.Spec.Template.Annotations = map[string]string{"prometheus.io/port": "9999"}
		},
		"First broken: metric", "connection refused", "connection refused",
	},
	"path": {
		func(o *newcomersObjects) {
			o.deployment.Spec.Template.Annotations = map[string]string{"prometheus.io/path": "/metrix"}
		},
		"First broken: metric", "404", "404",
	},
	"port-name": { // no port is named metrics, and there are two
		func(o *newcomersObjects) {
			o.deployment.Spec.Template.Annotations = nil
			c := &o.deployment.Spec.Template.Spec.Containers[0]
			c.Ports = append(c.Ports, corev1.ContainerPort{Name: "metricz", ContainerPort: 9090})
		},
		"First broken: metric", "port", "port",
	},
	"selector": {
		func(o *newcomersObjects) {
			o.service.Spec.Selector = map[string]string{"app": "wep"}
			m := &o.hpa.Spec.Metrics[0]
			m.Type, m.Object = autoscalingv2.ObjectMetricSourceType, &autoscalingv2.ObjectMetricSource{
				DescribedObject: autoscalingv2.CrossVersionObjectReference{APIVersion: "v1", Kind: "Service", Name: "web"},
				Metric:          m.Pods.Metric, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: new(resource.MustParse("1G"))},
			}
			m.Pods = nil
		},
		"First broken: metric", "no pods", "no pods",
	},
	"no-usage-api": { // the request is missing too, but before that nobody serves CPU
		func(o *newcomersObjects) {
			o.deployment.Spec.Template.Spec.Containers[0].Resources = corev1.ResourceRequirements{}
			o.hpa.Spec.Metrics[0] = autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
				Name: corev1.ResourceCPU, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: new(int32(70))},
			}}
		},
		"First broken: metric", "metrics.k8s.io is not served", "metrics.k8s.io is not served",
	},
	"no-workload": {
		func(o *newcomersObjects) { o.hpa.Spec.ScaleTargetRef.Name = "wep" },
		"First broken: target", "Deployment wep does not exist", `deployments.apps "wep" not found`,
	},
	"rival": {
		func(o *newcomersObjects) {
			o.rival = o.hpa.DeepCopy()
			o.rival.Name = "web-too"
		},
		"First broken: rival", "scales Deployment web too", "web-too",
	},
	"budget": {
		func(o *newcomersObjects) {
			o.budget = &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: policyv1.PodDisruptionBudgetSpec{
				MinAvailable: new(intstr.FromInt32(1)), Selector: o.deployment.Spec.Selector,
			}}
		},
		"First warning: budget", "no node can be drained", "",
	},
	"limit": {
		func(o *newcomersObjects) {
			o.hpa.Spec.Metrics[0].Pods.Target.AverageValue = new(resource.MustParse("1"))
		},
		"First warning: condition", "wants more than maxReplicas", "maxReplicas is 2",
	},
}

// TestNewcomer: one command without any choice names the cause of each fault first, and explain of the autoscaler has it too.
func TestNewcomer(t *testing.T) {
	needNode(t)
	if _, err := buildPlugin(); err != nil {
		t.Fatal(err)
	}
	for name, fault := range newcomersFaults {
		objects := newNewcomersObjects(t)
		fault.spoil(objects)
		objects.create(t, "newcomer-"+name)
	}
	for name, fault := range newcomersFaults { // the controller has looked at most of them when the first is judged
		t.Run(name, func(t *testing.T) { //nolint:paralleltest // the machine has few processors
			findsAsNewcomer(t, []string{"doctor", "-n", "newcomer-" + name}, fault.first, fault.says)
			findsAsNewcomer(t, []string{"explain", "hpa/web", "-n", "newcomer-" + name}, "", fault.explain)
		})
	}
}

// findsAsNewcomer waits until a command of the plugin prints a line that begins with the first text and has the second.
func findsAsNewcomer(t *testing.T, args []string, first, says string) {
	t.Helper()
	out := ""
	err := stack.Wait(t.Context(), time.Minute, func(ctx context.Context) error {
		out, _ = runPluginQuietly(ctx, t, args...)
		for _, line := range strings.Split(out, "\n") {
			if strings.Contains(line, first) && strings.Contains(line, says) {
				return nil
			}
		}
		return fmt.Errorf("no line with %q and %q", first, says)
	})
	t.Logf("$ kubectl tachometer %s\n%s", strings.Join(args, " "), out)
	if err != nil {
		t.Error(err)
	}
}
