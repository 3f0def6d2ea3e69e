package doctor

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/tachometer-metrics/tachometer/pkg/podpage"
)

// setBehavior gives the world's autoscaler one rule for both directions.
func (w *world) setBehavior(rules autoscalingv2.HPAScalingRules) {
	w.hpa.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: &rules, ScaleDown: &rules}
}

// setAverage sets the target of the world's autoscaler; its pods have 49 each.
func (w *world) setAverage(amount string) {
	w.hpa.Spec.Metrics[0].Pods.Target.AverageValue = new(resource.MustParse(amount))
}

// annotatePods annotates the pods of the target, and lets the adapter answer with a cause.
func (w *world) annotatePods(name, value, message string, cause metav1.CauseType) {
	w.deployment.Spec.Template.Annotations = map[string]string{name: value}
	w.answers[podsMetricPath] = newAdapterStatus(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, message, cause)
}

// setAdapterTrouble lets no pod of the adapter be ready.
func (w *world) setAdapterTrouble(statuses ...corev1.ContainerStatus) {
	for _, p := range w.adapterPods {
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse, Message: "containers with unready status: [adapter]"}}
		p.Status.ContainerStatuses = statuses
	}
}

// denyEgress is a policy that keeps the adapter's pods in, but for a rule.
func denyEgress(rules ...networkingv1.NetworkPolicyEgressRule) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "tachometer", Name: "default-deny"},
		Spec:       networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}, Egress: rules},
	}
}

// setUsageAPI is the APIService of CPU and memory, which kube-apiserver does not reach.
func (w *world) setUsageAPI(reason, message string) {
	w.setCPUMetric()
	w.answers["/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods"] = newAdapterStatus(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable,
		"the server is currently unable to handle the request (get pods.metrics.k8s.io)")
	w.answers["/apis/apiregistration.k8s.io/v1/apiservices/"+usageAPIService] = &apiregistration.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: usageAPIService},
		Spec:       apiregistration.APIServiceSpec{Service: &apiregistration.ServiceReference{Namespace: "kube-system", Name: "metrics-server"}},
		Status: apiregistration.APIServiceStatus{Conditions: []apiregistration.APIServiceCondition{
			{Type: apiregistration.Available, Status: apiregistration.ConditionFalse, Reason: reason, Message: message},
		}},
	}
}

