// Decisions that outlive their requests: a caller that gives up takes nothing from the rate of SubjectAccessReviews.

package apiserver

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/klog/v2"
)

// decisionPlaces bounds the decisions under way of callers outside of the autoscaling lane: with 200 reviews a second none waits for
// long. widePlaces are the places of callers with wide identities, detailPlaces the places for reasons on the health endpoints.
const decisionPlaces, widePlaces, detailPlaces = 32, 8, 8

// detachedAuthorizer decides with a time of its own. The library's client counts a review that is given up while it waits for the rate, so
// impatient callers would use up the rate without one decision, and everybody else's requests would fail.
type detachedAuthorizer struct {
	inner   authorizer.Authorizer
	places  chan struct{} // holds an item for each decision under way
	timeout time.Duration // of a decision
}

func newDetachedAuthorizer(inner authorizer.Authorizer, places int, timeout time.Duration) authorizer.Authorizer {
	d := &detachedAuthorizer{inner, make(chan struct{}, places), timeout}
	return authorizer.AuthorizerFunc(d.authorizeDetached)
}

// detachedDecision is the result of a decision, or the panic that ended it.
type detachedDecision struct {
	decision authorizer.Decision
	reason   string
	err      error
	fault    any
}

// authorizeDetached implements authorizer.AuthorizerFunc. A decision that has begun goes on, and is remembered, if ctx ends before.
func (d *detachedAuthorizer) authorizeDetached(ctx context.Context, attributes authorizer.Attributes) (authorizer.Decision, string, error) {
	if err := ctx.Err(); err != nil {
		return authorizer.DecisionNoOpinion, "", err
	}
	select {
	case d.places <- struct{}{}:
	case <-ctx.Done():
		return authorizer.DecisionNoOpinion, "", fmt.Errorf("wait for other decisions: %w", ctx.Err())
	}
	decided := make(chan detachedDecision, 1)
	go func() { // ends within the timeout, and with the places there are few
		defer func() { <-d.places }()
		decided <- d.decideDetached(context.WithoutCancel(ctx), attributes)
	}()
	select {
	case r := <-decided:
		if r.fault != nil {
			panic(r.fault) // of this request, as without the detour
		}
		return r.decision, r.reason, r.err
	case <-ctx.Done():
		return authorizer.DecisionNoOpinion, "", ctx.Err()
	}
}

func (d *detachedAuthorizer) decideDetached(ctx context.Context, attributes authorizer.Attributes) (r detachedDecision) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	defer func() {
		if r.fault = recover(); r.fault != nil {
			klog.FromContext(ctx).Error(fmt.Errorf("panic: %v", r.fault), "A decision about access has ended in a panic")
		}
	}()
	r.decision, r.reason, r.err = d.inner.Authorize(ctx, attributes)
	return r
}
