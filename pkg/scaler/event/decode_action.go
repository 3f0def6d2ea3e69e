package event

import (
	"encoding/json"

	"go.yaml.in/yaml/v3"

	"tachometer/pkg/scaler/gate"
	"tachometer/pkg/strict"
)

// maxActions is more than a person looks through.
const maxActions = 32

func (d *decoder) actions(path string, n *yaml.Node) []gate.Action {
	var all []gate.Action
	d.Sequence(path, n, func(path string, n *yaml.Node) { all = append(all, d.action(path, n)) })
	if len(all) > maxActions {
		d.Fault(path, n.Line, "has %d elements; up to %d are taken", len(all), maxActions)
	}
	return all
}

func (d *decoder) action(path string, n *yaml.Node) gate.Action {
	var a gate.Action
	d.Mapping(path, n, map[string]strict.Field{
		"patch":   func(path string, n *yaml.Node) { a.Patch = d.patch(path, n) },
		"webhook": d.Text(&a.Webhook),
	})
	if d.Given(path+".patch") == d.Given(path+".webhook") {
		d.Wrong(path, "say one of patch and webhook")
	}
	return a
}

func (d *decoder) patch(path string, n *yaml.Node) *gate.Patch {
	var p gate.Patch
	d.Mapping(path, n, map[string]strict.Field{
		"apiVersion": d.Text(&p.APIVersion),
		"kind":       d.Text(&p.Kind),
		"namespace":  d.matching(&p.Namespace, name, nameForm),
		"name":       d.Text(&p.Name),
		"merge":      func(path string, n *yaml.Node) { p.Merge = d.merge(path, n) },
	})
	d.required(path, "apiVersion", "kind", "name", "merge")
	return &p
}

// merge is YAML that JSON can say.
func (d *decoder) merge(path string, n *yaml.Node) json.RawMessage {
	if n.Kind != yaml.MappingNode {
		d.Fault(path, n.Line, "must be a mapping, what is merged into the object, not %s", strict.Describe(n))
		return nil
	}
	var v map[string]any
	err := n.Decode(&v)
	if err == nil {
		var data []byte
		if data, err = json.Marshal(v); err == nil {
			return data
		}
	}
	d.Fault(path, n.Line, "is no JSON: %s", strict.Shorten(err.Error()))
	return nil
}
