package controller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/event"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/rollout"
)

// deletedHolds is a cluster that remembers the holds that were deleted.
type deletedHolds struct {
	oneWorkload
	deleted []string
}

func (c *deletedHolds) DeleteHold(_ context.Context, o *hold.Object) error {
	c.deleted = append(c.deleted, o.HeldWorkload().Name+" "+o.HoldID())
	return nil
}

// TestD21EndAfterAChangeOfTheRule: an end reaches the holds of its rule that an earlier configuration made: on a workload that the rule had, and under the
// name that the rule had. It leaves the hold of another sale, of another owner, and one that another rule could have made.
func TestD21EndAfterAChangeOfTheRule(t *testing.T) {
	t.Parallel()
	workload := func(name string) hold.Workload {
		return hold.Workload{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "sale", Name: name}
	}
	rule := func(name, key string, workloads ...string) event.HoldRule {
		r := event.HoldRule{Name: name, Type: "START", ReleaseOn: "END", Key: key}
		for _, w := range workloads {
			r.Workloads = append(r.Workloads, event.WorkloadSpec{Workload: workload(w)})
		}
		return r
	}
	for name, c := range map[string]struct {
		rules []event.HoldRule
		holds [][4]string // workload, ID, reason, owner
		id    string
		want  []string
	}{
		"its own hold":              {[]event.HoldRule{rule("sale", "", "shop")}, [][4]string{{"shop", "event/sale", "START", "me"}, {"shop", "set/a", "START", ""}}, "event/sale", []string{"shop event/sale"}},
		"a workload that it had":    {[]event.HoldRule{rule("sale", "", "shop")}, [][4]string{{"shop", "event/sale", "START", "me"}, {"cart", "event/sale", "START", "me"}}, "event/sale", []string{"shop event/sale", "cart event/sale"}},
		"a workload that it has":    {[]event.HoldRule{rule("sale", "", "shop", "cart")}, [][4]string{{"cart", "event/sale", "START", "me"}}, "event/sale", nil},
		"a name that it had":        {[]event.HoldRule{rule("sale", "", "shop")}, [][4]string{{"shop", "event/flash", "START", "me"}}, "event/sale", []string{"shop event/flash"}},
		"a name and a key":          {[]event.HoldRule{rule("sale", "id", "shop")}, [][4]string{{"shop", "event/flash/a/b", "START", "me"}, {"shop", "event/flash/b", "START", "me"}, {"shop", "event/flash", "START", "me"}}, "event/sale/a/b", []string{"shop event/flash/a/b"}},
		"another type":              {[]event.HoldRule{rule("sale", "", "shop")}, [][4]string{{"shop", "event/flash", "OTHER", "me"}}, "event/sale", nil},
		"another owner":             {[]event.HoldRule{rule("sale", "", "shop")}, [][4]string{{"shop", "event/flash", "START", "them"}, {"cart", "event/sale", "START", "them"}}, "event/sale", nil},
		"two rules that could":      {[]event.HoldRule{rule("sale", "", "shop"), rule("vip", "", "shop")}, [][4]string{{"shop", "event/flash", "START", "me"}}, "event/sale", nil},
		"a rule that is there":      {[]event.HoldRule{rule("sale", "", "shop"), rule("flash", "", "cart")}, [][4]string{{"shop", "event/flash", "START", "me"}}, "event/sale", nil},
		"a schedule takes none":     {[]event.HoldRule{rule("sale", "", "shop")}, [][4]string{{"shop", "event/flash", "START", "me"}, {"shop", "schedule/sale", "day", "me"}}, "schedule/sale", []string{"shop schedule/sale"}},
		"a hold that a person made": {[]event.HoldRule{rule("sale", "", "shop")}, [][4]string{{"cart", "event/sale", "START", ""}}, "event/sale", nil},
	} {
		cluster := &deletedHolds{}
		for _, h := range c.holds {
			cluster.holds = append(cluster.holds, *hold.NewObject(workload(h[0]), hold.Hold{ID: h[1], Reason: h[2], Replicas: 5}, h[3]))
		}
		for i := range cluster.holds {
			cluster.holds[i].UID = types.UID(cluster.holds[i].Name)
		}
		control := New(Options{Engine: rollout.New(rollout.Options{Cluster: cluster, Owner: "me"}), Rules: c.rules})
		if err := control.Release(t.Context(), workload("shop"), c.id, "END"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(c.want, cluster.deleted); diff != "" {
			t.Errorf("%s: ended (-want +got):\n%s", name, diff)
		}
	}
}

// manyNamespaces is a cluster with holds in several namespaces. It may be without the right to list those of all at once.
type manyNamespaces struct {
	deletedHolds
	rights map[string]error // of a list, by namespace
	lists  map[string]int   // by namespace
}

func (c *manyNamespaces) ListHolds(_ context.Context, namespace string) (all []hold.Object, err error) {
	c.lists[namespace]++
	for i := range c.holds {
		if namespace == "" || c.holds[i].Namespace == namespace {
			all = append(all, c.holds[i])
		}
	}
	return all, c.rights[namespace]
}

// TestD21EndAfterAChangeOfTheNamespace: an end reaches the holds that its rule made in the namespace of before, under the name of before too. A missing right
// there keeps no end from the workloads that the rule has now, and an outage is tried again. All namespaces are listed once for all workloads of an end.
func TestD21EndAfterAChangeOfTheNamespace(t *testing.T) {
	t.Parallel()
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "holds"}, "", errors.New("no right"))
	away := apierrors.NewServiceUnavailable("away")
	for name, c := range map[string]struct {
		rights map[string]error
		want   []string
		err    error
	}{
		"all rights":          {nil, []string{"shop event/sale/a", "shop event/sale/a"}, nil},
		"rights of its own":   {map[string]error{"": forbidden}, []string{"shop event/sale/a"}, nil},
		"an outage of a list": {map[string]error{"": away}, []string{"shop event/sale/a"}, away},
	} {
		cluster := &manyNamespaces{rights: c.rights, lists: map[string]int{}}
		for i, namespace := range []string{"old", "sale", "old", "old"} {
			w := hold.Workload{APIVersion: "apps/v1", Kind: "Deployment", Namespace: namespace, Name: "shop"}
			h := hold.NewObject(w, hold.Hold{ID: "event/sale/" + string("aab"[min(i, 2)]), Reason: "START", Replicas: 5}, "me")
			h.UID = types.UID(fmt.Sprint(i))
			if i == 3 {
				h.Labels[hold.OwnerLabel] = "them"
			}
			cluster.holds = append(cluster.holds, *h)
		}
		rule := event.HoldRule{Name: "sale", Type: "START", ReleaseOn: "END", Key: "id", Workloads: []event.WorkloadSpec{{Workload: cluster.holds[1].HeldWorkload()}}}
		second := cluster.holds[1].HeldWorkload()
		second.Name = "cart"
		rule.Workloads = append(rule.Workloads, event.WorkloadSpec{Workload: second})
		control := New(Options{Engine: rollout.New(rollout.Options{Cluster: cluster, Owner: "me"}), Caches: rollout.NewCachedCluster(nil), Rules: []event.HoldRule{rule}})
		if err := control.Release(t.Context(), cluster.holds[1].HeldWorkload(), "event/sale/a", "END"); !errors.Is(err, c.err) {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(c.want, cluster.deleted); diff != "" {
			t.Errorf("%s: ended (-want +got):\n%s", name, diff)
		}
		if err := control.Release(t.Context(), second, "event/sale/a", "END"); err != nil || cluster.lists[""] != 1 {
			t.Errorf("%s: all namespaces were listed %d times: %v", name, cluster.lists[""], err)
		}
	}
}

