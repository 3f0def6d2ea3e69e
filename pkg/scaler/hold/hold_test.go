package hold

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
)

var holdStart = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func newReplicaCount(n int32) *int32 { return &n }

func TestParseWorkload(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Target{
		"deploy/shop":                       {"apps/v1", "Deployment", "sale", "shop"},
		"Deployment/shop":                   {"apps/v1", "Deployment", "sale", "shop"},
		"sts/db":                            {"apps/v1", "StatefulSet", "sale", "db"},
		"v1/Thing/x":                        {"v1", "Thing", "sale", "x"},
		"argoproj.io/v1alpha1/Rollout/shop": {"argoproj.io/v1alpha1", "Rollout", "sale", "shop"},
	} {
		if got, err := ParseTarget(text, "sale"); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "shop", "/shop", "deploy/", "rollout/shop", "a/b/c/Kind/x", "/Kind/x"} {
		if got, err := ParseTarget(text, "sale"); err == nil {
			t.Errorf("%q is %+v, want an error", text, got)
		}
	}
}

// TestStates checks the state machine against the drawing in its comment.
func TestStates(t *testing.T) {
	t.Parallel()
	order := []State{Received, Raised, Scaled, Ready, Verified, Open}
	for i, s := range order {
		for j, to := range order {
			if got, want := s.May(to), j == i+1; got != want {
				t.Errorf("%s to %s: %v", s, to, got)
			}
		}
		if got, want := s.May(RolledBack), s != Open; got != want {
			t.Errorf("%s can be rolled back: %v", s, got)
		}
		if !s.May(Released) || !s.Holds() {
			t.Errorf("%s is active: %v, can be released: %v", s, s.Holds(), s.May(Released))
		}
	}
	if RolledBack.Holds() || Released.Holds() || !RolledBack.May(Released) || Released.May(Released) {
		t.Error("a hold in a final state is active or can be released again")
	}
}

