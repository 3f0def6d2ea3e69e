package provider

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apiserver/pkg/authentication/user"
	apirequest "k8s.io/apiserver/pkg/endpoints/request"
	metricsprovider "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

const hpaController = "system:serviceaccount:kube-system:horizontal-pod-autoscaler"

// asUser is the context of a request of that user.
func asUser(ctx context.Context, name string) context.Context {
	return apirequest.WithUser(ctx, &user.DefaultInfo{Name: name})
}

// newTimedWorld is a world in the time of its bubble, whose pods a and b have values once delay is over.
func newTimedWorld(t *testing.T, delay time.Duration) *world {
	t.Helper()
	w := newWorld(t, livePod("a"), livePod("b"))
	began := time.Now()
	w.Now = func() time.Time { return noon.Add(time.Since(began)) }
	w.causes["a"], w.causes["b"] = metric.Omission{Reason: metric.ReasonWarmingUp}, metric.Omission{Reason: metric.ReasonWarmingUp}
	time.AfterFunc(delay, func() {
		w.embedded.mu.Lock()
		defer w.embedded.mu.Unlock()
		w.embedded.values = []metric.Value{aged("a", 1, -delay), aged("b", 2, -delay)}
	})
	return w
}

func TestFirstReadWaits(t *testing.T) {
	t.Parallel()
	list := func(ctx context.Context, w *world) (string, error) {
		got, err := w.GetMetricBySelector(ctx, "shop", mustParse(t, "app=web"), pods("request_per_second"), nil)
		if err != nil {
			return "", err
		}
		return formatValueList(got), nil
	}
	object := func(ctx context.Context, w *world) (string, error) {
		got, err := w.GetMetricByName(ctx, newNamespacedName("shop", "web"), newResourceMetricInfo("deployments.apps", "request_per_second"), nil)
		if err != nil {
			return "", err
		}
		return got.Value.String(), nil
	}
	for name, tc := range map[string]struct {
		user  string // jane by default
		read  func(context.Context, *world) (string, error)
		delay time.Duration // until there are values
		again bool          // it is not the first read
		setup func(*world)
		want  string // empty: an error
		took  time.Duration
	}{
		"pods":                {read: list, delay: 3900 * time.Millisecond, want: "a=1 b=2", took: 4 * time.Second},
		"an object":           {read: object, delay: 1900 * time.Millisecond, want: "3", took: 2 * time.Second},
		"no value comes":      {read: list, delay: time.Hour, took: 5 * time.Second},
		"not the first":       {read: list, delay: time.Second, again: true},
		"an autoscaler's":     {user: hpaController, read: list, delay: time.Second},
		"an anonymous user's": {user: user.Anonymous, read: list, delay: time.Second},
		"many others wait":    {read: list, delay: time.Second, setup: func(w *world) { fillChannel(w.waitingReads) }},
		"nothing that waiting helps": {read: list, delay: time.Hour, took: 500 * time.Millisecond, setup: func(w *world) {
			w.Scrapes = failingLater{w.Scrapes, time.Now().Add(time.Millisecond)}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newTimedWorld(t, tc.delay)
				if tc.again {
					w.demandEverything("request_per_second")
				}
				if tc.setup != nil {
					tc.setup(w)
				}
				began := time.Now()
				got, err := tc.read(asUser(t.Context(), defaultString(tc.user, "jane")), w)
				if took := time.Since(began); took != tc.took {
					t.Errorf("took %v, want %v", took, tc.took)
				}
				if got != tc.want || (err == nil) != (tc.want != "") {
					t.Errorf("%q, error %v; want %q", got, err, tc.want)
				}
				if err != nil {
					checkStatus(t, err, 503, "2 pods: 2 ")
				}
			})
		})
	}
}

// failingLater are scrapes that fail from a time on.
type failingLater struct {
	Scrapes
	from time.Time
}

func (f failingLater) Diagnose(namespace, pod string, families []string) metric.Omission {
	if time.Now().Before(f.from) {
		return f.Scrapes.Diagnose(namespace, pod, families)
	}
	return metric.Omission{Reason: metric.ReasonScrapeFailed}
}

func fillChannel(c chan struct{}) {
	for range cap(c) {
		c <- struct{}{}
	}
}

// TestFirstReadEndsWithItsRequest: a reader that gives up leaves no wait behind.
func TestFirstReadEndsWithItsRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newTimedWorld(t, time.Hour)
		ctx, cancel := context.WithCancel(asUser(t.Context(), "jane"))
		var all sync.WaitGroup
		all.Go(func() {
			_, err := w.GetExternalMetric(ctx, "shop", nil, metricsprovider.ExternalMetricInfo{Metric: "orders_waiting"})
			checkStatus(t, err, 503, "asked for the first time now")
		})
		synctest.Wait()
		if n := len(w.waitingReads); n != 1 {
			t.Errorf("%d reads wait, want 1", n)
		}
		cancel()
		all.Wait()
		if n := len(w.waitingReads); n != 0 {
			t.Errorf("%d reads wait after the request, want none", n)
		}
	})
}

// TestRejectedDemandIsSaid: the first read of a metric that is not scraped for gets the bound as its reason, and does not wait.
func TestRejectedDemandIsSaid(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newTimedWorld(t, time.Hour)
		w.demands.full = metric.Errorf(metric.KindInvalid, "6950 metrics of HorizontalPodAutoscaler shop/web are not served")
		began := time.Now()
		_, err := w.GetMetricBySelector(asUser(t.Context(), hpaController), "shop", mustParse(t, "app=web"), pods("request_per_second"), nil)
		if err == nil || !strings.Contains(err.Error(), "6950 metrics") || time.Since(began) != 0 {
			t.Errorf("error %v after %v, want the bound at once", err, time.Since(began))
		}
	})
}
