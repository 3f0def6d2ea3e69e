package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/replay/replaytest"
)

// apiServer is a kube-apiserver that rejects each request without a prepared answer.
type apiServer struct {
	url     string
	answers map[string]any
	ahead   time.Duration // of its clock
}

func newAPIServer(t *testing.T) *apiServer {
	t.Helper()
	a := &apiServer{answers: map[string]any{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Date", time.Now().Add(a.ahead).UTC().Format(http.TimeFormat))
		answer, ok := a.answers[r.URL.Path]
		if fresh, isFresh := answer.(func() any); isFresh {
			answer = fresh()
		}
		if text, isText := answer.(string); isText {
			w.Header().Set("Content-Type", "text/plain; version=0.0.4")
			_, _ = w.Write([]byte(text))
			return
		}
		if fault, isFault := answer.(metav1.Status); isFault {
			w.WriteHeader(int(fault.Code))
		}
		if !ok {
			w.WriteHeader(http.StatusForbidden)
			answer = metav1.Status{
				TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure,
				Reason: metav1.StatusReasonForbidden, Code: http.StatusForbidden, Message: "forbidden: " + r.URL.Path,
			}
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
	t.Cleanup(server.Close)
	a.url = server.URL
	return a
}

// newShop returns a cluster with an autoscaler of two pods in namespace shop.
func newShop(t *testing.T) *apiServer {
	t.Helper()
	a := newAPIServer(t)
	labels := map[string]string{"app": "web"}
	hpa := autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"},
			MinReplicas:    new(int32(2)), MaxReplicas: 10,
			Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{
				Metric: autoscalingv2.MetricIdentifier{Name: "request_per_second"},
				Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: new(resource.MustParse("50"))},
			}}},
		},
		Status: autoscalingv2.HorizontalPodAutoscalerStatus{CurrentReplicas: 2, DesiredReplicas: 3},
	}
	pod := corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1", Labels: labels},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Ports: []corev1.ContainerPort{{ContainerPort: 8080}}}}},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		},
	}
	deployment := appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: corev1.PodTemplateSpec{ObjectMeta: pod.ObjectMeta, Spec: pod.Spec},
		},
	}
	hpas := autoscalingv2.HorizontalPodAutoscalerList{
		TypeMeta: metav1.TypeMeta{Kind: "HorizontalPodAutoscalerList", APIVersion: "autoscaling/v2"},
		Items:    []autoscalingv2.HorizontalPodAutoscaler{hpa},
	}
	a.answers["/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers"] = hpas
	a.answers["/apis/autoscaling/v2/horizontalpodautoscalers"] = hpas
	a.answers["/api/v1/namespaces/shop/pods"] = corev1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}, Items: []corev1.Pod{pod}}
	pod.TypeMeta = metav1.TypeMeta{Kind: "Pod", APIVersion: "v1"}
	a.answers["/api/v1/namespaces/shop/pods/web-1"] = pod
	a.answers["/apis/apps/v1/namespaces/shop/deployments"] = appsv1.DeploymentList{
		TypeMeta: metav1.TypeMeta{Kind: "DeploymentList", APIVersion: "apps/v1"}, Items: []appsv1.Deployment{deployment},
	}
	a.answers["/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/*/request_per_second"] = func() any { // a value is old after a minute
		return map[string]any{"items": []any{
			map[string]any{"describedObject": map[string]string{"name": "web-1"}, "timestamp": time.Now().Add(a.ahead).UTC().Format(time.RFC3339), "value": "61500m"},
		}}
	}
	a.answers["/apis/scaler.tachometer.dev/v1alpha1/namespaces/shop/holds"] = map[string]any{
		"apiVersion": "scaler.tachometer.dev/v1alpha1", "kind": "HoldList", "metadata": map[string]any{}, "items": []any{},
	}
	a.answers["/apis/explain.tachometer.dev/v1alpha1/namespaces/shop/rulereviews"] = explainapi.RuleReview{Status: explainapi.RuleReviewStatus{
		Metric: "request_per_second", Resource: "pods", Values: []explainapi.ReviewedValue{{Object: "web-1", Milli: 120_000, Time: time.Now()}},
	}}
	a.answers["/api/v1/namespaces/shop/pods/web-1:8080/proxy/metrics"] = "# TYPE http_requests_total counter\nhttp_requests_total 9\n"
	a.answers["/apis/explain.tachometer.dev/v1alpha1/namespaces/shop/metrics"] = listedMetrics()
	return a
}

