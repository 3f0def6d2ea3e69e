package apiserver

import (
	"context"
	"strconv"
	"strings"
	"testing"

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
