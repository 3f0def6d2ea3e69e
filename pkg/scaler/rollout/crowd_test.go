// An event of one namespace beside thousands of new holds of another, with the limit of the program's client and in virtual time.

package rollout

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/fairlimit"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// crowdedCluster has namespaces that share a client. It reads as caches do, without a request, and may be used concurrently.
type crowdedCluster struct {
	limit *fairlimit.Limiter
	queue func(namespace string) string

	mu         sync.Mutex // guards the fields below
	namespaces map[string]*memoryCluster
	scaledAt   map[hold.Workload]time.Time
}

// request waits as a request does, and returns the namespace with mu held.
func (c *crowdedCluster) request(ctx context.Context, namespace string) (*memoryCluster, func()) {
	_ = c.limit.Wait(ctx, c.queue(namespace))
	time.Sleep(5 * time.Millisecond) //nolint:forbidigo // in a bubble, where it takes no time
	return c.lock(namespace)
}

func (c *crowdedCluster) lock(namespace string) (*memoryCluster, func()) {
	c.mu.Lock()
	return c.namespaces[namespace], c.mu.Unlock
}

func (c *crowdedCluster) ListHolds(ctx context.Context, namespace string) ([]hold.Object, error) {
	m, unlock := c.lock(namespace)
	defer unlock()
	return m.ListHolds(ctx, namespace)
}

// FindHolds finds the only hold of a workload.
func (c *crowdedCluster) FindHolds(_ context.Context, t hold.Workload) (all []hold.Object, err error) {
	m, unlock := c.lock(t.Namespace)
	defer unlock()
	if h := m.holds[hold.ObjectName(t, "a")]; h != nil {
		all = append(all, *h.DeepCopy())
	}
	return all, nil
}

func (c *crowdedCluster) GetScale(ctx context.Context, t hold.Workload) (*Scale, error) {
	m, unlock := c.lock(t.Namespace)
	defer unlock()
	return m.GetScale(ctx, t)
}

func (c *crowdedCluster) ListAutoscalers(context.Context, string) ([]*autoscalingv2.HorizontalPodAutoscaler, error) {
	return nil, nil
}

func (c *crowdedCluster) ListPods(ctx context.Context, namespace, selector string) ([]corev1.Pod, error) {
	m, unlock := c.lock(namespace)
	defer unlock()
	return m.ListPods(ctx, namespace, selector)
}

// crowdedWriter writes with requests.
type crowdedWriter struct{ *crowdedCluster }

func (c crowdedWriter) CreateHold(ctx context.Context, o *hold.Object) (*hold.Object, error) {
	m, unlock := c.request(ctx, o.Namespace)
	defer unlock()
	return m.CreateHold(ctx, o)
}

func (c crowdedWriter) UpdateHold(ctx context.Context, o *hold.Object) (*hold.Object, error) {
	m, unlock := c.request(ctx, o.Namespace)
	defer unlock()
	return m.UpdateHold(ctx, o)
}

func (c crowdedWriter) UpdateHoldStatus(ctx context.Context, o *hold.Object) (*hold.Object, error) {
	m, unlock := c.request(ctx, o.Namespace)
	defer unlock()
	return m.UpdateHoldStatus(ctx, o)
}

func (c crowdedWriter) DeleteHold(ctx context.Context, o *hold.Object) error {
	m, unlock := c.request(ctx, o.Namespace)
	defer unlock()
	return m.DeleteHold(ctx, o)
}

func (c crowdedWriter) SetBounds(context.Context, string, *Autoscaler, hold.ReplicaBounds) (*Autoscaler, error) {
	panic("no autoscaler is here")
}

func (c crowdedWriter) DropBoundsOwner(context.Context, string, *Autoscaler) (*Autoscaler, error) {
	panic("no autoscaler is here")
}

