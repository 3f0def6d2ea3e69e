package action

import (
	gocmp "cmp"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// newSteppedGate returns a gate that patches the Service shop.
func newSteppedGate(merge string, steps ...int) Gate {
	return Gate{Namespaces: []string{"sale"}, Open: []Action{{Patch: newShopPatch(merge)}}, Plan: Plan{Steps: steps}}
}

// TestGateRestores: a gate without actions to shut it gives back what its patches changed, and leaves what other clients changed since.
func TestGateRestores(t *testing.T) {
	t.Parallel()
	client, mapper := newFakeCluster()
	g := New(client, mapper, Options{Gates: map[string]Gate{
		"sale": newSteppedGate(`{"metadata":{"annotations":{"weight":"<<.Percent>>%"}},"spec":{"selector":{"track":"new","app":null}}}`, 10, 100),
	}})
	changes, err := g.Record(t.Context(), "sale", "sale")
	if err != nil || len(changes) != 4 { // the third is of the annotations themselves
		t.Fatalf("%d changes, %v", len(changes), err)
	}
	for _, percent := range []int{10, 100} {
		if err := g.Open(t.Context(), "sale", "sale", percent, changes); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(map[string]string{"track": "new"}, readShopSelector(t, client, "sale")); diff != "" {
		t.Error(diff)
	}
	shop := client.Resource(servicesResource).Namespace("sale")
	edit := `{"metadata":{"annotations":{"by":"a person"}},"spec":{"selector":{"track":"mine","zone":"a"}}}`
	if _, err := shop.Patch(t.Context(), "shop", types.MergePatchType, []byte(edit), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	for range 2 { // an interrupted pass runs again
		if err := g.Shut(t.Context(), "sale", "sale", changes); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(map[string]string{"app": "shop", "track": "mine", "zone": "a"}, readShopSelector(t, client, "sale")); diff != "" {
		t.Errorf("selector (-want +got):\n%s", diff)
	}
	o, err := shop.Get(t.Context(), "shop", metav1.GetOptions{})
	if diff := cmp.Diff(map[string]string{"by": "a person"}, o.GetAnnotations()); diff != "" || err != nil {
		t.Errorf("annotations (-want +got):\n%s%v", diff, err)
	}
}

// TestRestoreMadeObjects: an object that the gate makes around its values goes with them, unless another client has added to it. One that was there stays.
func TestRestoreMadeObjects(t *testing.T) {
	t.Parallel()
	const merge = `{"spec":{"affinity":{"cookie":{"name":"shop","weight":"<<.Percent>>"}},"limits":{"rate":{"burst":2}},"ports":[{"name":"http","probe":{"path":"/"}}]}}`
	for name, c := range map[string]struct{ before, edit, after string }{
		"not there":        {`{"ports":[{"name":"http"}]}`, `{}`, `{"ports":[{"name":"http"}]}`},
		"there, and empty": {`{"affinity":{},"limits":{"rate":{}},"ports":[{"name":"http","probe":{}}]}`, `{}`, `{"affinity":{},"limits":{"rate":{}},"ports":[{"name":"http","probe":{}}]}`},
		"added to":         {`{"ports":[{"name":"http"}]}`, `{"affinity":{"cookie":{"path":"/x"}},"limits":{"size":1}}`, `{"affinity":{"cookie":{"path":"/x"}},"limits":{"size":1},"ports":[{"name":"http"}]}`},
		"removed":          {`{"ports":[{"name":"http"}]}`, `{"affinity":{"cookie":null},"limits":null}`, `{"ports":[{"name":"http"}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, mapper := newFakeCluster()
			shop := client.Resource(servicesResource).Namespace("sale")
			edit := func(spec string) {
				t.Helper()
				if _, err := shop.Patch(t.Context(), "shop", types.MergePatchType, []byte(`{"spec":`+spec+`}`), metav1.PatchOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			edit(`{"selector":null}`)
			edit(c.before)
			g := New(client, mapper, Options{Gates: map[string]Gate{"sale": newSteppedGate(merge, 30, 100)}})
			changes, err := g.Record(t.Context(), "sale", "sale")
			if err == nil {
				err = g.Open(t.Context(), "sale", "sale", 30, changes)
			}
			if err != nil {
				t.Fatal(err)
			}
			edit(c.edit)
			for range 2 {
				if err := g.Shut(t.Context(), "sale", "sale", changes); err != nil {
					t.Fatal(err)
				}
			}
			o, err := shop.Get(t.Context(), "shop", metav1.GetOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if got, err := json.Marshal(o.Object["spec"]); err != nil || string(got) != c.after {
				t.Errorf("got  %s\nwant %s", got, c.after)
			}
		})
	}
}

// TestRecordRejects: a gate that could not be restored does not open.
func TestRecordRejects(t *testing.T) {
	t.Parallel()
	client, mapper := newFakeCluster()
	g := New(client, mapper, Options{Gates: map[string]Gate{
		"value": newSteppedGate(`{"spec":{"selector":{"track":{"a":"b"}}}}`),
		"large": newSteppedGate(`{"metadata":{"annotations":{"a":"` + strings.Repeat("x", maxRecordBytes) + `"}}}`),
	}})
	for gate, want := range map[string]string{"value": "/spec/selector/track", "large": "the maximum is", "none": "not in the scaler's configuration"} {
		if _, err := g.Record(t.Context(), "sale", gate); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", gate, err, want)
		}
	}
}

// TestRestoreLists: in a list of the same length each element is a place of its own.
func TestRestoreLists(t *testing.T) {
	t.Parallel()
	const merge = `{"spec":{"ports":[{"name":"http","port":"<<.Percent>>"},{"name":"https","port":"<<.Remainder>>"}]}}`
	for name, c := range map[string]struct{ before, edit, after string }{
		"nobody":            {`[{"name":"http","port":80},{"name":"https","port":443,"nodePort":30000}]`, ``, `[{"name":"http","port":80},{"name":"https","nodePort":30000,"port":443}]`},
		"an element edited": {`[{"name":"http","port":80},{"name":"https","port":443}]`, `[{"name":"http","port":81,"nodePort":30001},{"name":"https","port":70}]`, `[{"name":"http","nodePort":30001,"port":81},{"name":"https","port":443}]`},
		"another length":    {`[{"name":"http","port":80}]`, ``, `[{"name":"http","port":80}]`},
		"a longer one now":  {`[{"name":"http","port":80},{"name":"https","port":443}]`, `[{"name":"http","port":30},{"name":"https","port":70},{"name":"admin","port":1}]`, `[{"name":"http","port":80},{"name":"https","port":443},{"name":"admin","port":1}]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, mapper := newFakeCluster()
			setShopPorts(t, client, c.before)
			g := New(client, mapper, Options{Gates: map[string]Gate{"sale": newSteppedGate(merge, 30, 100)}})
			changes, err := g.Record(t.Context(), "sale", "sale")
			if err == nil {
				err = g.Open(t.Context(), "sale", "sale", 30, changes)
			}
			setShopPorts(t, client, c.edit)
			if err == nil {
				err = g.Shut(t.Context(), "sale", "sale", changes)
			}
			if err != nil {
				t.Fatal(err)
			}
			checkShopPorts(t, client, c.after)
		})
	}
}

// TestRestoreListsAgain: to restore a list again changes nothing, though the gate had its elements in another order, or other elements.
func TestRestoreListsAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ before, merge, edit, after string }{
		"swapped":        {`[{"name":"old","port":100},{"name":"new","port":0}]`, `[{"name":"new","port":"<<.Percent>>"},{"name":"old","port":"<<.Remainder>>"}]`, ``, ``},
		"shifted":        {`[{"name":"old","port":1},{"name":"new","port":2}]`, `[{"name":"new","port":2},{"name":"test","port":"<<.Percent>>"}]`, ``, ``},
		"without a name": {`[{"nodePort":3,"port":1},{"nodePort":4,"port":2}]`, `[{"port":2,"nodePort":"<<.Percent>>"},{"port":5,"nodePort":4}]`, ``, ``},
		"other kinds":    {`["old","new",3]`, `["new","<<.Percent>>","old"]`, ``, ``},
		"edited then": {
			`[{"name":"old","port":100},{"name":"new","port":0}]`, `[{"name":"new","port":"<<.Percent>>"},{"name":"old","port":"<<.Remainder>>"}]`,
			`[{"name":"old","port":95},{"name":"new","port":0}]`, `[{"name":"old","port":95},{"name":"new","port":0}]`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, mapper := newFakeCluster()
			setShopPorts(t, client, c.before)
			g := New(client, mapper, Options{Gates: map[string]Gate{"sale": newSteppedGate(`{"spec":{"ports":`+c.merge+`}}`, 30, 100)}})
			changes, err := g.Record(t.Context(), "sale", "sale")
			if err == nil {
				err = g.Open(t.Context(), "sale", "sale", 30, changes)
			}
			if err == nil {
				err = g.Shut(t.Context(), "sale", "sale", changes)
			}
			if err != nil {
				t.Fatal(err)
			}
			checkShopPorts(t, client, c.before)
			setShopPorts(t, client, c.edit)
			if err := g.Shut(t.Context(), "sale", "sale", changes); err != nil {
				t.Fatal(err)
			}
			checkShopPorts(t, client, gocmp.Or(c.after, c.before))
		})
	}
}

