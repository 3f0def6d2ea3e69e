package rollout

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

// panickingChecker panics over the response of a pod.
type panickingChecker struct{}

func (panickingChecker) Run(context.Context, verify.Spec, []corev1.Pod, []corev1.Pod) (verify.Report, error) {
	panic("text of a response")
}

// TestPanicFailsOneVerification: a verification that panics fails its hold, which gives back what was there, and is counted.
func TestPanicFailsOneVerification(t *testing.T) {
	t.Parallel()
	b := newBench()
	b.engine.Checker = panickingChecker{}
	w := b.addWorkload("shop", 2, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 30})
	b.apply(t, "shop", saleHold())
	b.mustPass(t)
	w.scale(b.memoryCluster, 25)
	w.ready = 25
	b.mustPass(t)
	h := b.find("shop", "event/sale")
	wantState(t, h, hold.RolledBack, "ended in a panic")
	if strings.Contains(h.Status.Message, "text of a response") || b.gates.open["sale"] || w.hpa.bounds.MinReplicas != 2 {
		t.Errorf("message %q, %+v", h.Status.Message, w.hpa.bounds)
	}
	if got := testutil.ToFloat64(b.engine.Metrics.Panics.Counter()); got != 1 {
		t.Errorf("%v panics counted, want 1", got)
	}
}

// panickingWatcher panics over the response with a number.
type panickingWatcher struct{}

func (panickingWatcher) ReadWatch(context.Context, string, string, action.Watch) (float64, error) {
	panic("text of a response")
}

// TestPanicEndsOneReadOfAWatch: a watch whose read panics is unread, as after any failure, and the panic is counted.
func TestPanicEndsOneReadOfAWatch(t *testing.T) {
	t.Parallel()
	b, _, _ := newWatchedSale(t)
	b.engine.Watcher = panickingWatcher{}
	b.live(t, time.Minute)
	h := b.find("shop", "event/sale")
	wantState(t, h, hold.Open, "")
	if c := findHoldCondition(h, conditionWatched); c == nil || !strings.Contains(c.Message, "ended in a panic") || strings.Contains(c.Message, "text of a response") {
		t.Errorf("%+v", c)
	}
	if got := testutil.ToFloat64(b.engine.Metrics.Panics.Counter()); got == 0 {
		t.Error("no panic counted")
	}
}

// TestPanicEndsOneTry: a verification, or a read of a watch, that panics before its first request ends with no result, and the next try
// waits. Without a cluster both panic.
func TestPanicEndsOneTry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := New(Options{})
		d := &workloadReconciler{Engine: e, verified: make(chan Verdict, 1), watched: make(chan struct{}, 1)}
		began := time.Now()
		d.handlePassResult(klog.NewContext(t.Context(), logr.Discard()), Result{HoldToVerify: "uid-1", HoldToWatch: "uid-1"})
		if v := <-d.verified; v.Passed || v.Report != nil {
			t.Errorf("verdict %+v", v)
		}
		<-d.watched
		if waited := time.Since(began); waited != retryInterval {
			t.Errorf("the next try comes after %s, want %s", waited, retryInterval)
		}
		if n := testutil.ToFloat64(e.Metrics.Panics.Counter()); n != 2 {
			t.Errorf("%v panics counted, want 2", n)
		}
		d.cancelVerification()
		d.cancelWatch()
	})
}

// TestVerificationAndWatchEndApart: the end of a hold's verification does not end the read of another hold's watch. Both wait, after a panic.
func TestVerificationAndWatchEndApart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &workloadReconciler{Engine: New(Options{}), verified: make(chan Verdict, 1), watched: make(chan struct{}, 1)}
		d.handlePassResult(klog.NewContext(t.Context(), logr.Discard()), Result{HoldToVerify: "uid-1", HoldToWatch: "uid-2"})
		synctest.Wait()
		d.stopHoldVerification()
		synctest.Wait()
		if len(d.watched) > 0 {
			t.Error("the watch ended with the verification")
		}
		d.stopGateWatch()
	})
}
