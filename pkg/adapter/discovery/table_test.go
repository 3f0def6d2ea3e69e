package discovery

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// parse returns the selector of a text; the empty text selects all.
func parse(t testing.TB, text string) labels.Selector {
	t.Helper()
	s, err := labels.Parse(text)
	if err != nil {
		t.Fatalf("parse selector %q: %v", text, err)
	}
	return s
}

func randomPod(r *rand.Rand) *pod {
	p := newPod(apiPod(fmt.Sprint("ns-", r.IntN(3)), fmt.Sprint("pod-", r.IntN(40))))
	p.Node = fmt.Sprint("node-", r.IntN(4))
	p.labels = map[string]string{}
	for _, key := range []string{"app", "tier", "track"} {
		if r.IntN(3) > 0 {
			p.labels[key] = fmt.Sprint("v", r.IntN(3))
		}
	}
	return p
}

// TestTableFindsWhatAWalkFinds holds the indexes against a walk over all pods, after random changes.
func TestTableFindsWhatAWalkFinds(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	table, model := newTable(), map[metric.Object]*pod{}
	duplicated := parse(t, "app=v1")
	requirement, err := labels.NewRequirement("tier", "in", []string{"v1", "v1", "v2"})
	if err != nil {
		t.Fatal(err)
	}
	selectors := []labels.Selector{
		nil, labels.Everything(), labels.Nothing(), duplicated.Add(*requirement),
		parse(t, "app=v1"), parse(t, "app==v1,tier=v2"), parse(t, "app in (v0,v2)"), parse(t, "app"), parse(t, "!app"),
		parse(t, "app!=v1"), parse(t, "app notin (v1),tier=v0"), parse(t, "app=none"), parse(t, "app=v1,app=v2"),
	}
	for step := range 2000 {
		p := randomPod(r)
		switch r.IntN(10) {
		case 0, 1, 2:
			if _, had := model[p.key()]; table.remove(p) != had {
				t.Fatalf("step %d: remove(%s) = %v", step, p.key(), !had)
			}
			delete(model, p.key())
		case 3:
			list := []*pod{p, randomPod(r)}
			table.replace(list)
			clear(model)
			for _, p := range list {
				model[p.key()] = p
			}
		default:
			table.put(p)
			model[p.key()] = p
		}
		s := scope{selector: selectors[r.IntN(len(selectors))]}
		if r.IntN(4) > 0 {
			s.namespace = fmt.Sprint("ns-", r.IntN(3))
		}
		if r.IntN(4) == 0 {
			s.node = fmt.Sprint("node-", r.IntN(4))
		}
		if r.IntN(8) == 0 && s.namespace != "" {
			s.name = p.Name
		}
		if diff := cmp.Diff(walk(model, s), table.list(s)); diff != "" {
			t.Fatalf("step %d: scope %+v (-walk +table):\n%s", step, s, diff)
		}
	}
}

func walk(model map[metric.Object]*pod, s scope) []Pod {
	var pods []Pod
	for _, p := range model {
		if (s.namespace == "" || p.Namespace == s.namespace) && (s.node == "" || p.Node == s.node) &&
			(s.name == "" || p.Name == s.name) && (s.selector == nil || s.selector.Matches(labels.Set(p.labels))) {
			pods = append(pods, p.Pod)
		}
	}
	slices.SortFunc(pods, func(a, b Pod) int { return compareObjects(a.Object(), b.Object()) })
	return pods
}

func TestTableKeepsNothingOfPodsThatWent(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	table := newTable()
	for range 1000 {
		table.put(randomPod(r))
	}
	table.replace(nil)
	if n := len(table.pods) + len(table.byNamespace) + len(table.byNode) + len(table.byLabel); n != 0 {
		t.Errorf("%d entries are left", n)
	}
}

func TestTableReportsChanges(t *testing.T) {
	t.Parallel()
	table := newTable()
	first := newPod(apiPod("shop", "web-1"))
	steps := []struct {
		what string
		got  bool
		want bool
	}{
		{"new pod", table.put(first), true},
		{"equal pod", table.put(newPod(apiPod("shop", "web-1"))), false},
		{"pod no longer ready", table.put(newPod(apiPod("shop", "web-1", unready))), false}, // a pod that runs counts, ready or not
		{"equal list", table.replace([]*pod{newPod(apiPod("shop", "web-1"))}), false},
		{"changed pod", table.put(newPod(apiPod("shop", "web-1", terminating))), true},
		{"other list", table.replace([]*pod{newPod(apiPod("shop", "web-2"))}), true},
		{"shorter list", table.replace(nil), true},
		{"removed, not there", table.remove(first), false},
	}
	for _, s := range steps {
		if s.got != s.want {
			t.Errorf("%s: changed = %v, want %v", s.what, s.got, s.want)
		}
	}
}

// Pods of one group hold their labels once, and keep them when the others go.
func TestTableShares(t *testing.T) {
	t.Parallel()
	pods := newTable()
	of := func(name, hash string) *pod {
		return newPod(apiPod("shop", name, labelled(map[string]string{"app": "web", "pod-template-hash": hash})))
	}
	first, second, other := of("web-1", "aa"), of("web-2", "aa"), of("web-3", "bb")
	for _, p := range []*pod{first, second, other} {
		pods.put(p)
	}
	same := func(a, b *pod) bool {
		return reflect.ValueOf(a.labels).Pointer() == reflect.ValueOf(b.labels).Pointer()
	}
	if !same(first, second) || same(first, other) {
		t.Errorf("labels shared by the same group: %v, by another: %v", same(first, second), same(first, other))
	}
	pods.remove(first)
	found := pods.list(scope{namespace: "shop", selector: labels.SelectorFromSet(labels.Set{"pod-template-hash": "aa"})})
	if len(found) != 1 || found[0].Name != "web-2" {
		t.Errorf("found %v, want web-2", found)
	}
}
