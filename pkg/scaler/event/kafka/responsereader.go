// The values of a response, read while its bytes arrive, within the bounds of its counts.

package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"
)

const (
	// maxResponseElements bounds the elements of all arrays of a response. A topic of 10,000 partitions with three replicas has 70,000 in its
	// metadata. The client takes up to 200 bytes for each.
	maxResponseElements = 100_000
	// maxSectionTags bounds the tagged fields at one place of a response: Kafka defines at most four. maxTagBytes bounds those of a response, of
	// which the addresses of the brokers are the largest.
	maxSectionTags, maxTagBytes = 16, 64 << 10
)

var (
	errResponseCounts    = errors.New("the broker's response claims more elements than a response may have")
	errMalformedResponse = errors.New("the broker's response is malformed")
)

// brokerResponseReader reads the values of one response after the other. After a fault, every read returns zero.
type brokerResponseReader struct {
	awaitData func() (data []byte, open bool) // waits for further bytes

	data     []byte // arrived, and not read yet
	left     int    // bytes of the response that are not read yet
	version  int16
	flexible bool // counts are varints, and tagged fields follow

	elements, tagBytes int // of the response so far
	fault              error
}

// beginResponse reads the size of the next response. It returns false without one.
func (r *brokerResponseReader) beginResponse() bool {
	r.left, r.elements, r.tagBytes, r.flexible = 4, 0, 0, false
	size := r.readInt32()
	if size < 0 {
		r.fault = errMalformedResponse
	}
	r.left = int(size)
	return r.fault == nil
}

// skipBytes reads n bytes.
func (r *brokerResponseReader) skipBytes(n int) { r.takeBytes(n, nil) }

// takeBytes reads n bytes, into a buffer of so many bytes if there is one.
func (r *brokerResponseReader) takeBytes(n int, into []byte) {
	if n < 0 || n > r.left {
		r.setFault(errMalformedResponse)
	}
	for n > 0 && r.fault == nil {
		if len(r.data) == 0 {
			data, open := r.awaitData()
			if !open {
				r.setFault(errMalformedResponse)
			}
			r.data = data
			continue
		}
		taken := min(n, len(r.data))
		into = into[copy(into, r.data[:taken]):]
		r.data = r.data[taken:]
		n -= taken
		r.left -= taken
	}
}

func (r *brokerResponseReader) setFault(fault error) {
	if r.fault == nil {
		r.fault = fault
	}
}

func (r *brokerResponseReader) readInt32() int32 {
	var b [4]byte
	r.takeBytes(len(b), b[:])
	return int32(binary.BigEndian.Uint32(b[:]))
}

func (r *brokerResponseReader) readInt16() int16 {
	var b [2]byte
	r.takeBytes(len(b), b[:])
	return int16(binary.BigEndian.Uint16(b[:]))
}

// readUvarint reads a number of at most 32 bits.
func (r *brokerResponseReader) readUvarint() int {
	var b [1]byte
	value := uint64(0)
	for shift := 0; shift < 35; shift += 7 {
		if r.takeBytes(1, b[:]); r.fault != nil {
			return 0
		}
		if value |= uint64(b[0]&0x7f) << shift; b[0] < 0x80 {
			return int(value)
		}
	}
	r.setFault(errMalformedResponse)
	return 0
}

// skipSince skips a field of so many bytes that responses have since a version.
func (r *brokerResponseReader) skipSince(version int16, bytes int) {
	if r.version >= version {
		r.skipBytes(bytes)
	}
}

// skipString skips a string that may be null.
func (r *brokerResponseReader) skipString() {
	if r.flexible {
		r.skipBytes(max(0, r.readUvarint()-1))
		return
	}
	r.skipBytes(max(0, int(r.readInt16())))
}

// skipBlob skips bytes that may be null.
func (r *brokerResponseReader) skipBlob() {
	if r.flexible {
		r.skipBytes(max(0, r.readUvarint()-1))
		return
	}
	r.skipBytes(max(0, int(r.readInt32())))
}

// readElements reads each element of an array that may be null.
func (r *brokerResponseReader) readElements(readElement func()) {
	count := 0
	if r.flexible {
		count = r.readUvarint() - 1
	} else {
		count = int(r.readInt32())
	}
	if count <= 0 {
		return
	}
	if r.elements += count; r.elements > maxResponseElements {
		r.setFault(fmt.Errorf("%w: %d", errResponseCounts, maxResponseElements))
	}
	for ; count > 0 && r.fault == nil; count-- {
		readElement()
	}
}

// skipInt32s skips an array of numbers.
func (r *brokerResponseReader) skipInt32s() { r.readElements(func() { r.skipBytes(4) }) }

// skipTags skips the tagged fields of which the client keeps the bytes.
func (r *brokerResponseReader) skipTags() { r.readTags(nil) }

// readTags reads tagged fields, those that the client decodes by known.
func (r *brokerResponseReader) readTags(known map[int]func()) {
	if !r.flexible {
		return
	}
	count := r.readUvarint()
	if count > maxSectionTags {
		r.setFault(fmt.Errorf("%w: %d tagged fields", errResponseCounts, maxSectionTags))
	}
	for ; count > 0 && r.fault == nil; count-- {
		tag, size := r.readUvarint(), r.readUvarint()
		r.tagBytes += size
		switch {
		case size > r.left:
			r.setFault(errMalformedResponse)
		case r.tagBytes > maxTagBytes:
			r.setFault(fmt.Errorf("%w: %d bytes of tagged fields", errResponseCounts, maxTagBytes))
		default:
			r.readTag(size, known[tag])
		}
	}
}

// readTag reads a tagged field of so many bytes.
func (r *brokerResponseReader) readTag(size int, read func()) {
	behind := r.left - size
	r.left = size
	if read != nil {
		read()
	}
	r.skipBytes(r.left)
	r.left = behind
}
