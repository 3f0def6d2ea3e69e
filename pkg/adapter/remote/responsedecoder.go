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

	resultType    string // type of the result
	resultDecoded bool   // a result was decoded
	samples       []resultSample
	resultFailure *requestFailure // of the first result without a number
}

// failDecoding records the first failure and skips the rest.
func (d *responseDecoder) failDecoding(cause string) {
	if d.failure == nil {
		d.failure = newBackendFailuref(outcomeBadResponse, "the answer is not JSON of the Prometheus API: %s at byte %d of %d", cause, d.offset, len(d.data))
	}
	d.offset = len(d.data)
}

// failUnexpectedResponseByte fails at the byte at the offset, or at the end.
func (d *responseDecoder) failUnexpectedResponseByte() {
	if d.offset < len(d.data) {
		d.failDecoding(strconv.QuoteRune(rune(d.data[d.offset])))
	} else if d.failure == nil {
		d.failure = newBackendFailuref(outcomeBadResponse, "the answer is truncated JSON of %d bytes", len(d.data))
	}
}

// peekResponseToken returns the first byte of the next token; 0 at the end.
func (d *responseDecoder) peekResponseToken() byte {
	for ; d.offset < len(d.data); d.offset++ {
		switch c := d.data[d.offset]; c {
		case ' ', '\t', '\r', '\n':
		case 0:
			d.failDecoding("a zero byte")
		default:
			return c
		}
	}
	return 0
}

// consumeResponseByte skips the next token if it begins with c.
func (d *responseDecoder) consumeResponseByte(c byte) bool {
	if d.peekResponseToken() != c {
		return false
	}
	d.offset++
	return true
}

// maxJSONDepth bounds the nesting of values.
const maxJSONDepth = 100

// enterNestedResponse enters an array or object.
func (d *responseDecoder) enterNestedResponse(open byte) bool {
	if !d.consumeResponseByte(open) {
		d.failUnexpectedResponseByte()
		return false
	}
	if d.depth++; d.depth > maxJSONDepth {
		d.failDecoding("too deep")
	}
	return d.failure == nil
}

// advanceResponseElement reports whether an array or object has an element after its first n.
func (d *responseDecoder) advanceResponseElement(n int, end byte) bool {
	switch {
	case d.failure != nil:
		return false
	case d.consumeResponseByte(end):
		d.depth--
		return false
	case n > 0 && !d.consumeResponseByte(','):
		d.failUnexpectedResponseByte()
		return false
	}
	return true
}

// decodeResponseObject decodes an object; field must decode the value of its key.
func (d *responseDecoder) decodeResponseObject(field func(key string)) {
	if !d.enterNestedResponse('{') {
		return
	}
	for n := 0; d.advanceResponseElement(n, '}'); n++ {
		key := d.decodeJSONString()
		if !d.consumeResponseByte(':') {
			d.failUnexpectedResponseByte()
			return
		}
		field(key)
	}
}

// decodeResponseArray decodes an array; element must decode each element.
func (d *responseDecoder) decodeResponseArray(element func()) {
	if !d.enterNestedResponse('[') {
		return
	}
	for n := 0; d.advanceResponseElement(n, ']'); n++ {
		element()
	}
}

// decodeJSONString decodes a string.
func (d *responseDecoder) decodeJSONString() string {
	raw := d.readQuotedResponseText()
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
			d.failDecoding("a bad string")
		}
	} else if len(d.internedStrings) < maxInterned {
		d.internedStrings[s] = s
	}
	return s
}

// readQuotedResponseText reads a string with its quotes and escapes.
func (d *responseDecoder) readQuotedResponseText() []byte {
	if d.peekResponseToken() != '"' {
		d.failUnexpectedResponseByte()
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
			d.failDecoding("a control character in a string")
			return nil
		}
	}
	d.offset = len(d.data)
	d.failUnexpectedResponseByte()
	return nil
}

// decodeJSONStrings decodes a list of strings, or null.
func (d *responseDecoder) decodeJSONStrings() []string {
	var all []string
	if d.peekResponseToken() == 'n' {
		d.skipJSONValue()
		return nil
	}
	d.decodeResponseArray(func() { all = append(all, d.decodeJSONString()) })
	return all
}

// skipJSONValue skips any value. It returns the text of a value that is neither array nor object.
func (d *responseDecoder) skipJSONValue() []byte {
	switch d.peekResponseToken() {
	case '{':
		d.decodeResponseObject(func(string) { d.skipJSONValue() })
		return nil
	case '[':
		d.decodeResponseArray(func() { d.skipJSONValue() })
		return nil
	case '"':
		return d.readQuotedResponseText()
	}
	from := d.offset
	for d.offset < len(d.data) && bytes.IndexByte([]byte(",]} \t\r\n"), d.data[d.offset]) < 0 {
		d.offset++
	}
	literal := d.data[from:d.offset]
	if !json.Valid(literal) {
		d.offset = from
		d.failUnexpectedResponseByte()
		return nil
	}
	return literal
}
