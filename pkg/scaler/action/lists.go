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

// This file keeps the edits of other clients in the lists of a gate with a record: a merge patch alone replaces whole lists.

// sendActionMerge patches the object with the merge patch of a step.
func (p *Patch) sendActionMerge(ctx context.Context, objects dynamic.ResourceInterface, merge json.RawMessage, changes []Change) error {
	if len(changes) > 0 && strings.Contains(string(merge), "[") {
		object, err := objects.Get(ctx, p.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if merge, err = p.fillActionLists(object, merge, changes); err != nil {
			return err
		}
	}
	_, err := objects.Patch(ctx, p.Name, types.MergePatchType, merge, metav1.PatchOptions{FieldManager: FieldManager})
	return err
}

// fillActionLists returns the merge patch with the lists as they become. The API server rejects it if the object has changed meanwhile.
func (p *Patch) fillActionLists(object *unstructured.Unstructured, merge json.RawMessage, changes []Change) (json.RawMessage, error) {
	var pattern, filled map[string]any
	if err := errors.Join(json.Unmarshal(p.Merge, &pattern), json.Unmarshal(merge, &filled)); err != nil {
		return nil, fmt.Errorf("read the merge patch: %w", err)
	}
	l := listFiller{object.Object, changes}
	if err := l.fillActionObject("", object.Object, pattern, filled); err != nil {
		return nil, err
	}
	if err := unstructured.SetNestedField(filled, object.GetResourceVersion(), "metadata", "resourceVersion"); err != nil {
		return nil, fmt.Errorf("write the merge patch: %w", err)
	}
	return json.Marshal(filled)
}

// listFiller fills the lists of a merge patch from the object, by the record of what the gate changes.
type listFiller struct {
	object  map[string]any
	changes []Change
}

// fillActionObject replaces each list of a merge patch with the list as it becomes. The pattern is the merge patch with its placeholders.
func (l *listFiller) fillActionObject(path string, found, pattern, merge any) error {
	before, _ := found.(map[string]any)
	shape, _ := pattern.(map[string]any)
	fields, _ := merge.(map[string]any)
	for key, value := range fields {
		at := path + "/" + escapeActionPointer(key)
		list, isList := value.([]any)
		if !isList {
			if err := l.fillActionObject(at, before[key], shape[key], value); err != nil {
				return err
			}
			continue
		}
		filled, err := l.fillActionList(at, before[key], shape[key], list)
		if err != nil {
			return err
		}
		fields[key] = filled
	}
	return nil
}

// fillActionList returns a list as it becomes. The first step replaces the elements that were there, and keeps elements that were added at the end
// since. A later step changes only what its own elements set.
func (l *listFiller) fillActionList(path string, found, pattern any, merge []any) (any, error) {
	before, _ := found.([]any)
	isUnchanged, isWhole := true, false
	for _, c := range l.changes {
		if c.Path == path || strings.HasPrefix(c.Path, path+"/") {
			value, exists := lookUpActionPointer(l.object, c.Path)
			isUnchanged, isWhole = isUnchanged && equalActionValue(value, exists, c.Was), isWhole || c.Path == path
		}
	}
	switch {
	case isUnchanged && !isWhole && len(before) > len(merge):
		return slices.Concat(merge, before[len(merge):]), nil
	case isUnchanged:
		return merge, nil
	case matchesActionPattern(found, pattern):
		return overlayActionValue(found, merge), nil
	}
	return nil, fmt.Errorf("another client changed the list at %s, so that the elements of the gate are not found: put them back first in the list, or delete the hold", path)
}

// matchesActionPattern reports whether a value has all that a merge patch sets, whatever its placeholders become. A list may be longer.
func matchesActionPattern(found, pattern any) bool {
	switch pattern := pattern.(type) {
	case map[string]any:
		before, isObject := found.(map[string]any)
		for key, value := range pattern {
			if _, exists := before[key]; !exists && value == nil {
				continue
			}
			isObject = isObject && matchesActionPattern(before[key], value)
		}
		return isObject
	case []any:
		before, isList := found.([]any)
		if !isList || len(before) < len(pattern) {
			return false
		}
		for i := range pattern {
			if !matchesActionPattern(before[i], pattern[i]) {
				return false
			}
		}
		return true
	case string:
		if strings.Contains(pattern, percentPlaceholder) || strings.Contains(pattern, remainderPlaceholder) {
			return found != nil
		}
	}
	return equalActionValue(found, true, marshalActionValue(pattern, true))
}

// overlayActionValue returns a value with what a merge patch sets, at each depth of lists and objects.
func overlayActionValue(found, merge any) any {
	switch merge := merge.(type) {
	case map[string]any:
		if before, isObject := found.(map[string]any); isObject {
			all := maps.Clone(before)
			for key, value := range merge {
				all[key] = overlayActionValue(before[key], value)
			}
			return all
		}
	case []any:
		if before, isList := found.([]any); isList && len(before) >= len(merge) {
			all := slices.Clone(before)
			for i := range merge {
				all[i] = overlayActionValue(before[i], merge[i])
			}
			return all
		}
	}
	return merge
}
