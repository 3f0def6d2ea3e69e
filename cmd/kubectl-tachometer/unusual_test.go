package main

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/dashboard"
	"github.com/tachometer-metrics/tachometer/pkg/replay/replaytest"
)

// programmersText matches text that only a programmer understands: formatting faults, zero times, NaN, addresses in memory.
var programmersText = regexp.MustCompile(`<nil>|%!|invalid memory|runtime error|goroutine|0001-01-01|\bNaN\b|[+-]Inf\b|-9223372036854775|292y|\b0x[cC]0|map\[`)

// changeShopHPA changes the autoscaler of a shop.
func changeShopHPA(t *testing.T, shop *apiServer, change func(*autoscalingv2.HorizontalPodAutoscaler)) {
	t.Helper()
	const path = "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers"
	list, ok := shop.answers[path].(autoscalingv2.HorizontalPodAutoscalerList)
	if !ok {
		t.Fatal("the shop has no autoscalers")
	}
	list.Items = []autoscalingv2.HorizontalPodAutoscaler{*list.Items[0].DeepCopy()}
	change(&list.Items[0])
	shop.answers[path] = list
}

func newMetricTarget(kind autoscalingv2.MetricTargetType, amount string) autoscalingv2.MetricTarget {
	if kind == autoscalingv2.ValueMetricType {
		return autoscalingv2.MetricTarget{Type: kind, Value: new(resource.MustParse(amount))}
	}
	return autoscalingv2.MetricTarget{Type: kind, AverageValue: new(resource.MustParse(amount))}
}

func newExternalSpec(target autoscalingv2.MetricTarget) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{
		Metric: autoscalingv2.MetricIdentifier{Name: "orders_waiting", Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"queue": "mail"}}}, Target: target,
	}}
}

