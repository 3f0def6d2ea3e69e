// This file records the changes of patches, and takes them back.

package action

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utiljson "k8s.io/apimachinery/pkg/util/json"
)

// maxRecordBytes bounds the record of a gate: it is a part of a Hold's status.
const maxRecordBytes = 32 << 10

// errUnrestorable marks a gate with patches that cannot be taken back.
var errUnrestorable = errors.New("give it actions to shut it")

// Record returns the coming changes of the gate's patches, to be stored before they are made. Of a gate with actions to shut it, these are the lists alone: its steps
// keep other clients' changes there. If they cannot be recorded, the steps replace them.
func (r *Runner) Record(ctx context.Context, namespace, gate string) ([]Change, error) {
	if fault := r.Fault(namespace, gate); fault != "" {
		return nil, errors.New(fault)
	}
	isShut := len(r.gates[gate].Shut) > 0
	all, err := r.recordGatePatches(ctx, namespace, gate)
	if isShut && (errors.Is(err, errUnrestorable) || apierrors.IsForbidden(err) || isPatchedObjectGone(err)) {
		return nil, nil
	}
	return all, err
}

// recordGatePatches returns the coming changes of a gate's patches.
func (r *Runner) recordGatePatches(ctx context.Context, namespace, gate string) ([]Change, error) {
	g := r.gates[gate]
	isShut := len(g.Shut) > 0
	var all []Change
	for _, a := range g.Open {
		if a.Patch == nil || isShut && !hasMergeLists(a.Patch.Merge) {
			continue
		}
		changes, err := r.recordPatchChanges(ctx, namespace, g, a.Patch)
		if err != nil {
			return nil, fmt.Errorf("read %s %s: %w", a.Patch.Kind, a.Patch.Name, err)
		}
		for i := range changes {
			changes[i].Gate = gate
		}
		if isShut {
			pattern := a.Patch.decodeMergePattern()
			changes = slices.DeleteFunc(changes, func(c Change) bool { return !isPatchedListPlace(pattern, c.Path) })
		}
		all = append(all, changes...)
	}
	if text, err := json.Marshal(all); err != nil || len(text) > maxRecordBytes {
		return nil, fmt.Errorf("gate %s changes %d bytes of objects; the maximum is %d: %w", gate, len(text), maxRecordBytes, errUnrestorable)
	}
	return all, nil
}

