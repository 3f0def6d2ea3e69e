// An event among many workloads that wait, with the client of the program and in virtual time.

package rollout

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/time/rate"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// limitedCluster makes each request wait for the client's limit and for the API server's response. It may be used concurrently.
type limitedCluster struct {
	*memoryCluster

	mu       sync.Mutex // guards memoryCluster
	limit    *rate.Limiter
	scaledAt map[string]time.Time
}

// request waits as a request does, and returns with mu held.
func (c *limitedCluster) request(ctx context.Context) func() {
	_ = c.limit.Wait(ctx)
	time.Sleep(5 * time.Millisecond) //nolint:forbidigo // in a bubble, where it takes no time
	c.mu.Lock()
	return c.mu.Unlock
}

func (c *limitedCluster) ListHolds(ctx context.Context, namespace string) ([]hold.Object, error) {
	defer c.request(ctx)()
	return c.memoryCluster.ListHolds(ctx, namespace)
}

func (c *limitedCluster) GetScale(ctx context.Context, t hold.Workload) (*Scale, error) {
	defer c.request(ctx)()
	return c.memoryCluster.GetScale(ctx, t)
}

func (c *limitedCluster) ListAutoscalers(ctx context.Context, namespace string) ([]*autoscalingv2.HorizontalPodAutoscaler, error) {
	defer c.request(ctx)()
	return c.memoryCluster.ListAutoscalers(ctx, namespace)
}

func (c *limitedCluster) ListPods(ctx context.Context, namespace, selector string) ([]corev1.Pod, error) {
	defer c.request(ctx)()
	return c.memoryCluster.ListPods(ctx, namespace, selector)
}

func (c *limitedCluster) CreateHold(ctx context.Context, o *hold.Object) (*hold.Object, error) {
	defer c.request(ctx)()
	return c.memoryCluster.CreateHold(ctx, o)
}

func (c *limitedCluster) UpdateHoldStatus(ctx context.Context, o *hold.Object) (*hold.Object, error) {
	defer c.request(ctx)()
	return c.memoryCluster.UpdateHoldStatus(ctx, o)
}

func (c *limitedCluster) SetReplicas(ctx context.Context, t hold.Workload, s *Scale, n int32) (*Scale, error) {
	defer c.request(ctx)()
	c.scaledAt[t.Name] = time.Now()
	return c.memoryCluster.SetReplicas(ctx, t, s, n)
}

func (c *limitedCluster) WriteEvent(ctx context.Context, _ *corev1.Event) error {
	c.request(ctx)()
	return nil
}

// cachedReader reads the cluster as caches do: without a request.
type cachedReader struct{ *limitedCluster }

func (r cachedReader) ListHolds(ctx context.Context, namespace string) ([]hold.Object, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.memoryCluster.ListHolds(ctx, namespace)
}

func (r cachedReader) GetScale(ctx context.Context, t hold.Workload) (*Scale, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.memoryCluster.GetScale(ctx, t)
}

func (r cachedReader) ListAutoscalers(ctx context.Context, namespace string) ([]*autoscalingv2.HorizontalPodAutoscaler, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.memoryCluster.ListAutoscalers(ctx, namespace)
}

func (r cachedReader) ListPods(ctx context.Context, namespace, selector string) ([]corev1.Pod, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.memoryCluster.ListPods(ctx, namespace, selector)
}

// raiseAmong returns the time from an event until its workload is scaled, while so many other workloads wait for their pods.
func raiseAmong(t *testing.T, waiting int, cached bool) (took time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(klog.NewContext(t.Context(), logr.Discard()))
		c := &limitedCluster{memoryCluster: newMemoryCluster(time.Now()), limit: rate.NewLimiter(rate.Inf, 0), scaledAt: map[string]time.Time{}}
		opts := Options{Cluster: c, Checker: &memoryChecker{}}
		if cached {
			opts.Reader = cachedReader{c}
		}
		e := New(opts)
		var running sync.WaitGroup
		reconcile := func(name string) {
			running.Go(func() { _, _ = e.Reconcile(ctx, memoryRef(name), func(Result) bool { return false }, Observer{}) })
		}
		apply := func(name string) {
			if _, err := e.ApplyHold(ctx, memoryRef(name), hold.Hold{ID: "a", By: "b", Replicas: 20, Within: time.Hour}); err != nil {
				t.Error(err)
			}
		}
		c.addWorkload("shop", 2, hold.ReplicaBounds{})
		for i := range waiting {
			c.addWorkload(fmt.Sprint("waits-", i), 2, hold.ReplicaBounds{})
		}
		for i := range waiting {
			apply(fmt.Sprint("waits-", i))
			reconcile(fmt.Sprint("waits-", i))
		}
		time.Sleep(2 * time.Second) //nolint:forbidigo // in a bubble, where it takes no time
		c.mu.Lock()
		c.limit.SetLimit(200) // as the program's client
		c.limit.SetBurst(400)
		c.mu.Unlock()
		time.Sleep(3 * time.Second) //nolint:forbidigo // in a bubble, where it takes no time
		begin := time.Now()
		apply("shop")
		reconcile("shop")
		time.Sleep(3 * time.Second) //nolint:forbidigo // in a bubble, where it takes no time
		c.mu.Lock()
		took = time.Hour
		if at := c.scaledAt["shop"]; !at.IsZero() {
			took = at.Sub(begin)
		}
		c.mu.Unlock()
		cancel()
		running.Wait()
	})
	return took
}

// TestD15EventAmongWaiting: with 200 workloads that wait for their pods, an event's workload is scaled within 300 ms. Without caches even 80
// delay it longer, so the measure can fail.
func TestD15EventAmongWaiting(t *testing.T) {
	t.Parallel()
	if took := raiseAmong(t, 200, true); took > 300*time.Millisecond {
		t.Errorf("scaled after %s", took)
	}
	if took := raiseAmong(t, 80, false); took < time.Second {
		t.Errorf("without caches scaled after %s: the test measures nothing", took)
	}
}
