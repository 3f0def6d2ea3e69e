package action

import (
	"errors"
	"strings"
	"testing"
)

// TestD3GateOfAnotherNamespace: a gate that is no longer for the namespace of an open hold is shut if its actions are those of before and change objects of that
// namespace alone. Else its fault says how a person shuts it.
func TestD3GateOfAnotherNamespace(t *testing.T) {
	t.Parallel()
	open, shut := *newShopPatch(`{"spec":{"selector":{"track":"new"}}}`), *newShopPatch(`{"spec":{"selector":{"track":"it's <<.Percent>>"}}}`)
	elsewhere := func(p Patch) Patch {
		p.Namespace = "other"
		return p
	}
	labels := Patch{APIVersion: "v1", Kind: "Namespace", Name: "sale", Merge: open.Merge}
	hook := Gate{Open: []Action{{Webhook: "cdn"}}, Shut: []Action{{Patch: &shut}, {Webhook: "cdn"}}}
	change := Change{Gate: "a", APIVersion: "gateway.networking.k8s.io/v1", Kind: "HTTPRoute", Namespace: "sale", Name: "shop", Path: "/spec/rules/0/weight", Was: "0"}
	for name, c := range map[string]struct {
		before, now Gate
		changes     []Change
		want        string // of the fault; empty: it shuts
		track       string // after it was shut
	}{
		"its own object":       {patchGate(open, shut), patchGate(open, shut), nil, "", "it's 0"},
		"it restores":          {patchGate(open, Patch{}), patchGate(open, Patch{}), nil, "", "old"},
		"an object elsewhere":  {patchGate(open, elsewhere(shut)), patchGate(open, elsewhere(shut)), nil, `not allowed for namespace sale in the scaler's configuration; shut it by hand: kubectl -n other patch service shop --type merge -p '{"spec":{"selector":{"track":"it'\''s 0"}}}'`, ""},
		"an object of all":     {patchGate(labels, shut), patchGate(labels, shut), nil, "shut it by hand: kubectl -n sale patch service shop ", ""},
		"a webhook":            {hook, hook, nil, `'; call webhook cdn with percent 0`, ""},
		"other actions by now": {patchGate(open, shut), patchGate(shut, open), []Change{change}, `shut it by hand: set /spec/rules/0/weight to 0 (kubectl edit -n sale httproute.gateway.networking.k8s.io shop)`, ""},
		"nothing is known":     {patchGate(open, shut), patchGate(shut, open), nil, "undo what its open actions did", ""},
	} {
		client, mapper := newFakeCluster()
		key := New(client, mapper, Options{Gates: map[string]Gate{"a": c.before}}).Key("sale", "a")
		c.now.Namespaces = []string{"moved"}
		r := New(client, mapper, Options{Gates: map[string]Gate{"a": c.now}})
		got := r.ShutFault("sale", "a", key, c.changes)
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %s", name, got)
		}
		if c.want != "" {
			continue
		}
		earlier := New(client, mapper, Options{Gates: map[string]Gate{"a": patchGate(open, Patch{}, "sale")}})
		changes, err := earlier.Record(t.Context(), "sale", "a")
		if err := errors.Join(err, earlier.Open(t.Context(), "sale", "a", 100, changes), r.Shut(t.Context(), "sale", "a", changes)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := readShopSelector(t, client, "sale")["track"]; got != c.track {
			t.Errorf("%s: track %s", name, got)
		}
		if err := r.Open(t.Context(), "sale", "a", 100, nil); err == nil {
			t.Errorf("%s: it opens", name)
		}
	}
}
