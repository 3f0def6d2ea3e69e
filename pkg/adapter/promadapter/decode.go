package promadapter

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// decoder turns YAML nodes into values and what does not fit into faults. It takes what prometheus-adapter's own decoder
// takes, so that files are read unchanged: empty values, any scalar as text, YAML 1.1's words for true and false, merge
// keys. That is why it is not package config's.
type decoder struct {
	faults config.Faults
	lines  map[string]int
	// failed are the paths of faults, failedWithin also those of all around them.
	failed, failedWithin map[string]bool
	pairs                int
}

func newDecoder() *decoder {
	return &decoder{lines: map[string]int{}, failed: map[string]bool{}, failedWithin: map[string]bool{}}
}

const (
	// maxBytes bounds a file: a ConfigMap holds no more.
	maxBytes = 1 << 20
	// maxPairs bounds what aliases multiply. A file of maxBytes without them has fewer.
	maxPairs = 200_000
	// maxMerges bounds merge keys within merged mappings.
	maxMerges = 8
)

func (d *decoder) fault(path string, line int, format string, args ...any) {
	d.failed[path] = true
	for at := path; at != "" && !d.failedWithin[at]; at = parent(at) {
		d.failedWithin[at] = true
	}
	d.faults = append(d.faults, config.Fault{Path: path, Line: line, Message: fmt.Sprintf(format, args...)})
}

// parent is the path without its last element, key or index.
func parent(path string) string { return path[:max(0, strings.LastIndexAny(path, ".["))] }

// field is what to do with the value of a key; the node is no alias and not null.
type field func(path string, n *yaml.Node)

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// document is the one document in data, or nil and a fault.
func (d *decoder) document(data []byte) *yaml.Node {
	if len(data) > maxBytes {
		d.fault("", 0, "the file has %d bytes; more than %d are refused", len(data), maxBytes)
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); err != nil {
		d.syntaxFault(err)
		return nil
	}
	switch err := dec.Decode(&more); {
	case errors.Is(err, io.EOF):
	case err != nil:
		d.syntaxFault(err)
	case len(more.Content) == 1 && !isNull(more.Content[0]):
		d.fault("", more.Content[0].Line, "a second document, which prometheus-adapter ignored; a configuration is one")
	}
	if len(doc.Content) != 1 {
		return nil
	}
	return doc.Content[0]
}

func (d *decoder) syntaxFault(err error) {
	if errors.Is(err, io.EOF) {
		d.fault("", 0, "the file is empty")
		return
	}
	line, message := 0, err.Error()
	if m := yamlLine.FindStringSubmatch(message); m != nil {
		line, _ = strconv.Atoi(m[1])
		message = m[2]
	}
	d.fault("", line, "not YAML: %s", message)
}

func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// mapping calls the field of each key; unknown and duplicate keys are faults.
func (d *decoder) mapping(path string, n *yaml.Node, fields map[string]field) {
	d.keys(path, n, func(at string, key, value *yaml.Node) {
		f, known := fields[key.Value]
		switch {
		case !known:
			d.fault(at, key.Line, "unknown key; known: %s", strings.Join(sortedKeys(fields), ", "))
		case !isNull(value):
			f(at, value)
		}
	})
}

func sortedKeys(fields map[string]field) []string {
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// keys calls each for all keys of a mapping, those of merged mappings last, and as far as they are not there already.
func (d *decoder) keys(path string, n *yaml.Node, each func(at string, key, value *yaml.Node)) {
	if n = resolve(n); n.Kind != yaml.MappingNode {
		d.fault(path, n.Line, "must be a mapping of keys to values, not %s", strict.Describe(n))
		return
	}
	seen := map[string]int{}
	d.pairsOf(path, n, seen, 0, each)
}

func (d *decoder) pairsOf(path string, n *yaml.Node, seen map[string]int, depth int, each func(at string, key, value *yaml.Node)) {
	var merged []*yaml.Node
	own := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], resolve(n.Content[i+1])
		if d.pairs++; d.pairs > maxPairs {
			if d.pairs == maxPairs+1 {
				d.fault("", key.Line, "more than %d values; aliases multiply", maxPairs)
			}
			return
		}
		at := strict.JoinPath(path, key.Value)
		first, again := seen[key.Value]
		switch {
		case key.Kind != yaml.ScalarNode:
			d.fault(path, key.Line, "a key must be a word, not %s", strict.Describe(key))
		case key.ShortTag() == "!!merge":
			merged = append(merged, value)
		case own[key.Value]:
			d.fault(at, key.Line, "duplicate key; first on line %d", first)
		case !again:
			seen[key.Value], own[key.Value] = key.Line, true
			d.lines[at] = key.Line
			each(at, key, value)
		}
	}
	for _, m := range merged {
		d.merge(path, m, seen, depth+1, each)
	}
}

func (d *decoder) merge(path string, m *yaml.Node, seen map[string]int, depth int, each func(at string, key, value *yaml.Node)) {
	switch {
	case depth > maxMerges:
		d.fault(path, m.Line, "merge keys more than %d deep", maxMerges)
	case m.Kind == yaml.MappingNode:
		d.pairsOf(path, m, seen, depth, each)
	case m.Kind == yaml.SequenceNode:
		for _, e := range m.Content {
			d.merge(path, resolve(e), seen, depth+1, each)
		}
	default:
		d.fault(path, m.Line, "a merge key takes a mapping, not %s", strict.Describe(m))
	}
}

// sequence calls item for each element.
func (d *decoder) sequence(path string, n *yaml.Node, item field) {
	if n.Kind != yaml.SequenceNode {
		d.fault(path, n.Line, "must be a list, not %s", strict.Describe(n))
		return
	}
	for i, e := range n.Content {
		at := path + "[" + strconv.Itoa(i) + "]"
		d.lines[at] = e.Line
		item(at, resolve(e))
	}
}

func (d *decoder) text(to *string) field {
	return func(path string, n *yaml.Node) {
		if n.Kind != yaml.ScalarNode {
			d.fault(path, n.Line, "must be text, not %s", strict.Describe(n))
			return
		}
		*to = n.Value
	}
}

// truths are YAML 1.1's words, in lower case.
var truths = map[string]bool{
	"y": true, "yes": true, "on": true, "true": true, "n": false, "no": false, "off": false, "false": false,
}

func (d *decoder) truth(to **bool) field {
	return func(path string, n *yaml.Node) {
		v, ok := truths[strings.ToLower(n.Value)]
		if !ok || n.Kind != yaml.ScalarNode || n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
			d.fault(path, n.Line, "must be true or false, not %s", strict.Describe(n))
			return
		}
		*to = &v
	}
}

func (d *decoder) duration(to *time.Duration) field {
	return func(path string, n *yaml.Node) {
		v, err := model.ParseDuration(n.Value)
		if err != nil || n.Kind != yaml.ScalarNode {
			d.fault(path, n.Line, "must be a duration such as 5m, not %s", strict.Describe(n))
			return
		}
		*to = time.Duration(v)
	}
}
