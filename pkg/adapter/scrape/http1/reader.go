package http1

// The reader of a response: its buffers and its body.

import (
	"bytes"
	"errors"
	"io"
	"time"
)

const (
	smallBufferSize = 8 << 10
	largeBufferSize = 64 << 10
	// maxEmptyReads bounds the reads in a row that return neither bytes nor an error, as bufio does.
	maxEmptyReads = 100
)

// connResponseReader reads the response to one GET request from a connection. It reads responses of the usual kind within a
// buffer, without an allocation: HTTP/1.1, status 200, and a length or chunks. net/http's own reader reads all others. A
// connResponseReader reads one response after the other; a Client lends it to a request.
type connResponseReader struct {
	client   *Client
	smallBuf []byte  // for the header and for short bodies
	largeBuf *[]byte // for a long body, borrowed from client; nil: not borrowed

	conn     *Conn
	inflight *InflightRequest

	src    io.Reader
	buf    []byte // the buffer in use
	lo, hi int    // buf[lo:hi] was read from src and is not used yet

	response      Response
	answered      time.Time // when the first bytes came
	seen          seenHeaders
	mustClose     bool  // the connection must not be used again
	chunked       bool  // the body comes in chunks
	bytesLeft     int64 // bytes to read of the body, or of the chunk
	inChunk       bool  // a chunk has begun: a line break follows its bytes
	bodyEnded     bool  // the whole body was returned
	hasTrailer    bool  // headers follow the last chunk
	chunkOverhead int64 // see parseChunkSize
	fallback      *fallbackResponse
}

var _ responseBody = (*connResponseReader)(nil)

// beginResponse prepares for the next response, which comes from src.
func (r *connResponseReader) beginResponse(src io.Reader) {
	*r = connResponseReader{client: r.client, smallBuf: r.smallBuf, src: src, buf: r.smallBuf}
}

// returnReaderBuffers gives back the borrowed buffer and forgets the response. No piece of the body may be used any more.
func (r *connResponseReader) returnReaderBuffers() {
	if r.largeBuf != nil {
		r.client.largeBuffers.Put(r.largeBuf)
	}
	*r = connResponseReader{client: r.client, smallBuf: r.smallBuf}
}

// releaseResponse ends the request: it keeps or closes the connection, and gives r back to its Client.
func (r *connResponseReader) releaseResponse() {
	r.inflight.detachInflightConn()
	if !r.isConnReusable() {
		r.conn.Close()
	}
	r.returnReaderBuffers()
	r.client.readers.Put(r)
}

// isConnReusable reports whether the connection may carry another request: the response was read to its end, and no byte
// follows it.
func (r *connResponseReader) isConnReusable() bool {
	switch {
	case r.mustClose:
		return false
	case r.fallback != nil:
		return r.fallback.isFallbackConnReusable()
	}
	return r.bodyEnded && !r.hasTrailer && r.lo == r.hi
}

// isHTTPBodyCut reports whether more than line breaks follow the body, which has a stated length and was read. Another response, which
// nobody asked for, does not make it a part.
func (r *connResponseReader) isHTTPBodyCut() bool {
	behind := r.buf[r.lo:r.hi]
	if r.fallback != nil {
		behind, _ = r.fallback.reader.Peek(r.fallback.reader.Buffered())
	}
	behind = bytes.Trim(behind, "\r\n")
	return r.response.Length >= 0 && len(behind) > 0 && !bytes.HasPrefix(behind, []byte("HTTP/"))
}

// fillHTTPReaderBuffer reads bytes and appends them to the buffer, which has room.
func (r *connResponseReader) fillHTTPReaderBuffer() error {
	for range maxEmptyReads {
		n, err := r.src.Read(r.buf[r.hi:])
		if r.hi += n; n > 0 {
			return nil // the next read returns an error again
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// readMoreHTTPBody makes room and reads more of the body, and perhaps bytes behind it. A body that fills the small buffer gets a large
// buffer: a page of 50 KB then takes two or three reads.
func (r *connResponseReader) readMoreHTTPBody() error {
	rest := r.buf[r.lo:r.hi]
	if r.largeBuf == nil && (r.hi == len(r.buf) || r.bytesLeft > int64(len(r.buf))) {
		r.largeBuf = r.client.borrowLargeBuffer()
		r.buf = *r.largeBuf
	}
	r.lo, r.hi = 0, copy(r.buf, rest)
	err := r.fillHTTPReaderBuffer()
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// nextHTTPBodyPiece returns the next piece of the body, which is valid until the next call.
func (r *connResponseReader) nextHTTPBodyPiece() ([]byte, error) {
	if r.chunked && r.bytesLeft == 0 {
		if err := r.readChunkHeader(); err != nil {
			return nil, err
		}
	}
	if r.bodyEnded {
		return nil, io.EOF
	}
	if r.lo == r.hi {
		if err := r.readMoreHTTPBody(); err != nil {
			return nil, err
		}
	}
	piece := r.buf[r.lo:][:min(int64(r.hi-r.lo), r.bytesLeft)]
	r.lo += len(piece)
	r.bytesLeft -= int64(len(piece))
	r.bodyEnded = !r.chunked && r.bytesLeft == 0
	return piece, nil
}