// listedMetrics is the adapter's list of a workload with a page, one without, and a demanded metric that no family serves.
func listedMetrics() explainapi.MetricList {
	list := explainapi.MetricList{
		Source: explainapi.Source{Replica: "adapter-1"}, UnreadWorkloads: 3,
		Pages: []explainapi.MetricPage{
			{Workload: "ReplicaSet/web", Pod: "web-1", Targets: 2, Families: 1}, {Workload: "Pod/db", Pod: "db", Targets: 1, Error: "connection refused"},
		},
		Items: []explainapi.Metric{
			{Type: "counter", Help: "Requests \x1b[2Jserved.", Targets: 2, Metrics: []explainapi.ServedMetric{{Name: "request_per_second", Resource: "pods"}}},
			{Demands: []explainapi.MetricDemand{{Metric: "orders", External: true, Autoscaled: true}}},
		},
	}
	list.Items[0].Name, list.Items[1].Name = "http_requests_total", "orders"
	return list
}

// TestListedMetrics: without the right to read pages, a pod's families are the adapter's list; a namespace's are so for everybody.
func TestListedMetrics(t *testing.T) {
	t.Parallel()
	shop := newShop(t)
	shop.answers["/apis/custom.metrics.k8s.io/v1beta2"] = metav1.APIResourceList{
		GroupVersion: "custom.metrics.k8s.io/v1beta2", APIResources: []metav1.APIResource{{Name: "pods/request_per_second"}},
	}
	delete(shop.answers, "/api/v1/namespaces/shop/pods/web-1:8080/proxy/metrics")
	for name, tc := range map[string]struct {
		args  []string
		texts []string
	}{
		"a workload": {[]string{"metrics", "deploy/web", "-n", "shop"}, []string{
			"http_requests_total   counter   <none>   0        <none>   request_per_second", "METRICS are by the rules in force, as adapter-1 lists them.",
			"no values: read the metrics page of pod web-1: forbidden",
		}},
		"a pod": {[]string{"metrics", "web-1", "-n", "shop"}, []string{"http_requests_total   counter   <none>   0        <none>   request_per_second"}},
		"a namespace": {[]string{"metrics", "-n", "shop", "-o", "wide"}, []string{
			`http_requests_total   counter   2         <none>       request_per_second   Requests \x1b[2Jserved.`,
			"<none>                <none>    0         autoscaler   orders", "could not read the page of pod db for Pod/db: connection refused",
			"3 workloads more not read: name one, as deployment/NAME",
		}},
		"an autoscaler": {[]string{"metrics", "deploy/web", "-n", "shop", "-o", "yaml"}, []string{"name: request_per_second"}},
		"names of a namespace": {[]string{"metrics", "-n", "shop", "-o", "name"}, []string{
			"pods/request_per_second.custom.metrics.k8s.io\nmetric.explain.tachometer.dev/http_requests_total\nmetric.explain.tachometer.dev/orders\n",
		}},
		"names of a pod":     {[]string{"metrics", "web-1", "-n", "shop", "-o", "name"}, []string{"metric.explain.tachometer.dev/http_requests_total\n"}},
		"a workload in JSON": {[]string{"metrics", "deploy/web", "-n", "shop", "-o", "json"}, []string{`"help": "Requests \u001b[2Jserved."`}},
	} {
		code, out, errs := shop.run(tc.args...)
		for _, text := range tc.texts {
			if code != exitFine || !strings.Contains(out+errs, text) {
				t.Errorf("%s: exit code %d, want %q in\n%s%s", name, code, text, out, errs)
			}
		}
		if strings.Contains(out+errs, "\x1b") {
			t.Errorf("%s: a control character reaches the terminal", name)
		}
	}
}

