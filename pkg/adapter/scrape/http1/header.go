package http1

// The status line and the headers of a response of the usual kind.

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net/http"
	"time"
)

// readHeader reads the status line and the headers. The error is io.EOF where the connection ended before the first byte.
func (r *responseReader) readHeader() error {
	begin := 0 // of the next line
	for {
		end := bytes.IndexByte(r.buf[begin:r.hi], '\n')
		switch {
		case end < 0 && r.hi == len(r.buf):
			return r.readResponseByNetHTTP()
		case end < 0:
			err := r.fillBuffer(math.MaxInt64)
			if errors.Is(err, io.EOF) && r.hi > 0 {
				return io.ErrUnexpectedEOF
			}
			if err != nil {
				return err
			}
			if r.answered.IsZero() {
				r.answered = time.Now()
			}
		default:
			line, next := r.buf[begin:begin+end], begin+end+1
			if len(line) == 1 && line[0] == '\r' && begin > 0 && r.frameBody() {
				r.lo = next
				return nil
			}
			if !r.parseHeaderLine(line, begin == 0) {
				return r.readResponseByNetHTTP()
			}
			begin = next
		}
	}
}

// frameBody reports, after the last header, whether a length or chunks delimit the body: exactly one of the two.
func (r *responseReader) frameBody() bool {
	r.bytesLeft = max(0, r.response.Length)
	r.bodyEnded = r.response.Length == 0
	r.response.Delimited = true
	return r.chunked != r.seen.contentLength
}

// parseHeaderLine parses the status line or a header. It returns false if the line is not of the usual kind; else the result
// equals net/http's.
func (r *responseReader) parseHeaderLine(line []byte, first bool) (usual bool) {
	line, ok := bytes.CutSuffix(line, []byte{'\r'})
	if first {
		r.response = Response{Status: http.StatusOK, Length: -1, body: r, reader: r}
		reason, is200 := bytes.CutPrefix(line, []byte("HTTP/1.1 200"))
		return ok && is200 && (len(reason) == 0 || reason[0] == ' ')
	}
	name, value, colon := bytes.Cut(line, []byte{':'})
	return ok && colon && isHTTPHeaderName(name) && isHTTPHeaderValue(value) && r.applyHeader(name, bytes.Trim(value, " \t"))
}

// seenHeaders records the headers that may appear only once.
type seenHeaders struct{ contentLength, transferEncoding, contentType, contentEncoding, connection bool }

// markHTTPHeaderSeen sets seen and reports whether it was unset.
func markHTTPHeaderSeen(seen *bool) bool {
	first := !*seen
	*seen = true
	return first
}

// applyHeader takes a header into account. It returns false if the header is not of the usual kind.
func (r *responseReader) applyHeader(name, value []byte) (usual bool) {
	seen := &r.seen
	switch {
	case equalFoldASCII(name, "Content-Length"):
		n, ok := parseContentLength(value)
		r.response.Length = n
		return ok && markHTTPHeaderSeen(&seen.contentLength)
	case equalFoldASCII(name, "Transfer-Encoding"):
		r.chunked = equalFoldASCII(value, "chunked")
		return r.chunked && markHTTPHeaderSeen(&seen.transferEncoding)
	case equalFoldASCII(name, "Content-Type"):
		r.response.ContentType = parseHTTPContentType(value)
		return markHTTPHeaderSeen(&seen.contentType)
	case equalFoldASCII(name, "Content-Encoding"):
		r.response.ContentEncoding = string(value)
		return markHTTPHeaderSeen(&seen.contentEncoding)
	case equalFoldASCII(name, "Connection"):
		r.mustClose = equalFoldASCII(value, "close")
		return markHTTPHeaderSeen(&seen.connection) && (r.mustClose || equalFoldASCII(value, "keep-alive"))
	}
	return !equalFoldASCII(name, "Trailer")
}

// equalFoldASCII reports whether b equals name, which is ASCII, in upper or lower case.
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

// parseHTTPContentType returns a content type. The two formats of package exposition come back as constants without parameters, and
// so cost no allocation.
func parseHTTPContentType(value []byte) string {
	media, _, _ := bytes.Cut(value, []byte{';'})
	for _, known := range [...]string{"text/plain", "application/openmetrics-text"} {
		if equalFoldASCII(media, known) {
			return known
		}
	}
	return string(value)
}

// parseContentLength parses a decimal length. More than 18 digits might overflow and are left to net/http.
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

// isHTTPHeaderName reports whether b is the name of a header of the usual kind; net/http allows more characters.
func isHTTPHeaderName(b []byte) bool {
	for _, c := range b {
		if c := lowerASCII(c); (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return len(b) > 0
}

// isHTTPHeaderValue reports whether b has no control characters.
func isHTTPHeaderValue(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
