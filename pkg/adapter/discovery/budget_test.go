package discovery

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// manyMetrics is an HPA with that many metrics of its pods.
func manyMetrics(count int) *autoscalingv2.HorizontalPodAutoscaler {
	var metrics []autoscalingv2.MetricSpec
	for i := range count {
		metrics = append(metrics, podsMetric(fmt.Sprintf("some_metric_of_mine_%06d", i)))
	}
	return newHPA("shop", "web", "web", metrics...)
}

func allocatedBytes() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// TestAutoscalerWithManyMetrics: an HPA of 735 KB costs less than 20 MB, its first metrics are served, and the reads of the others
// are told why not.
func TestAutoscalerWithManyMetrics(t *testing.T) { //nolint:paralleltest // it counts the process's allocations
	hpa, pods := manyMetrics(7000), newShopTable()
	before := allocatedBytes()
	table := newWatchedAutoscalerTable()
	table.upsertWatchedObject(newStoredAutoscaler(hpa))
	p := demandPlanner{rules: prefixRules{}, resourceOf: mapTestKind, selectorOf: knownSelectors(t, map[string]any{"deployments.apps shop/web": "app=web"})}
	s := chooseTargets(p.planDemands(table.listStoredAutoscalers(), nil), pods)
	if got := allocatedBytes() - before; got > 20<<20 {
		t.Errorf("an HPA with 7000 metrics costs %d bytes, want at most 20 MiB", got)
	}
	if len(s.targets) == 0 || len(s.targets[0].Families) != maxAutoscalerMetrics || len(s.demanded) != maxAutoscalerMetrics {
		t.Fatalf("%d targets, %d demands; want %d families", len(s.targets), len(s.demanded), maxAutoscalerMetrics)
	}
	const want = "6950 metrics of HorizontalPodAutoscaler shop/web are not served, the first 50 are: an autoscaler may have 50 custom and external metrics: split it"
	err := table.rejectDemandedMetric(Demand{Resource: "pods", Metric: "some_metric_of_mine_006999", Namespace: "shop"})
	if metric.KindOf(err) != metric.KindInvalid || err.Error() != want {
		t.Errorf("read of a rejected metric: %v, want %s", err, want)
	}
	for _, d := range []Demand{{Metric: "some_metric_of_mine_000049"}, {Metric: "rps"}, {Metric: "some_metric_of_mine_006999", External: true}} {
		if d.Namespace = "shop"; table.rejectDemandedMetric(d) != nil {
			t.Errorf("%+v is rejected", d)
		}
	}
	table.upsertWatchedObject(newStoredAutoscaler(manyMetrics(50)))
	if len(table.rejecting) != 0 {
		t.Error("an HPA within its bound still rejects metrics")
	}
}

func TestAutoscalerWithLongNames(t *testing.T) {
	t.Parallel()
	hpa := newHPA("shop", "web", "web", podsMetric(strings.Repeat("x", maxMetricNameBytes+1)), podsMetric("rps"))
	a := newStoredAutoscaler(hpa)
	if len(a.metrics) != 1 || a.metrics[0].metric != "rps" || a.rejected.count != 1 || a.rejected.reason != rejectedByBytes {
		t.Errorf("metrics %v, rejected %+v; want rps alone", a.metrics, a.rejected)
	}
}

// TestAutoscalerWithLongSelectors: the selectors of an HPA count as its names do.
func TestAutoscalerWithLongSelectors(t *testing.T) {
	t.Parallel()
	spec := podsMetric("rps")
	spec.Pods.Metric.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{}}
	for i := range 20 {
		spec.Pods.Metric.Selector.MatchLabels[fmt.Sprintf("label-%02d", i)] = strings.Repeat("v", 63)
	}
	hpa := newHPA("shop", "web", "web")
	for range maxAutoscalerMetrics {
		hpa.Spec.Metrics = append(hpa.Spec.Metrics, spec)
	}
	a, size := newStoredAutoscaler(hpa), 0
	for _, m := range a.metrics {
		size += m.demandedMetricBytes()
	}
	if len(a.metrics) == 0 || size > maxAutoscalerBytes || a.rejected.count != maxAutoscalerMetrics-len(a.metrics) || a.rejected.reason != rejectedByBytes {
		t.Errorf("%d metrics of %d bytes are taken, %d rejected: %s", len(a.metrics), size, a.rejected.count, a.rejected.reason)
	}
}

