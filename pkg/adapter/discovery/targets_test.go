package discovery

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
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

func (prefixRules) Namespace(metric, asked string) string {
	if strings.HasPrefix(metric, "global") {
		return ""
	}
	return asked
}

// kinds maps the kinds of these tests.
func kinds(kind schema.GroupKind) (schema.GroupResource, error) {
	if kind.Kind == "Rollout" {
		return schema.GroupResource{}, &meta.NoKindMatchError{GroupKind: kind}
	}
	return schema.GroupResource{Group: kind.Group, Resource: strings.ToLower(kind.Kind) + "s"}, nil
}

// known answers like a cache that holds those selectors by "resource namespace/name"; an error stands for
// a failed attempt.
func known(t testing.TB, selectors map[string]any) func(objectKey) resolution {
	return func(key objectKey) resolution {
		switch s := selectors[key.String()].(type) {
		case string:
			return resolution{selector: parse(t, s), attempted: true}
		case error:
			return resolution{err: s, attempted: true}
		default:
			return resolution{}
		}
	}
}

// shop is a namespace of two workloads, one annotated, and some pods that must never be scraped; a second
// namespace has one annotated pod.
func shop() *table {
	t := newTable()
	web, api := labelled(map[string]string{"app": "web"}), labelled(map[string]string{"app": "api"})
	for _, p := range []*pod{
		newPod(apiPod("shop", "web-1", web)),
		newPod(apiPod("shop", "web-2", web)),
		newPod(apiPod("shop", "web-barred", web, annotated(annotationScrape, "false"))),
		newPod(apiPod("shop", "web-ending", web, terminating)),
		newPod(apiPod("shop", "api-1", api, annotated(annotationScrape, "true"))),
		newPod(apiPod("shop", "api-2", api)),
		newPod(apiPod("other", "api-1", api, annotated(annotationScrape, "true"))),
	} {
		t.put(p)
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
			metrics: metrics{onPods("rps")},
			want:    []string{"shop/web-1: pods_rps", "shop/web-2: pods_rps"},
		},
		"several metrics": {
			metrics: metrics{onPods("rps"), onPods("errors")},
			want:    []string{"shop/web-1: pods_errors pods_rps", "shop/web-2: pods_errors pods_rps"},
		},
		"only CPU":      {metrics: metrics{onResource()}, readers: []Demand{{Resource: "pods", Metric: "rps", Namespace: "shop", Selector: parse(t, "app=web")}}},
		"no rule":       {metrics: metrics{onPods("unknown")}},
		"target gone":   {target: "gone", metrics: metrics{onPods("rps")}},
		"not known yet": {target: "new", metrics: metrics{onPods("rps")}},
		"object metric of a service": {
			metrics: metrics{onObject("rps", "v1", "Service", "front")},
			want:    []string{"shop/api-1: services_rps", "shop/api-2: services_rps"},
		},
		"object metric of a workload": {
			metrics: metrics{onObject("rps", "apps/v1", "Deployment", "api")},
			want:    []string{"shop/api-1: deployments.apps_rps", "shop/api-2: deployments.apps_rps"},
		},
		"object metric of a pod": {
			metrics: metrics{onObject("rps", "v1", "Pod", "api-2")},
			want:    []string{"shop/api-2: pods_rps"},
		},
		"object metric of a namespace asks those that opted in": {
			metrics: metrics{onObject("rps", "v1", "Namespace", "shop")},
			want:    []string{"shop/api-1: namespaces_rps", "shop/web-1: namespaces_rps", "shop/web-2: namespaces_rps"},
		},
		"object metric of a node asks those that opted in": {
			metrics: metrics{onObject("rps", "v1", "Node", "node-1")},
			want:    []string{"other/api-1: nodes_rps", "shop/api-1: nodes_rps", "shop/web-1: nodes_rps", "shop/web-2: nodes_rps"},
		},
		"external metric asks those that opted in": {
			metrics: metrics{onExternal("waiting", nil)},
			want:    []string{"shop/api-1: external_waiting", "shop/web-1: external_waiting", "shop/web-2: external_waiting"},
		},
		"external metric over all namespaces": {
			metrics: metrics{onExternal("global", nil)},
			want:    []string{"other/api-1: external_global", "shop/api-1: external_global", "shop/web-1: external_global", "shop/web-2: external_global"},
		},
		"reader of pods": {
			readers: []Demand{{Resource: "pods", Metric: "rps", Namespace: "shop"}},
			want:    []string{"shop/api-1: pods_rps"},
		},
		"reader of pods by selector": {
			readers: []Demand{{Resource: "pods", Metric: "rps", Namespace: "shop", Selector: parse(t, "app=web")}},
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
			metrics: metrics{onPods("rps")},
			readers: []Demand{{Resource: "pods", Metric: "errors", Namespace: "shop", Selector: parse(t, "app in (web)")}},
			want:    []string{"shop/web-1: pods_errors pods_rps", "shop/web-2: pods_errors pods_rps"},
		},
		"reader asks what the autoscaler asks": {
			metrics: metrics{onPods("rps")},
			readers: []Demand{{Resource: "pods", Metric: "rps", Namespace: "shop", Selector: parse(t, "app=web")}},
			want:    []string{"shop/web-1: pods_rps", "shop/web-2: pods_rps"},
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
			readers: []Demand{{Metric: "waiting", Namespace: "other", External: true, Selector: parse(t, "queue=orders")}},
			want:    []string{"other/api-1: external_waiting"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if tc.target == "" {
				tc.target = "web"
			}
			sets := newFamilySets()
			p := planner{prefixRules{}, sets, kinds, known(t, selectors)}
			plan := p.plan([]*autoscaler{newAutoscaler(hpa("shop", "hpa", tc.target, tc.metrics...))}, tc.readers)
			var got []string
			for _, target := range choose(plan, shop(), sets).targets {
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
	pods, sets := newTable(), newFamilySets()
	pods.put(newPod(apiPod("shop", "web-1")))
	p := planner{prefixRules{}, sets, kinds, known(t, map[string]any{"deployments.apps shop/web": "app=web"})}
	got := choose(p.plan([]*autoscaler{newAutoscaler(hpa("shop", "web", "web", onPods("rps")))}, nil), pods, sets).targets
	want := []metric.Target{{
		Namespace: "shop", Pod: "web-1", Node: "node-1", UID: "uid-1",
		URL: "http://10.0.0.7:8080/metrics", Families: []string{"pods_rps"},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
}

func TestPlanDemanded(t *testing.T) {
	t.Parallel()
	p := planner{prefixRules{}, newFamilySets(), kinds, known(t, map[string]any{"deployments.apps shop/web": "app=web"})}
	plan := p.plan([]*autoscaler{
		newAutoscaler(hpa("shop", "web", "web", onPods("rps"), onExternal("waiting", &metav1.LabelSelector{MatchLabels: map[string]string{"queue": "orders"}}))),
		newAutoscaler(hpa("shop", "late", "late", onPods("rps"), onExternal("global", nil))),
		newAutoscaler(hpa("shop", "api", "web", onObject("rps", "v1", "Service", "front"), onObject("rps", "v1", "Namespace", "shop"))),
		newAutoscaler(hpa("shop", "odd", "web", onObject("rps", "argoproj.io/v1", "Rollout", "web"))),
	}, []Demand{
		{Resource: "pods", Metric: "rps", Namespace: "shop", Selector: parse(t, "app=web")},
		{Resource: "pods", Metric: "errors", Namespace: "shop"},
	})
	var got []string
	for _, d := range plan.demanded {
		got = append(got, fmt.Sprintf("%s|%s|%s|%s|%s|%v", d.Resource, d.Metric, d.Namespace, d.Object, selectorText(d.Selector), d.External))
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
	pods, sets := shop(), newFamilySets()
	pods.put(newPod(apiPod("broken", "web-1")))
	pods.put(newPod(apiPod("shop", "web-manyports", annotated(annotationPort, "x"))))
	p := planner{prefixRules{}, sets, kinds, known(t, map[string]any{
		"deployments.apps shop/web": "app=web", "deployments.apps broken/web": errors.New("forbidden"),
		"deployments.apps shop/empty": "app=none",
	})}
	plan := p.plan([]*autoscaler{
		newAutoscaler(hpa("shop", "web", "web", onPods("rps"))),
		newAutoscaler(hpa("shop", "empty", "empty", onPods("rps"))),
		newAutoscaler(hpa("broken", "web", "web", onPods("rps"))),
	}, nil)
	s := choose(plan, pods, sets)
	pods.put(newPod(apiPod("shop", "late-1", labelled(nil))))
	for name, want := range map[string]metric.Omission{
		"shop/web-1":         {},
		"shop/web-barred":    {Reason: metric.ReasonNotScraped, Detail: `annotation prometheus.io/scrape is "false"`},
		"shop/web-manyports": {Reason: metric.ReasonNotScraped, Detail: `annotation prometheus.io/port is "x", not a port number`},
		"shop/web-ending":    {Reason: metric.ReasonTerminating},
		"shop/api-1":         {Reason: metric.ReasonNotScraped, Detail: "not demanded yet"},
		"shop/api-2":         {Reason: metric.ReasonNotScraped, Detail: hint},
		"shop/late-1":        {Reason: metric.ReasonNotScraped, Detail: "pod has just changed"},
		"broken/web-1":       {Reason: metric.ReasonNotScraped, Detail: "the pods of HorizontalPodAutoscaler web are not known: forbidden"},
	} {
		namespace, pod, _ := strings.Cut(name, "/")
		want.Object = metric.Object{Namespace: namespace, Name: pod}
		if diff := cmp.Diff(want, s.explain(pods.get(want.Object))); diff != "" {
			t.Errorf("explain %s (-want +got):\n%s", name, diff)
		}
	}
	wantDeserted := []objectKey{{schema.GroupResource{Group: "apps", Resource: "deployments"}, "shop", "empty"}}
	if diff := cmp.Diff(wantDeserted, s.deserted, cmp.AllowUnexported(objectKey{})); diff != "" {
		t.Errorf("deserted (-want +got):\n%s", diff)
	}
}

func TestFamilySets(t *testing.T) {
	t.Parallel()
	s := newFamilySets()
	a, b := s.of([]string{"y", "x", "y"}), s.of([]string{"z"})
	if s.of([]string{"x", "y"}) != a || s.of(nil) != noFamilies || s.of([]string{}) != noFamilies {
		t.Error("equal sets have different numbers")
	}
	if s.union(a, noFamilies) != a || s.union(noFamilies, a) != a || s.union(a, a) != a || s.union(a, b) != s.union(b, a) {
		t.Error("union is not that of sets")
	}
	if diff := cmp.Diff([]string{"x", "y", "z"}, s.list(s.union(a, b))); diff != "" {
		t.Errorf("union (-want +got):\n%s", diff)
	}
}