// unusualAutoscalers are autoscalers as users have them in trouble.
var unusualAutoscalers = map[string]func(*autoscalingv2.HorizontalPodAutoscaler){
	"as it is":  func(*autoscalingv2.HorizontalPodAutoscaler) {},
	"no metric": func(h *autoscalingv2.HorizontalPodAutoscaler) { h.Spec.Metrics = nil },
	"an unknown type": func(h *autoscalingv2.HorizontalPodAutoscaler) {
		h.Spec.Metrics[0] = autoscalingv2.MetricSpec{Type: "Load"}
	},
	"no source":  func(h *autoscalingv2.HorizontalPodAutoscaler) { h.Spec.Metrics[0].Pods = nil },
	"no minimum": func(h *autoscalingv2.HorizontalPodAutoscaler) { h.Spec.MinReplicas = nil },
	"minimum 0":  func(h *autoscalingv2.HorizontalPodAutoscaler) { h.Spec.MinReplicas = new(int32(0)) },
	"created just now": func(h *autoscalingv2.HorizontalPodAutoscaler) {
		h.Status = autoscalingv2.HorizontalPodAutoscalerStatus{}
	},
	"a deleted workload": func(h *autoscalingv2.HorizontalPodAutoscaler) { h.Spec.ScaleTargetRef.Name = "gone" },
	"a target of an unknown kind": func(h *autoscalingv2.HorizontalPodAutoscaler) {
		h.Spec.ScaleTargetRef = autoscalingv2.CrossVersionObjectReference{APIVersion: "argoproj.io/v1alpha1", Kind: "Rollout", Name: "web"}
	},
	"a hostile apiVersion": func(h *autoscalingv2.HorizontalPodAutoscaler) { h.Spec.ScaleTargetRef.APIVersion = "a/b/c" },
	"fifty metrics": func(h *autoscalingv2.HorizontalPodAutoscaler) {
		for i := range 49 {
			m := *h.Spec.Metrics[0].DeepCopy()
			m.Pods.Metric.Name = fmt.Sprintf("metric_%d", i)
			h.Spec.Metrics = append(h.Spec.Metrics, m)
		}
	},
	"a container's CPU": func(h *autoscalingv2.HorizontalPodAutoscaler) {
		h.Spec.Metrics[0] = autoscalingv2.MetricSpec{Type: autoscalingv2.ContainerResourceMetricSourceType, ContainerResource: &autoscalingv2.ContainerResourceMetricSource{
			Name: "cpu", Container: "web", Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: new(int32(60))},
		}}
	},
	"an external total": func(h *autoscalingv2.HorizontalPodAutoscaler) {
		h.Spec.Metrics[0] = newExternalSpec(newMetricTarget(autoscalingv2.ValueMetricType, "5"))
	},
	"two containers": func(h *autoscalingv2.HorizontalPodAutoscaler) {
		h.Spec.Metrics = nil
		for _, name := range []string{"web", "proxy"} {
			h.Spec.Metrics = append(h.Spec.Metrics, autoscalingv2.MetricSpec{Type: autoscalingv2.ContainerResourceMetricSourceType, ContainerResource: &autoscalingv2.ContainerResourceMetricSource{
				Name: "cpu", Container: name, Target: newMetricTarget(autoscalingv2.AverageValueMetricType, "50m"),
			}})
		}
	},
	"an invalid selector": func(h *autoscalingv2.HorizontalPodAutoscaler) {
		h.Spec.Metrics[0] = newExternalSpec(newMetricTarget(autoscalingv2.ValueMetricType, "5"))
		h.Spec.Metrics[0].External.Metric.Selector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "code", Operator: "Equals", Values: []string{"500"}}}}
	},
	"an external share": func(h *autoscalingv2.HorizontalPodAutoscaler) {
		h.Spec.Metrics[0] = newExternalSpec(newMetricTarget(autoscalingv2.AverageValueMetricType, "5"))
	},
	"asleep at 0": func(h *autoscalingv2.HorizontalPodAutoscaler) {
		h.Spec.Metrics[0] = newExternalSpec(newMetricTarget(autoscalingv2.AverageValueMetricType, "5"))
		h.Spec.MinReplicas = new(int32(0))
		h.Status = autoscalingv2.HorizontalPodAutoscalerStatus{Conditions: []autoscalingv2.HorizontalPodAutoscalerCondition{{
			Type: autoscalingv2.ScaledToZero, Status: corev1.ConditionTrue, Reason: "ScaledToZero",
		}}}
	},
	"an object of another kind": func(h *autoscalingv2.HorizontalPodAutoscaler) {
		h.Spec.Metrics[0] = autoscalingv2.MetricSpec{Type: autoscalingv2.ObjectMetricSourceType, Object: &autoscalingv2.ObjectMetricSource{
			DescribedObject: autoscalingv2.CrossVersionObjectReference{APIVersion: "networking.k8s.io/v1", Kind: "Ingress", Name: "front.example.com"},
			Metric:          autoscalingv2.MetricIdentifier{Name: "requests.per.second"}, Target: newMetricTarget(autoscalingv2.ValueMetricType, "100"),
		}}
	},
	"disabled directions, and no tolerance": func(h *autoscalingv2.HorizontalPodAutoscaler) {
		rules := &autoscalingv2.HPAScalingRules{
			SelectPolicy: new(autoscalingv2.DisabledPolicySelect), StabilizationWindowSeconds: new(int32(0)), Tolerance: new(resource.MustParse("0")),
		}
		h.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: rules, ScaleDown: rules}
	},
	"hostile texts": func(h *autoscalingv2.HorizontalPodAutoscaler) {
		h.Spec.Metrics[0].Pods.Metric.Name = "rps\x1b[2J\u202e%d%s"
		h.Status.Conditions = []autoscalingv2.HorizontalPodAutoscalerCondition{{Type: "AbleToScale", Status: "False", Reason: "Failed%!Get", Message: "\x1b[31m%v"}}
	},
	"numbers at their ends": func(h *autoscalingv2.HorizontalPodAutoscaler) {
		h.Spec.MaxReplicas = math.MaxInt32
		h.Spec.Metrics[0].Pods.Target.AverageValue = new(resource.MustParse("1m"))
		h.Status.CurrentReplicas, h.Status.DesiredReplicas = math.MaxInt32, math.MaxInt32
	},
}

// newFault is an answer of kube-apiserver with an error.
func newFault(code int32, reason metav1.StatusReason, message string) metav1.Status {
	return metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Reason: reason, Code: code, Message: message}
}

