// Large responses take turns: each takes some times its bytes until it is joined to its objects.

package remote

import "context"

// largeResponseTurn is the turn of a query to read large responses, one at a time of a backend. One goroutine at a time uses it.
type largeResponseTurn struct {
	places chan struct{}
	held   bool
}

// awaitLargeRemoteResponseTurn waits for the turn. The caller does not hold it.
func (t *largeResponseTurn) awaitLargeRemoteResponseTurn(ctx context.Context) error {
	select {
	case t.places <- struct{}{}:
		t.held = true
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// endLargeRemoteResponseTurn gives the turn back, if it is held.
func (t *largeResponseTurn) endLargeRemoteResponseTurn() {
	if t.held {
		t.held = false
		<-t.places
	}
}
