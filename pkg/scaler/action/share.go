package action

import (
	"encoding/json"
	"fmt"
	"maps"
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
	return g.actionsKey(namespace)
}

// actionsKey returns a text of all that the gate's actions do for the holds of a namespace.
func (g Gate) actionsKey(namespace string) string {
	text, err := json.Marshal([][]resolvedAction{resolveGateActions(namespace, g.Open), resolveGateActions(namespace, g.Shut)})
	if err != nil {
		return fmt.Sprintf("%p", g.Open) // no other gate: JSON that was decoded can be encoded
	}
	return string(text)
}

// Conflict is a place that two gates change in different ways, or for holds of different namespaces, which do not know of each other.
type Conflict struct {
	Gate, Earlier string // in the order of their names
	Place         string
}

// patchedPlaces are the places of one object that a gate changes for the holds of a namespace.
type patchedPlaces struct {
	gate, namespace, key string // key of the gate's actions
	object               string // for people
	places               []string
}

// FindConflicts returns a conflict of each gate that would shut a place of an earlier one.
func FindConflicts(gates map[string]Gate) (all []Conflict) {
	byObject := map[string][]patchedPlaces{}
	for _, name := range slices.Sorted(maps.Keys(gates)) {
		g := gates[name]
		for _, namespace := range g.Namespaces {
			key := g.actionsKey(namespace)
			for _, a := range resolveGateActions(namespace, slices.Concat(g.Open, g.Shut)) {
				if a.Webhook == "" {
					id := a.objectID()
					byObject[id] = append(byObject[id], patchedPlaces{name, namespace, key, fmt.Sprintf("%s %s/%s", a.Kind, a.Namespace, a.Name), listMergePlaces("", a.Merge)})
				}
			}
		}
	}
	found := map[string]bool{}
	for _, id := range slices.Sorted(maps.Keys(byObject)) {
		for i, later := range byObject[id] {
			for _, earlier := range byObject[id][:i] {
				if found[later.gate] {
					break
				}
				if place := later.findCommonPlace(earlier); place != "" {
					found[later.gate] = true
					all = append(all, Conflict{later.gate, earlier.gate, place})
				}
			}
		}
	}
	return all
}

// findCommonPlace returns the first place that both gates change, if they conflict; empty: they do not.
func (p patchedPlaces) findCommonPlace(other patchedPlaces) string {
	if p.gate == other.gate || p.namespace == other.namespace && p.key == other.key {
		return ""
	}
	for _, x := range p.places {
		for _, y := range other.places {
			if x == y || strings.HasPrefix(x, y+"/") || strings.HasPrefix(y, x+"/") {
				return p.object + " at " + max(x, y)
			}
		}
	}
	return ""
}

// objectID identifies the object of a patch; versions of one group are the same object.
func (a resolvedAction) objectID() string {
	return strings.Join([]string{schema.FromAPIVersionAndKind(a.APIVersion, "").Group, a.Kind, a.Namespace, a.Name}, "|")
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
