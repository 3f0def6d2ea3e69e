package command

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/rollout"
)

// TestGiveUp checks that errors end the context, unless a success interrupts them.
func TestGiveUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		away := errors.New("the API server is away")
		failures := 0
		ctx, f := withGiveUpLimit(t.Context(), 5*time.Minute, rollout.Observer{OnError: func(error) { failures++ }})
		for range 3 { // nine minutes, with successes in between
			f.OnError(away)
			time.Sleep(3 * time.Minute) //nolint:forbidigo // the bubble's clock
			f.OnError(away)
			f.OnReconciled(rollout.Result{})
		}
		if ctx.Err() != nil || failures != 6 {
			t.Fatalf("after %d errors: %v", failures, ctx.Err())
		}
		f.OnError(away)
		time.Sleep(5 * time.Minute) //nolint:forbidigo // the bubble's clock
		f.OnError(away)
		if cause := context.Cause(ctx); !errors.Is(cause, away) || !strings.Contains(cause.Error(), "after 5m0s") {
			t.Errorf("the cause is %v", cause)
		}
	})
}

// TestUnrecordedError checks that the exit code is 1 only if the cluster is certainly unchanged.
func TestUnrecordedError(t *testing.T) {
	t.Parallel()
	refused := &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	for name, c := range map[string]struct {
		err  error
		code int
	}{
		"connection refused": {fmt.Errorf("get workload: %w", refused), ExitFailed},
		"workload gone":      {fmt.Errorf("hold it: %w", rollout.ErrGone), ExitFailed},
		"connection reset":   {fmt.Errorf("write the holds: %w", &net.OpError{Op: "read", Err: errors.New("connection reset by peer")}), ExitUnfinished},
		"a timeout":          {fmt.Errorf("write the holds: %w", apierrors.NewTimeoutError("the server was slow", 1)), ExitUnfinished},
	} {
		code := ExitFailed
		if coded := (exitError{}); errors.As(unrecordedHoldError("x", c.err), &coded) {
			code = coded.code
		}
		if code != c.code || !strings.Contains(unrecordedHoldError("x", c.err).Error(), c.err.Error()) {
			t.Errorf("%s: exit code %d, %v; want %d", name, code, unrecordedHoldError("x", c.err), c.code)
		}
	}
}
