package doctor

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
	"github.com/tachometer-metrics/tachometer/pkg/podpage"
)

// failScrapes lets each scrape fail for a reason in the adapter's words.
func (w *world) failScrapes(reason string) {
	w.answers[podsMetricPath] = newAdapterStatus(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, fmt.Sprintf("2 pods: 2 scrape failed (%s)", reason), causeScrapeFailed)
}

// setUnavailableFor lets kube-apiserver say why it does not accept the adapter, whose certificate the user may not read.
func (w *world) setUnavailableFor(message string) {
	w.setUnavailable()
	w.apiService(0).Status.Conditions[0].Message = message
	w.certificateFailed = errNoRights
}

// setObjectMetric makes the world's autoscaler one of a Service.
func (w *world) setObjectMetric(service string, answer any) {
	w.hpa.Spec.Metrics[0] = autoscalingv2.MetricSpec{Type: autoscalingv2.ObjectMetricSourceType, Object: &autoscalingv2.ObjectMetricSource{
		DescribedObject: autoscalingv2.CrossVersionObjectReference{APIVersion: "v1", Kind: "Service", Name: service},
		Metric:          autoscalingv2.MetricIdentifier{Name: "request_per_second"},
		Target:          autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: new(resource.MustParse("50"))},
	}}
	w.answers["/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/services/"+service+"/request_per_second"] = answer
}

// setExternalMetric makes the world's autoscaler one of an external metric with a value.
func (w *world) setExternalMetric() {
	m := &w.hpa.Spec.Metrics[0]
	m.Type, m.External = autoscalingv2.ExternalMetricSourceType, &autoscalingv2.ExternalMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: "orders"}, Target: m.Pods.Target}
	m.Pods = nil
	w.answers["/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/orders"] = map[string]any{"items": []any{map[string]any{"timestamp": worldTime, "value": "98"}}}
}

