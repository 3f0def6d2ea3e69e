package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

// decoder turns YAML nodes into values, and everything that does not fit into faults.
type decoder struct {
	faults Faults
	lines  map[string]int
	failed map[string]bool
}

func (d *decoder) fault(path string, line int, format string, args ...any) {
	d.failed[path] = true
	d.faults = append(d.faults, Fault{Path: path, Line: line, Message: fmt.Sprintf(format, args...)})
}

// field is what to do with the value of a key.
type field func(path string, n *yaml.Node)

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// document is the one document in data, or nil and a fault.
func (d *decoder) document(data []byte) *yaml.Node {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			d.fault("", 0, "the file is empty; it begins with apiVersion: %s", APIVersion)
			return nil
		}
		d.syntaxFault(err)
		return nil
	}
	switch err := dec.Decode(&more); {
	case err == nil:
		d.fault("", more.Line, "a second document; a configuration is one")
	case !errors.Is(err, io.EOF):
		d.syntaxFault(err)
	}
	if len(doc.Content) != 1 {
		return nil
	}
	return doc.Content[0]
}

func (d *decoder) syntaxFault(err error) {
	line, message := 0, err.Error()
	if m := yamlLine.FindStringSubmatch(message); m != nil {
		line, _ = strconv.Atoi(m[1])
		message = m[2]
	}
	d.fault("", line, "not YAML: %s", message)
}

// resolve follows an alias.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return n.Alias
	}
	return n
}

// mapping calls the field of each key; unknown and duplicate keys are faults.
func (d *decoder) mapping(path string, n *yaml.Node, fields map[string]field) {
	n = resolve(n)
	if n.Kind != yaml.MappingNode {
		d.fault(path, n.Line, "must be a mapping of keys to values, not %s", describeNode(n))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], resolve(n.Content[i+1])
		at := joinPath(path, key.Value)
		f, known := fields[key.Value]
		switch first, again := seen[key.Value]; {
		case key.Kind != yaml.ScalarNode:
			d.fault(path, key.Line, "a key must be a word, not %s", describeNode(key))
		case again:
			d.fault(at, key.Line, "duplicate key; first on line %d", first)
		case !known:
			d.fault(at, key.Line, "unknown key%s", suggestKey(key.Value, fields))
		case isNull(value):
			d.fault(at, key.Line, "has no value")
		default:
			d.lines[at] = key.Line
			f(at, value)
		}
		seen[key.Value] = key.Line
	}
}

// sequence calls item for each element.
func (d *decoder) sequence(path string, n *yaml.Node, item field) {
	if n.Kind != yaml.SequenceNode {
		d.fault(path, n.Line, "must be a list, not %s", describeNode(n))
		return
	}
	for i, e := range n.Content {
		at := path + "[" + strconv.Itoa(i) + "]"
		d.lines[at] = e.Line
		item(at, resolve(e))
	}
}

func joinPath(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

func describeNode(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.AliasNode:
		return "an alias"
	case isNull(n):
		return "nothing"
	}
	return strconv.Quote(shorten(n.Value))
}

