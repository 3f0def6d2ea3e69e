package e2e

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// newcomersFault is a fault in a newcomer's cluster, and the first words about it.
type newcomersFault struct {
	name  string
	spoil func(*newcomersObjects) // before they are created; nil: they work
	// arrange makes the part of the fault that needs running pods. It returns a function that ends what no command of doctor ends.
	arrange     func(t *testing.T, namespace string) (end func())
	wholeServer bool   // the fault is in the cluster: the objects of namespace "none" show it
	first       string // the begin of the first line below doctor's table; empty: nothing is broken, and there is no warning
	says        string // what follows in that line, a regular expression
	fix         string // a part of the command that doctor names
	mends       bool   // the command ends the fault
	explain     string // what a line of explain says, a regular expression; empty: explain is silent about it
}

// newcomersFaults begin with the one that passes by itself, and end with those of the whole cluster.
var newcomersFaults = []newcomersFault{
	{
		name: "warming-up", spoil: func(o *newcomersObjects) { o.hpa.Spec.Metrics[0].Pods.Metric.Name = "http_requests_per_second" }, arrange: requestOnce,
		first: "Nothing is broken. First warning: metric", says: `1 pod: 1 warming up \(fewer than \d+ `, fix: "kubectl tachometer doctor hpa/web", explain: "^1 pod: .*warming up",
	},
	{name: "none", explain: "^1 pod: go_memstats_mallocs_per_second is "},
	{
		name: "typo", spoil: func(o *newcomersObjects) { o.hpa.Spec.Metrics[0].Pods.Metric.Name = "http_requests_per_secnd" },
		first: "First broken: metric", says: "nearest: http_requests_per_second", fix: `"value":"http_requests_per_second"`, explain: "nearest: http_requests_per_second",
	},
	{
		name: "port", spoil: func(o *newcomersObjects) { o.annotatePods("prometheus.io/port", "9999") },
		first: "First broken: metric", says: "connection refused", fix: `"prometheus.io/port":"8080"`, explain: "connection refused",
	},
	{
		name: "path", spoil: func(o *newcomersObjects) { o.annotatePods("prometheus.io/path", "/metrix") },
		first: "First broken: metric", says: "404", fix: "/proxy/metrix", explain: "404",
	},
	{
		name: "port-name", spoil: func(o *newcomersObjects) { // no port is named metrics, and there are two
			o.deployment.Spec.Template.Annotations = nil
			c := &o.deployment.Spec.Template.Spec.Containers[0]
			c.Ports = append(c.Ports, corev1.ContainerPort{Name: "metricz", ContainerPort: 9090})
		},
		first: "First broken: metric", says: `several ports are declared \(8080, 9090\)`, fix: `"prometheus.io/port":"8080"`, explain: "port",
	},
	{
		name: "selector", spoil: func(o *newcomersObjects) {
			o.service.Spec.Selector = map[string]string{"app": "wep"}
			m := &o.hpa.Spec.Metrics[0]
			m.Type, m.Object = autoscalingv2.ObjectMetricSourceType, &autoscalingv2.ObjectMetricSource{
				DescribedObject: autoscalingv2.CrossVersionObjectReference{APIVersion: "v1", Kind: "Service", Name: "web"},
				Metric:          m.Pods.Metric, Target: autoscalingv2.MetricTarget{Type: autoscalingv2.ValueMetricType, Value: new(resource.MustParse("1G"))},
			}
			m.Pods = nil
		},
		first: "First broken: metric", says: "no pods", fix: "describe service web", explain: "no pods",
	},
	{
		name: "no-usage-api", spoil: (*newcomersObjects).scaleByCPUWithoutRequest, // before the request, the API is missing
		first: "First broken: metric", says: "metrics.k8s.io is not served", fix: "apiservice", explain: "metrics.k8s.io is not served",
	},
	{
		name: "no-workload", spoil: func(o *newcomersObjects) { o.hpa.Spec.ScaleTargetRef.Name = "wep" },
		first: "First broken: target", says: "Deployment wep does not exist; nearest: web", fix: `"name":"web"`, explain: `deployments.apps "wep" not found`,
	},
	{
		name: "rival", spoil: func(o *newcomersObjects) {
			o.rival = o.hpa.DeepCopy()
			o.rival.Name = "web-too"
		},
		first: "First broken: rival", says: "scales Deployment web too", fix: "delete hpa web", mends: true, explain: "web-too",
	},
	{
		name: "budget", spoil: func(o *newcomersObjects) {
			o.budget = &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: policyv1.PodDisruptionBudgetSpec{
				MinAvailable: new(intstr.FromInt32(1)), Selector: o.deployment.Spec.Selector,
			}}
		},
		first: "Nothing is broken. First warning: budget", says: "no node can be drained", fix: "patch pdb web", mends: true,
	},
	{
		name: "limit", spoil: func(o *newcomersObjects) {
			o.hpa.Spec.Metrics[0].Pods.Target.AverageValue = new(resource.MustParse("1"))
		},
		first: "Nothing is broken. First warning: condition", says: "wants more than maxReplicas", fix: `"maxReplicas":4`, explain: "maxReplicas is 2",
	},
	{
		name: "network-policy", arrange: denyIngress,
		first: "First broken: network", says: "networkpolicy/deny-all does not admit the adapter's pods to port 8080", fix: "patch networkpolicy deny-all", mends: true,
		explain: "timeout after",
	},
	{
		name: "stale", spoil: (*newcomersObjects).removeProbes, arrange: freezePods, // with probes the kubelet would restart the pod
		first: "First broken: metric", says: `1 pod: 1 (stale|scrape failed \(timeout after)`, fix: "/proxy/metrics", explain: "stale|timeout after",
	},
	{
		name: "rights", wholeServer: true, arrange: takeRightsOfHPAController,
		first: "First broken: rights " + hpaControllerUser, says: "may not get custom.metrics.k8s.io in newcomer-none",
		fix: "kubectl create clusterrolebinding hpa-metrics --clusterrole=tachometer-metrics-reader", mends: true,
	},
	{
		name: "other-adapter", wholeServer: true, arrange: registerOtherAdapter,
		first: "First broken: apiservice v1beta2.custom.metrics.k8s.io", says: "served by another adapter, monitoring/prometheus-adapter", fix: "kubectl apply -k manifests/adapter",
	},
	{
		name: "certificate", wholeServer: true, arrange: serveExpiredCertificate,
		first: "First broken: certificate", says: `expired at 20\d\d-`, fix: "rollout restart deployment/tachometer-adapter",
	},
}

