// Package strict decodes YAML by hand-written fields and reports every fault with its path, its line and its reason.
package strict

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tachometer-metrics/tachometer/pkg/domain"
)

// MaxBytes bounds a file. It is the most that a ConfigMap can hold.
const MaxBytes = 1 << 20

// Decoder turns YAML nodes into values, and invalid nodes into faults.
type Decoder struct {
	Faults Faults
	Lines  map[string]int // the lines of the keys and elements read, by path
	failed map[string]bool
}

// NewDecoder returns a decoder of a single file.
func NewDecoder() *Decoder { return &Decoder{Lines: map[string]int{}, failed: map[string]bool{}} }

// HasFault reports whether the path has a fault.
func (d *Decoder) HasFault(path string) bool { return d.failed[path] }

// HasKey reports whether the file has the key.
func (d *Decoder) HasKey(path string) bool {
	_, ok := d.Lines[path]
	return ok
}

// Line returns the line of the value at path. A value that the file omits has the line of the nearest enclosing value.
func (d *Decoder) Line(path string) int { return NearestLine(d.Lines, path) }

// NearestLine returns the line of the value at path or else of the nearest enclosing value. It returns 0 if lines has neither.
func NearestLine(lines map[string]int, path string) int {
	for path != "" {
		if n, ok := lines[path]; ok {
			return n
		}
		path = ParentPath(path)
	}
	return lines[""]
}

// AddFault adds a fault at a path, unless the path has a fault already.
func (d *Decoder) AddFault(path, format string, args ...any) {
	if !d.HasFault(path) {
		d.AddFaultAtLine(path, d.Line(path), format, args...)
	}
}

// DecodeFile decodes the only document of a file: it checks apiVersion and kind and decodes the fields.
func (d *Decoder) DecodeFile(data []byte, kind string, fields map[string]FieldDecoder) {
	if len(data) > MaxBytes {
		d.AddFaultAtLine("", 0, "the file has %d bytes; the limit is %d", len(data), MaxBytes)
		return
	}
	root := d.ParseDocument(data)
	if root == nil {
		return
	}
	d.Lines[""] = root.Line
	if path, line, message := describeForeignFile(root, kind); line > 0 {
		d.AddFaultAtLine(path, line, "%s", message)
		return
	}
	var gotVersion, gotKind string
	all := maps.Clone(fields)
	all["apiVersion"] = d.Text(&gotVersion)
	all["kind"] = d.Text(&gotKind)
	d.DecodeMapping("", root, all)
	d.validateStrictFixedKey("apiVersion", gotVersion, domain.ConfigAPIVersion)
	d.validateStrictFixedKey("kind", gotKind, kind)
}

// describeForeignFile returns the place and the words for a file that is no configuration, but something that people have beside theirs: a
// manifest, or the data of a ConfigMap. The line is 0 for any other file.
func describeForeignFile(root *yaml.Node, kind string) (path string, line int, message string) {
	name, value, isManifest := "", (*yaml.Node)(nil), false
	for i := 0; root.Kind == yaml.MappingNode && i+1 < len(root.Content); i += 2 {
		switch key, v := root.Content[i].Value, root.Content[i+1]; {
		case key == "kind":
			name, value = v.Value, v
		case key == "metadata", key == "spec", key == "data":
			isManifest = true
		case strings.HasSuffix(key, ".yaml") && v.Kind == yaml.ScalarNode && strings.Contains(v.Value, "\n"):
			return key, v.Line, "is a file within a file, as under the key data of a ConfigMap; take its text alone, without indentation"
		}
	}
	switch {
	case name == "ConfigMap":
		return "kind", value.Line, "is the manifest of a ConfigMap, not the file in it; take the text under its key data"
	case isManifest && name != "" && name != kind:
		return "kind", value.Line, "is the manifest of a " + Shorten(name) + ", not a configuration; a configuration has kind: " + kind
	}
	return "", 0, ""
}

// validateStrictFixedKey checks a key that has a single valid value.
func (d *Decoder) validateStrictFixedKey(path, got, want string) {
	if got != want && !d.HasFault(path) && !d.HasFault("") {
		if got == "" {
			d.AddFaultAtLine(path, d.Lines[""], "required: %s", want)
			return
		}
		d.AddFaultAtLine(path, d.Lines[path], "must be %s, not %q", want, Shorten(got))
	}
}

// AddFaultAtLine adds a fault at a path. Lines count from 1; 0 stands for no line.
func (d *Decoder) AddFaultAtLine(path string, line int, format string, args ...any) {
	d.failed[path] = true
	d.Faults = append(d.Faults, Fault{Path: path, Line: line, Message: fmt.Sprintf(format, args...)})
}

// FieldDecoder decodes the value of a key, or the element of a list, at path.
type FieldDecoder func(path string, n *yaml.Node)

// ParseDocument returns the only document in data, or nil and a fault.
func (d *Decoder) ParseDocument(data []byte) *yaml.Node {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			d.AddFaultAtLine("", 0, "the file is empty; begin it with apiVersion: %s", domain.ConfigAPIVersion)
			return nil
		}
		d.addStrictSyntaxFault(err)
		return nil
	}
	d.rejectFurtherDocuments(dec)
	if line, message := describeYAMLAliases(&doc); line > 0 {
		d.AddFaultAtLine("", line, "%s", message)
		return nil
	}
	if len(doc.Content) != 1 {
		return nil
	}
	return doc.Content[0]
}

