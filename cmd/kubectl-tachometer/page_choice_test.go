package main

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
)

// newShopOfThree returns a shop with three ready pods.
func newShopOfThree(t *testing.T) *apiServer {
	t.Helper()
	shop := newShop(t)
	list, isList := shop.answers["/api/v1/namespaces/shop/pods"].(corev1.PodList)
	if !isList {
		t.Fatal("the shop has no pods")
	}
	for _, name := range []string{"web-2", "web-3"} {
		pod := *list.Items[0].DeepCopy()
		pod.Name = name
		list.Items = append(list.Items, pod)
		shop.answers["/api/v1/namespaces/shop/pods/"+name+":8080/proxy/metrics"] = "# TYPE orders_total counter\norders_total 3\n"
	}
	shop.answers["/api/v1/namespaces/shop/pods"] = list
	return shop
}

// TestPagesOfAWorkload: the families of all pods count, those of a canary too, and a page that fails is named.
func TestPagesOfAWorkload(t *testing.T) {
	t.Parallel()
	const first = "/api/v1/namespaces/shop/pods/web-1:8080/proxy/metrics"
	unreached := newFault(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, "dial tcp 10.0.0.1:8080: connect: connection refused")
	for name, tc := range map[string]struct {
		args   string
		answer any
		want   []string
	}{
		"one fails":    {"deploy/web", unreached, []string{"orders_total          counter   2/2    2        6        orders_per_second\n", "could not read the metrics page of pod web-1: ", "Of 2 of the 3 ready pods of deployment/web: SERIES and VALUE are sums over these 2. "}},
		"one is none":  {"deploy/web", "<html>", []string{"could not parse the metrics page of pod web-1: "}},
		"a canary":     {"deploy/web", "# TYPE a gauge\na 1\n", []string{"a                     gauge     1/3    1        1        a\n", "Of the 3 ready pods of deployment/web: SERIES and VALUE are sums over them. "}},
		"no right":     {"deploy/web", newFault(http.StatusForbidden, metav1.StatusReasonForbidden, "no right"), []string{"could not read the metrics page of pod web-1: no right"}},
		"a named pod":  {"web-1", unreached, []string{"no values: read the metrics page of pod web-1"}},
		"in JSON":      {"deploy/web -o json", unreached, []string{`"readPods": [`, `"pods": 3`, `"workload": "deployment/web"`}},
		"a wrong name": {"deploy/web -o yaml --metric order_per_second", "a 1\n", []string{"no listed family serves order_per_second: check its name\n", "name: order_per_second\n"}},
		"a right name": {"deploy/web -o yaml --metric orders_per_second", "a 1\n", []string{"name: orders_per_second\n"}},
	} {
		shop := newShopOfThree(t)
		shop.answers[first] = tc.answer
		code, out, errs := shop.run(append([]string{"metrics", "-n", "shop"}, strings.Fields(tc.args)...)...)
		for _, want := range tc.want {
			if code != exitFine || !strings.Contains(out+errs, want) {
				t.Errorf("%s: exit code %d, want %q in\n%s%s", name, code, want, out, errs)
			}
		}
	}
}

// TestNoRecordsAreSaid: a namespace without recorded autoscalers is no empty table.
func TestNoRecordsAreSaid(t *testing.T) {
	t.Parallel()
	shop := newShop(t)
	shop.answers["/apis/explain.tachometer.dev/v1alpha1/namespaces/shop/horizontalpodautoscalers"] = explainapi.ExplanationList{}
	if code, out, errs := shop.run("budget", "-n", "shop"); code != exitFine || out != "" || errs != "The adapter has no record of an autoscaler in namespace shop.\n" {
		t.Errorf("code %d\n%s\n%s", code, out, errs)
	}
}

