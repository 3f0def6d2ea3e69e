package discovery

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/podpage"
)

const queueSource = "service:mail/queue:9419/metrics"

// queueRules serves every external metric from the Service mail/queue.
type queueRules struct{ prefixRules }

func (queueRules) Namespaces(string, string) []string { return []string{queueSource} }

func queueTarget() RuleTarget {
	return RuleTarget{Source: queueSource, Service: metric.Object{Namespace: "mail", Name: "queue"}, Port: 9419, Path: "/metrics"}
}

func queueService() *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "mail", Name: "queue"}, Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "queue"}},
	}
}

// describeSource returns the pods of a source, each with its omission.
func (w *clusterWorld) describeSource(source string) string {
	var all []string
	for _, p := range w.Pods(source, labels.Everything()) {
		text := p.Name
		if !p.Live {
			text += "†"
		}
		if o := w.Explain(p.Namespace, p.Name); o.Reason != "" {
			text += " (" + o.Detail + ")"
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

// TestServiceTargets: the pods behind a Service of a rule are targets without an annotation, under the source and never as pods of the
// cluster, and follow the Service. Before the Service is known, and after it is gone, a pod without an endpoint stands for them.
func TestServiceTargets(t *testing.T) {
	objects := []runtime.Object{
		newHPA("shop", "web", "web", externalMetric("waiting", nil)), apiPod("shop", "web-1"),
		apiPod("mail", "queue-1", withLabels(map[string]string{"app": "queue"})), apiPod("mail", "other-1", withLabels(map[string]string{"app": "other"})),
	}
	prepare := func(w *clusterWorld) {
		w.SetRules(queueRules{})
		w.SetRuleTargets([]RuleTarget{queueTarget()})
	}
	runInWorld(t, objects, map[string]any{"shop/web": "app=web"}, prepare, func(w *clusterWorld) {
		sleepAndSettle(time.Second)
		w.expectTargets("without the Service", "")
		if got := w.describeSource(queueSource); !strings.Contains(got, `unknown (find the pods of services mail/queue: services "queue" not found)`) {
			t.Errorf("without the Service: %s", got)
		}
		w.createService(queueService())
		sleepAndSettle(20 * time.Second)
		w.expectTargets("with the Service", queueSource+"/queue-1: external_waiting")
		if got := len(w.Pods("", labels.Everything())); got != 3 {
			t.Errorf("the cluster has %d pods, want 3", got)
		}
		if url := w.Targets()[0].URL; !strings.HasSuffix(url, ":9419/metrics") {
			t.Errorf("URL %s, want the rule's port", url)
		}
		w.createPod(apiPod("mail", "queue-2", withLabels(map[string]string{"app": "queue"})))
		sleepAndSettle(time.Second)
		w.expectTargets("another pod", queueSource+"/queue-1: external_waiting, "+queueSource+"/queue-2: external_waiting")
		w.deletePod("mail", "queue-1")
		sleepAndSettle(time.Second)
		w.expectTargets("a pod is deleted", queueSource+"/queue-2: external_waiting")
		if got := w.describeSource(queueSource); got != "queue-1† (pod is gone), queue-2" {
			t.Errorf("a pod is deleted: %s", got)
		}
		w.SetRuleTargets(nil)
		sleepAndSettle(time.Second)
		w.expectTargets("the rule is gone", "")
	})
}

// gatewayRules serves the metric requests of services from the source.
type gatewayRules struct{ prefixRules }

func (gatewayRules) TargetSources(resource, metric string) []string {
	if resource == "services" && metric == "requests" {
		return []string{queueSource}
	}
	return nil
}

// TestTargetsOfObjects: an autoscaler on a metric of a Service whose rule has targets demands the pages of these, and nothing of the
// Service's own pods.
func TestTargetsOfObjects(t *testing.T) {
	objects := []runtime.Object{
		newHPA("shop", "web", "web", objectMetric("requests", "v1", "Service", "web"), objectMetric("other", "v1", "Service", "web")),
		apiPod("shop", "web-1", withLabels(map[string]string{"app": "web"})), apiPod("mail", "queue-1", withLabels(map[string]string{"app": "queue"})), queueService(),
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}, Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "web"}}},
	}
	prepare := func(w *clusterWorld) {
		w.SetRules(gatewayRules{})
		w.SetRuleTargets([]RuleTarget{queueTarget()})
	}
	runInWorld(t, objects, map[string]any{"shop/web": "app=web"}, prepare, func(w *clusterWorld) {
		sleepAndSettle(20 * time.Second)
		w.expectTargets("with the Service", queueSource+"/queue-1: services_requests, shop/web-1: services_other")
	})
}

