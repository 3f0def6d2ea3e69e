package helm

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

var (
	// notedObject is an object of the release in a command of the notes, with the namespace of the command.
	notedObject = regexp.MustCompile(`kubectl -n (\S+) .*\b(deployment|networkpolicy)/(\S+)`)
	// notedManifest is an object that a command of the notes makes. A shell ends it at a line of EOF alone.
	notedManifest = regexp.MustCompile(`(?s)<<EOF\n(.*?)\nEOF\n`)
	namespaceName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
)

// TestNotes: after an install Helm prints commands that work, with these values, name and namespace.
func TestNotes(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		release
		values       map[string]any
		have, lackOf []string
	}{
		"adapter": {
			release{"tachometer-adapter", "web", "monitoring"}, nil,
			[]string{"deployment/web-tachometer-adapter", "/apis/custom.metrics.k8s.io/v1beta2/namespaces/"}, []string{"kubectl top", "external.metrics"},
		},
		"adapter with its own rules": {
			release{"tachometer-adapter", "web", "monitoring"},
			map[string]any{"config": map[string]any{"rules": []any{map[string]any{"metric": "jobs", "query": "sum by (namespace, pod) (jobs)"}}}},
			[]string{"/apis/custom.metrics.k8s.io/v1beta2\n", "/apis/external.metrics.k8s.io/v1beta1\n"}, []string{"request_per_second"},
		},
		"adapter with a given ConfigMap": {
			release{"tachometer-adapter", "web", "monitoring"},
			map[string]any{"existingConfigMap": "mine", "apiServices": map[string]any{"external": false}},
			[]string{"/apis/custom.metrics.k8s.io/v1beta2\n"}, []string{"request_per_second", "external.metrics.k8s.io"},
		},
		"adapter beside another one": {
			release{"tachometer-adapter", "web", "monitoring"},
			map[string]any{"apiServices": map[string]any{"custom": false, "external": false}},
			[]string{"kubectl get targets.explain.tachometer.dev -A"}, []string{"custom.metrics.k8s.io", "external.metrics.k8s.io", "kubectl top"},
		},
		"adapter with rules of metrics.k8s.io alone": {
			release{"tachometer-adapter", "web", "monitoring"},
			map[string]any{"rules": map[string]any{"default": false, "resource": map[string]any{"window": "1m"}}},
			[]string{"kubectl top pods"}, []string{"metrics:", "custom.metrics.k8s.io", "external.metrics.k8s.io"},
		},
		"adapter by another name": {
			release{"tachometer-adapter", "web", "monitoring"}, map[string]any{"fullnameOverride": "metrics"}, []string{"deployment/metrics\n"}, nil,
		},
		"adapter without custom metrics": {
			release{"tachometer-adapter", "web", "monitoring"}, map[string]any{"apiServices": map[string]any{"custom": false}},
			[]string{"/apis/external.metrics.k8s.io/v1beta1"}, []string{"custom.metrics.k8s.io"},
		},
		"adapter of resource metrics alone": {
			release{"tachometer-adapter", "web", "monitoring"},
			map[string]any{"apiServices": map[string]any{"custom": false, "external": false}, "resourceMetrics": map[string]any{"enabled": true}},
			[]string{"kubectl top pods"}, []string{"custom.metrics.k8s.io", "external.metrics.k8s.io"},
		},
		"adapter with prometheus-adapter's rules": {
			release{"tachometer-adapter", "web", "monitoring"}, map[string]any{"prometheus": map[string]any{"url": "http://prometheus"}},
			[]string{"http://prometheus:9090", "/apis/custom.metrics.k8s.io/v1beta2\n"}, []string{"prometheus.io/scrape"},
		},
		"adapter with prometheus-adapter's rules, without custom metrics": {
			release{"tachometer-adapter", "web", "monitoring"},
			map[string]any{
				"prometheus": map[string]any{"url": "http://prometheus"}, "apiServices": map[string]any{"custom": false},
				"rules": map[string]any{"external": []any{map[string]any{}}},
			},
			[]string{"/apis/external.metrics.k8s.io/v1beta1\n"}, []string{"custom.metrics.k8s.io"},
		},
		"scaler": {
			release{"tachometer-scaler", "web", "monitoring"}, nil,
			[]string{"deployment/web-tachometer-scaler", "get lease web-tachometer-scaler", "helm upgrade web "}, nil,
		},
		"scaler in every namespace": {
			release{"tachometer-scaler", "web", "monitoring"}, map[string]any{"workloads": map[string]any{"namespaces": []any{"*"}}},
			[]string{"every namespace"}, []string{"in: *", "namespace: *"},
		},
		"scaler whose surge lane raises": {
			release{"tachometer-scaler", "web", "monitoring"},
			map[string]any{"config": map[string]any{"surge": map[string]any{"mode": "act"}}},
			[]string{"kubectl get holds -A"}, []string{"only Holds raise"},
		},
		"scaler whose surge lane observes": {
			release{"tachometer-scaler", "web", "monitoring"},
			map[string]any{"config": map[string]any{"surge": map[string]any{"mode": "observe"}}}, []string{"only Holds raise"}, nil,
		},
		"scaler by another name": {
			release{"tachometer-scaler", "web", "monitoring"},
			map[string]any{"fullnameOverride": "hold", "workloads": map[string]any{"namespaces": []any{"shop", "bank"}}},
			[]string{"deployment/hold\n", "get lease hold\n", "in: shop, bank", "namespace: shop}"}, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			notes := renderBoth(t, test.release, test.values)[test.chart+"/templates/NOTES.txt"]
			for _, part := range test.have {
				if !strings.Contains(notes, part) {
					t.Errorf("the notes lack %q:\n%s", part, notes)
				}
			}
			for _, part := range test.lackOf {
				if strings.Contains(notes, part) {
					t.Errorf("the notes have %q:\n%s", part, notes)
				}
			}
			checkNotedObjects(t, notes, renderObjects(t, test.release, test.values))
			checkNotedManifests(t, notes)
		})
	}
}

