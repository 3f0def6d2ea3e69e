package action

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// patchGate returns a gate for namespaces that merges open into an object, and shut at its end; an empty shut: the gate restores.
func patchGate(open, shut Patch, namespaces ...string) Gate {
	g := Gate{Namespaces: namespaces, Open: []Action{{Patch: &open}}}
	if shut.Name != "" {
		g.Shut = []Action{{Patch: &shut}}
	}
	return g
}

func configMapPatch(name, merge string) Patch {
	return Patch{APIVersion: "v1", Kind: "ConfigMap", Name: name, Merge: json.RawMessage(merge)}
}

// TestD3GatesWithOnePlace: gates with the same actions are one gate. Two that change a place in different ways, or from two namespaces, conflict.
func TestD3GatesWithOnePlace(t *testing.T) {
	t.Parallel()
	open, shut := configMapPatch("cdn", `{"data":{"open":"true"}}`), configMapPatch("cdn", `{"data":{"open":"false"}}`)
	spaced, elsewhere := configMapPatch("cdn", `{ "data": {"open": "true"} }`), open
	elsewhere.Namespace = "edge"
	own := open
	own.Namespace = "shop"
	beta := open
	beta.APIVersion = "v1beta1"
	webhook := Gate{Namespaces: []string{"shop"}, Open: []Action{{Webhook: "go"}}, Shut: []Action{{Webhook: "stop"}}}
	for name, row := range map[string]struct {
		a, b     Gate
		sameKey  bool
		conflict string
	}{
		"the same actions":                      {patchGate(open, shut, "shop"), patchGate(spaced, shut, "shop"), true, ""},
		"the same actions, namespace spelt out": {patchGate(open, shut, "shop"), patchGate(own, shut, "shop"), true, ""},
		"the same webhooks":                     {webhook, webhook, true, ""},
		"both restore":                          {patchGate(open, Patch{}, "shop"), patchGate(open, Patch{}, "shop"), true, ""},
		"one restores":                          {patchGate(open, shut, "shop"), patchGate(open, Patch{}, "shop"), false, "ConfigMap shop/cdn at /data/open"},
		"another value":                         {patchGate(open, shut, "shop"), patchGate(configMapPatch("cdn", `{"data":{"open":"yes"}}`), shut, "shop"), false, "ConfigMap shop/cdn at /data/open"},
		"one more place":                        {patchGate(open, shut, "shop"), patchGate(configMapPatch("cdn", `{"data":{"open":"true","by":"b"}}`), shut, "shop"), false, "ConfigMap shop/cdn at /data/open"},
		"a place below":                         {patchGate(configMapPatch("cdn", `{"data":null}`), shut, "shop"), patchGate(open, shut, "shop"), false, "ConfigMap shop/cdn at /data/open"},
		"another version of the object":         {patchGate(open, shut, "shop"), patchGate(beta, shut, "shop"), false, "ConfigMap shop/cdn at /data/open"},
		"only the ends meet":                    {patchGate(open, shut, "shop"), patchGate(configMapPatch("other", `{"data":{"a":"b"}}`), shut, "shop"), false, "ConfigMap shop/cdn at /data/open"},
		"another place of the object":           {patchGate(open, shut, "shop"), patchGate(configMapPatch("cdn", `{"data":{"opened":"true"}}`), Patch{}, "shop"), false, ""},
		"another object":                        {patchGate(open, shut, "shop"), patchGate(configMapPatch("dns", `{"data":{"open":"true"}}`), Patch{}, "shop"), false, ""},
		"objects of two namespaces":             {patchGate(open, shut, "shop"), patchGate(open, shut, "cart"), true, ""},
		"one object from two namespaces":        {patchGate(elsewhere, Patch{}, "shop"), patchGate(elsewhere, Patch{}, "cart"), true, "ConfigMap edge/cdn at /data/open"},
		"one object from its own and another":   {patchGate(elsewhere, Patch{}, "shop"), patchGate(open, Patch{}, "edge"), false, "ConfigMap edge/cdn at /data/open"},
	} {
		r := New(nil, nil, Options{Gates: map[string]Gate{"a": row.a, "b": row.b}})
		if same := r.Key("shop", "a") == r.Key("shop", "b"); same != row.sameKey {
			t.Errorf("%s: the same key: %v", name, same)
		}
		for _, gates := range []map[string]Gate{{"a": row.a, "b": row.b}, {"a": row.b, "b": row.a}} {
			var want []Conflict
			if row.conflict != "" {
				want = []Conflict{{Gate: "b", Earlier: "a", Place: row.conflict}}
			}
			if diff := cmp.Diff(want, FindConflicts(gates)); diff != "" {
				t.Errorf("%s: conflicts (-want +got):\n%s", name, diff)
			}
		}
	}
	if key := New(nil, nil, Options{}).Key("shop", "none"); key != "" {
		t.Errorf("the key of no gate is %q", key)
	}
}

// TestD3ManyGates: a thousand gates of one object are compared in no time, and each place that conflicts is told once.
func TestD3ManyGates(t *testing.T) {
	t.Parallel()
	gates := map[string]Gate{}
	for i := range 1000 {
		gates[fmt.Sprintf("own-%04d", i)] = patchGate(configMapPatch("cdn", fmt.Sprintf(`{"data":{"open-%d":"true"}}`, i)), Patch{}, "shop")
		gates[fmt.Sprintf("same-%04d", i)] = patchGate(configMapPatch("dns", `{"data":{"open":"true"}}`), Patch{}, "shop")
	}
	gates["zz"] = patchGate(configMapPatch("cdn", `{"data":{"open-7":"false"}}`), Patch{}, "shop")
	if diff := cmp.Diff([]Conflict{{Gate: "zz", Earlier: "own-0007", Place: "ConfigMap shop/cdn at /data/open-7"}}, FindConflicts(gates)); diff != "" {
		t.Errorf("conflicts (-want +got):\n%s", diff)
	}
}
