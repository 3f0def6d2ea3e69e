// CachedCluster: reads from memory, which watches keep up to date.

package rollout

import (
	"context"
	"maps"
	"slices"
	"sync"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// CachedCluster reads a LiveCluster from caches, so that many waiting workloads make no requests. A kind that is not cached yet, or cannot be
// watched, is read live. It starts a watch on first use: of the holds with Start, of all else with the first hold of a namespace.
type CachedCluster struct {
	live *LiveCluster

	mu         sync.Mutex          // guards the fields below
	ctx        context.Context     //nolint:containedctx // of Start; nil before and after
	onChange   func(hold.Workload) // from Start
	holds      map[string]cache.SharedIndexInformer
	namespaces map[string]*namespaceCaches
	running    sync.WaitGroup
}

// namespaceCaches are the caches of a namespace with holds.
type namespaceCaches struct {
	pods, autoscalers cache.SharedIndexInformer
	workloads         map[schema.GroupVersionResource]cache.SharedIndexInformer
}

var (
	_ Reader     = (*CachedCluster)(nil)
	_ HoldFinder = (*CachedCluster)(nil)
)

// NewCachedCluster returns the caches of a cluster. They are empty, and read live, before Start.
func NewCachedCluster(live *LiveCluster) *CachedCluster {
	return &CachedCluster{live: live, holds: map[string]cache.SharedIndexInformer{}, namespaces: map[string]*namespaceCaches{}}
}

// Start watches the holds of the namespaces, and calls onChange for each workload with a change of its hold, scale, autoscaler or pods. stop
// ends all watches and waits for them; the caches are then empty.
func (c *CachedCluster) Start(ctx context.Context, namespaces []string, onChange func(hold.Workload)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	c.mu.Lock()
	c.ctx, c.onChange = ctx, onChange
	c.mu.Unlock()
	c.WatchHolds(namespaces) //nolint:contextcheck // informers live as long as the caches, not as the call
	return func() {
		cancel()
		c.mu.Lock()
		c.ctx = nil
		c.mu.Unlock()
		c.running.Wait()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.holds, c.namespaces = map[string]cache.SharedIndexInformer{}, map[string]*namespaceCaches{}
	}
}

// WatchHolds watches the holds of further namespaces. It does nothing before Start and after its stop.
func (c *CachedCluster) WatchHolds(namespaces []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, namespace := range namespaces {
		if c.ctx != nil && c.holds[namespace] == nil {
			c.holds[namespace] = c.live.Holds.NewInformer(namespace)
			_ = c.holds[namespace].SetTransform(stripCachedHold) // an informer that has not started takes a transform
			c.runInformer(c.holds[namespace], func(object any) { c.wakeForHold(object) })
		}
	}
}

// runInformer starts an informer with a handler. The caller holds mu.
func (c *CachedCluster) runInformer(informer cache.SharedIndexInformer, onChange func(any)) {
	_, _ = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{ // an informer that has not started takes handlers
		AddFunc: onChange, UpdateFunc: func(_, object any) { onChange(object) },
		DeleteFunc: func(object any) {
			if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
				object = gone.Obj
			}
			onChange(object)
		},
	})
	ctx := c.ctx
	c.running.Go(func() { informer.Run(ctx.Done()) })
}

// WaitForHolds waits until the holds of all namespaces are read, or ctx ends. It returns the namespaces with holds that are not read.
func (c *CachedCluster) WaitForHolds(ctx context.Context) (unread []string) {
	c.mu.Lock()
	informers := maps.Clone(c.holds)
	c.mu.Unlock()
	for namespace, informer := range informers {
		if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
			unread = append(unread, namespace)
		}
	}
	slices.Sort(unread)
	return unread
}

// wakeForHold wakes the workload of a hold, and the workloads of its group.
func (c *CachedCluster) wakeForHold(object any) {
	h, ok := object.(*hold.Object)
	if !ok {
		return
	}
	c.onChange(h.HeldWorkload())
	if h.Spec.Group == nil {
		return
	}
	informer := c.holdInformer(h.Namespace)
	if informer == nil {
		return
	}
	members, _ := informer.GetIndexer().ByIndex(hold.GroupIndex, h.Spec.Group.Name) // its error is an index without a name
	for _, other := range selectWorkloadHolds(members) {
		if !other.HeldWorkload().IsSameObject(h.HeldWorkload()) {
			c.onChange(other.HeldWorkload())
		}
	}
}

