package preflight

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/surge"
)

// newSurgeAutoscaler returns an autoscaler of a StatefulSet, with a metric of each kind.
func newSurgeAutoscaler() *autoscalingv2.HorizontalPodAutoscaler {
	metric := func(name string) autoscalingv2.MetricIdentifier { return autoscalingv2.MetricIdentifier{Name: name} }
	object := func(apiVersion, kind, name string) autoscalingv2.MetricSpec {
		return autoscalingv2.MetricSpec{Object: &autoscalingv2.ObjectMetricSource{
			DescribedObject: autoscalingv2.CrossVersionObjectReference{APIVersion: apiVersion, Kind: kind, Name: "x"}, Metric: metric(name),
		}}
	}
	return &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Name: "db", Namespace: "shop", Labels: map[string]string{"tier": "front"}},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "StatefulSet", Name: "db"},
			Metrics: []autoscalingv2.MetricSpec{
				{Pods: &autoscalingv2.PodsMetricSource{Metric: metric("rps")}}, {External: &autoscalingv2.ExternalMetricSource{Metric: metric("orders")}},
				object("v1", "ConfigMap", "age"), object("apps/v1", "Deployment", "queue"), object("example.com/v1", "Unknown", "none"),
				{Resource: &autoscalingv2.ResourceMetricSource{Name: "cpu"}},
			},
		},
	}
}

// TestSurgeRights: the surge lane needs the right to read each metric of its autoscalers, and the rights on their workloads. The shipped roles grant them.
func TestSurgeRights(t *testing.T) {
	t.Parallel()
	w := newWorld(t, everything)
	rules := readShippedRules(t)
	var got []string
	for _, r := range listSurgeMetricRights(newSurgeAutoscaler(), w.Mapper) {
		got = append(got, r.String())
		if !slices.ContainsFunc(rules, func(rule rbacv1.PolicyRule) bool {
			return slices.Contains(rule.APIGroups, r.Group) && slices.Contains(rule.Resources, "*") && slices.Contains(rule.Verbs, r.Verb)
		}) {
			t.Errorf("no shipped role grants %s", r)
		}
	}
	want := []string{
		"get pods.custom.metrics.k8s.io/rps in namespace shop", "list orders.external.metrics.k8s.io in namespace shop",
		"get configmaps.custom.metrics.k8s.io/age in namespace shop", "get deployments.apps.custom.metrics.k8s.io/queue in namespace shop",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestCheckSurge: check finds what keeps the surge lane from its autoscalers.
func TestCheckSurge(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(w *world, a *autoscalingv2.HorizontalPodAutoscaler)
		denied string // a group or a resource
		want   []string
	}{
		"in by its annotation": {func(_ *world, a *autoscalingv2.HorizontalPodAutoscaler) {
			a.Annotations = map[string]string{surge.Annotation: ""}
		}, "",
			[]string{"ok: 4 metrics to read"}},
		"out": {func(*world, *autoscalingv2.HorizontalPodAutoscaler) {}, "custom.metrics.k8s.io", nil},
		"off": {func(w *world, a *autoscalingv2.HorizontalPodAutoscaler) {
			a.Annotations, w.Config.Surge.Mode = map[string]string{surge.Annotation: ""}, surge.ModeOff
		}, "", nil},
		"faulty": {func(_ *world, a *autoscalingv2.HorizontalPodAutoscaler) {
			a.Annotations = map[string]string{surge.Annotation: "max=3"}
		}, "", []string{`MISSING: annotation scaler.tachometer.dev/surge: unknown key "max"`}},
		"no external": {func(_ *world, a *autoscalingv2.HorizontalPodAutoscaler) {
			a.Annotations = map[string]string{surge.Annotation: ""}
		}, "external.metrics.k8s.io", []string{"ok: 4 metrics", "MISSING: not granted"}},
		"no StatefulSets": {func(_ *world, a *autoscalingv2.HorizontalPodAutoscaler) {
			a.Annotations = map[string]string{surge.Annotation: ""}
		}, "statefulsets", []string{"ok: 4 metrics", "MISSING: not granted", "MISSING: not granted", "MISSING: not granted"}}, // observed: none is patched
		"no StatefulSets to act on": {func(w *world, a *autoscalingv2.HorizontalPodAutoscaler) {
			a.Annotations, w.Config.Surge.Mode = map[string]string{surge.Annotation: ""}, surge.ModeAct
		}, "statefulsets", []string{"ok: 4 metrics", "MISSING: not granted", "MISSING: not granted", "MISSING: not granted", "MISSING: not granted"}},
		"CPU alone": {func(_ *world, a *autoscalingv2.HorizontalPodAutoscaler) {
			a.Annotations, a.Spec.Metrics = map[string]string{surge.Annotation: ""}, a.Spec.Metrics[5:]
		}, "", []string{"MISSING: has no metric"}},
		"a rule":          {func(w *world, _ *autoscalingv2.HorizontalPodAutoscaler) { w.addSurgeRule("tier=front") }, "", []string{"ok: 4 metrics"}},
		"a rule for none": {func(w *world, _ *autoscalingv2.HorizontalPodAutoscaler) { w.addSurgeRule("tier=back") }, "", []string{"MISSING: no autoscaler has these labels"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(a *authorizationv1.ResourceAttributes) bool {
				return c.denied == "" || a.Group != c.denied && a.Resource != c.denied
			})
			a := newSurgeAutoscaler()
			c.change(w, a)
			if _, err := w.Client.AutoscalingV2().HorizontalPodAutoscalers(a.Namespace).Create(t.Context(), a, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
			all := w.checkSurgeRights(t.Context())
			isSame := slices.EqualFunc(all, c.want, func(r Result, want string) bool {
				return strings.HasPrefix(fmt.Sprintf("%s: %s", r.Status, r.Detail), want)
			})
			if !isSame {
				t.Errorf("%+v; want %q", all, c.want)
			}
		})
	}
}

// addSurgeRule adds a rule for the autoscalers of shop.
func (w *world) addSurgeRule(selector string) {
	parsed, err := labels.Parse(selector)
	if err != nil {
		panic(err)
	}
	w.Config.Surge.Autoscalers = append(w.Config.Surge.Autoscalers, surge.AutoscalerRule{Namespace: "shop", Selector: parsed})
}
