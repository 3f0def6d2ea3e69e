package http1

// The status line and the headers of a response of the usual kind.

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"time"
)

// readHTTP1Header reads the status line and the headers. The error is io.EOF where the connection ended before the first byte.
func (r *responseReader) readHTTP1Header() error {
	begin := 0 // of the next line
	for {
		end := bytes.IndexByte(r.buf[begin:r.hi], '\n')
		if end < 0 && r.hi == len(r.buf) {
			return r.readHTTP1ResponseByNetHTTP()
		}
		if end < 0 {
			if err := r.readMoreHTTP1Header(); err != nil {
				return err
			}
			continue
		}
		line, next := r.buf[begin:begin+end], begin+end+1
		if len(line) == 1 && line[0] == '\r' && begin > 0 && r.frameHTTP1Body() {
			r.lo = next
			return nil
		}
		if !r.parseHTTP1HeaderLine(line, begin == 0) {
			return r.readHTTP1ResponseByNetHTTP()
		}
		begin = next
	}
}

// readMoreHTTP1Header reads more of the header into the buffer. The error names another protocol, if the begin of a response is one.
func (r *responseReader) readMoreHTTP1Header() error {
	err := r.fillHTTP1Buffer()
	if err == nil {
		if r.answered.IsZero() {
			r.answered = time.Now()
		}
		return nil
	}
	if r.hi == 0 {
		return err
	}
	if other := detectHTTP1OtherProtocol(r.buf[:r.hi]); other != nil {
		return other
	}
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// frameHTTP1Body reports, after the last header, whether a length or chunks delimit the body: exactly one of the two.
func (r *responseReader) frameHTTP1Body() bool {
	r.bytesLeft = max(0, r.response.Length)
	r.bodyEnded = r.response.Length == 0
	r.response.Delimited = true
	return r.chunked != r.seen.contentLength
}

// parseHTTP1HeaderLine parses the status line or a header. It returns false if the line is not of the usual kind; else the result
// equals net/http's.
func (r *responseReader) parseHTTP1HeaderLine(line []byte, first bool) (usual bool) {
	line, ok := bytes.CutSuffix(line, []byte{'\r'})
	if first {
		r.response = Response{Status: http.StatusOK, Length: -1, body: r, reader: r}
		reason, is200 := bytes.CutPrefix(line, []byte("HTTP/1.1 200"))
		return ok && is200 && (len(reason) == 0 || reason[0] == ' ')
	}
	name, value, colon := bytes.Cut(line, []byte{':'})
	return ok && colon && isHTTP1HeaderName(name) && isHTTP1HeaderValue(value) && r.applyHTTP1Header(name, bytes.Trim(value, " \t"))
}

// seenHeaders records the headers that may appear only once.
type seenHeaders struct{ contentLength, transferEncoding, contentType, contentEncoding, connection bool }

// markHTTP1HeaderSeen sets seen and reports whether it was unset.
func markHTTP1HeaderSeen(seen *bool) bool {
	first := !*seen
	*seen = true
	return first
}

// applyHTTP1Header takes a header into account. It returns false if the header is not of the usual kind.
func (r *responseReader) applyHTTP1Header(name, value []byte) (usual bool) {
	seen := &r.seen
	switch {
	case equalFoldHTTP1Name(name, "Content-Length"):
		n, ok := parseHTTP1ContentLength(value)
		r.response.Length = n
		return ok && markHTTP1HeaderSeen(&seen.contentLength)
	case equalFoldHTTP1Name(name, "Transfer-Encoding"):
		r.chunked = equalFoldHTTP1Name(value, "chunked")
		return r.chunked && markHTTP1HeaderSeen(&seen.transferEncoding)
	case equalFoldHTTP1Name(name, "Content-Type"):
		r.response.ContentType = parseHTTP1ContentType(value)
		return markHTTP1HeaderSeen(&seen.contentType)
	case equalFoldHTTP1Name(name, "Content-Encoding"):
		r.response.ContentEncoding = string(value)
		return markHTTP1HeaderSeen(&seen.contentEncoding)
	case equalFoldHTTP1Name(name, "Connection"):
		r.mustClose = equalFoldHTTP1Name(value, "close")
		return markHTTP1HeaderSeen(&seen.connection) && (r.mustClose || equalFoldHTTP1Name(value, "keep-alive"))
	}
	return !equalFoldHTTP1Name(name, "Trailer")
}

// equalFoldHTTP1Name reports whether b equals name, which is ASCII, in upper or lower case.
func equalFoldHTTP1Name(b []byte, name string) bool {
	if len(b) != len(name) {
		return false
	}
	for i := range b {
		if lowerHTTP1Byte(b[i]) != lowerHTTP1Byte(name[i]) {
			return false
		}
	}
	return true
}

func lowerHTTP1Byte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// parseHTTP1ContentType returns a content type. The two formats of package exposition come back as constants without parameters, and
// so cost no allocation.
func parseHTTP1ContentType(value []byte) string {
	media, _, _ := bytes.Cut(value, []byte{';'})
	for _, known := range [...]string{"text/plain", "application/openmetrics-text"} {
		if equalFoldHTTP1Name(media, known) {
			return known
		}
	}
	return string(value)
}

// parseHTTP1ContentLength parses a decimal length. More than 18 digits might overflow and are left to net/http.
func parseHTTP1ContentLength(b []byte) (n int64, ok bool) {
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

// isHTTP1HeaderName reports whether b is the name of a header of the usual kind; net/http allows more characters.
func isHTTP1HeaderName(b []byte) bool {
	for _, c := range b {
		if c := lowerHTTP1Byte(c); (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return len(b) > 0
}

// isHTTP1HeaderValue reports whether b has no control characters.
func isHTTP1HeaderValue(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
