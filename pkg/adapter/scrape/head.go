package scrape

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net/http"
)

// readHead reads up to the body. The error is io.EOF where nothing came at all.
func (r *reply) readHead() error {
	begin := 0 // of the line that is to come
	for {
		end := bytes.IndexByte(r.buf[begin:r.hi], '\n')
		switch {
		case end < 0 && r.hi == len(r.buf):
			return r.readUnusual()
		case end < 0:
			err := r.fill(math.MaxInt64)
			if errors.Is(err, io.EOF) && r.hi > 0 {
				return io.ErrUnexpectedEOF
			}
			if err != nil {
				return err
			}
		default:
			line, next := r.buf[begin:begin+end], begin+end+1
			if len(line) == 1 && line[0] == '\r' && begin > 0 && r.framed() {
				r.lo = next
				return nil
			}
			if !r.headLine(line, begin == 0) {
				return r.readUnusual()
			}
			begin = next
		}
	}
}

// framed reports, after the last header, whether it is known by length or by chunks how long the body is.
func (r *reply) framed() bool {
	r.left = max(0, r.answer.length)
	r.ended = r.answer.length == 0
	return r.chunked != r.seen.length
}

// headLine reads the status line or a header, and reports whether it can be part of a response of the usual kind. What it
// makes of such a one is what net/http would.
func (r *reply) headLine(line []byte, first bool) (usual bool) {
	line, ok := bytes.CutSuffix(line, []byte{'\r'})
	if first {
		r.answer = answer{status: http.StatusOK, length: -1, body: r}
		reason, is200 := bytes.CutPrefix(line, []byte("HTTP/1.1 200"))
		return ok && is200 && (len(reason) == 0 || reason[0] == ' ')
	}
	name, value, colon := bytes.Cut(line, []byte{':'})
	return ok && colon && isToken(name) && isText(value) && r.header(name, bytes.Trim(value, " \t"))
}

// headerSet notes the headers that may appear but once.
type headerSet struct{ length, chunks, media, encoding, connection bool }

func once(seen *bool) bool {
	first := !*seen
	*seen = true
	return first
}

// header takes a header into account, or reports that it is not of the usual kind.
func (r *reply) header(name, value []byte) (usual bool) {
	seen := &r.seen
	switch {
	case is(name, "Content-Length"):
		n, ok := decimal(value)
		r.answer.length = n
		return ok && once(&seen.length)
	case is(name, "Transfer-Encoding"):
		r.chunked = is(value, "chunked")
		return r.chunked && once(&seen.chunks)
	case is(name, "Content-Type"):
		r.answer.contentType = mediaType(value)
		return once(&seen.media)
	case is(name, "Content-Encoding"):
		r.answer.contentEncoding = string(value)
		return once(&seen.encoding)
	case is(name, "Connection"):
		r.close = is(value, "close")
		return once(&seen.connection) && (r.close || is(value, "keep-alive"))
	}
	return !is(name, "Trailer")
}

// is reports whether b is name, which is ASCII, in upper or lower case.
func is(b []byte, name string) bool {
	if len(b) != len(name) {
		return false
	}
	for i := range b {
		if lower(b[i]) != lower(name[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// mediaType returns a content type, where possible as a constant and without its parameters, which do not matter.
func mediaType(value []byte) string {
	media, _, _ := bytes.Cut(value, []byte{';'})
	for _, known := range [...]string{"text/plain", "application/openmetrics-text"} {
		if is(media, known) {
			return known
		}
	}
	return string(value)
}

// decimal reads a length.
func decimal(b []byte) (n int64, ok bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int64(c-'0')
	}
	return n, true
}

// isToken reports whether b can be the name of a header; what else a name may have is unusual.
func isToken(b []byte) bool {
	for _, c := range b {
		if c := lower(c); (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return len(b) > 0
}

// isText reports whether b has no control characters.
func isText(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
