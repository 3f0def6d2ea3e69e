// This file keeps the edits of other clients in the lists of a gate: a merge patch alone replaces whole lists.

package action

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

// fillList returns a list as it becomes: at a place of an object, from the list there, the gate's list with its placeholders, and the list of the
// merge patch.
type fillList func(object map[string]any, path string, found, pattern any, merge []any) (any, error)

// sendMergePatch patches the object with a merge patch, the lists of which fill completes; nil: they replace the lists of the object.
func (p *Patch) sendMergePatch(ctx context.Context, objects dynamic.ResourceInterface, merge json.RawMessage, fill fillList) error {
	if fill != nil && hasMergeLists(merge) {
		object, err := objects.Get(ctx, p.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if merge, err = p.fillMergeLists(object, merge, fill); err != nil {
			return err
		}
	}
	_, err := objects.Patch(ctx, p.Name, types.MergePatchType, merge, metav1.PatchOptions{FieldManager: FieldManager})
	return err
}

// hasMergeLists reports whether a merge patch may have lists.
func hasMergeLists(merge json.RawMessage) bool { return strings.Contains(string(merge), "[") }

// fillMergeLists returns the merge patch with the lists as they become. The API server rejects it if the object has changed meanwhile.
func (p *Patch) fillMergeLists(object *unstructured.Unstructured, merge json.RawMessage, fill fillList) (json.RawMessage, error) {
	var pattern, filled map[string]any
	if err := errors.Join(unmarshalExactly(p.Merge, &pattern), unmarshalExactly(merge, &filled)); err != nil {
		return nil, fmt.Errorf("read the merge patch: %w", err)
	}
	inObject := func(path string, found, pattern any, merge []any) (any, error) {
		return fill(object.Object, path, found, pattern, merge)
	}
	if err := fillMergeObject("", object.Object, pattern, filled, inObject); err != nil {
		return nil, err
	}
	if err := unstructured.SetNestedField(filled, object.GetResourceVersion(), "metadata", "resourceVersion"); err != nil {
		return nil, fmt.Errorf("write the merge patch: %w", err)
	}
	return json.Marshal(filled)
}

// fillMergeObject replaces each list of a merge patch with the list as it becomes. The pattern is the merge patch with its placeholders.
func fillMergeObject(path string, found, pattern, merge any, fill func(path string, found, pattern any, merge []any) (any, error)) error {
	before, _ := found.(map[string]any)
	shape, _ := pattern.(map[string]any)
	fields, _ := merge.(map[string]any)
	for key, value := range fields {
		at := path + "/" + escapeJSONPointerKey(key)
		list, isList := value.([]any)
		if !isList {
			if err := fillMergeObject(at, before[key], shape[key], value, fill); err != nil {
				return err
			}
			continue
		}
		filled, err := fill(at, before[key], shape[key], list)
		if err != nil {
			return err
		}
		fields[key] = filled
	}
	return nil
}

// fillOpenGateLists returns the fillList of a gate's steps, by the record of the gate's changes; nil: without a record, a step replaces whole lists. The
// first step replaces the elements that were there, and keeps elements that were added at the end since. A later step changes only what its own
// elements set.
func fillOpenGateLists(changes []Change) fillList {
	if len(changes) == 0 {
		return nil
	}
	return func(object map[string]any, path string, found, pattern any, merge []any) (any, error) {
		before, _ := found.([]any)
		isRecorded, isUnchanged, isWhole := false, true, false
		for _, c := range changes {
			if c.Path == path || strings.HasPrefix(c.Path, path+"/") {
				value, exists := lookUpJSONPointer(object, c.Path)
				isRecorded, isUnchanged, isWhole = true, isUnchanged && equalRecordedValue(value, exists, c.Was), isWhole || c.Path == path
			}
		}
		own, _ := pattern.([]any)
		switch at := placePatchedElements(before, own); {
		case !isRecorded:
			return merge, nil
		case isUnchanged && !isWhole && len(before) > len(merge):
			return slices.Concat(merge, before[len(merge):]), nil
		case isUnchanged:
			return merge, nil
		case !slices.Contains(at, -1):
			return overlayPatchedElements(before, at, own, merge), nil
		}
		return nil, fmt.Errorf("another client changed the list at %s, so that the elements of the gate are not found: put them back, or delete the hold", path)
	}
}

// fillShutGateLists returns the fillList of the patches that shut a gate: they replace the elements of the gate, and keep those of other clients. A list with
// none of them is replaced as a whole.
func (g Gate) fillShutGateLists(p *Patch, namespace string) fillList {
	return func(_ map[string]any, path string, found, _ any, merge []any) (any, error) {
		before, isList := found.([]any)
		own := g.findOpenGateList(p, namespace, path)
		at, to := placePatchedElements(before, own), placePatchedElements(before, merge)
		isThere := func(place int) bool { return place >= 0 }
		switch {
		case !isList || len(own) == 0:
		case !slices.Contains(to, -1): // all elements are there; the elements that the gate alone has go
			at = slices.DeleteFunc(at, func(place int) bool { return slices.Contains(to, place) })
			return replacePatchedElements(overlayPatchedElements(before, to, merge, merge), at, nil), nil
		case slices.ContainsFunc(at, isThere) || slices.ContainsFunc(to, isThere):
			return replacePatchedElements(before, append(at, to...), merge), nil
		}
		return merge, nil
	}
}

// findOpenGateList returns the list that opens the gate at a place of a patch's object; nil: the gate sets none there.
func (g Gate) findOpenGateList(p *Patch, namespace, path string) []any {
	object := resolveGateActions(namespace, []Action{{Patch: p}})[0].patchedObjectID()
	for _, a := range resolveGateActions(namespace, g.Open) {
		if list, found := lookUpJSONPointer(a.Merge, path); found && a.patchedObjectID() == object {
			own, _ := list.([]any)
			return own
		}
	}
	return nil
}

// placePatchedElements returns the index of each element of a gate's list in a list of an object; -1: it is not there, or more than one may be it. An element
// has all that the gate's sets, or else its name. Other clients may have moved it.
func placePatchedElements(found, own []any) []int {
	places := make([]int, len(own))
	for i, element := range own {
		var alike, namesakes []int
		for j := range found {
			switch {
			case slices.Contains(places[:i], j):
			case matchesMergePattern(found[j], element):
				alike = append(alike, j)
			case isElementNamesake(found[j], element):
				namesakes = append(namesakes, j)
			}
		}
		if len(alike) == 0 {
			alike = namesakes
		}
		switch {
		case slices.Contains(alike, i):
			places[i] = i
		case len(alike) == 1:
			places[i] = alike[0]
		default:
			places[i] = -1
		}
	}
	return places
}

// isElementNamesake reports whether an element of a list has the name of a gate's element, by which most lists of the API tell their elements.
func isElementNamesake(found, element any) bool {
	there, _ := found.(map[string]any)
	own, _ := element.(map[string]any)
	name, _ := own["name"].(string)
	return name != "" && there["name"] == name && !strings.Contains(name, placeholderStart)
}

// overlayPatchedElements returns a list after a merge patch of its elements at places.
func overlayPatchedElements(found []any, at []int, pattern, merge []any) []any {
	all := slices.Clone(found)
	for i, place := range at {
		all[place] = overlayMergeValue(found[place], pattern[i], merge[i])
	}
	return all
}

// replacePatchedElements returns a list with other elements in the given places.
func replacePatchedElements(found []any, at []int, with []any) []any {
	all := []any{}
	for i := range found {
		if !slices.Contains(at, i) {
			all = append(all, found[i])
			continue
		}
		all, with = append(all, with...), nil
	}
	return all
}

// matchesMergePattern reports whether a value has all that a merge patch sets, for any values of its placeholders. A list may have more elements, in any
// order.
func matchesMergePattern(found, pattern any) bool {
	switch pattern := pattern.(type) {
	case map[string]any:
		before, isObject := found.(map[string]any)
		for key, value := range pattern {
			if _, exists := before[key]; !exists && value == nil {
				continue
			}
			isObject = isObject && matchesMergePattern(before[key], value)
		}
		return isObject
	case []any:
		before, isList := found.([]any)
		for i, place := range placePatchedElements(before, pattern) {
			isList = isList && place >= 0 && matchesMergePattern(before[place], pattern[i])
		}
		return isList
	case string:
		if strings.Contains(pattern, percentPlaceholder) || strings.Contains(pattern, remainderPlaceholder) {
			return found != nil
		}
	}
	return equalRecordedValue(found, true, marshalRecordedValue(pattern, true))
}

// overlayMergeValue returns a value after a merge patch, at each depth of lists and objects. The pattern is the merge patch with its
// placeholders.
func overlayMergeValue(found, pattern, merge any) any {
	switch merge := merge.(type) {
	case map[string]any:
		shape, _ := pattern.(map[string]any)
		if before, isObject := found.(map[string]any); isObject {
			all := maps.Clone(before)
			for key, value := range merge {
				all[key] = overlayMergeValue(before[key], shape[key], value)
			}
			return all
		}
	case []any:
		before, _ := found.([]any)
		own, _ := pattern.([]any)
		if at := placePatchedElements(before, own); len(own) == len(merge) && !slices.Contains(at, -1) {
			return overlayPatchedElements(before, at, own, merge)
		}
	}
	return merge
}
