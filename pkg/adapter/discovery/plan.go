// This file merges the demands of autoscalers and readers into a plan: which families of which pods.

package discovery

import (
	"fmt"
	"slices"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// The resources whose pods are known without a selector.
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
	allPodsFamilies, optedInFamilies familySet
}

// demandPlan holds the demands of autoscalers and readers before the planner looks at any pod.
type demandPlan struct {
	demandedPods []*demandedPods
	demanded     []Demand
	// needed holds the objects whose selectors the autoscalers depend on.
	needed map[objectKey]struct{}
	// unresolved maps a namespace to a text that names an autoscaler with unknown pods, and the reason.
	unresolved map[string]string
	// unmapped is true if the API server does not know a kind: a later attempt may succeed.
	unmapped bool
}

// wantsOptedInPod reports whether a metric of many objects is demanded of the pod, if it has opted in.
func (p *demandPlan) wantsOptedInPod(pod *storedPod) bool {
	return slices.ContainsFunc(p.demandedPods, func(c *demandedPods) bool {
		return c.optedInFamilies != noFamilies && (c.name == "" || c.name == pod.Name) && c.matchesPod(pod)
	})
}

// demandPlanner builds a demandPlan. Its functions must answer from memory.
type demandPlanner struct {
	rules      Rules
	sets       *familySets
	resourceOf func(schema.GroupKind) (schema.GroupResource, error)
	selectorOf func(objectKey) resolvedSelector
}

// planBuilder is a plan under construction.
type planBuilder struct {
	demandPlanner
	plan     *demandPlan
	byScope  map[scopeKey]*demandedPods
	demanded map[demandKey]Demand
	families map[familyKey]familySet
}

// scopeKey identifies a podScope.
type scopeKey struct{ namespace, node, name, selector string }

type familyKey struct {
	resource, metric string
	external         bool
}

// planDemandedPods merges all demands on the same pods into one demandedPods: a thousand autoscalers with external metrics in
// one namespace cost one walk through it.
func (p demandPlanner) planDemandedPods(autoscalers []*storedAutoscaler, readers []Demand) *demandPlan {
	b := planBuilder{
		demandPlanner: p,
		plan:          &demandPlan{needed: map[objectKey]struct{}{}, unresolved: map[string]string{}},
		byScope:       map[scopeKey]*demandedPods{},
		demanded:      map[demandKey]Demand{},
		families:      map[familyKey]familySet{},
	}
	for _, a := range autoscalers {
		if len(a.metrics) > 0 {
			b.addAutoscalerDemands(a)
		}
	}
	for _, d := range readers {
		b.addReaderDemand(d)
	}
	b.plan.demanded = sortDiscoveredDemands(b.demanded)
	return b.plan
}

func (b *planBuilder) addAutoscalerDemands(a *storedAutoscaler) {
	var group *demandedPods
	var selector labels.Selector
	if resource, ok := b.mapAutoscalerReference(a, a.scaleTarget); ok {
		key := objectKey{resource, a.namespace, a.scaleTarget.name}
		if selector, ok = b.requirePodSelector(a, key); ok {
			group = b.ensureDemandedPods(podScope{namespace: a.namespace, selector: selector})
			group.autoscaled = true
		}
	}
	for _, n := range a.metrics {
		switch n.source {
		case autoscalingv2.PodsMetricSourceType:
			b.addDemand(Demand{
				Resource: resourcePods, Metric: n.metric, Namespace: a.namespace, Selector: selector, MetricSelector: n.parseNamedMetricSelector(), Standing: true,
			})
			if group != nil {
				group.allPodsFamilies = b.sets.unionDemandedFamilies(group.allPodsFamilies, b.lookupDemandedFamilies(resourcePods, n.metric, false))
			}
		case autoscalingv2.ObjectMetricSourceType:
			b.addObjectDemand(a, n)
		case autoscalingv2.ExternalMetricSourceType:
			b.addExternalDemand(a.namespace, n)
		}
	}
}

