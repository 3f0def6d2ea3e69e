package apiserver

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	flowcontrol "k8s.io/api/flowcontrol/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/endpoints/request"
	utilflowcontrol "k8s.io/apiserver/pkg/util/flowcontrol"
)

// newTestLanes returns lanes with one place each, in which only /livez is open.
func newTestLanes() *requestLanes {
	limits := defaultServerLimits()
	limits.autoscaling, limits.readers, limits.strangers = 1, 1, 1
	return newRequestLanes([]string{hpaUser}, func(path string) bool { return path == "/livez" }, limits, newMetrics(nil))
}

// tryInLane sends a request of the user to lanes and returns its lane and whether it was executed.
func tryInLane(l *requestLanes, u user.Info, path string, execute func()) (lane string, executed bool) {
	note := func(_ *flowcontrol.FlowSchema, level *flowcontrol.PriorityLevelConfiguration, _ string) {
		lane = level.Name
	}
	digest := utilflowcontrol.RequestDigest{RequestInfo: &request.RequestInfo{Path: path}, User: u}
	l.Handle(context.Background(), digest, note, nil, nil, func() { executed = true; execute() })
	return lane, executed
}

// In virtual time: a denied caller stays a stranger for seconds.
func TestLanes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, testLanes)
}

func testLanes(t *testing.T) {
	t.Helper()
	lanes := newTestLanes()
	denied := &user.DefaultInfo{Name: "denied"}
	byLane := &laneAuthorizer{
		lanes: lanes,
		autoscaling: authorizer.AuthorizerFunc(func(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
			return authorizer.DecisionAllow, "autoscaling", nil
		}),
		others: authorizer.AuthorizerFunc(func(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
			if a.GetUser().GetName() == "denied" {
				return authorizer.DecisionNoOpinion, "others", nil
			}
			return authorizer.DecisionAllow, "others", nil
		}),
	}
	for u, want := range map[user.Info]string{denied: "others", &user.DefaultInfo{Name: "reader"}: "others", &user.DefaultInfo{Name: hpaUser}: "autoscaling"} {
		if _, got, err := byLane.authorizeInLane(t.Context(), authorizer.AttributesRecord{User: u}); got != want || err != nil {
			t.Errorf("%s was authorized by %s, %v, want %s", u.GetName(), got, err, want)
		}
	}
	for name, tc := range map[string]struct {
		user *user.DefaultInfo
		lane string
	}{
		"HPA":                {&user.DefaultInfo{Name: hpaUser}, "tachometer-autoscaling"},
		"availability probe": {&user.DefaultInfo{Name: "system:kube-aggregator", Groups: []string{"system:masters"}}, "tachometer-autoscaling"},
		"reader":             {&user.DefaultInfo{Name: "reader"}, "tachometer-readers"},
		"denied lately":      {denied, "tachometer-strangers"},
		"anonymous":          {&user.DefaultInfo{Name: user.Anonymous}, "tachometer-strangers"},
	} {
		lane, executed := tryInLane(lanes, tc.user, "/metrics", func() {
			if _, second := tryInLane(lanes, tc.user, "/metrics", func() {}); second {
				t.Error("two requests in a lane of one place")
			}
			if _, probe := tryInLane(lanes, tc.user, "/livez", func() {}); !probe {
				t.Error("a full lane stopped a health request")
			}
			for _, other := range []string{"reader", hpaUser, "denied"} {
				u := &user.DefaultInfo{Name: other}
				if _, executed := tryInLane(lanes, u, "/metrics", func() {}); !executed && lanes.selectRequestLane(u).level.Name != tc.lane {
					t.Errorf("a full lane of %s stopped %s", name, other)
				}
			}
		})
		if lane != tc.lane || !executed {
			t.Errorf("%s: lane %s, executed %v, want %s", name, lane, executed, tc.lane)
		}
	}
	<-time.After(strangerTime + time.Nanosecond)
	if lane := lanes.selectRequestLane(denied); lane != lanes.readers {
		t.Errorf("denied once, in %s for ever", lane.level.Name)
	}
}

// TestCallersShareALane: a caller, and the ServiceAccounts of a namespace together, hold a third of the readers' places, and others have the rest.
func TestCallersShareALane(t *testing.T) {
	t.Parallel()
	limits := defaultServerLimits()
	for name, flooder := range map[string]func(i int) string{
		"a user":                             func(int) string { return "jane" },
		"the ServiceAccounts of a namespace": func(i int) string { return fmt.Sprintf("system:serviceaccount:evil:reader-%d", i) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				lanes := newRequestLanes(nil, func(string) bool { return false }, limits, newMetrics(nil))
				end := make(chan struct{})
				var served atomic.Int64
				ask := func(name string) {
					digest := utilflowcontrol.RequestDigest{User: &user.DefaultInfo{Name: name}, RequestInfo: &request.RequestInfo{Path: podsPath}}
					lanes.Handle(t.Context(), digest, func(*flowcontrol.FlowSchema, *flowcontrol.PriorityLevelConfiguration, string) {}, nil, nil,
						func() { served.Add(1); <-end })
				}
				for i := range 2 * limits.readers {
					go ask(flooder(i))
				}
				synctest.Wait()
				if n := served.Swap(0); n != int64(limits.readers/3) {
					t.Errorf("%d requests of %s are served, want %d", n, name, limits.readers/3)
				}
				go ask("system:serviceaccount:monitoring:prometheus")
				if synctest.Wait(); served.Load() != 1 {
					t.Error("another caller has no place")
				}
				close(end)
			})
		})
	}
}
