package action

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

func decodeActionsYAML(data string) ([]Action, error) {
	d := strict.NewDecoder()
	root := d.ParseDocument([]byte(data))
	if root == nil {
		return nil, d.Faults.Err()
	}
	all := Decode(d, "onSuccess", root)
	return all, d.Faults.Err()
}

const validActionsYAML = `
- patch: {apiVersion: v1, kind: Service, namespace: sale, name: shop, merge: {spec: {selector: {track: new, old: null}}}}
- webhook: open
`

func TestDecode(t *testing.T) {
	t.Parallel()
	got, err := decodeActionsYAML(validActionsYAML)
	if err != nil {
		t.Fatal(err)
	}
	want := []Action{{Patch: &Patch{
		APIVersion: "v1", Kind: "Service", Namespace: "sale", Name: "shop",
		Merge: json.RawMessage(`{"spec":{"selector":{"old":null,"track":"new"}}}`),
	}}, {Webhook: "open"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDecodeFaults(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]string{
		"{}":                        "onSuccess: must be a list",
		"[{}]":                      "onSuccess[0]: must have either patch or webhook",
		"[{webhook: a, patch: {}}]": "onSuccess[0]: must have either patch or webhook",
		"[{patch: {}}]":             "onSuccess[0].patch.merge: required",
		"[{patch: {apiVersion: v1, kind: A, name: a, namespace: A_, merge: {a: 1}}}]": "onSuccess[0].patch.namespace: must be lower-case",
		"[{patch: {apiVersion: v1, kind: A, name: a, merge: [a]}}]":                   "onSuccess[0].patch.merge: must be a mapping",
		"[{patch: {apiVersion: v1, kind: A, name: a, merge: {a: .nan}}}]":             "onSuccess[0].patch.merge: is not valid as JSON",
		"[{webhook: 'https://a/hush'}]":                                               "onSuccess[0].webhook: a webhook is a name in the configuration",
		"[{webhok: a}]":                                                               "unknown key",
		"[" + strings.Repeat("{webhook: a},", 33) + "]":                               "has 33 elements; the maximum is 32",
	} {
		if _, err := decodeActionsYAML(data); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: got %v, want %s", data, err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(validActionsYAML)
	f.Add("[{webhook: a}]")
	f.Add("[{patch: {apiVersion: v1, kind: A, name: a, merge: {a: .nan}}}]")
	f.Fuzz(func(t *testing.T, data string) {
		all, err := decodeActionsYAML(data)
		if err != nil {
			return
		}
		for _, a := range all { // an accepted action is complete, and can be stored in an annotation
			if (a.Patch == nil) == (a.Webhook == "") {
				t.Errorf("took %+v", a)
			}
			if _, err := json.Marshal(a); err != nil {
				t.Errorf("cannot be kept: %v", err)
			}
		}
	})
}
