package controller

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/rollout"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/schedule"
)

// deafNamespaceCluster does not respond to new holds of one namespace.
type deafNamespaceCluster struct {
	oneWorkload

	mu   sync.Mutex // guards made
	made map[string]int
}

func (c *deafNamespaceCluster) CreateHold(ctx context.Context, o *hold.Object) (*hold.Object, error) {
	if o.Namespace == "deaf" {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.made[o.Namespace]++
	return o, nil
}

func (c *deafNamespaceCluster) countMade() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.made["sale"]
}

// TestD7DeafNamespace: an API server that does not respond for the workloads of one namespace delays the windows of no other one, and all of that one
// by a bounded time.
func TestD7DeafNamespace(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		deaf  int // workloads
		delay time.Duration
	}{
		"one workload":           {1, 0},
		"all but one place":      {maxParallelApplies - 1, 0},
		"three times all places": {3 * maxParallelApplies, 3 * applyTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cluster := &deafNamespaceCluster{oneWorkload: oneWorkload{replicas: 2}, made: map[string]int{}}
				start := time.Now()
				s := schedule.Schedule{Name: "hours", Zone: time.UTC, Windows: []schedule.Window{{From: start, To: start.Add(10 * time.Hour), MinReplicas: 8}}}
				add := func(namespace string, n int) {
					for i := range n {
						s.Workloads = append(s.Workloads, hold.Workload{APIVersion: "apps/v1", Kind: "Deployment", Namespace: namespace, Name: fmt.Sprint("shop-", i)})
					}
				}
				add("deaf", c.deaf)
				add("sale", 40)
				control := New(Options{Engine: rollout.New(rollout.Options{Cluster: cluster}), Caches: rollout.NewCachedCluster(nil), Schedules: []schedule.Schedule{s}})
				var all sync.WaitGroup
				all.Go(func() {
					if control.applySchedulesAt(t.Context(), start) {
						t.Error("all holds are stored")
					}
				})
				time.Sleep(c.delay) //nolint:forbidigo // the bubble's clock: no time passes
				synctest.Wait()
				if n := cluster.countMade(); n != 40 {
					t.Errorf("%d of 40 holds after %s", n, c.delay)
				}
				all.Wait()
				if took := time.Since(start); took > c.delay+applyTimeout {
					t.Errorf("took %s", took)
				}
			})
		})
	}
}