// TestMetricsByRulesInForce: a pod's families have the metrics of the rules in force beside the values of its page; without the adapter's list
// those of the built-in rules, and a note.
func TestMetricsByRulesInForce(t *testing.T) {
	t.Parallel()
	const path = "/apis/explain.tachometer.dev/v1alpha1/namespaces/shop/metrics"
	shop := newShop(t)
	list := listedMetrics()
	list.Items[0].Metrics[0].Name = "web_per_second"
	shop.answers[path] = list
	older := newShop(t)
	older.answers[path] = newFault(http.StatusNotFound, metav1.StatusReasonNotFound, "the server could not find the requested resource")
	bare := newShop(t)
	bare.answers[path] = explainapi.MetricList{Items: []explainapi.Metric{}}
	const builtIn = "METRICS are by the adapter's built-in rules"
	for _, tc := range []struct {
		shop *apiServer
		args string
		want []string
	}{
		{shop, "web-1", []string{"http_requests_total   counter   1/1    1        9       web_per_second", "Of pod web-1. METRICS are by the rules in force, as adapter-1 lists them."}},
		{shop, "deploy/web", []string{"web_per_second"}},
		{shop, "deploy/web -o yaml", []string{"name: web_per_second"}},
		{older, "deploy/web", []string{"request_per_second", builtIn, "could not list the families by the rules in force: the adapter does not serve"}},
		{older, "deploy/web -o yaml", []string{"name: request_per_second"}},
		{bare, "deploy/web", []string{"request_per_second", builtIn, explainapi.NoMetricPages}},
	} {
		code, out, errs := tc.shop.run(append([]string{"metrics", "-n", "shop"}, strings.Fields(tc.args)...)...)
		for _, want := range tc.want {
			if code != exitFine || !strings.Contains(out+errs, want) {
				t.Errorf("%s: exit code %d, want %q in\n%s%s", tc.args, code, want, out, errs)
			}
		}
	}
}

