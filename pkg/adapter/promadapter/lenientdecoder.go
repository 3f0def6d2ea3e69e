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

// lenientDecoder turns YAML nodes into values and what does not fit into faults. It takes what prometheus-adapter's own decoder
// takes, so that files are read unchanged: empty values, any scalar as text, YAML 1.1's words for true and false, merge
// keys. That is why it is not package config's.
type lenientDecoder struct {
	faults config.Faults
	lines  map[string]int
	// failed are the paths of faults, failedWithin also those of all around them.
	failed, failedWithin map[string]bool
	pairCount            int
}

func newLenientDecoder() *lenientDecoder {
	return &lenientDecoder{lines: map[string]int{}, failed: map[string]bool{}, failedWithin: map[string]bool{}}
}

const (
	// maxFileBytes bounds a file: a ConfigMap holds no more.
	maxFileBytes = 1 << 20
	// maxPairs bounds what aliases multiply. A file of maxBytes without them has fewer.
	maxPairs = 200_000
	// maxMergeDepth bounds merge keys within merged mappings.
	maxMergeDepth = 8
)

func (d *lenientDecoder) addFaultAtLine(path string, line int, format string, args ...any) {
	d.failed[path] = true
	for at := path; at != "" && !d.failedWithin[at]; at = parentPath(at) {
		d.failedWithin[at] = true
	}
	d.faults = append(d.faults, config.Fault{Path: path, Line: line, Message: fmt.Sprintf(format, args...)})
}

// parentPath is the path without its last element, key or index.
func parentPath(path string) string { return path[:max(0, strings.LastIndexAny(path, ".["))] }

// fieldDecoder is what to do with the value of a key; the node is no alias and not null.
type fieldDecoder func(path string, n *yaml.Node)

var yamlErrorRegexp = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// parseDocument is the one document in data, or nil and a fault.
func (d *lenientDecoder) parseDocument(data []byte) *yaml.Node {
	if len(data) > maxFileBytes {
		d.addFaultAtLine("", 0, "the file has %d bytes; more than %d are refused", len(data), maxFileBytes)
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); err != nil {
		d.addSyntaxFault(err)
		return nil
	}
	switch err := dec.Decode(&more); {
	case errors.Is(err, io.EOF):
	case err != nil:
		d.addSyntaxFault(err)
	case len(more.Content) == 1 && !isNullNode(more.Content[0]):
		d.addFaultAtLine("", more.Content[0].Line, "a second document, which prometheus-adapter ignored; a configuration is one")
	}
	if len(doc.Content) != 1 {
		return nil
	}
	return doc.Content[0]
}

func (d *lenientDecoder) addSyntaxFault(err error) {
	if errors.Is(err, io.EOF) {
		d.addFaultAtLine("", 0, "the file is empty")
		return
	}
	line, message := 0, err.Error()
	if m := yamlErrorRegexp.FindStringSubmatch(message); m != nil {
		line, _ = strconv.Atoi(m[1])
		message = m[2]
	}
	d.addFaultAtLine("", line, "not YAML: %s", message)
}

func resolveAlias(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return n.Alias
	}
	return n
}

