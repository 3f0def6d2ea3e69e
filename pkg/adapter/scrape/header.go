package scrape

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net/http"
)

// readHeader reads up to the body. The error is io.EOF where nothing came at all.
func (r *responseReader) readHeader() error {
	begin := 0 // of the line that is to come
	for {
		end := bytes.IndexByte(r.buf[begin:r.hi], '\n')
		switch {
		case end < 0 && r.hi == len(r.buf):
			return r.readFallback()
		case end < 0:
			err := r.fillBuffer(math.MaxInt64)
			if errors.Is(err, io.EOF) && r.hi > 0 {
				return io.ErrUnexpectedEOF
			}
			if err != nil {
				return err
			}
		default:
			line, next := r.buf[begin:begin+end], begin+end+1
			if len(line) == 1 && line[0] == '\r' && begin > 0 && r.frameBody() {
				r.lo = next
				return nil
			}
			if !r.parseHeaderLine(line, begin == 0) {
				return r.readFallback()
			}
			begin = next
		}
	}
}

// frameBody reports, after the last header, whether it is known by length or by chunks how long the body is.
func (r *responseReader) frameBody() bool {
	r.bytesLeft = max(0, r.response.length)
	r.bodyEnded = r.response.length == 0
	return r.chunked != r.seen.contentLength
}

// parseHeaderLine reads the status line or a header, and reports whether it can be part of a response of the usual kind. What it
// makes of such a one is what net/http would.
func (r *responseReader) parseHeaderLine(line []byte, first bool) (usual bool) {
	line, ok := bytes.CutSuffix(line, []byte{'\r'})
	if first {
		r.response = response{status: http.StatusOK, length: -1, body: r}
		reason, is200 := bytes.CutPrefix(line, []byte("HTTP/1.1 200"))
		return ok && is200 && (len(reason) == 0 || reason[0] == ' ')
	}
	name, value, colon := bytes.Cut(line, []byte{':'})
	return ok && colon && isHeaderName(name) && isHeaderValue(value) && r.applyHeader(name, bytes.Trim(value, " \t"))
}

// seenHeaders notes the headers that may appear but once.
type seenHeaders struct{ contentLength, transferEncoding, contentType, contentEncoding, connection bool }

func markSeen(seen *bool) bool {
	first := !*seen
	*seen = true
	return first
}

// applyHeader takes a header into account, or reports that it is not of the usual kind.
func (r *responseReader) applyHeader(name, value []byte) (usual bool) {
	seen := &r.seen
	switch {
	case equalFoldASCII(name, "Content-Length"):
		n, ok := parseContentLength(value)
		r.response.length = n
		return ok && markSeen(&seen.contentLength)
	case equalFoldASCII(name, "Transfer-Encoding"):
		r.chunked = equalFoldASCII(value, "chunked")
		return r.chunked && markSeen(&seen.transferEncoding)
	case equalFoldASCII(name, "Content-Type"):
		r.response.contentType = parseMediaType(value)
		return markSeen(&seen.contentType)
	case equalFoldASCII(name, "Content-Encoding"):
		r.response.contentEncoding = string(value)
		return markSeen(&seen.contentEncoding)
	case equalFoldASCII(name, "Connection"):
		r.mustClose = equalFoldASCII(value, "close")
		return markSeen(&seen.connection) && (r.mustClose || equalFoldASCII(value, "keep-alive"))
	}
	return !equalFoldASCII(name, "Trailer")
}

// equalFoldASCII reports whether b is name, which is ASCII, in upper or lower case.
func equalFoldASCII(b []byte, name string) bool {
	if len(b) != len(name) {
		return false
	}
	for i := range b {
		if lowerASCII(b[i]) != lowerASCII(name[i]) {
			return false
		}
	}
	return true
}

func lowerASCII(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// parseMediaType returns a content type, where possible as a constant and without its parameters, which do not matter.
func parseMediaType(value []byte) string {
	media, _, _ := bytes.Cut(value, []byte{';'})
	for _, known := range [...]string{"text/plain", "application/openmetrics-text"} {
		if equalFoldASCII(media, known) {
			return known
		}
	}
	return string(value)
}

// parseContentLength reads a length.
func parseContentLength(b []byte) (n int64, ok bool) {
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

// isHeaderName reports whether b can be the name of a header; what else a name may have is unusual.
func isHeaderName(b []byte) bool {
	for _, c := range b {
		if c := lowerASCII(c); (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return len(b) > 0
}

// isHeaderValue reports whether b has no control characters.
func isHeaderValue(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
