package action

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	kubetesting "k8s.io/client-go/testing"
)

// TestStepsKeepEdits: a step of a gate with a record keeps what other clients changed in its lists since, or fails and changes nothing.
func TestStepsKeepEdits(t *testing.T) {
	t.Parallel()
	const (
		merge  = `{"spec":{"ports":[{"name":"old","port":"<<.Remainder>>"},{"name":"new","port":"<<.Percent>>"}]}}`
		before = `[{"name":"old","port":80},{"name":"new","port":81}]`
	)
	for name, c := range map[string]struct{ before, early, edit, opened, shut, fault string }{
		"nobody": {before: before, opened: `[{"name":"old","port":20},{"name":"new","port":80}]`, shut: before},
		"an element added": {before: before, edit: `[{"name":"old","port":90},{"name":"new","port":10},{"name":"mine","port":1}]`,
			opened: `[{"name":"old","port":20},{"name":"new","port":80},{"name":"mine","port":1}]`, shut: `[{"name":"old","port":80},{"name":"new","port":81},{"name":"mine","port":1}]`},
		"an element added before the first step": {before: before, early: `[{"name":"old","port":80},{"name":"new","port":81},{"name":"mine","port":1}]`,
			opened: `[{"name":"old","port":20},{"name":"new","port":80},{"name":"mine","port":1}]`, shut: `[{"name":"old","port":80},{"name":"new","port":81},{"name":"mine","port":1}]`},
		"a field added": {before: before, edit: `[{"name":"old","nodePort":7,"port":90},{"name":"new","port":10}]`,
			opened: `[{"name":"old","nodePort":7,"port":20},{"name":"new","port":80}]`, shut: `[{"name":"old","nodePort":7,"port":80},{"name":"new","port":81}]`},
		"an element put first": {before: before, edit: `[{"name":"mine","port":1},{"name":"old","port":90},{"name":"new","port":10}]`,
			opened: `[{"name":"mine","port":1},{"name":"old","port":20},{"name":"new","port":80}]`, shut: `[{"name":"mine","port":1},{"name":"old","port":80},{"name":"new","port":81}]`},
		"another order": {before: before, edit: `[{"name":"new","port":10},{"name":"mine","port":1},{"name":"old","nodePort":7,"port":90}]`,
			opened: `[{"name":"new","port":80},{"name":"mine","port":1},{"name":"old","nodePort":7,"port":20}]`,
			shut:   `[{"name":"new","port":81},{"name":"mine","port":1},{"name":"old","nodePort":7,"port":80}]`},
		"an element put first before the first step": {before: before, early: `[{"name":"mine","port":1},{"name":"old","port":80},{"name":"new","port":81}]`,
			opened: `[{"name":"mine","port":1},{"name":"old","port":20},{"name":"new","port":80}]`, shut: `[{"name":"mine","port":1},{"name":"old","port":80},{"name":"new","port":81}]`},
		"a shorter list before, and an element put first": {before: `[{"name":"old","port":80}]`, edit: `[{"name":"mine","port":1},{"name":"old","port":90},{"name":"new","port":10}]`,
			opened: `[{"name":"mine","port":1},{"name":"old","port":20},{"name":"new","port":80}]`, shut: `[{"name":"mine","port":1},{"name":"old","port":80}]`},
		"two elements of one name": {before: before, edit: `[{"name":"new","port":1},{"name":"old","port":90},{"name":"new","port":10}]`,
			opened: `[{"name":"new","port":1},{"name":"old","port":90},{"name":"new","port":10}]`, fault: "another client changed the list at /spec/ports"},
		"an element removed": {before: before, edit: `[{"name":"new","port":10}]`,
			opened: `[{"name":"new","port":10}]`, fault: "another client changed the list at /spec/ports"},
		"a shorter list before": {before: `[{"name":"old","port":80}]`, edit: `[{"name":"old","nodePort":7,"port":90},{"name":"new","port":10},{"name":"mine","port":1}]`,
			opened: `[{"name":"old","nodePort":7,"port":20},{"name":"new","port":80},{"name":"mine","port":1}]`, shut: `[{"name":"old","port":80},{"name":"mine","port":1}]`},
		"defaults of the API server": {before: `[{"name":"old","port":80}]`, edit: `[{"name":"old","port":90,"protocol":"TCP"},{"name":"new","port":10,"protocol":"TCP"}]`,
			opened: `[{"name":"old","port":20,"protocol":"TCP"},{"name":"new","port":80,"protocol":"TCP"}]`, shut: `[{"name":"old","port":80}]`},
		"a longer list before, which another client put back": {before: `[{"name":"old","port":80},{"name":"new","port":81},{"name":"x","port":1}]`,
			edit:   `[{"name":"old","port":80},{"name":"new","port":81},{"name":"x","port":1}]`,
			opened: `[{"name":"old","port":20},{"name":"new","port":80}]`, shut: `[{"name":"old","port":80},{"name":"new","port":81},{"name":"x","port":1}]`},
		"no list before": {before: `null`, edit: `[{"name":"old","port":90},{"name":"new","port":10},{"name":"mine","port":1}]`,
			opened: `[{"name":"old","port":20},{"name":"new","port":80},{"name":"mine","port":1}]`, shut: `[{"name":"mine","port":1}]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, mapper := newFakeCluster()
			setShopPorts(t, client, c.before)
			g := New(client, mapper, Options{Gates: map[string]Gate{"sale": newSteppedGate(merge, 10, 80, 100)}})
			changes, err := g.Record(t.Context(), "sale", "sale")
			setShopPorts(t, client, c.early)
			if err == nil {
				err = g.Open(t.Context(), "sale", "sale", 10, changes)
			}
			if err != nil {
				t.Fatal(err)
			}
			setShopPorts(t, client, c.edit)
			for range 2 { // an interrupted pass runs again
				if err := g.Open(t.Context(), "sale", "sale", 80, changes); (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
					t.Errorf("%v; want %q", err, c.fault)
				}
			}
			checkShopPorts(t, client, c.opened)
			if err := g.Shut(t.Context(), "sale", "sale", changes); err != nil {
				t.Error(err)
			}
			if c.fault == "" {
				checkShopPorts(t, client, c.shut)
			}
		})
	}
}

// TestRestoredLists: a list that a gate set whole is restored with the elements that were added to it. A list that is not the gate's stays.
func TestRestoredLists(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		was, set, found, want string // an empty want: the list stays
	}{
		"the gate's":                  {`["a"]`, `["a","b"]`, `["a","b"]`, `["a"]`},
		"an element added":            {`["a"]`, `["b","a"]`, `["b","a","c"]`, `["a","c"]`},
		"put back":                    {`["a","b"]`, `["a"]`, `["a","b"]`, ``},
		"put back, and an element":    {`["a","b"]`, `["a"]`, `["a","b","c"]`, ``},
		"another order":               {`["a"]`, `["b","c"]`, `["c","b"]`, `["a"]`},
		"an element put first":        {`["a"]`, `["b","a"]`, `["c","b","a"]`, `["c","a"]`},
		"another client's":            {`["a"]`, `["b","c"]`, `["c","d"]`, ``},
		"an empty list of the gate":   {`["a"]`, `[]`, `[]`, `["a"]`},
		"filled after the gate":       {`["a"]`, `[]`, `["c"]`, ``},
		"no list before":              {``, `["b"]`, `["b","c"]`, `["c"]`},
		"an empty list before":        {`[]`, `["b"]`, `["b","c"]`, `["c"]`},
		"a text before, and an edit":  {`"x"`, `["b"]`, `["b","c"]`, ``},
		"a text before, and no edits": {`"x"`, `["b"]`, `["b"]`, `"x"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var found any
			if err := json.Unmarshal([]byte(c.found), &found); err != nil {
				t.Fatal(err)
			}
			change := Change{Was: c.was, Set: []string{c.set}}
			if got, isOwn := change.findRestoredValue(found, true); got != c.want || isOwn != (c.want != "") {
				t.Errorf("%s, %t; want %s", got, isOwn, c.want)
			}
		})
	}
}