// run runs the plugin against the server.
func (a *apiServer) run(args ...string) (code int, out, errs string) {
	var stdout, stderr bytes.Buffer
	code = runKubectlTachometer(append(args, "--server="+a.url, "--kubeconfig="+os.DevNull), strings.NewReader(""), &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	hpa := "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: web}\nspec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}, minReplicas: 2, maxReplicas: "
	shop := newShop(t)
	for _, path := range []string{"autoscaling/v2/namespaces/empty/horizontalpodautoscalers", "autoscaling/v2/namespaces/poor/horizontalpodautoscalers", "apps/v1/namespaces/empty/deployments", "apps/v1/namespaces/empty/statefulsets"} {
		shop.answers["/apis/"+path] = map[string]any{"kind": "List", "apiVersion": "v1", "items": []any{}}
	}
	shop.answers["/api/v1/namespaces/empty/pods"] = map[string]any{"kind": "PodList", "apiVersion": "v1", "items": []any{}}
	shop.answers["/apis/custom.metrics.k8s.io/v1beta2"] = metav1.APIResourceList{GroupVersion: "custom.metrics.k8s.io/v1beta2", APIResources: []metav1.APIResource{{Name: "pods/request_per_second"}}}
	for name, tc := range map[string]struct {
		args []string
		code int
		text string // in standard output or error
	}{
		"help":                          {[]string{"--help"}, exitFine, "kubectl tachometer [command]"},
		"unknown command":               {[]string{"docter"}, exitUsage, `unknown command "docter"`},
		"unknown flag":                  {[]string{"top", "--all-name"}, exitUsage, "unknown flag: --all-name; did you mean --all-namespaces?"},
		"unknown shell":                 {[]string{"completion", "tcsh"}, exitUsage, `no completion for "tcsh"; shells: bash, fish, powershell, zsh`},
		"unknown format":                {[]string{"top", "-o", "xml"}, exitUsage, `unknown output format "xml"; use one of wide, json, yaml, name`},
		"too many arguments":            {[]string{"doctor", "hpa/a", "hpa/b"}, exitUsage, "accepts at most 1 arg"},
		"not an autoscaler":             {[]string{"doctor", "deploy/web"}, exitUsage, `"deploy/web" names no autoscaler; write hpa/NAME`},
		"version of the client":         {[]string{"version", "--client"}, exitFine, "Client Version: "},
		"version without rights":        {[]string{"version"}, exitFine, "Adapter Image: unknown: forbidden"},
		"top of nothing, without pods":  {[]string{"top", "-n", "poor"}, exitFine, "There is no autoscaler in namespace poor.\n"},
		"no holds":                      {[]string{"hold", "status", "-n", "shop"}, exitFine, "no holds"},
		"holds in JSON":                 {[]string{"hold", "status", "-n", "shop", "-o", "json"}, exitFine, `"kind": "List"`},
		"a hold without replicas":       {[]string{"hold", "set", "deploy/web", "-n", "shop"}, exitUsage, "--replicas is required"},
		"a hold of nothing":             {[]string{"hold", "pause", "web", "-n", "shop"}, exitUsage, "such as deploy/web"},
		"a hold that is forbidden":      {[]string{"hold", "release", "deploy/web", "-n", "secret"}, exitBroken, "forbidden"},
		"an unknown hold command":       {[]string{"hold", "sett", "deploy/web", "-n", "shop"}, exitUsage, "did you mean kubectl tachometer hold set?"},
		"doctor with few rights":        {[]string{"doctor", "-n", "shop"}, exitFine, "Nothing is broken as far as could be read; 10 checks could not. First warning: condition"},
		"doctor of what is not":         {[]string{"doctor", "hpa/wep", "-n", "shop"}, exitBroken, "First broken: autoscaler hpa/wep"},
		"lint without files":            {[]string{"lint"}, exitUsage, "give either -f FILE or --all"},
		"lint of a missing file":        {[]string{"lint", "-f", "/does/not/exist"}, exitBroken, "no such file"},
		"lint of nothing":               {[]string{"lint", "-f", os.DevNull}, exitBroken, "no HorizontalPodAutoscaler with a scaleTargetRef in " + os.DevNull},
		"lint of a configuration":       {[]string{"lint", "-f", file("config.yaml", "apiVersion: config.tachometer.dev/v1alpha1\nkind: AdapterConfig")}, exitBroken, "tachometer-adapter --check-config --config "},
		"type and name":                 {[]string{"explain", "hpa", "web", "-n", "shop", "-o", "sentence"}, exitFine, "request_per_second is 61.5/s over 1 pod"},
		"type and name of a workload":   {[]string{"metrics", "deploy", "web", "-n", "shop"}, exitFine, "request_per_second"},
		"another type and name":         {[]string{"doctor", "deploy", "web"}, exitUsage, `"deploy/web" names no autoscaler; write hpa/NAME`},
		"explain nothing":               {[]string{"explain"}, exitUsage, "name one autoscaler, hpa/NAME"},
		"a name with a slash":           {[]string{"explain", "hpa/web/web"}, exitUsage, `"hpa/web/web" names no autoscaler; write hpa/NAME`},
		"a name of another folder":      {[]string{"replay", "hpa/.."}, exitUsage, `"hpa/.." names no autoscaler; write hpa/NAME`},
		"a workload without a name":     {[]string{"metrics", "deploy/"}, exitUsage, `"deploy/" names no pod and no workload`},
		"a pod of another folder":       {[]string{"metrics", "pod/../x", "-o", "json"}, exitUsage, `"pod/../x" names no pod and no workload`},
		"a pod without a name":          {[]string{"metrics", ""}, exitUsage, `"" names no pod and no workload`},
		"doctor of a name everywhere":   {[]string{"doctor", "hpa/web", "-A"}, exitUsage, "hpa/web is in one namespace: give -n NAMESPACE instead of -A"},
		"top of a name":                 {[]string{"top", "hpa/web"}, exitUsage, `kubectl tachometer top takes no arguments, but got "hpa/web"; see kubectl tachometer top --help`},
		"lint of an argument":           {[]string{"lint", "manifests/"}, exitUsage, `kubectl tachometer lint takes no arguments, but got "manifests/"; see`},
		"lint of a warning":             {[]string{"lint", "-f", file("warning.yaml", hpa+"2}")}, exitFine, "no-room"},
		"lint of an error":              {[]string{"lint", "-f", file("error.yaml", hpa+"1}")}, exitBroken, "min-above-max"},
		"lint of a cluster":             {[]string{"lint", "--all", "-n", "shop"}, exitFine, "no-readiness-probe"},
		"lint without rights":           {[]string{"lint", "--all", "-n", "bank"}, exitBroken, "error: read horizontalpodautoscalers: forbidden"},
		"top without rights":            {[]string{"top", "-n", "bank"}, exitBroken, "error: read horizontalpodautoscalers: forbidden"},
		"top without rights, in JSON":   {[]string{"top", "-n", "bank", "-o", "json"}, exitBroken, `"resource": "horizontalpodautoscalers"`},
		"lint of a folder of kustomize": {[]string{"lint", "-f", filepath.Join("..", "..", "manifests", "sample")}, exitBroken, "kubectl kustomize "},
		"lint of no input":              {[]string{"lint", "-f", "-"}, exitBroken, "no HorizontalPodAutoscaler with a scaleTargetRef in standard input"},
		"lint of two files":             {[]string{"lint", "-R", "-f", file("one.yaml", hpa+"2}"), "-f", file("two.yaml", hpa+"1}")}, exitBroken, "min-above-max"},
		"lint of a key that is twice":   {[]string{"lint", "-f", file("twice.yaml", hpa+"2, maxReplicas: 9}")}, exitBroken, "twice.yaml:4   duplicate-key"},
		"a template":                    {[]string{"top", "-n", "shop", "-o", `jsonpath={range .items[*]}{.name}{"\t"}{.wanted}{"\n"}{end}`}, exitFine, "web\t3\n"},
		"a template of nothing":         {[]string{"doctor", "-n", "shop", "-o", "jsonpath={.nothing}"}, exitFine, ""},
		"no template":                   {[]string{"top", "-o", "jsonpath="}, exitUsage, "it is empty"},
		"a template that is broken":     {[]string{"top", "-o", "jsonpath={.items"}, exitUsage, "the template of -o jsonpath={.items: unclosed action"},
		"try without a file":            {[]string{"try"}, exitUsage, "give the file of the rule: -f FILE"},
		"try of pods and an HPA":        {[]string{"try", "-f", "rule.yaml", "--hpa", "hpa.yaml", "-l", "app=web"}, exitUsage, "give either --hpa"},
		"try of a rule":                 {[]string{"try", "-f", file("rule.yaml", "rules: []"), "-n", "shop"}, exitFine, "web-1    120/s "},
		"try for an autoscaler":         {[]string{"try", "-f", file("rule2.yaml", "rules: []"), "-n", "shop", "--hpa", file("rps.yaml", hpa+"9, metrics: [{type: Pods, pods: {metric: {name: request_per_second}, target: {type: AverageValue, averageValue: 50}}}]}")}, exitFine, "request_per_second is 120/s over 1 pod, target 50 → 2.4"},
		"try with a field that is none": {[]string{"try", "-f", file("rule5.yaml", "rules: []"), "-n", "shop", "--hpa", file("typo.yaml", hpa+"9, behaviour: {}}")}, exitBroken, `typo.yaml: hpa/web: unknown field "spec.behaviour"`},
		"replay with wrong limits":      {[]string{"replay", "hpa/web", "-f", file("limits.yaml", hpa+"1}"), "-n", "shop"}, exitBroken, "hpa/web: minReplicas is 2 and maxReplicas 1; set maxReplicas"},
		"a name of -o name":             {[]string{"explain", "horizontalpodautoscaler.autoscaling/web", "-n", "shop", "-o", "sentence"}, exitFine, "request_per_second is 61.5/s over 1 pod"},
		"a budget of a name everywhere": {[]string{"budget", "hpa/web", "-A"}, exitUsage, "hpa/web is in one namespace: give -n NAMESPACE instead of -A"},
		"top of an empty namespace":     {[]string{"top", "-n", "empty"}, exitFine, "There is no autoscaler in namespace empty."},
		"named metrics in JSON":         {[]string{"metrics", "-n", "shop", "-o", "json"}, exitFine, `"metric": "request_per_second",`},
		"no named metrics in JSON":      {[]string{"metrics", "-n", "empty", "-o", "json"}, exitFine, `"items": [`},
		"try without rights":            {[]string{"try", "-f", file("rule3.yaml", "rules: []"), "-n", "bank"}, exitBroken, "grant it: kubectl -n bank create rolebinding"},
		"try for two autoscalers":       {[]string{"try", "-f", file("rule4.yaml", "rules: []"), "-n", "shop", "--hpa", file("none.yaml", "kind: List")}, exitBroken, "has 0 HorizontalPodAutoscalers; give a file with one"},
		"dashboard on a wrong port":     {[]string{"dashboard", "--port", "99999"}, exitUsage, `--port must be a whole number from 0 to 65535, not "99999"`},
		"dashboard on a name":           {[]string{"dashboard", "--address", "localhost"}, exitUsage, `--address "localhost" is no IP address`},
		"metrics of what is not":        {[]string{"metrics", "deploy/wep", "-n", "shop"}, exitBroken, "there is no deploy/wep in namespace shop"},
		"metrics of another kind":       {[]string{"metrics", "job/web", "-n", "shop"}, exitUsage, "names no pod and no workload"},
		"metrics of a workload":         {[]string{"metrics", "deploy/web", "-n", "shop"}, exitFine, "request_per_second"},
		"an autoscaler for it":          {[]string{"metrics", "deploy/web", "-n", "shop", "-o", "yaml"}, exitFine, "kind: HorizontalPodAutoscaler"},
		"an autoscaler for a pod":       {[]string{"metrics", "web-1", "-n", "shop", "-o", "yaml"}, exitUsage, "-o yaml needs a workload"},
		"names of autoscalers":          {[]string{"top", "-n", "shop", "-o", "name"}, exitFine, "horizontalpodautoscaler.autoscaling/web\n"},
		"names in all namespaces":       {[]string{"top", "-A", "-o", "name"}, exitFine, "horizontalpodautoscaler.autoscaling/web\n"},
		"a versioned object":            {[]string{"top", "-n", "shop", "-o", "json"}, exitFine, `"apiVersion": "kubectl.tachometer.dev/v1alpha1"`},
		"an object in YAML":             {[]string{"doctor", "-n", "shop", "-o", "yaml"}, exitFine, "kind: DoctorReport"},
		"a table without its header":    {[]string{"top", "-n", "shop", "--no-headers"}, exitFine, "web   request_per_second: 61.5/50   2   3   1 "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, out, errs := shop.run(tc.args...)
			if code != tc.code || !strings.Contains(out+errs, tc.text) {
				t.Errorf("exit code %d, want %d and %q\n%s%s", code, tc.code, tc.text, out, errs)
			}
		})
	}
}

