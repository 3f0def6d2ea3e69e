package integration

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/rollout"
)

// errKilled ends a killed process: its later actions have no effect.
var errKilled = errors.New("killed")

// killer lets a number of writes through and then blocks all requests: the process is dead. With after, the last write still reaches
// the server.
type killer struct {
	http.RoundTripper
	left  atomic.Int64
	after bool
	dead  atomic.Bool
	kill  context.CancelCauseFunc
}

func (k *killer) RoundTrip(r *http.Request) (*http.Response, error) {
	if k.dead.Load() {
		return nil, errKilled
	}
	if r.Method == http.MethodGet || strings.HasSuffix(r.URL.Path, "/events") || k.left.Add(-1) >= 0 {
		return k.RoundTripper.RoundTrip(r)
	}
	k.dead.Store(true)
	if k.after {
		if answer, err := k.RoundTripper.RoundTrip(r); err == nil {
			answer.Body.Close()
		}
	}
	k.kill(errKilled)
	return nil, errKilled
}

// TestKilledAtEveryStep kills a process before, or right after, its n-th write; another process finishes the work. It covers the way
// up, the way back after bad pods, and the way down, each with and without an autoscaler.
func TestKilledAtEveryStep(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	for _, autoscaled := range []bool{true, false} {
		for way, passed := range map[string]bool{"up": true, "rolled back": false} {
			for _, after := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, autoscaled %v, after the write %v", way, autoscaled, after), func(t *testing.T) {
					t.Parallel()
					killedAtEach(t, autoscaled, passed, after)
				})
			}
		}
	}
}

// killedAtEach kills a process at each write of one way.
func killedAtEach(t *testing.T, autoscaled, passed, after bool) {
	t.Helper()
	namespace := newNamespace(t)
	workload := newWorkload(t, namespace, autoscaled)
	before := mustReadWorld(t, namespace)
	const top = 5 // few pods suffice: the test is about the steps
	few := sale()
	few.Replicas = top
	for n, died := int64(0), true; died; n++ {
		h := &heard{}
		died = applyUntilKilled(t, workload, few, h, passed, after, n)
		whole := newEngineWith(t, workload, h, passed, nil)
		whole.applyAgain(few)
		r := whole.drive(settled)
		now := mustReadWorld(t, namespace)
		switch {
		case passed && (now.Replicas != top || autoscaled && now.MinReplicas != top || r.FindHold("event/sale").Status.State != hold.Open || h.count("open") == 0):
			t.Fatalf("killed at write %d, another came to %+v, gate %v, %+v", n, now, h.actions, r.Holds)
		case !passed && (now.Replicas != 2 || h.count("open") != 0):
			t.Fatalf("killed at write %d, another left %+v, gate %v", n, now, h.actions)
		}
		if n > 30 {
			t.Fatal("more writes than there are steps")
		}
		releaseUntilKilled(t, workload, h, passed, after, n)
		whole.drive(unheld)
		if diff := cmp.Diff(before, mustReadWorld(t, namespace)); diff != "" {
			t.Fatalf("killed at write %d, not what was there (-want +got):\n%s", n, diff)
		}
		awaitFewPods(t, namespace)
	}
}

// applyAgain delivers the event again, as its sender does, until the hold is stored.
func (e workloadEngine) applyAgain(h hold.Hold) {
	e.t.Helper()
	eventually(e.t, 20*time.Second, func(ctx context.Context) error {
		_, err := e.ApplyHold(ctx, e.workload, h)
		if err != nil {
			_, _ = e.ReconcileOnce(ctx, e.workload, time.Now())
		}
		return err
	})
}

// newMortalEngine returns a process that dies at its n-th write, and the context that ends with it.
func newMortalEngine(t *testing.T, workload hold.Workload, h *heard, passed, after bool, n int64) (context.Context, *killer, workloadEngine) {
	t.Helper()
	ctx, kill := context.WithCancelCause(t.Context())
	t.Cleanup(func() { kill(nil) })
	k := &killer{after: after, kill: kill}
	k.left.Store(n)
	return ctx, k, newEngineWith(t, workload, h, passed, func(next http.RoundTripper) http.RoundTripper { k.RoundTripper = next; return k })
}

// applyUntilKilled runs a process that dies at its n-th write; it reports whether the process reached that write.
func applyUntilKilled(t *testing.T, workload hold.Workload, few hold.Hold, h *heard, passed, after bool, n int64) bool {
	t.Helper()
	ctx, k, e := newMortalEngine(t, workload, h, passed, after, n)
	if _, err := e.ApplyHold(ctx, workload, few); err == nil {
		_, err = e.Reconcile(ctx, workload, settled, rollout.Observer{})
		if err != nil && !k.dead.Load() {
			t.Fatal(err)
		}
	}
	return k.dead.Load()
}

// releaseUntilKilled is like applyUntilKilled, for the way down.
func releaseUntilKilled(t *testing.T, workload hold.Workload, h *heard, passed, after bool, n int64) {
	t.Helper()
	ctx, k, e := newMortalEngine(t, workload, h, passed, after, n)
	if _, err := e.EndHolds(ctx, workload, all); err == nil {
		_, _ = e.Reconcile(ctx, workload, unheld, rollout.Observer{})
	}
	if k.dead.Load() { // the user repeats the release
		if _, err := newEngineWith(t, workload, h, passed, nil).EndHolds(t.Context(), workload, all); err != nil {
			t.Fatal(err)
		}
	}
}

// awaitFewPods waits until the pods of the previous round are gone, so that only the next round's pods are new.
func awaitFewPods(t *testing.T, namespace string) {
	t.Helper()
	eventually(t, 20*time.Second, func(ctx context.Context) error {
		pods, err := client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
		if err == nil && len(pods.Items) > 2 {
			err = fmt.Errorf("%d pods are left", len(pods.Items))
		}
		return err
	})
}
