// Keys that a mapping has twice.

package inventory

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// DuplicateKey is a key of a manifest that a mapping has twice. Programs take the last value.
type DuplicateKey struct {
	File  string
	Line  int    // of the second key
	First int    // the line of the first key
	Path  string // from the root of its document: spec.metrics[0].type
}

// addDuplicateKeys notes the keys that a mapping of a manifest has twice. A document that is no manifest, or that cannot be parsed, has none.
func (i *Inventory) addDuplicateKeys(file string, document manifestDocument) {
	for _, part := range splitJSONValues(document) {
		var root yaml.Node
		if err := yaml.Unmarshal([]byte(part.text), &root); err != nil || len(root.Content) != 1 || !hasMappingKey(root.Content[0], "kind") {
			continue
		}
		found := listDuplicateKeys(root.Content[0], "")
		for n := range found {
			found[n].File = file
			found[n].Line += part.line - 1
			found[n].First += part.line - 1
		}
		i.DuplicateKeys = append(i.DuplicateKeys, found...)
	}
}

// splitJSONValues returns each of the JSON values that follow each other in a document; another document as it is.
func splitJSONValues(document manifestDocument) []manifestDocument {
	decoder := json.NewDecoder(bytes.NewReader([]byte(document.text)))
	var values []manifestDocument
	for decoder.More() {
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return []manifestDocument{document}
		}
		end := int(decoder.InputOffset())
		before := document.text[:end-len(value)]
		values = append(values, manifestDocument{string(value), document.line + strings.Count(before, "\n")})
	}
	return values
}

func hasMappingKey(node *yaml.Node, key string) bool {
	for n := 0; node.Kind == yaml.MappingNode && n+1 < len(node.Content); n += 2 {
		if node.Content[n].Value == key {
			return true
		}
	}
	return false
}

// listDuplicateKeys returns the keys that a mapping below a node has twice. It does not follow aliases: their anchors are in the document too.
func listDuplicateKeys(node *yaml.Node, path string) []DuplicateKey {
	var found []DuplicateKey
	if node.Kind == yaml.SequenceNode {
		for n, element := range node.Content {
			found = append(found, listDuplicateKeys(element, fmt.Sprintf("%s[%d]", path, n))...)
		}
		return found
	}
	lines := map[string]int{}
	for n := 0; node.Kind == yaml.MappingNode && n+1 < len(node.Content); n += 2 {
		key := node.Content[n]
		below := strings.TrimPrefix(path+"."+key.Value, ".")
		switch first, isKnown := lines[key.Value]; {
		case isKnown && key.Kind == yaml.ScalarNode && key.Tag != "!!merge":
			found = append(found, DuplicateKey{Line: key.Line, First: first, Path: below})
		case !isKnown:
			lines[key.Value] = key.Line
		}
		found = append(found, listDuplicateKeys(node.Content[n+1], below)...)
	}
	return found
}
