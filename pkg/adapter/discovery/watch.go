// This file lists and watches pods and HorizontalPodAutoscalers.

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

// objectSink stores the objects of a reflectorStore. Its methods report whether the content changed.
type objectSink[T any] interface {
	upsertWatchedObject(T) bool
	removeWatchedObject(T) bool
	replaceWatchedObjects([]T) bool
}

// reflectorStore keeps a sink equal to the API server's objects of one resource. It replaces an informer: client-go's
// reflector lists and watches, and writes through the strip function straight into the indexed sink. This saves a
// second store of whole objects and a queue in between, and a pod's end shows as soon as its event arrives.
type reflectorStore[T any] struct {
	resource string // in RBAC's notation
	strip    func(obj any) (T, error)
	// stripDeleted takes the place of strip for a deleted object; nil: strip.
	stripDeleted func(obj any) (T, error)
	sink         objectSink[T]
	onChange     func() // called after every change, and when the first list is complete
	onError      func() // called after every failed list or watch

	mu     sync.Mutex
	synced bool  // guarded by mu
	err    error // of the last list or watch, nil after a success; guarded by mu
}

var _ cache.TransformingStore = (*reflectorStore[int])(nil)

// runReflector lists and watches until ctx ends.
func (m *reflectorStore[T]) runReflector(ctx context.Context, source cache.ListerWatcher, example runtime.Object) {
	logger := klog.FromContext(ctx)
	reflector := cache.NewReflectorWithOptions(source, example, m, cache.ReflectorOptions{Name: m.resource, Logger: &logger})
	reflector.WatchListPageSize = discoveryPageSize
	reflector.RunWithContext(ctx)
}

// readSyncState reports whether the first list is complete, and returns the error of the last attempt.
func (m *reflectorStore[T]) readSyncState() (synced bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.synced, m.err
}

// checkReflectorSynced returns the reason why the first list is not complete; nil once it is.
func (m *reflectorStore[T]) checkReflectorSynced() error {
	switch synced, err := m.readSyncState(); {
	case synced:
		return nil
	case err != nil:
		return fmt.Errorf("list %s: %w", m.resource, err)
	default:
		return fmt.Errorf("list %s: no response yet", m.resource)
	}
}

// describeReflectorFailure returns a line about the last list or watch if it failed; else nothing.
func (m *reflectorStore[T]) describeReflectorFailure() string {
	_, err := m.readSyncState()
	switch {
	case err == nil:
		return ""
	case apierrors.IsUnauthorized(err):
		return fmt.Sprintf("%s: kube-apiserver rejects the adapter's token: %v", m.resource, err)
	}
	return fmt.Sprintf("%s: last list or watch failed: %v", m.resource, err)
}

// Transformer returns the strip function, so that client-go strips objects while it collects the first list.
func (m *reflectorStore[T]) Transformer() cache.TransformFunc {
	return func(obj any) (any, error) { return m.strip(obj) }
}

// Add stores an object.
func (m *reflectorStore[T]) Add(obj any) error {
	return m.applyWatchEvent(obj, m.strip, m.sink.upsertWatchedObject)
}

// Update stores an object's new state.
func (m *reflectorStore[T]) Update(obj any) error {
	return m.applyWatchEvent(obj, m.strip, m.sink.upsertWatchedObject)
}

// Delete removes an object.
func (m *reflectorStore[T]) Delete(obj any) error {
	strip := m.strip
	if m.stripDeleted != nil {
		strip = m.stripDeleted
	}
	return m.applyWatchEvent(obj, strip, m.sink.removeWatchedObject)
}

// Resync does no work: the sink is the only copy.
func (m *reflectorStore[T]) Resync() error { return nil }

// Replace makes the list the sink's whole content.
func (m *reflectorStore[T]) Replace(list []any, _ string) error {
	stripped := make([]T, 0, len(list))
	for _, obj := range list {
		if page, ok := obj.(*strippedObject[T]); ok {
			stripped = append(stripped, page.stripped)
			continue
		}
		s, err := m.strip(obj)
		if err != nil {
			return err
		}
		stripped = append(stripped, s)
	}
	changed := m.sink.replaceWatchedObjects(stripped)
	m.mu.Lock()
	first := !m.synced
	m.synced = true
	m.mu.Unlock()
	if changed || first {
		m.onChange()
	}
	return nil
}

func (m *reflectorStore[T]) applyWatchEvent(obj any, strip func(any) (T, error), change func(T) bool) error {
	stripped, err := strip(obj)
	if err != nil {
		return err
	}
	if change(stripped) {
		m.onChange()
	}
	return nil
}

// recordWatchError stores the result of a list or watch request. It logs a missing permission in RBAC's words; client-go
// logs all other errors when it retries.
func (m *reflectorStore[T]) recordWatchError(ctx context.Context, verb string, err error) {
	if ctx.Err() != nil {
		return
	}
	m.mu.Lock()
	m.err = err
	m.mu.Unlock()
	if err == nil {
		return
	}
	m.onError()
	if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
		klog.FromContext(ctx).Error(err, "Permission missing: the adapter cannot scrape or serve without it",
			"verb", verb, "resource", m.resource)
	}
}

// newListerWatcher returns a ListerWatcher that records the result of each list and watch in m. client tells client-go
// whether its server can stream lists.
func newListerWatcher[T any, L runtime.Object](
	m *reflectorStore[T], client kubernetes.Interface,
	list func(context.Context, metav1.ListOptions) (L, error),
	watching func(context.Context, metav1.ListOptions) (watch.Interface, error),
) cache.ListerWatcher {
	pages := &growingPages{}
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			result, err := listGrowingPage(ctx, pages, requestListPage(o), list)
			m.recordWatchError(ctx, "list", err)
			if err != nil {
				return nil, err
			}
			return m.stripListPage(result)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			result, err := watching(ctx, o)
			m.recordWatchError(ctx, "watch", err)
			return result, err
		},
	}, client)
}

// watchClusterPods keeps m equal to the pods of all namespaces until ctx ends.
func watchClusterPods(ctx context.Context, m *reflectorStore[*storedPod], client kubernetes.Interface) {
	api := client.CoreV1().Pods(metav1.NamespaceAll)
	m.runReflector(ctx, newListerWatcher(m, client, api.List, api.Watch), &corev1.Pod{})
}

// watchAutoscalers keeps m equal to the HorizontalPodAutoscalers of all namespaces until ctx ends.
func watchAutoscalers(ctx context.Context, m *reflectorStore[*storedAutoscaler], client kubernetes.Interface) {
	api := client.AutoscalingV2().HorizontalPodAutoscalers(metav1.NamespaceAll)
	m.runReflector(ctx, newListerWatcher(m, client, api.List, api.Watch), &autoscalingv2.HorizontalPodAutoscaler{})
}
