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
	for text, want := range map[string]Workload{
		"deploy/shop":                       {"apps/v1", "Deployment", "sale", "shop"},
		"Deployment/shop":                   {"apps/v1", "Deployment", "sale", "shop"},
		"sts/db":                            {"apps/v1", "StatefulSet", "sale", "db"},
		"v1/Thing/x":                        {"v1", "Thing", "sale", "x"},
		"argoproj.io/v1alpha1/Rollout/shop": {"argoproj.io/v1alpha1", "Rollout", "sale", "shop"},
	} {
		if got, err := ParseWorkload(text, "sale"); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "shop", "/shop", "deploy/", "rollout/shop", "a/b/c/Kind/x", "/Kind/x"} {
		if got, err := ParseWorkload(text, "sale"); err == nil {
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
			if got, want := s.CanEnter(to), j == i+1; got != want {
				t.Errorf("%s to %s: %v", s, to, got)
			}
		}
		if got, want := s.CanEnter(RolledBack), s != Open; got != want {
			t.Errorf("%s can be rolled back: %v", s, got)
		}
		if !s.CanEnter(Released) || !s.IsActive() {
			t.Errorf("%s is active: %v, can be released: %v", s, s.IsActive(), s.CanEnter(Released))
		}
	}
	if RolledBack.IsActive() || Released.IsActive() || !RolledBack.CanEnter(Released) || Released.CanEnter(Released) {
		t.Error("a hold in a final state is active or can be released again")
	}
}

