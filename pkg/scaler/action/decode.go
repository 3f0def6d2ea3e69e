// Actions from YAML.

package action

import (
	"encoding/json"
	"regexp"

	"go.yaml.in/yaml/v3"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// maxActions is above any list maintained by hand.
const maxActions = 32

// Decode decodes a list of actions and adds every error in it to the faults of d. With a fault, the list serves only to find further
// faults. The caller resolves the names of webhooks.
func Decode(d *strict.Decoder, path string, n *yaml.Node) []Action {
	var all []Action
	d.DecodeSequence(path, n, func(path string, n *yaml.Node) { all = append(all, gateActionFromYAML(d, path, n)) })
	d.RejectLong(path, n, maxActions)
	return all
}

func gateActionFromYAML(d *strict.Decoder, path string, n *yaml.Node) Action {
	var a Action
	d.DecodeMapping(path, n, map[string]strict.FieldDecoder{
		"patch":   func(path string, n *yaml.Node) { a.Patch = patchFromYAML(d, path, n) },
		"webhook": d.Text(&a.Webhook),
	})
	if d.HasKey(path+".patch") == d.HasKey(path+".webhook") {
		d.AddFault(path, "must have either patch or webhook")
	}
	if isWebhookURL(a.Webhook) {
		d.AddFault(path+".webhook", "%s", secretURLMessage)
	}
	return a
}

func patchFromYAML(d *strict.Decoder, path string, n *yaml.Node) *Patch {
	var p Patch
	d.DecodeMapping(path, n, map[string]strict.FieldDecoder{
		"apiVersion": d.Text(&p.APIVersion),
		"kind":       d.Text(&p.Kind),
		"namespace":  patchNamespaceField(d, &p.Namespace),
		"name":       d.Text(&p.Name),
		"merge":      func(path string, n *yaml.Node) { p.Merge = mergePatchFromYAML(d, path, n) },
	})
	d.Require(path, "apiVersion", "kind", "name", "merge")
	return &p
}

// namespacePattern matches the names of namespaces in Kubernetes.
var namespacePattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

func patchNamespaceField(d *strict.Decoder, to *string) strict.FieldDecoder {
	return func(path string, n *yaml.Node) {
		d.Text(to)(path, n)
		if !namespacePattern.MatchString(*to) {
			d.AddFault(path, "must be lower-case letters, digits and -, at most 63, not %s", strict.DescribeNode(n))
		}
	}
}

// mergePatchFromYAML converts a mapping to JSON, and rejects YAML that JSON cannot express.
func mergePatchFromYAML(d *strict.Decoder, path string, n *yaml.Node) json.RawMessage {
	if n.Kind != yaml.MappingNode {
		d.AddFaultAtLine(path, n.Line, "must be a mapping to merge into the object, not %s", strict.DescribeNode(n))
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
	d.AddFaultAtLine(path, n.Line, "is not valid as JSON: %s", strict.ShortenPlain(err.Error()))
	return nil
}
