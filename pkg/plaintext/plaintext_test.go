package plaintext

import (
	"encoding/json"
	"regexp"
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
	"\U0001d173music", "z\u0300\u0301\u0302\u0303\u0304\u0305\u0306", "\u3164\U000e0100", "\xff\xfe", "\x9b31m", "\ufffe", "plain # : - {}", "'single' \"double\" \\u202e", "y", "1e3", "~",
}

func TestClean(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"a\nb\tc\r\nd":             "a b c  d",
		"\x1b[2Jcleared":           `\x1b[2Jcleared`, // a terminal clears its screen
		"\u009b2Jcleared":          `\u009b2Jcleared`,
		"\u202eright to left":      `\u202eright to left`,
		"\u2028line\u0085":         " line ",
		"\ufeff\u200bmark\x00\x7f": `\ufeff\u200bmark\x00\x7f`,
		"\U000e0041\ufffe\ue000":   `\U000e0041\ufffe\ue000`,
		"\x9b31m\xff":              `\x9b31m\xff`, // 0x9b is an escape of eight bits
		"a\u0301\u0302\u0303\u0304\u0305\u0306b\u0301": "a\u0301\u0302\u0303\u0304" + `\u0305\u0306` + "b\u0301", // marks that would cover other lines
		"a\u3164b\u115fc\uffa0d\u034fe\ufe0ff":         `a\u3164b\u115fc\uffa0d\u034fe\ufe0ff`,                   // letters and marks that cannot be seen
		"größe 6.9 µs → 'x' \"y\" `z` \\ 日 \ufffd":     "größe 6.9 µs → 'x' \"y\" `z` \\ 日 \ufffd",
	} {
		if got := Clean(in); got != want {
			t.Errorf("Clean(%q) = %q, want %q", in, got, want)
		}
	}
	if got := CleanLines("a\x1b\nb\u009b"); got != `a\x1b`+"\n"+`b\u009b` {
		t.Errorf("lines became %q", got)
	}
}

func TestClip(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"": "", "abcdef": "abcdef", "abcdefg": "abc…", "abcde\n": "abcde ", "abcdeü": "abc…", "abüdef": "ab…", "a\x1b[": `a\x1b[`,
		"ab\x1b[": "ab…", "\u202e": `\u202e`, "\u202e\u202e": "…", // no half of a quotation
	} {
		if got := Clip(in, 6); got != want {
			t.Errorf("Clip(%q) = %q, want %q", in, got, want)
		}
	}
}

// FuzzClip checks that no result moves a cursor or ends a line, that its length is bounded, and that nothing is cleaned twice.
func FuzzClip(f *testing.F) {
	for _, seed := range append(activeTexts, "", "abc", strings.Repeat("é\n", 100)) {
		f.Add(seed, 20)
	}
	f.Fuzz(func(t *testing.T, text string, maxBytes int) {
		maxBytes = min(max(maxBytes, len(cutMark)), 1000)
		got := Clip(text, maxBytes)
		if len(got) > maxBytes || !utf8.ValidString(got) {
			t.Fatalf("%q: %q, longer than %d bytes or not UTF-8", text, got, maxBytes)
		}
		if strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("%q: %q", text, got)
		}
		if again := Clip(got, maxBytes); again != got {
			t.Fatalf("%q: %q, cleaned again %q", text, got, again)
		}
	})
}

func TestCleanValue(t *testing.T) {
	t.Parallel()
	got := CleanValue(map[string]any{"a\x1b": []any{"b\u202e", 1.5, nil, map[string]any{"c": "\u009b"}}})
	want := map[string]any{`a\x1b`: []any{`b\u202e`, 1.5, nil, map[string]any{"c": `\u009b`}}}
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

var stackedMarks = regexp.MustCompile(`\pM{5}`)

func isInert(data []byte) bool {
	return utf8.Valid(data) && !stackedMarks.Match(data) && strings.IndexFunc(string(data), func(r rune) bool {
		return r != '\n' && (unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector))
	}) < 0
}