func (c crowdedWriter) SetReplicas(ctx context.Context, t hold.Workload, s *Scale, n int32) (*Scale, error) {
	m, unlock := c.request(ctx, t.Namespace)
	defer unlock()
	c.scaledAt[t] = time.Now()
	return m.SetReplicas(ctx, t, s, n)
}

func (c crowdedWriter) DropScaleOwner(ctx context.Context, t hold.Workload, s *Scale) (*Scale, error) {
	m, unlock := c.request(ctx, t.Namespace)
	defer unlock()
	return m.DropScaleOwner(ctx, t, s)
}

func (c crowdedWriter) WriteEvent(ctx context.Context, e *corev1.Event) error {
	_, unlock := c.request(ctx, e.Namespace)
	unlock()
	return nil
}

// addNewHold adds a workload with a hold that another client made just now.
func (c *memoryCluster) addNewHold(t hold.Workload) {
	c.addWorkload(t.Name, 2, hold.ReplicaBounds{})
	h := hold.NewObject(t, hold.Hold{ID: "a", By: "b", Replicas: 20, Within: time.Hour}, "")
	h.Finalizers, h.UID, h.Generation, h.ResourceVersion = nil, types.UID(t.Name), 1, fmt.Sprint(c.nextVersion())
	h.CreationTimestamp = metav1.NewTime(c.now)
	c.holds[h.Name] = h
}

// raiseBesideCrowd returns the time from an event until its workload is scaled, beside so many new holds of another namespace.
func raiseBesideCrowd(t *testing.T, crowd int, queue func(string) string) (took time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(klog.NewContext(t.Context(), logr.Discard()))
		c := &crowdedCluster{limit: fairlimit.New(200, 400), queue: queue, namespaces: map[string]*memoryCluster{}, scaledAt: map[hold.Workload]time.Time{}}
		c.namespaces["crowd"], c.namespaces["sale"] = newMemoryCluster(time.Now()), newMemoryCluster(time.Now())
		e := New(Options{Cluster: crowdedWriter{c}, Reader: c, Checker: &memoryChecker{}})
		var running sync.WaitGroup
		reconcile := func(t hold.Workload) {
			running.Go(func() { _, _ = e.Reconcile(ctx, t, func(Result) bool { return false }, Observer{}) })
		}
		for i := range crowd {
			work := hold.Workload{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "crowd", Name: fmt.Sprint("shop-", i)}
			m, unlock := c.lock("crowd")
			m.addNewHold(work)
			unlock()
			reconcile(work)
		}
		time.Sleep(time.Second) //nolint:forbidigo // in a bubble, where it takes no time
		sale := memoryRef("shop")
		m, unlock := c.lock("sale")
		m.addWorkload("shop", 2, hold.ReplicaBounds{})
		unlock()
		begin := time.Now()
		running.Go(func() {
			if _, err := e.ApplyHold(ctx, sale, hold.Hold{ID: "a", By: "b", Replicas: 20, Within: time.Hour}); err == nil {
				reconcile(sale)
			}
		})
		time.Sleep(2 * time.Second) //nolint:forbidigo // in a bubble, where it takes no time
		c.mu.Lock()
		if took = 2 * time.Second; !c.scaledAt[sale].IsZero() {
			took = c.scaledAt[sale].Sub(begin)
		}
		c.mu.Unlock()
		cancel()
		running.Wait()
	})
	return took
}

// TestD15EventBesideCrowd: 5,000 new holds of one namespace delay an event of another by less than 300 ms. In one queue even 1,000 delay it
// longer, so the measure can fail.
func TestD15EventBesideCrowd(t *testing.T) {
	t.Parallel()
	if took := raiseBesideCrowd(t, 5000, func(namespace string) string { return namespace }); took > 300*time.Millisecond {
		t.Errorf("scaled after %s", took)
	}
	if took := raiseBesideCrowd(t, 1000, func(string) string { return "" }); took < time.Second {
		t.Errorf("in one queue scaled after %s: the test measures nothing", took)
	}
}
