package rollout

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

// lastRequestChecker keeps the verification and the number of pods of the last test.
type lastRequestChecker struct {
	*memoryChecker

	fails string // the URL that fails
	url   string
	pods  int
}

func (c *lastRequestChecker) Run(ctx context.Context, spec verify.Spec, now, old []corev1.Pod) (verify.Report, error) {
	c.url, c.pods, c.passed = spec.URL, len(now), spec.URL != c.fails
	return c.memoryChecker.Run(ctx, spec, now, old)
}

// TestD1VerdictOfAnotherRequest: a hold that is changed while its pods are verified is verified as it asks now: the verdict about fewer pods, or of another
// verification, opens no gate and fails no hold.
func TestD1VerdictOfAnotherRequest(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(h *hold.Hold)
		fails  string
		url    string
		pods   int
	}{
		"another verification":      {func(h *hold.Hold) { h.Verify = &verify.Spec{URL: "/strict"} }, "", "/strict", 3},
		"another, after a failure":  {func(h *hold.Hold) { h.Verify = &verify.Spec{URL: "/lax"} }, "/", "/lax", 3},
		"more pods":                 {func(h *hold.Hold) { h.Replicas = 6 }, "", "/", 6},
		"the same, of another user": {func(h *hold.Hold) { h.By = "bob" }, "", "/", 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench()
			tested := &lastRequestChecker{memoryChecker: b.checker, fails: c.fails}
			b.verifier = tested
			b.restart()
			b.addWorkload("shop", 3, hold.ReplicaBounds{}).ready = 9
			b.now = b.now.Add(time.Hour)
			h := saleHold()
			h.Replicas = 3
			b.apply(t, "shop", h)
			o := b.find("shop", h.ID)
			o.Status.State, o.Status.ReplicasBefore = hold.RolledBack, 2 // it failed before, and its pods are kept for others
			b.checker.onRun = func() {
				b.checker.onRun = nil
				next := h
				c.change(&next)
				b.apply(t, "shop", next)
			}
			b.mustPass(t)
			wantState(t, b.find("shop", h.ID), hold.Open, "")
			if tested.url != c.url || tested.pods != c.pods {
				t.Errorf("verified last: %d pods by %s; want %d by %s", tested.pods, tested.url, c.pods, c.url)
			}
		})
	}
}
