package doctor

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/podpage"
)

// failReplicas lets kube-apiserver reject new pods of a Deployment.
func failReplicas(d *appsv1.Deployment, message string) {
	d.Spec.Replicas = new(int32(10))
	d.Status.Conditions = []appsv1.DeploymentCondition{{Type: appsv1.DeploymentReplicaFailure, Status: corev1.ConditionTrue, Reason: "FailedCreate", Message: message}}
}

// addBrokenPod adds a third pod of the target that is not ready.
func (w *world) addBrokenPod(condition corev1.PodCondition, statuses ...corev1.ContainerStatus) {
	pod := newReadyPod("shop", "web-3", w.deployment.Spec.Template.Labels)
	pod.Status.Phase, pod.Status.Conditions, pod.Status.ContainerStatuses = corev1.PodPending, []corev1.PodCondition{condition}, statuses
	w.more = append(w.more, pod)
}

// setCPUMetric makes the world's autoscaler one of the CPU of its pods, which report it.
func (w *world) setCPUMetric() {
	w.setContainerMetric("web")
	source := w.hpa.Spec.Metrics[0].ContainerResource
	w.hpa.Spec.Metrics = []autoscalingv2.MetricSpec{{Type: autoscalingv2.ResourceMetricSourceType,
		Resource: &autoscalingv2.ResourceMetricSource{Name: source.Name, Target: source.Target}}}
}

// setTarget makes a custom resource the scale target, and kube-apiserver's answer to the read of its scale an error.
func (w *world) setTarget(kind string, status *metav1.Status) {
	w.hpa.Spec.ScaleTargetRef = autoscalingv2.CrossVersionObjectReference{APIVersion: "argoproj.io/v1alpha1", Kind: kind, Name: "web"}
	w.answers["/apis/argoproj.io/v1alpha1/namespaces/shop/rollouts/web/scale"] = status
}

// useRollout makes the scale target a Rollout with the Deployment's pods.
func (w *world) useRollout() {
	w.setTarget("Rollout", nil)
	w.answers["/apis/argoproj.io/v1alpha1/namespaces/shop/rollouts/web/scale"] = map[string]any{"status": map[string]any{"selector": "app=web"}}
}

// scaleToZero lets the target have no pods, so that no pod has a value.
func (w *world) scaleToZero() {
	w.isEmpty, w.deployment.Spec.Replicas = true, new(int32(0))
	w.hpa.Spec.MinReplicas, w.hpa.Status.CurrentReplicas, w.hpa.Status.DesiredReplicas = new(int32(0)), 0, 0
	w.answers[podsMetricPath] = newAdapterStatus(http.StatusNotFound, metav1.StatusReasonNotFound, `no pod matches selector "app=web" in namespace "shop"`)
}

// setOtherAdapter lets another adapter serve v1beta1, with a priority.
func (w *world) setOtherAdapter(priority int32) {
	w.apiService(0).Spec.VersionPriority = 200
	old := w.apiService(1)
	old.Spec.Service, old.Spec.VersionPriority = &apiregistration.ServiceReference{Namespace: "monitoring", Name: "prometheus-adapter"}, priority
}

// setRecord is the adapter's record of an HPA controller that looks in a period, answered by a clock.
func (w *world) setRecord(t *testing.T, period time.Duration, clock time.Time) {
	t.Helper()
	log := explainapi.DecisionLog{Source: explainapi.Source{Replica: "tachometer-adapter-1", Time: clock}, Specs: []explainapi.SpecVersion{{Spec: w.hpa.Spec}}}
	if log.Source.UnknownBefore = w.begun; w.begun.IsZero() {
		log.Source.UnknownBefore = clock.Add(-time.Hour)
	}
	for i := range 5 {
		if period == 0 {
			break // no look is in the record
		}
		at := clock.Add(time.Duration(i-5)*period - w.silence)
		log.Decisions = append(log.Decisions, explainapi.Decision{Time: at, Reads: []explainapi.Read{{Time: at, Values: []explainapi.Value{{Pod: "web-1", Milli: 1}}}}})
	}
	data, err := json.Marshal(log)
	if err != nil {
		t.Fatal(err)
	}
	w.answers["/apis/explain.tachometer.dev/v1alpha1/namespaces/shop/horizontalpodautoscalers/web/decisions"] = json.RawMessage(data)
}

