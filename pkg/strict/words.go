// The words of faults: paths, kinds of nodes, quoted values, known keys.

package strict

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
)

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

// credentialsRegexp matches a user and a password in front of a host.
var credentialsRegexp = regexp.MustCompile(`^[^\s/@:]+:[^\s@]+@`)

// Quote returns a value of a file for a message: quoted and shortened, and without a URL or credentials, which may have a password in them.
func Quote(value string) string {
	switch {
	case strings.Contains(value, "://"):
		return "a URL"
	case credentialsRegexp.MatchString(value):
		return "credentials"
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

// DescribeUnknownKey returns the words for a key that is not among the fields: with the known key that is probably meant, or else with all
// known keys.
func DescribeUnknownKey(got string, fields map[string]FieldDecoder) string {
	known := slices.Sorted(maps.Keys(fields))
	if near := nearestStrictKey(got, known); near != "" {
		return "unknown key; did you mean " + near + "?"
	}
	return "unknown key; known: " + strings.Join(known, ", ")
}

// nearestStrictKey returns the known key that differs least, by an edit for each four letters at most: empty if there is none. Capitals,
// underscores and hyphens do not count.
func nearestStrictKey(got string, known []string) string {
	got = strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(got))
	best, bestDistance := "", len(got)+1
	for _, k := range known {
		most := min(len(k)/4, bestDistance-1)
		if max(len(got)-len(k), len(k)-len(got)) > most {
			continue // the lengths alone exclude it
		}
		if d := EditDistance(got, strings.ToLower(k)); d <= most {
			best, bestDistance = k, d
		}
	}
	return best
}