// allIsWell matches doctor's output without a fault and without a warning.
const allIsWell = `(?m)^Nothing is broken\.$`

// TestNewcomer: one command without any choice names the cause of each fault first, with the command that mends it, and explain of the autoscaler has
// the cause too.
func TestNewcomer(t *testing.T) {
	needNode(t)
	if _, err := buildPlugin(); err != nil {
		t.Fatal(err)
	}
	for _, fault := range slices.Backward(newcomersFaults) { // the first one is the youngest when it is judged
		if fault.wholeServer {
			continue
		}
		objects := newNewcomersObjects(t)
		if fault.spoil != nil {
			fault.spoil(objects)
		}
		objects.create(t, fault.namespace())
	}
	for _, fault := range newcomersFaults { // the controller has looked at most of them when the first is judged
		t.Run(fault.name, func(t *testing.T) { //nolint:paralleltest // the machine has few processors
			fault.find(t)
		})
	}
}

func (f *newcomersFault) namespace() string {
	if f.wholeServer {
		return "newcomer-none"
	}
	return "newcomer-" + f.name
}

// find arranges the fault, and waits until both commands have its cause. A command that mends it must do so.
func (f *newcomersFault) find(t *testing.T) {
	t.Helper()
	end := func() {}
	if f.arrange != nil {
		end = f.arrange(t, f.namespace())
	}
	doctor := []string{"doctor", "-n", f.namespace()}
	says := allIsWell
	if f.first != "" {
		says = "(?m)^" + regexp.QuoteMeta(f.first) + ".*" + f.says
	}
	out := findsAsNewcomer(t, doctor, says)
	_, fix, _ := strings.Cut(out, "\nRun: ")
	if !strings.Contains(fix, f.fix) {
		t.Errorf("the command is %q, want one with %q", fix, f.fix)
	}
	if f.explain != "" {
		findsAsNewcomer(t, []string{"explain", "hpa/web", "-n", f.namespace()}, "(?m)"+f.explain)
	}
	if f.mends && !t.Failed() {
		runFix(t, fix)
	}
	end()
	if f.mends || f.wholeServer {
		findsAsNewcomer(t, doctor, allIsWell)
	}
}

// findsAsNewcomer waits until a command of the plugin prints what a regular expression matches, and returns the output.
func findsAsNewcomer(t *testing.T, args []string, says string) (out string) {
	t.Helper()
	pattern := regexp.MustCompile(says)
	err := stack.Wait(t.Context(), time.Minute, func(ctx context.Context) error {
		out, _ = runPluginQuietly(ctx, t, args...)
		if !pattern.MatchString(out) {
			return fmt.Errorf("no line with %s", says)
		}
		return nil
	})
	t.Logf("$ kubectl tachometer %s\n%s", strings.Join(args, " "), out)
	if err != nil {
		t.Error(err)
	}
	return out
}
