package apiserver

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// TestLongSelectorsAreNoKeys: the library remembers a decision with the selectors in its key, so only short ones get there.
func TestLongSelectorsAreNoKeys(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 60)
	var values []string
	for i := range 10 {
		values = append(values, long+strconv.Itoa(i)) // a set has equal ones once
	}
	for name, tc := range map[string]struct {
		labelSelector string
		fieldSelector fields.Selector
		keeps         bool
	}{
		"none":              {"", fields.Everything(), true},
		"usual":             {"app=web,tier in (a,b)", fields.OneTermEqualSelector("metadata.name", "web"), true},
		"long values":       {"app in (" + strings.Join(values, ",") + ")", fields.Everything(), false},
		"many keys":         {strings.Join(values, ","), fields.Everything(), false},
		"many short keys":   {"a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p", fields.Everything(), false},
		"many short values": {"a in (" + strings.Join(strings.Split("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", ""), ",") + ")", fields.Everything(), false},
		"field selectors":   {"", fields.OneTermEqualSelector("metadata.name", strings.Repeat(long, 10)), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			selector, err := labels.Parse(tc.labelSelector)
			if err != nil {
				t.Fatal(err)
			}
			given := authorizer.AttributesRecord{User: &user.DefaultInfo{Name: "reader"}, Name: "x", FieldSelectorRequirements: tc.fieldSelector.Requirements()}
			given.LabelSelectorRequirements, _ = selector.Requirements()
			seen := 0
			decide := authorizer.AuthorizerFunc(func(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
				byLabel, _ := a.GetLabelSelector()
				byField, _ := a.GetFieldSelector()
				if seen = len(byLabel) + len(byField); a.GetName() != "x" {
					t.Errorf("name %q", a.GetName())
				}
				return authorizer.DecisionAllow, "", nil
			})
			lanes := &laneAuthorizer{lanes: newTestLanes(), autoscaling: decide, others: decide}
			if _, _, err := lanes.authorizeInLane(t.Context(), given); err != nil {
				t.Fatal(err)
			}
			want := len(given.LabelSelectorRequirements) + len(given.FieldSelectorRequirements)
			if !tc.keeps {
				want = 0
			}
			if seen != want {
				t.Errorf("the decision is remembered with %d requirements, want %d", seen, want)
			}
		})
	}
}

// TestAuthorizersAreDetached: of each kind of caller but HPAs, so many decisions are under way at a time, and they go on when all callers have given
// up.
func TestAuthorizersAreDetached(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		choose func(delegatedAuthorizers) authorizer.Authorizer
		places int64
	}{
		"others":  {func(a delegatedAuthorizers) authorizer.Authorizer { return a.others }, decisionPlaces},
		"wide":    {func(a delegatedAuthorizers) authorizer.Authorizer { return a.wide }, widePlaces},
		"details": {func(a delegatedAuthorizers) authorizer.Authorizer { return a.details }, detailPlaces},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kube, opts := newFakeKube(t), newUnhurriedOptions()
			opts.UseKubeconfig(kube.kubeconfig)
			built, err := opts.buildAuthorizers()
			if err != nil {
				t.Fatal(err)
			}
			chosen := tc.choose(built)
			ctx, giveUp := context.WithCancel(t.Context())
			var callers sync.WaitGroup
			for i := range 2 * tc.places {
				caller := &user.DefaultInfo{Name: fmt.Sprintf("slow-%d", i)}
				callers.Go(func() {
					_, _, _ = chosen.Authorize(ctx, authorizer.AttributesRecord{User: caller, Verb: "get", Path: "/metrics"})
				})
			}
			eventually(t, "decisions under way", func() bool { return kube.heldAccesses.Load() >= tc.places })
			giveUp()
			callers.Wait()
			<-time.After(100 * time.Millisecond) // a review that ends with its caller does so at once
			if n := kube.heldAccesses.Load(); n != tc.places {
				t.Errorf("%d decisions are under way, want %d", n, tc.places)
			}
			kube.release()
			eventually(t, "the end of all decisions", func() bool { return kube.heldAccesses.Load() == 0 })
		})
	}
}
