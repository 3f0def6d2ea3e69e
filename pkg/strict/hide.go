package strict

import (
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// hiddenValue stands for a value in a message.
const hiddenValue = "a value that is not shown, because it may be a secret"

// plainKeyRegexp matches a key. Anything else in the place of a key may be a secret without its key.
var plainKeyRegexp = regexp.MustCompile(`^[a-zA-Z]{1,40}$`)

// HideValues calls decode, which decodes n, and takes the values of n out of the faults that it adds: one of them may be a secret in a wrong place.
func (d *Decoder) HideValues(n *yaml.Node, decode func()) {
	before := len(d.Faults)
	decode()
	for i := range d.Faults[before:] {
		d.Faults[before+i].hideYAMLFaultValues(n, false)
	}
}

// hideYAMLFaultValues takes the values of a node out of a fault.
func (f *Fault) hideYAMLFaultValues(n *yaml.Node, isKey bool) {
	if n.Kind == yaml.ScalarNode && n.Value != "" && (!isKey || !plainKeyRegexp.MatchString(n.Value)) {
		f.Message = strings.ReplaceAll(f.Message, strconv.Quote(Shorten(n.Value)), hiddenValue)
		if isKey {
			f.Path = strings.TrimSuffix(f.Path, "."+n.Value)
		}
	}
	for i, child := range n.Content {
		f.hideYAMLFaultValues(child, n.Kind == yaml.MappingNode && i%2 == 0)
	}
	if n.Alias != nil {
		f.hideYAMLFaultValues(n.Alias, isKey)
	}
}
