package action

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// This file finds gates that change the same places. Gates with the same actions in one namespace are one gate under several names; any other two
// would shut such a place for each other.

// resolvedAction is an action with all that it depends on.
type resolvedAction struct {
	Webhook, APIVersion, Kind, Namespace, Name string
	Merge                                      any
}

// resolveGateActions returns the actions for the holds of a namespace.
func resolveGateActions(namespace string, actions []Action) (all []resolvedAction) {
	for _, a := range actions {
		next := resolvedAction{Webhook: a.Webhook}
		if p := a.Patch; p != nil {
			next.APIVersion, next.Kind, next.Namespace, next.Name = p.APIVersion, p.Kind, p.namespaceFor(namespace), p.Name
			_ = json.Unmarshal(p.Merge, &next.Merge) // nil: an invalid patch changes nothing
		}
		all = append(all, next)
	}
	return all
}

// namespaceFor returns the namespace of the patch's object for the holds of a namespace.
func (p *Patch) namespaceFor(namespace string) string {
	if p.Namespace != "" {
		return p.Namespace
	}
	return namespace
}

// Key identifies the actions of a gate for the holds of a namespace: gates with the same key are one gate. Empty: the gate does not exist.
func (r *Runner) Key(namespace, gate string) string {
	g, ok := r.gates[gate]
	if !ok {
		return ""
	}
	text, err := json.Marshal([][]resolvedAction{resolveGateActions(namespace, g.Open), resolveGateActions(namespace, g.Shut)})
	if err != nil {
		return gate
	}
	return string(text)
}

// DescribeConflict returns the place that two gates change in different ways, or for holds of different namespaces, which do not know of each other;
// empty: the gates may be open at the same time.
func DescribeConflict(a, b Gate) string {
	for _, ns := range a.Namespaces {
		for _, other := range b.Namespaces {
			openA, openB := resolveGateActions(ns, a.Open), resolveGateActions(other, b.Open)
			shutA, shutB := resolveGateActions(ns, a.Shut), resolveGateActions(other, b.Shut)
			if ns == other && reflect.DeepEqual(openA, openB) && reflect.DeepEqual(shutA, shutB) {
				continue
			}
			if place := findCommonPlace(slices.Concat(openA, shutA), slices.Concat(openB, shutB)); place != "" {
				return place
			}
		}
	}
	return ""
}

// findCommonPlace returns the first place that actions of both lists patch; empty: there is none.
func findCommonPlace(a, b []resolvedAction) string {
	for _, x := range a {
		for _, y := range b {
			if x.Webhook != "" || y.Webhook != "" || !x.isSameObject(y) {
				continue
			}
			for _, p := range listMergePlaces("", x.Merge) {
				for _, q := range listMergePlaces("", y.Merge) {
					if p == q || strings.HasPrefix(p, q+"/") || strings.HasPrefix(q, p+"/") {
						return fmt.Sprintf("%s %s/%s at %s", x.Kind, x.Namespace, x.Name, max(p, q))
					}
				}
			}
		}
	}
	return ""
}

// isSameObject reports whether two patches are of one object; versions of one group are the same object.
func (a resolvedAction) isSameObject(b resolvedAction) bool {
	group := func(apiVersion string) string { return schema.FromAPIVersionAndKind(apiVersion, "").Group }
	return a.Kind == b.Kind && a.Namespace == b.Namespace && a.Name == b.Name && group(a.APIVersion) == group(b.APIVersion)
}

// listMergePlaces lists the places that a merge patch replaces, as JSON pointers.
func listMergePlaces(path string, merge any) (all []string) {
	object, ok := merge.(map[string]any)
	if !ok || len(object) == 0 {
		return []string{path}
	}
	for key, value := range object {
		all = append(all, listMergePlaces(path+"/"+escapeActionPointer(key), value)...)
	}
	slices.Sort(all)
	return all
}
