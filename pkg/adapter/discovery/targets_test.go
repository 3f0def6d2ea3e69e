package discovery

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/podpage"
)

// prefixRules serves every metric that is not unknown from a family of its name behind the resource's:
// rps of pods from pods_rps, and NAME of external metrics from external_NAME. Those that begin with global
// read all namespaces.
type prefixRules struct{}

func (prefixRules) Families(resource, metric string, external bool) []string {
	if strings.HasPrefix(metric, "unknown") {
		return nil
	}
	if external {
		resource = "external"
	}
	return []string{resource + "_" + metric}
}

func (prefixRules) TargetSources(string, string) []string { return nil }

func (prefixRules) Namespaces(metric, asked string) []string {
	if strings.HasPrefix(metric, "global") {
		return []string{""}
	}
	if strings.HasPrefix(metric, "between") {
		return []string{"other", "third"}
	}
	return []string{asked}
}

// mapTestKind maps the kinds of these tests.
func mapTestKind(kind schema.GroupKind) (schema.GroupResource, error) {
	if kind.Kind == "Rollout" {
		return schema.GroupResource{}, &meta.NoKindMatchError{GroupKind: kind}
	}
	return schema.GroupResource{Group: kind.Group, Resource: strings.ToLower(kind.Kind) + "s"}, nil
}

// knownSelectors answers like a cache that holds those selectors by "resource namespace/name"; an error stands for
// a failed attempt.
func knownSelectors(t testing.TB, selectors map[string]any) func(objectKey) resolvedSelector {
	return func(key objectKey) resolvedSelector {
		switch s := selectors[key.String()].(type) {
		case string:
			return resolvedSelector{selector: parseSelector(t, s), attempted: true}
		case error:
			return resolvedSelector{err: s, attempted: true}
		default:
			return resolvedSelector{}
		}
	}
}

// newShopTable is a namespace of two workloads, one annotated, and some pods that must never be scraped; a second
// namespace has one annotated pod.
func newShopTable() *watchedPodTable {
	t := newWatchedPodTable()
	web, api := withLabels(map[string]string{"app": "web"}), withLabels(map[string]string{"app": "api"})
	for _, p := range []*storedPod{
		endpointPolicy{}.newStoredPod(apiPod("shop", "web-1", web)),
		endpointPolicy{}.newStoredPod(apiPod("shop", "web-2", web)),
		endpointPolicy{}.newStoredPod(apiPod("shop", "web-barred", web, withAnnotations(podpage.AnnotationScrape, "false"))),
		endpointPolicy{}.newStoredPod(apiPod("shop", "web-ending", web, markTerminating)),
		endpointPolicy{}.newStoredPod(apiPod("shop", "api-1", api, withAnnotations(podpage.AnnotationScrape, "true"))),
		endpointPolicy{}.newStoredPod(apiPod("shop", "api-2", api)),
		endpointPolicy{}.newStoredPod(apiPod("other", "api-1", api, withAnnotations(podpage.AnnotationScrape, "true"))),
	} {
		t.upsertWatchedObject(p)
	}
	return t
}

