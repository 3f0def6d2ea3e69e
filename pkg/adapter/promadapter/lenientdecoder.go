// The decoder of prometheus-adapter's YAML, which accepts more than package strict.

package promadapter

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// lenientDecoder turns YAML nodes into values, and invalid nodes into faults. It accepts all that prometheus-adapter's own decoder
// accepts, so that files work unchanged: empty values, any scalar as text, YAML 1.1's words for true and false, merge keys.
// The decoder of package strict rejects all of these.
type lenientDecoder struct {
	faults   config.Faults
	warnings config.Faults // about the file; rules have their own
	lines    map[string]int
	// failed has the paths of faults, failedWithin also the paths that enclose them.
	failed, failedWithin map[string]bool
	pairCount            int // of the pairs decoded so far
}

func newLenientDecoder() *lenientDecoder {
	return &lenientDecoder{lines: map[string]int{}, failed: map[string]bool{}, failedWithin: map[string]bool{}}
}

const (
	// maxPairs bounds the key-value pairs after aliases are expanded. A file of strict.MaxBytes without aliases has fewer.
	maxPairs = 200_000
	// maxMergeDepth bounds the nesting of merge keys.
	maxMergeDepth = 8
)

func (d *lenientDecoder) addFaultAtLine(path string, line int, format string, args ...any) {
	d.failed[path] = true
	for at := path; at != "" && !d.failedWithin[at]; at = strict.ParentPath(at) {
		d.failedWithin[at] = true
	}
	d.faults = append(d.faults, config.Fault{Path: path, Line: line, Message: fmt.Sprintf(format, args...)})
}

// addLenientFault adds a fault at a path, with the line of the nearest value in the file that encloses it.
func (d *lenientDecoder) addLenientFault(path, format string, args ...any) {
	d.addFaultAtLine(path, strict.NearestLine(d.lines, path), format, args...)
}

// parseFirstYAMLDocument returns the first document in data, or nil and a fault. prometheus-adapter ignores all that follows it, valid or
// not: a fault would stop a file that works there.
func (d *lenientDecoder) parseFirstYAMLDocument(data []byte) *yaml.Node {
	if len(data) > strict.MaxBytes {
		d.addFaultAtLine("", 0, "the file has %d bytes; the limit is %d", len(data), strict.MaxBytes)
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); err != nil {
		d.addYAMLSyntaxFault(err)
		return nil
	}
	if err := dec.Decode(&more); err != nil {
		d.addIgnoredDocumentWarning(err)
	} else if len(more.Content) == 1 && !strict.IsNullNode(more.Content[0]) {
		d.warnings = append(d.warnings, config.Fault{Line: more.Content[0].Line, Message: ignoredDocumentMessage})
	}
	if len(doc.Content) != 1 {
		return nil
	}
	return doc.Content[0]
}

// ignoredDocumentMessage is the warning about a second document.
const ignoredDocumentMessage = "second YAML document, which is ignored, as by prometheus-adapter; write its rules into the first"

// addIgnoredDocumentWarning adds a warning about text after the first document that is no YAML. The end of the file is no warning.
func (d *lenientDecoder) addIgnoredDocumentWarning(err error) {
	if errors.Is(err, io.EOF) {
		return
	}
	line, message := strict.ParseYAMLError(err)
	d.warnings = append(d.warnings, config.Fault{Line: line, Message: ignoredDocumentMessage + "; it is not valid YAML: " + message})
}

func (d *lenientDecoder) addYAMLSyntaxFault(err error) {
	if errors.Is(err, io.EOF) {
		d.addFaultAtLine("", 0, "the file is empty")
		return
	}
	line, message := strict.ParseYAMLError(err)
	d.addFaultAtLine("", line, "not valid YAML: %s", message)
}

// decodeLenientMapping calls the field decoder of each key that has a value. It adds faults for unknown and duplicate keys.
func (d *lenientDecoder) decodeLenientMapping(path string, n *yaml.Node, fields map[string]strict.FieldDecoder) {
	d.visitMappingKeys(path, n, func(at string, key, value *yaml.Node) {
		f, known := fields[key.Value]
		switch {
		case !known:
			d.addFaultAtLine(at, key.Line, "%s", strict.DescribeUnknownKey(key.Value, fields))
		case !strict.IsNullNode(value):
			f(at, value)
		}
	})
}

