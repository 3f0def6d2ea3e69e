package discovery

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// parseSelector returns the selector of a text; the empty text selects all.
func parseSelector(t testing.TB, text string) labels.Selector {
	t.Helper()
	s, err := labels.Parse(text)
	if err != nil {
		t.Fatalf("parse selector %q: %v", text, err)
	}
	return s
}

func randomPod(r *rand.Rand) *storedPod {
	p := endpointPolicy{}.newStoredPod(apiPod(fmt.Sprint("ns-", r.IntN(3)), fmt.Sprint("pod-", r.IntN(40))))
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
	table, model := newWatchedPodTable(), map[metric.Object]*storedPod{}
	duplicated := parseSelector(t, "app=v1")
	requirement, err := labels.NewRequirement("tier", "in", []string{"v1", "v1", "v2"})
	if err != nil {
		t.Fatal(err)
	}
	selectors := []labels.Selector{
		nil, labels.Everything(), labels.Nothing(), duplicated.Add(*requirement),
		parseSelector(t, "app=v1"), parseSelector(t, "app==v1,tier=v2"), parseSelector(t, "app in (v0,v2)"), parseSelector(t, "app"), parseSelector(t, "!app"),
		parseSelector(t, "app!=v1"), parseSelector(t, "app notin (v1),tier=v0"), parseSelector(t, "app=none"), parseSelector(t, "app=v1,app=v2"),
	}
	for step := range 2000 {
		p := randomPod(r)
		switch r.IntN(10) {
		case 0, 1, 2:
			had := model[p.storedPodKey()] != nil && !isGone(model[p.storedPodKey()])
			if table.removeWatchedObject(p) != had {
				t.Fatalf("step %d: remove(%s) = %v", step, p.storedPodKey(), !had)
			}
			markGone(model, p.storedPodKey())
		case 3:
			list := []*storedPod{p, randomPod(r)}
			table.replaceWatchedObjects(list)
			for key := range model {
				markGone(model, key)
			}
			for _, p := range list {
				model[p.storedPodKey()] = p
			}
		default:
			table.upsertWatchedObject(p)
			model[p.storedPodKey()] = p
		}
		s := podScope{selector: selectors[r.IntN(len(selectors))]}
		if r.IntN(4) > 0 {
			s.namespace = fmt.Sprint("ns-", r.IntN(3))
		}
		if r.IntN(4) == 0 {
			s.node = fmt.Sprint("node-", r.IntN(4))
		}
		if r.IntN(8) == 0 && s.namespace != "" {
			s.name = p.Name
		}
		if diff := cmp.Diff(filterPods(model, s), table.listScopedPods(s, time.Now())); diff != "" {
			t.Fatalf("step %d: scope %+v (-walk +table):\n%s", step, s, diff)
		}
	}
}

func isGone(p *storedPod) bool { return p.Omission.Reason != "" }

// markGone makes a pod of the model a deleted one, if there is such a pod.
func markGone(model map[metric.Object]*storedPod, key metric.Object) {
	if p := model[key]; p != nil {
		gone := *p
		gone.Live, gone.Ready, gone.Departed, gone.Omission = false, false, true, newGonePodOmission(key)
		model[key] = &gone
	}
}

func filterPods(model map[metric.Object]*storedPod, s podScope) []Pod {
	var pods []Pod
	for _, p := range model {
		if (s.namespace == "" || p.Namespace == s.namespace) && (s.node == "" || p.Node == s.node) &&
			(s.name == "" || p.Name == s.name) && (s.selector == nil || s.selector.Matches(labels.Set(p.labels))) {
			pods = append(pods, p.Pod)
		}
	}
	slices.SortFunc(pods, func(a, b Pod) int { return a.Object().Compare(b.Object()) })
	return pods
}

func TestTableKeepsNothingOfPodsThatWent(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	table := newWatchedPodTable()
	for range 1000 {
		table.upsertWatchedObject(randomPod(r))
	}
	table.replaceWatchedObjects(nil)
	table.expireDepartures(time.Now().Add(defaultRetention))
	n := len(table.departed.queues) + len(table.byURL)
	for _, i := range []podIndex{table.current, table.departed.podIndex} {
		n += len(i.pods) + len(i.byNamespace) + len(i.byNode) + len(i.byLabel)
	}
	if n != 0 {
		t.Errorf("%d entries are left", n)
	}
}

