package http1

// The chunked encoding.

import (
	"bytes"
	"errors"
	"math"
)

// maxChunkLine bounds a line between chunks, as net/http does.
const maxChunkLine = 4 << 10

var errMalformedChunks = errors.New("malformed chunked encoding")

// readChunkHeader reads the line with the length of the next chunk; the last chunk has a length of 0.
func (r *connResponseReader) readChunkHeader() error {
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
	// The body is complete. Headers may follow, in any form; the scraper needs neither the headers nor a connection with
	// headers left to read.
	line, err = r.readChunkLine()
	if err != nil && !errors.Is(err, errMalformedChunks) {
		return err
	}
	r.bodyEnded, r.hasTrailer = true, err != nil || len(line) > 0
	return nil
}

// readChunkLine reads a line and returns it without its line break.
func (r *connResponseReader) readChunkLine() ([]byte, error) {
	for {
		at := r.buf[r.lo:r.hi]
		if end := bytes.IndexByte(at, '\n'); end >= 0 {
			r.lo += end + 1
			// Reject lone line feeds and carriage returns: bytes that end a chunk for one program must
			// not be contents for another.
			if end > maxChunkLine || end == 0 || bytes.IndexByte(at, '\r') != end-1 {
				return nil, errMalformedChunks
			}
			return at[:end-1], nil
		}
		if len(at) > maxChunkLine {
			return nil, errMalformedChunks
		}
		if err := r.readMoreHTTPBody(); err != nil {
			return nil, err
		}
	}
}

// parseChunkSize parses the length of a chunk, which extensions may follow. It bounds the sum of extensions by the sum of
// contents: a page is bounded, and so must be the bytes around it.
func (r *connResponseReader) parseChunkSize(line []byte) (int64, error) {
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

// parseHexSize parses a hexadecimal number of at most 16 digits. It clips a number above math.MaxInt64.
func parseHexSize(b []byte) (n int64, ok bool) {
	if len(b) == 0 || len(b) > 16 {
		return 0, false
	}
	var sum uint64
	for _, c := range b {
		var digit byte
		switch c = lowerHeaderByte(c); {
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
