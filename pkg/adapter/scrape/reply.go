package scrape

import (
	"errors"
	"io"
	"math"
	"sync"
)

// reply reads the response to one GET request from a connection. Responses of the usual kind, which are nearly all,
// are read within a buffer and cost no allocation: HTTP/1.1, status 200, a length or chunks. Whatever else comes is
// left to net/http's own reader. One reply reads one response after the other; it is lent to a scrape.
type reply struct {
	small []byte     // its own buffer, for the head and for short bodies
	large *[]byte    // the buffer for a long body, borrowed; nil: it is not
	pages *sync.Pool // where that comes from

	src    io.Reader
	buf    []byte // the buffer in use
	lo, hi int    // buf[lo:hi] came and was not used yet

	answer  answer
	seen    headerSet
	close   bool  // the connection must not be used again
	chunked bool  // the body comes in chunks
	left    int64 // bytes that are to come of the body, or of the chunk
	within  bool  // a chunk has begun, and the line break behind it is to come
	ended   bool  // the whole body was returned
	trailer bool  // there is something behind the last chunk
	excess  int64 // see chunkSize
	other   *unusual
}

const (
	smallBuffer = 8 << 10
	largeBuffer = 64 << 10
)

// read begins a response.
func (r *reply) read(src io.Reader) {
	*r = reply{small: r.small, pages: r.pages, src: src, buf: r.small}
}

// end gives back what was borrowed. No piece of the body may be used any more.
func (r *reply) end() {
	if r.large != nil {
		r.pages.Put(r.large)
	}
	*r = reply{small: r.small, pages: r.pages}
}

// reusable reports whether the connection may carry another request: the response was read to its end, and nothing
// came behind it.
func (r *reply) reusable() bool {
	if r.other != nil {
		return r.other.reusable()
	}
	return r.ended && !r.close && !r.trailer && r.lo == r.hi
}

// fill reads at most so many bytes behind those that are in the buffer, which has room.
func (r *reply) fill(most int64) error {
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

// more makes room and reads at most so many bytes of the body. A body that fills the small buffer gets a large one: a page
// of 50 KB then takes two or three reads.
func (r *reply) more(most int64) error {
	rest := r.buf[r.lo:r.hi]
	if r.large == nil && (r.hi == len(r.buf) || r.left > int64(len(r.buf))) {
		r.large = r.pages.Get().(*[]byte)
		r.buf = *r.large
	}
	r.lo, r.hi = 0, copy(r.buf, rest)
	err := r.fill(most)
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// next returns the next piece of the body, which is valid until the next call.
func (r *reply) next() ([]byte, error) {
	if r.chunked && r.left == 0 {
		if err := r.nextChunk(); err != nil {
			return nil, err
		}
	}
	if r.ended {
		return nil, io.EOF
	}
	if r.lo == r.hi {
		most := r.left
		if r.chunked {
			most = math.MaxInt64 // there is at least the last chunk behind this one
		}
		if err := r.more(most); err != nil {
			return nil, err
		}
	}
	piece := r.buf[r.lo:][:min(int64(r.hi-r.lo), r.left)]
	r.lo += len(piece)
	r.left -= int64(len(piece))
	r.ended = !r.chunked && r.left == 0
	return piece, nil
}
