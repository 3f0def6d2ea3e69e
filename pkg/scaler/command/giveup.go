// Errors that end a waiting command.

package command

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/rollout"
)

// withGiveUpLimit wraps an observer, and returns a context that ends after a time with errors only, so that a command does not wait forever for
// a cluster that is away.
func withGiveUpLimit(ctx context.Context, limit time.Duration, f rollout.Observer) (context.Context, rollout.Observer) {
	ctx, giveUp := context.WithCancelCause(ctx)
	onPass, onError := f.OnReconciled, f.OnError
	var since time.Time // the first error after a success; zero: the last pass succeeded
	f.OnReconciled = func(r rollout.Result) {
		since = time.Time{}
		if onPass != nil {
			onPass(r)
		}
	}
	f.OnError = func(err error) {
		if since.IsZero() {
			since = time.Now()
		}
		if onError != nil {
			onError(err)
		}
		if time.Since(since) >= limit {
			giveUp(fmt.Errorf("gave up after %s: %w", limit, err))
		}
	}
	return ctx, f
}

// unrecordedHoldError adds the exit code to the error of a failed write of a hold.
func unrecordedHoldError(program string, err error) error {
	return unansweredWriteError(err, fmt.Sprintf("the hold may exist nevertheless: check with `%s status`, undo with `%s release`", program, program))
}

// unconfirmedChangeError adds the exit code to the error of a failed change of a hold; nil stays nil.
func unconfirmedChangeError(program string, err error) error {
	return unansweredWriteError(err, fmt.Sprintf("the hold may have changed nevertheless: check with `%s status`", program))
}

// unansweredWriteError adds the exit code and a hint to the error of a write. Without a response, the API server may have accepted the write: only an
// error that excludes this, or has its exit code already, stays as it is.
func unansweredWriteError(err error, hint string) error {
	var op *net.OpError
	unsent := errors.As(err, &op) && op.Op == "dial"
	if _, coded := ExitCode(err); coded || err == nil || unsent || rollout.IsPermanentError(err) || apierrors.IsConflict(err) {
		return err
	}
	return WithExitCode(fmt.Errorf("%w; %s", err, hint), ExitUnfinished)
}
