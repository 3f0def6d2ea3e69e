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

// failRemoteDecoding records the first failure and skips the rest.
func (d *responseDecoder) failRemoteDecoding(cause string) {
	if d.failure == nil {
		d.failure = newRemoteFailuref(outcomeBadResponse, "the answer is not JSON of the Prometheus API: %s at byte %d of %d", cause, d.offset, len(d.data))
	}
	d.offset = len(d.data)
}

const (
	// decodedSampleBytes are a result's bytes beside the texts of its labels, most of them of the map; decodedTextBytes the bytes of a text.
	decodedSampleBytes, decodedTextBytes = 336, 48
)

// takeRemoteDecodingRoom counts decoded bytes, and fails beyond the bound: a small text in JSON can take a hundred times its bytes.
func (d *responseDecoder) takeRemoteDecodingRoom(bytes int) {
	if d.room -= int64(bytes); d.room < 0 && d.failure == nil {
		d.failRemoteDecoding("")
		d.failure = newRemoteFailuref(outcomeTooLarge, "the answer takes too much memory once it is decoded: query fewer results, or raise maxResponseBytes")
	}
}

// failUnexpectedRemoteByte fails at the byte at the offset, or at the end.
func (d *responseDecoder) failUnexpectedRemoteByte() {
	if d.offset < len(d.data) {
		d.failRemoteDecoding(strconv.QuoteRune(rune(d.data[d.offset])))
	} else if d.failure == nil {
		d.failure = newRemoteFailuref(outcomeBadResponse, "the answer is truncated JSON of %d bytes", len(d.data))
	}
}

// peekRemoteToken returns the first byte of the next token; 0 at the end.
func (d *responseDecoder) peekRemoteToken() byte {
	for ; d.offset < len(d.data); d.offset++ {
		switch c := d.data[d.offset]; c {
		case ' ', '\t', '\r', '\n':
		case 0:
			d.failRemoteDecoding("a zero byte")
		default:
			return c
		}
	}
	return 0
}

// consumeRemoteByte skips the next token if it begins with c.
func (d *responseDecoder) consumeRemoteByte(c byte) bool {
	if d.peekRemoteToken() != c {
		return false
	}
	d.offset++
	return true
}

// maxJSONDepth bounds the nesting of values.
const maxJSONDepth = 100

// enterNestedRemoteValue enters an array or object.
func (d *responseDecoder) enterNestedRemoteValue(open byte) bool {
	if !d.consumeRemoteByte(open) {
		d.failUnexpectedRemoteByte()
		return false
	}
	if d.depth++; d.depth > maxJSONDepth {
		d.failRemoteDecoding("too deep")
	}
	return d.failure == nil
}

// advanceRemoteElement reports whether an array or object has an element after its first n.
func (d *responseDecoder) advanceRemoteElement(n int, end byte) bool {
	switch {
	case d.failure != nil:
		return false
	case d.consumeRemoteByte(end):
		d.depth--
		return false
	case n > 0 && !d.consumeRemoteByte(','):
		d.failUnexpectedRemoteByte()
		return false
	}
	return true
}

// decodeRemoteJSONObject decodes an object; field must decode the value of its key.
func (d *responseDecoder) decodeRemoteJSONObject(field func(key string)) {
	if !d.enterNestedRemoteValue('{') {
		return
	}
	for n := 0; d.advanceRemoteElement(n, '}'); n++ {
		key := d.decodeRemoteJSONString()
		if !d.consumeRemoteByte(':') {
			d.failUnexpectedRemoteByte()
			return
		}
		field(key)
	}
}

// decodeRemoteJSONArray decodes an array; element must decode each element.
func (d *responseDecoder) decodeRemoteJSONArray(element func()) {
	if !d.enterNestedRemoteValue('[') {
		return
	}
	for n := 0; d.advanceRemoteElement(n, ']'); n++ {
		element()
	}
}

// decodeRemoteJSONString decodes a string.
func (d *responseDecoder) decodeRemoteJSONString() string {
	raw := d.readQuotedRemoteText()
	if len(raw) < 2 {
		return ""
	}
	if s, ok := d.internedStrings[string(raw[1:len(raw)-1])]; ok {
		return s
	}
	return d.internRemoteJSONString(raw)
}

// internRemoteJSONString decodes a quoted string and keeps it for equal strings.
func (d *responseDecoder) internRemoteJSONString(raw []byte) string {
	const maxInterned = 1 << 12 // further strings are mostly names of objects, which do not recur
	s := string(raw[1 : len(raw)-1])
	if strings.IndexByte(s, '\\') >= 0 || !utf8.ValidString(s) {
		if err := json.Unmarshal(raw, &s); err != nil {
			d.failRemoteDecoding("a bad string")
		}
	} else if len(d.internedStrings) < maxInterned {
		d.internedStrings[s] = s
	}
	return s
}

// readQuotedRemoteText reads a string with its quotes and escapes.
func (d *responseDecoder) readQuotedRemoteText() []byte {
	if d.peekRemoteToken() != '"' {
		d.failUnexpectedRemoteByte()
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
			d.failRemoteDecoding("a control character in a string")
			return nil
		}
	}
	d.offset = len(d.data)
	d.failUnexpectedRemoteByte()
	return nil
}

// rejectRemoteKeyTwice fails at a key that an object has already had: two readers would take different values.
func (d *responseDecoder) rejectRemoteKeyTwice(seen map[string]bool, key string) {
	if seen[key] {
		d.failRemoteDecoding("a key twice")
	}
	seen[key] = true
	d.takeRemoteDecodingRoom(decodedTextBytes + len(key))
}

// decodeRemoteJSONBool decodes true or false, or null for false.
func (d *responseDecoder) decodeRemoteJSONBool() bool {
	switch text := string(d.skipRemoteJSONValue()); text {
	case "true":
		return true
	case "false", "null":
	default:
		d.failRemoteDecoding("neither true nor false")
	}
	return false
}

// decodeRemoteJSONStrings decodes a list of strings, or null.
func (d *responseDecoder) decodeRemoteJSONStrings() []string {
	var all []string
	if d.peekRemoteToken() == 'n' {
		d.skipRemoteJSONValue()
		return nil
	}
	d.decodeRemoteJSONArray(func() {
		all = append(all, d.decodeRemoteJSONString())
		d.takeRemoteDecodingRoom(decodedTextBytes + len(all[len(all)-1]))
	})
	return all
}

// skipRemoteJSONValue skips any value. It returns the text of a value that is neither array nor object.
func (d *responseDecoder) skipRemoteJSONValue() []byte {
	switch d.peekRemoteToken() {
	case '{':
		d.decodeRemoteJSONObject(func(string) { d.skipRemoteJSONValue() })
		return nil
	case '[':
		d.decodeRemoteJSONArray(func() { d.skipRemoteJSONValue() })
		return nil
	case '"':
		return d.readQuotedRemoteText()
	}
	from := d.offset
	for d.offset < len(d.data) && bytes.IndexByte([]byte(",]} \t\r\n"), d.data[d.offset]) < 0 {
		d.offset++
	}
	literal := d.data[from:d.offset]
	if !json.Valid(literal) {
		d.offset = from
		d.failUnexpectedRemoteByte()
		return nil
	}
	return literal
}