// TestShutKeepsEdits: a gate with actions to shut it keeps what other clients change in its lists, at each step and when it shuts.
func TestShutKeepsEdits(t *testing.T) {
	t.Parallel()
	const (
		open   = `{"spec":{"ports":[{"name":"new","port":"<<.Percent>>"},{"name":"old","port":"<<.Remainder>>"}]}}`
		shut   = `{"spec":{"ports":[{"name":"new","port":0},{"name":"old","port":100}]}}`
		alone  = `{"spec":{"ports":[{"name":"old","port":100}]}}`
		before = `[{"name":"old","port":100}]`
	)
	for name, c := range map[string]struct{ merge, before, edit, opened, shut, fault string }{
		"nobody": {merge: shut, before: before, opened: `[{"name":"new","port":80},{"name":"old","port":20}]`, shut: `[{"name":"new","port":0},{"name":"old","port":100}]`},
		"an element added": {merge: shut, before: before, edit: `[{"name":"new","port":10},{"name":"old","port":90},{"name":"mine","port":1}]`,
			opened: `[{"name":"new","port":80},{"name":"old","port":20},{"name":"mine","port":1}]`, shut: `[{"name":"new","port":0},{"name":"old","port":100},{"name":"mine","port":1}]`},
		"an element put first, and a field": {merge: shut, before: before, edit: `[{"name":"mine","port":1},{"name":"new","port":10,"nodePort":7},{"name":"old","port":90}]`,
			opened: `[{"name":"mine","port":1},{"name":"new","nodePort":7,"port":80},{"name":"old","port":20}]`,
			shut:   `[{"name":"mine","port":1},{"name":"new","nodePort":7,"port":0},{"name":"old","port":100}]`},
		"it shuts to fewer elements": {merge: alone, before: before, edit: `[{"name":"mine","port":1},{"name":"new","port":10},{"name":"old","port":90,"nodePort":7}]`,
			opened: `[{"name":"mine","port":1},{"name":"new","port":80},{"name":"old","nodePort":7,"port":20}]`, shut: `[{"name":"mine","port":1},{"name":"old","nodePort":7,"port":100}]`},
		"it shuts to none": {merge: `{"spec":{"ports":[]}}`, before: before, edit: `[{"name":"new","port":10},{"name":"old","port":90},{"name":"mine","port":1}]`,
			opened: `[{"name":"new","port":80},{"name":"old","port":20},{"name":"mine","port":1}]`, shut: `[{"name":"mine","port":1}]`},
		"it shuts to another element": {merge: `{"spec":{"ports":[{"name":"sorry","port":9}]}}`, before: before, edit: `[{"name":"mine","port":1},{"name":"new","port":10},{"name":"old","port":90}]`,
			opened: `[{"name":"mine","port":1},{"name":"new","port":80},{"name":"old","port":20}]`, shut: `[{"name":"mine","port":1},{"name":"sorry","port":9}]`},
		"an element removed": {merge: shut, before: before, edit: `[{"name":"old","port":90}]`, // it must shut all the same
			opened: `[{"name":"old","port":90}]`, fault: "another client changed the list at /spec/ports", shut: `[{"name":"new","port":0},{"name":"old","port":100}]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, mapper := newFakeCluster()
			shop := client.Resource(servicesResource).Namespace("sale")
			setPorts := func(ports string) {
				t.Helper()
				if _, err := shop.Patch(t.Context(), "shop", types.MergePatchType, []byte(`{"spec":{"ports":`+ports+`}}`), metav1.PatchOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			checkPorts := func(want string) {
				t.Helper()
				o, err := shop.Get(t.Context(), "shop", metav1.GetOptions{})
				if err != nil {
					t.Fatal(err)
				}
				ports, _, _ := unstructured.NestedSlice(o.Object, "spec", "ports")
				if got, _ := json.Marshal(ports); string(got) != sortJSONKeys(t, want) {
					t.Errorf("got  %s\nwant %s", got, want)
				}
			}
			setPorts(c.before)
			gate := newSteppedGate(open, 10, 80, 100)
			gate.Shut = []Action{{Patch: newShopPatch(c.merge)}}
			g := New(client, mapper, Options{Gates: map[string]Gate{"sale": gate}})
			changes, err := g.Record(t.Context(), "sale", "sale")
			if err == nil {
				err = g.Open(t.Context(), "sale", "sale", 10, changes)
			}
			if err != nil {
				t.Fatal(err)
			}
			if c.edit != "" {
				setPorts(c.edit)
			}
			if err := g.Open(t.Context(), "sale", "sale", 80, changes); (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
				t.Errorf("%v; want %q", err, c.fault)
			}
			checkPorts(c.opened)
			for range 2 { // an interrupted pass runs again
				if err := g.Shut(t.Context(), "sale", "sale", changes); err != nil {
					t.Error(err)
				}
				checkPorts(c.shut)
			}
		})
	}
}

// sortJSONKeys returns JSON as json.Marshal writes it.
func sortJSONKeys(t *testing.T, text string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	sorted, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(sorted)
}

// TestShutGatesRecordListsAlone: a gate with actions to shut it stores no value outside of its lists, opens where nothing can be stored, and shuts without the
// right to read its objects.
func TestShutGatesRecordListsAlone(t *testing.T) {
	t.Parallel()
	const merge = `{"metadata":{"annotations":{"secret":"1"}},"spec":{"ports":[{"name":"new","port":1}]}}`
	for name, c := range map[string]struct {
		merge   string
		forbids string // a verb
		changes int
	}{
		"lists":          {merge: merge, changes: 1},
		"no list":        {merge: `{"metadata":{"annotations":{"secret":"1"}}}`},
		"unrestorable":   {merge: `{"spec":{"selector":{"track":{"a":"b"}},"ports":[]}}`},
		"no right to it": {merge: merge, forbids: "get"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, mapper := newFakeCluster()
			client.PrependReactor("get", "services", func(kubetesting.Action) (bool, runtime.Object, error) {
				return c.forbids == "get", nil, apierrors.NewForbidden(servicesResource.GroupResource(), "shop", errors.New("no rule allows get"))
			})
			gate := newSteppedGate(c.merge)
			gate.Shut = []Action{{Patch: newShopPatch(`{"spec":{"ports":[{"name":"old","port":2}]}}`)}}
			g := New(client, mapper, Options{Gates: map[string]Gate{"sale": gate}})
			changes, err := g.Record(t.Context(), "sale", "sale")
			if err != nil || len(changes) != c.changes {
				t.Errorf("%+v, %v; want %d", changes, err, c.changes)
			}
			if err := g.Shut(t.Context(), "sale", "sale", changes); err != nil {
				t.Error(err)
			}
			if sent := client.Actions()[len(client.Actions())-1]; sent.GetVerb() != "patch" {
				t.Errorf("sent %v", sent)
			}
		})
	}
}