// unusualLogs are answers to the read of a log.
func unusualLogs() map[string]any {
	plain := func(change func(l *explainapi.DecisionLog)) any {
		l := replaytest.Log(replaytest.Spec("request_per_second"), 90, 90, 400, 400, -1, 90)
		change(l)
		return l
	}
	return map[string]any{
		"no API":           newFault(http.StatusNotFound, metav1.StatusReasonNotFound, "the server could not find the requested resource"),
		"no adapter":       newFault(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, "the server is currently unable to handle the request"),
		"text":             "<html>not JSON</html>",
		"null":             json.RawMessage("null"),
		"no decision":      plain(func(l *explainapi.DecisionLog) { l.Decisions = nil }),
		"a whole log":      plain(func(*explainapi.DecisionLog) {}),
		"asleep at 0":      replaytest.ZeroLog(330_000),
		"no begin":         plain(func(l *explainapi.DecisionLog) { l.Source = explainapi.Source{} }),
		"no begin and end": plain(func(l *explainapi.DecisionLog) { l.Source, l.Decisions = explainapi.Source{}, nil }),
		"from the middle": plain(func(l *explainapi.DecisionLog) {
			for i := range l.Decisions[:3] {
				l.Decisions[i].Status = nil
			}
			l.Decisions[3].Pods = nil
		}),
		"a replica is away": plain(func(l *explainapi.DecisionLog) {
			l.Source.Replicas = []explainapi.ReplicaRecord{{Name: "a", UnknownBefore: replaytest.Begin}, {Name: "b", Error: "connection refused"}}
		}),
		"every replica is away": plain(func(l *explainapi.DecisionLog) {
			l.Source = explainapi.Source{Replica: "a", Replicas: []explainapi.ReplicaRecord{{Name: "a"}, {Name: "b", Error: "connection refused"}}}
			l.Decisions = nil
		}),
		"clocks apart": plain(func(l *explainapi.DecisionLog) {
			l.Decisions[2].Time = l.Decisions[1].Time.Add(-time.Hour)
			l.Decisions[3].WrittenAfter = &metav1.Duration{Duration: -time.Minute}
		}),
		"wrong indices": plain(func(l *explainapi.DecisionLog) {
			l.Decisions[1].Reads[0].Metric = 7
			l.Decisions[2].Reads[0].Metric = -1
		}),
		"a spec that is not there": plain(func(l *explainapi.DecisionLog) { l.Decisions[1].Spec = 4 }),
		"a spec without metrics":   plain(func(l *explainapi.DecisionLog) { l.Specs[0].Spec.Metrics = nil }),
		"a metric without a source": plain(func(l *explainapi.DecisionLog) {
			l.Specs[0].Spec.Metrics = []autoscalingv2.MetricSpec{{Type: autoscalingv2.PodsMetricSourceType}}
		}),
		"looks without reads": plain(func(l *explainapi.DecisionLog) {
			for i := range l.Decisions {
				l.Decisions[i].Reads = nil
			}
		}),
		"reads without a status": plain(func(l *explainapi.DecisionLog) {
			for i := range l.Decisions {
				l.Decisions[i].Status = nil
			}
		}),
	}
}

// checkUnusualOutput runs a command, and checks its output.
func checkUnusualOutput(t *testing.T, shop *apiServer, args ...string) {
	t.Helper()
	code, out, errs := shop.run(args...)
	if code != exitFine && code != exitBroken || out+errs == "" {
		t.Errorf("%v: exit code %d, and %d bytes", args, code, len(out+errs))
	}
	if found := programmersText.FindAllString(strings.ReplaceAll(out+errs, "Failed%!Get", ""), 3); found != nil {
		t.Errorf("%v: %q in\n%s%s", args, found, out, errs)
	}
	if strings.Contains(out+errs, "\x1b") && args[len(args)-1] != "json" {
		t.Errorf("%v: a control character in\n%q", args, out+errs)
	}
	if args[len(args)-1] == "json" && out != "" && !json.Valid([]byte(out)) {
		t.Errorf("%v: no JSON:\n%s", args, out)
	}
}

