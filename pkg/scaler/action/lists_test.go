package action

import (
	"encoding/json"
	"strings"
	"testing"
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
			opened: `[{"name":"mine","port":1},{"name":"old","port":90},{"name":"new","port":10}]`, fault: "another client changed the list at /spec/ports"},
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
		"another client's":            {`["a"]`, `["b","c"]`, `["c","b"]`, ``},
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
