// This file merges the demands of autoscalers and readers into a plan: which families of which pods.

package discovery

import (
	"context"
	"fmt"
	"slices"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tachometer-metrics/tachometer/pkg/panics"
)

// The resources with pods that are known without a selector.
const (
	resourcePods       = "pods"
	resourceNamespaces = "namespaces"
	resourceNodes      = "nodes"
)

// demandedPods is a set of pods with the families demanded of it.
type demandedPods struct {
	podScope
	// autoscaled is true if the pods belong to the scale target of an autoscaler that names a metric.
	autoscaled bool
	// allPodsFamilies is demanded of every pod of the scope, optedInFamilies only of annotated and autoscaled pods.
	allPodsFamilies, optedInFamilies familyDemand
}

// demandPlan holds the demands of autoscalers and readers before the planner looks at any pod.
type demandPlan struct {
	demandedPods []*demandedPods
	sets         *familySets // of the demandedPods
	// selectors holds the metric selectors of autoscalers by their texts.
	selectors map[string]labels.Selector
	demanded  []Demand
	// standing holds the keys of autoscalers' demands, without metric selectors, as reads have them.
	standing map[demandKey]struct{}
	// rejectedFamilies counts the families that a bound left out.
	rejectedFamilies int
	// needed holds the objects with selectors that the autoscalers depend on.
	needed map[objectKey]struct{}
	// unresolved maps a namespace to a text that names an autoscaler with unknown pods, and the reason.
	unresolved map[string]string
	// unread are the needed selectors that had not been looked up.
	unread map[objectKey]struct{}
	// unmapped is true if the API server does not know a kind: a later attempt may succeed.
	unmapped bool
}

// demandsOptedInPod reports whether a metric of many objects is demanded of the pod, if it has opted in.
func (p *demandPlan) demandsOptedInPod(pod *storedPod) bool {
	return slices.ContainsFunc(p.demandedPods, func(c *demandedPods) bool {
		return len(c.optedInFamilies) > 0 && (c.name == "" || c.name == pod.Name) && c.matchesScopedPod(pod)
	})
}

// demandPlanner builds a demandPlan. Its functions must answer from memory.
type demandPlanner struct {
	rules      Rules
	resourceOf func(schema.GroupKind) (schema.GroupResource, error)
	selectorOf func(objectKey) resolvedSelector
	// parsed holds the metric selectors of the plan before, by their texts: parsing them takes most of the time of a plan.
	parsed map[string]labels.Selector
	// panics is nil in tests that want a panic.
	panics *panics.Guard
}

// planBuilder is a plan under construction.
type planBuilder struct {
	demandPlanner
	plan     *demandPlan
	byScope  map[scopeKey]*demandedPods
	demanded map[demandKey]Demand
	families map[familyKey][]string
	budget   demandBudget // of autoscalers' demands
}

// scopeKey identifies a podScope.
type scopeKey struct{ namespace, node, name, selector string }

type familyKey struct {
	resource, metric string
	external         bool
}

// planDemands merges all demands on the same pods into one demandedPods: a thousand autoscalers with external metrics in
// one namespace cost one walk through it.
func (p demandPlanner) planDemands(autoscalers []*storedAutoscaler, readers []Demand) *demandPlan {
	b := planBuilder{
		demandPlanner: p,
		plan: &demandPlan{
			needed: map[objectKey]struct{}{}, unread: map[objectKey]struct{}{}, unresolved: map[string]string{}, standing: map[demandKey]struct{}{}, sets: newFamilySets(),
			selectors: map[string]labels.Selector{},
		},
		byScope:  map[scopeKey]*demandedPods{},
		demanded: map[demandKey]Demand{},
		families: map[familyKey][]string{},
		budget:   newDemandBudget(autoscalers),
	}
	for _, a := range autoscalers {
		if len(a.metrics) == 0 {
			continue
		}
		if err := b.addDemandsSafely(a.namespace, a.name, func() { b.addAutoscalerDemands(a) }); err != nil {
			b.recordUnresolvedPods(a, err)
		}
	}
	for _, d := range readers {
		_ = b.addDemandsSafely(d.Namespace, d.Metric, func() { b.addReaderDemand(d) })
	}
	b.plan.demanded = sortDemands(b.demanded)
	return b.plan
}

// addDemandsSafely adds the demands of one autoscaler or reader. A panic leaves out those after it.
func (b *planBuilder) addDemandsSafely(namespace, name string, add func()) (err error) {
	if b.panics != nil {
		defer b.panics.Catch(context.Background(), &err, func() []any { return []any{"namespace", namespace, "name", name} })
	}
	add()
	return nil
}