// TestIgnoredValues: the notes name each value that has no effect beside the others.
func TestIgnoredValues(t *testing.T) {
	t.Parallel()
	const ignored = " is ignored; "
	for values, want := range map[string]string{
		"{}":                                     "",
		"psp: {create: true}":                    "psp" + ignored,
		"runAsUser: 10001":                       "runAsUser" + ignored,
		"automountServiceAccountToken: false":    "automountServiceAccountToken=false" + ignored,
		"rbac: {useAuthReaderClusterRole: true}": "rbac.useAuthReaderClusterRole" + ignored,
		"metricsRelistInterval: 30s":             "metricsRelistInterval" + ignored,
		"{metricsRelistInterval: 30s, prometheus: {port: 80}}":                       "",
		"{existingConfigMap: mine, config: {rules: []}}":                             "config.rules, config.scrape" + ignored + "the ConfigMap mine takes precedence",
		"{existingConfigMap: mine, rules: {custom: [{}]}}":                           "external and resource are ignored; the ConfigMap mine takes precedence",
		"{existingConfigMap: mine, rules: {existing: other}}":                        "existingConfigMap" + ignored,
		"{rules: {existing: other, external: [{}]}}":                                 "external and resource are ignored; the ConfigMap other takes precedence",
		"{certManager: {enabled: true}, tls: {enable: true}}":                        "tls" + ignored,
		"{rbac: {create: false}, selfMetrics: {readers: [{name: p, namespace: m}]}}": "selfMetrics.readers" + ignored,
		"serviceMonitor: {enabled: true}":                                            "Prometheus may not read /metrics yet",
		"topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app.kubernetes.io/name: prometheus-adapter}}}]": "write app.kubernetes.io/name: tachometer-adapter",
		"affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: zone, labelSelector: {matchExpressions: [" +
			"{key: app.kubernetes.io/name, operator: In, values: [prometheus-adapter]}]}}]}}": "write app.kubernetes.io/name: tachometer-adapter",
		"{nameOverride: prometheus-adapter, topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway, " +
			"labelSelector: {matchLabels: {app.kubernetes.io/name: prometheus-adapter}}}]}": "",
		"{global: {promHost: p}, prometheus: {url: 'http://{{ .Values.global.promHost }}'}}": "the chart reads nothing from global (promHost)",
	} {
		notes := renderBoth(t, release{"tachometer-adapter", "web", "monitoring"}, parseValues(t, values))["tachometer-adapter/templates/NOTES.txt"]
		if (want == "" && strings.Contains(notes, "Note: ")) || !strings.Contains(notes, want) {
			t.Errorf("with %s the notes lack %q, or have another one:\n%s", values, want, notes)
		}
	}
}