// TestNoKubeconfig: the error says where a kubeconfig was looked for, in both groups of commands. The client has a version without one.
func TestNoKubeconfig(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "") // else a pod's own configuration is taken
	missing := filepath.Join(t.TempDir(), "config")
	t.Setenv("KUBECONFIG", missing)
	for command, printed := range map[string]string{
		"top": "", "hold status": "", "version": "Client Version: dev\n", "version -o jsonpath={.client}": "dev",
	} {
		var out, errs bytes.Buffer
		code := runKubectlTachometer(strings.Fields(command), nil, &out, &errs)
		if want := "error: no cluster in " + missing + "; set KUBECONFIG or give --kubeconfig\n"; code != exitUsage || errs.String() != want || out.String() != printed {
			t.Errorf("%s: exit code %d, %q, standard error %q, want %q and %q", command, code, out.String(), errs.String(), printed, want)
		}
	}
}

// TestCompletion: kubectl_complete-tachometer runs this hidden command.
func TestCompletion(t *testing.T) {
	t.Parallel()
	shop := newShop(t)
	for want, words := range map[string][]string{"hpa/web\n": {""}, "web\n": {"hpa", ""}, ":4\n": {"hpa/web", ""}} {
		var out, errs bytes.Buffer
		args := append([]string{"__complete", "doctor", "--server", shop.url, "--kubeconfig", os.DevNull, "-n", "shop"}, words...)
		if code := runKubectlTachometer(args, nil, &out, &errs); code != exitFine || !strings.HasPrefix(out.String(), want) {
			t.Errorf("%q: exit code %d: %s%s", words, code, out.String(), errs.String())
		}
	}
}