// recordPatchChanges returns the changes that a patch will make in its object.
func (r *Runner) recordPatchChanges(ctx context.Context, namespace string, g Gate, p *Patch) ([]Change, error) {
	namespace = p.patchedNamespace(namespace)
	objects, err := r.resolveGatePatchClient(p, namespace)
	if err != nil {
		return nil, err
	}
	object, err := objects.Get(ctx, p.Name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	places := map[string]*Change{}
	for _, percent := range g.Percentages() {
		text, err := p.RenderMerge(percent)
		if err != nil {
			return nil, err
		}
		var merge any
		if err := unmarshalExactly(text, &merge); err != nil {
			return nil, fmt.Errorf("read the merge patch: %w", err)
		}
		listMergeChanges("", object.Object, true, merge, func(path, was, set string) {
			if places[path] == nil {
				places[path] = &Change{APIVersion: p.APIVersion, Kind: p.Kind, Namespace: object.GetNamespace(), Name: p.Name, Path: path, Was: was}
			}
			if c := places[path]; !slices.Contains(c.Set, set) {
				c.Set = append(c.Set, set)
			}
		})
	}
	var all []Change
	pattern := p.decodeMergePattern()
	for _, path := range slices.Sorted(maps.Keys(places)) {
		if !p.isGatePatchOf(*places[path], namespace, pattern) {
			return nil, fmt.Errorf("the patch makes an object of the value at %s, which the gate cannot restore: %w", path, errUnrestorable)
		}
		all = append(all, *places[path])
	}
	return all, nil
}

// emptyObject is what a change sets at the place of an object that the patch makes: what it has is in the changes below.
const emptyObject = "{}"

// MakesObject reports whether the change is of an object that a patch makes around its values.
func (c *Change) MakesObject() bool {
	return c.Was == "" && !slices.ContainsFunc(c.Set, func(set string) bool { return set != emptyObject })
}

// listMergeChanges calls each for the places that a merge patch sets. A list of the same length is changed element by element, so that
// restoring it keeps other changes of the list.
func listMergeChanges(path string, was any, exists bool, merge any, each func(path, was, set string)) {
	switch merge := merge.(type) {
	case map[string]any:
		before, isObject := was.(map[string]any)
		if exists && !isObject {
			break
		}
		if !exists {
			each(path, "", emptyObject)
		}
		for key, value := range merge {
			old, found := before[key]
			listMergeChanges(path+"/"+escapeJSONPointerKey(key), old, found, value, each)
		}
		return
	case []any:
		before, isList := was.([]any)
		if !isList || len(before) != len(merge) {
			break
		}
		for i := range merge {
			if !isJSONObject(before[i]) || !isJSONObject(merge[i]) {
				each(path+"/"+strconv.Itoa(i), marshalRecordedValue(before[i], true), marshalRecordedValue(merge[i], true))
				continue
			}
			listPatchedElementChanges(path+"/"+strconv.Itoa(i), before[i].(map[string]any), merge[i].(map[string]any), each)
		}
		return
	}
	each(path, marshalRecordedValue(was, exists), marshalRecordedValue(merge, merge != nil))
}

// listPatchedElementChanges calls each for the places of a list's element that a merge patch replaces: keys that the patch lacks go.
func listPatchedElementChanges(path string, was, set map[string]any, each func(path, was, set string)) {
	for key, value := range set {
		old, found := was[key]
		listMergeChanges(path+"/"+escapeJSONPointerKey(key), old, found, value, each)
	}
	for key, old := range was {
		if _, kept := set[key]; !kept {
			each(path+"/"+escapeJSONPointerKey(key), marshalRecordedValue(old, true), "")
		}
	}
}

func isJSONObject(v any) bool { _, ok := v.(map[string]any); return ok }

// marshalRecordedValue returns a value as JSON; empty if it does not exist.
func marshalRecordedValue(v any, exists bool) string {
	text, err := json.Marshal(v)
	if err != nil || !exists {
		return ""
	}
	return string(text)
}

// unmarshalExactly decodes JSON as the clients of the API do: whole numbers of 64 bits keep their digits.
func unmarshalExactly(text []byte, to any) error { return utiljson.Unmarshal(text, to) }

var actionPointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

func escapeJSONPointerKey(key string) string { return actionPointerEscapes.Replace(key) }

func unescapeJSONPointerKey(token string) string {
	return strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
}

// lookUpJSONPointer returns the value at a JSON pointer, and whether it exists.
func lookUpJSONPointer(v any, path string) (any, bool) {
	for _, token := range strings.Split(path, "/")[1:] {
		token = unescapeJSONPointerKey(token)
		switch at := v.(type) {
		case map[string]any:
			next, found := at[token]
			if !found {
				return nil, false
			}
			v = next
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(at) {
				return nil, false
			}
			v = at[i]
		default:
			return nil, false
		}
	}
	return v, true
}

// restoreGateChanges takes back a gate's changes, where no other client has changed the same since.
func (r *Runner) restoreGateChanges(ctx context.Context, namespace, gate string, changes []Change) error {
	for _, a := range slices.Backward(r.gates[gate].Open) {
		if a.Patch == nil {
			continue
		}
		own := a.Patch.selectPatchChanges(namespace, selectGateChanges(gate, changes))
		if err := r.restorePatchedObject(ctx, namespace, a.Patch, own); err != nil && !isPatchedObjectGone(err) { // gone with all that was changed
			return fmt.Errorf("restore %s %s: %w", a.Patch.Kind, a.Patch.Name, err)
		}
	}
	return nil
}

func selectGateChanges(gate string, changes []Change) (own []Change) {
	for _, c := range changes {
		if c.Gate == gate {
			own = append(own, c)
		}
	}
	return own
}

// selectPatchChanges returns the changes of a gate that the patch makes.
func (p *Patch) selectPatchChanges(namespace string, changes []Change) (own []Change) {
	pattern := p.decodeMergePattern()
	for _, c := range changes {
		if p.isGatePatchOf(c, namespace, pattern) {
			own = append(own, c)
		}
	}
	return own
}

// decodeMergePattern returns the merge patch with its placeholders; nil if it is not valid JSON.
func (p *Patch) decodeMergePattern() (pattern any) {
	if unmarshalExactly(p.Merge, &pattern) != nil {
		return nil
	}
	return pattern
}

// isGatePatchOf reports whether the patch itself, decoded as pattern, can make the change: a record is no order to patch anything else.
func (p *Patch) isGatePatchOf(c Change, namespace string, pattern any) bool {
	namespace = p.patchedNamespace(namespace)
	if c.APIVersion != p.APIVersion || c.Kind != p.Kind || c.Name != p.Name || c.Namespace != "" && c.Namespace != namespace || !strings.HasPrefix(c.Path, "/") {
		return false
	}
	tokens := strings.Split(c.Path, "/")
	for i := 2; i <= len(tokens); i++ {
		v, found := lookUpJSONPointer(pattern, strings.Join(tokens[:i], "/"))
		if !found || !isJSONObject(v) { // a value or a list: the patch replaces it, and all below
			return found
		}
	}
	return c.MakesObject()
}

// isPatchedListPlace reports whether a place is a list of the pattern, or in one.
func isPatchedListPlace(pattern any, path string) bool {
	tokens := strings.Split(path, "/")
	for i := 2; i <= len(tokens); i++ {
		v, _ := lookUpJSONPointer(pattern, strings.Join(tokens[:i], "/"))
		if _, isList := v.([]any); isList {
			return true
		}
	}
	return false
}

// restorePatchedObject takes back the changes of a patch in its object. Each value is tested in the same request.
func (r *Runner) restorePatchedObject(ctx context.Context, namespace string, p *Patch, changes []Change) error {
	if len(changes) == 0 {
		return nil
	}
	objects, err := r.resolveGatePatchClient(p, p.patchedNamespace(namespace))
	if err != nil {
		return err
	}
	object, err := objects.Get(ctx, p.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	operations := newRestoreOperations(object.Object, p.decodeMergePattern(), changes)
	if len(operations) == 0 {
		return nil
	}
	text, err := json.Marshal(operations)
	if err != nil {
		return fmt.Errorf("write the patch: %w", err)
	}
	_, err = objects.Patch(ctx, p.Name, types.JSONPatchType, text, metav1.PatchOptions{FieldManager: FieldManager})
	return err
}

// actionOperation is an operation of a JSON patch (RFC 6902).
type actionOperation struct {
	Op    string          `json:"op"`
	Path  string          `json:"path"`
	Value json.RawMessage `json:"value,omitempty"`
}

// newRestoreOperations returns the operations that give back the changes of a merge patch. A value that the gate did not set is another client's,
// and stays.
func newRestoreOperations(object map[string]any, pattern any, changes []Change) (all []actionOperation) {
	made, changing := map[string]bool{}, runtime.DeepCopyJSON(object)
	for _, c := range slices.Backward(changes) { // what is in an object before the object
		var isThere bool
		if c.Path, isThere = locateRestoredPlace(object, pattern, c.Path, changes); !isThere {
			continue
		}
		found, exists := lookUpJSONPointer(changing, c.Path)
		was, isOwn := c.findRestoredValue(found, exists)
		if !isOwn || equalRecordedValue(found, exists, was) {
			continue
		}
		if was == "" {
			removeAtPointer(changing, c.Path)
		}
		if exists {
			all = append(all, actionOperation{"test", c.Path, json.RawMessage(marshalRecordedValue(found, true))})
		}
		switch {
		case was == "":
			all = append(all, actionOperation{Op: "remove", Path: c.Path})
		case exists:
			all = append(all, actionOperation{"replace", c.Path, json.RawMessage(was)})
		default:
			all = append(all, newParentOperations(object, c.Path, made)...)
			all = append(all, actionOperation{"add", c.Path, json.RawMessage(was)})
		}
	}
	return all
}

// removeAtPointer removes a field of an object at a JSON pointer.
func removeAtPointer(object map[string]any, path string) {
	at := strings.LastIndex(path, "/")
	parent, _ := lookUpJSONPointer(object, path[:at])
	if fields, isObject := parent.(map[string]any); isObject {
		delete(fields, unescapeJSONPointerKey(path[at+1:]))
	}
}

// newParentOperations returns the operations that make the objects above a place, once each: the API server drops an object without fields. The version of
// the whole object is tested, because they would replace an object that another client has just made.
func newParentOperations(object map[string]any, path string, made map[string]bool) (all []actionOperation) {
	tokens := strings.Split(path, "/")
	for i := 2; i < len(tokens); i++ {
		parent := strings.Join(tokens[:i], "/")
		if _, exists := lookUpJSONPointer(object, parent); exists || made[parent] {
			continue
		}
		if version, exists := lookUpJSONPointer(object, versionPath); exists && len(made) == 0 {
			all = append(all, actionOperation{"test", versionPath, json.RawMessage(marshalRecordedValue(version, true))})
		}
		made[parent] = true
		all = append(all, actionOperation{"add", parent, json.RawMessage("{}")})
	}
	return all
}

// versionPath is the place of an object's version.
const versionPath = "/metadata/resourceVersion"

// locateRestoredPlace returns where a recorded place is now: other clients may have moved the elements of its lists. false: its element is gone.
func locateRestoredPlace(object, pattern any, path string, changes []Change) (string, bool) {
	recorded := strings.Split(path, "/")[1:]
	tokens := slices.Clone(recorded)
	for n, token := range recorded {
		token = unescapeJSONPointerKey(token)
		switch own := pattern.(type) {
		case map[string]any:
			before, _ := object.(map[string]any)
			object, pattern = before[token], own[token]
		case []any:
			found, _ := object.([]any)
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(own) {
				return "", false
			}
			place := placePatchedElements(found, own)[i]
			if len(found) == len(own) && (place < 0 || isRestoredList(found, "/"+strings.Join(recorded[:n], "/"), changes)) { // -1: its own values changed
				place = i
			}
			if place < 0 {
				return "", false
			}
			tokens[n] = strconv.Itoa(place)
			object, pattern = found[place], own[i]
		}
	}
	return "/" + strings.Join(tokens, "/"), true
}

// isRestoredList reports whether a list at a recorded place has its elements from before the gate: an interrupted pass has restored it. An element of the
// gate may look like another element of that time. Other clients may have changed a part since, but no element as a whole and no name.
func isRestoredList(list []any, path string, changes []Change) bool {
	var names, kept, changed int
	for _, c := range changes {
		place, isBelow := strings.CutPrefix(c.Path, path)
		if !isBelow || !strings.HasPrefix(place, "/") {
			continue
		}
		value, exists := lookUpJSONPointer(list, place)
		_, field, isField := strings.Cut(place[1:], "/")
		switch isWas := equalRecordedValue(value, exists, c.Was); {
		case !isField || field == "name":
			if names++; !isWas {
				return false
			}
		case isWas:
			kept++
		default:
			changed++
		}
	}
	return changed == 0 || names > 0 && kept > 0
}

// findRestoredValue returns the restored value of a place, and whether its value is the gate's. The API server may have added defaults to a list of the gate, and
// other clients elements at its end, which stay.
func (c *Change) findRestoredValue(found any, exists bool) (was string, isOwn bool) {
	if slices.ContainsFunc(c.Set, func(set string) bool { return equalRecordedValue(found, exists, set) }) {
		return c.Was, true
	}
	var before []any
	list, isList := found.([]any)
	isOther := c.Was != "" && unmarshalExactly([]byte(c.Was), &before) != nil // no list
	if !isList || isOther || len(before) > 0 && len(before) <= len(list) && matchesMergePattern(list[:len(before)], before) {
		return "", false
	}
	for _, set := range c.Set {
		var own []any
		if unmarshalExactly([]byte(set), &own) != nil || len(own) == 0 || !matchesMergePattern(list, own) {
			continue
		}
		if len(list) == len(own) {
			return c.Was, true
		}
		return marshalRecordedValue(replacePatchedElements(list, placePatchedElements(list, own), before), true), true
	}
	return "", false
}

// equalRecordedValue reports whether a value of an object is the recorded one.
func equalRecordedValue(found any, exists bool, recorded string) bool {
	if !exists || recorded == "" {
		return !exists && recorded == ""
	}
	var want, got any
	return unmarshalExactly([]byte(recorded), &want) == nil && unmarshalExactly([]byte(marshalRecordedValue(found, true)), &got) == nil && reflect.DeepEqual(want, got)
}