func TestWanted(t *testing.T) {
	t.Parallel()
	failed := Hold{ID: "f", Replicas: 40, State: RolledBack}
	for name, c := range map[string]struct {
		holds []Hold
		want  DesiredScale
	}{
		"none":              {nil, DesiredScale{}},
		"one":               {[]Hold{{ID: "a", Replicas: 20, State: Received}}, DesiredScale{Held: true, Replicas: 20, MinReplicas: 20}},
		"the highest":       {[]Hold{{ID: "a", Replicas: 20, State: Open}, {ID: "b", Replicas: 8, MinReplicas: 8, MaxReplicas: 30, State: Scaled}}, DesiredScale{true, 20, 20, 30, false}},
		"minReplicas apart": {[]Hold{{ID: "a", Replicas: 20, MinReplicas: 5, State: Open}}, DesiredScale{Held: true, Replicas: 20, MinReplicas: 5}},
		"to zero":           {[]Hold{{ID: "a", Lower: true, State: Open}}, DesiredScale{Held: true, MinReplicas: 1, Lower: true}},
		"ended":             {[]Hold{{ID: "a", Replicas: 20, State: Open, Until: holdStart}}, DesiredScale{}},
		"failed":            {[]Hold{failed}, DesiredScale{}},
		"failed, before":    {[]Hold{{ID: "f", Replicas: 40, State: RolledBack, Previous: &Hold{Replicas: 10, State: Open}}}, DesiredScale{Held: true, Replicas: 10, MinReplicas: 10}},
	} {
		r := Record{Holds: c.holds}
		if diff := cmp.Diff(c.want, r.CombineHolds(holdStart)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestBounds changes the bounds of an autoscaler step by step, and checks that it gets its own bounds back.
func TestBounds(t *testing.T) {
	t.Parallel()
	up := func(n int32) DesiredScale { return DesiredScale{Held: true, Replicas: n, MinReplicas: n} }
	for name, c := range map[string]struct {
		wants  []DesiredScale
		byUser map[int]ReplicaBounds // a user sets these before the step
		limits []ReplicaBounds
	}{
		"up and back":                   {[]DesiredScale{up(20), {}}, nil, []ReplicaBounds{{20, 30}, {2, 30}}},
		"in two steps":                  {[]DesiredScale{up(10), up(20), up(10), {}}, nil, []ReplicaBounds{{10, 30}, {20, 30}, {10, 30}, {2, 30}}},
		"below what is there":           {[]DesiredScale{up(1), {}}, nil, []ReplicaBounds{{2, 30}, {2, 30}}},
		"lower at night":                {[]DesiredScale{{Held: true, Replicas: 1, MinReplicas: 1, Lower: true}, {}}, nil, []ReplicaBounds{{1, 30}, {2, 30}}},
		"with a maxReplicas":            {[]DesiredScale{{true, 40, 40, 50, false}, up(20), {}}, nil, []ReplicaBounds{{40, 50}, {20, 30}, {2, 30}}},
		"a user lowers":                 {[]DesiredScale{up(20), up(20), {}}, map[int]ReplicaBounds{1: {5, 30}}, []ReplicaBounds{{20, 30}, {5, 30}, {5, 30}}},
		"a user sets maxReplicas":       {[]DesiredScale{up(20), up(20), {}}, map[int]ReplicaBounds{1: {20, 99}}, []ReplicaBounds{{20, 30}, {20, 99}, {2, 99}}},
		"a user sets both":              {[]DesiredScale{{true, 40, 40, 50, false}, up(40), {}}, map[int]ReplicaBounds{1: {3, 9}}, []ReplicaBounds{{40, 50}, {3, 9}, {3, 9}}},
		"maxReplicas below minReplicas": {[]DesiredScale{up(20), up(20), {}}, map[int]ReplicaBounds{1: {12, 12}}, []ReplicaBounds{{20, 30}, {12, 12}, {12, 12}}},
	} {
		bounds, now := BoundsRecord{}, ReplicaBounds{2, 30}
		for i, w := range c.wants {
			if set, ok := c.byUser[i]; ok {
				now = set
			}
			bounds, _ = bounds.MarkYielded(now)
			bounds, now = bounds.ComputeBounds(w, now)
			if now != c.limits[i] {
				t.Errorf("%s, step %d: %v, want %v", name, i, now, c.limits[i])
			}
			text, err := bounds.EncodeAnnotation()
			if err != nil {
				t.Fatal(err)
			}
			if bounds, err = ParseBoundsRecord(text); err != nil { // the next process reads it from the annotation
				t.Fatal(err)
			}
		}
		if bounds != (BoundsRecord{}) {
			t.Errorf("%s: %+v is left", name, bounds)
		}
	}
}

func TestReplace(t *testing.T) {
	t.Parallel()
	now := holdStart.Add(time.Hour)
	open := Hold{ID: "a", Replicas: 10, State: Open, Since: holdStart, Entered: holdStart, ReplicasBefore: 2, ScaledUp: true}
	more := Hold{ID: "a", Replicas: 20}.ReplaceHold(&open, 11, now)
	if more.State != Received || more.ReplicasBefore != 11 || more.Previous == nil || more.Previous.Replicas != 10 || !more.Since.Equal(now) {
		t.Errorf("a higher hold is %+v", more)
	}
	less := Hold{ID: "a", Replicas: 5}.ReplaceHold(&open, 11, now)
	if less.State != Open || less.ReplicasBefore != 2 || !less.Since.Equal(holdStart) || !less.ScaledUp {
		t.Errorf("a lower hold is %+v", less)
	}
	failed := Hold{ID: "a", Replicas: 20, State: RolledBack, Since: holdStart}
	if again := (Hold{ID: "a", Replicas: 20}.ReplaceHold(&failed, 2, now)); again.State != Received || again.Previous != nil {
		t.Errorf("after a failure it is %+v", again)
	}
	twice := Hold{ID: "a", Replicas: 30}.ReplaceHold(&more, 20, now.Add(time.Minute))
	if twice.Previous == nil || twice.Previous.Replicas != 10 || twice.ReplicasBefore != 11 || !twice.Since.Equal(now) {
		t.Errorf("the rollback returns to a hold that never opened: %+v", twice)
	}
	undoing := Hold{ID: "a", Replicas: 20, State: RolledBack, Since: holdStart, ReplicasBefore: 2, UndoPending: true}
	if again := (Hold{ID: "a", Replicas: 20}.ReplaceHold(&undoing, 20, now)); again.ReplicasBefore != 2 || !again.Since.Equal(holdStart) {
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
		if got := len((&Record{}).ReleaseActions(&c.hold, holdStart)); got != c.want {
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
		if diff := cmp.Diff(c.want, r.ReleaseActions(&r.Holds[0], holdStart)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]Hold{
		"no id": {Replicas: 1}, "negative": {ID: "a", Replicas: -1}, "minReplicas above": {ID: "a", Replicas: 2, MinReplicas: 3},
		"maxReplicas below": {ID: "a", Replicas: 2, MaxReplicas: 1},
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
		Replicas: ReplicaChange{Was: 2, Set: newReplicaCount(20), From: newReplicaCount(2)},
	}.EncodeAnnotation()
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
		again, err := r.EncodeAnnotation()
		if err != nil {
			return // more holds than maxHolds
		}
		second, err := ParseRecord(again)
		if err != nil {
			t.Fatalf("%s: %v", again, err)
		}
		if third, _ := second.EncodeAnnotation(); third != again {
			t.Errorf("written as %s, then as %s", again, third)
		}
	})
}