func (b *planBuilder) addAutoscalerDemands(a *storedAutoscaler) {
	var group *demandedPods
	var selector labels.Selector
	if resource, ok := b.mapObjectReference(a, a.scaleTarget); ok {
		key := objectKey{resource, a.namespace, a.scaleTarget.name}
		if selector, ok = b.requirePodSelector(a, key); ok {
			group = b.ensureDemandedPods(podScope{namespace: a.namespace, selector: selector})
			group.autoscaled = true
		}
	}
	for _, n := range a.metrics {
		if !b.budget.spendDemandBudget(a.namespace, n.demandedMetricBytes()) {
			b.recordUnresolvedPods(a, errDemandBudget)
			return
		}
		switch n.source {
		case autoscalingv2.PodsMetricSourceType:
			b.addPlannedDemand(Demand{
				Resource: resourcePods, Metric: n.metric, Namespace: a.namespace, Selector: selector, MetricSelector: b.parseDemandedMetricSelector(n.selector), Standing: true,
			})
			if group != nil {
				b.claimDemandedFamilies(&group.allPodsFamilies, b.lookupDemandFamilies(resourcePods, n.metric, false), true)
			}
		case autoscalingv2.ObjectMetricSourceType:
			b.addObjectDemand(a, n)
		case autoscalingv2.ExternalMetricSourceType:
			b.addExternalDemand(a.namespace, n)
		}
	}
}

// parseDemandedMetricSelector returns the metric selector of a text; nil for an empty one.
func (b *planBuilder) parseDemandedMetricSelector(text string) labels.Selector {
	if text == "" {
		return nil
	}
	s, ok := b.plan.selectors[text]
	if !ok {
		if s, ok = b.parsed[text]; !ok {
			s, _ = labels.Parse(text) // the text is a parsed selector's own, so it parses
		}
		b.plan.selectors[text] = s
	}
	return s
}

// addObjectDemand demands the metric of the described object's pods. A workload or a service selects its pods; a
// namespace holds unrelated pods, so that only opted-in pods count.
//
// An autoscaler never demands anything of another namespace's pods. For a Namespace of any name its controller reads the
// autoscaler's own, and for a Node it gets an error.
func (b *planBuilder) addObjectDemand(a *storedAutoscaler, n namedMetric) {
	resource, ok := b.mapObjectReference(a, n.object)
	if !ok {
		return
	}
	d := Demand{
		Resource: resource.String(), Metric: n.metric, Namespace: a.namespace, Object: n.object.name, MetricSelector: b.parseDemandedMetricSelector(n.selector), Standing: true,
	}
	families := b.lookupDemandFamilies(d.Resource, n.metric, false)
	if b.rules != nil {
		if sources := b.rules.TargetSources(d.Resource, n.metric); len(sources) > 0 {
			d.Object = ""
			b.addNamespaceDemands(d, sources, families)
			return
		}
	}
	switch d.Resource {
	case resourceNodes:
		return
	case resourceNamespaces:
		d.Namespace, d.Object = "", a.namespace
		b.demandFromOptedInPods(d, families)
	case resourcePods:
		b.demandFromAllPods(podScope{namespace: a.namespace, name: n.object.name}, families)
	default:
		if selector, ok := b.requirePodSelector(a, objectKey{resource, a.namespace, n.object.name}); ok {
			b.demandFromAllPods(podScope{namespace: a.namespace, selector: selector}, families)
		}
	}
	b.addPlannedDemand(d)
}

func (b *planBuilder) addExternalDemand(namespace string, n namedMetric) {
	d := Demand{Metric: n.metric, External: true, Selector: b.parseDemandedMetricSelector(n.selector), Standing: true}
	sources := []string{namespace}
	if b.rules != nil {
		sources = b.rules.Namespaces(n.metric, namespace)
	}
	b.addNamespaceDemands(d, sources, b.lookupDemandFamilies("", n.metric, true))
}

// addNamespaceDemands demands a metric of the pods of several namespaces.
func (b *planBuilder) addNamespaceDemands(d Demand, namespaces, families []string) {
	for _, d.Namespace = range namespaces {
		b.addPlannedDemand(d)
		b.demandFromOptedInPods(d, families)
	}
}