// TestManyAutoscalersOfNamespace: a namespace's HPAs share bounds, and those of another are served.
func TestManyAutoscalersOfNamespace(t *testing.T) { //nolint:paralleltest // it measures the process's heap
	var hpas []*storedAutoscaler
	for i := range 2000 {
		var metrics []autoscalingv2.MetricSpec
		for m := range maxAutoscalerMetrics {
			metrics = append(metrics, podsMetric(fmt.Sprintf("metric_%06d_%02d", i, m)))
		}
		hpas = append(hpas, newStoredAutoscaler(newHPA("evil", fmt.Sprint("hpa-", i), "web", metrics...)))
	}
	hpas = append(hpas, newStoredAutoscaler(newHPA("shop", "web", "web", podsMetric("rps"))))
	pods := newShopTable()
	pods.upsertWatchedObject(endpointPolicy{}.newStoredPod(apiPod("evil", "web-1", withAddress("10.9.9.9"))))
	p := demandPlanner{rules: prefixRules{}, resourceOf: mapTestKind, selectorOf: func(objectKey) resolvedSelector { return resolvedSelector{selector: parseSelector(t, "app=web")} }}
	before := measureHeap()
	plan := p.planDemands(hpas, nil)
	s := chooseTargets(plan, pods)
	if got := int64(measureHeap()) - int64(before); got > 20<<20 {
		t.Errorf("the demands of a namespace's HPAs hold %d bytes, want at most 20 MiB", got)
	}
	if plan.rejectedFamilies == 0 || plan.unresolved["evil"] == "" || len(plan.demanded) > 12_000 {
		t.Errorf("%d families rejected, %d demands, unresolved %q", plan.rejectedFamilies, len(plan.demanded), plan.unresolved["evil"])
	}
	for _, target := range s.targets {
		if target.Namespace == "evil" && len(target.Families) != maxDemandedFamilies || target.Namespace == "shop" && len(target.Families) != 1 {
			t.Errorf("%s has %d families", target.Key(), len(target.Families))
		}
	}
}

// TestDemandsAreShared: namespaces with more demands than there is room for have equal shares, whatever their names, and take nothing from one
// that wants little.
func TestDemandsAreShared(t *testing.T) {
	t.Parallel()
	var hpas []*storedAutoscaler
	for n := range 12 {
		for i := range 200 {
			var metrics []autoscalingv2.MetricSpec
			for m := range maxAutoscalerMetrics {
				metrics = append(metrics, podsMetric(fmt.Sprintf("metric_%06d_%02d", i, m)))
			}
			hpas = append(hpas, newStoredAutoscaler(newHPA(fmt.Sprintf("evil-%02d", n), fmt.Sprint("hpa-", i), "web", metrics...)))
		}
	}
	hpas = append(hpas, newStoredAutoscaler(newHPA("shop", "web", "web", podsMetric("rps"))))
	p := demandPlanner{rules: prefixRules{}, resourceOf: mapTestKind, selectorOf: func(objectKey) resolvedSelector { return resolvedSelector{selector: parseSelector(t, "app=web")} }}
	plan := p.planDemands(hpas, nil)
	demands, bytes := map[string]int{}, 0
	for _, d := range plan.demanded {
		demands[d.Namespace]++
		bytes += namedMetric{metric: d.Metric}.demandedMetricBytes()
	}
	if bytes > maxStandingBytes || bytes < maxStandingBytes*9/10 {
		t.Errorf("the demands have %d bytes, want nearly %d", bytes, maxStandingBytes)
	}
	if demands["shop"] != 1 || plan.unresolved["shop"] != "" {
		t.Errorf("shop has %d demands, want 1: %s", demands["shop"], plan.unresolved["shop"])
	}
	for n := 1; n < 12; n++ {
		if first, got := demands["evil-00"], demands[fmt.Sprintf("evil-%02d", n)]; got != first {
			t.Errorf("evil-%02d has %d demands, evil-00 %d", n, got, first)
		}
	}
}