// TestUnusualAutoscalers: every command that reads autoscalers describes any autoscaler in words.
func TestUnusualAutoscalers(t *testing.T) {
	t.Parallel()
	for name, change := range unusualAutoscalers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shop := newShop(t)
			shop.answers["/apis/external.metrics.k8s.io/v1beta1/namespaces/shop/orders_waiting"] = map[string]any{"items": []any{map[string]any{"value": "330"}}}
			changeShopHPA(t, shop, change)
			for _, command := range [][]string{{"explain", "hpa/web"}, {"top"}, {"doctor"}, {"doctor", "hpa/web"}, {"lint", "--all"}, {"budget"}} {
				args := slices.Concat(command, []string{"-n", "shop"})
				checkUnusualOutput(t, shop, args...)
				checkUnusualOutput(t, shop, append(args, "-o", "json")...)
			}
			checkUnusualOutput(t, shop, "explain", "hpa/web", "-n", "shop", "-o", "sentence")
			checkUnusualOutput(t, shop, "top", "-n", "shop", "-o", "wide")
		})
	}
}

// TestUnusualLogs: every command that reads records describes any record in words.
func TestUnusualLogs(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "hpa.yaml")
	hpa := "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: web}\nspec:\n  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}\n" +
		"  maxReplicas: 9\n  metrics: [{type: Pods, pods: {metric: {name: request_per_second}, target: {type: AverageValue, averageValue: 30}}}]\n"
	if err := os.WriteFile(file, []byte(hpa), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, log := range unusualLogs() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shop := newShop(t)
			const root = "/apis/explain.tachometer.dev/v1alpha1/namespaces/shop/horizontalpodautoscalers"
			shop.answers[root+"/web/decisions"] = log
			shop.answers[root], shop.answers[root+"/web"] = log, log
			if l, isLog := log.(*explainapi.DecisionLog); isLog {
				e := explainapi.Explanation{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}, Source: l.Source, Computed: &explainapi.Computed{}}
				shop.answers[root], shop.answers[root+"/web"] = explainapi.ExplanationList{Items: []explainapi.Explanation{e}}, e
			}
			for _, command := range [][]string{{"explain", "hpa/web", "--since", "1h"}, {"explain", "hpa/web"}, {"replay", "hpa/web"}, {"replay", "hpa/web", "-f", file}, {"budget"}, {"budget", "hpa/web"}} {
				args := slices.Concat(command, []string{"-n", "shop"})
				checkUnusualOutput(t, shop, args...)
				checkUnusualOutput(t, shop, append(args, "-o", "json")...)
			}
		})
	}
}

// checkUnusualDashboard looks twice, and judges the page's data.
func checkUnusualDashboard(t *testing.T, shop *apiServer) {
	t.Helper()
	p := &pluginProgram{kubeconfig: os.DevNull}
	p.overrides.ClusterInfo.Server, p.overrides.Context.Namespace = shop.url, "shop"
	c, err := p.connectKubeconfigCluster()
	if err != nil {
		t.Fatal(err)
	}
	server := dashboard.New(dashboard.Options{
		Client: c.client, Metrics: c.metricReader(), Now: c.now, Namespace: c.namespace, Decisions: dashboard.NewRecordedDecisions(c.reader, c.now),
	})
	for range 2 {
		server.Look(t.Context())
		for _, path := range []string{"api/state", "api/autoscalers/shop/web"} {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, server.Path()+path, nil)
			r.Host = "127.0.0.1"
			w := httptest.NewRecorder()
			server.Handler().ServeHTTP(w, r)
			text := strings.ReplaceAll(w.Body.String(), "Failed%!Get", "")
			if w.Code != http.StatusOK || !json.Valid(w.Body.Bytes()) {
				t.Errorf("%s: status %d: %s", path, w.Code, text)
			}
			if found := programmersText.FindAllString(text, 3); found != nil {
				t.Errorf("%s: %q in\n%s", path, found, text)
			}
		}
	}
}