// TestQuietBreakages: an autoscaler that stands still without an error has its cause named, with the command that changes it.
func TestQuietBreakages(t *testing.T) {
	t.Parallel()
	disabled := autoscalingv2.HPAScalingRules{SelectPolicy: new(autoscalingv2.DisabledPolicySelect)}
	for name, tc := range map[string]struct {
		spoil func(t *testing.T, w *world)
		want  Check // Message is a part of it
	}{
		"no way up": {
			func(_ *testing.T, w *world) { w.setBehavior(disabled); w.setAverage("10") },
			Check{"behavior", "shop/web", StatusWarning, "it has 2 pods and its metrics ask for 10, but scaleUp is disabled (selectPolicy)",
				`kubectl -n shop patch hpa web --type=json -p '[{"op":"remove","path":"/spec/behavior/scaleUp/selectPolicy"}]'`},
		},
		"no way down": {
			func(_ *testing.T, w *world) {
				w.setBehavior(disabled)
				w.setAverage("500")
				w.hpa.Spec.MinReplicas = new(int32(1))
				w.budget.Spec.MinAvailable = new(intstr.FromInt32(0))
			},
			Check{"behavior", "shop/web", StatusWarning, "it has 2 pods and its metrics ask for 1, but scaleDown is disabled (selectPolicy)",
				`kubectl -n shop patch hpa web --type=json -p '[{"op":"remove","path":"/spec/behavior/scaleDown/selectPolicy"}]'`},
		},
		"no room": {
			func(_ *testing.T, w *world) { w.hpa.Spec.MaxReplicas = 2 },
			Check{"behavior", "shop/web", StatusWarning, "minReplicas and maxReplicas are both 2: it can change nothing",
				`kubectl -n shop patch hpa web --type=merge -p '{"spec":{"maxReplicas":4}}'`},
		},
		"a tolerance of a half": {
			func(_ *testing.T, w *world) {
				w.setBehavior(autoscalingv2.HPAScalingRules{Tolerance: new(resource.MustParse("500m"))})
				w.setAverage("35")
			},
			Check{"behavior", "shop/web", StatusWarning, "request_per_second of pods: 1.4 times its target, and within the scaleUp tolerance of 0.5",
				`kubectl -n shop patch hpa web --type=json -p '[{"op":"remove","path":"/spec/behavior/scaleUp/tolerance"}]'`},
		},
		"an hour before each scale-up": {
			func(_ *testing.T, w *world) {
				w.setBehavior(autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: new(int32(3600))})
				w.hpa.Status.Conditions[0].Reason = "ScaleUpStabilized"
			},
			Check{"condition", "shop/web", StatusWarning, "an earlier, lower wish within the stabilization window holds the number down",
				`kubectl -n shop patch hpa web --type=json -p '[{"op":"remove","path":"/spec/behavior/scaleUp/stabilizationWindowSeconds"}]'`},
		},
		"a paused Deployment": {
			func(_ *testing.T, w *world) { w.deployment.Spec.Paused = true },
			Check{"pods", "shop/web", StatusWarning, "deployment/web is paused: changes of its template reach no pod", "kubectl -n shop rollout resume deployment/web"},
		},
		"the controller has stopped": {
			func(t *testing.T, w *world) { w.silence = 5 * time.Minute; w.setRecord(t, 15*time.Second, worldTime) },
			Check{"controller", "shop/web", StatusFail, "the HPA controller has read nothing since 2026-11-28T11:54:45Z: kube-controller-manager does not run, has no leader, has a token that kube-apiserver rejects (401), or is far behind",
				"kubectl -n kube-system get lease kube-controller-manager -o yaml"},
		},
		"a word that is not true": {
			func(_ *testing.T, w *world) {
				w.annotatePods(podpage.AnnotationScrape, "True", `2 pods: 2 not scraped (annotation prometheus.io/scrape is "True", neither "true" nor "false")`, causeNotScraped)
			},
			Check{"metric", "shop/web", StatusFail, `annotation prometheus.io/scrape is "True"`,
				`kubectl -n shop patch deployment/web -p '{"spec":{"template":{"metadata":{"annotations":{"prometheus.io/scrape":null}}}}}'`},
		},
		"a port by its name, and no server behind it": { // the annotation is right
			func(_ *testing.T, w *world) {
				w.annotatePods(podpage.AnnotationPort, "http", "2 pods: 2 scrape failed (connection refused)", causeScrapeFailed)
			},
			Check{"metric", "shop/web", StatusFail, "connection refused", "kubectl get --raw /api/v1/namespaces/shop/pods/web-1:8080/proxy/metrics"},
		},
		"a port by a name that is mistyped": {
			func(_ *testing.T, w *world) {
				w.annotatePods(podpage.AnnotationPort, "htp", "2 pods: 2 not scraped (…)", causeNotScraped)
			},
			Check{"metric", "shop/web", StatusFail, "2 not scraped",
				`kubectl -n shop patch deployment/web -p '{"spec":{"template":{"metadata":{"annotations":{"prometheus.io/port":"8080"}}}}}'`},
		},
		"two ports, and none is named metrics": { // the first is a guess; the message names both
			func(_ *testing.T, w *world) {
				c := &w.deployment.Spec.Template.Spec.Containers[0]
				c.Ports = []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}, {Name: "metricz", ContainerPort: 9090}}
				w.answers[podsMetricPath] = newAdapterStatus(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable,
					"2 pods: 2 not scraped (several ports are declared (8080, 9090), none named metrics or http-metrics: annotate prometheus.io/port)", causeNotScraped)
			},
			Check{"metric", "shop/web", StatusFail, "several ports are declared (8080, 9090)",
				`kubectl -n shop patch deployment/web -p '{"spec":{"template":{"metadata":{"annotations":{"prometheus.io/port":"8080"}}}}}'`},
		},
		"a Service with a selector that is mistyped": {
			func(_ *testing.T, w *world) {
				w.hpa.Spec.Metrics[0] = autoscalingv2.MetricSpec{Type: autoscalingv2.ObjectMetricSourceType, Object: &autoscalingv2.ObjectMetricSource{
					DescribedObject: autoscalingv2.CrossVersionObjectReference{APIVersion: "v1", Kind: "Service", Name: "web"},
					Metric:          autoscalingv2.MetricIdentifier{Name: "request_per_second"},
					Target:          autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: new(resource.MustParse("50"))},
				}}
				w.answers["/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/services/web/request_per_second"] = newAdapterStatus(
					http.StatusNotFound, metav1.StatusReasonNotFound, `services "shop/web" has no pods`, "")
			},
			Check{"metric", "shop/web", StatusFail, `services "shop/web" has no pods`, "kubectl -n shop describe service web"},
		},
		"a page behind a password": {
			func(_ *testing.T, w *world) {
				w.answers[podsMetricPath] = newAdapterStatus(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable,
					"2 pods: 2 scrape failed (HTTP 401: the page wants credentials, and the adapter sends none)", causeScrapeFailed)
			},
			Check{"metric", "shop/web", StatusFail, "the page wants credentials", "kubectl get --raw /api/v1/namespaces/shop/pods/web-1:8080/proxy/metrics"},
		},
		"a selector that is mistyped": {
			func(_ *testing.T, w *world) {
				w.hpa.Spec.Metrics[0].Pods.Metric.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"code": "5OO"}}
				w.answers[podsMetricPath] = newAdapterStatus(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, "2 pods: 2 absent (…)", causeAbsent)
			},
			Check{"metric", "shop/web", StatusFail, "request_per_second{code=5OO} of pods: 2 pods: 2 absent", "kubectl get --raw /api/v1/namespaces/shop/pods/web-1:8080/proxy/metrics"},
		},
		"pods of another program behind the Service": {
			func(_ *testing.T, w *world) {
				other := newReadyPod("tachometer", "tachometer-adapter-0", w.adapterPods[0].Labels)
				other.Spec.Containers = []corev1.Container{{Name: "other", Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: 80}}}}
				w.more = append(w.more, other)
			},
			Check{"pods", "tachometer/tachometer-adapter-0", StatusWarning, "it has the labels of the Service and no port https: it belongs to another program",
				"kubectl -n tachometer get pod tachometer-adapter-0 --show-labels"},
		},
		"a default deny around the adapter": {
			func(_ *testing.T, w *world) {
				w.setAdapterTrouble()
				w.setUnavailable()
				w.more = append(w.more, denyEgress(), newServerEndpoints())
			},
			Check{"network", "tachometer/tachometer-adapter", StatusFail, "networkpolicy/default-deny does not let the adapter out to kube-apiserver (172.18.0.2), port 8443",
				`kubectl -n tachometer patch networkpolicy default-deny --type=json -p '[{"op":"add","path":"/spec/egress","value":[]},{"op":"add","path":"/spec/egress/-","value":{"ports":[{"port":8443}]}}]'`},
		},
		"the adapter goes out to DNS alone": {
			func(_ *testing.T, w *world) {
				w.setAdapterTrouble()
				udp := corev1.ProtocolUDP
				w.more = append(w.more, denyEgress(networkingv1.NetworkPolicyEgressRule{Ports: []networkingv1.NetworkPolicyPort{{Protocol: &udp, Port: new(intstr.FromInt32(53))}}}))
			},
			Check{"network", "tachometer/tachometer-adapter", StatusFail, "networkpolicy/default-deny does not let the adapter out to kube-apiserver, port 6443",
				`kubectl -n tachometer patch networkpolicy default-deny --type=json -p '[{"op":"add","path":"/spec/egress/-","value":{"ports":[{"port":6443}]}}]'`},
		},
		"an adapter with too little memory, between two starts": {
			func(_ *testing.T, w *world) {
				w.setAdapterTrouble(corev1.ContainerStatus{Name: "adapter", RestartCount: 4, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
					LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "OOMKilled", ExitCode: 137}}})
			},
			Check{"pods", "tachometer/tachometer-adapter-1", StatusFail, "not ready: container adapter ended with OOMKilled, exit code 137 after 4 restarts",
				"kubectl -n tachometer logs tachometer-adapter-1 -c adapter --previous --tail=50"},
		},
		"metrics-server does not trust the kubelet": {
			func(_ *testing.T, w *world) {
				w.setUsageAPI("MissingEndpoints", `endpoints for service/metrics-server in "kube-system" have no addresses with port name "https"`)
			},
			Check{"available", usageAPIService, StatusFail, "MissingEndpoints: endpoints for service/metrics-server", "kubectl -n kube-system logs service/metrics-server --tail=50"},
		},
		"a pod without CPU": { // its page has none
			func(_ *testing.T, w *world) {
				w.setCPUMetric()
				for i := range w.deployment.Spec.Template.Spec.Containers {
					w.deployment.Spec.Template.Spec.Containers[i].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m")}
				}
			},
			Check{"metric", "shop/web", StatusWarning, "1 of 2 pods without a value", "kubectl get --raw '/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods?labelSelector=app%3Dweb'"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tc.spoil(t, w)
			w.checkFirst(w.run("web"), tc.want)
		})
	}
}