func TestWanted(t *testing.T) {
	t.Parallel()
	failed := Hold{ID: "f", Replicas: 40, State: RolledBack}
	for name, c := range map[string]struct {
		holds []Hold
		want  Want
	}{
		"none":              {nil, Want{}},
		"one":               {[]Hold{{ID: "a", Replicas: 20, State: Received}}, Want{Any: true, Replicas: 20, Floor: 20}},
		"the highest":       {[]Hold{{ID: "a", Replicas: 20, State: Open}, {ID: "b", Replicas: 8, Floor: 8, Ceiling: 30, State: Scaled}}, Want{true, 20, 20, 30, false}},
		"minReplicas apart": {[]Hold{{ID: "a", Replicas: 20, Floor: 5, State: Open}}, Want{Any: true, Replicas: 20, Floor: 5}},
		"to zero":           {[]Hold{{ID: "a", Lower: true, State: Open}}, Want{Any: true, Floor: 1, Lower: true}},
		"ended":             {[]Hold{{ID: "a", Replicas: 20, State: Open, Until: holdStart}}, Want{}},
		"failed":            {[]Hold{failed}, Want{}},
		"failed, before":    {[]Hold{{ID: "f", Replicas: 40, State: RolledBack, Previous: &Hold{Replicas: 10, State: Open}}}, Want{Any: true, Replicas: 10, Floor: 10}},
	} {
		r := Record{Holds: c.holds}
		if diff := cmp.Diff(c.want, r.Wanted(holdStart)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestBounds changes the bounds of an autoscaler step by step, and checks that it gets its own bounds back.
func TestBounds(t *testing.T) {
	t.Parallel()
	up := func(n int32) Want { return Want{Any: true, Replicas: n, Floor: n} }
	for name, c := range map[string]struct {
		wants  []Want
		byUser map[int]Limits // a user sets these before the step
		limits []Limits
	}{
		"up and back":                   {[]Want{up(20), {}}, nil, []Limits{{20, 30}, {2, 30}}},
		"in two steps":                  {[]Want{up(10), up(20), up(10), {}}, nil, []Limits{{10, 30}, {20, 30}, {10, 30}, {2, 30}}},
		"below what is there":           {[]Want{up(1), {}}, nil, []Limits{{2, 30}, {2, 30}}},
		"lower at night":                {[]Want{{Any: true, Replicas: 1, Floor: 1, Lower: true}, {}}, nil, []Limits{{1, 30}, {2, 30}}},
		"with a maxReplicas":            {[]Want{{true, 40, 40, 50, false}, up(20), {}}, nil, []Limits{{40, 50}, {20, 30}, {2, 30}}},
		"a user lowers":                 {[]Want{up(20), up(20), {}}, map[int]Limits{1: {5, 30}}, []Limits{{20, 30}, {5, 30}, {5, 30}}},
		"a user sets maxReplicas":       {[]Want{up(20), up(20), {}}, map[int]Limits{1: {20, 99}}, []Limits{{20, 30}, {20, 99}, {2, 99}}},
		"a user sets both":              {[]Want{{true, 40, 40, 50, false}, up(40), {}}, map[int]Limits{1: {3, 9}}, []Limits{{40, 50}, {3, 9}, {3, 9}}},
		"maxReplicas below minReplicas": {[]Want{up(20), up(20), {}}, map[int]Limits{1: {12, 12}}, []Limits{{20, 30}, {12, 12}, {12, 12}}},
	} {
		bounds, now := Bounds{}, Limits{2, 30}
		for i, w := range c.wants {
			if set, ok := c.byUser[i]; ok {
				now = set
			}
			bounds, _ = bounds.Yield(now)
			bounds, now = bounds.Apply(w, now)
			if now != c.limits[i] {
				t.Errorf("%s, step %d: %v, want %v", name, i, now, c.limits[i])
			}
			text, err := bounds.Text()
			if err != nil {
				t.Fatal(err)
			}
			if bounds, err = ParseBounds(text); err != nil { // the next process reads it from the annotation
				t.Fatal(err)
			}
		}
		if bounds != (Bounds{}) {
			t.Errorf("%s: %+v is left", name, bounds)
		}
	}
}

func TestReplace(t *testing.T) {
	t.Parallel()
	now := holdStart.Add(time.Hour)
	open := Hold{ID: "a", Replicas: 10, State: Open, Since: holdStart, Entered: holdStart, Before: 2, Asked: true}
	more := Hold{ID: "a", Replicas: 20}.Replace(&open, 11, now)
	if more.State != Received || more.Before != 11 || more.Previous == nil || more.Previous.Replicas != 10 || !more.Since.Equal(now) {
		t.Errorf("a higher hold is %+v", more)
	}
	less := Hold{ID: "a", Replicas: 5}.Replace(&open, 11, now)
	if less.State != Open || less.Before != 2 || !less.Since.Equal(holdStart) || !less.Asked {
		t.Errorf("a lower hold is %+v", less)
	}
	failed := Hold{ID: "a", Replicas: 20, State: RolledBack, Since: holdStart}
	if again := (Hold{ID: "a", Replicas: 20}.Replace(&failed, 2, now)); again.State != Received || again.Previous != nil {
		t.Errorf("after a failure it is %+v", again)
	}
	twice := Hold{ID: "a", Replicas: 30}.Replace(&more, 20, now.Add(time.Minute))
	if twice.Previous == nil || twice.Previous.Replicas != 10 || twice.Before != 11 || !twice.Since.Equal(now) {
		t.Errorf("the rollback returns to a hold that never opened: %+v", twice)
	}
	undoing := Hold{ID: "a", Replicas: 20, State: RolledBack, Since: holdStart, Before: 2, Undo: true}
	if again := (Hold{ID: "a", Replicas: 20}.Replace(&undoing, 20, now)); again.Before != 2 || !again.Since.Equal(holdStart) {
		t.Errorf("as the replacement of a hold in rollback it is %+v", again)
	}
}

func TestClosing(t *testing.T) {
	t.Parallel()
	closeGate := []action.Action{{Webhook: "close"}}
	open := Hold{State: Open, OnRelease: closeGate}
	for name, c := range map[string]struct {
		hold Hold
		want int
	}{
		"open": {open, 1}, "on its way": {Hold{State: Scaled, OnRelease: closeGate}, 0}, "higher, on its way": {Hold{State: Scaled, Previous: &open}, 1},
	} {
		if got := len((&Record{}).Closing(&c.hold, holdStart)); got != c.want {
			t.Errorf("%s: %d actions, want %d", name, got, c.want)
		}
	}
}

// TestSharedGate checks that the last hold of a shared gate closes it. The other actions run at the end of their own hold.
func TestSharedGate(t *testing.T) {
	t.Parallel()
	gateway := func(open string) action.Action {
		return action.Action{Patch: &action.Patch{APIVersion: "v1", Kind: "ConfigMap", Name: "gate", Merge: []byte(`{"data":{"open":"` + open + `"}}`)}}
	}
	over, later := holdStart.Add(-time.Minute), holdStart.Add(time.Hour)
	ended := Hold{ID: "a", State: Open, Until: over, OnRelease: []action.Action{gateway("false"), {Webhook: "mine"}}}
	for name, c := range map[string]struct {
		other Hold
		want  []action.Action
	}{
		"another is open":         {Hold{ID: "b", State: Open, Until: later, OnRelease: []action.Action{gateway("false")}}, []action.Action{{Webhook: "mine"}}},
		"another is not yet open": {Hold{ID: "b", State: Ready, Until: later, OnRelease: []action.Action{gateway("false")}}, ended.OnRelease},
		"another has ended too":   {Hold{ID: "b", State: Open, Until: over, OnRelease: []action.Action{gateway("false")}}, ended.OnRelease},
		"another gate":            {Hold{ID: "b", State: Open, Until: later, OnRelease: []action.Action{gateway("no")}}, ended.OnRelease},
	} {
		r := Record{Holds: []Hold{ended, c.other}}
		if diff := cmp.Diff(c.want, r.Closing(&r.Holds[0], holdStart)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]Hold{
		"no id": {Replicas: 1}, "negative": {ID: "a", Replicas: -1}, "minReplicas above": {ID: "a", Replicas: 2, Floor: 3},
		"maxReplicas below": {ID: "a", Replicas: 2, Ceiling: 1},
	} {
		if err := h.Validate(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := (&Hold{ID: "a", Replicas: 0, Lower: true}).Validate(); err != nil {
		t.Error(err)
	}
}

// FuzzRecord checks that a record survives encoding and decoding, and that no text makes the parser panic.
func FuzzRecord(f *testing.F) {
	text, err := Record{
		Holds:    []Hold{{ID: "event/sale", Replicas: 20, State: Scaled, Since: holdStart, Until: holdStart.Add(time.Hour), Previous: &Hold{ID: "event/sale", State: Open}}},
		Replicas: Change{Was: 2, Set: newReplicaCount(20), From: newReplicaCount(2)},
	}.Text()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add("")
	f.Add(`{"holds":[{"id":"a","state":"dreaming"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRecord(text)
		if err != nil {
			return
		}
		again, err := r.Text()
		if err != nil {
			return // more holds than maxHolds
		}
		second, err := ParseRecord(again)
		if err != nil {
			t.Fatalf("%s: %v", again, err)
		}
		if third, _ := second.Text(); third != again {
			t.Errorf("written as %s, then as %s", again, third)
		}
	})
}
