package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/rollout"
)

// withGiveUp is f, and a context that ends when for a time nothing but trouble came: a command does not outwait a cluster that is gone.
func withGiveUp(ctx context.Context, most time.Duration, f rollout.Observer) (context.Context, rollout.Observer) {
	ctx, giveUp := context.WithCancelCause(ctx)
	pass, trouble := f.OnReconciled, f.OnError
	var since time.Time // the first trouble after a success; zero: none
	f.OnReconciled = func(r rollout.Result) {
		since = time.Time{}
		if pass != nil {
			pass(r)
		}
	}
	f.OnError = func(err error) {
		if since.IsZero() {
			since = time.Now()
		}
		if trouble != nil {
			trouble(err)
		}
		if time.Since(since) >= most {
			giveUp(fmt.Errorf("given up after %s: %w", most, err))
		}
	}
	return ctx, f
}

// unrecordedError is the error of a hold that could not be noted on its target, with the exit code that is true: an answer that never
// came leaves open whether the API server did what it was asked for.
func unrecordedError(err error) error {
	var op *net.OpError
	unsent := errors.As(err, &op) && op.Op == "dial"
	if unsent || rollout.IsPermanentError(err) || apierrors.IsConflict(err) {
		return err
	}
	return exitError{fmt.Errorf("%w; it may have been noted nevertheless: scaler status tells, scaler release takes it back", err), exitUnfinished}
}
