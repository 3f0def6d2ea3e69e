// This file writes and reads the fields of entries as bytes.

package recorder

import (
	"encoding/binary"
	"errors"
)

// maxTextBytes bounds a recorded text: an error may quote a page.
const maxTextBytes = 256

var errDamagedBlock = errors.New("a block of the record is damaged")

// coder writes fields to data or reads them from it, so that one walk through an entry serves both directions. Numbers are varints.
// Texts are indexes into a table.
type coder struct {
	data    []byte
	reading bool
	texts   []string
	ids     map[string]int // of texts, while writing
	size    int            // bytes of the texts, while writing
	failed  bool           // the data ended within an entry
}

// reset forgets the written bytes, and keeps the memory. The texts of a closed block are copies.
func (c *coder) reset() {
	clear(c.ids)
	clear(c.texts) // which may be long
	*c = coder{data: c.data[:0], texts: c.texts[:0], ids: c.ids}
}

// codeNumber codes a signed number.
func (c *coder) codeNumber(v *int64) {
	if !c.reading {
		c.data = binary.AppendVarint(c.data, *v)
		return
	}
	n, size := binary.Varint(c.data)
	if size <= 0 {
		c.failed, c.data, n, size = true, nil, 0, 0
	}
	*v, c.data = n, c.data[size:]
}

// codeNumberDelta codes a number by its difference to a base.
func (c *coder) codeNumberDelta(v *int64, base int64) {
	d := *v - base
	c.codeNumber(&d)
	*v = base + d
}

// codeFlag codes a truth value.
func (c *coder) codeFlag(v *bool) {
	n := int64(0)
	if *v {
		n = 1
	}
	c.codeNumber(&n)
	*v = n != 0
}

// codeLength codes a length. While reading it returns no more than the bytes that are left.
func (c *coder) codeLength(n int) int {
	v := int64(n)
	c.codeNumber(&v)
	if c.reading && (v < 0 || v > int64(len(c.data))) {
		c.failed, v = true, 0
	}
	return int(v)
}

// codeInternedText codes a text.
func (c *coder) codeInternedText(v *string) {
	id := int64(0)
	if !c.reading {
		id = c.internText(*v)
	}
	c.codeNumber(&id)
	if c.reading {
		*v = c.lookUpInternedText(id)
	}
}

// codeTextDelta codes a text that often equals another one.
func (c *coder) codeTextDelta(v *string, before string) {
	id := int64(-1)
	if !c.reading && *v != before {
		id = c.internText(*v)
	}
	c.codeNumber(&id)
	if c.reading {
		if *v = before; id >= 0 {
			*v = c.lookUpInternedText(id)
		}
	}
}

// internText returns the index of a text, plus 1; 0 for an empty text.
func (c *coder) internText(text string) int64 {
	if text == "" {
		return 0
	}
	if len(text) > maxTextBytes {
		text = text[:maxTextBytes-3] + "..."
	}
	if id, ok := c.ids[text]; ok {
		return int64(id)
	}
	c.texts = append(c.texts, text)
	c.size += len(text)
	if c.ids == nil {
		c.ids = map[string]int{}
	}
	c.ids[text] = len(c.texts)
	return int64(len(c.texts))
}

// lookUpInternedText returns the text of an index.
func (c *coder) lookUpInternedText(id int64) string {
	if id < 0 || id > int64(len(c.texts)) {
		c.failed = true
		return ""
	}
	if id == 0 {
		return ""
	}
	return c.texts[id-1]
}