func TestTableReportsChanges(t *testing.T) {
	t.Parallel()
	table := newWatchedPodTable()
	first := endpointPolicy{}.newStoredPod(apiPod("shop", "web-1"))
	steps := []struct {
		what string
		got  bool
		want bool
	}{
		{"new pod", table.upsertWatchedObject(first), true},
		{"equal pod", table.upsertWatchedObject(endpointPolicy{}.newStoredPod(apiPod("shop", "web-1"))), false},
		{"pod no longer ready", table.upsertWatchedObject(endpointPolicy{}.newStoredPod(apiPod("shop", "web-1", markUnready))), true},
		{"equal list", table.replaceWatchedObjects([]*storedPod{endpointPolicy{}.newStoredPod(apiPod("shop", "web-1", markUnready))}), false},
		{"changed pod", table.upsertWatchedObject(endpointPolicy{}.newStoredPod(apiPod("shop", "web-1", markTerminating))), true},
		{"other list", table.replaceWatchedObjects([]*storedPod{endpointPolicy{}.newStoredPod(apiPod("shop", "web-2"))}), true},
		{"shorter list", table.replaceWatchedObjects(nil), true},
		{"removed, not there", table.removeWatchedObject(first), false},
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
	pods := newWatchedPodTable()
	of := func(name, hash string) *storedPod {
		return endpointPolicy{}.newStoredPod(apiPod("shop", name, withLabels(map[string]string{"app": "web", "pod-template-hash": hash})))
	}
	first, second, other := of("web-1", "aa"), of("web-2", "aa"), of("web-3", "bb")
	for _, p := range []*storedPod{first, second, other} {
		pods.upsertWatchedObject(p)
	}
	same := func(a, b *storedPod) bool {
		return reflect.ValueOf(a.labels).Pointer() == reflect.ValueOf(b.labels).Pointer()
	}
	if !same(first, second) || same(first, other) {
		t.Errorf("labels shared by the same group: %v, by another: %v", same(first, second), same(first, other))
	}
	pods.removeWatchedObject(first)
	var found []*storedPod
	pods.visitStoredPods(podScope{namespace: "shop", selector: labels.SelectorFromSet(labels.Set{"pod-template-hash": "aa"})}, func(p *storedPod) {
		found = append(found, p)
	})
	if len(found) != 1 || found[0].Name != "web-2" {
		t.Errorf("found %v, want web-2", found)
	}
}

// TestTableLimitsTimesAhead: kube-apiserver's clock is five minutes ahead of the clock of samples. What is seen has happened, and stays
// where it was until the cluster tells another time.
func TestTableLimitsTimesAhead(t *testing.T) {
	t.Parallel()
	seen := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	table := newWatchedPodTable()
	table.sampleNow = func() time.Time { return seen }
	upsert := func(uid string, created, readied time.Time) *storedPod {
		p := &storedPod{Pod: Pod{Namespace: "shop", Name: "web-1", UID: uid, Created: created, Readied: readied}}
		table.upsertWatchedObject(p)
		return table.getStoredPod(p.storedPodKey())
	}
	created := seen.Add(5 * time.Minute)
	if p := upsert("a", created, time.Time{}); !p.Created.Equal(seen) || !p.Readied.IsZero() {
		t.Errorf("created %v, ready at %v, want %v and never", p.Created, p.Readied, seen)
	}
	began := seen
	seen = seen.Add(20 * time.Second)
	if p := upsert("a", created, created.Add(20*time.Second)); !p.Created.Equal(began) || !p.Readied.Equal(seen) {
		t.Errorf("created %v, ready at %v, want %v and %v", p.Created, p.Readied, began, seen)
	}
	if p := upsert("b", created, seen.Add(-time.Minute)); !p.Created.Equal(seen) || !p.Readied.Equal(seen.Add(-time.Minute)) {
		t.Errorf("of another pod of the name: created %v, ready at %v", p.Created, p.Readied)
	}
}