// TestTargetBreakages: the first fault is the cause, and not what follows from it.
func TestTargetBreakages(t *testing.T) {
	t.Parallel()
	unschedulable := corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/3 nodes are available: 3 Insufficient cpu."}
	waiting := func(reason string, last *corev1.ContainerStateTerminated) corev1.ContainerStatus {
		return corev1.ContainerStatus{Name: "web", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}},
			LastTerminationState: corev1.ContainerState{Terminated: last}}
	}
	for name, tc := range map[string]struct {
		spoil func(t *testing.T, w *world)
		want  Check // Message is a part of it
	}{
		"a quota": {
			func(_ *testing.T, w *world) {
				failReplicas(w.deployment, `pods "web-6d4-" is forbidden: exceeded quota: compute`)
			},
			Check{"pods", "shop/web", StatusFail, `deployment/web has 2 of 10 pods, and kube-apiserver rejects new ones: pods "web-6d4-" is forbidden: exceeded quota: compute`,
				"kubectl -n shop describe resourcequotas"},
		},
		"a webhook": {
			func(_ *testing.T, w *world) {
				failReplicas(w.deployment, `admission webhook "v.example" denied the request: no label`)
			},
			Check{"pods", "shop/web", StatusFail, `admission webhook "v.example" denied the request`, "kubectl -n shop describe replicasets"},
		},
		"a quota for the adapter": {
			func(_ *testing.T, w *world) {
				w.adapterPods = nil
				d := w.newAdapterDeployment(2)
				failReplicas(d, "exceeded quota: compute")
				w.more = append(w.more, d)
			},
			Check{"pods", "tachometer/tachometer-adapter", StatusFail, "and kube-apiserver rejects new ones: exceeded quota: compute", "kubectl -n tachometer describe resourcequotas"},
		},
		"pods to come": {
			func(_ *testing.T, w *world) { w.deployment.Spec.Replicas = new(int32(3)) },
			Check{"pods", "shop/web", StatusWarning, "deployment/web has 2 of 3 pods", "kubectl -n shop describe deployment/web"},
		},
		"no node": {
			func(_ *testing.T, w *world) { w.addBrokenPod(unschedulable) },
			Check{"pods", "shop/web", StatusWarning, "1 of 3 pods not ready; web-3: not ready: 0/3 nodes are available", "kubectl -n shop describe pod web-3"},
		},
		"no image": {
			func(_ *testing.T, w *world) { w.addBrokenPod(corev1.PodCondition{}, waiting("ImagePullBackOff", nil)) },
			Check{"pods", "shop/web", StatusWarning, "web-3: container web is waiting: ImagePullBackOff", "kubectl -n shop describe pod web-3"},
		},
		"too little memory": {
			func(_ *testing.T, w *world) {
				w.addBrokenPod(corev1.PodCondition{}, waiting("CrashLoopBackOff", &corev1.ContainerStateTerminated{Reason: "OOMKilled", ExitCode: 137}))
			},
			Check{"pods", "shop/web", StatusWarning, "container web is waiting: CrashLoopBackOff; it ended with OOMKilled, exit code 137",
				"kubectl -n shop logs web-3 -c web --previous --tail=50"},
		},
		"no request": {
			func(_ *testing.T, w *world) { w.setCPUMetric() },
			Check{"metric", "shop/web", StatusFail, "missing request for cpu in container web of Pod web-1", "kubectl -n shop set resources deployment/web -c web --requests=cpu=100m"},
		},
		"a mistyped kind": {
			func(_ *testing.T, w *world) { w.hpa.Spec.ScaleTargetRef.Kind = "deployments" },
			Check{"target", "shop/web", StatusFail, "deployments web is of a kind that the cluster does not serve",
				`kubectl -n shop patch hpa web --type=merge -p '{"spec":{"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment"}}}'`},
		},
		"a kind without a scale": {
			func(_ *testing.T, w *world) { w.hpa.Spec.ScaleTargetRef.Kind = "DaemonSet" },
			Check{"target", "shop/web", StatusFail, "DaemonSet web has no scale", "kubectl -n shop get deployments,statefulsets"},
		},
		"a kind that is not installed": {
			func(_ *testing.T, w *world) { w.setTarget("Rolout", nil) },
			Check{"target", "shop/web", StatusFail, "Rolout web is of a kind that the cluster does not serve", "kubectl api-resources"},
		},
		"a custom resource that does not exist": {
			func(_ *testing.T, w *world) {
				w.setTarget("Rollout", newAdapterStatus(http.StatusNotFound, metav1.StatusReasonNotFound, `rollouts.argoproj.io "web" not found`))
			},
			Check{"target", "shop/web", StatusFail, "Rollout web does not exist, or its kind has no scale", "kubectl -n shop get rollouts.argoproj.io"},
		},
		"a metric that no pod of a Rollout has": {
			func(_ *testing.T, w *world) {
				w.useRollout()
				w.answers[podsMetricPath] = newAdapterStatus(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, "2 pods: 2 absent", causeAbsent)
			},
			Check{"metric", "shop/web", StatusFail, "2 absent", "kubectl tachometer metrics web-1 -n shop"},
		},
		"a wrong port of a Rollout": {
			func(_ *testing.T, w *world) {
				w.useRollout()
				w.deployment.Spec.Template.Annotations = map[string]string{podpage.AnnotationPort: "9999"}
				w.answers[podsMetricPath] = newScrapeFailure()
			},
			Check{"metric", "shop/web", StatusFail, "scrape failed",
				`kubectl -n shop patch rollout/web --type=merge -p '{"spec":{"template":{"metadata":{"annotations":{"prometheus.io/port":"8080"}}}}}'`},
		},
		"an object of a kind that is not installed": {
			func(_ *testing.T, w *world) {
				w.hpa.Spec.Metrics = []autoscalingv2.MetricSpec{{Type: autoscalingv2.ObjectMetricSourceType, Object: &autoscalingv2.ObjectMetricSource{
					DescribedObject: autoscalingv2.CrossVersionObjectReference{APIVersion: "networking.k8s.io/v1", Kind: "Ingres", Name: "web"},
					Metric:          autoscalingv2.MetricIdentifier{Name: "rps"},
					Target:          autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: new(resource.MustParse("5"))},
				}}}
			},
			Check{"metric", "shop/web", StatusFail, `no matches for kind "Ingres"`, "kubectl api-resources"},
		},
		"switched off by hand": {
			func(_ *testing.T, w *world) {
				w.scaleToZero()
				w.setInactive("ScalingDisabled", "scaling is disabled since the replica count of the target is zero")
			},
			Check{"condition", "shop/web", StatusWarning, "switches the autoscaler off", "kubectl -n shop scale deployment/web --replicas=1"},
		},
		"another adapter before v1beta2": {
			func(_ *testing.T, w *world) { w.setOtherAdapter(500) },
			Check{"apiservice", checkedAPIServices[1], StatusFail, "its versionPriority 500 puts it before v1beta2: the HPA controller asks that one", applyAdapterCommand},
		},
		"a proxy certificate of another authority": {
			func(_ *testing.T, w *world) {
				w.setUnavailable()
				w.apiService(0).Status.Conditions[0].Message = "bad status from https://10.0.0.7:6443/apis/custom.metrics.k8s.io/v1beta2: 401"
			},
			Check{"available", checkedAPIServices[0], StatusFail, "--requestheader-client-ca-file", "kubectl describe apiservice " + checkedAPIServices[0]},
		},
		"a firewall": {
			func(_ *testing.T, w *world) { w.setUnavailable() },
			Check{"available", checkedAPIServices[0], StatusFail, "i/o timeout; the adapter is ready: look at the network from kube-apiserver to port 6443",
				"kubectl describe apiservice " + checkedAPIServices[0]},
		},
		"a controller that seldom looks": {
			func(t *testing.T, w *world) { w.setRecord(t, time.Minute, worldTime) },
			Check{"controller", "shop/web", StatusWarning, "looks every 1m0s", "kubectl tachometer budget hpa/web -n shop"},
		},
		"a controller that the adapter does not know": {
			func(t *testing.T, w *world) { w.setRecord(t, 0, worldTime) },
			Check{"controller", "shop/web", StatusWarning, "the record of the last 10m has no read by the HPA controller", "kubectl -n shop describe hpa web"},
		},
		"a clock behind": { // the values are fresh by the adapter's clock
			func(t *testing.T, w *world) {
				now := worldTime.Add(10 * time.Minute)
				w.setRecord(t, 15*time.Second, now)
				w.answers[podsMetricPath] = newPodsAnswer(now.Add(-2*time.Second), "web-1", "web-2")
			},
			Check{"clock", "", StatusWarning, "this machine's clock is 10m0s behind the adapter's", "date -u"},
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

// TestSoundTargets: nothing is broken, though something is missing.
func TestSoundTargets(t *testing.T) {
	t.Parallel()
	wantSound(t, map[string]func(t *testing.T, w *world){
		"scaled to zero by the controller": func(_ *testing.T, w *world) {
			w.scaleToZero()
			w.hpa.Status.Conditions = append(w.hpa.Status.Conditions, autoscalingv2.HorizontalPodAutoscalerCondition{
				Type: autoscalingv2.ScaledToZero, Status: corev1.ConditionTrue, Reason: "ScaledToZero",
			})
		},
		"a pod that starts": func(_ *testing.T, w *world) {
			w.addBrokenPod(corev1.PodCondition{})
			w.more[0].(*corev1.Pod).CreationTimestamp = metav1.NewTime(worldTime.Add(-30 * time.Second)) //nolint:forcetypeassert // as addBrokenPod adds it
			w.answers[podsMetricPath] = newPodsAnswer(worldTime, "web-1", "web-2", "web-3")
		},
		"a record that begins": func(t *testing.T, w *world) {
			t.Helper()
			w.begun = worldTime.Add(-time.Minute)
			w.setRecord(t, 0, worldTime)
		},
		"a controller of the default period": func(t *testing.T, w *world) {
			t.Helper()
			w.setRecord(t, 15*time.Second, worldTime)
		},
	})
}

// TestLeftoverOfAnotherAdapter: an API that the HPA controller does not read is a warning, which hides no fault of the others.
func TestLeftoverOfAnotherAdapter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.setOtherAdapter(100)
	w.apiService(1).Status.Conditions[0] = apiregistration.APIServiceCondition{
		Type: apiregistration.Available, Status: apiregistration.ConditionFalse, Reason: "ServiceNotFound", Message: "service/prometheus-adapter in \"monitoring\" is not present",
	}
	w.answers["/apis/custom.metrics.k8s.io/v1beta1"] = newAdapterStatus(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, "service unavailable")
	report := w.run("web")
	if report.Broken() {
		t.Errorf("first broken = %+v", *report.First())
	}
	for _, c := range report.Checks {
		if c.Name == "available" && c.Subject == checkedAPIServices[1] && (c.Status != StatusWarning || c.Fix != applyAdapterCommand) {
			t.Errorf("check %+v", c)
		}
	}
}