// TestServerPorts: the NetworkPolicy lets the adapter reach the servers in the values, also outside of the cluster.
func TestServerPorts(t *testing.T) {
	t.Parallel()
	for values, want := range map[string][]string{
		"{}": {"53", "53", "443", "6443"},
		"prometheus: {url: 'http://prometheus.example.com'}":                           {"53", "53", "443", "6443", "9090"},
		"prometheus: {url: 'http://arms.example.com:8080/api/v1/prometheus', port: 0}": {"53", "53", "443", "6443", "8080"},
		"prometheus: {url: 'http://[fd00::1]', port: 0}":                               {"53", "53", "443", "6443", "80"},
		"prometheus: {url: 'https://prometheus.example.com', port: 0}":                 {"53", "53", "443", "6443"},
		"extraArguments: ['--prometheus-url=http://10.0.0.1:10902']":                   {"53", "53", "443", "6443", "10902"},
		"extraArgs: ['--prometheus-url', 'http://10.0.0.1:10902']":                     {"53", "53", "443", "6443", "10902"},
		"config: {backends: [{name: a, url: 'http://10.0.0.1:9090'}, {name: b, url: 'http://10.0.0.2:9090'}, {name: c, url: 'https://p:8481/x', failover: ['http://10.0.0.3']}]}": {
			"53", "53", "443", "6443", "9090", "8481", "80",
		},
	} {
		policy := renderObjects(t, release{"tachometer-adapter", "web", "monitoring"}, parseValues(t, values))["NetworkPolicy monitoring/web-tachometer-adapter"]
		egress, _, _ := unstructured.NestedSlice(policy.Object, "spec", "egress")
		var got []string
		for _, rule := range egress {
			if rule := rule.(map[string]any); rule["to"] == nil {
				for _, port := range rule["ports"].([]any) {
					got = append(got, fmt.Sprint(port.(map[string]any)["port"]))
				}
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("with %s, ports open to every address (-want +got):\n%s", values, diff)
		}
	}
}

// checkNotedObjects checks that the objects in the commands of the notes are those of the release.
func checkNotedObjects(t *testing.T, notes string, objects map[string]*unstructured.Unstructured) {
	t.Helper()
	found := notedObject.FindAllStringSubmatch(notes, -1)
	if len(found) == 0 {
		t.Errorf("the notes have no command about an object of the release:\n%s", notes)
	}
	for _, match := range found {
		kind := map[string]string{"deployment": "Deployment", "networkpolicy": "NetworkPolicy"}[match[2]]
		if objects[kind+" "+match[1]+"/"+match[3]] == nil {
			t.Errorf("%q is about an object that the release does not have", match[0])
		}
	}
}

// checkNotedManifests checks that the objects that the notes make are YAML, in a namespace that can exist.
func checkNotedManifests(t *testing.T, notes string) {
	t.Helper()
	manifests := notedManifest.FindAllStringSubmatch(notes, -1)
	if begun := strings.Count(notes, "<<EOF"); begun != len(manifests) {
		t.Errorf("a shell ends %d of %d manifests:\n%s", len(manifests), begun, notes)
	}
	for _, match := range manifests {
		var object map[string]any
		if err := yaml.UnmarshalStrict([]byte(match[1]), &object); err != nil {
			t.Errorf("%v in\n%s", err, match[1])
			continue
		}
		if u := (&unstructured.Unstructured{Object: object}); u.GetKind() == "" || !namespaceName.MatchString(u.GetNamespace()) {
			t.Errorf("kind %q in namespace %q:\n%s", u.GetKind(), u.GetNamespace(), match[1])
		}
	}
}

// TestSelectors: an upgrade cannot change a Deployment's selector, so selectors have nothing that a version or a value of a label changes. All
// select the pods of the release, also under another name.
func TestSelectors(t *testing.T) {
	t.Parallel()
	labels := map[string]any{"team": "web"}
	for _, chart := range charts {
		objects := renderObjects(t, release{chart, "web", "monitoring"}, map[string]any{
			"nameOverride": "speed", "podLabels": labels, "customLabels": labels, "image": map[string]any{"tag": "v9"},
			"podDisruptionBudget": map[string]any{"enabled": true}, "networkPolicy": map[string]any{"enabled": true},
		})
		want, selectors := map[string]string{"app.kubernetes.io/name": "speed", "app.kubernetes.io/instance": "web"}, 0
		for _, key := range slices.Sorted(maps.Keys(objects)) {
			for _, path := range [][]string{{"spec", "selector", "matchLabels"}, {"spec", "podSelector", "matchLabels"}, {"spec", "selector"}} {
				got, found, err := unstructured.NestedStringMap(objects[key].Object, path...)
				if !found || err != nil {
					continue // no selector, or the form of another kind
				}
				selectors++
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s: %s (-want +got):\n%s", chart, key, diff)
				}
			}
		}
		if selectors < 4 {
			t.Errorf("%s: %d selectors; want those of Deployment, Service, NetworkPolicy and PodDisruptionBudget", chart, selectors)
		}
		checkAffinity(t, objects["Deployment monitoring/web-speed"])
	}
}

// checkAffinity checks that the pods of a Deployment keep away from each other, and not from pods that have other labels.
func checkAffinity(t *testing.T, deployment *unstructured.Unstructured) {
	t.Helper()
	labels, _, _ := unstructured.NestedStringMap(deployment.Object, "spec", "template", "metadata", "labels")
	terms, _, _ := unstructured.NestedSlice(deployment.Object,
		"spec", "template", "spec", "affinity", "podAntiAffinity", "preferredDuringSchedulingIgnoredDuringExecution")
	if len(terms) == 0 {
		t.Fatalf("%s: no affinity", deployment.GetName())
	}
	for _, term := range terms {
		selected, _, _ := unstructured.NestedStringMap(term.(map[string]any), "podAffinityTerm", "labelSelector", "matchLabels")
		for key, value := range selected {
			if labels[key] != value {
				t.Errorf("%s: the affinity selects %s=%s, and the pods have %q", deployment.GetName(), key, value, labels[key])
			}
		}
	}
}