// TestNoRights: without any right each command says what it could not read, and a command without a result fails.
func TestNoRights(t *testing.T) {
	t.Parallel()
	server := newAPIServer(t)
	for command, want := range map[string]int{
		"top": exitBroken, "top -A -o name": exitBroken, "lint --all": exitBroken, "explain hpa/web": exitBroken, "explain hpa/web --since 1h": exitBroken, "replay hpa/web": exitBroken,
		"budget": exitBroken, "metrics": exitBroken, "metrics web-1": exitBroken, "metrics deploy/web": exitBroken, "doctor": exitFine, "doctor hpa/web": exitFine, "version": exitFine,
	} {
		code, out, errs := server.run(append(strings.Fields(command), "--as", "ann", "--as-group", "dev")...)
		if code != want || !strings.Contains(out+errs, "forbidden") || strings.HasPrefix(out, "NAME") || strings.HasPrefix(out, "METRIC") {
			t.Errorf("%s: exit code %d, want %d\n%s%s", command, code, want, out, errs)
		}
	}
}

// TestFlagCompletion: values of flags come from the kubeconfig and from the cluster.
func TestFlagCompletion(t *testing.T) {
	t.Parallel()
	shop := newShop(t)
	shop.answers["/api/v1/namespaces"] = corev1.NamespaceList{TypeMeta: metav1.TypeMeta{Kind: "NamespaceList", APIVersion: "v1"},
		Items: []corev1.Namespace{{ObjectMeta: metav1.ObjectMeta{Name: "bank"}}, {ObjectMeta: metav1.ObjectMeta{Name: "shop"}}}}
	kubeconfig := filepath.Join(t.TempDir(), "config")
	text := "apiVersion: v1\nkind: Config\ncurrent-context: west\nclusters: [{name: c1, cluster: {server: " + shop.url + "}}]\nusers: [{name: ann, user: {}}]\n" +
		"contexts: [{name: west, context: {cluster: c1, user: ann, namespace: shop}}, {name: east, context: {cluster: c1, user: ann}}]\n"
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for words, want := range map[string]string{
		"top -n ": "bank\nshop\n:4\n", "top --context ": "east\nwest\n:4\n", "explain hpa/web --cluster ": "c1\n:4\n", "doctor --user ": "ann\n:4\n",
		"top -o ": "wide\njson\nyaml\nname\njsonpath=\n:4\n", "explain -o ": "json\nyaml\nsentence\njsonpath=\n:4\n", "metrics ": "deployment/web\nweb-1\n:4\n", "metrics deployment/web ": ":4\n",
		"lint -f ": ":0\n", "top ": ":4\n", "lint ": ":4\n", "try ": ":4\n", "dashboard ": ":4\n", "version ": ":4\n", "hold status web ": ":4\n", "replay hpa/web -f ": ":0\n",
	} {
		var out, errs bytes.Buffer
		args := append([]string{"__complete", "--kubeconfig", kubeconfig}, strings.Split(words, " ")...)
		if code := runKubectlTachometer(args, nil, &out, &errs); code != exitFine || out.String() != want {
			t.Errorf("%q: exit code %d, %q, want %q; %s", words, code, out.String(), want, errs.String())
		}
	}
}

