package lint

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/golden"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
)

// sound is a set of manifests without a fault. The cases below spoil it by replacing text.
const sound = `
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web, namespace: shop}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 2
  maxReplicas: 10
  metrics:
  - type: Pods
    pods:
      metric: {name: request_per_second}
      target: {type: AverageValue, averageValue: "50"}
  behavior: {}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /readyz, port: http}, initialDelaySeconds: 5, failureThreshold: 2, periodSeconds: 5}
        livenessProbe: {httpGet: {path: /healthz, port: http}}
        resources: {requests: {cpu: 100m}, limits: {cpu: "2"}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web, namespace: shop}
spec:
  maxUnavailable: 1
  selector: {matchLabels: {app: web}}
`

const (
	soundMetric = `  - type: Pods
    pods:
      metric: {name: request_per_second}
      target: {type: AverageValue, averageValue: "50"}
`
	cpuMetric = `  - type: Resource
    resource: {name: cpu, target: {type: Utilization, averageUtilization: 60}}
`
	secondHPA = `---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web-2, namespace: shop}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: NAME}
  minReplicas: 2
  maxReplicas: 10
`
	secondDeployment = `---
apiVersion: apps/v1
kind: Deployment
metadata: {name: other, namespace: shop}
spec:
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec:
      containers: [{name: web, readinessProbe: {exec: {command: [ready]}}}]
`
)

// objectMetric is a metric of an object with a target of a type.
func objectMetric(name, target string) string {
	return fmt.Sprintf(`  - type: Object
    object:
      metric: {name: %s}
      describedObject: {apiVersion: apps/v1, kind: Deployment, name: web}
      target: {%s}
`, name, target)
}