// TestResourceMetricsAreServed: wherever the chart registers metrics.k8s.io, the adapter serves it: from the kubelets, or by rules.
func TestResourceMetricsAreServed(t *testing.T) {
	t.Parallel()
	enabled := map[string]any{"enabled": true}
	url := map[string]any{"url": "http://prometheus"}
	rules := map[string]any{"resource": map[string]any{"window": "1m"}}
	for name, test := range map[string]struct {
		values          map[string]any
		kubelets, rules bool
	}{
		"no":                  {nil, false, false},
		"kubelets":            {map[string]any{"resourceMetrics": enabled}, true, false},
		"beside a Prometheus": {map[string]any{"resourceMetrics": enabled, "prometheus": url}, true, false},
		"beside own rules":    {map[string]any{"resourceMetrics": enabled, "rules": map[string]any{"existing": "mine"}}, true, false},
		"rules":               {map[string]any{"rules": rules, "prometheus": url}, false, true},
		"rules before":        {map[string]any{"resourceMetrics": enabled, "rules": rules, "prometheus": url}, false, true},
	} {
		objects := renderObjects(t, release{"tachometer-adapter", "web", "monitoring"}, test.values)
		text := fmt.Sprint(objects["Deployment monitoring/web-tachometer-adapter"].Object)
		if kubelets := strings.Contains(text, "--resource-metrics"); kubelets != test.kubelets {
			t.Errorf("%s: from the kubelets %t, want %t", name, kubelets, test.kubelets)
		}
		registered := objects["APIService /v1beta1.metrics.k8s.io"] != nil
		if registered != (test.kubelets || test.rules) {
			t.Errorf("%s: metrics.k8s.io registered %t", name, registered)
		}
	}
}

// TestRegisteredAPIs: in prometheus-adapter's format the chart registers what that chart registers, so that KEDA keeps its API.
func TestRegisteredAPIs(t *testing.T) {
	t.Parallel()
	const custom, external = "v1beta1.custom.metrics.k8s.io", "v1beta1.external.metrics.k8s.io"
	for values, want := range map[string][]string{
		"{}":                             {custom, external},
		"apiServices: {external: false}": {custom},
		"apiServices: {custom: false, external: false}":                           nil,
		"prometheus: {url: 'http://prometheus'}":                                  {custom},
		"prometheus: {path: /prometheus}":                                         {custom},
		"rules: {existing: mine}":                                                 {custom},
		"rules: {existing: mine, external: [{}]}":                                 {custom, external},
		"rules: {default: false, external: [{seriesQuery: a, metricsQuery: a}]}":  {external},
		"{rules: {external: [{seriesQuery: a}]}, apiServices: {external: false}}": {custom},
		"rules: {default: false, resource: {window: 1m}}":                         nil,
	} {
		objects := renderObjects(t, release{"tachometer-adapter", "web", "monitoring"}, parseValues(t, values))
		for _, name := range []string{custom, external} {
			if got := objects["APIService /"+name] != nil; got != slices.Contains(want, name) {
				t.Errorf("%s: %s registered %t", values, name, got)
			}
		}
		rights := readAPIServiceRights(objects["ClusterRole /web-tachometer-adapter"])
		for _, name := range []string{custom, "v1beta2.custom.metrics.k8s.io", external} {
			if registered := objects["APIService /"+name] != nil; !slices.Contains(rights[name], "get") || slices.Contains(rights[name], "patch") != registered {
				t.Errorf("%s: rights to %s: %q; it is registered: %t", values, name, rights[name], registered)
			}
		}
	}
}

// readAPIServiceRights returns the verbs of a role by the name of the APIService. The adapter gets each APIService that it may serve, and is not ready
// while it lacks that right; it patches those that are its own.
func readAPIServiceRights(role *unstructured.Unstructured) map[string][]string {
	rights := map[string][]string{}
	rules, _, _ := unstructured.NestedSlice(role.Object, "rules")
	for _, rule := range rules {
		rule := rule.(map[string]any)
		if resources, _, _ := unstructured.NestedStringSlice(rule, "resources"); !slices.Equal(resources, []string{"apiservices"}) {
			continue
		}
		names, _, _ := unstructured.NestedStringSlice(rule, "resourceNames")
		verbs, _, _ := unstructured.NestedStringSlice(rule, "verbs")
		for _, name := range names {
			rights[name] = append(rights[name], verbs...)
		}
	}
	return rights
}