func (b *planBuilder) addReaderDemand(d Demand) {
	b.addPlannedDemand(d)
	b.demandFromOptedInPods(d, b.lookupDemandFamilies(d.Resource, d.Metric, d.External))
}

// demandFromOptedInPods demands families of the opted-in pods in a demand's scope.
func (b *planBuilder) demandFromOptedInPods(d Demand, families []string) {
	if len(families) == 0 {
		return
	}
	if s, ok := b.resolveDemandScope(d); ok {
		b.claimDemandedFamilies(&b.ensureDemandedPods(s).optedInFamilies, families, d.Standing)
	}
}

func (b *planBuilder) demandFromAllPods(s podScope, families []string) {
	if len(families) > 0 {
		b.claimDemandedFamilies(&b.ensureDemandedPods(s).allPodsFamilies, families, true)
	}
}

// claimDemandedFamilies adds families to a demand and counts the families that its bound leaves out.
func (b *planBuilder) claimDemandedFamilies(d *familyDemand, families []string, standing bool) {
	b.plan.rejectedFamilies += d.addDemandedFamilies(families, standing)
}

// resolveDemandScope returns the scope of a demand; false means that its selector is not known yet.
func (b *planBuilder) resolveDemandScope(d Demand) (podScope, bool) {
	switch {
	case d.External:
		return podScope{namespace: d.Namespace}, true
	case d.Resource == resourcePods:
		return podScope{namespace: d.Namespace, name: d.Object, selector: d.Selector}, true
	case d.Resource == resourceNamespaces && d.Object != "":
		return podScope{namespace: d.Object}, true
	case d.Resource == resourceNodes:
		return podScope{node: d.Object}, true
	case d.Resource == resourceNamespaces, d.Object == "":
		return podScope{namespace: d.Namespace}, true
	default:
		r := b.selectorOf(objectKey{schema.ParseGroupResource(d.Resource), d.Namespace, d.Object})
		return podScope{namespace: d.Namespace, selector: r.selector}, r.selector != nil
	}
}

// ensureDemandedPods returns the demandedPods of a scope, and creates it if missing.
func (b *planBuilder) ensureDemandedPods(s podScope) *demandedPods {
	key := scopeKey{s.namespace, s.node, s.name, canonicalDemandSelector(s.selector)}
	if key.selector == "" {
		s.selector = nil
	}
	c := b.byScope[key]
	if c == nil {
		c = &demandedPods{podScope: s}
		b.byScope[key] = c
		b.plan.demandedPods = append(b.plan.demandedPods, c)
	}
	return c
}

func (b *planBuilder) addPlannedDemand(d Demand) {
	key := d.newDemandKey()
	if _, ok := b.demanded[key]; !ok {
		b.demanded[key] = d
	}
	if d.Standing {
		key.metricSelector = ""
		b.plan.standing[key] = struct{}{}
	}
}

// lookupDemandFamilies returns the families that the metric's rule reads, and caches them for the plan.
func (b *planBuilder) lookupDemandFamilies(resource, metric string, external bool) []string {
	if b.rules == nil {
		return nil
	}
	key := familyKey{resource, metric, external}
	families, ok := b.families[key]
	if !ok {
		families = b.rules.Families(resource, metric, external)
		b.families[key] = families
	}
	return families
}

// mapObjectReference maps the kind of an autoscaler's reference to a resource, and records a failure as unresolved.
func (b *planBuilder) mapObjectReference(a *storedAutoscaler, r objectReference) (schema.GroupResource, bool) {
	resource, err := b.resourceOf(r.kind)
	if err != nil {
		b.plan.unmapped = true
		b.recordUnresolvedPods(a, err)
		return schema.GroupResource{}, false
	}
	return resource, true
}

// requirePodSelector returns the pod selector of an autoscaler's object, and marks the selector as needed.
func (b *planBuilder) requirePodSelector(a *storedAutoscaler, key objectKey) (labels.Selector, bool) {
	b.plan.needed[key] = struct{}{}
	r := b.selectorOf(key)
	switch {
	case r.selector != nil:
	case r.err != nil:
		b.recordUnresolvedPods(a, r.err)
	default:
		b.plan.unread[key] = struct{}{}
	}
	return r.selector, r.selector != nil
}

func (b *planBuilder) recordUnresolvedPods(a *storedAutoscaler, err error) {
	if _, ok := b.plan.unresolved[a.namespace]; !ok {
		b.plan.unresolved[a.namespace] = fmt.Sprintf("the pods of HorizontalPodAutoscaler %s are not known: %v", a.name, err)
	}
}