// addObjectDemand demands the metric of the described object's pods. A workload or a service selects its pods; a
// namespace or a node holds unrelated pods, so that only opted-in pods count.
func (b *planBuilder) addObjectDemand(a *storedAutoscaler, n namedMetric) {
	resource, ok := b.mapAutoscalerReference(a, n.object)
	if !ok {
		return
	}
	d := Demand{
		Resource: resource.String(), Metric: n.metric, Namespace: a.namespace, Object: n.object.name, MetricSelector: n.parseNamedMetricSelector(), Standing: true,
	}
	families := b.lookupDemandedFamilies(d.Resource, n.metric, false)
	switch d.Resource {
	case resourceNamespaces, resourceNodes:
		d.Namespace = ""
		b.demandFromOptedInPods(d, families)
	case resourcePods:
		b.demandFromAllPods(podScope{namespace: a.namespace, name: n.object.name}, families)
	default:
		if selector, ok := b.requirePodSelector(a, objectKey{resource, a.namespace, n.object.name}); ok {
			b.demandFromAllPods(podScope{namespace: a.namespace, selector: selector}, families)
		}
	}
	b.addDemand(d)
}

func (b *planBuilder) addExternalDemand(namespace string, n namedMetric) {
	d := Demand{Metric: n.metric, Namespace: namespace, External: true, Selector: n.parseNamedMetricSelector(), Standing: true}
	if b.rules != nil {
		d.Namespace = b.rules.Namespace(n.metric, namespace)
	}
	b.addDemand(d)
	b.demandFromOptedInPods(d, b.lookupDemandedFamilies("", n.metric, true))
}

func (b *planBuilder) addReaderDemand(d Demand) {
	b.addDemand(d)
	b.demandFromOptedInPods(d, b.lookupDemandedFamilies(d.Resource, d.Metric, d.External))
}

// demandFromOptedInPods demands families of the opted-in pods in a demand's scope.
func (b *planBuilder) demandFromOptedInPods(d Demand, families familySet) {
	if families == noFamilies {
		return
	}
	if s, ok := b.resolveDemandedScope(d); ok {
		c := b.ensureDemandedPods(s)
		c.optedInFamilies = b.sets.unionDemandedFamilies(c.optedInFamilies, families)
	}
}

func (b *planBuilder) demandFromAllPods(s podScope, families familySet) {
	if families == noFamilies {
		return
	}
	c := b.ensureDemandedPods(s)
	c.allPodsFamilies = b.sets.unionDemandedFamilies(c.allPodsFamilies, families)
}

// resolveDemandedScope returns the scope of a demand; false means that its selector is not known yet.
func (b *planBuilder) resolveDemandedScope(d Demand) (podScope, bool) {
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

func (b *planBuilder) addDemand(d Demand) {
	key := d.newDemandKey()
	if _, ok := b.demanded[key]; !ok {
		b.demanded[key] = d
	}
}

// lookupDemandedFamilies returns the families that the metric's rule reads, and caches them for the plan.
func (b *planBuilder) lookupDemandedFamilies(resource, metric string, external bool) familySet {
	if b.rules == nil {
		return noFamilies
	}
	key := familyKey{resource, metric, external}
	set, ok := b.families[key]
	if !ok {
		set = b.sets.internDemandedFamilies(b.rules.Families(resource, metric, external))
		b.families[key] = set
	}
	return set
}

// mapAutoscalerReference maps the kind of an autoscaler's reference to a resource, and records a failure as unresolved.
func (b *planBuilder) mapAutoscalerReference(a *storedAutoscaler, r objectReference) (schema.GroupResource, bool) {
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
	if r.selector == nil && r.err != nil {
		b.recordUnresolvedPods(a, r.err)
	}
	return r.selector, r.selector != nil
}

func (b *planBuilder) recordUnresolvedPods(a *storedAutoscaler, err error) {
	if _, ok := b.plan.unresolved[a.namespace]; !ok {
		b.plan.unresolved[a.namespace] = fmt.Sprintf("the pods of HorizontalPodAutoscaler %s are not known: %v", a.name, err)
	}
}
