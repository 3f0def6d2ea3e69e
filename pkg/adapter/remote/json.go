package remote

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"
)

// decoder reads JSON from front to back. After the first fault it reads nothing more.
type decoder struct {
	data  []byte
	at    int
	deep  int
	fault *fault
	names map[string]string // strings seen before, so that equal ones are one

	kind    string // of the result
	read    bool   // the result was
	samples []sample
	odd     *fault // of the first result that is no number
}

func (d *decoder) fail(what string) {
	if d.fault == nil {
		d.fault = faultf(badAnswer, "the answer is not JSON of the Prometheus API: %s at byte %d of %d", what, d.at, len(d.data))
	}
	d.at = len(d.data)
}

// unexpected is at what stands here, or at the end.
func (d *decoder) unexpected() {
	if d.at < len(d.data) {
		d.fail(strconv.QuoteRune(rune(d.data[d.at])))
	} else if d.fault == nil {
		d.fault = faultf(badAnswer, "the answer is truncated JSON of %d bytes", len(d.data))
	}
}

// peek is the first byte of the next token; 0 at the end.
func (d *decoder) peek() byte {
	for ; d.at < len(d.data); d.at++ {
		switch c := d.data[d.at]; c {
		case ' ', '\t', '\r', '\n':
		case 0:
			d.fail("a zero byte")
		default:
			return c
		}
	}
	return 0
}

// take goes on behind a byte.
func (d *decoder) take(c byte) bool {
	if d.peek() != c {
		return false
	}
	d.at++
	return true
}

// maxDepth bounds how deep values may be nested.
const maxDepth = 100

// enter goes into an array or object.
func (d *decoder) enter(open byte) bool {
	if !d.take(open) {
		d.unexpected()
		return false
	}
	if d.deep++; d.deep > maxDepth {
		d.fail("too deep")
	}
	return d.fault == nil
}

// next tells whether there is another element, of which there have been n, before the end of an array or object.
func (d *decoder) next(n int, end byte) bool {
	switch {
	case d.fault != nil:
		return false
	case d.take(end):
		d.deep--
		return false
	case n > 0 && !d.take(','):
		d.unexpected()
		return false
	}
	return true
}

// object reads an object; field must read the value that belongs to each key.
func (d *decoder) object(field func(key string)) {
	if !d.enter('{') {
		return
	}
	for n := 0; d.next(n, '}'); n++ {
		key := d.text()
		if !d.take(':') {
			d.unexpected()
			return
		}
		field(key)
	}
}

// array reads an array; element must read each element.
func (d *decoder) array(element func()) {
	if !d.enter('[') {
		return
	}
	for n := 0; d.next(n, ']'); n++ {
		element()
	}
}

// text reads a string.
func (d *decoder) text() string {
	raw := d.quoted()
	if len(raw) < 2 {
		return ""
	}
	if s, ok := d.names[string(raw[1:len(raw)-1])]; ok {
		return s
	}
	return d.newText(raw)
}

// newText makes a string of its text in quotes, and keeps it for others that are equal.
func (d *decoder) newText(raw []byte) string {
	const most = 1 << 12 // more are names of objects, which do not recur
	s := string(raw[1 : len(raw)-1])
	if strings.IndexByte(s, '\\') >= 0 || !utf8.ValidString(s) {
		if err := json.Unmarshal(raw, &s); err != nil {
			d.fail("a bad string")
		}
	} else if len(d.names) < most {
		d.names[s] = s
	}
	return s
}

// quoted reads a string with its quotes, as it is written.
func (d *decoder) quoted() []byte {
	if d.peek() != '"' {
		d.unexpected()
		return nil
	}
	for i := d.at + 1; i < len(d.data); i++ {
		switch c := d.data[i]; {
		case c == '\\':
			i++
		case c == '"':
			raw := d.data[d.at : i+1]
			d.at = i + 1
			return raw
		case c < ' ':
			d.fail("a control character in a string")
			return nil
		}
	}
	d.at = len(d.data)
	d.unexpected()
	return nil
}

// texts reads a list of strings, or null.
func (d *decoder) texts() []string {
	var all []string
	if d.peek() == 'n' {
		d.skip()
		return nil
	}
	d.array(func() { all = append(all, d.text()) })
	return all
}

// skip reads any value and returns it as it is written, if it is neither array nor object.
func (d *decoder) skip() []byte {
	switch d.peek() {
	case '{':
		d.object(func(string) { d.skip() })
		return nil
	case '[':
		d.array(func() { d.skip() })
		return nil
	case '"':
		return d.quoted()
	}
	from := d.at
	for d.at < len(d.data) && bytes.IndexByte([]byte(",]} \t\r\n"), d.data[d.at]) < 0 {
		d.at++
	}
	literal := d.data[from:d.at]
	if !json.Valid(literal) {
		d.at = from
		d.unexpected()
		return nil
	}
	return literal
}