// TestOtherForms: further instances of the ten breakages, at least two of each, with the cause first and the command that mends it.
func TestOtherForms(t *testing.T) {
	t.Parallel()
	const page = "kubectl get --raw /api/v1/namespaces/shop/pods/web-1:8080/proxy/metrics"
	crashing := corev1.ContainerStatus{Name: "web", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff"}},
		LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Error", ExitCode: 2}}}
	for name, tc := range map[string]struct {
		spoil func(w *world)
		want  Check // Message is a part of it
	}{
		"typo: the name of the target": {
			func(w *world) { w.hpa.Spec.ScaleTargetRef.Name = "wep" },
			Check{"target", "shop/web", StatusFail, "Deployment wep does not exist; nearest: web", `kubectl -n shop patch hpa web --type=merge -p '{"spec":{"scaleTargetRef":{"name":"web"}}}'`},
		},
		"typo: a letter in the kind of the target": {
			func(w *world) { w.hpa.Spec.ScaleTargetRef.Kind = "Deploymnet" },
			Check{"target", "shop/web", StatusFail, "Deploymnet web is of a kind that the cluster does not serve",
				`kubectl -n shop patch hpa web --type=merge -p '{"spec":{"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment"}}}'`},
		},
		"typo: the name of the object": {
			func(w *world) {
				w.setObjectMetric("wep", newAdapterStatus(http.StatusNotFound, metav1.StatusReasonNotFound,
					`services "wep" not found: the object does not exist, or its kind has no scale subresource, which names its pods`))
			},
			Check{"metric", "shop/web", StatusFail, "the object does not exist", "kubectl -n shop get services"},
		},
		"port: TLS behind http": {
			func(w *world) { w.failScrapes(`the target speaks TLS: annotate prometheus.io/scheme: "https"`) },
			Check{"metric", "shop/web", StatusFail, "the target speaks TLS",
				`kubectl -n shop patch deployment/web -p '{"spec":{"template":{"metadata":{"annotations":{"prometheus.io/scheme":"https"}}}}}'`},
		},
		"port: plain HTTP behind https": {
			func(w *world) {
				w.deployment.Spec.Template.Annotations = map[string]string{podpage.AnnotationScheme: "https"}
				w.failScrapes("TLS: the target speaks plain HTTP")
			},
			Check{"metric", "shop/web", StatusFail, "speaks plain HTTP",
				`kubectl -n shop patch deployment/web -p '{"spec":{"template":{"metadata":{"annotations":{"prometheus.io/scheme":null}}}}}'`},
		},
		"port: a page for people": {
			func(w *world) { w.failScrapes("HTML, not metrics") },
			Check{"metric", "shop/web", StatusFail, "HTML, not metrics", page},
		},
		"port: a server error": {
			func(w *world) { w.failScrapes("HTTP 500") },
			Check{"metric", "shop/web", StatusFail, "HTTP 500", page},
		},
		"rights: external metrics alone": {
			func(w *world) {
				w.setExternalMetric()
				w.denied = func(a authorizationv1.ResourceAttributes) bool { return a.Group == "external.metrics.k8s.io" }
			},
			Check{"rights", hpaController, StatusFail, "may not list external.metrics.k8s.io in shop",
				"kubectl create clusterrolebinding hpa-metrics --clusterrole=tachometer-metrics-reader --serviceaccount=kube-system:horizontal-pod-autoscaler"},
		},
		"rights: the adapter may not write the caBundle": {
			func(w *world) {
				w.issueCertificate()
				w.caBundle = []byte{}
				w.denied = func(a authorizationv1.ResourceAttributes) bool { return a.Resource == "apiservices" }
			},
			Check{"certificate", "tachometer/tachometer-adapter-1", StatusFail, "it is empty, and the adapter may not write it (patch apiservices)",
				applyAdapterCommand},
		},
		"rights: the adapter may not list pods": {
			func(w *world) {
				w.denied = func(a authorizationv1.ResourceAttributes) bool {
					return a.Verb == "list" && a.Resource == "pods" && a.Group == ""
				}
			},
			Check{"rights", "system:serviceaccount:tachometer:tachometer-adapter", StatusFail, "may not list pods",
				"kubectl create clusterrolebinding tachometer-adapter --clusterrole=tachometer-adapter --serviceaccount=tachometer:tachometer-adapter"},
		},
		"certificate: an empty caBundle": {
			func(w *world) { w.issueCertificate(); w.caBundle = []byte{} },
			Check{"certificate", "tachometer/tachometer-adapter-1", StatusFail, "the caBundle of v1beta2.custom.metrics.k8s.io does not verify it: it is empty",
				"kubectl -n tachometer rollout restart deployment/tachometer-adapter"},
		},
		"certificate: kube-apiserver does not trust it, and the user may not read it": {
			func(w *world) {
				w.setUnavailableFor("failing or missing response from https://10.0.0.7:6443/apis/custom.metrics.k8s.io/v1beta2: tls: failed to verify certificate: x509: certificate signed by unknown authority")
			},
			Check{"available", checkedAPIServices[0], StatusFail, "the caBundle does not verify the adapter's certificate", "kubectl -n tachometer rollout restart deployment/tachometer-adapter"},
		},
		"certificate: the adapter answers with an error": {
			func(w *world) {
				w.setUnavailableFor("failing or missing response from https://10.0.0.7:6443/apis/custom.metrics.k8s.io/v1beta2: bad status from https://10.0.0.7:6443/apis/custom.metrics.k8s.io/v1beta2: 500")
			},
			Check{"available", checkedAPIServices[0], StatusFail, "bad status from https://10.0.0.7:6443/apis/custom.metrics.k8s.io/v1beta2: 500; kube-apiserver reaches the adapter, which answers with an error",
				"kubectl -n tachometer logs deployment/tachometer-adapter --tail=50"},
		},
		"certificate: another Service serves the API, as prometheus-adapter did": {
			func(w *world) {
				for i := range 2 {
					w.apiService(i).Spec.Service = &apiregistration.ServiceReference{Namespace: "monitoring", Name: "prometheus-adapter", Port: new(int32(443))}
				}
			},
			Check{"apiservice", checkedAPIServices[0], StatusFail, "served by another adapter, monitoring/prometheus-adapter", applyAdapterCommand},
		},
		"network: out of the adapter's namespace to another port": {
			func(w *world) {
				w.failScrapes("no response within 1s")
				w.more = append(w.more, denyEgress(networkingv1.NetworkPolicyEgressRule{Ports: []networkingv1.NetworkPolicyPort{{Port: new(intstr.FromInt32(443))}}}))
			},
			Check{"network", "shop/web", StatusFail, "networkpolicy/default-deny in namespace tachometer does not let the adapter out to port 8080",
				`kubectl -n tachometer patch networkpolicy default-deny --type=json -p '[{"op":"add","path":"/spec/egress/-","value":{"to":[{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"shop"}}}],"ports":[{"port":8080}]}}]'`},
		},
		"network: into the pods from their own namespace alone": {
			func(w *world) {
				w.failScrapes("no response within 1s")
				policy := denyIngress()
				policy.Spec.Ingress = []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{}}}}}
				w.more = append(w.more, policy)
			},
			Check{"network", "shop/web", StatusFail, "networkpolicy/deny-all does not admit the adapter's pods to port 8080",
				`kubectl -n shop patch networkpolicy deny-all --type=json -p '[{"op":"add","path":"/spec/ingress/-","value":{"from":[{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"tachometer"}}}],"ports":[{"port":8080}]}}]'`},
		},
		"stale: a gauge that one pod no longer writes": {
			func(w *world) { w.answers[podsMetricPath] = newPodsAnswer(worldTime.Add(-2*time.Second), "web-2") },
			Check{"metric", "shop/web", StatusWarning, "1 of 2 pods without a value", page},
		},
		"stale: CPU of a metrics-server that stands still": {
			func(w *world) {
				w.setContainerMetric("web")
				usage := map[string]any{"name": "web", "usage": map[string]string{"cpu": "10m"}}
				var items []any
				for _, pod := range []string{"web-1", "web-2"} {
					items = append(items, map[string]any{"metadata": map[string]string{"name": pod}, "timestamp": worldTime.Add(-10 * time.Minute), "window": "10s", "containers": []any{usage}})
				}
				w.hpa.Spec.Metrics[0].ContainerResource.Target = autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: new(resource.MustParse("10m"))}
				w.answers["/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods"] = map[string]any{"items": items}
			},
			Check{"metric", "shop/web", StatusWarning, "cpu of container web: 2 values, the oldest is 10m0s old: metrics-server measures no more, or this clock is wrong", "kubectl get apiservice v1beta1.metrics.k8s.io"},
		},
		"warming up: a pod that crashes": {
			func(w *world) {
				w.failScrapes("connection refused")
				w.addBrokenPod(corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionFalse}, crashing)
			},
			Check{"metric", "shop/web", StatusFail, "connection refused", page},
		},
		"warming up: pods that are not ready for ten minutes": {
			func(w *world) {
				w.addBrokenPod(corev1.PodCondition{Type: corev1.PodReady, Status: corev1.ConditionFalse, Message: "containers with unready status: [web]"})
			},
			Check{"pods", "shop/web", StatusWarning, "1 of 3 pods not ready; web-3: not ready: containers with unready status: [web]", "kubectl -n shop describe pod web-3"},
		},
		"budget: maxUnavailable 0": {
			func(w *world) {
				w.budget.Spec.MinAvailable, w.budget.Spec.MaxUnavailable = nil, new(intstr.FromInt32(0))
			},
			Check{"budget", "shop/web", StatusWarning, "pdb/web has maxUnavailable: 0: no node can be drained",
				`kubectl -n shop patch pdb web --type=merge -p '{"spec":{"minAvailable":null,"maxUnavailable":1}}'`},
		},
		"budget: pods that are not healthy": {
			func(w *world) {
				w.budget.Status = policyv1.PodDisruptionBudgetStatus{CurrentHealthy: 1, DesiredHealthy: 1, ExpectedPods: 2}
			},
			Check{"budget", "shop/web", StatusWarning, "pdb/web permits no disruption: 1 of 2 pods healthy, 1 wanted", "kubectl -n shop describe pdb web"},
		},
		"two: another spelling of the target's API version": {
			func(w *world) {
				second := w.hpa.DeepCopy()
				second.Name, second.Spec.ScaleTargetRef.APIVersion, second.CreationTimestamp = "web-2", "apps/v1beta2", metav1.NewTime(worldTime)
				w.more = append(w.more, second)
			},
			Check{"rival", "shop/web", StatusFail, "hpa/web-2 scales Deployment web too", "kubectl -n shop delete hpa web-2"},
		},
		"limit: a target in thousandths": {
			func(w *world) {
				w.hpa.Spec.Metrics[0].Pods.Target.AverageValue = new(resource.MustParse("50m"))
				breakages["limit_reached"].spoil(w)
			},
			Check{"metric", "shop/web", StatusWarning, "request_per_second of pods: 49 is 980 times its target of 50m, which is 0.05",
				`kubectl -n shop patch hpa web --type=json -p '[{"op":"replace","path":"/spec/metrics/0/pods/target/averageValue","value":"50"}]'`},
		},
		"limit: a policy that permits a pod each half hour": {
			func(w *world) {
				w.setBehavior(autoscalingv2.HPAScalingRules{Policies: []autoscalingv2.HPAScalingPolicy{{Type: autoscalingv2.PodsScalingPolicy, Value: 1, PeriodSeconds: 1800}}})
				w.setAverage("10")
				w.hpa.Status.Conditions[2] = autoscalingv2.HorizontalPodAutoscalerCondition{Type: autoscalingv2.ScalingLimited, Status: corev1.ConditionTrue, Reason: "ScaleUpLimit"}
			},
			Check{"behavior", "shop/web", StatusWarning, "it has 2 pods and its metrics ask for 10, but the scaleUp policies permit 1 pod in 30m",
				`kubectl -n shop patch hpa web --type=json -p '[{"op":"remove","path":"/spec/behavior/scaleUp/policies"}]'`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tc.spoil(w)
			w.checkFirst(w.run("web"), tc.want)
		})
	}
}