// newServerEndpoints are the endpoints of kube-apiserver.
func newServerEndpoints() *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "kubernetes", Labels: map[string]string{discoveryv1.LabelServiceName: "kubernetes"}},
		Endpoints:  []discoveryv1.Endpoint{{Addresses: []string{"172.18.0.2"}}}, Ports: []discoveryv1.EndpointPort{{Port: new(int32(8443))}},
	}
}

// TestQuietAndSound: what looks like a breakage of this kind and is none.
func TestQuietAndSound(t *testing.T) {
	t.Parallel()
	disabled := autoscalingv2.HPAScalingRules{SelectPolicy: new(autoscalingv2.DisabledPolicySelect)}
	wantSound(t, map[string]func(t *testing.T, w *world){
		"no way up or down, and no need": func(_ *testing.T, w *world) { w.setBehavior(disabled) },
		"no way down at the minimum":     func(_ *testing.T, w *world) { w.setBehavior(disabled); w.setAverage("500") },
		"a tolerance of a half, unused": func(_ *testing.T, w *world) {
			w.setBehavior(autoscalingv2.HPAScalingRules{Tolerance: new(resource.MustParse("500m"))})
		},
		"a deny around an adapter that is ready": func(_ *testing.T, w *world) { w.more = append(w.more, denyEgress(), newServerEndpoints()) },
		"a hold up to the maximum": func(_ *testing.T, w *world) {
			w.hpa.Spec.MaxReplicas = 2
			w.hpa.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "kubectl"}, {Manager: "tachometer-scaler"}}
		},
		"the word true with spaces": func(_ *testing.T, w *world) {
			w.deployment.Spec.Template.Annotations = map[string]string{podpage.AnnotationScrape: " true "}
		},
		"a controller that looked two minutes ago": func(t *testing.T, w *world) {
			w.silence = 2 * time.Minute
			w.setRecord(t, 15*time.Second, worldTime)
		},
		"an adapter that was restarted once, and is ready": func(_ *testing.T, w *world) {
			w.adapterPods[0].Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "adapter", Ready: true, RestartCount: 1,
				LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Error", ExitCode: 1}}}}
		},
	})
}

// TestManyAutoscalers: the metrics of many autoscalers are read at a time, and the checks keep their order.
func TestManyAutoscalers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var want []string
	for i := range 600 {
		other := w.hpa.DeepCopy()
		other.Name = fmt.Sprintf("web-%03d", i)
		other.Spec.ScaleTargetRef.Name = "gone"
		w.more = append(w.more, other)
		want = append(want, "shop/"+other.Name)
	}
	var got []string
	for _, c := range w.run("").Checks {
		if c.Name == "target" && strings.Contains(c.Message, "gone does not exist") {
			got = append(got, c.Subject)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d targets that do not exist, want %d in order", len(got), len(want))
	}
}
