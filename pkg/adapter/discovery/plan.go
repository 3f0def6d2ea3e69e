package discovery

import (
	"fmt"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// The resources whose pods follow from the pods themselves.
const (
	resourcePods       = "pods"
	resourceNamespaces = "namespaces"
	resourceNodes      = "nodes"
)

// claim is one set of pods and what is demanded of it.
type claim struct {
	scope
	// behind tells that the pods are behind an autoscaler that names a metric, the scale target being owner.
	behind bool
	owner  objectKey
	// always is demanded of every pod of the scope, opted of those that are annotated or behind an autoscaler.
	always, opted familySet
}

// plan is what the autoscalers and readers ask for, before any pod is looked at.
type plan struct {
	claims   []*claim
	demanded []Demand
	// needed are the objects whose selectors the autoscalers depend on.
	needed map[objectKey]struct{}
	// unresolved says for a namespace which autoscaler's pods are not known, and why.
	unresolved map[string]string
	// unmapped tells that a kind was not known to the API server: a later attempt may succeed.
	unmapped bool
}

// planner turns demand into claims. Its functions must answer from memory.
type planner struct {
	rules      Rules
	sets       *familySets
	resourceOf func(schema.GroupKind) (schema.GroupResource, error)
	selectorOf func(objectKey) resolution
}

// build is a plan under construction.
type build struct {
	planner
	plan     *plan
	byScope  map[scopeKey]*claim
	demanded map[demandKey]Demand
	families map[familyKey]familySet
}

// scopeKey tells scopes apart.
type scopeKey struct{ namespace, node, name, selector string }

type familyKey struct {
	resource, metric string
	external         bool
}

// plan merges what is asked of the same pods into one claim: a thousand autoscalers with external metrics in
// one namespace cost one walk through it.
func (p planner) plan(autoscalers []*autoscaler, readers []Demand) *plan {
	b := build{
		planner:  p,
		plan:     &plan{needed: map[objectKey]struct{}{}, unresolved: map[string]string{}},
		byScope:  map[scopeKey]*claim{},
		demanded: map[demandKey]Demand{},
		families: map[familyKey]familySet{},
	}
	for _, a := range autoscalers {
		if len(a.metrics) > 0 {
			b.autoscaler(a)
		}
	}
	for _, d := range readers {
		b.reader(d)
	}
	b.plan.demanded = sortDemands(b.demanded)
	return b.plan
}

func (b *build) autoscaler(a *autoscaler) {
	var group *claim
	var selector labels.Selector
	if resource, ok := b.resource(a, a.target); ok {
		key := objectKey{resource, a.namespace, a.target.name}
		if selector, ok = b.selector(a, key); ok {
			group = b.claim(scope{namespace: a.namespace, selector: selector})
			group.behind, group.owner = true, key
		}
	}
	for _, n := range a.metrics {
		switch n.source {
		case autoscalingv2.PodsMetricSourceType:
			b.demand(Demand{
				Resource: resourcePods, Metric: n.metric, Namespace: a.namespace, Selector: selector, Series: n.series(), Standing: true,
			})
			if group != nil {
				group.always = b.sets.union(group.always, b.need(resourcePods, n.metric, false))
			}
		case autoscalingv2.ObjectMetricSourceType:
			b.object(a, n)
		case autoscalingv2.ExternalMetricSourceType:
			b.external(a.namespace, n)
		}
	}
}

// object claims the pods of the object that an Object metric describes. A workload or a service names its
// pods; a namespace or a node holds whatever runs there, so that its pods must have opted in.
func (b *build) object(a *autoscaler, n named) {
	resource, ok := b.resource(a, n.object)
	if !ok {
		return
	}
	d := Demand{
		Resource: resource.String(), Metric: n.metric, Namespace: a.namespace, Object: n.object.name, Series: n.series(), Standing: true,
	}
	families := b.need(d.Resource, n.metric, false)
	switch d.Resource {
	case resourceNamespaces, resourceNodes:
		d.Namespace = ""
		b.opted(d, families)
	case resourcePods:
		b.always(scope{namespace: a.namespace, name: n.object.name}, families)
	default:
		if selector, ok := b.selector(a, objectKey{resource, a.namespace, n.object.name}); ok {
			b.always(scope{namespace: a.namespace, selector: selector}, families)
		}
	}
	b.demand(d)
}

func (b *build) external(namespace string, n named) {
	d := Demand{Metric: n.metric, Namespace: namespace, External: true, Selector: n.series(), Standing: true}
	if b.rules != nil {
		d.Namespace = b.rules.Namespace(n.metric, namespace)
	}
	b.demand(d)
	b.opted(d, b.need("", n.metric, true))
}

func (b *build) reader(d Demand) {
	b.demand(d)
	b.opted(d, b.need(d.Resource, d.Metric, d.External))
}

// opted claims families of the pods behind a demand that have opted in.
func (b *build) opted(d Demand, families familySet) {
	if families == noFamilies {
		return
	}
	if s, ok := b.scope(d); ok {
		c := b.claim(s)
		c.opted = b.sets.union(c.opted, families)
	}
}

func (b *build) always(s scope, families familySet) {
	if families == noFamilies {
		return
	}
	c := b.claim(s)
	c.always = b.sets.union(c.always, families)
}

// scope returns the pods behind a demand; false means that they are not known yet.
func (b *build) scope(d Demand) (scope, bool) {
	switch {
	case d.External:
		return scope{namespace: d.Namespace}, true
	case d.Resource == resourcePods:
		return scope{namespace: d.Namespace, name: d.Object, selector: d.Selector}, true
	case d.Resource == resourceNamespaces && d.Object != "":
		return scope{namespace: d.Object}, true
	case d.Resource == resourceNodes:
		return scope{node: d.Object}, true
	case d.Resource == resourceNamespaces, d.Object == "":
		return scope{namespace: d.Namespace}, true
	default:
		r := b.selectorOf(objectKey{schema.ParseGroupResource(d.Resource), d.Namespace, d.Object})
		return scope{namespace: d.Namespace, selector: r.selector}, r.selector != nil
	}
}

// claim returns the one claim on a scope.
func (b *build) claim(s scope) *claim {
	key := scopeKey{s.namespace, s.node, s.name, selectorText(s.selector)}
	if key.selector == "" {
		s.selector = nil
	}
	c := b.byScope[key]
	if c == nil {
		c = &claim{scope: s}
		b.byScope[key] = c
		b.plan.claims = append(b.plan.claims, c)
	}
	return c
}

func (b *build) demand(d Demand) {
	key := d.key()
	if _, ok := b.demanded[key]; !ok {
		b.demanded[key] = d
	}
}

// need returns the families that a rule reads.
func (b *build) need(resource, metric string, external bool) familySet {
	if b.rules == nil {
		return noFamilies
	}
	key := familyKey{resource, metric, external}
	set, ok := b.families[key]
	if !ok {
		set = b.sets.of(b.rules.Families(resource, metric, external))
		b.families[key] = set
	}
	return set
}

// resource maps a kind that an autoscaler names.
func (b *build) resource(a *autoscaler, r reference) (schema.GroupResource, bool) {
	resource, err := b.resourceOf(r.kind)
	if err != nil {
		b.plan.unmapped = true
		b.trouble(a, err)
		return schema.GroupResource{}, false
	}
	return resource, true
}

// selector returns the pod selector of an object that an autoscaler names.
func (b *build) selector(a *autoscaler, key objectKey) (labels.Selector, bool) {
	b.plan.needed[key] = struct{}{}
	r := b.selectorOf(key)
	if r.selector == nil && r.err != nil {
		b.trouble(a, r.err)
	}
	return r.selector, r.selector != nil
}

func (b *build) trouble(a *autoscaler, err error) {
	if _, ok := b.plan.unresolved[a.namespace]; !ok {
		b.plan.unresolved[a.namespace] = fmt.Sprintf("the pods of HorizontalPodAutoscaler %s are not known: %v", a.name, err)
	}
}