func (w *clusterWorld) createService(s *corev1.Service) {
	w.Helper()
	if _, err := w.kube.CoreV1().Services(s.Namespace).Create(w.ctx, s, metav1.CreateOptions{}); err != nil {
		w.Fatal(err)
	}
}

// TestPodOfTwoSources: a pod of the cluster that is annotated feeds its namespace's metrics and the rule with targets, each once.
func TestPodOfTwoSources(t *testing.T) {
	t.Parallel()
	table := newWatchedPodTable()
	original := stripTestPod(t, endpointPolicy{}, apiPod("mail", "queue-1", withAnnotations(podpage.AnnotationPort, "9419")))
	table.upsertWatchedObject(original)
	policy := endpointPolicy{}
	table.replaceRuleTargetPods([]*storedPod{policy.newServiceTarget(queueTarget(), original)}, time.Now())
	copied := table.getStoredPod(metric.Object{Namespace: queueSource, Name: "queue-1"})
	if copied == nil || copied.url != original.url {
		t.Fatalf("the source's pod is %+v, want the URL %s", copied, original.url)
	}
	for _, p := range []*storedPod{original, copied} {
		if rival := table.findEndpointRival(p); rival != nil {
			t.Errorf("%s has the rival %s", p.storedPodKey(), rival.storedPodKey())
		}
	}
	table.replaceWatchedObjects([]*storedPod{original}) // a new list of the cluster's pods
	if table.getStoredPod(copied.storedPodKey()) == nil {
		t.Error("a new list of the cluster's pods removes the source's")
	}
}

// TestRuleTargetsStayOutOfTheNode: neither an address nor a pod on the node's network lends the adapter's reach to the node's services.
func TestRuleTargetsStayOutOfTheNode(t *testing.T) {
	t.Parallel()
	policy := endpointPolicy{}
	for address, want := range map[string]string{
		"http://10.0.0.5:9419/metrics":       "",
		"http://10.0.0.5:10250/metrics":      "belongs to a service of the node",
		"http://127.0.0.1:9419/metrics":      "loopback",
		"http://169.254.169.254:80/metrics":  "link-local",
		"http://[::ffff:127.0.0.1]:1/":       "loopback",
		"http://metadata.internal:80/latest": "not IP:PORT",
	} {
		p := policy.newAddressTarget(RuleTarget{Source: "address:" + address, Address: address})
		if (p.url == "") != (want != "") || !strings.Contains(p.skipReason, want) {
			t.Errorf("%s: URL %q, reason %q; want %q", address, p.url, p.skipReason, want)
		}
	}
	for name, change := range map[string]func(*corev1.Pod){
		"host network": onHostNetwork,
		"loopback":     withAddress("127.0.0.1"),
		"link-local":   withAddress("169.254.169.254"),
	} {
		p := policy.newServiceTarget(queueTarget(), stripTestPod(t, policy, apiPod("mail", "queue-1", change)))
		if p.url != "" || p.skipReason == "" {
			t.Errorf("%s: URL %q, reason %q; want no URL", name, p.url, p.skipReason)
		}
	}
}

func stripTestPod(t *testing.T, policy endpointPolicy, o *corev1.Pod) *storedPod {
	t.Helper()
	p, err := policy.stripPod(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
