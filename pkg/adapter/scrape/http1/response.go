package http1

// The response as the caller sees it, read by this package or by net/http.

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// Response is a response after its header. The caller reads the body piece by piece: a page of any size costs a buffer or two.
// It is valid until Close, and must not be used concurrently.
type Response struct {
	Status                                 int
	ContentType, ContentEncoding, Location string
	Length                                 int64 // of the body, in bytes; -1: unknown
	// Delimited reports that a length or chunks show the end of the body, instead of the end of the connection.
	Delimited bool
	// Answered is when the first bytes of the response came. NewResponse leaves it to its caller.
	Answered time.Time

	body   responseBody
	reader *connResponseReader // reads body and returns to its Client; nil: net/http reads body
	closer io.Closer           // the body of a response of NewResponse
}

// responseBody is the body of a response.
type responseBody interface {
	// nextHTTPBodyPiece has the contract of Response.NextPiece.
	nextHTTPBodyPiece() ([]byte, error)
}

// NewResponse returns a response that net/http received, so that a caller of both clients reads bodies in one way. The body
// is read through buffer.
func NewResponse(resp *http.Response, buffer []byte) *Response {
	r := newNetHTTPResponse(resp, buffer)
	r.closer = resp.Body
	return &r
}

func newNetHTTPResponse(resp *http.Response, buffer []byte) Response {
	return Response{
		Status:      resp.StatusCode,
		ContentType: resp.Header.Get("Content-Type"), ContentEncoding: resp.Header.Get("Content-Encoding"),
		Location:  resp.Header.Get("Location"),
		Length:    resp.ContentLength,
		Delimited: resp.ContentLength >= 0 || len(resp.TransferEncoding) > 0 || resp.ProtoMajor >= 2,
		body:      &netHTTPBody{reader: resp.Body, buffer: buffer},
	}
}

// NextPiece returns the next piece of the body, which is valid until the next call, and io.EOF at the end. Where the body is
// shorter than its own framing says, the error is io.ErrUnexpectedEOF.
func (r *Response) NextPiece() ([]byte, error) { return r.body.nextHTTPBodyPiece() }

// IsCut reports, behind the last piece, whether the server has sent more bytes than the body's Content-Length: the length is wrong, and
// the body is a part. It is false of a response of NewResponse, which net/http cuts.
func (r *Response) IsCut() bool { return r.reader != nil && r.reader.isHTTPBodyCut() }

// Close gives back the buffers. It keeps the connection if the body was read to its end and the server allows another
// request; else it closes the connection.
func (r *Response) Close() {
	switch {
	case r.reader != nil:
		r.reader.releaseResponse()
	case r.closer != nil:
		_ = r.closer.Close() // the body was read as far as necessary
	}
}

// netHTTPBody is a body that net/http reads.
type netHTTPBody struct {
	reader io.Reader
	buffer []byte
	ended  bool
}

func (b *netHTTPBody) nextHTTPBodyPiece() ([]byte, error) {
	for range maxEmptyReads {
		n, err := b.reader.Read(b.buffer)
		b.ended = errors.Is(err, io.EOF)
		if n > 0 {
			return b.buffer[:n], nil
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, io.ErrNoProgress
}