// cachedHolds is a cache of holds, which may be late.
type cachedHolds struct {
	rollout.Reader
	holds []hold.Object
}

func (c *cachedHolds) ListHolds(context.Context, string) ([]hold.Object, error) {
	return slices.Clone(c.holds), nil
}

// versionedHolds deletes the version of a hold that is there alone.
type versionedHolds struct{ manyNamespaces }

func (c *versionedHolds) DeleteHold(ctx context.Context, o *hold.Object) error {
	i := slices.IndexFunc(c.holds, func(h hold.Object) bool { return h.Name == o.Name })
	switch {
	case i < 0:
		return apierrors.NewNotFound(schema.GroupResource{Resource: "holds"}, o.Name)
	case c.holds[i].ResourceVersion != o.ResourceVersion:
		return apierrors.NewConflict(schema.GroupResource{Resource: "holds"}, o.Name, errors.New("another version"))
	}
	c.holds = slices.Delete(slices.Clone(c.holds), i, i+1)
	return c.deletedHolds.DeleteHold(ctx, o)
}

// TestD21EndListsOnce: an end of a rule with many workloads lists the holds once, as far as the cache has them, and a late cache hides no hold.
func TestD21EndListsOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		makeLate func([]hold.Object) []hold.Object // the cache
		lists    int                               // of the rule's own namespace
	}{
		"a cache that has all":    {func(all []hold.Object) []hold.Object { return all }, 0},
		"a cache with none":       {func([]hold.Object) []hold.Object { return nil }, 3},
		"a version of before":     {func(all []hold.Object) []hold.Object { all[0].ResourceVersion = "0"; return all }, 1},
		"a hold that was renamed": {func(all []hold.Object) []hold.Object { all[0].Name = "gone"; return all }, 1},
	} {
		cluster := &versionedHolds{manyNamespaces{lists: map[string]int{}}}
		rule := event.HoldRule{Name: "sale", Type: "START", ReleaseOn: "END"}
		for i, name := range []string{"cart", "shop", "till"} {
			w := hold.Workload{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "sale", Name: name}
			rule.Workloads = append(rule.Workloads, event.WorkloadSpec{Workload: w})
			h := hold.NewObject(w, hold.Hold{ID: "event/sale", Reason: "START", Replicas: 5}, "me")
			h.UID, h.ResourceVersion = types.UID(fmt.Sprint(i)), "1"
			cluster.holds = append(cluster.holds, *h)
		}
		reader := &cachedHolds{holds: c.makeLate(slices.Clone(cluster.holds))}
		engine := rollout.New(rollout.Options{Cluster: cluster, Reader: reader, Owner: "me"})
		control := New(Options{Engine: engine, Caches: rollout.NewCachedCluster(nil), Rules: []event.HoldRule{rule}})
		for _, w := range rule.ListWorkloads() {
			if err := control.Release(t.Context(), w, "event/sale", "END"); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		want := []string{"cart event/sale", "shop event/sale", "till event/sale"}
		if diff := cmp.Diff(want, cluster.deleted); diff != "" || cluster.lists["sale"] != c.lists || cluster.lists[""] != 1 {
			t.Errorf("%s: lists %v; ended (-want +got):\n%s", name, cluster.lists, diff)
		}
	}
}
