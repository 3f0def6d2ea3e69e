package e2e

import (
	"context"
	"testing"

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

// annotatePods sets an annotation of the pods.
func (o *newcomersObjects) annotatePods(name, value string) {
	o.deployment.Spec.Template.Annotations = map[string]string{name: value}
}

// scaleByCPUWithoutRequest scales the pods by their share of a request that they do not have.
func (o *newcomersObjects) scaleByCPUWithoutRequest() {
	o.deployment.Spec.Template.Spec.Containers[0].Resources = corev1.ResourceRequirements{}
	o.hpa.Spec.Metrics[0] = autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
		Name: corev1.ResourceCPU, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: new(int32(70))},
	}}
}

// removeProbes lets the pods be ready whatever their process does.
func (o *newcomersObjects) removeProbes() {
	c := &o.deployment.Spec.Template.Spec.Containers[0]
	c.StartupProbe, c.ReadinessProbe, c.LivenessProbe = nil, nil, nil
}
