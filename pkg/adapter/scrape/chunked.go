package scrape

import (
	"bytes"
	"errors"
	"math"
)

// maxChunkLine bounds a line between chunks, as net/http does.
const maxChunkLine = 4 << 10

var errMalformedChunks = errors.New("malformed chunked encoding")

// readChunkHeader reads the line that says how long the next chunk is; the last has a length of 0.
func (r *responseReader) readChunkHeader() error {
	if r.bodyEnded {
		return nil
	}
	if r.inChunk {
		line, err := r.readChunkLine()
		if err != nil {
			return err
		}
		if len(line) > 0 {
			return errMalformedChunks
		}
	}
	line, err := r.readChunkLine()
	if err != nil {
		return err
	}
	if r.bytesLeft, err = r.parseChunkSize(line); err != nil {
		return err
	}
	r.inChunk = true
	if r.bytesLeft > 0 {
		return nil
	}
	// The body is complete. What may follow are headers again, in whatever form; nobody needs those, nor a connection
	// on which they are.
	line, err = r.readChunkLine()
	if err != nil && !errors.Is(err, errMalformedChunks) {
		return err
	}
	r.bodyEnded, r.hasTrailer = true, err != nil || len(line) > 0
	return nil
}

// readChunkLine reads a line, and returns it without its line break.
func (r *responseReader) readChunkLine() ([]byte, error) {
	for {
		at := r.buf[r.lo:r.hi]
		if end := bytes.IndexByte(at, '\n'); end >= 0 {
			r.lo += end + 1
			// No lone line feeds or carriage returns: what one program takes for the end of a chunk
			// another must not take for its contents.
			if end > maxChunkLine || end == 0 || bytes.IndexByte(at, '\r') != end-1 {
				return nil, errMalformedChunks
			}
			return at[:end-1], nil
		}
		if len(at) > maxChunkLine {
			return nil, errMalformedChunks
		}
		if err := r.readMore(math.MaxInt64); err != nil {
			return nil, err
		}
	}
}

// parseChunkSize reads the length of a chunk, which extensions may follow. They may not be much more than what they are
// attached to: a page is bounded, and what is around it must be as well.
func (r *responseReader) parseChunkSize(line []byte) (int64, error) {
	size, _, _ := bytes.Cut(line, []byte{';'})
	n, ok := parseHexSize(bytes.TrimRight(size, " \t"))
	if !ok {
		return 0, errMalformedChunks
	}
	const allowance = 16 // bytes a chunk, and twice its contents
	if n < math.MaxInt64/4 {
		r.chunkOverhead = max(0, r.chunkOverhead+int64(len(line))-allowance-2*n)
	}
	if r.chunkOverhead > 16<<10 {
		return 0, errors.New("chunked encoding contains too much non-data")
	}
	return n, nil
}

// parseHexSize reads a number; one that is larger than any body is cut down.
func parseHexSize(b []byte) (n int64, ok bool) {
	if len(b) == 0 || len(b) > 16 {
		return 0, false
	}
	var sum uint64
	for _, c := range b {
		var digit byte
		switch c = lowerASCII(c); {
		case '0' <= c && c <= '9':
			digit = c - '0'
		case 'a' <= c && c <= 'f':
			digit = c - 'a' + 10
		default:
			return 0, false
		}
		sum = sum<<4 | uint64(digit)
	}
	return int64(min(sum, math.MaxInt64)), true
}

var _ responseBody = (*responseReader)(nil)