// rejectFurtherDocuments adds a fault for a second document, unless it is empty, as behind a last line of dashes.
func (d *Decoder) rejectFurtherDocuments(dec *yaml.Decoder) {
	for {
		var more yaml.Node
		switch err := dec.Decode(&more); {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			d.addStrictSyntaxFault(err)
			return
		case len(more.Content) != 1 || !IsNullNode(more.Content[0]):
			d.AddFaultAtLine("", more.Line, "second YAML document; write one document per file")
			return
		}
	}
}

func (d *Decoder) addStrictSyntaxFault(err error) {
	line, message := ParseYAMLError(err)
	d.AddFaultAtLine("", line, "not valid YAML: %s", message)
}

// yamlErrorRegexp matches an error text of the YAML parser, with its line in group 1.
var yamlErrorRegexp = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// ParseYAMLError splits an error of the YAML parser into its line, 0 for none, and its message.
func ParseYAMLError(err error) (line int, message string) {
	message = err.Error()
	if m := yamlErrorRegexp.FindStringSubmatch(message); m != nil {
		line, _ = strconv.Atoi(m[1])
		message = m[2]
	}
	if strings.HasPrefix(message, "unknown anchor '") { // the name may be a secret that begins with *
		message = "a value begins with * and is no alias; put quotes around it"
	}
	if remedy := yamlRemedies[message]; remedy != "" {
		message += "; " + remedy
	}
	return line, message
}

// yamlRemedies are the remedies for the YAML parser's messages, by message.
var yamlRemedies = map[string]string{
	"found character that cannot start any token":           "indent with spaces, not with tabs, and quote values that begin with @, ` or %",
	"found a tab character that violates indentation":       "indent the lines below with spaces, not with tabs",
	"mapping values are not allowed in this context":        "quote a value with a colon and a space in it, and indent the keys of one mapping alike",
	"did not find expected key":                             "indent the keys of one mapping alike, and end a quoted value with its quote",
	"did not find expected alphabetic or numeric character": "quote values that begin with * or &",
	"found unknown escape character":                        "write regular expressions in single quotes",
	"found unexpected end of stream":                        "end a quoted value above with its quote",
	"did not find expected node content":                    "close each [ and {",
}

// ResolveAlias returns the node that an alias stands for, and any other node itself.
func ResolveAlias(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return n.Alias
	}
	return n
}

// DecodeMapping calls the field decoder of each key. It adds faults for unknown and duplicate keys.
func (d *Decoder) DecodeMapping(path string, n *yaml.Node, fields map[string]FieldDecoder) {
	n = ResolveAlias(n)
	if n.Kind != yaml.MappingNode {
		d.AddFaultAtLine(path, n.Line, "must be a mapping of keys to values, not %s", DescribeNode(n))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], ResolveAlias(n.Content[i+1])
		at := JoinPath(path, key.Value)
		f, known := fields[key.Value]
		switch first, again := seen[key.Value]; {
		case key.Kind != yaml.ScalarNode:
			d.AddFaultAtLine(path, key.Line, "a key must be text, not %s", DescribeNode(key))
		case key.ShortTag() == "!!merge":
			d.AddFaultAtLine(path, key.Line, "<< merges another mapping, which this format does not support; repeat its keys here")
		case !known && strings.Contains(key.Value, ":"): // behind it may be a secret
			name, _, _ := strings.Cut(key.Value, ":")
			d.AddFaultAtLine(JoinPath(path, name), key.Line, "write a space after the colon")
		case again:
			d.AddFaultAtLine(at, key.Line, "duplicate key; first on line %d", first)
		case !known:
			d.AddFaultAtLine(at, key.Line, "%s", DescribeUnknownKey(key.Value, fields))
		case IsNullNode(value):
			d.AddFaultAtLine(at, key.Line, "has no value")
		default:
			d.Lines[at] = key.Line
			f(at, value)
		}
		seen[key.Value] = key.Line
	}
}

// RejectEmpty adds a fault for a list without elements.
func (d *Decoder) RejectEmpty(path string, n *yaml.Node) {
	if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
		d.AddFaultAtLine(path, n.Line, "is empty")
	}
}

// RejectLong adds a fault for a list of more elements than the maximum.
func (d *Decoder) RejectLong(path string, n *yaml.Node, maximum int) {
	if n.Kind == yaml.SequenceNode && len(n.Content) > maximum {
		d.AddFaultAtLine(path, n.Line, "has %d elements; the maximum is %d", len(n.Content), maximum)
	}
}

// DecodeSequence calls item for each element of a list.
func (d *Decoder) DecodeSequence(path string, n *yaml.Node, item FieldDecoder) {
	if n.Kind != yaml.SequenceNode {
		d.AddFaultAtLine(path, n.Line, "must be a list, not %s", DescribeNode(n))
		return
	}
	for i, e := range n.Content {
		at := IndexPath(path, i)
		d.Lines[at] = e.Line
		item(at, ResolveAlias(e))
	}
}

// Require adds a fault for each key of the mapping at path that is missing. A key that has a fault already does not count as missing.
func (d *Decoder) Require(path string, keys ...string) {
	for _, key := range keys {
		if at := JoinPath(path, key); !d.HasKey(at) && !d.HasFault(at) {
			d.AddFaultAtLine(at, d.Line(path), "required")
		}
	}
}
