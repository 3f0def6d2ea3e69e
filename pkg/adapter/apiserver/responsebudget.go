// The memory of responses that wait for their clients.

package apiserver

import (
	"net/http"
	"sync"

	"k8s.io/apiserver/pkg/endpoints/responsewriter"
)

// responseBudget bounds the bytes of large responses that wait for their clients. A client may request megabytes and read none of
// them, for as long as a response may take. A response beyond the budget is aborted.
//
// The first response of the server, and of a user, always fits.
type responseBudget struct {
	total, perUser int
	onAbort        func()

	mu    sync.Mutex // guards the rest
	taken int
	by    map[string]int // bytes by user; no zeros
}

// largeResponseBytes is the size from which a piece of a response counts. The library writes a response of one object at once.
const largeResponseBytes = 64 << 10

func newResponseBudget(total, perUser int, onAbort func()) *responseBudget {
	return &responseBudget{total: total, perUser: perUser, onAbort: onAbort, by: map[string]int{}}
}

// takeResponseBytes reports whether n bytes of a user's response may wait now. The caller gives them back.
func (b *responseBudget) takeResponseBytes(user string, n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.taken > 0 && b.taken+n > b.total || b.by[user] > 0 && b.by[user]+n > b.perUser {
		return false
	}
	b.taken += n
	b.by[user] += n
	return true
}

func (b *responseBudget) returnResponseBytes(user string, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.taken -= n
	if b.by[user] -= n; b.by[user] == 0 {
		delete(b.by, user)
	}
}

// budgetedWriter writes a response within a budget. It calls release before the first byte: from then on the client decides about
// the time.
type budgetedWriter struct {
	http.ResponseWriter
	budget  *responseBudget
	user    string
	release func()
}

var _ responsewriter.UserProvidedDecorator = (*budgetedWriter)(nil)

// Unwrap implements responsewriter.UserProvidedDecorator.
func (w *budgetedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Write implements http.ResponseWriter. It ends the request with a panic that the library knows if the budget is exhausted, so that the
// client sees no complete response.
func (w *budgetedWriter) Write(p []byte) (int, error) {
	w.release()
	if n := len(p); n >= largeResponseBytes {
		if !w.budget.takeResponseBytes(w.user, n) {
			w.budget.onAbort()
			panic(http.ErrAbortHandler)
		}
		defer w.budget.returnResponseBytes(w.user, n)
	}
	return w.ResponseWriter.Write(p)
}
