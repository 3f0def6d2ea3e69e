// Large responses take turns: each takes some times its bytes until it is joined to its objects.

package remote

import (
	"context"
	"errors"
	"time"
)

// largeResponseTurn is the turn of a query to read large responses, one at a time of a backend. One goroutine at a time uses it.
type largeResponseTurn struct {
	places chan struct{}
	held   bool
}

// errNoTurn is the error of a large response that had no turn within the timeout of a request.
var errNoTurn = errors.New("no turn")

// awaitLargeResponseTurn waits for the turn. The caller does not hold it. The server's time stands still meanwhile: the wait is not its fault.
func (t *largeResponseTurn) awaitLargeResponseTurn(ctx context.Context, timer *requestTimer) error {
	defer timer.pauseRequestTimer()()
	wait := time.NewTimer(timer.timeout)
	defer wait.Stop()
	select {
	case t.places <- struct{}{}:
		t.held = true
		return nil
	case <-wait.C:
		return errNoTurn
	case <-ctx.Done():
		return ctx.Err()
	}
}

// requestTimer ends a request at its timeout.
type requestTimer struct {
	timeout time.Duration
	end     time.Time
	timer   *time.Timer
}

// startRequestTimer returns a context that ends with the timer, and then has the cause context.DeadlineExceeded.
func startRequestTimer(ctx context.Context, timeout time.Duration) (context.Context, *requestTimer, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(timeout, func() { cancel(context.DeadlineExceeded) })
	return ctx, &requestTimer{timeout, time.Now().Add(timeout), timer}, func() {
		timer.Stop()
		cancel(nil)
	}
}

// pauseRequestTimer stops the timer, and returns the function that lets it go on.
func (t *requestTimer) pauseRequestTimer() (resume func()) {
	t.timer.Stop()
	left := time.Until(t.end)
	return func() {
		t.end = time.Now().Add(left)
		t.timer.Reset(left)
	}
}

// endLargeResponseTurn gives the turn back, if it is held.
func (t *largeResponseTurn) endLargeResponseTurn() {
	if t.held {
		t.held = false
		<-t.places
	}
}
