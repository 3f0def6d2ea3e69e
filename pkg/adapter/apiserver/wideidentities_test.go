package apiserver

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// TestWideIdentitiesAreForgotten: decisions about callers with many groups are remembered apart, and forgotten together before they take
// more than their share of memory.
func TestWideIdentitiesAreForgotten(t *testing.T) {
	t.Parallel()
	wideAsked, othersAsked, built := 0, 0, 0
	count := func(n *int) authorizer.Authorizer {
		return authorizer.AuthorizerFunc(func(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
			*n++
			return authorizer.DecisionAllow, "", nil
		})
	}
	wide := &wideAuthorizer{build: func() (authorizer.Authorizer, error) { built++; return count(&wideAsked), nil }}
	lanes := newRequestLanes(nil, func(string) bool { return false }, defaultServerLimits(), nil)
	a := &laneAuthorizer{lanes: lanes, others: count(&othersAsked), wide: authorizer.AuthorizerFunc(wide.authorizeWideIdentity)}
	groups := func(n int) *user.DefaultInfo {
		return &user.DefaultInfo{Name: "jane", Groups: []string{strings.Repeat("g", n)}, Extra: map[string][]string{"x": {"y"}}}
	}
	const requests, size = 1000, 64 << 10
	for range requests {
		for _, u := range []user.Info{groups(100), groups(size)} {
			if d, _, err := a.authorizeInLane(t.Context(), authorizer.AttributesRecord{User: u}); err != nil || d != authorizer.DecisionAllow {
				t.Fatal(d, err)
			}
		}
	}
	remembered := maxWideIdentityBytes / measureCallerIdentity(groups(size)) // by one authorizer
	if want := (requests + remembered - 1) / remembered; othersAsked != requests || wideAsked != requests || built != want {
		t.Errorf("%d usual and %d wide requests, %d authorizers; want %d, %d and %d", othersAsked, wideAsked, built, requests, requests, want)
	}
}

// TestWideIdentityWithoutAuthorizer: a caller whose authorizer cannot be built has no access, and the next request tries again.
func TestWideIdentityWithoutAuthorizer(t *testing.T) {
	t.Parallel()
	fails := true
	w := &wideAuthorizer{build: func() (authorizer.Authorizer, error) {
		if fails {
			return nil, errors.New("no kubeconfig")
		}
		return authorizer.AuthorizerFunc(func(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
			return authorizer.DecisionAllow, "", nil
		}), nil
	}}
	attributes := authorizer.AttributesRecord{User: &user.DefaultInfo{Name: "jane"}}
	if d, _, err := w.authorizeWideIdentity(t.Context(), attributes); err == nil || d != authorizer.DecisionNoOpinion {
		t.Errorf("decision %d, %v", d, err)
	}
	fails = false
	if d, _, err := w.authorizeWideIdentity(t.Context(), attributes); err != nil || d != authorizer.DecisionAllow {
		t.Errorf("decision %d, %v", d, err)
	}
}

// TestWideReviewsTakeTurns: requests that are given up while they wait leave the rate to the others.
func TestWideReviewsTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sent := 0
		l := limitedRoundTripper{rate.NewLimiter(10, 1), make(chan struct{}, 1), roundTripperFunc(func(*http.Request) (*http.Response, error) {
			sent++
			return &http.Response{StatusCode: http.StatusCreated, Body: http.NoBody}, nil
		})}
		send := func(patience time.Duration) error {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://kube-apiserver", http.NoBody)
			if err != nil {
				return err
			}
			response, err := l.RoundTrip(r)
			if err == nil {
				_ = response.Body.Close()
			}
			return err
		}
		if err := send(time.Second); err != nil {
			t.Fatal(err)
		}
		var impatient sync.WaitGroup
		for range 500 { // 50 s at the rate
			impatient.Go(func() { _ = send(50 * time.Millisecond) })
		}
		impatient.Wait()
		if err := send(time.Second); err != nil || sent != 2 {
			t.Errorf("after requests that were given up: %v; %d sent, want 2", err, sent)
		}
	})
}

type roundTripperFunc func(*http.Request) (*http.Response, error)

func (f roundTripperFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
