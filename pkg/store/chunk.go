package store

import (
	"encoding/binary"
	"math"
)

// A chunk is a run of samples of one series in a fixed block of bytes. It is only ever appended to: what a
// reader has once seen of it never changes, so a snapshot of a series is a copy of its slice headers.
//
// The first sample is raw: 8 bytes of time (milliseconds, little endian) and 8 bytes of value. Each one that
// follows is two variable-length integers:
//
//   - zigzag(step − step before), where step is the time since the sample before it (0 for the first);
//   - zigzag(value − value before) << 1 when both are whole numbers that a float64 holds exactly, as the
//     increments of a counter are; otherwise 1, followed by the 8 bytes of the value.
//
// A counter scraped on time takes 2 to 4 bytes a sample instead of 16.
type chunk []byte

const (
	// chunkBytes is the size of a block. A minute of a counter at one sample in 2 s fits in one; smaller blocks
	// cost more in slice headers than they save, larger ones keep samples long after their retention.
	chunkBytes = 112
	// rawBytes is the size of a chunk's first sample.
	rawBytes = 16
	// maxSampleBytes is the most that one further sample takes: a 10-byte step, and 9 bytes of value.
	maxSampleBytes = 2*binary.MaxVarintLen64 + 8
	// maxWhole is the largest whole number up to which a float64 holds all of them.
	maxWhole = 1 << 53
	// rawValue is the value code that announces a raw value; codes of whole numbers are even.
	rawValue = 1
)

// cursor is a position in a chunk: the sample there, and the step that led to it. It is the state of both the
// encoder and the decoder.
type cursor struct {
	t, step int64
	v       float64
}

// newChunk starts a chunk with the sample of c.
func newChunk(c *cursor, t int64, v float64) chunk {
	ch := make(chunk, rawBytes, chunkBytes)
	binary.LittleEndian.PutUint64(ch, uint64(t))
	binary.LittleEndian.PutUint64(ch[8:], math.Float64bits(v))
	*c = cursor{t: t, v: v}
	return ch
}

// add appends a sample behind c, the chunk's last one, and moves c to it. It reports false, with nothing
// changed, when the block is full. t must be later than c's.
func (ch *chunk) add(c *cursor, t int64, v float64) bool {
	var buf [maxSampleBytes]byte
	step := t - c.t
	b := binary.AppendVarint(buf[:0], step-c.step)
	if isWhole(c.v) && isWhole(v) {
		b = binary.AppendUvarint(b, zigzag(int64(v)-int64(c.v))<<1)
	} else {
		b = append(b, rawValue)
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
	}
	if len(*ch)+len(b) > cap(*ch) {
		return false
	}
	*ch = append(*ch, b...)
	*c = cursor{t: t, step: step, v: v}
	return true
}

// first moves c to the chunk's first sample and returns the encoded rest.
func (ch chunk) first(c *cursor) encoded {
	*c = cursor{t: ch.start(), v: math.Float64frombits(binary.LittleEndian.Uint64(ch[8:]))}
	return encoded(ch[rawBytes:])
}

// encoded is the end of a chunk: samples that are yet to be decoded.
type encoded []byte

// next decodes the first sample, moves c to it and returns what follows. There must be one.
func (e encoded) next(c *cursor) encoded {
	change, n := binary.Varint(e)
	e = e[n:]
	c.step += change
	c.t += c.step
	code, n := binary.Uvarint(e)
	e = e[n:]
	if code != rawValue {
		c.v = float64(int64(c.v) + unzigzag(code>>1))
		return e
	}
	c.v = math.Float64frombits(binary.LittleEndian.Uint64(e))
	return e[8:]
}

// start is the time of the chunk's first sample.
func (ch chunk) start() int64 { return int64(binary.LittleEndian.Uint64(ch)) }

// count is the number of samples in the chunk.
func (ch chunk) count() int {
	var c cursor
	n := 1
	for rest := ch.first(&c); len(rest) > 0; n++ {
		rest = rest.next(&c)
	}
	return n
}

// isWhole reports whether v is a whole number that survives the way through an integer: not a NaN, not −0.
func isWhole(v float64) bool {
	return v >= -maxWhole && v <= maxWhole && math.Float64bits(float64(int64(v))) == math.Float64bits(v)
}

func zigzag(n int64) uint64   { return uint64(n<<1) ^ uint64(n>>63) }
func unzigzag(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }
