package doctor

import (
	"net/http"
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
)

// setInactive lets the HPA controller say that it cannot scale.
func (w *world) setInactive(reason, message string) {
	w.hpa.Status.Conditions[1] = autoscalingv2.HorizontalPodAutoscalerCondition{
		Type: autoscalingv2.ScalingActive, Status: corev1.ConditionFalse, Reason: reason, Message: message,
	}
}

// denyController lets kube-apiserver deny the controller's read, which it makes as a user.
func (w *world) denyController(user string) {
	w.setInactive("FailedGetPodsMetric", `unable to fetch metrics from custom metrics API: pods.custom.metrics.k8s.io "*" is forbidden: User "`+user+
		`" cannot get resource "pods/request_per_second" in API group "custom.metrics.k8s.io" in the namespace "shop"`)
}

// setContainerMetric makes the world's autoscaler one of the CPU of a container. The pods have a container web.
func (w *world) setContainerMetric(container string) {
	w.hpa.Spec.Metrics = []autoscalingv2.MetricSpec{{Type: autoscalingv2.ContainerResourceMetricSourceType, ContainerResource: &autoscalingv2.ContainerResourceMetricSource{
		Name: corev1.ResourceCPU, Container: container,
		Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: new(int32(60))},
	}}}
	usage := map[string]any{"name": "web", "usage": map[string]string{"cpu": "10m"}}
	pod := map[string]any{"metadata": map[string]string{"name": "web-1"}, "timestamp": worldTime, "window": "10s", "containers": []any{usage}}
	w.answers["/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods"] = map[string]any{"items": []any{pod}}
}

// TestRareBreakages: each is found, and its command is the one that mends it.
func TestRareBreakages(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		spoil func(w *world)
		want  Check // Message is a part of it
	}{
		"the controller reads as another user": {
			func(w *world) { w.denyController("system:kube-controller-manager") },
			Check{
				"condition", "shop/web", StatusFail, "a metric of pods could not be read",
				"kubectl create clusterrolebinding hpa-metrics --clusterrole=tachometer-metrics-reader --user=system:kube-controller-manager",
			},
		},
		"the controller has a renamed ServiceAccount": {
			func(w *world) { w.denyController("system:serviceaccount:kube-system:hpa-v2") },
			Check{
				"condition", "shop/web", StatusFail, "a metric of pods could not be read",
				"kubectl create clusterrolebinding hpa-metrics --clusterrole=tachometer-metrics-reader --serviceaccount=kube-system:hpa-v2",
			},
		},
		"the controller may not read CPU": { // a binding of its own: kubectl create rejects a second one of a name
			func(w *world) {
				w.setInactive("FailedGetResourceMetric", `unable to get metrics for resource cpu: pods.metrics.k8s.io is forbidden: `+
					`User "system:kube-controller-manager" cannot list resource "pods" in API group "metrics.k8s.io" in the namespace "shop"`)
			},
			Check{
				"condition", "shop/web", StatusFail, "CPU or memory could not be read",
				"kubectl create clusterrolebinding hpa-resource-metrics --clusterrole=system:aggregated-metrics-reader --user=system:kube-controller-manager",
			},
		},
		"a metric is named so that its error gives a tenant rights": {
			func(w *world) { w.denyController("system:serviceaccount:shop:mallory") },
			Check{"condition", "shop/web", StatusFail, "a metric of pods could not be read", "kubectl -n shop describe hpa web"},
		},
		"pods of two autoscalers": {
			func(w *world) {
				w.setInactive("AmbiguousSelector", "pods by selector app=web are controlled by multiple HPAs: [shop/web shop/api]")
			},
			Check{"condition", "shop/web", StatusFail, "the pods belong to more than one autoscaler", "kubectl -n shop describe hpa web"},
		},
		"a target without its API group": {
			func(w *world) { w.hpa.Spec.ScaleTargetRef.APIVersion = "extensions/v1beta1" },
			Check{
				"target", "shop/web", StatusFail, `the apiVersion of its target is "extensions/v1beta1", and Deployment is in apps/v1`,
				`kubectl -n shop patch hpa web --type=merge -p '{"spec":{"scaleTargetRef":{"apiVersion":"apps/v1"}}}'`,
			},
		},
		"switched off, and its minimum is 0": {
			func(w *world) {
				w.hpa.Spec.MinReplicas = new(int32(0))
				w.setInactive("ScalingDisabled", "scaling is disabled since the replica count of the target is zero")
			},
			Check{"condition", "shop/web", StatusWarning, "switches the autoscaler off", "kubectl -n shop scale deployment/web --replicas=1"},
		},
		"switched off, and its target is of a kind that cannot be read": {
			func(w *world) {
				w.hpa.Spec.ScaleTargetRef = autoscalingv2.CrossVersionObjectReference{APIVersion: "argoproj.io/v1alpha1", Kind: "Rollout", Name: "web"}
				w.answers["/apis/argoproj.io/v1alpha1/namespaces/shop/rollouts/web/scale"] = newAdapterStatus(http.StatusForbidden, metav1.StatusReasonForbidden, "forbidden")
				w.setInactive("ScalingDisabled", "scaling is disabled since the replica count of the target is zero")
			},
			Check{"condition", "shop/web", StatusWarning, "switches the autoscaler off", "kubectl -n shop scale rollout/web --replicas=2"},
		},
		"nobody serves CPU": {
			func(w *world) {
				w.setContainerMetric("web")
				delete(w.answers, "/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods")
			},
			Check{"metric", "shop/web", StatusFail, "the server could not find the requested resource", "kubectl get apiservice v1beta1.metrics.k8s.io"},
		},
		"a container that no pod has": {
			func(w *world) { w.setContainerMetric("app") },
			Check{
				"metric", "shop/web", StatusFail, "cpu of container app: no pod reports this container; deployment/web has web",
				`kubectl -n shop patch hpa web --type=json -p '[{"op":"replace","path":"/spec/metrics/0/containerResource/container","value":"web"}]'`,
			},
		},
		"a selector that is invalid": {
			func(w *world) {
				w.hpa.Spec.Metrics[0].Pods.Metric.Selector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "code", Operator: "Equals", Values: []string{"500"}}}}
			},
			Check{"metric", "shop/web", StatusFail, "request_per_second{invalid selector} of pods: the selector of the metric is invalid", "kubectl -n shop edit hpa web"},
		},
		"a container that one of the pods does not report": {
			func(w *world) {
				w.setContainerMetric("web")
				w.hpa.Spec.Metrics[0].ContainerResource.Target = autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: new(resource.MustParse("50m"))}
			},
			Check{
				"metric", "shop/web", StatusWarning, "cpu of container web: 1 value, the oldest is 0s old; 1 of 2 pods without a value",
				"kubectl get --raw '/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods?labelSelector=app%3Dweb'",
			},
		},
		"a Service without a selector": {
			func(w *world) { w.service.Spec.Selector, w.adapterPods = nil, nil },
			Check{"endpoints", "tachometer/tachometer-adapter", StatusFail, "it has no address, and the Service no selector", applyAdapterCommand},
		},
		"a Service without a selector, and its address is not ready": {
			func(w *world) {
				w.service.Spec.Selector, w.adapterPods = nil, nil
				w.more = append(w.more, &discoveryv1.EndpointSlice{
					ObjectMeta: metav1.ObjectMeta{
						Namespace: "tachometer", Name: "by-hand", Labels: map[string]string{discoveryv1.LabelServiceName: "tachometer-adapter"},
					},
					Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.0.0.9"}, Conditions: discoveryv1.EndpointConditions{Ready: new(false)}}},
				})
			},
			Check{
				"endpoints", "tachometer/tachometer-adapter", StatusFail, "none of 1 addresses is ready",
				"kubectl -n tachometer get endpointslices -l kubernetes.io/service-name=tachometer-adapter -o yaml",
			},
		},
		"in from addresses that are not kube-apiserver's": {
			func(w *world) { w.admitBlock("10.244.0.0/16", false) },
			Check{
				"network", "tachometer/tachometer-adapter", StatusFail, "networkpolicy/narrow does not admit kube-apiserver (172.18.0.2) to port 6443",
				`kubectl -n tachometer patch networkpolicy narrow --type=json -p '[{"op":"add","path":"/spec/ingress/-","value":{"ports":[{"port":6443}]}}]'`,
			},
		},
		"in from a block to another port, and kube-apiserver's address cannot be read": {
			func(w *world) {
				w.admitBlock("172.18.0.0/16", false)
				policy := w.more[0].(*networkingv1.NetworkPolicy) //nolint:forcetypeassert // as admitBlock adds it
				policy.Spec.Ingress[0].Ports = []networkingv1.NetworkPolicyPort{{Port: new(intstr.FromInt32(80))}}
				w.more = w.more[:1]
			},
			Check{
				"network", "tachometer/tachometer-adapter", StatusFail, "networkpolicy/narrow does not admit kube-apiserver to port 6443",
				`kubectl -n tachometer patch networkpolicy narrow --type=json -p '[{"op":"add","path":"/spec/ingress/-","value":{"ports":[{"port":6443}]}}]'`,
			},
		},
		"clocks apart": {
			func(w *world) { w.begin = worldTime.Add(time.Hour) },
			Check{
				"certificate", "tachometer/tachometer-adapter-1", StatusFail,
				"it is not yet valid, before 2026-11-28T13:00:00Z: it was made by a clock that is ahead, or this machine's clock is behind (2026-11-28T12:00:00Z)",
				"kubectl -n tachometer rollout restart deployment/tachometer-adapter",
			},
		},
		"nothing comes in": {
			func(w *world) { w.admitBlock("", false) },
			Check{
				"network", "tachometer/tachometer-adapter", StatusFail, "networkpolicy/narrow admits only pods to port 6443, and kube-apiserver is none",
				`kubectl -n tachometer patch networkpolicy narrow --type=json -p '[{"op":"add","path":"/spec/ingress","value":[]},{"op":"add","path":"/spec/ingress/-","value":{"ports":[{"port":6443}]}}]'`,
			},
		},
		"in from kube-apiserver's address": {
			func(w *world) { w.admitBlock("172.18.0.0/16", false) },
			Check{"available", checkedAPIServices[0], StatusFail, "FailedDiscoveryCheck", "kubectl describe apiservice " + checkedAPIServices[0]},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tc.spoil(w)
			report := w.run("web")
			w.checkFirst(report, tc.want)
			for _, c := range report.Checks {
				if strings.Contains(c.Fix, "  ") || strings.Contains(c.Fix, "mallory") || strings.Contains(c.Message+c.Fix, "<none>") {
					t.Errorf("check %+v", c)
				}
			}
		})
	}
}