func TestChooseTargets(t *testing.T) {
	t.Parallel()
	type metrics = []autoscalingv2.MetricSpec
	selectors := map[string]any{
		"deployments.apps shop/web": "app=web", "deployments.apps shop/api": "app=api", "services shop/front": "app=api",
		"deployments.apps shop/gone": errors.New("it does not exist"),
	}
	for name, tc := range map[string]struct {
		target  string // of the autoscaler; web where empty
		metrics metrics
		readers []Demand
		want    []string // pod: families
	}{
		"nobody asks": {},
		"pods metric of un-annotated pods": {
			metrics: metrics{podsMetric("rps")},
			want:    []string{"shop/web-1: pods_rps", "shop/web-2: pods_rps", "shop/web-ending: pods_rps"},
		},
		"several metrics": {
			metrics: metrics{podsMetric("rps"), podsMetric("errors")},
			want:    []string{"shop/web-1: pods_errors pods_rps", "shop/web-2: pods_errors pods_rps", "shop/web-ending: pods_errors pods_rps"},
		},
		"only CPU":      {metrics: metrics{resourceMetric()}, readers: []Demand{{Resource: "pods", Metric: "rps", Namespace: "shop", Selector: parseSelector(t, "app=web")}}},
		"no rule":       {metrics: metrics{podsMetric("unknown")}},
		"target gone":   {target: "gone", metrics: metrics{podsMetric("rps")}},
		"not known yet": {target: "new", metrics: metrics{podsMetric("rps")}},
		"object metric of a service": {
			metrics: metrics{objectMetric("rps", "v1", "Service", "front")},
			want:    []string{"shop/api-1: services_rps", "shop/api-2: services_rps"},
		},
		"object metric of a workload": {
			metrics: metrics{objectMetric("rps", "apps/v1", "Deployment", "api")},
			want:    []string{"shop/api-1: deployments.apps_rps", "shop/api-2: deployments.apps_rps"},
		},
		"object metric of a pod": {
			metrics: metrics{objectMetric("rps", "v1", "Pod", "api-2")},
			want:    []string{"shop/api-2: pods_rps"},
		},
		"object metric of a namespace asks those that opted in": {
			metrics: metrics{objectMetric("rps", "v1", "Namespace", "shop")},
			want:    []string{"shop/api-1: namespaces_rps", "shop/web-1: namespaces_rps", "shop/web-2: namespaces_rps", "shop/web-ending: namespaces_rps"},
		},
		"object metric of another namespace asks its own, as its reads do": {
			metrics: metrics{objectMetric("rps", "v1", "Namespace", "other")},
			want:    []string{"shop/api-1: namespaces_rps", "shop/web-1: namespaces_rps", "shop/web-2: namespaces_rps", "shop/web-ending: namespaces_rps"},
		},
		"object metric of a node asks nothing, as no HPA can read it": {
			metrics: metrics{objectMetric("rps", "v1", "Node", "node-1")},
		},
		"external metric asks those that opted in": {
			metrics: metrics{externalMetric("waiting", nil)},
			want:    []string{"shop/api-1: external_waiting", "shop/web-1: external_waiting", "shop/web-2: external_waiting", "shop/web-ending: external_waiting"},
		},
		"external metric over all namespaces": {
			metrics: metrics{externalMetric("global", nil)},
			want:    []string{"other/api-1: external_global", "shop/api-1: external_global", "shop/web-1: external_global", "shop/web-2: external_global", "shop/web-ending: external_global"},
		},
		"external metric of other namespaces": {
			metrics: metrics{externalMetric("between", nil)},
			want:    []string{"other/api-1: external_between"},
		},
		"reader of pods": {
			readers: []Demand{{Resource: "pods", Metric: "rps", Namespace: "shop"}},
			want:    []string{"shop/api-1: pods_rps"},
		},
		"reader of pods by selector": {
			readers: []Demand{{Resource: "pods", Metric: "rps", Namespace: "shop", Selector: parseSelector(t, "app=web")}},
		},
		"reader of pods that match nothing": {
			readers: []Demand{{Resource: "pods", Metric: "rps", Namespace: "shop", Selector: labels.Nothing()}},
		},
		"reader of one pod": {
			readers: []Demand{{Resource: "pods", Metric: "rps", Namespace: "shop", Object: "api-1"}},
			want:    []string{"shop/api-1: pods_rps"},
		},
		"reader of one pod that did not opt in": {
			readers: []Demand{{Resource: "pods", Metric: "rps", Namespace: "shop", Object: "api-2"}},
		},
		"reader of pods behind an autoscaler of something else": {
			metrics: metrics{podsMetric("rps")},
			readers: []Demand{{Resource: "pods", Metric: "errors", Namespace: "shop", Selector: parseSelector(t, "app in (web)")}},
			want:    []string{"shop/web-1: pods_errors pods_rps", "shop/web-2: pods_errors pods_rps", "shop/web-ending: pods_errors pods_rps"},
		},
		"reader asks what the autoscaler asks": {
			metrics: metrics{podsMetric("rps")},
			readers: []Demand{{Resource: "pods", Metric: "rps", Namespace: "shop", Selector: parseSelector(t, "app=web")}},
			want:    []string{"shop/web-1: pods_rps", "shop/web-2: pods_rps", "shop/web-ending: pods_rps"},
		},
		"reader of a service": {
			readers: []Demand{{Resource: "services", Metric: "rps", Namespace: "shop", Object: "front"}},
			want:    []string{"shop/api-1: services_rps"},
		},
		"reader of a service not known yet": {
			readers: []Demand{{Resource: "services", Metric: "rps", Namespace: "shop", Object: "new"}},
		},
		"reader of all services": {
			readers: []Demand{{Resource: "services", Metric: "rps", Namespace: "shop"}},
			want:    []string{"shop/api-1: services_rps"},
		},
		"reader of a namespace": {
			readers: []Demand{{Resource: "namespaces", Metric: "rps", Object: "other"}},
			want:    []string{"other/api-1: namespaces_rps"},
		},
		"reader of all nodes": {
			readers: []Demand{{Resource: "nodes", Metric: "rps"}},
			want:    []string{"other/api-1: nodes_rps", "shop/api-1: nodes_rps"},
		},
		"external reader": {
			readers: []Demand{{Metric: "waiting", Namespace: "other", External: true, Selector: parseSelector(t, "queue=orders")}},
			want:    []string{"other/api-1: external_waiting"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tc.target == "" {
				tc.target = "web"
			}
			p := demandPlanner{rules: prefixRules{}, resourceOf: mapTestKind, selectorOf: knownSelectors(t, selectors)}
			plan := p.planDemands([]*storedAutoscaler{newStoredAutoscaler(newHPA("shop", "hpa", tc.target, tc.metrics...))}, tc.readers)
			var got []string
			for _, target := range chooseTargets(plan, newShopTable()).targets {
				if target.Ending != (target.Pod == "web-ending") {
					t.Errorf("%s: Ending = %v", target.Key(), target.Ending)
				}
				got = append(got, fmt.Sprintf("%s: %s", target.Key(), strings.Join(target.Families, " ")))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("targets (-want +got):\n%s", diff)
			}
		})
	}
}