// lintCases has, for each rule, replacements that break it, and replacements that come near and do not.
var lintCases = map[string]struct{ bad, good []string }{
	"average-of-a-quantile": {
		[]string{soundMetric, objectMetric("request_seconds_p99", `type: AverageValue, averageValue: "1"`)},
		[]string{soundMetric, objectMetric("request_per_second", `type: AverageValue, averageValue: "50"`)},
	},
	"target-without-scale": {
		[]string{"kind: Deployment, name: web}", "kind: deployment, name: web}"},
		[]string{"apiVersion: apps/v1, kind: Deployment, name: web}", "apiVersion: argoproj.io/v1alpha1, kind: Rollout, name: web}"},
	},
	"invalid-metric": {
		[]string{`type: AverageValue, averageValue: "50"`, `type: AverageValue, value: "50"`},
		[]string{soundMetric, cpuMetric},
	},
	"latency-target": {
		[]string{soundMetric, objectMetric("request_seconds_p99", `type: Value, value: "1"`)},
		[]string{soundMetric, objectMetric("seats_p9", `type: Value, value: "1"`)},
	},
	"counter-without-rate": {[]string{"request_per_second", "http_requests_total"}, []string{"request_per_second", "totals"}},
	"cpu-beside-load":      {[]string{soundMetric, soundMetric + cpuMetric}, []string{soundMetric, cpuMetric}},
	"cpu-target-out-of-reach": {
		[]string{soundMetric, cpuMetric, `{cpu: "2"}`, "{cpu: 100m}", "averageUtilization: 60", "averageUtilization: 91"},
		[]string{soundMetric, cpuMetric, `{cpu: "2"}`, "{cpu: 100m}", "averageUtilization: 60", "averageUtilization: 90"},
	},
	"duplicate-metric": {
		[]string{soundMetric, soundMetric + soundMetric},
		[]string{soundMetric, soundMetric + strings.Replace(soundMetric, "request_", "order_", 1)},
	},
	"memory-target": {
		[]string{soundMetric, strings.ReplaceAll(cpuMetric, "cpu", "memory"), "requests: {cpu: 100m}", "requests: {memory: 100Mi}"},
		[]string{soundMetric, cpuMetric},
	},
	"metric-dies-with-its-pods": {
		[]string{"minReplicas: 2", "minReplicas: 0"},
		[]string{"minReplicas: 2", "minReplicas: 0", soundMetric, objectMetric("orders_waiting", `type: Value, value: "5"`)},
	},
	"missing-request": {
		[]string{soundMetric, cpuMetric, "resources: {requests: {cpu: 100m}, limits: {cpu: \"2\"}}", "resources: {}"},
		[]string{soundMetric, cpuMetric, "averageUtilization: 60", "averageUtilization: 80", "resources: {requests: {cpu: 100m}, ", "resources: {"},
	},
	"surge-counts-as-wish": {
		[]string{soundMetric, objectMetric("orders_waiting", `type: AverageValue, averageValue: "50"`)},
		[]string{soundMetric, objectMetric("orders_waiting", `type: AverageValue, averageValue: "50"`), "  selector: {matchLabels: {app: web}}\n  template", "  strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 1}}\n  selector: {matchLabels: {app: web}}\n  template"},
	},
	"value-of-a-rate": {
		[]string{soundMetric, objectMetric("request_per_second", `type: Value, value: "50"`)},
		[]string{soundMetric, objectMetric("orders_waiting", `type: Value, value: "50"`)},
	},
	"unknown-container": {
		[]string{soundMetric, `  - type: ContainerResource
    containerResource: {name: cpu, container: wep, target: {type: AverageValue, averageValue: 50m}}
`},
		[]string{soundMetric, `  - type: ContainerResource
    containerResource: {name: cpu, container: web, target: {type: AverageValue, averageValue: 50m}}
`},
	},

	"down-faster-than-up": {
		[]string{"behavior: {}", "behavior: {scaleUp: {stabilizationWindowSeconds: 400}}"},
		[]string{"behavior: {}", "behavior: {scaleDown: {stabilizationWindowSeconds: 30}}"},
	},
	"waits-to-scale-up": {
		[]string{"behavior: {}", "behavior: {scaleUp: {stabilizationWindowSeconds: 60}}"},
		[]string{"behavior: {}", "behavior: {scaleUp: {stabilizationWindowSeconds: 0}}"},
	},
	"no-scale-down-window": {
		[]string{"behavior: {}", "behavior: {scaleDown: {stabilizationWindowSeconds: 0}}"},
		[]string{"behavior: {}", "behavior: {scaleDown: {stabilizationWindowSeconds: 60}}"},
	},
	"invalid-behavior": {
		[]string{"behavior: {}", "behavior: {scaleUp: {policies: [{type: Pods, value: 8, periodSeconds: 1801}]}}"},
		[]string{"behavior: {}", "behavior: {scaleUp: {policies: [{type: Pods, value: 8, periodSeconds: 1800}]}}"},
	},
	"invalid-limits": {[]string{"minReplicas: 2", "minReplicas: -1"}, []string{"minReplicas: 2", "minReplicas: 0"}},
	"min-above-max":  {[]string{"maxReplicas: 10", "maxReplicas: 1"}, []string{"maxReplicas: 10", "maxReplicas: 3"}},
	"no-room":        {[]string{"maxReplicas: 10", "maxReplicas: 2"}, []string{"maxReplicas: 10", "maxReplicas: 3"}},
	"period-below-sync": {
		[]string{"behavior: {}", "behavior: {scaleUp: {policies: [{type: Pods, value: 8, periodSeconds: 5}]}}"},
		[]string{"behavior: {}", "behavior: {scaleUp: {policies: [{type: Pods, value: 8, periodSeconds: 15}]}}"},
	},
	"scaling-disabled": {
		[]string{"behavior: {}", "behavior: {scaleDown: {selectPolicy: Disabled}}"},
		[]string{"behavior: {}", "behavior: {scaleDown: {selectPolicy: Min}}"},
	},
	"unknown-field": {
		[]string{"behavior: {}", "behaviour: {}"},
		[]string{"behavior: {}", "behavior: {scaleUp: {tolerance: 50m}}"},
	},
	"unserved-version": {[]string{"autoscaling/v2", "autoscaling/v2beta2"}, []string{"autoscaling/v2", "autoscaling/v1"}},
	"single-pod":       {[]string{"minReplicas: 2", "minReplicas: 1"}, nil},
	"slow-burst": {
		[]string{"behavior: {}", "behavior: {scaleUp: {policies: [{type: Pods, value: 1, periodSeconds: 15}]}}"},
		[]string{"behavior: {}", "behavior: {scaleUp: {policies: [{type: Pods, value: 2, periodSeconds: 15}]}}"},
	},
	"tolerance-hides-pods": {
		[]string{"maxReplicas: 10", "maxReplicas: 20"},
		[]string{"maxReplicas: 10", "maxReplicas: 20", "behavior: {}", "behavior: {scaleUp: {tolerance: 50m}}"},
	},
	"tolerance-zero": {
		[]string{"behavior: {}", `behavior: {scaleDown: {tolerance: "0"}}`},
		[]string{"behavior: {}", "behavior: {scaleDown: {tolerance: 20m}}"},
	},

	"liveness-is-readiness": {
		[]string{"path: /healthz, port: http}", "path: /readyz, port: http}, failureThreshold: 1"},
		[]string{"path: /healthz, port: http}", "path: /readyz, port: http}, failureThreshold: 6"},
	},
	"metrics-opt-out": {
		[]string{"labels: {app: web}}", `labels: {app: web}, annotations: {prometheus.io/scrape: "false"}}`},
		[]string{"labels: {app: web}}", `labels: {app: web}, annotations: {prometheus.io/scrape: "true"}}`},
	},
	"metrics-port-ambiguous": {
		[]string{"containerPort: 8080}", "containerPort: 8080}, {name: admin, containerPort: 9090}"},
		[]string{"containerPort: 8080}", "containerPort: 8080}, {name: metrics, containerPort: 9090}"},
	},
	"metrics-port-undeclared": {
		[]string{"labels: {app: web}}", `labels: {app: web}, annotations: {prometheus.io/port: "8008"}}`},
		[]string{"labels: {app: web}}", `labels: {app: web}, annotations: {prometheus.io/port: "8080"}}`},
	},
	"no-readiness-probe":   {[]string{"readinessProbe", "startupProbe"}, nil},
	"ready-while-starting": {[]string{soundMetric, cpuMetric, "initialDelaySeconds: 5, ", ""}, []string{"initialDelaySeconds: 5, ", ""}},
	"replicas-in-manifest": {[]string{"  selector: {matchLabels: {app: web}}\n  template", "  replicas: 3\n  selector: {matchLabels: {app: web}}\n  template"}, nil},

	"budget-blocks-all": {[]string{"maxUnavailable: 1", "minAvailable: 100%"}, []string{"maxUnavailable: 1", "minAvailable: 50%"}},
	"budget-equals-minimum": {
		[]string{"maxUnavailable: 1", "minAvailable: 2"},
		[]string{"maxUnavailable: 1", "minAvailable: 1"},
	},
	"keda-owner": {
		[]string{"metadata: {name: web, namespace: shop}\nspec:\n  scale", "metadata: {name: web, namespace: shop, ownerReferences: [{apiVersion: keda.sh/v1alpha1, kind: ScaledObject, name: web}]}\nspec:\n  scale"},
		[]string{"metadata: {name: web, namespace: shop}\nspec:\n  scale", "metadata: {name: web, namespace: shop, ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web}]}\nspec:\n  scale"},
	},
	"overlapping-selectors": {
		[]string{"\n---\napiVersion: policy", "\n" + strings.ReplaceAll(secondDeployment, "NAME", "web") + "---\napiVersion: policy"},
		[]string{"\n---\napiVersion: policy", "\n" + strings.ReplaceAll(secondDeployment, "NAME", "other") + "---\napiVersion: policy"},
	},
	"target-missing": {[]string{"kind: Deployment, name: web}", "kind: Deployment, name: wep}"}, []string{"kind: Deployment, name: web}", "kind: Rollout, name: web}"}},
	"target-without-group": {
		[]string{"apiVersion: apps/v1, kind: Deployment", "apiVersion: extensions/v1beta1, kind: Deployment"},
		[]string{"apiVersion: apps/v1, kind: Deployment", "apiVersion: apps/v1beta2, kind: Deployment"},
	},
	"duplicate-key": {
		[]string{"maxReplicas: 10", "maxReplicas: 10\n  minReplicas: 3"},
		[]string{"maxReplicas: 10", "maxReplicas: 10\n  # minReplicas: 3"},
	},
	"vertical-autoscaler": {
		[]string{soundMetric, cpuMetric, "\n---\napiVersion: policy", "\n" + verticalAutoscaler("") + "---\napiVersion: policy"},
		[]string{soundMetric, cpuMetric, "\n---\napiVersion: policy", "\n" + verticalAutoscaler(`updatePolicy: {updateMode: "Off"}`) + "---\napiVersion: policy"},
	},
	"aggregate-missing": {
		besideConfig(objectMetric("seconds", `type: Value, value: "1"`), "{metric: seconds, query: '"+quantileQuery+"'}"),
		besideConfig(objectMetric("seconds", `type: Value, value: "1"`), "{metric: seconds, aggregate: max, query: '"+quantileQuery+"'}"),
	},
	"external-metric-without-rule": {
		besideConfig(externalMetric("orders_wating"), "{metric: orders_waiting, external: true, query: sum(orders)}"),
		besideConfig(externalMetric("orders_waiting"), "{metric: orders_waiting, external: true, query: sum(orders)}"),
	},
	"two-autoscalers": {
		[]string{"\n---\napiVersion: policy", "\n" + strings.ReplaceAll(secondHPA, "NAME", "web") + "---\napiVersion: policy"},
		[]string{
			"\n---\napiVersion: policy",
			"\n" + strings.ReplaceAll(secondHPA, "NAME", "other") + strings.ReplaceAll(secondDeployment, "NAME", "other") + "---\napiVersion: policy",
		},
	},
}

// selectedMetric is a metric with a selector and a target.
func selectedMetric(code, target string) string {
	return fmt.Sprintf(`  - type: Pods
    pods: {metric: {name: request_per_second, selector: {matchLabels: {code: "%s"}}}, target: {type: AverageValue, averageValue: "%s"}}
`, code, target)
}

const (
	sidecarMetric = `  - type: ContainerResource
    containerResource: {name: cpu, container: proxy, target: {type: Utilization, averageUtilization: 60}}
`
	containers = "      containers:\n"
	sidecar    = "      initContainers: [{name: proxy, restartPolicy: Always, image: proxy, resources: {RESOURCES}}]\n"
	requests   = `        resources: {requests: {cpu: 100m}, limits: {cpu: "2"}}`
)

