// The JSON decoder of query responses: it interns strings and stops at the first failure.

package remote

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"
)

// responseDecoder decodes JSON from front to back. After the first failure it skips the rest.
type responseDecoder struct {
	data            []byte
	offset          int
	depth           int
	failure         *backendRequestFailure
	internedStrings map[string]string // equal strings share their memory
	room            int64             // bytes that decoded values may still take

	resultType    string // type of the result
	resultDecoded bool   // a result was decoded
	samples       []resultSample
	resultFailure *backendRequestFailure // of the first result without a number
}

// failResponseDecoding records the first failure and skips the rest.
func (d *responseDecoder) failResponseDecoding(cause string) {
	if d.failure == nil {
		d.failure = newRequestFailuref(outcomeBadResponse, "the answer is not JSON of the Prometheus API: %s at byte %d of %d", cause, d.offset, len(d.data))
	}
	d.offset = len(d.data)
}

const (
	// decodedSampleBytes are a result's bytes beside the texts of its labels, most of them of the map; decodedTextBytes the bytes of a text.
	decodedSampleBytes, decodedTextBytes = 336, 48
)

// takeDecodingRoom counts decoded bytes, and fails beyond the bound: a small text in JSON can take a hundred times its bytes.
func (d *responseDecoder) takeDecodingRoom(bytes int) {
	if d.room -= int64(bytes); d.room < 0 && d.failure == nil {
		d.failResponseDecoding("")
		d.failure = newRequestFailuref(outcomeTooLarge, "the answer takes too much memory once it is decoded: query fewer results, or raise maxResponseBytes")
	}
}

// rejectUnexpectedResponseByte fails at the byte at the offset, or at the end.
func (d *responseDecoder) rejectUnexpectedResponseByte() {
	if d.offset < len(d.data) {
		d.failResponseDecoding(strconv.QuoteRune(rune(d.data[d.offset])))
	} else if d.failure == nil {
		d.failure = newRequestFailuref(outcomeBadResponse, "the answer is truncated JSON of %d bytes", len(d.data))
	}
}

// peekResponseJSON returns the first byte of the next token; 0 at the end.
func (d *responseDecoder) peekResponseJSON() byte {
	for ; d.offset < len(d.data); d.offset++ {
		switch c := d.data[d.offset]; c {
		case ' ', '\t', '\r', '\n':
		case 0:
			d.failResponseDecoding("a zero byte")
		default:
			return c
		}
	}
	return 0
}

// consumeResponseJSON skips the next token if it begins with c.
func (d *responseDecoder) consumeResponseJSON(c byte) bool {
	if d.peekResponseJSON() != c {
		return false
	}
	d.offset++
	return true
}

// maxJSONDepth bounds the nesting of values.
const maxJSONDepth = 100

// enterResponseJSON enters an array or object.
func (d *responseDecoder) enterResponseJSON(open byte) bool {
	if !d.consumeResponseJSON(open) {
		d.rejectUnexpectedResponseByte()
		return false
	}
	if d.depth++; d.depth > maxJSONDepth {
		d.failResponseDecoding("too deep")
	}
	return d.failure == nil
}

// advanceResponseJSON reports whether an array or object has an element after its first n.
func (d *responseDecoder) advanceResponseJSON(n int, end byte) bool {
	switch {
	case d.failure != nil:
		return false
	case d.consumeResponseJSON(end):
		d.depth--
		return false
	case n > 0 && !d.consumeResponseJSON(','):
		d.rejectUnexpectedResponseByte()
		return false
	}
	return true
}

// decodeResponseObject decodes an object; field must decode the value of its key.
func (d *responseDecoder) decodeResponseObject(field func(key string)) {
	if !d.enterResponseJSON('{') {
		return
	}
	for n := 0; d.advanceResponseJSON(n, '}'); n++ {
		key := d.decodeResponseString()
		if !d.consumeResponseJSON(':') {
			d.rejectUnexpectedResponseByte()
			return
		}
		field(key)
	}
}