// TestClockOfAnotherRecord: the clocks are compared by the first record that can be read.
func TestClockOfAnotherRecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.setRecord(t, 15*time.Second, worldTime.Add(10*time.Minute))
	first := w.hpa.DeepCopy()
	first.Name = "a"
	w.answers["/apis/explain.tachometer.dev/v1alpha1/namespaces/shop/horizontalpodautoscalers/a/decisions"] =
		newAdapterStatus(http.StatusForbidden, metav1.StatusReasonForbidden, "not yours")
	w.more = append(w.more, first)
	isTold := slices.ContainsFunc(w.run("").Checks, func(c Check) bool {
		return c == Check{"clock", "", StatusWarning, "this machine's clock is 10m0s behind the adapter's", "date -u"}
	})
	if !isTold {
		t.Error("nothing is said of the clocks")
	}
}

// TestPageOfAPendingPod: a pod that does not run yet has no page to look at.
func TestPageOfAPendingPod(t *testing.T) {
	t.Parallel()
	for phase, want := range map[corev1.PodPhase]string{
		corev1.PodPending: "kubectl -n shop describe pod web-1",
		corev1.PodRunning: "kubectl get --raw /api/v1/namespaces/shop/pods/web-1:8080/proxy/metrics",
	} {
		w := newWorld(t)
		pod := newReadyPod("shop", "web-1", nil)
		pod.Spec, pod.Status.Phase = w.deployment.Spec.Template.Spec, phase
		v := &autoscalerDiagnosis{hpa: w.hpa}
		if got := v.formatPageCommand([]*corev1.Pod{pod}, podsMetricPath); got != want {
			t.Errorf("%s: %s, want %s", phase, got, want)
		}
	}
}