// wakeNamespace wakes the held workloads of a namespace that match.
func (c *CachedCluster) wakeNamespace(namespace string, matches func(*hold.Object) bool) {
	woken := map[hold.Workload]bool{}
	for _, h := range c.findCachedHolds(namespace) {
		if t := h.HeldWorkload(); !woken[t.WithoutVersion()] && matches(h) {
			woken[t.WithoutVersion()] = true
			c.onChange(t)
		}
	}
}

// holdInformer returns the informer of the holds of a namespace, nil for an unwatched namespace.
func (c *CachedCluster) holdInformer(namespace string) cache.SharedIndexInformer {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.holds[namespace]
}

// findCachedHolds returns the cached holds of a namespace, which the cache shares.
func (c *CachedCluster) findCachedHolds(namespace string) []*hold.Object {
	informer := c.holdInformer(namespace)
	if informer == nil {
		return nil
	}
	return selectWorkloadHolds(informer.GetStore().List())
}

// selectWorkloadHolds returns the holds of a store's objects.
func selectWorkloadHolds(objects []any) []*hold.Object {
	all := make([]*hold.Object, 0, len(objects))
	for _, object := range objects {
		if h, ok := object.(*hold.Object); ok {
			all = append(all, h)
		}
	}
	return all
}

// FindHolds implements HoldFinder.
func (c *CachedCluster) FindHolds(ctx context.Context, t hold.Workload) ([]hold.Object, error) {
	informer := c.holdInformer(t.Namespace)
	if informer == nil || !informer.HasSynced() {
		return c.live.ListHolds(ctx, t.Namespace)
	}
	return findIndexedHolds(informer.GetIndexer(), t), nil
}

// findIndexedHolds returns the holds of FindHolds in an index.
func findIndexedHolds(indexer cache.Indexer, t hold.Workload) (all []hold.Object) {
	seen := map[string]bool{}
	add := func(index, key string) {
		found, _ := indexer.ByIndex(index, key) // its error is an index without a name
		for _, h := range selectWorkloadHolds(found) {
			if !seen[h.Name] {
				seen[h.Name], all = true, append(all, *h)
			}
		}
	}
	add(hold.WorkloadIndex, t.IndexKey())
	if len(all) == 0 {
		return nil
	}
	for _, h := range slices.Clone(all) {
		if h.Spec.Group != nil {
			add(hold.GroupIndex, h.Spec.Group.Name)
		}
	}
	add(hold.SharedIndex, hold.SharedIndexKey)
	return all
}

func (c *CachedCluster) listCachedHolds(namespace string) []hold.Object {
	found := c.findCachedHolds(namespace)
	all := make([]hold.Object, len(found))
	for i, h := range found {
		all[i] = *h
	}
	return all
}

// ListAllHolds lists the cached holds of all watched namespaces.
func (c *CachedCluster) ListAllHolds() (all []hold.Object) {
	c.mu.Lock()
	var namespaces []string
	for namespace := range c.holds {
		namespaces = append(namespaces, namespace)
	}
	c.mu.Unlock()
	for _, namespace := range namespaces {
		all = append(all, c.listCachedHolds(namespace)...)
	}
	return all
}

// ListNamespacesWithLabel lists the namespaces with holds that a label selector matches, from the API server.
func (c *CachedCluster) ListNamespacesWithLabel(ctx context.Context, selector string) ([]string, error) {
	seen := map[string]bool{}
	err := c.live.Holds.EachHoldPage(ctx, "", selector, func(page []hold.Object) {
		for i := range page {
			seen[page[i].Namespace] = true
		}
	})
	if err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(seen)), nil
}

// ListHolds implements Reader.
func (c *CachedCluster) ListHolds(ctx context.Context, namespace string) ([]hold.Object, error) {
	informer := c.holdInformer(namespace)
	if informer == nil || !informer.HasSynced() {
		return c.live.ListHolds(ctx, namespace)
	}
	return c.listCachedHolds(namespace), nil
}