// decodeResponseArray decodes an array; element must decode each element.
func (d *responseDecoder) decodeResponseArray(element func()) {
	if !d.enterResponseJSON('[') {
		return
	}
	for n := 0; d.advanceResponseJSON(n, ']'); n++ {
		element()
	}
}

// decodeResponseString decodes a string.
func (d *responseDecoder) decodeResponseString() string {
	raw := d.readQuotedResponseJSON()
	if len(raw) < 2 {
		return ""
	}
	if s, ok := d.internedStrings[string(raw[1:len(raw)-1])]; ok {
		return s
	}
	return d.internResponseString(raw)
}

// internResponseString decodes a quoted string and keeps it for equal strings.
func (d *responseDecoder) internResponseString(raw []byte) string {
	const maxInterned = 1 << 12 // further strings are mostly names of objects, which do not recur
	s := string(raw[1 : len(raw)-1])
	if strings.IndexByte(s, '\\') >= 0 || !utf8.ValidString(s) {
		if err := json.Unmarshal(raw, &s); err != nil {
			d.failResponseDecoding("a bad string")
		}
	} else if len(d.internedStrings) < maxInterned {
		d.internedStrings[s] = s
	}
	return s
}

// readQuotedResponseJSON reads a string with its quotes and escapes.
func (d *responseDecoder) readQuotedResponseJSON() []byte {
	if d.peekResponseJSON() != '"' {
		d.rejectUnexpectedResponseByte()
		return nil
	}
	for i := d.offset + 1; i < len(d.data); i++ {
		switch c := d.data[i]; {
		case c == '\\':
			i++
		case c == '"':
			raw := d.data[d.offset : i+1]
			d.offset = i + 1
			return raw
		case c < ' ':
			d.failResponseDecoding("a control character in a string")
			return nil
		}
	}
	d.offset = len(d.data)
	d.rejectUnexpectedResponseByte()
	return nil
}

// rejectRepeatedResponseKey fails at a key that an object has already had: two readers would take different values.
func (d *responseDecoder) rejectRepeatedResponseKey(seen map[string]bool, key string) {
	if seen[key] {
		d.failResponseDecoding("a key twice")
	}
	seen[key] = true
	d.takeDecodingRoom(decodedTextBytes + len(key))
}

// decodeResponseBool decodes true or false, or null for false.
func (d *responseDecoder) decodeResponseBool() bool {
	switch text := string(d.skipResponseJSON()); text {
	case "true":
		return true
	case "false", "null":
	default:
		d.failResponseDecoding("neither true nor false")
	}
	return false
}

// decodeResponseStrings decodes a list of strings, or null.
func (d *responseDecoder) decodeResponseStrings() []string {
	var all []string
	if d.peekResponseJSON() == 'n' {
		d.skipResponseJSON()
		return nil
	}
	d.decodeResponseArray(func() {
		all = append(all, d.decodeResponseString())
		d.takeDecodingRoom(decodedTextBytes + len(all[len(all)-1]))
	})
	return all
}

// skipResponseJSON skips any value. It returns the text of a value that is neither array nor object.
func (d *responseDecoder) skipResponseJSON() []byte {
	switch d.peekResponseJSON() {
	case '{':
		d.decodeResponseObject(func(string) { d.skipResponseJSON() })
		return nil
	case '[':
		d.decodeResponseArray(func() { d.skipResponseJSON() })
		return nil
	case '"':
		raw := d.readQuotedResponseJSON()
		if d.failure == nil && !json.Valid(raw) {
			d.failResponseDecoding("a bad string")
		}
		return raw
	}
	from := d.offset
	for d.offset < len(d.data) && bytes.IndexByte([]byte(",]} \t\r\n"), d.data[d.offset]) < 0 {
		d.offset++
	}
	literal := d.data[from:d.offset]
	if !json.Valid(literal) {
		d.offset = from
		d.rejectUnexpectedResponseByte()
		return nil
	}
	return literal
}
