// Package plaintext makes texts of other programs harmless and short: a terminal obeys control characters and marks of writing direction.
package plaintext

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"sigs.k8s.io/yaml"
)

// cutMark ends a text that was cut.
const cutMark = "…"

// Clean makes a text fit for one line of a terminal, a log, an Event or a status. Line breaks and tabs become spaces. Other characters that do
// not print or cannot be seen, marks above the fourth on one character, and invalid UTF-8 are quoted as Go does: \x1b, \u202e.
func Clean(text string) string { return Clip(text, math.MaxInt) }

// Clip is Clean with a result of at most maxBytes, 3 or more. It marks a cut, and cuts neither a character nor its quotation.
func Clip(text string, maxBytes int) string {
	if len(text) <= maxBytes && isPrintableASCII(text) {
		return text
	}
	var b strings.Builder
	var stack markStack
	end := 0 // where the text has room for the mark
	for i, r := range text {
		if r == utf8.RuneError && !strings.HasPrefix(text[i:], string(r)) {
			b.WriteString(`\x` + strconv.FormatUint(uint64(text[i]), 16))
		} else {
			b.WriteString(stack.cleanTextRune(r))
		}
		if b.Len() > maxBytes {
			return b.String()[:end] + cutMark
		}
		if b.Len() <= maxBytes-len(cutMark) {
			end = b.Len()
		}
	}
	return b.String()
}

func (m *markStack) cleanTextRune(r rune) string {
	harmless := m.isHarmlessNext(r)
	switch {
	case unicode.IsSpace(r):
		return " "
	case harmless:
		return string(r)
	}
	return strings.Trim(strconv.QuoteRuneToASCII(r), "'")
}

// isPrintableASCII reports whether a text has printable ASCII only, as nearly all texts have.
func isPrintableASCII(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

// CleanLines cleans each line of a text.
func CleanLines(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = Clean(line)
	}
	return strings.Join(lines, "\n")
}

// CleanValue returns a decoded JSON value with all of its texts and keys cleaned.
func CleanValue(value any) any {
	switch v := value.(type) {
	case string:
		return Clean(v)
	case []any:
		cleaned := make([]any, len(v))
		for i := range v {
			cleaned[i] = CleanValue(v[i])
		}
		return cleaned
	case map[string]any:
		cleaned := make(map[string]any, len(v))
		for key := range v {
			cleaned[Clean(key)] = CleanValue(v[key])
		}
		return cleaned
	}
	return value
}

// MarshalJSON returns an object as JSON in one line, without a character that a terminal obeys: each is escaped, so no text changes.
func MarshalJSON(object any) ([]byte, error) {
	data, err := json.Marshal(object)
	return EscapeJSON(data), err
}

// EscapeJSON returns JSON with each character escaped that a terminal obeys, so that no text changes. It returns harmless JSON itself.
func EscapeJSON(data []byte) []byte { return escapeJSONText(data, escapeJSONRune) }

// MarshalIndent is MarshalJSON with an indent of two spaces.
func MarshalIndent(object any) ([]byte, error) {
	data, err := json.MarshalIndent(object, "", "  ")
	return EscapeJSON(data), err
}

// MarshalYAML returns an object as YAML, without a character that a terminal obeys. YAML writes some of these characters as they are, so
// an object with one of them is written as JSON, which is YAML too.
func MarshalYAML(object any) ([]byte, error) {
	data, err := json.Marshal(object)
	if err == nil {
		data, err = yaml.JSONToYAML(escapeJSONText(data, escapeYAMLRune))
	}
	if err != nil || isHarmlessText(data) {
		return data, err
	}
	data, err = json.MarshalIndent(object, "", "  ")
	return append(escapeJSONText(data, escapeYAMLRune), '\n'), err
}

// markStack counts the marks on one character of a text. A hundred accents on a letter cover the lines above and below.
type markStack int

// maxStackedMarks is enough for every script.
const maxStackedMarks = 4

// isHarmlessNext reports whether the only effect of the next character on a terminal is that it is shown.
func (m *markStack) isHarmlessNext(r rune) bool {
	if !unicode.IsMark(r) {
		*m = 0
	} else {
		*m++
	}
	return *m <= maxStackedMarks && (unicode.IsPrint(r) || unicode.Is(unicode.Zs, r)) && !unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

func isHarmlessText(data []byte) bool {
	var stack markStack
	return strings.IndexFunc(string(data), func(r rune) bool { return !stack.isHarmlessNext(r) && r != '\n' }) < 0
}

// escapeJSONText escapes the characters in JSON that a terminal obeys. Outside of texts JSON has none but line breaks.
func escapeJSONText(data []byte, escape func(r rune) string) []byte {
	if isHarmlessText(data) {
		return data
	}
	var b strings.Builder
	var stack markStack
	for _, r := range string(data) {
		if stack.isHarmlessNext(r) || r == '\n' {
			b.WriteRune(r)
		} else {
			b.WriteString(escape(r))
		}
	}
	return []byte(b.String())
}

// escapeJSONRune writes a character as JSON does: in two halves if it has more than 16 bits.
func escapeJSONRune(r rune) string {
	if high, low := utf16.EncodeRune(r); high != unicode.ReplacementChar {
		return fmt.Sprintf(`\u%04x\u%04x`, high, low)
	}
	return fmt.Sprintf(`\u%04x`, r)
}

// escapeYAMLRune writes a character as YAML does: as one escape, not as two surrogates.
func escapeYAMLRune(r rune) string {
	if r > 0xffff {
		return fmt.Sprintf(`\U%08x`, r)
	}
	return fmt.Sprintf(`\u%04x`, r)
}