// TestUnusualDashboards: the page stays up, whatever the autoscaler and its values.
func TestUnusualDashboards(t *testing.T) {
	t.Parallel()
	for name, change := range unusualAutoscalers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shop := newShop(t)
			changeShopHPA(t, shop, change)
			checkUnusualDashboard(t, shop)
		})
	}
	for name, log := range unusualLogs() {
		t.Run("log: "+name, func(t *testing.T) {
			t.Parallel()
			shop := newShop(t)
			shop.answers["/apis/explain.tachometer.dev/v1alpha1/namespaces/shop/horizontalpodautoscalers/web/decisions"] = log
			checkUnusualDashboard(t, shop)
		})
	}
	for name, answer := range map[string]any{
		"text": "<html>", "null": json.RawMessage("null"), "no items": map[string]any{}, "null items": map[string]any{"items": []any{nil}}, "an empty value": map[string]any{"items": []any{map[string]any{}}},
		"not a number": map[string]any{"items": []any{map[string]any{"value": "NaN"}}}, "infinite": map[string]any{"items": []any{map[string]any{"value": "+Inf"}}},
		"beyond a float":   map[string]any{"items": []any{map[string]any{"value": "1e400", "describedObject": map[string]any{"name": "web-1"}}}},
		"a negative value": map[string]any{"items": []any{map[string]any{"value": "-5", "describedObject": map[string]any{"name": "web-1"}}}},
		"a fault":          newFault(http.StatusInternalServerError, metav1.StatusReasonInternalError, "\x1b[2J\u202e%d <html>"),
	} {
		t.Run("value: "+name, func(t *testing.T) {
			t.Parallel()
			shop := newShop(t)
			shop.answers["/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/*/request_per_second"] = answer
			shop.answers["/apis/scaler.tachometer.dev/v1alpha1/namespaces/shop/holds"] = answer
			checkUnusualDashboard(t, shop)
		})
	}
}

// unusualPages are pages and answers to their reads.
var unusualPages = map[string]any{
	"no right":            newFault(http.StatusForbidden, metav1.StatusReasonForbidden, "pods/proxy is forbidden\x1b[2J"),
	"a pod that is gone":  newFault(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, "dial tcp 10.0.0.1:8080: connect: connection refused"),
	"an empty page":       "",
	"HTML":                "<html><body>%s\x1b[31m</body></html>",
	"JSON":                `{"a": 1}`,
	"a torn line":         "# TYPE a counter\na_total 1\nb_to",
	"not a number":        "# TYPE a gauge\na NaN\n# TYPE b gauge\nb +Inf\n# TYPE c counter\nc_total -Inf\n",
	"numbers at the ends": "# TYPE a gauge\na 1.7976931348623157e308\na{x=\"1\"} 1.7976931348623157e308\n# TYPE b gauge\nb 5e-324\n",
	"a hostile help":      "# HELP a \x1b[2J\u202e%d%s\n# TYPE a gauge\na 1\n",
	"a type without line": "# TYPE a histogram\n# TYPE b summary\n",
	"a type twice":        "# TYPE a counter\na 1\n# TYPE a gauge\na 2\n",
	"a histogram's parts": "# TYPE a histogram\na_bucket{le=\"+Inf\"} 3\na_count 3\na_sum NaN\n",
	"OpenMetrics":         "# TYPE a counter\na_total 1 # {trace=\"x\"} 1\n# EOF\n",
	"names in UTF-8":      "# TYPE \"a.b c\" gauge\n{\"a.b c\"} 1\n",
}

// TestUnusualPages: metrics describes any page of a pod in words, in every format.
func TestUnusualPages(t *testing.T) {
	t.Parallel()
	for name, page := range unusualPages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shop := newShop(t)
			shop.answers["/api/v1/namespaces/shop/pods/web-1:8080/proxy/metrics"] = page
			for _, format := range []string{"", "wide", "json"} {
				for _, subject := range []string{"deploy/web", "deployment.apps/web", "pod/web-1", "web-1", "deploy/web\x1b[2J"} {
					args := []string{"metrics", subject, "-n", "shop"}
					if format != "" {
						args = append(args, "-o", format)
					}
					checkUnusualOutput(t, shop, args...)
				}
			}
		})
	}
}

