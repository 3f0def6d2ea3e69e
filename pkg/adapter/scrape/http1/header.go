package http1

// The status line and the headers of a response of the usual kind.

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"time"
)

// readResponseHeader reads the status line and the headers. The error is io.EOF where the connection ended before the first byte.
func (r *connResponseReader) readResponseHeader() error {
	begin := 0 // of the next line
	for {
		end := bytes.IndexByte(r.buf[begin:r.hi], '\n')
		if end < 0 && r.hi == len(r.buf) {
			return r.readHeaderByNetHTTP()
		}
		if end < 0 {
			if err := r.readMoreHTTPHeader(); err != nil {
				return err
			}
			continue
		}
		line, next := r.buf[begin:begin+end], begin+end+1
		if len(line) == 1 && line[0] == '\r' && begin > 0 && r.frameResponseBody() {
			r.lo = next
			return nil
		}
		if !r.parseHeaderLine(line, begin == 0) {
			return r.readHeaderByNetHTTP()
		}
		begin = next
	}
}

// readMoreHTTPHeader reads more of the header into the buffer. The error names another protocol, if the begin of a response is one.
func (r *connResponseReader) readMoreHTTPHeader() error {
	err := r.fillHTTPReaderBuffer()
	if err == nil {
		if r.answered.IsZero() {
			r.answered = time.Now()
		}
		return nil
	}
	if r.hi == 0 {
		return err
	}
	if other := detectOtherProtocol(r.buf[:r.hi]); other != nil {
		return other
	}
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// frameResponseBody reports, after the last header, whether a length or chunks delimit the body: exactly one of the two.
func (r *connResponseReader) frameResponseBody() bool {
	r.bytesLeft = max(0, r.response.Length)
	r.bodyEnded = r.response.Length == 0
	r.response.Delimited = true
	return r.chunked != r.seen.contentLength
}

// parseHeaderLine parses the status line or a header. It returns false if the line is not of the usual kind; else the result
// equals net/http's.
func (r *connResponseReader) parseHeaderLine(line []byte, first bool) (usual bool) {
	line, ok := bytes.CutSuffix(line, []byte{'\r'})
	if first {
		r.response = Response{Status: http.StatusOK, Length: -1, body: r, reader: r}
		reason, is200 := bytes.CutPrefix(line, []byte("HTTP/1.1 200"))
		return ok && is200 && (len(reason) == 0 || reason[0] == ' ')
	}
	name, value, colon := bytes.Cut(line, []byte{':'})
	return ok && colon && isHeaderName(name) && isHeaderValue(value) && r.applyResponseHeader(name, bytes.Trim(value, " \t"))
}

// seenHeaders records the headers that may appear only once.
type seenHeaders struct{ contentLength, transferEncoding, contentType, contentEncoding, connection bool }

// markHeaderSeen sets seen and reports whether it was unset.
func markHeaderSeen(seen *bool) bool {
	first := !*seen
	*seen = true
	return first
}

// applyResponseHeader takes a header into account. It returns false if the header is not of the usual kind.
func (r *connResponseReader) applyResponseHeader(name, value []byte) (usual bool) {
	seen := &r.seen
	switch {
	case equalFoldHeaderName(name, "Content-Length"):
		n, ok := parseContentLength(value)
		r.response.Length = n
		return ok && markHeaderSeen(&seen.contentLength)
	case equalFoldHeaderName(name, "Transfer-Encoding"):
		r.chunked = equalFoldHeaderName(value, "chunked")
		return r.chunked && markHeaderSeen(&seen.transferEncoding)
	case equalFoldHeaderName(name, "Content-Type"):
		r.response.ContentType = parseContentType(value)
		return markHeaderSeen(&seen.contentType)
	case equalFoldHeaderName(name, "Content-Encoding"):
		r.response.ContentEncoding = string(value)
		return markHeaderSeen(&seen.contentEncoding)
	case equalFoldHeaderName(name, "Connection"):
		r.mustClose = equalFoldHeaderName(value, "close")
		return markHeaderSeen(&seen.connection) && (r.mustClose || equalFoldHeaderName(value, "keep-alive"))
	}
	return !equalFoldHeaderName(name, "Trailer")
}

// equalFoldHeaderName reports whether b equals name, which is ASCII, in upper or lower case.
func equalFoldHeaderName(b []byte, name string) bool {
	if len(b) != len(name) {
		return false
	}
	for i := range b {
		if lowerHeaderByte(b[i]) != lowerHeaderByte(name[i]) {
			return false
		}
	}
	return true
}

func lowerHeaderByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// parseContentType returns a content type. The two formats of package exposition come back as constants without parameters, and
// so cost no allocation.
func parseContentType(value []byte) string {
	media, _, _ := bytes.Cut(value, []byte{';'})
	for _, known := range [...]string{"text/plain", "application/openmetrics-text"} {
		if equalFoldHeaderName(media, known) {
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

// isHeaderName reports whether b is the name of a header of the usual kind; net/http allows more characters.
func isHeaderName(b []byte) bool {
	for _, c := range b {
		if c := lowerHeaderByte(c); (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
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