func isNullNode(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// decodeMapping calls the field of each key; unknown and duplicate keys are faults.
func (d *lenientDecoder) decodeMapping(path string, n *yaml.Node, fields map[string]fieldDecoder) {
	d.visitKeys(path, n, func(at string, key, value *yaml.Node) {
		f, known := fields[key.Value]
		switch {
		case !known:
			d.addFaultAtLine(at, key.Line, "unknown key; known: %s", strings.Join(sortedFieldKeys(fields), ", "))
		case !isNullNode(value):
			f(at, value)
		}
	})
}

func sortedFieldKeys(fields map[string]fieldDecoder) []string {
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// visitKeys calls each for all keys of a mapping, those of merged mappings last, and as far as they are not there already.
func (d *lenientDecoder) visitKeys(path string, n *yaml.Node, each func(at string, key, value *yaml.Node)) {
	if n = resolveAlias(n); n.Kind != yaml.MappingNode {
		d.addFaultAtLine(path, n.Line, "must be a mapping of keys to values, not %s", strict.DescribeNode(n))
		return
	}
	seen := map[string]int{}
	d.visitPairs(path, n, seen, 0, each)
}

func (d *lenientDecoder) visitPairs(path string, n *yaml.Node, seen map[string]int, depth int, each func(at string, key, value *yaml.Node)) {
	var merged []*yaml.Node
	own := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], resolveAlias(n.Content[i+1])
		if d.pairCount++; d.pairCount > maxPairs {
			if d.pairCount == maxPairs+1 {
				d.addFaultAtLine("", key.Line, "more than %d values; aliases multiply", maxPairs)
			}
			return
		}
		at := strict.JoinPath(path, key.Value)
		first, again := seen[key.Value]
		switch {
		case key.Kind != yaml.ScalarNode:
			d.addFaultAtLine(path, key.Line, "a key must be a word, not %s", strict.DescribeNode(key))
		case key.ShortTag() == "!!merge":
			merged = append(merged, value)
		case own[key.Value]:
			d.addFaultAtLine(at, key.Line, "duplicate key; first on line %d", first)
		case !again:
			seen[key.Value], own[key.Value] = key.Line, true
			d.lines[at] = key.Line
			each(at, key, value)
		}
	}
	for _, m := range merged {
		d.visitMergedPairs(path, m, seen, depth+1, each)
	}
}

func (d *lenientDecoder) visitMergedPairs(path string, m *yaml.Node, seen map[string]int, depth int, each func(at string, key, value *yaml.Node)) {
	switch {
	case depth > maxMergeDepth:
		d.addFaultAtLine(path, m.Line, "merge keys more than %d deep", maxMergeDepth)
	case m.Kind == yaml.MappingNode:
		d.visitPairs(path, m, seen, depth, each)
	case m.Kind == yaml.SequenceNode:
		for _, e := range m.Content {
			d.visitMergedPairs(path, resolveAlias(e), seen, depth+1, each)
		}
	default:
		d.addFaultAtLine(path, m.Line, "a merge key takes a mapping, not %s", strict.DescribeNode(m))
	}
}

// decodeSequence calls item for each element.
func (d *lenientDecoder) decodeSequence(path string, n *yaml.Node, item fieldDecoder) {
	if n.Kind != yaml.SequenceNode {
		d.addFaultAtLine(path, n.Line, "must be a list, not %s", strict.DescribeNode(n))
		return
	}
	for i, e := range n.Content {
		at := path + "[" + strconv.Itoa(i) + "]"
		d.lines[at] = e.Line
		item(at, resolveAlias(e))
	}
}

func (d *lenientDecoder) textField(to *string) fieldDecoder {
	return func(path string, n *yaml.Node) {
		if n.Kind != yaml.ScalarNode {
			d.addFaultAtLine(path, n.Line, "must be text, not %s", strict.DescribeNode(n))
			return
		}
		*to = n.Value
	}
}

// boolWords are YAML 1.1's words, in lower case.
var boolWords = map[string]bool{
	"y": true, "yes": true, "on": true, "true": true, "n": false, "no": false, "off": false, "false": false,
}

func (d *lenientDecoder) boolField(to **bool) fieldDecoder {
	return func(path string, n *yaml.Node) {
		v, ok := boolWords[strings.ToLower(n.Value)]
		if !ok || n.Kind != yaml.ScalarNode || n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
			d.addFaultAtLine(path, n.Line, "must be true or false, not %s", strict.DescribeNode(n))
			return
		}
		*to = &v
	}
}

func (d *lenientDecoder) durationField(to *time.Duration) fieldDecoder {
	return func(path string, n *yaml.Node) {
		v, err := model.ParseDuration(n.Value)
		if err != nil || n.Kind != yaml.ScalarNode {
			d.addFaultAtLine(path, n.Line, "must be a duration such as 5m, not %s", strict.DescribeNode(n))
			return
		}
		*to = time.Duration(v)
	}
}