// TestUnusualVersions: version and hold name in words each part that they could not read.
func TestUnusualVersions(t *testing.T) {
	t.Parallel()
	hostile := newFault(http.StatusInternalServerError, metav1.StatusReasonInternalError, "\x1b[2J\u202e%d <html>")
	hold := func(spec, status map[string]any) any {
		return map[string]any{"apiVersion": "scaler.tachometer.dev/v1alpha1", "kind": "HoldList", "items": []any{map[string]any{
			"apiVersion": "scaler.tachometer.dev/v1alpha1", "kind": "Hold", "metadata": map[string]any{"name": "sale", "namespace": "shop"}, "spec": spec, "status": status,
		}}}
	}
	for name, answer := range map[string]any{
		"text": "<html>", "null": json.RawMessage("null"), "a list": json.RawMessage("[]"), "a fault": hostile,
		"a hostile version": map[string]any{"gitVersion": "v1\x1b[2J\u202e", "items": []any{map[string]any{"spec": map[string]any{"template": map[string]any{"spec": map[string]any{"containers": []any{map[string]any{"image": "x\x1b[2J"}}}}}}}},
		"an empty hold":     hold(map[string]any{}, map[string]any{}),
		"a hostile hold": hold(map[string]any{"owner": "\x1b[2J\u202e%d", "replicas": math.MaxInt32, "target": map[string]any{"kind": "Deployment\x1b[2J", "name": "web"}},
			map[string]any{"phase": "\x1b[31m%v", "message": "\x1b[2J"}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shop := newShop(t)
			shop.answers["/version"], shop.answers["/apis/apps/v1/deployments"] = answer, answer
			shop.answers["/apis/scaler.tachometer.dev/v1alpha1/namespaces/shop/holds"] = answer
			shop.answers["/apis/scaler.tachometer.dev/v1alpha1/holds"] = answer
			for _, command := range [][]string{
				{"version"}, {"hold", "status"}, {"hold", "status", "deploy/web"}, {"hold", "status", "-A"}, {"hold", "pause", "deploy/web"}, {"hold", "resume", "deploy/web"},
				{"hold", "approve", "deploy/web"}, {"hold", "set", "deploy/\x1b[2J", "--replicas", "3"},
			} {
				for _, format := range [][]string{nil, {"-o", "json"}, {"-o", "yaml"}} {
					checkUnusualOutput(t, shop, slices.Concat(command, []string{"-n", "shop"}, format)...)
				}
			}
		})
	}
}

// TestUnreadIsNoFault: what the user may not read is told as such, and not as a fault or a number of the autoscaler: the HPA controller reads it.
func TestUnreadIsNoFault(t *testing.T) {
	t.Parallel()
	const (
		pods        = "/api/v1/namespaces/shop/pods"
		deployments = "/apis/apps/v1/namespaces/shop/deployments"
		metric      = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/pods/*/request_per_second"
	)
	for _, tc := range []struct{ unread, command, want string }{
		{pods, "explain hpa/web -o sentence", "2 pods: request_per_second could not be read (the pods of Deployment/web are unknown); the HPA controller wants 3.\n"},
		{deployments, "explain hpa/web -o sentence", "2 pods: request_per_second could not be read (the pods of Deployment/web are unknown); the HPA controller wants 3.\n"},
		{metric, "explain hpa/web -o sentence", "2 pods: request_per_second could not be read (forbidden: " + metric + "); the HPA controller wants 3.\n"},
		{pods, "top -o jsonpath={.items[0].ready}", "-1"},
		{pods, "top -o jsonpath={.items[0].state}", "rising"},
		{metric, "top -o jsonpath={.items[0].state}", "rising"},
		{pods, "doctor hpa/web", "deployment/web, and its pods could not be read"},
		{pods, "metrics deploy/web", "error: read pods: forbidden: " + pods},
	} {
		shop := newShop(t)
		delete(shop.answers, tc.unread)
		if _, out, errs := shop.run(append(strings.Fields(tc.command), "-n", "shop")...); !strings.Contains(out+errs, tc.want) {
			t.Errorf("%s without %s:\n%s%s\nwant %s", tc.command, tc.unread, out, errs, tc.want)
		}
	}
}
