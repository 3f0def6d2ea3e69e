package config

import (
	"errors"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	promconfig "github.com/prometheus/common/config"
	yamlv2 "go.yaml.in/yaml/v2"
	"go.yaml.in/yaml/v3"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// decodeHTTPClient decodes the HTTP client configuration of Prometheus, with Prometheus's own decoder and checks.
//
// Its values are secrets. Errors of that decoder repeat values, and go to logs and health endpoints: a fault has the key and the
// kind of such an error, and never its text.
func (d *adapterConfigDecoder) decodeHTTPClient(path string, n *yaml.Node) promconfig.HTTPClientConfig {
	c := promconfig.DefaultHTTPClientConfig
	n = expandYAMLAliases(n)
	text, err := yaml.Marshal(n)
	if err == nil {
		err = yamlv2.UnmarshalStrict(text, &c)
	}
	var typeError *yamlv2.TypeError
	var urlError *url.Error
	switch {
	case err == nil:
	case errors.As(err, &typeError):
		for _, e := range typeError.Errors {
			d.AddFaultAtLine(path, n.Line, "%s", describeYAMLTypeError(e, string(text)))
		}
	case errors.As(err, &urlError):
		d.AddFaultAtLine(path, n.Line, "has an invalid URL (it may be a secret, so it is not shown); write http://HOST:PORT")
	case repeatsYAMLValue(err.Error(), n):
		d.AddFaultAtLine(path, n.Line, "has an invalid value (it may be a secret, so it is not shown)")
	default:
		d.AddFaultAtLine(path, n.Line, "%v", err)
	}
	return c
}

var (
	// httpUnknownKeyRegexp and httpTypeErrorRegexp match errors of Prometheus's decoder.
	httpUnknownKeyRegexp = regexp.MustCompile(`^line \d+: field (\S+) not found in type \S+$`)
	httpTypeErrorRegexp  = regexp.MustCompile(`^line (\d+): cannot unmarshal `)
	// httpKeyRegexp matches a key. Anything else in the place of a key may be a secret without its key.
	httpKeyRegexp = regexp.MustCompile(`^(?:- )*([a-zA-Z][a-zA-Z_-]*):`)
)

// describeYAMLTypeError returns an error of Prometheus's decoder for text, without any value.
func describeYAMLTypeError(message, text string) string {
	if m := httpUnknownKeyRegexp.FindStringSubmatch(message); m != nil {
		key, _, joined := strings.Cut(m[1], ":")
		switch isKey := httpKeyRegexp.MatchString(key + ":"); {
		case isKey && joined:
			return "write a space after the colon of " + key
		case isKey:
			return "unknown key " + key
		}
	}
	if m := httpTypeErrorRegexp.FindStringSubmatch(message); m != nil {
		lines := strings.Split(text, "\n")
		i, _ := strconv.Atoi(m[1])
		for i = min(i, len(lines)); i > 0; i-- { // the item of a list stands below the key of the list
			if key := httpKeyRegexp.FindStringSubmatch(strings.TrimSpace(lines[i-1])); key != nil {
				remedy := ""
				if findParentYAMLLine(lines, i-1) == "http_headers:" {
					remedy = "; a header is {values: [TEXT]}, or {files: [PATH]}"
				}
				return key[1] + " has a value of another type than Prometheus's http_config (it may be a secret, so it is not shown)" + remedy
			}
		}
	}
	return "is not as Prometheus's http_config (what is wrong may be a secret, so it is not shown)"
}

// expandYAMLAliases returns a copy of a node that stands for itself: with the values of its aliases, whose anchors may be elsewhere
// in the file, and each key on a line of its own. The document's aliases are within their bound.
func expandYAMLAliases(n *yaml.Node) *yaml.Node {
	n = strict.ResolveAlias(n)
	expanded := *n
	expanded.Anchor, expanded.Style, expanded.Content = "", n.Style&^yaml.FlowStyle, nil
	for _, child := range n.Content {
		expanded.Content = append(expanded.Content, expandYAMLAliases(child))
	}
	return &expanded
}

// minSecretBytes is the length from which a value is looked for in a message: shorter ones stand in every sentence.
const minSecretBytes = 4

// repeatsYAMLValue reports whether a message has a value of the node in it.
func repeatsYAMLValue(message string, n *yaml.Node) bool {
	if n.Kind == yaml.ScalarNode {
		return len(n.Value) >= minSecretBytes && strings.Contains(message, n.Value)
	}
	for i, child := range n.Content {
		if isKey := n.Kind == yaml.MappingNode && i%2 == 0; !isKey && repeatsYAMLValue(message, child) {
			return true
		}
	}
	return false
}

// findParentYAMLLine returns the nearest line before lines[i] with a smaller indentation, without its spaces; empty if there is none.
func findParentYAMLLine(lines []string, i int) string {
	indentation := func(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }
	for j := i - 1; j >= 0; j-- {
		if indentation(lines[j]) < indentation(lines[i]) {
			return strings.TrimSpace(lines[j])
		}
	}
	return ""
}