// visitMappingKeys calls each for all keys of a mapping. The keys of merged mappings come last, without the keys that came before.
func (d *lenientDecoder) visitMappingKeys(path string, n *yaml.Node, each func(at string, key, value *yaml.Node)) {
	if n = strict.ResolveAlias(n); n.Kind != yaml.MappingNode {
		d.addFaultAtLine(path, n.Line, "must be a mapping of keys to values, not %s", strict.DescribeNode(n))
		return
	}
	seen := map[string]int{}
	d.visitMappingPairs(path, n, seen, 0, each)
}

func (d *lenientDecoder) visitMappingPairs(path string, n *yaml.Node, seen map[string]int, depth int, each func(at string, key, value *yaml.Node)) {
	var merged []*yaml.Node
	own := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], strict.ResolveAlias(n.Content[i+1])
		if d.pairCount++; d.pairCount > maxPairs {
			if d.pairCount == maxPairs+1 {
				d.addFaultAtLine("", key.Line, "the file has more than %d values; aliases multiply them", maxPairs)
			}
			return
		}
		at := strict.JoinPath(path, key.Value)
		first, again := seen[key.Value]
		switch {
		case key.Kind != yaml.ScalarNode:
			d.addFaultAtLine(path, key.Line, "a key must be text, not %s", strict.DescribeNode(key))
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
		d.addFaultAtLine(path, m.Line, "merge keys are nested more than %d deep", maxMergeDepth)
	case m.Kind == yaml.MappingNode:
		d.visitMappingPairs(path, m, seen, depth, each)
	case m.Kind == yaml.SequenceNode:
		for _, e := range m.Content {
			d.visitMergedPairs(path, strict.ResolveAlias(e), seen, depth+1, each)
		}
	default:
		d.addFaultAtLine(path, m.Line, "a merge key needs a mapping, not %s", strict.DescribeNode(m))
	}
}

// decodeLenientSequence calls item for each element of a list.
func (d *lenientDecoder) decodeLenientSequence(path string, n *yaml.Node, item strict.FieldDecoder) {
	if n.Kind != yaml.SequenceNode {
		d.addFaultAtLine(path, n.Line, "must be a list, not %s", strict.DescribeNode(n))
		return
	}
	for i, e := range n.Content {
		at := strict.IndexPath(path, i)
		d.lines[at] = e.Line
		item(at, strict.ResolveAlias(e))
	}
}

func (d *lenientDecoder) newTextFieldDecoder(to *string) strict.FieldDecoder {
	return func(path string, n *yaml.Node) {
		if n.Kind != yaml.ScalarNode {
			d.addFaultAtLine(path, n.Line, "must be text, not %s%s", strict.DescribeNode(n), strict.DescribeQuotes(n, "!!str"))
			return
		}
		*to = n.Value
	}
}

// boolWords has the words of YAML 1.1 for true and false, in lower case.
var boolWords = map[string]bool{
	"y": true, "yes": true, "on": true, "true": true, "n": false, "no": false, "off": false, "false": false,
}

func (d *lenientDecoder) newBoolFieldDecoder(to **bool) strict.FieldDecoder {
	return func(path string, n *yaml.Node) {
		v, ok := boolWords[strings.ToLower(n.Value)]
		if !ok || n.Kind != yaml.ScalarNode || n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
			d.addFaultAtLine(path, n.Line, "must be true or false, not %s%s", strict.DescribeNode(n), strict.DescribeQuotes(n, "!!bool"))
			return
		}
		*to = &v
	}
}

func (d *lenientDecoder) newDurationFieldDecoder(to *time.Duration) strict.FieldDecoder {
	return func(path string, n *yaml.Node) {
		v, err := model.ParseDuration(n.Value)
		if err != nil || n.Kind != yaml.ScalarNode {
			d.addFaultAtLine(path, n.Line, "must be a duration such as 5m, not %s", strict.DescribeNode(n))
			return
		}
		*to = time.Duration(v)
	}
}