// checkFirst compares the first broken check; Message of the wanted one is a part.
func (w *world) checkFirst(report *Report, want Check) {
	w.t.Helper()
	first := report.First()
	if first == nil || first.Name != want.Name || first.Subject != want.Subject || first.Status != want.Status ||
		!strings.Contains(first.Message, want.Message) || first.Fix != want.Fix {
		w.t.Errorf("first broken:\n%+v, want\n%+v", first, want)
	}
}

// admitBlock lets a policy of the adapter's namespace admit a block of addresses alone, and kube-apiserver not reach the adapter. Without
// a block it admits nothing.
func (w *world) admitBlock(cidr string, available bool) {
	policy := &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "tachometer", Name: "narrow"},
		Spec:       networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}},
	}
	if cidr != "" {
		policy.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: cidr}}}}}
	}
	w.more = append(w.more, policy, &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "kubernetes", Labels: map[string]string{discoveryv1.LabelServiceName: "kubernetes"}},
		Endpoints:  []discoveryv1.Endpoint{{Addresses: []string{"172.18.0.2"}}},
	})
	if !available {
		w.setUnavailable()
	}
}

// TestNarrowPolicyThatWorks: kube-apiserver may come from another address than its own.
func TestNarrowPolicyThatWorks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.admitBlock("10.244.0.0/16", true)
	if first := w.run("web").First(); first != nil {
		t.Errorf("all works, and still %+v", *first)
	}
}

// TestMetricOfPodsNotFound: where the adapter knows no such metric, the plugin lists those that there are.
func TestMetricOfPodsNotFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.answers[podsMetricPath] = newAdapterStatus(http.StatusNotFound, metav1.StatusReasonNotFound, "no rule for metric")
	if first := w.run("web").First(); first == nil || first.Fix != "kubectl tachometer metrics deployment/web -n shop" {
		t.Errorf("first broken = %+v", first)
	}
}
