package discovery

import (
	"context"
	"fmt"
	"sync"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// sink takes what a mirror brings. Its methods report whether anything changed.
type sink[T any] interface {
	put(T) bool
	remove(T) bool
	replace([]T) bool
}

// mirror keeps a sink equal to what the API server has of one resource. It stands where an informer would:
// client-go's reflector lists and watches, but writes through the strip function straight into the indexed
// sink, so that there is no second store of whole objects, no queue between the two, and a pod that ends is
// seen to have ended as soon as its event arrives.
type mirror[T any] struct {
	resource string // as RBAC names it
	strip    func(obj any) (T, error)
	sink     sink[T]
	changed  func() // called after every change, and when the first list is complete
	errored  func() // called with every list or watch that fails

	mu     sync.Mutex
	synced bool  // guarded by mu
	err    error // the last list or watch that failed, nil after one that did not; guarded by mu
}

var _ cache.TransformingStore = (*mirror[int])(nil)

// run mirrors until ctx ends.
func (m *mirror[T]) run(ctx context.Context, source cache.ListerWatcher, example runtime.Object) {
	logger := klog.FromContext(ctx)
	cache.NewReflectorWithOptions(source, example, m, cache.ReflectorOptions{Name: m.resource, Logger: &logger}).RunWithContext(ctx)
}

// state tells whether the first list is complete, and why the last attempt failed if it did.
func (m *mirror[T]) state() (synced bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.synced, m.err
}

// pending says why the first list is not complete; nil once it is.
func (m *mirror[T]) pending() error {
	switch synced, err := m.state(); {
	case synced:
		return nil
	case err != nil:
		return fmt.Errorf("list %s: %w", m.resource, err)
	default:
		return fmt.Errorf("list %s: not answered yet", m.resource)
	}
}

// Transformer lets client-go strip objects while it still collects the first list.
func (m *mirror[T]) Transformer() cache.TransformFunc {
	return func(obj any) (any, error) { return m.strip(obj) }
}

// Add stores an object.
func (m *mirror[T]) Add(obj any) error { return m.apply(obj, m.sink.put) }

// Update stores an object's new state.
func (m *mirror[T]) Update(obj any) error { return m.apply(obj, m.sink.put) }

// Delete drops an object.
func (m *mirror[T]) Delete(obj any) error { return m.apply(obj, m.sink.remove) }

// Resync has nothing to do: the sink is the only copy.
func (m *mirror[T]) Resync() error { return nil }

// Replace makes the list the sink's whole content.
func (m *mirror[T]) Replace(list []any, _ string) error {
	stripped := make([]T, 0, len(list))
	for _, obj := range list {
		s, err := m.strip(obj)
		if err != nil {
			return err
		}
		stripped = append(stripped, s)
	}
	changed := m.sink.replace(stripped)
	m.mu.Lock()
	first := !m.synced
	m.synced = true
	m.mu.Unlock()
	if changed || first {
		m.changed()
	}
	return nil
}

func (m *mirror[T]) apply(obj any, change func(T) bool) error {
	stripped, err := m.strip(obj)
	if err != nil {
		return err
	}
	if change(stripped) {
		m.changed()
	}
	return nil
}

// observe takes note of how a list or watch request went. A missing permission is said in the words of
// RBAC; other errors client-go logs by itself when it tries again.
func (m *mirror[T]) observe(ctx context.Context, verb string, err error) {
	if ctx.Err() != nil {
		return
	}
	m.mu.Lock()
	m.err = err
	m.mu.Unlock()
	if err == nil {
		return
	}
	m.errored()
	if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
		klog.FromContext(ctx).Error(err, "Permission missing: nothing is scraped or served without it",
			"verb", verb, "resource", m.resource)
	}
}

// source returns how the mirror reads its resource: list and watch, observed. client tells client-go whether
// the server behind it can stream lists.
func source[T any, L runtime.Object](
	m *mirror[T], client kubernetes.Interface,
	list func(context.Context, metav1.ListOptions) (L, error),
	watching func(context.Context, metav1.ListOptions) (watch.Interface, error),
) cache.ListerWatcher {
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			result, err := list(ctx, o)
			m.observe(ctx, "list", err)
			return result, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			result, err := watching(ctx, o)
			m.observe(ctx, "watch", err)
			return result, err
		},
	}, client)
}

// runPods mirrors the pods of all namespaces until ctx ends.
func runPods(ctx context.Context, m *mirror[*pod], client kubernetes.Interface) {
	api := client.CoreV1().Pods(metav1.NamespaceAll)
	m.run(ctx, source(m, client, api.List, api.Watch), &corev1.Pod{})
}

// runAutoscalers mirrors the HorizontalPodAutoscalers of all namespaces until ctx ends.
func runAutoscalers(ctx context.Context, m *mirror[*autoscaler], client kubernetes.Interface) {
	api := client.AutoscalingV2().HorizontalPodAutoscalers(metav1.NamespaceAll)
	m.run(ctx, source(m, client, api.List, api.Watch), &autoscalingv2.HorizontalPodAutoscaler{})
}