// openNamespace returns the caches of a namespace, and starts them; nil if the caches have not started.
func (c *CachedCluster) openNamespace(namespace string) *namespaceCaches {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := c.namespaces[namespace]; n != nil || c.ctx == nil {
		return n
	}
	factory := informers.NewSharedInformerFactoryWithOptions(c.live.Client, 0, informers.WithNamespace(namespace))
	n := &namespaceCaches{
		pods: factory.Core().V1().Pods().Informer(), autoscalers: factory.Autoscaling().V2().HorizontalPodAutoscalers().Informer(),
		workloads: map[schema.GroupVersionResource]cache.SharedIndexInformer{},
	}
	c.namespaces[namespace] = n
	_ = n.pods.SetTransform(stripHeldPod)
	_ = n.autoscalers.SetTransform(stripHeldAutoscaler)
	c.runInformer(n.pods, func(any) {
		c.wakeNamespace(namespace, func(h *hold.Object) bool { return !h.Status.State.IsSettled() })
	})
	c.runInformer(n.autoscalers, func(object any) {
		if hpa, ok := object.(*autoscalingv2.HorizontalPodAutoscaler); ok {
			c.wakeNamespace(namespace, func(h *hold.Object) bool {
				n := h.Status.Numbers // an autoscaler that is pointed at another workload wakes its former one
				return scalesWorkload(hpa, h.HeldWorkload()) || n != nil && n.AutoscalerUID == hpa.UID
			})
		}
	})
	return n
}

// ListAutoscalers implements Reader.
func (c *CachedCluster) ListAutoscalers(ctx context.Context, namespace string) ([]*autoscalingv2.HorizontalPodAutoscaler, error) {
	n := c.openNamespace(namespace) //nolint:contextcheck // informers live as long as the caches, not as the call
	if n == nil || !n.autoscalers.HasSynced() {
		return c.live.ListAutoscalers(ctx, namespace)
	}
	var all []*autoscalingv2.HorizontalPodAutoscaler
	for _, object := range n.autoscalers.GetStore().List() {
		if hpa, ok := object.(*autoscalingv2.HorizontalPodAutoscaler); ok {
			all = append(all, hpa)
		}
	}
	return all, nil
}

// ListPods implements Reader.
func (c *CachedCluster) ListPods(ctx context.Context, namespace, selector string) ([]corev1.Pod, error) {
	n := c.openNamespace(namespace) //nolint:contextcheck // informers live as long as the caches, not as the call
	parsed, err := labels.Parse(selector)
	if err != nil || selector == "" || n == nil || !n.pods.HasSynced() {
		return c.live.ListPods(ctx, namespace, selector)
	}
	var all []corev1.Pod
	for _, object := range n.pods.GetStore().List() {
		if pod, ok := object.(*corev1.Pod); ok && parsed.Matches(labels.Set(pod.Labels)) {
			all = append(all, *pod)
		}
	}
	return all, nil
}

// GetScale implements Reader.
func (c *CachedCluster) GetScale(ctx context.Context, t hold.Workload) (*Scale, error) {
	mapping, err := c.live.mapWorkload(t)
	n := c.openNamespace(t.Namespace) //nolint:contextcheck // informers live as long as the caches, not as the call
	if err != nil || n == nil {
		return c.live.GetScale(ctx, t)
	}
	informer := c.openWorkloads(n, mapping.Resource, t) //nolint:contextcheck // informers live as long as the caches, not as the call
	if informer == nil || !informer.HasSynced() {
		return c.live.GetScale(ctx, t)
	}
	object, found, err := informer.GetStore().GetByKey(t.Namespace + "/" + t.Name)
	if err != nil || !found {
		return c.live.GetScale(ctx, t) // a workload that is missing in the cache may only be late
	}
	u, ok := object.(*unstructured.Unstructured)
	if !ok || !isWholeHeldWorkload(u) {
		return c.live.GetScale(ctx, t)
	}
	return c.live.scaleOfWorkloadObject(ctx, c.live.Dynamic.Resource(mapping.Resource).Namespace(t.Namespace), u)
}

// openWorkloads returns the cache of a kind of workload in a namespace, and starts it; nil if the caches have stopped.
func (c *CachedCluster) openWorkloads(n *namespaceCaches, resource schema.GroupVersionResource, t hold.Workload) cache.SharedIndexInformer {
	c.mu.Lock()
	defer c.mu.Unlock()
	if informer := n.workloads[resource]; informer != nil || c.ctx == nil {
		return informer
	}
	informer := dynamicinformer.NewFilteredDynamicInformer(c.live.Dynamic, resource, t.Namespace, 0, cache.Indexers{}, nil).Informer()
	_ = informer.SetTransform(stripHeldWorkload)
	n.workloads[resource] = informer
	c.runInformer(informer, func(object any) {
		if u, ok := object.(*unstructured.Unstructured); ok {
			c.wakeNamespace(t.Namespace, func(h *hold.Object) bool {
				return h.Spec.Workload.Kind == t.Kind && h.Spec.Workload.Name == u.GetName()
			})
		}
	})
	return informer
}
