package scrape

import (
	"errors"
	"io"
	"math"
	"sync"
)

// responseReader reads the response to one GET request from a connection. Responses of the usual kind, which are nearly all,
// are read within a buffer and cost no allocation: HTTP/1.1, status 200, a length or chunks. Whatever else comes is
// left to net/http's own reader. One reply reads one response after the other; it is lent to a scrape.
type responseReader struct {
	smallBuf  []byte     // its own buffer, for the head and for short bodies
	largeBuf  *[]byte    // the buffer for a long body, borrowed; nil: it is not
	largeBufs *sync.Pool // where that comes from

	src    io.Reader
	buf    []byte // the buffer in use
	lo, hi int    // buf[lo:hi] came and was not used yet

	response      response
	seen          seenHeaders
	mustClose     bool  // the connection must not be used again
	chunked       bool  // the body comes in chunks
	bytesLeft     int64 // bytes that are to come of the body, or of the chunk
	inChunk       bool  // a chunk has begun, and the line break behind it is to come
	bodyEnded     bool  // the whole body was returned
	hasTrailer    bool  // there is something behind the last chunk
	chunkOverhead int64 // see chunkSize
	fallback      *fallbackResponse
}

const (
	smallBufferSize = 8 << 10
	largeBufferSize = 64 << 10
)

// beginResponse begins a response.
func (r *responseReader) beginResponse(src io.Reader) {
	*r = responseReader{smallBuf: r.smallBuf, largeBufs: r.largeBufs, src: src, buf: r.smallBuf}
}

// returnBuffers gives back what was borrowed. No piece of the body may be used any more.
func (r *responseReader) returnBuffers() {
	if r.largeBuf != nil {
		r.largeBufs.Put(r.largeBuf)
	}
	*r = responseReader{smallBuf: r.smallBuf, largeBufs: r.largeBufs}
}

// isConnReusable reports whether the connection may carry another request: the response was read to its end, and nothing
// came behind it.
func (r *responseReader) isConnReusable() bool {
	if r.fallback != nil {
		return r.fallback.isConnReusable()
	}
	return r.bodyEnded && !r.mustClose && !r.hasTrailer && r.lo == r.hi
}

// fillBuffer reads at most so many bytes behind those that are in the buffer, which has room.
func (r *responseReader) fillBuffer(most int64) error {
	room := r.buf[r.hi:]
	room = room[:min(int64(len(room)), most)]
	for range 100 { // as often as bufio tries
		n, err := r.src.Read(room)
		if r.hi += n; n > 0 {
			return nil // an error comes again with the next read
		}
		if err != nil {
			return err
		}
	}
	return io.ErrNoProgress
}

// readMore makes room and reads at most so many bytes of the body. A body that fills the small buffer gets a large one: a page
// of 50 KB then takes two or three reads.
func (r *responseReader) readMore(most int64) error {
	rest := r.buf[r.lo:r.hi]
	if r.largeBuf == nil && (r.hi == len(r.buf) || r.bytesLeft > int64(len(r.buf))) {
		r.largeBuf = r.largeBufs.Get().(*[]byte)
		r.buf = *r.largeBuf
	}
	r.lo, r.hi = 0, copy(r.buf, rest)
	err := r.fillBuffer(most)
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// nextPiece returns the next piece of the body, which is valid until the next call.
func (r *responseReader) nextPiece() ([]byte, error) {
	if r.chunked && r.bytesLeft == 0 {
		if err := r.readChunkHeader(); err != nil {
			return nil, err
		}
	}
	if r.bodyEnded {
		return nil, io.EOF
	}
	if r.lo == r.hi {
		most := r.bytesLeft
		if r.chunked {
			most = math.MaxInt64 // there is at least the last chunk behind this one
		}
		if err := r.readMore(most); err != nil {
			return nil, err
		}
	}
	piece := r.buf[r.lo:][:min(int64(r.hi-r.lo), r.bytesLeft)]
	r.lo += len(piece)
	r.bytesLeft -= int64(len(piece))
	r.bodyEnded = !r.chunked && r.bytesLeft == 0
	return piece, nil
}