// shorten keeps a message readable, whatever it quotes.
func shorten(s string) string {
	const most = 80
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// scalar reports whether the node is a scalar of one of the tags.
func (d *decoder) scalar(path string, n *yaml.Node, want string, tags ...string) bool {
	if n.Kind == yaml.ScalarNode {
		for _, tag := range tags {
			if n.ShortTag() == tag {
				return true
			}
		}
	}
	d.fault(path, n.Line, "must be %s, not %s", want, describeNode(n))
	return false
}

func (d *decoder) text(to *string) field {
	return func(path string, n *yaml.Node) {
		if !d.scalar(path, n, "text (in quotes where YAML sees a number or a truth value)", "!!str") {
			return
		}
		if strings.TrimSpace(n.Value) == "" {
			d.fault(path, n.Line, "has no value")
			return
		}
		*to = n.Value
	}
}

func (d *decoder) texts(path string, n *yaml.Node) []string {
	var all []string
	d.sequence(path, n, func(path string, n *yaml.Node) {
		var one string
		d.text(&one)(path, n)
		all = append(all, one)
	})
	return all
}

// word is one of a few.
func (d *decoder) word(path string, n *yaml.Node, words ...string) string {
	if n.Kind != yaml.ScalarNode || !slices.Contains(words, n.Value) {
		d.fault(path, n.Line, "must be %s, not %s", strings.Join(words, " or "), describeNode(n))
		return words[0]
	}
	return n.Value
}

// labelName is what every server and every dialect takes without quotes.
var labelName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

func (d *decoder) label(to *string) field {
	return func(path string, n *yaml.Node) {
		d.text(to)(path, n)
		if !d.failed[path] && !labelName.MatchString(*to) {
			d.fault(path, n.Line, "%s is no label name: use letters, digits and _, not beginning with a digit", describeNode(n))
		}
	}
}

func (d *decoder) truth(to *bool) field {
	return func(path string, n *yaml.Node) {
		if d.scalar(path, n, "true or false", "!!bool") {
			*to = strings.EqualFold(n.Value, "true")
		}
	}
}

func (d *decoder) integer(to *int, least, most int) field {
	return func(path string, n *yaml.Node) {
		if !d.scalar(path, n, "a whole number", "!!int") {
			return
		}
		v, err := strconv.Atoi(n.Value)
		if err != nil || v < least || v > most {
			d.fault(path, n.Line, "must be from %d to %d, not %s", least, most, shorten(n.Value))
			return
		}
		*to = v
	}
}

// bytesUnits are the suffixes of Kubernetes quantities.
var bytesUnits = map[string]int64{"": 1, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}

var bytesText = regexp.MustCompile(`^([0-9]{1,12})(Ki|Mi|Gi)?$`)

func (d *decoder) bytes(to *int64, least, most int64) field {
	return func(path string, n *yaml.Node) {
		const want = "a number of bytes such as 16Mi"
		if !d.scalar(path, n, want, "!!int", "!!str") {
			return
		}
		m := bytesText.FindStringSubmatch(n.Value)
		if m == nil {
			d.fault(path, n.Line, "must be %s, not %s", want, describeNode(n))
			return
		}
		v, _ := strconv.ParseInt(m[1], 10, 64)
		unit := bytesUnits[m[2]]
		if v > most/unit || v*unit < least {
			d.fault(path, n.Line, "must be from %s to %s, not %s", formatBytes(least), formatBytes(most), n.Value)
			return
		}
		*to = v * unit
	}
}

func formatBytes(n int64) string {
	for _, unit := range []string{"Gi", "Mi", "Ki"} {
		if n%bytesUnits[unit] == 0 {
			return strconv.FormatInt(n/bytesUnits[unit], 10) + unit
		}
	}
	return strconv.FormatInt(n, 10)
}

// duration reads durations as PromQL writes them, so that a file has one way to write them.
func (d *decoder) duration(to *time.Duration, least, most time.Duration) field {
	return func(path string, n *yaml.Node) {
		v, ok := d.span(path, n, "a duration such as 2s, 500ms or 1m30s")
		switch {
		case !ok:
		case v < least || v > most:
			d.fault(path, n.Line, "must be from %s to %s, not %s", formatDuration(least), formatDuration(most), n.Value)
		default:
			*to = v
		}
	}
}

func (d *decoder) span(path string, n *yaml.Node, want string) (time.Duration, bool) {
	if !d.scalar(path, n, want, "!!str", "!!int", "!!float") {
		return 0, false
	}
	if n.ShortTag() != "!!str" {
		d.fault(path, n.Line, "must be %s; %s has no unit", want, shorten(n.Value))
		return 0, false
	}
	v, err := model.ParseDuration(n.Value)
	if err != nil {
		d.fault(path, n.Line, "must be %s, not %s", want, describeNode(n))
		return 0, false
	}
	return time.Duration(v), true
}

func formatDuration(d time.Duration) string { return model.Duration(d).String() }

func (d *decoder) number(to *float64) field {
	return func(path string, n *yaml.Node) {
		if !d.scalar(path, n, "a number", "!!int", "!!float") {
			return
		}
		v, err := strconv.ParseFloat(n.Value, 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			d.fault(path, n.Line, "must be a finite number, not %s", shorten(n.Value))
			return
		}
		*to = v
	}
}
