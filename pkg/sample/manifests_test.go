package sample

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// readManifest reads one object of manifests/sample; a field that Kubernetes does not know is an error.
func readManifest[T any](t *testing.T, file string) T {
	t.Helper()
	var object T
	doc, err := os.ReadFile(filepath.Join("../../manifests/sample", file))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(doc, &object); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return object
}

// TestManifestKeepsTheContract checks that the service and its Deployment agree.
func TestManifestKeepsTheContract(t *testing.T) {
	t.Parallel()
	deployment := readManifest[appsv1.Deployment](t, "base/deployment.yaml")
	pod := deployment.Spec.Template.Spec
	container := pod.Containers[0]

	env := map[string]string{}
	for _, v := range container.Env {
		env[v.Name] = v.Value
	}
	known := map[string]bool{"GOMEMLIMIT": true}
	for _, v := range listEnvVariables() {
		known[v.name] = true
	}
	for name := range env {
		if !known[name] {
			t.Errorf("the service does not read %s", name)
		}
	}
	cfg, err := LoadConfig(lookupEnv(env))
	if err != nil {
		t.Fatalf("the service rejects the Deployment's environment: %v", err)
	}
	if killed := time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second; killed <= cfg.GracePeriod {
		t.Errorf("killed after %v, before GRACE_PERIOD %v is over", killed, cfg.GracePeriod)
	}
	ready := container.ReadinessProbe
	if first := time.Duration(ready.InitialDelaySeconds) * time.Second; cfg.StartJitter == 0 || cfg.StartJitter > first {
		t.Errorf("START_JITTER %v is not within the readiness probe's initial delay of %v", cfg.StartJitter, first)
	}
	if timeout := time.Duration(ready.TimeoutSeconds) * time.Second; timeout <= cfg.RedisTimeout {
		t.Errorf("the readiness probe gives up after %v, before Redis' %v are over", timeout, cfg.RedisTimeout)
	}
	for name, probe := range map[string]*corev1.Probe{"readiness": ready, "liveness": container.LivenessProbe} {
		if probe.InitialDelaySeconds < 5 || probe.FailureThreshold < 2 {
			t.Errorf("the %s probe does not wait: %+v", name, probe)
		}
	}
	if deployment.Spec.Replicas != nil {
		t.Error("replicas are set: every apply would fight with the autoscaler")
	}
	if container.Resources.Requests.Cpu().MilliValue() != 100 {
		t.Errorf("CPU request %v, want 100m: the target of hpa-cpu is a share of it", container.Resources.Requests.Cpu())
	}
}

// TestAutoscalersOfTheManifests checks that the autoscalers agree.
func TestAutoscalersOfTheManifests(t *testing.T) {
	t.Parallel()
	byCPU := readManifest[autoscalingv2.HorizontalPodAutoscaler](t, "overlays/hpa-cpu/hpa.yaml")
	byRequests := readManifest[autoscalingv2.HorizontalPodAutoscaler](t, "overlays/hpa-requests/hpa.yaml")
	byTotal := readManifest[autoscalingv2.HorizontalPodAutoscaler](t, "overlays/hpa-total/hpa.yaml")
	if byCPU.Name != byRequests.Name || byTotal.Name != byRequests.Name {
		t.Errorf("names %s, %s and %s: applying one overlay after the other would leave two for one Deployment", byCPU.Name, byRequests.Name, byTotal.Name)
	}
	total := byTotal.Spec.Metrics[0]
	if total.Type != autoscalingv2.ObjectMetricSourceType || total.Object.Target.Type != autoscalingv2.ValueMetricType || total.Object.Target.Value.Value() != 500 ||
		total.Object.Metric.Name != byRequests.Spec.Metrics[0].Pods.Metric.Name || total.Object.DescribedObject.Name != byTotal.Spec.ScaleTargetRef.Name {
		t.Errorf("hpa-total: %+v; want 500 requests per second of the Deployment", total.Object)
	}
	for name, hpa := range map[string]autoscalingv2.HorizontalPodAutoscaler{"hpa-cpu": byCPU, "hpa-requests": byRequests, "hpa-total": byTotal} {
		if *hpa.Spec.MinReplicas != 2 || hpa.Spec.MaxReplicas != 10 || hpa.Spec.ScaleTargetRef.Name != "sample" {
			t.Errorf("%s: %+v", name, hpa.Spec)
		}
		burst := int32(0)
		for _, p := range hpa.Spec.Behavior.ScaleUp.Policies {
			step := p.Value
			if p.Type == autoscalingv2.PercentScalingPolicy {
				step = *hpa.Spec.MinReplicas * p.Value / 100
			}
			burst = max(burst, *hpa.Spec.MinReplicas+step)
		}
		if burst < hpa.Spec.MaxReplicas || *hpa.Spec.Behavior.ScaleUp.StabilizationWindowSeconds != 0 {
			t.Errorf("%s: a burst gets from 2 to %d pods in one step, want 10", name, burst)
		}
	}
}