func TestChooseWholeTarget(t *testing.T) {
	t.Parallel()
	pods := newWatchedPodTable()
	pods.upsertWatchedObject(endpointPolicy{}.newStoredPod(apiPod("shop", "web-1", withRunning(map[string]int64{"": 110}))))
	p := demandPlanner{rules: prefixRules{}, resourceOf: mapTestKind, selectorOf: knownSelectors(t, map[string]any{"deployments.apps shop/web": "app=web"})}
	got := chooseTargets(p.planDemands([]*storedAutoscaler{newStoredAutoscaler(newHPA("shop", "web", "web", podsMetric("rps")))}, nil), pods).targets
	want := []metric.Target{{
		Namespace: "shop", Pod: "web-1", Node: "node-1", UID: "uid-1",
		URL: "http://10.0.0.7:8080/metrics", Started: time.Unix(100, 0), Ready: true, Families: []string{"pods_rps"}, Standing: []string{"pods_rps"},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
}

func TestContestedEndpoints(t *testing.T) {
	t.Parallel()
	const url = "http://10.0.0.7:8080/metrics"
	const sameNode = "pod shop/web-%d has the same endpoint " + url + " on the node's network: annotate prometheus.io/port with different ports"
	at := withAddress("10.0.0.7")
	for name, tc := range map[string]struct {
		first, second func(*corev1.Pod)
		targets       string
		details       [2]string // of web-1 and web-2
	}{
		"address of an older pod": {
			first: withCreated(1), second: withCreated(2), targets: "web-2",
			details: [2]string{"pod shop/web-2 has the same endpoint " + url, ""},
		},
		"created in one second": {
			first: withCreated(1), second: withCreated(1),
			details: [2]string{"pod shop/web-2 has the same endpoint " + url, "pod shop/web-1 has the same endpoint " + url},
		},
		"address of a pod that ends":   {first: combine(withCreated(2), markTerminating), second: withCreated(1), targets: "web-2"},
		"address of a pod that failed": {first: combine(withCreated(2), inPhase(corev1.PodFailed)), second: withCreated(1), targets: "web-2"},
		"newer pod has not opted in": {
			first: withCreated(1), second: combine(withCreated(2), withLabels(nil)),
			details: [2]string{"pod shop/web-2 has the same endpoint " + url, `annotate it prometheus.io/scrape: "true" or point a HorizontalPodAutoscaler at it`},
		},
		"different ports": {first: withCreated(1), second: combine(withCreated(2), withAnnotations(podpage.AnnotationPort, "81")), targets: "web-1 web-2"},
		"host network": {
			first: combine(withCreated(1), onHostNetwork), second: combine(withCreated(2), onHostNetwork),
			details: [2]string{fmt.Sprintf(sameNode, 2), fmt.Sprintf(sameNode, 1)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pods := newWatchedPodTable()
			pods.upsertWatchedObject(endpointPolicy{}.newStoredPod(apiPod("shop", "web-1", at, tc.first)))
			pods.upsertWatchedObject(endpointPolicy{}.newStoredPod(apiPod("shop", "web-2", at, tc.second)))
			p := demandPlanner{rules: prefixRules{}, resourceOf: mapTestKind, selectorOf: knownSelectors(t, map[string]any{"deployments.apps shop/web": "app=web"})}
			s := chooseTargets(p.planDemands([]*storedAutoscaler{newStoredAutoscaler(newHPA("shop", "web", "web", podsMetric("rps")))}, nil), pods)
			var got []string
			for _, target := range s.targets {
				got = append(got, target.Pod)
			}
			if strings.Join(got, " ") != tc.targets {
				t.Errorf("targets = %v, want %q", got, tc.targets)
			}
			for i, want := range tc.details {
				pod := pods.getStoredPod(metric.Object{Namespace: "shop", Name: fmt.Sprint("web-", i+1)})
				if got := s.explainUntargetedPod(pod).Detail; pod.Live && got != want {
					t.Errorf("explain %s = %q, want %q", pod.Name, got, want)
				}
			}
		})
	}
}

func TestPlanDemanded(t *testing.T) {
	t.Parallel()
	p := demandPlanner{rules: prefixRules{}, resourceOf: mapTestKind, selectorOf: knownSelectors(t, map[string]any{"deployments.apps shop/web": "app=web"})}
	plan := p.planDemands([]*storedAutoscaler{
		newStoredAutoscaler(newHPA("shop", "web", "web", podsMetric("rps"), externalMetric("waiting", &metav1.LabelSelector{MatchLabels: map[string]string{"queue": "orders"}}))),
		newStoredAutoscaler(newHPA("shop", "late", "late", podsMetric("rps"), externalMetric("global", nil))),
		newStoredAutoscaler(newHPA("shop", "api", "web", objectMetric("rps", "v1", "Service", "front"), objectMetric("rps", "v1", "Namespace", "shop"))),
		newStoredAutoscaler(newHPA("shop", "odd", "web", objectMetric("rps", "argoproj.io/v1", "Rollout", "web"))),
	}, []Demand{
		{Resource: "pods", Metric: "rps", Namespace: "shop", Selector: parseSelector(t, "app=web")},
		{Resource: "pods", Metric: "errors", Namespace: "shop"},
	})
	var got []string
	for _, d := range plan.demanded {
		got = append(got, fmt.Sprintf("%s|%s|%s|%s|%s|%v", d.Resource, d.Metric, d.Namespace, d.Object, canonicalDemandSelector(d.Selector), d.External))
	}
	want := []string{
		"namespaces|rps||shop||false",
		"pods|errors|shop|||false",
		"pods|rps|shop|||false",
		"pods|rps|shop||app=web|false",
		"services|rps|shop|front||false",
		"|global||||true",
		"|waiting|shop||queue=orders|true",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("demanded (-want +got):\n%s", diff)
	}
	if !plan.unmapped {
		t.Error("unmapped = false though a kind is not known")
	}
	wantTrouble := map[string]string{"shop": `the pods of HorizontalPodAutoscaler odd are not known: no matches for kind "Rollout" in group "argoproj.io"`}
	if diff := cmp.Diff(wantTrouble, plan.unresolved); diff != "" {
		t.Errorf("unresolved (-want +got):\n%s", diff)
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	const hint = `annotate it prometheus.io/scrape: "true" or point a HorizontalPodAutoscaler at it`
	pods := newShopTable()
	pods.upsertWatchedObject(endpointPolicy{}.newStoredPod(apiPod("broken", "web-1")))
	pods.upsertWatchedObject(endpointPolicy{}.newStoredPod(apiPod("shop", "web-manyports", withAnnotations(podpage.AnnotationPort, "x"))))
	p := demandPlanner{rules: prefixRules{}, resourceOf: mapTestKind, selectorOf: knownSelectors(t, map[string]any{
		"deployments.apps shop/web": "app=web", "deployments.apps broken/web": errors.New("forbidden"),
		"deployments.apps shop/empty": "app=none",
	})}
	plan := p.planDemands([]*storedAutoscaler{
		newStoredAutoscaler(newHPA("shop", "web", "web", podsMetric("rps"))),
		newStoredAutoscaler(newHPA("shop", "empty", "empty", podsMetric("rps"))),
		newStoredAutoscaler(newHPA("broken", "web", "web", podsMetric("rps"))),
	}, nil)
	s := chooseTargets(plan, pods)
	pods.upsertWatchedObject(endpointPolicy{}.newStoredPod(apiPod("shop", "late-1", withLabels(nil))))
	for name, want := range map[string]metric.Omission{
		"shop/web-1":         {},
		"shop/web-barred":    {Reason: metric.ReasonNotScraped, Detail: `annotation prometheus.io/scrape is "false"`},
		"shop/web-manyports": {Reason: metric.ReasonNotScraped, Detail: `annotation prometheus.io/port is "x", not a port number, and no port has this name`},
		"shop/web-ending":    {Reason: metric.ReasonTerminating},
		"shop/api-1":         {Reason: metric.ReasonNotScraped, Detail: "not demanded yet"},
		"shop/api-2":         {Reason: metric.ReasonNotScraped, Detail: hint},
		"shop/late-1":        {Reason: metric.ReasonNotScraped, Detail: "pod has just changed"},
		"broken/web-1":       {Reason: metric.ReasonNotScraped, Detail: "the pods of HorizontalPodAutoscaler web are not known: forbidden"},
	} {
		namespace, pod, _ := strings.Cut(name, "/")
		want.Object = metric.Object{Namespace: namespace, Name: pod}
		if diff := cmp.Diff(want, s.explainUntargetedPod(pods.getStoredPod(want.Object))); diff != "" {
			t.Errorf("explain %s (-want +got):\n%s", name, diff)
		}
	}
}

func TestFamilySets(t *testing.T) {
	t.Parallel()
	s := newFamilySets()
	hpa := podClaim{pods: &demandedPods{allPodsFamilies: familyDemand{"y": true, "x": false}}}
	reader := podClaim{&demandedPods{optedInFamilies: familyDemand{"z": false, "x": true}}, true}
	a, b := s.extendClaimChain(noClaims, hpa), s.extendClaimChain(noClaims, reader)
	if s.extendClaimChain(noClaims, hpa) != a || a == b || s.extendClaimChain(a, podClaim{pods: &demandedPods{}}) != a {
		t.Error("equal chains have different numbers, or a claim without families has one")
	}
	both, reverse := s.extendClaimChain(a, reader), s.extendClaimChain(b, hpa)
	want := podFamilies{all: []string{"x", "y", "z"}, standing: []string{"x", "y"}}
	for _, chain := range []claimChain{both, reverse} {
		if diff := cmp.Diff(want, s.resolvePodFamilies("shop", chain), cmp.AllowUnexported(podFamilies{})); diff != "" {
			t.Errorf("families (-want +got):\n%s", diff)
		}
	}
	if &s.resolvePodFamilies("shop", both).all[0] != &s.resolvePodFamilies("bank", reverse).all[0] {
		t.Error("equal sets are not shared")
	}
}