func cpuAverage(amount string) string {
	return "  - type: Resource\n    resource: {name: cpu, target: {type: AverageValue, averageValue: " + amount + "}}\n"
}

func secondBudget(selector string) string {
	return "---\napiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: web-2, namespace: shop}\nspec: {maxUnavailable: 1, selector: {" + selector + "}}\n"
}

// scaledObject is an object of KEDA with a spec.
func scaledObject(spec string) string {
	return "---\napiVersion: keda.sh/v1alpha1\nkind: ScaledObject\nmetadata: {name: orders, namespace: shop}\nspec: {" + spec + "}\n"
}

// verticalAutoscaler is a VerticalPodAutoscaler of the workload, with more of a spec.
func verticalAutoscaler(spec string) string {
	return "---\napiVersion: autoscaling.k8s.io/v1\nkind: VerticalPodAutoscaler\nmetadata: {name: web, namespace: shop}\n" +
		"spec: {targetRef: {apiVersion: apps/v1, kind: Deployment, name: web}, " + spec + "}\n"
}

// besideVertical are replacements for an autoscaler on a metric beside a VerticalPodAutoscaler.
func besideVertical(metric, spec string) []string {
	return []string{soundMetric, metric, "\n---\napiVersion: policy", "\n" + verticalAutoscaler(spec) + "---\napiVersion: policy"}
}

// unscaledObject is an object with pods that no autoscaler scales.
func unscaledObject(version, kind, spec string) string {
	return "---\napiVersion: " + version + "\nkind: " + kind + "\nmetadata: {name: report, namespace: shop}\nspec: {" + spec + "}\n"
}

