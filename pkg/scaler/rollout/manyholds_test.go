// Namespaces with thousands of holds: a pass reads those that matter to its workload.

package rollout

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// manyHolds returns the holds of a namespace: two of shop, those that matter to shop, and a thousand that do not.
func manyHolds() (all []hold.Object, matter []string) {
	add := func(name, workload string, change func(*hold.Object)) {
		h := hold.Object{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "sale"}}
		h.Spec.Workload = hold.WorkloadReference{APIVersion: "apps/v1", Kind: "Deployment", Name: workload}
		if change != nil {
			change(&h)
		}
		all = append(all, h)
	}
	group := func(name string) func(*hold.Object) {
		return func(h *hold.Object) { h.Spec.Group = &hold.GroupReference{Name: name, Size: 2} }
	}
	for i := range 1000 {
		add(fmt.Sprint("other-", i), fmt.Sprint("other-", i), []func(*hold.Object){nil, group("theirs")}[i%2])
	}
	add("own", "shop", nil)
	add("own-of-group", "shop", group("ours"))
	add("own-version", "shop", func(h *hold.Object) { h.Spec.Workload.APIVersion = "apps/v1beta1" })
	add("member", "cart", group("ours"))
	add("gate", "pay", func(h *hold.Object) { h.Status.GateOpen = true })
	add("autoscaler", "search", func(h *hold.Object) { h.Status.Numbers = &hold.Numbers{AutoscalerUID: "hpa"} })
	add("plain", "mail", func(h *hold.Object) { h.Status.Numbers = &hold.Numbers{} })
	add("other-kind", "shop", func(h *hold.Object) { h.Spec.Workload.Kind = "StatefulSet" })
	return all, []string{"autoscaler", "gate", "member", "own", "own-of-group", "own-version"}
}

// holdNames returns the sorted names of holds.
func holdNames(lists ...[]hold.Object) []string {
	names := map[string]bool{}
	for _, h := range slices.Concat(lists...) {
		names[h.Name] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// TestPassKeepsHoldsThatMatter: whether read live or from the caches, a pass keeps the same holds of a crowded namespace.
func TestPassKeepsHoldsThatMatter(t *testing.T) {
	t.Parallel()
	all, want := manyHolds()
	o := HeldWorkload{Workload: memoryRef("shop")}
	o.addHolds(all)
	if diff := cmp.Diff(want, holdNames(o.Holds, o.Others)); diff != "" || len(o.Holds) != 3 {
		t.Errorf("live: %d own holds (-want +got):\n%s", len(o.Holds), diff)
	}
	indexer := cache.NewIndexer(cache.MetaNamespaceKeyFunc, hold.NewIndexers())
	for i := range all {
		if err := indexer.Add(&all[i]); err != nil {
			t.Fatal(err)
		}
	}
	found := findIndexedHolds(indexer, memoryRef("shop"))
	if diff := cmp.Diff(want, holdNames(found)); diff != "" || len(found) != len(want) {
		t.Errorf("cached: %d holds (-want +got):\n%s", len(found), diff)
	}
	if got := findIndexedHolds(indexer, memoryRef("nobody")); len(got) > 0 {
		t.Errorf("a workload without holds: %v", holdNames(got))
	}
}
