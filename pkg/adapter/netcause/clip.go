package netcause

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Clip makes text of another program fit for an error, a log line, an Event, a status, and so for a terminal. It quotes control
// characters, line breaks, marks that change the direction of writing, and invalid UTF-8 as Go does: \x1b, \n, \u202e. Spaces and
// printable letters stay. It cuts the result to maxBytes, never within a quoted character, and marks the cut.
func Clip(text string, maxBytes int) string {
	if len(text) <= maxBytes && isPlainText(text) {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		quoted := text[:size]
		switch {
		case r == utf8.RuneError && size == 1:
			quoted = `\x` + strconv.FormatUint(uint64(text[0]), 16)
		case !strconv.IsPrint(r):
			quoted = strings.Trim(strconv.QuoteRune(r), "'")
		}
		if b.Len()+len(quoted) > maxBytes {
			return b.String() + "…"
		}
		b.WriteString(quoted)
		text = text[size:]
	}
	return b.String()
}

// isPlainText reports whether text has printable ASCII only, as nearly all text has.
func isPlainText(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}