// TestPartialBudgets: a record that cannot be read leaves the others.
func TestPartialBudgets(t *testing.T) {
	t.Parallel()
	shop := newShop(t)
	root := "/apis/explain.tachometer.dev/v1alpha1/namespaces/shop/horizontalpodautoscalers"
	list := explainapi.ExplanationList{Items: make([]explainapi.Explanation, 2)}
	for i, name := range []string{"gone", "web"} {
		list.Items[i].Namespace, list.Items[i].Name = "shop", name
	}
	log := replaytest.Log(replaytest.Spec("request_per_second"), 90, 90)
	log.Namespace, log.Name = "shop", "web"
	log.Source.Replicas = []explainapi.ReplicaRecord{{Name: "a", UnknownBefore: replaytest.Begin}, {Name: "b", Error: "connection refused"}}
	shop.answers[root], shop.answers[root+"/web/decisions"] = list, log
	shop.answers[root+"/gone/decisions"] = newFault(http.StatusNotFound, metav1.StatusReasonNotFound, "this replica knows no horizontalpodautoscaler shop/gone")
	code, out, errs := shop.run("budget", "-n", "shop")
	if code != exitFine || !strings.Contains(out, "web ") || strings.Contains(out, "gone") ||
		!strings.Contains(errs, "shop/web: b gave no record (connection refused)") || !strings.Contains(errs, "did not read the record of shop/gone: ") || !strings.Contains(errs, "this replica knows no") {
		t.Errorf("code %d\n%s\n%s", code, out, errs)
	}
}

