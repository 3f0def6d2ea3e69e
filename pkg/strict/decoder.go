// Package strict decodes YAML by hand-written fields and reports every fault with its path, its line and its reason.
package strict

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"github.com/tachometer-metrics/tachometer/pkg/domain"
	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
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
		case again:
			d.AddFaultAtLine(at, key.Line, "duplicate key; first on line %d", first)
		case !known:
			d.AddFaultAtLine(at, key.Line, "unknown key%s", suggestStrictKey(key.Value, fields))
		case IsNullNode(value):
			d.AddFaultAtLine(at, key.Line, "has no value")
		default:
			d.Lines[at] = key.Line
			f(at, value)
		}
		seen[key.Value] = key.Line
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

// IndexPath returns the path of an element of the list at path.
func IndexPath(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// JoinPath returns the path of a key below path.
func JoinPath(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// IsNullNode reports whether the node is null or an empty value.
func IsNullNode(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// DescribeNode returns the words for a node in a fault: its kind, or the quoted text of a scalar.
func DescribeNode(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.AliasNode:
		return "an alias"
	case IsNullNode(n):
		return "null"
	}
	return Quote(n.Value)
}

// Quote returns a value of a file for a message: quoted and shortened, and without a URL, which may have a password in it.
func Quote(value string) string {
	if strings.Contains(value, "://") {
		return "a URL"
	}
	return strconv.Quote(Shorten(value))
}

// ShortenPlain is Shorten for a text that stands in a message as it is, without quotes: it is made harmless, and cut after 80 bytes.
func ShortenPlain(s string) string { return plaintext.Clip(s, 80+len("…")) }

// Shorten cuts text after 80 characters, so that a message that quotes it stays readable.
func Shorten(s string) string {
	const maxRunes = 80
	if r := []rune(s); len(r) > maxRunes {
		return string(r[:maxRunes]) + "…"
	}
	return s
}

// ParsePort returns the number of a port, from 1 to 65535; 0 if the text is none.
func ParsePort(text string) int32 {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0
	}
	return int32(n)
}

// ValidateScalar reports whether the node is a scalar with one of the tags, and adds a fault otherwise.
func (d *Decoder) ValidateScalar(path string, n *yaml.Node, want string, tags ...string) bool {
	if n.Kind == yaml.ScalarNode {
		for _, tag := range tags {
			if n.ShortTag() == tag {
				return true
			}
		}
	}
	d.AddFaultAtLine(path, n.Line, "must be %s, not %s%s", want, DescribeNode(n), DescribeQuotes(n, tags...))
	return false
}

// DescribeQuotes returns the remedy for a value that needs its quotes removed, to have one of the types, or quotes added, to be text; empty for
// other values.
func DescribeQuotes(n *yaml.Node, tags ...string) string {
	if n.Kind != yaml.ScalarNode && n.Style&yaml.FlowStyle != 0 && slices.Equal(tags, []string{"!!str"}) {
		return "; put quotes around text that begins with { or ["
	}
	plain := yaml.Node{Kind: yaml.ScalarNode, Value: n.Value}
	if n.Kind == yaml.ScalarNode && n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 && slices.Contains(tags, plain.ShortTag()) {
		return "; remove the quotes"
	}
	return ""
}

// Text returns the decoder of text, which must not be empty.
func (d *Decoder) Text(to *string) FieldDecoder {
	return func(path string, n *yaml.Node) {
		if !d.ValidateScalar(path, n, "text (quote numbers and booleans)", "!!str") {
			return
		}
		if strings.TrimSpace(n.Value) == "" {
			d.AddFaultAtLine(path, n.Line, "has no value")
			return
		}
		*to = n.Value
	}
}

// DecodeTexts decodes a list of texts.
func (d *Decoder) DecodeTexts(path string, n *yaml.Node) []string {
	var all []string
	d.DecodeSequence(path, n, func(path string, n *yaml.Node) {
		var element string
		d.Text(&element)(path, n)
		all = append(all, element)
	})
	return all
}

// DecodeEnum decodes a choice among the words. It adds a fault for any other text and returns the first word.
func (d *Decoder) DecodeEnum(path string, n *yaml.Node, words ...string) string {
	if n.Kind != yaml.ScalarNode || !slices.Contains(words, n.Value) {
		d.AddFaultAtLine(path, n.Line, "must be %s, not %s", strings.Join(words, " or "), DescribeNode(n))
		return words[0]
	}
	return n.Value
}

// labelNameRegexp matches the names that every server and every dialect accepts without quotes.
var labelNameRegexp = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// LabelName returns the decoder of the name of a label.
func (d *Decoder) LabelName(to *string) FieldDecoder {
	return func(path string, n *yaml.Node) {
		d.Text(to)(path, n)
		if !d.failed[path] && !labelNameRegexp.MatchString(*to) {
			d.AddFaultAtLine(path, n.Line, "%s is not a label name; use letters, digits and _, and begin with a letter or _", DescribeNode(n))
		}
	}
}

// Bool returns the decoder of true or false.
func (d *Decoder) Bool(to *bool) FieldDecoder {
	return func(path string, n *yaml.Node) {
		if d.ValidateScalar(path, n, "true or false", "!!bool") {
			*to = strings.EqualFold(n.Value, "true")
		}
	}
}

// Integer returns the decoder of a whole number from minimum to maximum.
func (d *Decoder) Integer(to *int, minimum, maximum int) FieldDecoder {
	return func(path string, n *yaml.Node) {
		if !d.ValidateScalar(path, n, "a whole number", "!!int") {
			return
		}
		v, err := strconv.Atoi(n.Value) // first, because yaml reads 0100 as 64
		if err != nil {
			err = n.Decode(&v)
		}
		if err != nil || v < minimum || v > maximum {
			d.AddFaultAtLine(path, n.Line, "must be from %d to %d, not %s", minimum, maximum, Shorten(n.Value))
			return
		}
		*to = v
	}
}

// byteUnits has the factor of each suffix of Kubernetes quantities.
var byteUnits = map[string]int64{"": 1, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}

var byteCountRegexp = regexp.MustCompile(`^([0-9]{1,12})(Ki|Mi|Gi)?$`)

// Bytes returns the decoder of a number of bytes from minimum to maximum, with the suffixes of Kubernetes quantities.
func (d *Decoder) Bytes(to *int64, minimum, maximum int64) FieldDecoder {
	return func(path string, n *yaml.Node) {
		const want = "a number of bytes such as 16Mi"
		if !d.ValidateScalar(path, n, want, "!!int", "!!str") {
			return
		}
		m := byteCountRegexp.FindStringSubmatch(n.Value)
		if m == nil {
			d.AddFaultAtLine(path, n.Line, "must be %s, not %s", want, DescribeNode(n))
			return
		}
		v, _ := strconv.ParseInt(m[1], 10, 64)
		unit := byteUnits[m[2]]
		if v > maximum/unit || v*unit < minimum {
			d.AddFaultAtLine(path, n.Line, "must be from %s to %s, not %s", FormatBytes(minimum), FormatBytes(maximum), n.Value)
			return
		}
		*to = v * unit
	}
}

// FormatBytes returns a number of bytes as a configuration writes it, with the largest unit that divides it.
func FormatBytes(n int64) string {
	for _, unit := range []string{"Gi", "Mi", "Ki"} {
		if n%byteUnits[unit] == 0 {
			return strconv.FormatInt(n/byteUnits[unit], 10) + unit
		}
	}
	return strconv.FormatInt(n, 10)
}

// Duration returns the decoder of a duration from minimum to maximum. It accepts only PromQL's notation, so that all files agree.
func (d *Decoder) Duration(to *time.Duration, minimum, maximum time.Duration) FieldDecoder {
	return func(path string, n *yaml.Node) {
		v, ok := d.DecodeDuration(path, n, "a duration such as 2s, 500ms or 1m30s")
		switch {
		case !ok:
		case v < minimum || v > maximum:
			d.AddFaultAtLine(path, n.Line, "must be from %s to %s, not %s", FormatDuration(minimum), FormatDuration(maximum), n.Value)
		default:
			*to = v
		}
	}
}

// DecodeDuration decodes a duration of any length. In the fault, want names the expected value.
func (d *Decoder) DecodeDuration(path string, n *yaml.Node, want string) (time.Duration, bool) {
	if !d.ValidateScalar(path, n, want, "!!str", "!!int", "!!float") {
		return 0, false
	}
	if n.ShortTag() != "!!str" {
		d.AddFaultAtLine(path, n.Line, "must be %s; %s has no unit", want, Shorten(n.Value))
		return 0, false
	}
	v, err := model.ParseDuration(n.Value)
	if err != nil {
		d.AddFaultAtLine(path, n.Line, "must be %s, not %s", want, DescribeNode(n))
		return 0, false
	}
	return time.Duration(v), true
}

// FormatDuration returns a duration as a configuration writes it.
func FormatDuration(d time.Duration) string { return model.Duration(d).String() }

// Number returns the decoder of a finite number.
func (d *Decoder) Number(to *float64) FieldDecoder {
	return func(path string, n *yaml.Node) {
		if !d.ValidateScalar(path, n, "a number", "!!int", "!!float") {
			return
		}
		v, err := strconv.ParseFloat(n.Value, 64) // as in Integer
		if err != nil {
			err = n.Decode(&v)
		}
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			d.AddFaultAtLine(path, n.Line, "must be a finite number, not %s", Shorten(n.Value))
			return
		}
		*to = v
	}
}

// suggestStrictKey returns a hint at the known key with the same letters, or else at all known keys.
func suggestStrictKey(got string, fields map[string]FieldDecoder) string {
	for _, known := range slices.Sorted(maps.Keys(fields)) {
		if strings.EqualFold(known, got) || strings.EqualFold(known, strings.NewReplacer("_", "", "-", "").Replace(got)) {
			return "; did you mean " + known + "?"
		}
	}
	return "; known: " + strings.Join(slices.Sorted(maps.Keys(fields)), ", ")
}
