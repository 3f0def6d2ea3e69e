package apiserver

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// TestImpatientCallersLeaveTheRate: callers that give up while their decision waits for the rate of reviews keep nobody else from a
// decision.
func TestImpatientCallersLeaveTheRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		limiter := rate.NewLimiter(200, 1) // as that of the library's client
		var decided atomic.Int64
		a := newDetachedAuthorizer(authorizer.AuthorizerFunc(func(ctx context.Context, _ authorizer.Attributes) (authorizer.Decision, string, error) {
			if err := limiter.Wait(ctx); err != nil {
				return authorizer.DecisionNoOpinion, "", err
			}
			decided.Add(1)
			return authorizer.DecisionAllow, "", nil
		}), decisionPlaces, defaultServerLimits().decision)
		authorize := func(patience time.Duration) (authorizer.Decision, error) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			d, _, err := a.Authorize(ctx, authorizer.AttributesRecord{})
			return d, err
		}
		var impatient sync.WaitGroup
		for range 64 {
			impatient.Go(func() {
				for range 1000 {
					_, _ = authorize(10 * time.Millisecond)
				}
			})
		}
		for range 5 {
			time.Sleep(time.Second) //nolint:forbidigo // in a synctest bubble
			began := time.Now()
			if d, err := authorize(10 * time.Second); err != nil || d != authorizer.DecisionAllow {
				t.Errorf("a patient caller gets %v, %v after %s", d, err, time.Since(began))
			}
		}
		impatient.Wait()
		time.Sleep(time.Second) //nolint:forbidigo // in a synctest bubble: the last decisions end
		if decided.Load() < 500 {
			t.Errorf("%d decisions were made: the rate was lost", decided.Load())
		}
	})
}

// TestDetachedPanic: a panic in a decision is that of its request.
func TestDetachedPanic(t *testing.T) {
	t.Parallel()
	a := newDetachedAuthorizer(authorizer.AuthorizerFunc(func(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
		panic("a bug")
	}), 1, time.Minute)
	for range 2 { // the place comes back
		func() {
			defer func() {
				if fault := recover(); fault != "a bug" {
					t.Errorf("recovered %v", fault)
				}
			}()
			_, _, _ = a.Authorize(t.Context(), authorizer.AttributesRecord{})
		}()
	}
}