// TestTop: one row for the autoscaler, and a line for each thing that could not be read.
func TestTop(t *testing.T) {
	t.Parallel()
	code, out, errs := newShop(t).run("top", "-n", "shop", "-o", "wide")
	if code != exitFine {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	lines := strings.Split(out, "\n")
	fields := strings.Fields(lines[1])
	fields[6] = "AGE"
	want := []string{"web", "request_per_second:", "61.5/50", "2", "3", "1", "AGE", "rising", "deployment/web", "2", "10"}
	if diff := cmp.Diff(want, fields); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if want := "did not read statefulsets: forbidden: /apis/apps/v1/namespaces/shop/statefulsets\n"; errs != want {
		t.Errorf("standard error %q, want %q", errs, want)
	}
}

// TestQuietErrorHandlers: client-go logs errors that it also returns; these lines stay off the terminal.
func TestQuietErrorHandlers(t *testing.T) {
	t.Parallel()
	calls := 0
	handlers := quietErrorHandlers([]utilruntime.ErrorHandler{func(context.Context, error, string, ...any) { calls++ }})
	for _, handle := range handlers {
		handle(t.Context(), errFound, "Couldn't get current server API group list")
	}
	if len(handlers) != 1 || calls != 0 {
		t.Errorf("%d handlers logged %d times without -v", len(handlers), calls)
	}
}

// TestWatchedTopSaysWhatIsUnread: a table that is refreshed names below it what it could not read.
func TestWatchedTopSaysWhatIsUnread(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p := &pluginProgram{out: &out, errs: &out, kubeconfig: os.DevNull, watching: true}
	p.overrides.ClusterInfo.Server, p.overrides.Context.Namespace = newShop(t).url, "bank"
	c, err := p.connectKubeconfigCluster()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.printPluginTop(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if want := "did not read horizontalpodautoscalers: forbidden"; !strings.Contains(out.String(), want) {
		t.Errorf("printed %q, want %q", out.String(), want)
	}
}
