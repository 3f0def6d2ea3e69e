package scrape

import (
	"bytes"
	"net/http"
)

// parseHead reads status line and headers, each of which ends with a line break, and reports whether the response is one
// of the usual kind. What it says of such a one is what net/http would say.
func (r *reply) parseHead(head []byte) (usual bool) {
	status, head, _ := bytes.Cut(head, []byte("\r\n"))
	if reason, ok := bytes.CutPrefix(status, []byte("HTTP/1.1 200")); !ok || len(reason) > 0 && reason[0] != ' ' {
		return false
	}
	r.answer = answer{status: http.StatusOK, length: -1, body: r}
	var seen headerSet
	for len(head) > 0 {
		var line []byte
		line, head, _ = bytes.Cut(head, []byte("\r\n"))
		name, value, ok := bytes.Cut(line, []byte{':'})
		if !ok || !isToken(name) || !isText(value) {
			return false
		}
		if !r.header(&seen, name, bytes.Trim(value, " \t")) {
			return false
		}
	}
	r.left = max(0, r.answer.length)
	r.ended = r.answer.length == 0
	return r.chunked != (r.answer.length >= 0)
}

// headerSet notes the headers that may appear but once.
type headerSet struct{ length, chunks, media, encoding, connection bool }

func once(seen *bool) bool {
	first := !*seen
	*seen = true
	return first
}

// header takes a header into account, or reports that it is not of the usual kind.
func (r *reply) header(seen *headerSet, name, value []byte) (usual bool) {
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