// TestUnscaledPods: in a cluster, pods of Jobs and DaemonSets among those of the workload are found by their owners.
func TestUnscaledPods(t *testing.T) {
	t.Parallel()
	newPod := func(name, owner string, phase corev1.PodPhase) corev1.Pod {
		p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: map[string]string{"app": "web"}}, Status: corev1.PodStatus{Phase: phase}}
		if owner != "" {
			p.OwnerReferences = []metav1.OwnerReference{{Kind: owner, Name: "report", Controller: new(true)}}
		}
		return p
	}
	objects, err := inventory.ReadFiles(t.Context(), []string{"-"}, inventory.FileOptions{In: strings.NewReader(sound), Namespace: "default"})
	if err != nil {
		t.Fatal(err)
	}
	objects.Pods = []corev1.Pod{
		newPod("web-1", "ReplicaSet", corev1.PodRunning), newPod("report-1", "Job", corev1.PodSucceeded), newPod("report-2", "Job", corev1.PodRunning),
		newPod("report-3", "Job", corev1.PodFailed), newPod("agent-1", "DaemonSet", corev1.PodRunning), newPod("web-2", "", corev1.PodRunning),
	}
	for i := range objects.Pods {
		objects.Pods[i].Spec = objects.Workloads[0].Template.Spec
	}
	var got []string
	for _, f := range Run(objects, false).Findings {
		got = append(got, f.Rule+": "+f.Message)
	}
	const text = "overlapping-selectors: the selector of deployment/web matches the pods of "
	if diff := cmp.Diff([]string{text + "job/report too", text + "daemonset/report too"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestNewestPod: in a cluster the containers are those of the newest pod, which a webhook may have changed.
func TestNewestPod(t *testing.T) {
	t.Parallel()
	request := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")}
	for name, tc := range map[string]struct {
		change func(pod *corev1.PodSpec)
		want   []string
	}{
		"the template's": {func(*corev1.PodSpec) {}, []string{"cpu of pods: container web has no request of cpu"}},
		"a request":      {func(pod *corev1.PodSpec) { pod.Containers[0].Resources.Requests = request }, nil},
		"a request, and a sidecar without one": {func(pod *corev1.PodSpec) {
			pod.Containers[0].Resources.Requests = request
			pod.Containers = append(pod.Containers, corev1.Container{Name: "proxy"})
		}, []string{"cpu of pods: container proxy has no request of cpu"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := strings.NewReplacer(soundMetric, cpuMetric, bounds, "").Replace(sound)
			objects, err := inventory.ReadFiles(t.Context(), []string{"-"}, inventory.FileOptions{In: strings.NewReader(text), Namespace: "default"})
			if err != nil {
				t.Fatal(err)
			}
			template := objects.Workloads[0].Template
			old := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-2", Labels: template.Labels}, Spec: template.Spec}
			newest := *old.DeepCopy()
			newest.Name, newest.CreationTimestamp = "web-1", metav1.NewTime(time.Unix(100, 0))
			tc.change(&newest.Spec)
			objects.Pods = []corev1.Pod{newest, old}
			var got []string
			for _, f := range Run(objects, false).Findings {
				got = append(got, f.Message)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestDuplicateKey: the finding has the file with its line, and the line of the first key.
func TestDuplicateKey(t *testing.T) {
	t.Parallel()
	report := lintManifests(t, []string{"maxReplicas: 10", "maxReplicas: 10\n  minReplicas: 3"})
	i := slices.IndexFunc(report.Findings, func(f Finding) bool { return f.Rule == "duplicate-key" })
	if i < 0 || report.Findings[i].Object != "standard input:9" || report.Findings[i].Message != "spec.minReplicas repeats line 7" || !report.Faulty() {
		t.Errorf("finding %d of %+v", i, report.Findings)
	}
}

// TestHiddenPods: the number is whole, and the tolerance as it was written.
func TestHiddenPods(t *testing.T) {
	t.Parallel()
	report := lintManifests(t, []string{"maxReplicas: 10", "maxReplicas: 100", "behavior: {}", "behavior: {scaleUp: {tolerance: 0.29}}"})
	i := slices.IndexFunc(report.Findings, func(f Finding) bool { return f.Rule == "tolerance-hides-pods" })
	if want := "at 100 pods, a tolerance of 0.29 hides the need for 29"; i < 0 || report.Findings[i].Message != want {
		t.Errorf("finding %d of %+v, want %q", i, report.Findings, want)
	}
}

// replicaSet is a ReplicaSet with the workload's labels.
func replicaSet(metadata string) string {
	return "---\napiVersion: apps/v1\nkind: ReplicaSet\nmetadata: {" + metadata + "name: web-6d4, namespace: shop}\n" +
		"spec: {selector: {matchLabels: {app: web, hash: a}}, template: {metadata: {labels: {app: web, hash: a}}, spec: {containers: [{name: web}]}}}\n"
}

// bounds are the requests and limits of the sound workload.
const bounds = `requests: {cpu: 100m}, limits: {cpu: "2"}`

// limitRange is the LimitRange of the namespace, with amounts for a container.
func limitRange(amounts string) string {
	return "---\napiVersion: v1\nkind: LimitRange\nmetadata: {name: defaults, namespace: shop}\nspec: {limits: [{type: Container, " + amounts + "}]}\n"
}

// lintJudgements are realistic manifests, each with the number of findings of a rule.
var lintJudgements = map[string]struct {
	rule         string
	want         int
	replacements []string
}{
	"one metric twice, with one selector":    {"duplicate-metric", 1, []string{soundMetric, selectedMetric("200", "50") + selectedMetric("200", "60")}},
	"one metric, with two selectors":         {"duplicate-metric", 0, []string{soundMetric, selectedMetric("200", "50") + selectedMetric("500", "5")}},
	"KEDA's label, as in a restored backup":  {"keda-owner", 1, []string{"metadata: {name: web, namespace: shop}\nspec:\n  scale", "metadata: {name: web, namespace: shop, labels: {scaledobject.keda.sh/name: web}}\nspec:\n  scale"}},
	"memory beside load":                     {"cpu-beside-load", 0, []string{soundMetric, soundMetric + strings.Replace(cpuMetric, "cpu", "memory", 1)}},
	"CPU of a sidecar beside load":           {"cpu-beside-load", 1, []string{soundMetric, soundMetric + sidecarMetric}},
	"metric of a native sidecar":             {"unknown-container", 0, []string{soundMetric, sidecarMetric, containers, sidecar + containers}},
	"native sidecar without a request":       {"missing-request", 1, []string{soundMetric, cpuMetric, containers, sidecar + containers, "RESOURCES", ""}},
	"native sidecar with a request":          {"missing-request", 0, []string{soundMetric, cpuMetric, containers, sidecar + containers, "RESOURCES", "requests: {cpu: 10m}"}},
	"requests of the pod as a whole":         {"missing-request", 0, []string{soundMetric, cpuMetric, requests, "", containers, "      resources: {requests: {cpu: 100m}}\n" + containers}},
	"requests of the pod without CPU":        {"missing-request", 1, []string{soundMetric, cpuMetric, containers, "      resources: {requests: {memory: 1Gi}}\n" + containers}},
	"no metric: CPU by default":              {"missing-request", 1, []string{"  metrics:\n" + soundMetric, "", requests, ""}},
	"autoscaling/v1":                         {"cpu-target-out-of-reach", 1, []string{"autoscaling/v2", "autoscaling/v1", "  metrics:\n" + soundMetric, "  targetCPUUtilizationPercentage: 95\n", `{cpu: "2"}`, "{cpu: 100m}"}},
	"a sidecar without a limit":              {"cpu-target-out-of-reach", 0, []string{soundMetric, strings.Replace(cpuMetric, "60", "95", 1), `{cpu: "2"}`, "{cpu: 100m}", containers, sidecar + containers, "RESOURCES", "requests: {cpu: 10m}"}},
	"no way down, and no window":             {"no-scale-down-window", 0, []string{"behavior: {}", "behavior: {scaleDown: {selectPolicy: Disabled, stabilizationWindowSeconds: 0}}"}},
	"no way down, and a window up":           {"down-faster-than-up", 0, []string{"behavior: {}", "behavior: {scaleUp: {stabilizationWindowSeconds: 400}, scaleDown: {selectPolicy: Disabled}}"}},
	"no way up, and a window":                {"waits-to-scale-up", 0, []string{"behavior: {}", "behavior: {scaleUp: {selectPolicy: Disabled, stabilizationWindowSeconds: 60}}"}},
	"a short period of a disabled direction": {"period-below-sync", 0, []string{"behavior: {}", "behavior: {scaleDown: {selectPolicy: Disabled, policies: [{type: Pods, value: 1, periodSeconds: 5}]}}"}},
	"a wide tolerance of few pods":           {"tolerance-hides-pods", 0, []string{"maxReplicas: 10", "maxReplicas: 4", "behavior: {}", "behavior: {scaleUp: {tolerance: 200m}}"}},
	"a wide tolerance of ten pods":           {"tolerance-hides-pods", 1, []string{"behavior: {}", "behavior: {scaleUp: {tolerance: 200m}}"}},
	"a percentage without bounds":            {"slow-burst", 0, []string{"maxReplicas: 10", "maxReplicas: 20000", "behavior: {}", "behavior: {scaleUp: {policies: [{type: Percent, value: 2000000000, periodSeconds: 15}]}}"}},
	"a budget above the maximum":             {"budget-blocks-all", 1, []string{"maxUnavailable: 1", "minAvailable: 10"}},
	"a budget below the maximum":             {"budget-blocks-all", 0, []string{"maxUnavailable: 1", "minAvailable: 9"}},
	"CPU of another container":               {"ready-while-starting", 0, []string{soundMetric, sidecarMetric, "initialDelaySeconds: 5, ", ""}},
	"one port by number and by name":         {"liveness-is-readiness", 1, []string{"path: /healthz, port: http}", "path: /readyz, port: 8080}, failureThreshold: 1"}},
	"a StatefulSet of OpenKruise":            {"target-missing", 0, []string{"apiVersion: apps/v1, kind: Deployment", "apiVersion: apps.kruise.io/v1beta1, kind: StatefulSet"}},
	"a Rollout":                              {"target-without-group", 0, []string{"apiVersion: apps/v1, kind: Deployment", "apiVersion: argoproj.io/v1alpha1, kind: Rollout"}},
	"two autoscalers, one without a group":   {"two-autoscalers", 2, []string{"\n---\napiVersion: policy", "\n" + strings.ReplaceAll(strings.Replace(secondHPA, "apiVersion: apps/v1, ", "", 1), "NAME", "web") + "---\napiVersion: policy"}},
	"a metric without its source":            {"invalid-metric", 1, []string{soundMetric, "  - {type: Pods}\n"}},
	"a target of 0":                          {"invalid-metric", 1, []string{`averageValue: "50"`, `averageValue: "0"`}},
	"a target beyond all thousandths":        {"invalid-metric", 1, []string{`averageValue: "50"`, "averageValue: 1E"}},
	"a large target":                         {"invalid-metric", 0, []string{`averageValue: "50"`, "averageValue: 9P"}},
	"a target without a type":                {"invalid-metric", 1, []string{"type: AverageValue, ", ""}},
	"a selector with an unknown operator":    {"invalid-metric", 1, []string{"{name: request_per_second}", "{name: request_per_second, selector: {matchExpressions: [{key: code, operator: Equals, values: ['500']}]}}"}},
	"an empty selector":                      {"invalid-metric", 0, []string{"{name: request_per_second}", "{name: request_per_second, selector: {}}"}},
	"a metric with a slash in its name":      {"invalid-metric", 1, []string{"{name: request_per_second}", "{name: request/s}"}},
	"a resource with a slash in its name":    {"invalid-metric", 0, []string{soundMetric, strings.Replace(cpuMetric, "name: cpu", "name: nvidia.com/gpu", 1)}},
	"a target with two amounts":              {"invalid-metric", 1, []string{soundMetric, strings.Replace(cpuMetric, "averageUtilization", `averageValue: "1", averageUtilization`, 1)}},
	"a metric without a name":                {"invalid-metric", 1, []string{"metric: {name: request_per_second}", "metric: {}"}},
	"a metric with two sources":              {"invalid-metric", 1, []string{soundMetric, soundMetric + "    resource: {name: cpu, target: {type: Utilization, averageUtilization: 60}}\n"}},
	"an object without a name":               {"invalid-metric", 1, []string{soundMetric, strings.Replace(objectMetric("seats", `type: Value, value: "1"`), ", name: web", "", 1)}},
	"an object with two amounts":             {"invalid-metric", 0, []string{soundMetric, objectMetric("seats", `type: Value, value: "1", averageValue: "1"`)}},
	"a type that the controller ignores":     {"invalid-metric", 0, []string{"type: AverageValue, ", "type: Value, "}},
	"autoscaling/v1 with metrics":            {"unknown-field", 2, []string{"autoscaling/v2", "autoscaling/v1"}},
	"autoscaling/v1, CPU by default":         {"counter-without-rate", 0, []string{"autoscaling/v2", "autoscaling/v1", "request_per_second", "http_requests_total"}},
	"autoscaling/v2 with the CPU of v1":      {"cpu-target-out-of-reach", 0, []string{"  metrics:\n" + soundMetric, "  targetCPUUtilizationPercentage: 95\n", `{cpu: "2"}`, "{cpu: 100m}"}},
	"autoscaling/v1 with an annotation": {"counter-without-rate", 1, []string{"autoscaling/v2", "autoscaling/v1", "  metrics:\n" + soundMetric, "", "  behavior: {}\n", "", "metadata: {name: web,",
		`metadata: {annotations: {autoscaling.alpha.kubernetes.io/metrics: '[{"type":"Pods","pods":{"metricName":"http_requests_total","targetAverageValue":"50"}}]'}, name: web,`}},
	"autoscaling/v1 with an annotated behavior": {"no-scale-down-window", 1, []string{"autoscaling/v2", "autoscaling/v1", "  metrics:\n" + soundMetric, "", "  behavior: {}\n", "", "metadata: {name: web,",
		`metadata: {annotations: {autoscaling.alpha.kubernetes.io/behavior: '{"ScaleDown":{"StabilizationWindowSeconds":0}}'}, name: web,`}},
	"autoscaling/v2beta1": {"counter-without-rate", 1, []string{"autoscaling/v2", "autoscaling/v2beta1", soundMetric, `  - {type: Pods, pods: {metricName: http_requests_total, targetAverageValue: "50"}}
`}},
	"an object of autoscaling/v2beta1": {"invalid-metric", 0, []string{"autoscaling/v2", "autoscaling/v2beta1", soundMetric, `  - {type: Object, object: {metricName: seats, targetValue: "50", target: {apiVersion: apps/v1, kind: Deployment, name: web}}}
`}},
	"CPU of autoscaling/v2beta1": {"cpu-target-out-of-reach", 1, []string{"autoscaling/v2", "autoscaling/v2beta1", soundMetric, `  - {type: Resource, resource: {name: cpu, targetAverageUtilization: 95}}
`, `{cpu: "2"}`, "{cpu: 100m}"}},
	"a field in other letters":             {"min-above-max", 0, []string{"maxReplicas: 10", "maxreplicas: 10"}},
	"an average above the limit":           {"cpu-target-out-of-reach", 1, []string{soundMetric, cpuAverage("1900m")}},
	"an average below the limit":           {"cpu-target-out-of-reach", 0, []string{soundMetric, cpuAverage("1800m")}},
	"empty resources of the pod":           {"cpu-target-out-of-reach", 1, []string{soundMetric, strings.Replace(cpuMetric, "60", "95", 1), `{cpu: "2"}`, "{cpu: 100m}", containers, "      resources: {}\n" + containers}},
	"a wider limit of the pod":             {"cpu-target-out-of-reach", 0, []string{soundMetric, strings.Replace(cpuMetric, "60", "95", 1), `{cpu: "2"}`, "{cpu: 100m}", containers, "      resources: {limits: {cpu: 200m}}\n" + containers}},
	"one selector, written in two ways":    {"duplicate-metric", 1, []string{soundMetric, selectedMetric("200", "50") + strings.Replace(selectedMetric("200", "60"), `matchLabels: {code: "200"}`, `matchExpressions: [{key: code, operator: In, values: ["200"]}]`, 1)}},
	"a total beside an average":            {"duplicate-metric", 0, []string{soundMetric, objectMetric("seats", `type: Value, value: "50"`) + objectMetric("seats", `type: AverageValue, averageValue: "5"`)}},
	"a quantile by its selector":           {"latency-target", 1, []string{"metric: {name: request_per_second}", `metric: {name: rpc_duration_seconds_summary, selector: {matchExpressions: [{key: quantile, operator: In, values: ["0.9"]}]}}`}},
	"a quantile with its unit":             {"latency-target", 1, []string{"request_per_second", "request_p99_milliseconds"}},
	"a rate of requests with latency":      {"latency-target", 0, []string{"request_per_second", "request_duration_seconds_count_per_second"}},
	"the counter of a histogram":           {"counter-without-rate", 1, []string{"request_per_second", "request_duration_seconds_count"}},
	"a gauge that is a count":              {"counter-without-rate", 0, []string{"request_per_second", "connection_count"}},
	"the word False":                       {"metrics-opt-out", 1, []string{"labels: {app: web}}", `labels: {app: web}, annotations: {prometheus.io/scrape: "False"}}`}},
	"an empty annotation":                  {"metrics-opt-out", 0, []string{"labels: {app: web}}", `labels: {app: web}, annotations: {prometheus.io/scrape: ""}}`}},
	"a port by a name that no port has":    {"metrics-port-ambiguous", 1, []string{"labels: {app: web}}", `labels: {app: web}, annotations: {prometheus.io/port: web}}`}},
	"a port by its name":                   {"metrics-port-ambiguous", 0, []string{"labels: {app: web}}", `labels: {app: web}, annotations: {prometheus.io/port: http}}`}},
	"a port with a leading zero":           {"metrics-port-undeclared", 0, []string{"labels: {app: web}}", `labels: {app: web}, annotations: {prometheus.io/port: "08080"}}`}},
	"a path by default":                    {"liveness-is-readiness", 1, []string{"path: /readyz, ", "path: /, ", "path: /healthz, port: http}", "port: http}, failureThreshold: 1"}},
	"a probe of decades":                   {"liveness-is-readiness", 0, []string{"path: /healthz, port: http}", "path: /readyz, port: http}, periodSeconds: 70000, failureThreshold: 70000"}},
	"a share that is every pod":            {"budget-blocks-all", 1, []string{"maxUnavailable: 1", "minAvailable: 95%"}},
	"a share that leaves a pod at last":    {"budget-blocks-all", 0, []string{"maxUnavailable: 1", "minAvailable: 90%"}},
	"a share of the minimum":               {"budget-equals-minimum", 1, []string{"maxUnavailable: 1", "minAvailable: 90%"}},
	"no pod at the minimum":                {"budget-equals-minimum", 0, []string{"minReplicas: 2", "minReplicas: 0", "maxUnavailable: 1", "minAvailable: 0"}},
	"no share may be away":                 {"budget-blocks-all", 1, []string{"maxUnavailable: 1", "maxUnavailable: 0%"}},
	"a small share may be away":            {"budget-blocks-all", 0, []string{"maxUnavailable: 1", "maxUnavailable: 1%"}},
	"two budgets":                          {"budget-blocks-all", 1, []string{"\n---\napiVersion: policy", "\n" + secondBudget("matchExpressions: [{key: app, operator: In, values: [web]}]") + "---\napiVersion: policy"}},
	"two budgets, the other of other pods": {"budget-blocks-all", 0, []string{"\n---\napiVersion: policy", "\n" + secondBudget("matchExpressions: [{key: app, operator: NotIn, values: [web]}]") + "---\napiVersion: policy"}},
	"an overlay's variant of the budget":   {"budget-blocks-all", 0, []string{"\n---\napiVersion: policy", "\n" + strings.Replace(secondBudget("matchLabels: {app: web}"), "web-2", "web", 1) + "---\napiVersion: policy"}},
	"a ScaledObject of the target":         {"two-autoscalers", 1, []string{"\n---\napiVersion: policy", "\n" + scaledObject("scaleTargetRef: {name: web}") + "---\napiVersion: policy"}},
	"a ScaledObject of another target":     {"two-autoscalers", 0, []string{"\n---\napiVersion: policy", "\n" + scaledObject("scaleTargetRef: {kind: StatefulSet, name: web}") + "---\napiVersion: policy"}},
	"a ScaledObject takes the HPA over":    {"two-autoscalers", 0, []string{"\n---\napiVersion: policy", "\n" + scaledObject("scaleTargetRef: {name: web}, advanced: {horizontalPodAutoscalerConfig: {name: web}}") + "---\napiVersion: policy"}},
	"no maximum":                           {"invalid-limits", 1, []string{"  maxReplicas: 10\n", ""}},
	"a period of 0":                        {"invalid-behavior", 1, []string{"behavior: {}", "behavior: {scaleDown: {policies: [{type: Pods, value: 8, periodSeconds: 0}]}}"}},
	"a period of 0, which is not short":    {"period-below-sync", 0, []string{"behavior: {}", "behavior: {scaleDown: {policies: [{type: Pods, value: 8, periodSeconds: 0}]}}"}},
	"a policy without a period":            {"invalid-behavior", 1, []string{"behavior: {}", "behavior: {scaleUp: {policies: [{type: Pods, value: 8}]}}"}},
	"a negative period":                    {"invalid-behavior", 1, []string{"behavior: {}", "behavior: {scaleUp: {policies: [{type: Pods, value: 8, periodSeconds: -15}]}}"}},
	"a window above an hour":               {"invalid-behavior", 1, []string{"behavior: {}", "behavior: {scaleDown: {stabilizationWindowSeconds: 3601}}"}},
	"a window of an hour":                  {"invalid-behavior", 0, []string{"behavior: {}", "behavior: {scaleDown: {stabilizationWindowSeconds: 3600}}"}},
	"a negative window":                    {"invalid-behavior", 1, []string{"behavior: {}", "behavior: {scaleUp: {stabilizationWindowSeconds: -1}}"}},
	"a policy of value 0":                  {"invalid-behavior", 1, []string{"behavior: {}", "behavior: {scaleUp: {policies: [{type: Percent, periodSeconds: 15}]}}"}},
	"a policy of an unknown type":          {"invalid-behavior", 1, []string{"behavior: {}", "behavior: {scaleUp: {policies: [{type: Pod, value: 1, periodSeconds: 15}]}}"}},
	"an unknown selectPolicy":              {"invalid-behavior", 1, []string{"behavior: {}", "behavior: {scaleUp: {selectPolicy: disabled}}"}},
	"a negative tolerance":                 {"invalid-behavior", 1, []string{"behavior: {}", `behavior: {scaleUp: {tolerance: "-1"}}`}},
	"no policies":                          {"invalid-behavior", 1, []string{"behavior: {}", "behavior: {scaleUp: {policies: []}}"}},
	"the policies by default":              {"invalid-behavior", 0, []string{"behavior: {}", "behavior: {scaleUp: {policies: null}, scaleDown: {}}"}},
	"both directions":                      {"invalid-behavior", 2, []string{"behavior: {}", "behavior: {scaleUp: {stabilizationWindowSeconds: 9999}, scaleDown: {policies: [{type: Pods, value: 1, periodSeconds: 3600}]}}"}},
	"a Job with the workload's labels":     {"overlapping-selectors", 1, []string{"\n---\napiVersion: policy", "\n" + unscaledObject("batch/v1", "Job", "template: {metadata: {labels: {app: web}}}") + "---\napiVersion: policy"}},
	"a CronJob with the workload's labels": {"overlapping-selectors", 1, []string{"\n---\napiVersion: policy", "\n" + unscaledObject("batch/v1", "CronJob", "jobTemplate: {spec: {template: {metadata: {labels: {app: web}}}}}") + "---\napiVersion: policy"}},
	"a DaemonSet with the same labels":     {"overlapping-selectors", 1, []string{"\n---\napiVersion: policy", "\n" + unscaledObject("apps/v1", "DaemonSet", "template: {metadata: {labels: {app: web, tier: agent}}}") + "---\napiVersion: policy"}},
	"a DaemonSet with labels of its own":   {"overlapping-selectors", 0, []string{"\n---\napiVersion: policy", "\n" + unscaledObject("apps/v1", "DaemonSet", "template: {metadata: {labels: {app: agent}}}") + "---\napiVersion: policy"}},
	"a Job of another namespace":           {"overlapping-selectors", 0, []string{"\n---\napiVersion: policy", "\n" + strings.Replace(unscaledObject("batch/v1", "Job", "template: {metadata: {labels: {app: web}}}"), "shop", "bank", 1) + "---\napiVersion: policy"}},
	"a target's name in other letters":     {"unknown-field", 1, []string{"kind: Deployment, name: web}", "kind: Deployment, Name: web}"}},
	"a target without a name":              {"target-missing", 1, []string{"kind: Deployment, name: web}", "kind: Deployment}"}},
	"two unknown fields":                   {"unknown-field", 2, []string{"minReplicas: 2", "minReplica: 2", "behavior: {}", "behaviour: {}"}},
	"a patch of an overlay":                {"unknown-field", 0, []string{"behavior: {}", "behavior: {}\n---\napiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: web}\nspec: {maxReplica: 20}"}},
	"a kind without a scale":               {"target-without-scale", 1, []string{"kind: Deployment, name: web}", "kind: DaemonSet, name: web}"}},
	"a kind in the plural":                 {"target-without-scale", 1, []string{"apiVersion: apps/v1, kind: Deployment, name: web}", "kind: deployments, name: web}"}},
	"a Deployment of another group":        {"target-without-scale", 0, []string{"apiVersion: apps/v1, kind: Deployment, name: web}", "apiVersion: example.com/v1, kind: deployment, name: web}"}},
	"a default request":                    {"missing-request", 0, []string{soundMetric, cpuMetric, bounds, "", "\n---\napiVersion: policy", "\n" + limitRange("defaultRequest: {cpu: 100m}") + "---\napiVersion: policy"}},
	"a default limit":                      {"missing-request", 0, []string{soundMetric, cpuMetric, bounds, "", "\n---\napiVersion: policy", "\n" + limitRange("default: {cpu: 100m}") + "---\napiVersion: policy"}},
	"a least request":                      {"missing-request", 0, []string{soundMetric, cpuMetric, bounds, "", "\n---\napiVersion: policy", "\n" + limitRange("min: {cpu: 100m}") + "---\napiVersion: policy"}},
	"a default request of memory":          {"missing-request", 1, []string{soundMetric, cpuMetric, bounds, "", "\n---\napiVersion: policy", "\n" + limitRange("defaultRequest: {memory: 1Gi}") + "---\napiVersion: policy"}},
	"a default limit that the target hits": {"cpu-target-out-of-reach", 1, []string{soundMetric, strings.Replace(cpuMetric, "60", "95", 1), `, limits: {cpu: "2"}`, "", "\n---\napiVersion: policy", "\n" + limitRange("max: {cpu: 100m}") + "---\napiVersion: policy"}},
	"the template of a Rollout":            {"missing-request", 1, []string{soundMetric, cpuMetric, bounds, "", "apiVersion: apps/v1, kind: Deployment", "apiVersion: argoproj.io/v1alpha1, kind: Rollout", "apiVersion: apps/v1\nkind: Deployment", "apiVersion: argoproj.io/v1alpha1\nkind: Rollout"}},
	"a ReplicaSet of the Deployment":       {"overlapping-selectors", 0, []string{"\n---\napiVersion: policy", "\n" + replicaSet("ownerReferences: [{apiVersion: apps/v1, kind: Deployment, name: web, uid: a, controller: true}], ") + "---\napiVersion: policy"}},
	"a ReplicaSet without pods":            {"overlapping-selectors", 0, []string{"\n---\napiVersion: policy", "\n" + strings.Replace(replicaSet(""), "spec: {", "spec: {replicas: 0, ", 1) + "---\napiVersion: policy"}},
	"a DeploymentConfig of OpenShift":      {"overlapping-selectors", 0, []string{"\n---\napiVersion: policy", "\n" + deploymentConfig + "---\napiVersion: policy"}},
	"a ReplicaSet of its own":              {"overlapping-selectors", 1, []string{"\n---\napiVersion: policy", "\n" + replicaSet("") + "---\napiVersion: policy"}},
	"a VPA of memory, an HPA on CPU":       {"vertical-autoscaler", 0, besideVertical(cpuMetric, "resourcePolicy: {containerPolicies: [{containerName: '*', controlledResources: [memory]}]}")},
	"a VPA of memory, an HPA on memory":    {"vertical-autoscaler", 1, besideVertical(strings.ReplaceAll(cpuMetric, "cpu", "memory"), "resourcePolicy: {containerPolicies: [{containerName: '*', controlledResources: [memory]}]}")},
	"a VPA, an HPA on load":                {"vertical-autoscaler", 0, besideVertical(soundMetric, "")},
	"a VPA, an HPA on CPU and on load":     {"vertical-autoscaler", 1, besideVertical(soundMetric+cpuMetric, "")},
	"a VPA of new pods alone":              {"vertical-autoscaler", 1, besideVertical(cpuMetric, "updatePolicy: {updateMode: Initial}")},
	"a VPA of updates in place":            {"vertical-autoscaler", 1, besideVertical(cpuAverage("500m"), "updatePolicy: {updateMode: InPlaceOrRecreate}")},
	"a VPA that leaves the container":      {"vertical-autoscaler", 0, besideVertical(cpuMetric, `resourcePolicy: {containerPolicies: [{containerName: web, mode: "Off"}]}`)},
	"a VPA of this container alone":        {"vertical-autoscaler", 1, besideVertical(cpuMetric, `resourcePolicy: {containerPolicies: [{containerName: '*', mode: "Off"}, {containerName: web}]}`)},
	"a VPA of no resource":                 {"vertical-autoscaler", 0, besideVertical(cpuMetric, "resourcePolicy: {containerPolicies: [{containerName: web, controlledResources: []}]}")},
	"a VPA of another target":              {"vertical-autoscaler", 0, append(besideVertical(cpuMetric, ""), "kind: Deployment, name: web}, }", "kind: StatefulSet, name: web}}")},
	"a VPA of another namespace":           {"vertical-autoscaler", 0, append(besideVertical(cpuMetric, ""), "VerticalPodAutoscaler\nmetadata: {name: web, namespace: shop}", "VerticalPodAutoscaler\nmetadata: {name: web, namespace: bank}")},
	"an HPA on a sidecar, a VPA beside":    {"vertical-autoscaler", 0, besideVertical(sidecarMetric, `resourcePolicy: {containerPolicies: [{containerName: proxy, mode: "Off"}]}`)},
	"a rate of pods with the type Value":   {"value-of-a-rate", 0, []string{"type: AverageValue, ", "type: Value, "}},
	"a rate with an average":               {"value-of-a-rate", 0, []string{soundMetric, objectMetric("request_per_second", `type: AverageValue, averageValue: "50"`)}},
	"a rate by another name":               {"value-of-a-rate", 1, []string{soundMetric, objectMetric("front_rps", `type: Value, value: "50"`)}},
	"a share of hits":                      {"value-of-a-rate", 0, []string{soundMetric, objectMetric("cache_hit_rate", `type: Value, value: "50"`)}},
	"a metric that is null":                {"invalid-metric", 1, []string{soundMetric, "  - null\n"}},
}

// TestJudgements: a rule judges realistic manifests rightly.
func TestJudgements(t *testing.T) {
	t.Parallel()
	for name, tc := range lintJudgements {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if report := lintManifests(t, tc.replacements); countFindings(report, tc.rule) != tc.want {
				t.Errorf("%s: want %d findings of it, got %+v", tc.rule, tc.want, report.Findings)
			}
		})
	}
}

// TestHelmList: a List, as Helm and kubectl write it, is judged as its documents are.
func TestHelmList(t *testing.T) {
	t.Parallel()
	var items strings.Builder
	for document := range strings.SplitSeq(strings.Replace(sound, "minReplicas: 2", "minReplicas: 1", 1), "\n---\n") {
		items.WriteString("- " + strings.ReplaceAll(strings.TrimSpace(document), "\n", "\n  ") + "\n")
	}
	text := "apiVersion: v1\nkind: List\nitems:\n" + items.String()
	objects, err := inventory.ReadFiles(t.Context(), []string{"-"}, inventory.FileOptions{In: strings.NewReader(text), Namespace: "default"})
	if err != nil {
		t.Fatal(err)
	}
	report := Run(objects, true)
	if len(report.Findings) != 1 || report.Findings[0].Rule != "single-pod" {
		t.Errorf("findings %+v, want single-pod alone", report.Findings)
	}
}

// deploymentConfig is another workload with its autoscaler. Its selector has labels alone.
const deploymentConfig = `---
apiVersion: apps.openshift.io/v1
kind: DeploymentConfig
metadata: {name: other, namespace: shop}
spec:
  selector: {app: other}
  template: {metadata: {labels: {app: other}}, spec: {containers: [{name: a, image: a}]}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: other, namespace: shop}
spec:
  scaleTargetRef: {apiVersion: apps.openshift.io/v1, kind: DeploymentConfig, name: other}
  maxReplicas: 3
`

// lintManifests applies the rules to the sound manifests with replacements. Every replacement must find its text.
func lintManifests(t *testing.T, replacements []string) *Report {
	t.Helper()
	text := sound
	for i := 0; i+1 < len(replacements); i += 2 {
		if !strings.Contains(text, replacements[i]) {
			t.Fatalf("the sound manifests have no %q", replacements[i])
		}
		text = strings.Replace(text, replacements[i], replacements[i+1], 1)
	}
	objects, err := inventory.ReadFiles(t.Context(), []string{"-"}, inventory.FileOptions{In: strings.NewReader(text), Namespace: "default"})
	if err != nil {
		t.Fatal(err)
	}
	return Run(objects, true)
}

// TestRules: each rule finds its fault, and not its neighbour.
func TestRules(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, r := range Rules() {
		known[r.ID] = true
		if _, ok := lintCases[r.ID]; !ok {
			t.Errorf("rule %s has no test", r.ID)
		}
	}
	for id, tc := range lintCases {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			if !known[id] {
				t.Fatal("there is no such rule")
			}
			if n := countFindings(lintManifests(t, tc.bad), id); n == 0 {
				t.Errorf("not found in %q", tc.bad)
			}
			if n := countFindings(lintManifests(t, tc.good), id); n != 0 {
				t.Errorf("found %d times in %q", n, tc.good)
			}
		})
	}
}

func countFindings(r *Report, id string) int {
	n := 0
	for _, f := range r.Findings {
		if f.Rule == id {
			n++
		}
	}
	return n
}

// TestSoundManifests: the manifests that the cases spoil have no fault of their own.
func TestSoundManifests(t *testing.T) {
	t.Parallel()
	if report := lintManifests(t, nil); len(report.Findings) != 0 || report.HPAs != 1 {
		t.Errorf("got %+v", report)
	}
}

// TestOwnManifests: the repository's own manifests have no finding but what their comments say and want.
func TestOwnManifests(t *testing.T) {
	t.Parallel()
	root := filepath.Join("..", "..", "..")
	objects, err := inventory.ReadFiles(t.Context(), []string{filepath.Join(root, "manifests"), filepath.Join(root, "test", "e2e", "manifests")}, inventory.FileOptions{Namespace: "tachometer-sample"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range objects.HPAs { // kustomize gives overlays their namespace
		objects.HPAs[i].Namespace = "tachometer-sample"
	}
	for i := range objects.Workloads {
		objects.Workloads[i].Namespace = "tachometer-sample"
	}
	for i := range objects.Budgets {
		objects.Budgets[i].Namespace = "tachometer-sample"
	}
	report := Run(objects, true)
	charts := 0
	for _, u := range report.Unread { // the others are configurations
		if strings.HasPrefix(u.Reason, "templates of a Helm chart; ") {
			charts++
		}
	}
	if report.HPAs < 4 || charts != 2 || len(report.Unread) < 5 {
		t.Errorf("%d autoscalers, %v unread; want the overlays' autoscalers, and two charts and the configurations unread", report.HPAs, report.Unread)
	}
	var found []string
	for _, f := range report.Findings {
		found = append(found, f.Object+" "+f.Rule)
	}
	want := []string{
		"tachometer-sample/hpa/newcomer replicas-in-manifest", // its test makes the Deployment before the autoscaler
		"tachometer-sample/hpa/newcomer single-pod",
		"tachometer-sample/hpa/orders no-readiness-probe", // one pod without a port, whose number nobody needs
		"tachometer-sample/hpa/orders replicas-in-manifest",
		"tachometer-sample/hpa/orders single-pod",
		"tachometer-sample/hpa/orders surge-counts-as-wish",
		"tachometer-sample/hpa/queue-worker external-metric-without-rule", // of Kubernetes' own example, unchanged
		"tachometer-sample/hpa/queue-worker no-readiness-probe",
		"tachometer-sample/hpa/queue-worker replicas-in-manifest",
		"tachometer-sample/hpa/sample budget-equals-minimum", // its comment says for whom
		"tachometer-sample/hpa/sample value-of-a-rate",       // of hpa-total: its comment says for what
		"tachometer-sample/hpa/web target-missing",           // of manifests/examples, which have no workloads
		"tachometer-sample/hpa/workers target-missing",
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

func TestPrint(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	report := lintManifests(t, []string{"maxUnavailable: 1", "minAvailable: 2", "request_per_second", "http_requests_total"})
	if err := report.Print(&out, output.TableOptions{}); err != nil {
		t.Fatal(err)
	}
	want := `SEVERITY   OBJECT         RULE                    FINDING
error      shop/hpa/web   counter-without-rate    http_requests_total of pods: a counter by its name
warning    shop/hpa/web   budget-equals-minimum   pdb/web keeps 2, minReplicas is 2
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !report.Faulty() {
		t.Error("an error is not faulty")
	}
}

// TestBurst plays the scaleUp policies: seconds from minReplicas to maxReplicas.
func TestBurst(t *testing.T) {
	t.Parallel()
	for behavior, want := range map[string]int32{
		"{}": 15, // 2, 6, 10
		"{scaleUp: {policies: [{type: Percent, value: 400, periodSeconds: 15}]}}":                                                          0,
		"{scaleUp: {policies: [{type: Pods, value: 4, periodSeconds: 60}]}}":                                                               60, // 6 at once, 10 after a minute
		"{scaleUp: {policies: [{type: Pods, value: 4, periodSeconds: 60}, {type: Pods, value: 1, periodSeconds: 15}]}}":                    60,
		"{scaleUp: {selectPolicy: Min, policies: [{type: Pods, value: 8, periodSeconds: 15}, {type: Pods, value: 4, periodSeconds: 15}]}}": 15,
		"{scaleUp: {policies: [{type: Percent, value: 10, periodSeconds: 15}]}}":                                                           105, // one more each look
	} {
		text := strings.Replace(sound, "behavior: {}", "behavior: "+behavior, 1)
		objects, err := inventory.ReadFiles(t.Context(), []string{"-"}, inventory.FileOptions{In: strings.NewReader(text)})
		if err != nil {
			t.Fatal(err)
		}
		if got := measureUpBurst(&objects.HPAs[0]); got != want {
			t.Errorf("%s: %d s, want %d s", behavior, got, want)
		}
	}
}

// TestPage holds docs/lint.md to the rules.
func TestPage(t *testing.T) {
	t.Parallel()
	var page bytes.Buffer
	page.WriteString("# Rules of kubectl tachometer lint\n\n<!-- Written by `make update` from the rules themselves; do not edit. -->\n\n" +
		"Find faults of autoscalers before a load shows them. An error cannot work as written (exit code 1); a warning works badly sooner or\n" +
		"later. Each rule has its reason and its fix, as in the output with -o wide.\n\n```sh\n" +
		"kubectl tachometer lint -f manifests/   # files\nkubectl tachometer lint --all -o wide   # a cluster\n```\n")
	for _, severity := range []Severity{SeverityError, SeverityWarning} {
		fmt.Fprintf(&page, "\n## %ss\n\n| rule | reason | fix |\n| --- | --- | --- |\n", strings.ToUpper(string(severity[:1]))+string(severity[1:]))
		for _, r := range Rules() {
			if r.Severity == severity {
				fmt.Fprintf(&page, "| <a id=\"%s\"></a>`%s` | %s | %s |\n", r.ID, r.ID, r.Reason, r.Fix)
			}
			if n := len(strings.Fields(r.Reason)); n == 0 || n > 25 || !strings.HasSuffix(r.Reason, ".") {
				t.Errorf("%s: the reason %q is no sentence of at most 25 words", r.ID, r.Reason)
			}
		}
	}
	path := filepath.Join("..", "..", "..", "docs", "lint.md")
	golden.Compare(t, path, page.String())
}
