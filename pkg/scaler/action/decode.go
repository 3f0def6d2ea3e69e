package action

import (
	"encoding/json"
	"regexp"

	"go.yaml.in/yaml/v3"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// maxActions is more than a person looks through.
const maxActions = 32

// Decode reads a list of actions. Everything wrong with it becomes a fault of d; then it is of use for nothing but finding
// more. Names of webhooks are the caller's to look up.
func Decode(d *strict.Decoder, path string, n *yaml.Node) []Action {
	var all []Action
	d.Sequence(path, n, func(path string, n *yaml.Node) { all = append(all, decodeAction(d, path, n)) })
	if len(all) > maxActions {
		d.Fault(path, n.Line, "has %d elements; up to %d are taken", len(all), maxActions)
	}
	return all
}

func decodeAction(d *strict.Decoder, path string, n *yaml.Node) Action {
	var a Action
	d.Mapping(path, n, map[string]strict.Field{
		"patch":   func(path string, n *yaml.Node) { a.Patch = decodePatch(d, path, n) },
		"webhook": d.Text(&a.Webhook),
	})
	if d.Given(path+".patch") == d.Given(path+".webhook") {
		d.Wrong(path, "say one of patch and webhook")
	}
	if isWebhookURL(a.Webhook) {
		d.Wrong(path+".webhook", "%s", secretURLMessage)
	}
	return a
}

func decodePatch(d *strict.Decoder, path string, n *yaml.Node) *Patch {
	var p Patch
	d.Mapping(path, n, map[string]strict.Field{
		"apiVersion": d.Text(&p.APIVersion),
		"kind":       d.Text(&p.Kind),
		"namespace":  namespaceField(d, &p.Namespace),
		"name":       d.Text(&p.Name),
		"merge":      func(path string, n *yaml.Node) { p.Merge = decodeMergePatch(d, path, n) },
	})
	for _, key := range []string{"apiVersion", "kind", "name", "merge"} {
		if at := strict.JoinPath(path, key); !d.Given(at) && !d.Failed(at) {
			d.Fault(at, d.Line(path), "required")
		}
	}
	return &p
}

// namespacePattern is what Kubernetes takes.
var namespacePattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

func namespaceField(d *strict.Decoder, to *string) strict.Field {
	return func(path string, n *yaml.Node) {
		d.Text(to)(path, n)
		if !namespacePattern.MatchString(*to) {
			d.Wrong(path, "must be lower-case letters, digits and -, at most 63, not %s", strict.Describe(n))
		}
	}
}

// decodeMergePatch is YAML that JSON can say.
func decodeMergePatch(d *strict.Decoder, path string, n *yaml.Node) json.RawMessage {
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
