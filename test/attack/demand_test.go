package attack

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/retry"
	"github.com/tachometer-metrics/tachometer/test/harness/kubeapi"
)

// impatience ends a read of an attacker: the first read of a metric waits for its first scrapes otherwise.
const impatience = 150 * time.Millisecond

// flood calls read with every number below count, in some goroutines, for at most the time.
func flood(t *testing.T, count int, limit time.Duration, read func(ctx context.Context, i int)) (done int) {
	t.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	end := time.Now().Add(limit)
	for range 64 {
		wg.Go(func() {
			for time.Now().Before(end) {
				i := int(next.Add(1)) - 1
				if i >= count {
					return
				}
				ctx, cancel := context.WithTimeout(t.Context(), impatience)
				read(ctx, i)
				cancel()
			}
		})
	}
	wg.Wait()
	return min(int(next.Load()), count)
}

// TestHPABomb: an HPA with 7,000 metrics, 735 KB, is served up to its bound.
func TestHPABomb(t *testing.T) {
	joinShare(t)
	c := startShop(t, http.HandlerFunc(evilPage))
	c.SetAutoscaler(kubeapi.NewAutoscaler("evil", "evil", numberedNames(7000)...))
	a := startAdapter(t, c)
	retry.Sleep(t.Context(), attackTime(5*time.Second))
	a.await("the reason in the read of a rejected metric", func() (bool, string) {
		code, body, err := a.get(t.Context(), hpaController, podsPath("evil", "some_metric_of_mine_006999", "app=evil"))
		named := strings.Contains(body, "6950 metrics of HorizontalPodAutoscaler evil/evil are not served")
		return code != http.StatusOK && named, fmt.Sprintf("%d %.300s %v", code, body, err)
	})
	a.await("the Event", func() (bool, string) { return c.CountEvents() > 0, "no Event" }) // it is written after the decision
	if n := c.CountEvents(); n != 1 {
		t.Errorf("%d Events, want 1", n)
	}
	a.judge()
}

// TestLongNames: a reader of ever new names, each as long as a request may be.
func TestLongNames(t *testing.T) {
	joinShare(t)
	a := startAdapter(t, startShop(t, http.HandlerFunc(evilPage)))
	name := strings.Repeat("x", 50_000)
	done := flood(t, 500, attackTime(15*time.Second), func(ctx context.Context, i int) {
		_, _, _ = a.get(ctx, evilReader, podsPath("evil", fmt.Sprintf("%s_%06d", name, i), "app=evil"))
	})
	t.Logf("%d reads", done)
	a.judge()
}

// TestManyNames: a reader of ever new names.
func TestManyNames(t *testing.T) {
	skipShare(t)
	a := startAdapter(t, startShop(t, http.HandlerFunc(evilPage)))
	names := numberedNames(6000)
	done := flood(t, len(names), attackTime(20*time.Second), func(ctx context.Context, i int) {
		_, _, _ = a.get(ctx, evilReader, podsPath("evil", names[i], "app=evil"))
	})
	t.Logf("%d reads", done)
	code, body, err := a.get(t.Context(), evilReader, "/apis/custom.metrics.k8s.io/v1beta2")
	if err != nil || code != http.StatusOK || len(body) > 100_000 || strings.Contains(body, names[0]) {
		t.Errorf("the discovery document has %d bytes (%d, %v), and no reader's metric may stand in it", len(body), code, err)
	}
	a.judge()
}

// TestSelectors: a reader of ever new selectors, each as long as a request may be.
func TestSelectors(t *testing.T) {
	joinShare(t)
	a := startAdapter(t, startShop(t, http.HandlerFunc(evilPage)))
	done := flood(t, 1000, attackTime(15*time.Second), func(ctx context.Context, i int) {
		values := make([]string, 3000)
		for v := range values {
			values[v] = fmt.Sprintf("v%04d%05d", i, v)
		}
		_, _, _ = a.get(ctx, evilReader, podsPath("evil", goodMetric, "app notin ("+strings.Join(values, ",")+")"))
	})
	t.Logf("%d reads", done)
	a.judge()
}

// TestObjects: 10,000 reads of Deployments that do not exist cost some lookups a second, and none afterwards.
func TestObjects(t *testing.T) {
	skipShare(t)
	c := startShop(t, http.HandlerFunc(evilPage))
	a := startAdapter(t, c)
	before, began := c.CountLookups(), time.Now()
	done := flood(t, 10_000, attackTime(20*time.Second), func(ctx context.Context, i int) {
		_, _, _ = a.get(ctx, evilReader, fmt.Sprintf("/apis/custom.metrics.k8s.io/v1beta2/namespaces/evil/deployments.apps/none-%d/%s", i, goodMetric))
	})
	took, lookups := time.Since(began), c.CountLookups()-before
	if bound := 50 + 5*int64(took/time.Second+1) + 5; lookups > bound {
		t.Errorf("%d lookups for %d reads in %v, want at most %d", lookups, done, took, bound)
	}
	t.Logf("%d reads, %d lookups in %v", done, lookups, took)
	retry.Sleep(t.Context(), 6*time.Second) // lookups that were under way
	before = c.CountLookups()
	retry.Sleep(t.Context(), 8*time.Second)
	if after := c.CountLookups() - before; after != 0 {
		t.Errorf("%d lookups in 8 s after the reads, want none", after)
	}
	code, body, err := a.get(t.Context(), hpaController, "/apis/custom.metrics.k8s.io/v1beta2/namespaces/shop/deployments.apps/web/"+goodMetric)
	if err != nil || code != http.StatusOK {
		t.Errorf("read of an object of another namespace: %d %.300s %v", code, body, err)
	}
	a.judge()
}