// TestOtherFormsAndSound: what looks like one of these forms and is none.
func TestOtherFormsAndSound(t *testing.T) {
	t.Parallel()
	limit := autoscalingv2.HorizontalPodAutoscalerCondition{Type: autoscalingv2.ScalingLimited, Status: corev1.ConditionTrue, Reason: "ScaleUpLimit"}
	slow := autoscalingv2.HPAScalingRules{Policies: []autoscalingv2.HPAScalingPolicy{{Type: autoscalingv2.PodsScalingPolicy, Value: 1, PeriodSeconds: 1800}}}
	wantSound(t, map[string]func(t *testing.T, w *world){
		"a target of 600m, and a ratio as value": func(_ *testing.T, w *world) { w.setAverage("49500m") },
		"a target of 500m below a hundred times as much": func(_ *testing.T, w *world) {
			w.setAverage("500m")
			w.hpa.Spec.MaxReplicas = 1000
		},
		"a policy of 15 s": func(_ *testing.T, w *world) {
			w.setBehavior(autoscalingv2.HPAScalingRules{Policies: []autoscalingv2.HPAScalingPolicy{{Type: autoscalingv2.PodsScalingPolicy, Value: 1, PeriodSeconds: 15}}})
			w.setAverage("10")
			w.hpa.Status.Conditions[2] = limit
		},
		"a slow policy beside a fast one": func(_ *testing.T, w *world) {
			w.setBehavior(autoscalingv2.HPAScalingRules{Policies: append(slow.Policies, autoscalingv2.HPAScalingPolicy{Type: autoscalingv2.PodsScalingPolicy, Value: 1, PeriodSeconds: 15})})
			w.setAverage("10")
			w.hpa.Status.Conditions[2] = limit
		},
		"a slow policy that permits the wish": func(_ *testing.T, w *world) { w.setBehavior(slow); w.setAverage("10") },
		"a slow policy at the wish":           func(_ *testing.T, w *world) { w.setBehavior(slow); w.hpa.Status.Conditions[2] = limit },
	})
}

