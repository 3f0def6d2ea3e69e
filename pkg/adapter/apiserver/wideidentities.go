// Decisions about callers with many groups: the library remembers thousands of decisions, each with all groups of its caller.

package apiserver

import (
	"context"
	"fmt"
	"net/http"
	"sync"

	"golang.org/x/time/rate"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/transport"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/memorybounds"
)

const (
	// wideIdentityBytes is the size above which a caller's identity is wide. The library remembers 8,192
	// decisions.
	wideIdentityBytes = memorybounds.IdentityBytes
	// maxWideIdentityBytes bounds the identities in remembered decisions about wide ones.
	maxWideIdentityBytes = memorybounds.WideIdentities
	// slowReviews and slowReviewBurst bound the SubjectAccessReviews a second about wide identities and about reasons on the health
	// endpoints, with any decisions remembered.
	slowReviews, slowReviewBurst = 50, 100
)

// wideAuthorizer authorizes callers with wide identities. It forgets all decisions before they could take more than maxWideIdentityBytes.
// It is safe for concurrent use.
type wideAuthorizer struct {
	build func() (authorizer.Authorizer, error)

	mu      sync.Mutex // guards the rest
	current authorizer.Authorizer
	bytes   int // of the identities that current has seen
}

// authorizeWideIdentity implements authorizer.AuthorizerFunc.
func (w *wideAuthorizer) authorizeWideIdentity(ctx context.Context, attributes authorizer.Attributes) (authorizer.Decision, string, error) {
	current, err := w.chooseWideAuthorizer(measureCallerIdentity(attributes.GetUser()))
	if err != nil {
		return authorizer.DecisionNoOpinion, "", fmt.Errorf("build an authorizer: %w", err)
	}
	return current.Authorize(ctx, attributes)
}

func (w *wideAuthorizer) chooseWideAuthorizer(identity int) (authorizer.Authorizer, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.current == nil || w.bytes+identity > maxWideIdentityBytes {
		built, err := w.build()
		if err != nil {
			return nil, err
		}
		w.current, w.bytes = built, 0
	}
	w.bytes += identity
	return w.current, nil
}

// measureCallerIdentity returns the bytes of a caller's names, groups and attributes.
func measureCallerIdentity(u user.Info) int {
	size := len(u.GetName()) + len(u.GetUID())
	for _, group := range u.GetGroups() {
		size += len(group)
	}
	for key, values := range u.GetExtra() {
		size += len(key)
		for _, value := range values {
			size += len(value)
		}
	}
	return size
}

// newSlowReviewWrapper returns a wrapper around the transports of clients, which together send slowReviews a second.
func newSlowReviewWrapper(outer transport.WrapperFunc) transport.WrapperFunc {
	limiter, turn := rate.NewLimiter(slowReviews, slowReviewBurst), make(chan struct{}, 1)
	return func(inner http.RoundTripper) http.RoundTripper {
		if outer != nil {
			inner = outer(inner)
		}
		return limitedRoundTripper{limiter, turn, inner}
	}
}

// limitedRoundTripper sends requests at a limited rate. Requests take turns, so that a request that is given up while it waits takes nothing from
// the rate: a limiter would count it.
type limitedRoundTripper struct {
	limiter *rate.Limiter
	turn    chan struct{} // holds an item while a request waits for the limiter
	inner   http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (l limitedRoundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := l.awaitSlowReviewTurn(r.Context()); err != nil {
		return nil, fmt.Errorf("too many reviews of this kind: %w", err)
	}
	return l.inner.RoundTrip(r)
}

func (l limitedRoundTripper) awaitSlowReviewTurn(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
		return l.limiter.Wait(ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}
