// Scalars: texts, choices, numbers, bytes, durations and ports.

package strict

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

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

// Text returns the decoder of text, which must not be empty.
func (d *Decoder) Text(to *string) FieldDecoder {
	return func(path string, n *yaml.Node) {
		if n.Kind == yaml.ScalarNode && !IsNullNode(n) && n.ShortTag() != "!!str" {
			d.AddFaultAtLine(path, n.Line, "must be text, not %s; put it in quotes, or YAML reads a number, a date, or true or false", DescribeNode(n))
			return
		}
		if !d.ValidateScalar(path, n, "text", "!!str") {
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

// DecodeEnum decodes a choice among the words. It adds a fault for any other text and returns the first word. The word off may be false, as
// which Helm and other readers of YAML 1.1 write it.
func (d *Decoder) DecodeEnum(path string, n *yaml.Node, words ...string) string {
	word := n.Value
	if n.ShortTag() == "!!bool" && word == "false" {
		word = "off"
	}
	if n.Kind != yaml.ScalarNode || !slices.Contains(words, word) {
		d.AddFaultAtLine(path, n.Line, "must be %s, not %s", strings.Join(words, " or "), DescribeNode(n))
		return words[0]
	}
	return word
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

// Integer returns the decoder of a whole number from minimum to maximum. It rejects 1e3: readers of YAML 1.1 take it for a text, and 1000 is as short.
func (d *Decoder) Integer(to *int, minimum, maximum int) FieldDecoder {
	return func(path string, n *yaml.Node) {
		if plain := formatWholeNumber(n); plain != "" {
			d.AddFaultAtLine(path, n.Line, "must be a whole number, not %s; write %s", DescribeNode(n), plain)
			return
		}
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

// maxWholeFloat bounds the whole numbers that a float64 has exactly.
const maxWholeFloat = 1 << 53

// formatWholeNumber returns the digits of a whole number that is written as a float, such as 1e3 or 10.0; empty for any other node.
func formatWholeNumber(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!float" {
		return ""
	}
	v, err := strconv.ParseFloat(n.Value, 64)
	if err != nil || v != math.Trunc(v) || math.Abs(v) > maxWholeFloat {
		return ""
	}
	return strconv.FormatInt(int64(v), 10)
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
