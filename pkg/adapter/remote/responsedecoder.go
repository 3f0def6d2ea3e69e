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
	failure         *requestFailure
	internedStrings map[string]string // equal strings share their memory
	room            int64             // bytes that decoded values may still take

	resultType    string // type of the result
	resultDecoded bool   // a result was decoded
	samples       []resultSample
	resultFailure *requestFailure // of the first result without a number
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

// rejectUnexpectedByte fails at the byte at the offset, or at the end.
func (d *responseDecoder) rejectUnexpectedByte() {
	if d.offset < len(d.data) {
		d.failResponseDecoding(strconv.QuoteRune(rune(d.data[d.offset])))
	} else if d.failure == nil {
		d.failure = newRequestFailuref(outcomeBadResponse, "the answer is truncated JSON of %d bytes", len(d.data))
	}
}

// peekJSONToken returns the first byte of the next token; 0 at the end.
func (d *responseDecoder) peekJSONToken() byte {
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

// consumeJSONToken skips the next token if it begins with c.
func (d *responseDecoder) consumeJSONToken(c byte) bool {
	if d.peekJSONToken() != c {
		return false
	}
	d.offset++
	return true
}

// maxJSONDepth bounds the nesting of values.
const maxJSONDepth = 100

// enterNestedJSON enters an array or object.
func (d *responseDecoder) enterNestedJSON(open byte) bool {
	if !d.consumeJSONToken(open) {
		d.rejectUnexpectedByte()
		return false
	}
	if d.depth++; d.depth > maxJSONDepth {
		d.failResponseDecoding("too deep")
	}
	return d.failure == nil
}

// advanceJSONElement reports whether an array or object has an element after its first n.
func (d *responseDecoder) advanceJSONElement(n int, end byte) bool {
	switch {
	case d.failure != nil:
		return false
	case d.consumeJSONToken(end):
		d.depth--
		return false
	case n > 0 && !d.consumeJSONToken(','):
		d.rejectUnexpectedByte()
		return false
	}
	return true
}

// decodeJSONObject decodes an object; field must decode the value of its key.
func (d *responseDecoder) decodeJSONObject(field func(key string)) {
	if !d.enterNestedJSON('{') {
		return
	}
	for n := 0; d.advanceJSONElement(n, '}'); n++ {
		key := d.decodeJSONString()
		if !d.consumeJSONToken(':') {
			d.rejectUnexpectedByte()
			return
		}
		field(key)
	}
}

// decodeJSONArray decodes an array; element must decode each element.
func (d *responseDecoder) decodeJSONArray(element func()) {
	if !d.enterNestedJSON('[') {
		return
	}
	for n := 0; d.advanceJSONElement(n, ']'); n++ {
		element()
	}
}

// decodeJSONString decodes a string.
func (d *responseDecoder) decodeJSONString() string {
	raw := d.readQuotedJSON()
	if len(raw) < 2 {
		return ""
	}
	if s, ok := d.internedStrings[string(raw[1:len(raw)-1])]; ok {
		return s
	}
	return d.internJSONString(raw)
}

// internJSONString decodes a quoted string and keeps it for equal strings.
func (d *responseDecoder) internJSONString(raw []byte) string {
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

// readQuotedJSON reads a string with its quotes and escapes.
func (d *responseDecoder) readQuotedJSON() []byte {
	if d.peekJSONToken() != '"' {
		d.rejectUnexpectedByte()
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
	d.rejectUnexpectedByte()
	return nil
}

// rejectRepeatedJSONKey fails at a key that an object has already had: two readers would take different values.
func (d *responseDecoder) rejectRepeatedJSONKey(seen map[string]bool, key string) {
	if seen[key] {
		d.failResponseDecoding("a key twice")
	}
	seen[key] = true
	d.takeDecodingRoom(decodedTextBytes + len(key))
}

// decodeJSONBool decodes true or false, or null for false.
func (d *responseDecoder) decodeJSONBool() bool {
	switch text := string(d.skipJSONValue()); text {
	case "true":
		return true
	case "false", "null":
	default:
		d.failResponseDecoding("neither true nor false")
	}
	return false
}

// decodeJSONStrings decodes a list of strings, or null.
func (d *responseDecoder) decodeJSONStrings() []string {
	var all []string
	if d.peekJSONToken() == 'n' {
		d.skipJSONValue()
		return nil
	}
	d.decodeJSONArray(func() {
		all = append(all, d.decodeJSONString())
		d.takeDecodingRoom(decodedTextBytes + len(all[len(all)-1]))
	})
	return all
}

// skipJSONValue skips any value. It returns the text of a value that is neither array nor object.
func (d *responseDecoder) skipJSONValue() []byte {
	switch d.peekJSONToken() {
	case '{':
		d.decodeJSONObject(func(string) { d.skipJSONValue() })
		return nil
	case '[':
		d.decodeJSONArray(func() { d.skipJSONValue() })
		return nil
	case '"':
		return d.readQuotedJSON()
	}
	from := d.offset
	for d.offset < len(d.data) && bytes.IndexByte([]byte(",]} \t\r\n"), d.data[d.offset]) < 0 {
		d.offset++
	}
	literal := d.data[from:d.offset]
	if !json.Valid(literal) {
		d.offset = from
		d.rejectUnexpectedByte()
		return nil
	}
	return literal
}