// TestSelectorsAreParsedOnce: a plan reuses the parsed metric selectors of the plan before, and keeps no others: an autoscaler that changes
// each second would make the next plan as costly as the first.
func TestSelectorsAreParsedOnce(t *testing.T) {
	t.Parallel()
	hpa := func(queue string) []*storedAutoscaler {
		selector := &metav1.LabelSelector{MatchLabels: map[string]string{"queue": queue}}
		return []*storedAutoscaler{
			newStoredAutoscaler(newHPA("shop", "web", "web", externalMetric("waiting", selector))),
			newStoredAutoscaler(newHPA("shop", "api", "api", externalMetric("waiting", selector))),
		}
	}
	p := demandPlanner{rules: prefixRules{}, resourceOf: mapTestKind, selectorOf: knownSelectors(t, nil)}
	first := p.planDemands(hpa("a"), nil)
	p.parsed = map[string]labels.Selector{"queue=a": parseSelector(t, "parsed=before"), "queue=b": labels.Nothing()}
	second := p.planDemands(hpa("a"), nil)
	if got := first.selectors["queue=a"]; len(first.selectors) != 1 || got.String() != "queue=a" || first.demanded[0].Selector.String() != "queue=a" {
		t.Errorf("the first plan has the selectors %v", first.selectors)
	}
	if len(second.selectors) != 1 || second.demanded[0].Selector.String() != "parsed=before" {
		t.Errorf("the second plan has the selectors %v, the demands %v", second.selectors, second.demanded)
	}
}

// TestReadersYieldToAutoscalers: of too many families of a pod, readers' are left out.
func TestReadersYieldToAutoscalers(t *testing.T) {
	t.Parallel()
	hpas := []*storedAutoscaler{newStoredAutoscaler(newHPA("shop", "web", "web", podsMetric("zzz")))}
	var readers []Demand
	for i := range 2 * maxDemandedFamilies {
		readers = append(readers, Demand{Resource: "pods", Metric: fmt.Sprintf("a%06d", i), Namespace: "shop", Selector: parseSelector(t, fmt.Sprintf("app in (web,x%d)", i%20))})
	}
	p := demandPlanner{rules: prefixRules{}, resourceOf: mapTestKind, selectorOf: knownSelectors(t, map[string]any{"deployments.apps shop/web": "app=web"})}
	s := chooseTargets(p.planDemands(hpas, readers), newShopTable())
	for _, target := range s.targets {
		if target.Pod == "web-1" && (len(target.Families) != maxDemandedFamilies || target.Families[maxDemandedFamilies-1] != "pods_zzz" || len(target.Standing) != 1) {
			t.Errorf("%d families, the last %s, standing %v", len(target.Families), target.Families[len(target.Families)-1], target.Standing)
		}
	}
}

// TestSetsOfFamiliesAreBounded: pods of ever different sets of families use up the budget of their namespace alone.
func TestSetsOfFamiliesAreBounded(t *testing.T) {
	t.Parallel()
	s := newFamilySets()
	for i := range 100 {
		demand := familyDemand{}
		for f := range maxDemandedFamilies {
			demand[fmt.Sprintf("family_%03d_%s_%04d", i, strings.Repeat("x", 100), f)] = false
		}
		s.resolvePodFamilies("evil", s.extendClaimChain(noClaims, podClaim{pods: &demandedPods{allPodsFamilies: demand}}))
	}
	if s.spent["evil"] > maxNamespaceFamilySetBytes || s.bytes > maxNamespaceFamilySetBytes || !s.exhausted {
		t.Errorf("spent %d bytes, %d in all, exhausted %v", s.spent["evil"], s.bytes, s.exhausted)
	}
	own := s.extendClaimChain(noClaims, podClaim{pods: &demandedPods{allPodsFamilies: familyDemand{"rps": true}}})
	if got := s.resolvePodFamilies("shop", own); len(got.all) != 1 {
		t.Errorf("the families of another namespace: %v", got)
	}
}

// TestDemandEndsWithItsAutoscaler: what an HPA reads is its own demand, which goes with it, even if its first read came before it.
func TestDemandEndsWithItsAutoscaler(t *testing.T) {
	t.Parallel()
	r := newReaderDemands()
	read := Demand{Resource: "pods", Metric: "rps", Namespace: "shop", Selector: labels.SelectorFromSet(labels.Set{"app": "web"})}
	d := New(Clients{}, Options{})
	d.readers = r
	if err := d.Demand(read); err != nil || r.total.demands != 1 {
		t.Fatalf("demand = %v, %d remembered", err, r.total.demands)
	}
	p := demandPlanner{rules: prefixRules{}, resourceOf: mapTestKind, selectorOf: knownSelectors(t, map[string]any{"deployments.apps shop/web": "app=web"})}
	plan := p.planDemands([]*storedAutoscaler{newStoredAutoscaler(newHPA("shop", "web", "web", podsMetric("rps")))}, nil)
	r.forgetStandingDemands(plan.standing)
	d.state.Store(chooseTargets(plan, newShopTable()))
	if err := d.Demand(read); err != nil || r.total.demands != 0 {
		t.Errorf("demand of the HPA = %v, %d remembered; want none", err, r.total.demands)
	}
}