// TestRecordIsNoOrder: a forged record makes the gate patch nothing but the places of its own patches.
func TestRecordIsNoOrder(t *testing.T) {
	t.Parallel()
	client, mapper := newFakeCluster()
	g := New(client, mapper, Options{Gates: map[string]Gate{"sale": newSteppedGate(`{"spec":{"selector":{"track":"new"}}}`)}})
	genuine := Change{Gate: "sale", APIVersion: "v1", Kind: "Service", Namespace: "sale", Name: "shop", Path: "/spec/selector/track", Was: `"pwned"`, Set: []string{`"old"`}}
	for name, forge := range map[string]func(c *Change){
		"another place": func(c *Change) { c.Path, c.Set = "/spec/selector/app", []string{`"shop"`} },
		"the whole": func(c *Change) {
			c.Path, c.Was, c.Set = "/spec", `{}`, []string{`{"selector":{"app":"shop","track":"old"}}`}
		},
		"another object":    func(c *Change) { c.Name = "other" },
		"another namespace": func(c *Change) { c.Namespace = "other" },
		"another kind":      func(c *Change) { c.Kind = "Namespace" },
		"another gate":      func(c *Change) { c.Gate = "other" },
		"no place":          func(c *Change) { c.Path = "" },
	} {
		c := genuine
		forge(&c)
		client.ClearActions()
		if err := g.Shut(t.Context(), "sale", "sale", []Change{c}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, a := range client.Actions() {
			if a.GetVerb() == "patch" {
				t.Errorf("%s: %v", name, a)
			}
		}
	}
	if err := g.Shut(t.Context(), "sale", "sale", []Change{genuine}); err != nil || readShopSelector(t, client, "sale")["track"] != "pwned" {
		t.Errorf("the genuine form is not restored: %v", err)
	}
}

// TestDecodeGate lists the faults of gates.
func TestDecodeGate(t *testing.T) {
	t.Parallel()
	const patch = "{patch: {apiVersion: v1, kind: Service, name: shop, merge: {spec: {weight: MERGE}}}}"
	for text, want := range map[string]string{
		"{name: a, namespaces: [sale], open: [" + patch + "]}":                                              "",
		"{name: a, namespaces: [sale], open: [" + patch + "], steps: [10, 100], pause: 2m, approval: true}": "",
		"{name: a, namespaces: [sale], open: [{webhook: x}], steps: [10, 100]}":                             "needs shut",
		"{name: a, namespaces: [sale], open: [" + patch + "], steps: [10, 50]}":                             "must end with 100",
		"{name: a, namespaces: [sale], open: [" + patch + "], steps: [50, 50, 100]}":                        "is not above",
		"{name: a, namespaces: [sale], open: [" + patch + "], steps: [100], pause: 0s}":                     "pause",
		"{name: A, namespaces: [sale], open: [" + patch + "]}":                                              "lower-case",
		"{name: a, open: [" + patch + "]}":                                                                  "namespaces",
	} {
		merge := "5"
		if strings.Contains(text, "steps") {
			merge = "<<.Percent>>"
		}
		checkGate(t, strings.ReplaceAll(text, "MERGE", merge), want)
	}
	checkGate(t, "{name: a, namespaces: [sale], steps: [10, 100], open: ["+strings.ReplaceAll(patch, "MERGE", "5")+"]}", "have no effect")
	checkGate(t, "{name: a, namespaces: [sale], open: ["+strings.ReplaceAll(patch, "MERGE", "<<.Percent>>")+"]}", "no steps")
	checkGate(t, "{name: a, namespaces: [sale], steps: [10, 100], open: ["+strings.ReplaceAll(patch, "MERGE", "<<.Percent>> <<.Other>>")+"]}", "unknown placeholder")
}

// checkGate decodes a gate; an empty want means no fault.
func checkGate(t *testing.T, text, want string) {
	t.Helper()
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(text), &n); err != nil {
		t.Fatal(err)
	}
	d := strict.NewDecoder()
	DecodeGate(d, "gates[0]", n.Content[0])
	if err := d.Faults.Err(); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("%s:\n%v; want %q", text, err, want)
	}
}
