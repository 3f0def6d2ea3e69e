package action

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
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
		renamed := New(nil, nil, Options{Gates: map[string]Gate{"b": row.b}}).FindGate("shop", r.Key("shop", "a"))
		if row.sameKey != (renamed == "b") || !row.sameKey && renamed != "" {
			t.Errorf("%s: the configuration without a has it as %q", name, renamed)
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

// TestD3ClusterScopedObjects: an object outside of namespaces is one place for the holds of all: without a cluster for the kinds that are known, in it for any.
func TestD3ClusterScopedObjects(t *testing.T) {
	t.Parallel()
	kinds := meta.NewDefaultRESTMapper([]schema.GroupVersion{{Group: "example.org", Version: "v1"}})
	for kind, scope := range map[string]meta.RESTScope{"ClusterEdge": meta.RESTScopeRoot, "Edge": meta.RESTScopeNamespace} {
		kinds.Add(schema.GroupVersionKind{Group: "example.org", Version: "v1", Kind: kind}, scope)
	}
	class := Patch{APIVersion: "gateway.networking.k8s.io/v1", Kind: "GatewayClass", Name: "cdn", Merge: json.RawMessage(`{"spec":{"description":"sale"}}`)}
	custom := Patch{APIVersion: "example.org/v1", Kind: "ClusterEdge", Name: "cdn", Merge: json.RawMessage(`{"spec":{"open":true}}`)}
	beta, own := custom, custom
	beta.APIVersion, own.Kind = "example.org/v1beta1", "Edge"
	for name, row := range map[string]struct {
		a, b            Gate
		atLoad, inPlace bool
	}{
		"two namespaces":                      {patchGate(class, Patch{}, "shop"), patchGate(class, Patch{}, "cart"), true, true},
		"one namespace":                       {patchGate(class, Patch{}, "shop"), patchGate(class, Patch{}, "shop"), false, false},
		"one gate of two":                     {patchGate(configMapPatch("x", `{"data":{"a":"b"}}`), Patch{}, "shop"), patchGate(class, Patch{}, "shop", "cart"), true, true},
		"a custom kind":                       {patchGate(custom, Patch{}, "shop"), patchGate(custom, Patch{}, "cart"), false, true},
		"a custom kind in another version":    {patchGate(custom, Patch{}, "shop"), patchGate(beta, Patch{}, "cart"), false, true},
		"one gate of two with a custom kind":  {patchGate(own, Patch{}, "shop"), patchGate(custom, Patch{}, "shop", "cart"), false, true},
		"a custom kind within its namespaces": {patchGate(own, Patch{}, "shop"), patchGate(own, Patch{}, "cart"), false, false},
		"a custom kind that is not installed": {patchGate(Patch{APIVersion: "none.org/v1", Kind: "X", Name: "x", Merge: json.RawMessage("{}")}, Patch{}, "shop"), patchGate(own, Patch{}, "cart"), false, false},
	} {
		gates := map[string]Gate{"a": row.a, "b": row.b}
		if got := FindConflicts(gates); len(got) > 0 != row.atLoad {
			t.Errorf("%s: conflicts %v", name, got)
		}
		r := New(nil, kinds, Options{Gates: gates})
		if a, b := r.Conflict("a"), r.Conflict("b"); a != "" || b != "" != row.inPlace {
			t.Errorf("%s: conflicts %q of a, %q of b", name, a, b)
		}
	}
}

// TestD3GatesWithOneWebhook: a webhook is for gates with the same actions, in one namespace.
func TestD3GatesWithOneWebhook(t *testing.T) {
	t.Parallel()
	gate := func(open, shut string, namespaces ...string) Gate {
		return Gate{Namespaces: namespaces, Open: []Action{{Webhook: open}}, Shut: []Action{{Webhook: shut}}}
	}
	addresses := map[string]string{"cdn": "/secrets/cdn", "edge": "/secrets/cdn", "stop": "/secrets/stop", "other": "/secrets/other"}
	for name, row := range map[string]struct {
		a, b Gate
		want *Conflict
	}{
		"the same actions":             {gate("cdn", "stop", "shop"), gate("cdn", "stop", "shop", "shop"), nil},
		"another way to shut":          {gate("cdn", "stop", "shop"), gate("cdn", "cdn", "shop"), &Conflict{"b", "a", "webhook cdn"}},
		"only the ends meet":           {gate("cdn", "stop", "shop"), gate("other", "stop", "shop"), &Conflict{"b", "a", "webhook stop"}},
		"another namespace":            {gate("cdn", "stop", "shop"), gate("cdn", "stop", "cart"), &Conflict{"b", "a", "webhook cdn"}},
		"another name of the address":  {gate("cdn", "cdn", "shop"), gate("edge", "edge", "shop"), &Conflict{"b", "a", "webhook edge"}},
		"one gate of two namespaces":   {gate("other", "other", "shop"), gate("cdn", "stop", "shop", "cart"), &Conflict{"b", "b", "webhook cdn"}},
		"one gate with two names":      {gate("other", "other", "shop"), gate("cdn", "edge", "shop"), nil},
		"webhooks that have no notify": {gate("x", "y", "shop"), gate("z", "y", "cart"), &Conflict{"b", "a", "webhook y"}},
	} {
		var want []Conflict
		if row.want != nil {
			want = []Conflict{*row.want}
		}
		if diff := cmp.Diff(want, FindWebhookConflicts(map[string]Gate{"a": row.a, "b": row.b}, addresses)); diff != "" {
			t.Errorf("%s: conflicts (-want +got):\n%s", name, diff)
		}
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
