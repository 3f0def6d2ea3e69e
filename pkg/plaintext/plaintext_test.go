package plaintext

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// activeTexts are texts with characters that a terminal obeys, in each way of writing them.
var activeTexts = []string{
	"\x1b[2Jcleared", "\u009b2Jcleared", "\u009d0;title\u009c", "\u0085next line", "\u007f\u007f", "\b\b\b", "\x00", "a\nb", "a\r\nb", "\v\f",
	"\u202eright to left", "\u2066isolate\u2069", "\u200bzero width", "\ufeffmark", "\u2028line\u2029paragraph", "\U000e0041tag", "\U000f0000private",
	"\U0001d173music", "\xff\xfe", "\x9b31m", "\ufffe", "plain # : - {}", "'single' \"double\" \\u202e", "y", "1e3", "~",
}

func TestClean(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"a\nb\tc\rd":               "a b c d",
		"\x1b[2Jcleared":           "?[2Jcleared",
		"\u009b2Jcleared":          "?2Jcleared",
		"\u202eright to left":      "?right to left",
		"\u2028line\u0085":         " line ",
		"\U000e0041\ufffe\ue000":   "???",
		"µ-seconds → 6.9 at 20 °C": "µ-seconds → 6.9 at 20 °C",
		"\x9b31m":                  "?31m",
	} {
		if got := Clean(in); got != want {
			t.Errorf("Clean(%q) = %q, want %q", in, got, want)
		}
	}
	if got := CleanLines("a\x1b\nb\u009b"); got != "a?\nb?" {
		t.Errorf("lines became %q", got)
	}
}

func TestCleanValue(t *testing.T) {
	t.Parallel()
	got := CleanValue(map[string]any{"a\x1b": []any{"b\u202e", 1.5, nil, map[string]any{"c": "\u009b"}}})
	want := map[string]any{"a?": []any{"b?", 1.5, nil, map[string]any{"c": "?"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestMarshal holds each format to both of its promises: nothing for a terminal to obey, and no text changed.
func TestMarshal(t *testing.T) {
	t.Parallel()
	decodeYAML := func(data []byte, into any) error { return yaml.Unmarshal(data, into) }
	for name, format := range map[string]struct {
		marshal   func(any) ([]byte, error)
		unmarshal func([]byte, any) error
	}{
		"json": {MarshalJSON, json.Unmarshal}, "indent": {MarshalIndent, json.Unmarshal}, "yaml": {MarshalYAML, decodeYAML},
	} {
		for _, text := range activeTexts {
			valid := string([]rune(text)) // JSON has no invalid UTF-8
			want := map[string]string{"text": valid, "k" + valid: "value"}
			data, err := format.marshal(map[string]string{"text": text, "k" + text: "value"})
			if err != nil {
				t.Fatalf("%s of %q: %v", name, text, err)
			}
			if !isInert(data) {
				t.Errorf("%s of %q has characters that a terminal obeys: %q", name, text, data)
			}
			got := map[string]string{}
			if err := format.unmarshal(data, &got); err != nil {
				t.Errorf("%s of %q: %v in %s", name, text, err, data)
			} else if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s of %q (-want +got):\n%s", name, text, diff)
			}
		}
	}
}

func isInert(data []byte) bool {
	return utf8.Valid(data) && strings.IndexFunc(string(data), func(r rune) bool {
		return r != '\n' && (unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co))
	}) < 0
}
