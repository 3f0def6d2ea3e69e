package main

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

// TestPatient: trouble that a success interrupts is outwaited, trouble alone is not.
func TestPatient(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		away := errors.New("the API server is away")
		troubles := 0
		ctx, f := withGiveUp(t.Context(), 5*time.Minute, rollout.Observer{OnError: func(error) { troubles++ }})
		for range 3 { // nine minutes, with successes in between
			f.OnError(away)
			time.Sleep(3 * time.Minute) //nolint:forbidigo // the bubble's clock
			f.OnError(away)
			f.OnReconciled(rollout.Result{})
		}
		if ctx.Err() != nil || troubles != 6 {
			t.Fatalf("after %d troubles: %v", troubles, ctx.Err())
		}
		f.OnError(away)
		time.Sleep(5 * time.Minute) //nolint:forbidigo // the bubble's clock
		f.OnError(away)
		if cause := context.Cause(ctx); !errors.Is(cause, away) || !strings.Contains(cause.Error(), "after 5m0s") {
			t.Errorf("the cause is %v", cause)
		}
	})
}

// TestUnnoted: the exit code says 1 only where it is sure that nothing changed.
func TestUnnoted(t *testing.T) {
	t.Parallel()
	refused := &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	for name, c := range map[string]struct {
		err  error
		code int
	}{
		"nobody there":         {fmt.Errorf("get target: %w", refused), exitFailed},
		"not there":            {fmt.Errorf("hold it: %w", rollout.ErrGone), exitFailed},
		"an answer never came": {fmt.Errorf("note the holds: %w", &net.OpError{Op: "read", Err: errors.New("connection reset by peer")}), exitUnfinished},
		"a timeout":            {fmt.Errorf("note the holds: %w", apierrors.NewTimeoutError("the server was slow", 1)), exitUnfinished},
	} {
		code := exitFailed
		if coded := (exitError{}); errors.As(unrecordedError(c.err), &coded) {
			code = coded.code
		}
		if code != c.code || !strings.Contains(unrecordedError(c.err).Error(), c.err.Error()) {
			t.Errorf("%s: exit code %d, %v; want %d", name, code, unrecordedError(c.err), c.code)
		}
	}
}
