package controller

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/event"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/rollout"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/schedule"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

// oneWorkload is a cluster with a Deployment and its holds.
type oneWorkload struct {
	rollout.Cluster

	replicas int32

	updating sync.Mutex // guards holds in UpdateHold
	holds    []hold.Object
}

func (c *oneWorkload) ListHolds(context.Context, string) ([]hold.Object, error) { return c.holds, nil }

func (c *oneWorkload) GetScale(context.Context, hold.Workload) (*rollout.Scale, error) {
	return &rollout.Scale{UID: types.UID("shop"), Replicas: c.replicas}, nil
}

func (c *oneWorkload) ListAutoscalers(context.Context, string) ([]*autoscalingv2.HorizontalPodAutoscaler, error) {
	return nil, nil
}

func (c *oneWorkload) UpdateHold(_ context.Context, o *hold.Object) (*hold.Object, error) {
	c.updating.Lock()
	defer c.updating.Unlock()
	for i := range c.holds {
		if c.holds[i].Name == o.Name {
			c.holds[i] = *o
		}
	}
	return o, nil
}

// TestRulePausesItsHolds: the holds in force of a rule are paused with the rule, and resumed with it. A person's pause and the holds of others stay.
func TestRulePausesItsHolds(t *testing.T) {
	t.Parallel()
	shop := hold.Workload{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "sale", Name: "shop"}
	cluster := &oneWorkload{replicas: 2}
	for id, owner := range map[string]string{"event/sale": "me", "event/sale/black-friday": "me", "event/sale2": "me", "event/sale/theirs": "them", "schedule/sale": "me", "set/event/sale": ""} {
		cluster.holds = append(cluster.holds, *hold.NewObject(shop, hold.Hold{ID: id, Replicas: 5}, owner))
	}
	byPerson := hold.NewObject(shop, hold.Hold{ID: "event/sale/by-person", Replicas: 5}, "me")
	byPerson.Spec.Paused = true
	cluster.holds = append(cluster.holds, *byPerson)
	for _, paused := range []bool{true, true, false, false} {
		control := New(Options{Engine: rollout.New(rollout.Options{Cluster: cluster, Owner: "me"}), Rules: []event.HoldRule{{Name: "sale", Paused: paused}, {Name: "sale2"}}})
		if !runParallelApplies(t.Context(), control.listPausesOfRules(slices.Clone(cluster.holds))) {
			t.Fatal("failed")
		}
		got := map[string]bool{}
		for i := range cluster.holds {
			got[cluster.holds[i].HoldID()] = cluster.holds[i].Spec.Paused
		}
		want := map[string]bool{
			"event/sale": paused, "event/sale/black-friday": paused, "event/sale2": false, "event/sale/theirs": false, "schedule/sale": false, "set/event/sale": false, "event/sale/by-person": true,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("paused %v (-want +got):\n%s", paused, diff)
		}
	}
}

// TestD9RampStartsAtTheWorkload: a ramp from nothing goes from the workload's own number to the window's, and never past either.
func TestD9RampStartsAtTheWorkload(t *testing.T) {
	t.Parallel()
	start := time.Date(2027, 6, 1, 22, 0, 0, 0, time.UTC)
	shop := hold.Workload{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "sale", Name: "shop"}
	for name, c := range map[string]struct {
		was, minReplicas int32
		want             []int32
	}{
		"down":        {10, 2, []int32{8, 5, 2}},
		"up":          {2, 8, []int32{4, 6, 8}},
		"not at all":  {2, 2, []int32{2, 2, 2}},
		"from 0 to 3": {0, 3, []int32{1, 2, 3}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := schedule.Schedule{
				Name: "hours", Zone: time.UTC, Workloads: []hold.Workload{shop},
				Windows: []schedule.Window{{From: start, To: start.Add(10 * time.Hour), MinReplicas: c.minReplicas, Ramp: schedule.Ramp{Over: 30 * time.Minute, Steps: 3}}},
			}
			cluster := &oneWorkload{replicas: c.was}
			control := New(Options{Engine: rollout.New(rollout.Options{Cluster: cluster})})
			var got []int32
			for step := 1; step <= 3; step++ {
				at := start.Add(time.Duration(step) * 10 * time.Minute)
				w, ok := s.ActiveAt(at)
				if !ok {
					t.Fatalf("step %d: no window", step)
				}
				h := control.newScheduleHold(&s, control.startRampAtOriginal(t.Context(), shop, w, at))
				if !h.Lower {
					t.Errorf("step %d may not lower", step)
				}
				if !h.WindowStart.Equal(start) {
					t.Errorf("step %d: the window starts at %s; want %s", step, h.WindowStart, start)
				}
				got = append(got, h.Replicas)
				object := hold.NewObject(shop, h, "") // the next step sees the workload with this hold
				object.Status.State, object.Status.Numbers = hold.Open, &hold.Numbers{Sequence: 1, Replicas: hold.Change{Was: c.was, Set: h.Replicas}}
				cluster.replicas, cluster.holds = h.Replicas, []hold.Object{*object}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
		})
	}
}

