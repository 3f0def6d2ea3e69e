package http1

// Servers that speak another protocol than HTTP/1: a port behind TLS, a gRPC port, a database.

import "bytes"

// OtherProtocolError is the error of a response that is not HTTP/1.
type OtherProtocolError struct {
	// Protocol is TLS or HTTP/2; empty for any other.
	Protocol string
	// FirstLine is the beginning of the response as far as it is one line, in the bytes of the server.
	FirstLine string
}

// Error implements error.
func (e *OtherProtocolError) Error() string {
	if e.Protocol != "" {
		return "the server speaks " + e.Protocol
	}
	return "not HTTP: " + e.FirstLine
}

// maxFirstLineBytes bounds OtherProtocolError.FirstLine.
const maxFirstLineBytes = 100

// detectOtherProtocol returns an *OtherProtocolError for the beginning of a response that is not HTTP, or nil.
func detectOtherProtocol(begin []byte) error {
	const http = "HTTP/"
	if n := min(len(begin), len(http)); string(begin[:n]) == http[:n] {
		return nil
	}
	e := &OtherProtocolError{}
	switch {
	case len(begin) >= 2 && begin[0] >= 0x14 && begin[0] <= 0x17 && begin[1] == 3: // a record of TLS, with its version
		e.Protocol = "TLS"
	case len(begin) >= 9 && begin[0] == 0 && begin[3] == 4 && bytes.Equal(begin[5:9], make([]byte, 4)): // a SETTINGS frame
		e.Protocol = "HTTP/2"
	default:
		line, _, _ := bytes.Cut(begin, []byte("\n"))
		e.FirstLine = string(bytes.TrimSpace(line[:min(len(line), maxFirstLineBytes)]))
	}
	return e
}