// TestOwnFailuresAreNoFaults: a read that kube-apiserver puts off, or does not answer, says nothing of the autoscaler.
func TestOwnFailuresAreNoFaults(t *testing.T) {
	t.Parallel()
	const metric = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/*/request_per_second"
	for reason, answer := range map[string]any{
		"too many requests":    newFault(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, "too many requests"),
		"the token is too old": newFault(http.StatusUnauthorized, metav1.StatusReasonUnauthorized, "the token is too old"),
		"EOF":                  http.ErrAbortHandler,
	} {
		shop := newShop(t)
		shop.answers[metric] = answer
		if aborted, isAborted := answer.(error); isAborted {
			shop.answers[metric] = func() any { panic(aborted) }
		}
		if code, out, errs := shop.run("top", "-n", "shop", "-o", "jsonpath={.items[0].state}"); code != exitFine || out != "rising" {
			t.Errorf("%s: exit code %d, state %s\n%s", reason, code, out, errs)
		}
		want := "request_per_second could not be read ("
		if _, out, errs := shop.run("explain", "hpa/web", "-n", "shop", "-o", "sentence"); !strings.Contains(out, want) {
			t.Errorf("%s: %s%s", reason, out, errs)
		}
		if _, out, errs := shop.run("doctor", "hpa/web", "-n", "shop"); strings.Contains(out, "FAIL") {
			t.Errorf("%s: %s%s", reason, out, errs)
		}
	}
}

// TestDoctorActsOnTheSameCluster: the command that doctor shows has the connection of doctor's own command line.
func TestDoctorActsOnTheSameCluster(t *testing.T) {
	t.Parallel()
	shop := newShop(t)
	_, out, _ := shop.run("doctor", "hpa/wep", "-n", "shop", "--as", "ann", "--insecure-skip-tls-verify")
	if want := "Run: kubectl get hpa -A --as ann --insecure-skip-tls-verify --kubeconfig '/dev/null' --server " + shop.url; !strings.Contains(strings.ReplaceAll(out, " /dev/null", " '/dev/null'"), want) {
		t.Errorf("%s\nwant %s", out, want)
	}
}

// TestInterruptedReads: a command that is interrupted shows no report of reads that ended early.
func TestInterruptedReads(t *testing.T) {
	t.Parallel()
	shop := newShop(t)
	for _, command := range []string{"doctor", "top"} {
		var out, errs strings.Builder
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		cmd := newKubectlRootCommand(&pluginProgram{out: &out, errs: &errs})
		cmd.SetArgs([]string{command, "-n", "shop", "--server", shop.url, "--kubeconfig", os.DevNull})
		if err := cmd.ExecuteContext(ctx); err == nil || out.Len() > 0 {
			t.Errorf("%s: %v, printed %s", command, err, out.String())
		}
	}
}

// TestTryNeedsAMetricOfRules: a rule file is not called sound for an autoscaler that reads none of its metrics.
func TestTryNeedsAMetricOfRules(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	rule, scaler := filepath.Join(folder, "rule.yaml"), filepath.Join(folder, "hpa.yaml")
	text := "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: web}\nspec:\n  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}\n" +
		"  maxReplicas: 9\n  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 60}}}]\n"
	for path, text := range map[string]string{rule: "no: rule\n", scaler: text} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	code, out, errs := newShop(t).run("try", "-f", rule, "--hpa", scaler, "-n", "shop")
	if want := "error: hpa/web names no metric that a rule can serve, of type Pods, Object or External\n"; code != exitBroken || out != "" || errs != want {
		t.Errorf("code %d\n%s\n%s", code, out, errs)
	}
}

// TestVersionWithoutAnAnswer: a script sees that the version of the cluster is unknown.
func TestVersionWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	var out, errs strings.Builder
	code := runKubectlTachometer([]string{"version", "--server=http://127.0.0.1:1", "--kubeconfig=" + os.DevNull}, strings.NewReader(""), &out, &errs)
	if code != exitBroken || !strings.Contains(out.String(), "Kubernetes Version: unknown: Get ") {
		t.Errorf("exit code %d\n%s%s", code, out.String(), errs.String())
	}
}

// TestNamesOfEmptyDocuments: the names that fill the adapter's empty discovery documents are no metrics.
func TestNamesOfEmptyDocuments(t *testing.T) {
	t.Parallel()
	shop := newShop(t)
	for version, name := range map[string]string{"custom.metrics.k8s.io/v1beta2": "pods/no_metric_is_demanded_yet", "external.metrics.k8s.io/v1beta1": "no_external_rule_is_configured"} {
		shop.answers["/apis/"+version] = metav1.APIResourceList{GroupVersion: version, APIResources: []metav1.APIResource{{Name: name}, {Name: "pods/orders"}}}
	}
	code, out, errs := shop.run("metrics", "-n", "shop", "-o", "name")
	if code != exitFine || strings.Contains(out, "no_") || strings.Count(out, "pods/orders.") != 2 {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
}