// TestD9SchedulesOfAWorkload: the schedules of a workload are those that name it in any version of its kind.
func TestD9SchedulesOfAWorkload(t *testing.T) {
	t.Parallel()
	shop := hold.Workload{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "sale", Name: "shop"}
	beta, cart := shop, shop
	beta.APIVersion, cart.Name = "apps/v1beta2", "cart"
	control := New(Options{Schedules: []schedule.Schedule{
		{Name: "day", Workloads: []hold.Workload{cart, shop}}, {Name: "cart", Workloads: []hold.Workload{cart}}, {Name: "night", Workloads: []hold.Workload{beta}},
	}})
	var names []string
	for _, s := range control.listSchedulesOfWorkload(shop) {
		names = append(names, s.Name)
	}
	if diff := cmp.Diff([]string{"day", "night"}, names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestD9RampBesideAWindow: a ramp from the workload's own number is compared with another window of its schedule by the numbers that it sets, not by
// those from 0.
func TestD9RampBesideAWindow(t *testing.T) {
	t.Parallel()
	start := time.Date(2027, 6, 1, 22, 0, 0, 0, time.UTC)
	shop := hold.Workload{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "sale", Name: "shop"}
	for name, c := range map[string]struct {
		was  int32
		want []int32
	}{
		"down past the other": {12, []int32{12, 9, 6, 5}}, "below the other": {3, []int32{5, 5, 5, 5}},
	} {
		s := schedule.Schedule{
			Name: "hours", Zone: time.UTC, Workloads: []hold.Workload{shop},
			Windows: []schedule.Window{
				{From: start, To: start.Add(10 * time.Hour), MinReplicas: 2, Ramp: schedule.Ramp{Over: 30 * time.Minute, Steps: 3}},
				{From: start, To: start.Add(10 * time.Hour), MinReplicas: 5},
			},
		}
		control := New(Options{Engine: rollout.New(rollout.Options{Cluster: &oneWorkload{replicas: c.was}}), Schedules: []schedule.Schedule{s}})
		var got []int32
		for step := range 4 {
			w, on := control.getActiveWindowOfWorkload(t.Context(), &s, shop, start.Add(time.Duration(step)*10*time.Minute))
			if h := control.newScheduleHold(&s, w); !on || !h.Lower {
				t.Errorf("%s, step %d: on %v, may lower %v", name, step, on, h.Lower)
			}
			got = append(got, w.Replicas)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: steps (-want +got):\n%s", name, diff)
		}
	}
}

// TestD2ScheduleWithGates: the holds of a schedule with gates name them, and those of several workloads are a group: the gates open over all, or not at all.
func TestD2ScheduleWithGates(t *testing.T) {
	t.Parallel()
	shop := hold.Workload{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "sale", Name: "shop"}
	cart := shop
	cart.Name = "cart"
	for name, c := range map[string]struct {
		schedule schedule.Schedule
		group    string
		size     int
	}{
		"no gate":       {schedule.Schedule{Name: "sale", Workloads: []hold.Workload{shop, cart}}, "", 0},
		"one workload":  {schedule.Schedule{Name: "sale", Workloads: []hold.Workload{shop}, Gates: []string{"cdn"}}, "", 0},
		"two workloads": {schedule.Schedule{Name: "sale", Workloads: []hold.Workload{shop, cart}, Gates: []string{"cdn"}}, "schedule/sale", 2},
	} {
		h := New(Options{}).newScheduleHold(&c.schedule, schedule.ActiveWindow{Replicas: 8, MinReplicas: 8})
		if diff := cmp.Diff(c.schedule.Gates, h.Gates); diff != "" || h.Group != c.group || h.GroupSize != c.size {
			t.Errorf("%s: group %q of %d, gates (-want +got):\n%s", name, h.Group, h.GroupSize, diff)
		}
	}
}

// TestScheduleReachesItsHold: every key of a schedule, and every number of its window, reaches the hold. What a schedule does not name, its hold does not
// have.
func TestScheduleReachesItsHold(t *testing.T) {
	t.Parallel()
	shop := hold.Workload{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "sale", Name: "shop"}
	cart := shop
	cart.Name = "cart"
	start := time.Date(2027, 6, 1, 8, 0, 0, 0, time.UTC)
	window := schedule.ActiveWindow{
		MinReplicas: 6, MaxReplicas: 30, Replicas: 8, Window: "day", Start: start, Since: start.Add(time.Hour), Until: start.Add(10 * time.Hour),
	}
	spec := verify.Spec{URL: "/work", Requests: 7}
	control := New(Options{HoldsBy: "scaler of the shop", Verifications: map[string]verify.Spec{"quick": spec, "slow": {Requests: 1000}}})
	for name, c := range map[string]struct {
		schedule schedule.Schedule
		window   schedule.ActiveWindow
		want     hold.Hold
	}{
		"every key": {
			schedule.Schedule{
				Name: "hours", Workloads: []hold.Workload{shop, cart}, Paused: true, Verify: "quick", Gates: []string{"cdn", "dns"}, Notify: []string{"slack", "pager"},
			}, window, hold.Hold{
				ID: "schedule/hours", Reason: "day", By: "scaler of the shop", Replicas: 8, MinReplicas: 6, MaxReplicas: 30, Lower: true,
				Until: start.Add(10*time.Hour + hold.WindowOverlap), WindowStart: start, Verify: &spec, Gates: []string{"cdn", "dns"},
				Group: "schedule/hours", GroupSize: 2, Notify: []string{"slack", "pager"}, Paused: true,
			},
		},
		"required keys": {
			schedule.Schedule{Name: "bare", Workloads: []hold.Workload{shop}}, schedule.ActiveWindow{MinReplicas: 3, Replicas: 3, Window: "08:00-18:00", Until: start, Ramping: true},
			hold.Hold{ID: "schedule/bare", Reason: "08:00-18:00", By: "scaler of the shop", Replicas: 3, MinReplicas: 3, Until: start.Add(hold.WindowOverlap)},
		},
	} {
		if diff := cmp.Diff(c.want, control.newScheduleHold(&c.schedule, c.window)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