// TestBundleOfCertificateFiles: an adapter with a certificate from files does not write the caBundle, and needs no right to.
func TestBundleOfCertificateFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.issueCertificate()
	w.caBundle = []byte{}
	w.denied = func(a authorizationv1.ResourceAttributes) bool { return a.Resource == "apiservices" }
	for _, p := range w.adapterPods {
		p.Spec.Containers[0].Args = []string{"--tls-cert-file=/etc/tachometer-tls/tls.crt"}
	}
	w.checkFirst(w.run("web"), Check{"certificate", "tachometer/tachometer-adapter-1", StatusFail, "does not verify it: it is empty",
		"kubectl -n tachometer rollout restart deployment/tachometer-adapter"})
}

// TestNearestTarget: a name with few other letters is a typo, unless two workloads have it.
func TestNearestTarget(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"wep": "web", "webb": "web", "wb": "", "api": "", "orders-apii": "", "orders-ap": "orders-api", "ordres-api": "orders-api", "orders": ""} {
		hpa := &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Namespace: "shop"}}
		hpa.Spec.ScaleTargetRef = autoscalingv2.CrossVersionObjectReference{Kind: "Deployment", Name: name}
		objects := &inventory.Inventory{}
		for _, w := range [][2]string{{"shop", "web"}, {"shop", "orders-api"}, {"shop", "orders-apin"}, {"shop", "orders-apin2"}, {"other", "wb"}} {
			objects.Workloads = append(objects.Workloads, inventory.Workload{Kind: "Deployment", Namespace: w[0], Name: w[1]})
		}
		if got := (&autoscalerDiagnosis{doctor: &doctor{objects: objects}, hpa: hpa}).findNearestTarget(); got != want {
			t.Errorf("%s: nearest is %q, want %q", name, got, want)
		}
	}
}
