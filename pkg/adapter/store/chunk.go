package store

import (
	"encoding/binary"
	"math"
)

// A sampleChunk is a run of samples of one series in a fixed block of bytes. It is only ever appended to: what a
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
type sampleChunk []byte

const (
	// chunkBytes is the size of a block. A minute of a counter at one sample in 2 s fits in one; smaller blocks
	// cost more in slice headers than they save, larger ones keep samples long after their retention.
	chunkBytes = 112
	// firstSampleBytes is the size of a chunk's first sample.
	firstSampleBytes = 16
	// maxSampleBytes is the most that one further sample takes: a 10-byte step, and 9 bytes of value.
	maxSampleBytes = 2*binary.MaxVarintLen64 + 8
	// maxWholeNumber is the largest whole number up to which a float64 holds all of them.
	maxWholeNumber = 1 << 53
	// rawValueCode is the value code that announces a raw value; codes of whole numbers are even.
	rawValueCode = 1
)

// chunkCursor is a position in a chunk: the sample there, and the step that led to it. It is the state of both the
// encoder and the decoder.
type chunkCursor struct {
	t, step int64
	v       float64
}

// newSampleChunk starts a chunk with the sample of c.
func newSampleChunk(c *chunkCursor, t int64, v float64) sampleChunk {
	ch := make(sampleChunk, firstSampleBytes, chunkBytes)
	binary.LittleEndian.PutUint64(ch, uint64(t))
	binary.LittleEndian.PutUint64(ch[8:], math.Float64bits(v))
	*c = chunkCursor{t: t, v: v}
	return ch
}

// encodeSample appends a sample behind c, the chunk's last one, and moves c to it. It reports false, with nothing
// changed, when the block is full. t must be later than c's.
func (ch *sampleChunk) encodeSample(c *chunkCursor, t int64, v float64) bool {
	var buf [maxSampleBytes]byte
	step := t - c.t
	b := binary.AppendVarint(buf[:0], step-c.step)
	if isWholeNumber(c.v) && isWholeNumber(v) {
		b = binary.AppendUvarint(b, zigzagEncode(int64(v)-int64(c.v))<<1)
	} else {
		b = append(b, rawValueCode)
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
	}
	if len(*ch)+len(b) > cap(*ch) {
		return false
	}
	*ch = append(*ch, b...)
	*c = chunkCursor{t: t, step: step, v: v}
	return true
}

// decodeFirst moves c to the chunk's first sample and returns the position of the next.
func (ch sampleChunk) decodeFirst(c *chunkCursor) int {
	*c = chunkCursor{t: ch.startTime(), v: math.Float64frombits(binary.LittleEndian.Uint64(ch[8:]))}
	return firstSampleBytes
}

// decodeNext moves c to the sample at pos, which must be less than the chunk's length, and returns the position of
// the one behind it. It is most of what a query costs: integers of one byte, which most steps are, and of two,
// which most increments are, are decoded in place: a Select takes a third less time than with binary.Uvarint.
func (ch sampleChunk) decodeNext(c *chunkCursor, pos int) int {
	change := uint64(ch[pos])
	pos++
	if change >= 0x80 {
		change, pos = ch.decodeUvarint(pos - 1)
	}
	c.step += zigzagDecode(change)
	c.t += c.step
	code := uint64(ch[pos])
	pos++
	if code >= 0x80 {
		if second := uint64(ch[pos]); second < 0x80 {
			code = code&0x7f | second<<7
			pos++
		} else {
			code, pos = ch.decodeUvarint(pos - 1)
		}
	}
	if code != rawValueCode {
		c.v = float64(int64(c.v) + zigzagDecode(code>>1))
		return pos
	}
	c.v = math.Float64frombits(binary.LittleEndian.Uint64(ch[pos:]))
	return pos + 8
}

// decodeRange appends the samples in [mint, maxt] to times and values. It decodes as first and next do, with what they keep in
// a cursor in registers instead.
func (ch sampleChunk) decodeRange(times []int64, values []float64, mint, maxt int64) ([]int64, []float64) {
	var c chunkCursor
	pos := ch.decodeFirst(&c)
	t, step, v, whole := c.t, int64(0), c.v, int64(c.v)
	for {
		if t > maxt {
			return times, values
		}
		if t >= mint {
			times, values = append(times, t), append(values, v)
		}
		if pos >= len(ch) {
			return times, values
		}
		change := uint64(ch[pos])
		pos++
		if change >= 0x80 {
			if second := uint64(ch[pos]); second < 0x80 {
				change = change&0x7f | second<<7
				pos++
			} else {
				change, pos = ch.decodeUvarint(pos - 1)
			}
		}
		step += zigzagDecode(change)
		t += step
		code := uint64(ch[pos])
		pos++
		if code >= 0x80 {
			if second := uint64(ch[pos]); second < 0x80 {
				code = code&0x7f | second<<7
				pos++
			} else {
				code, pos = ch.decodeUvarint(pos - 1)
			}
		}
		if code == rawValueCode {
			v = math.Float64frombits(binary.LittleEndian.Uint64(ch[pos:]))
			whole = int64(v) // of use only if it is whole
			pos += 8
			continue
		}
		whole += zigzagDecode(code >> 1)
		v = float64(whole)
	}
}

// decodeUvarint decodes the integer at pos and returns the position behind it.
func (ch sampleChunk) decodeUvarint(pos int) (uint64, int) {
	u, n := binary.Uvarint(ch[pos:])
	return u, pos + n
}

// startTime is the time of the chunk's first sample.
func (ch sampleChunk) startTime() int64 { return int64(binary.LittleEndian.Uint64(ch)) }

// countSamples is the number of samples in the chunk.
func (ch sampleChunk) countSamples() int {
	var c chunkCursor
	n := 1
	for pos := ch.decodeFirst(&c); pos < len(ch); n++ {
		pos = ch.decodeNext(&c, pos)
	}
	return n
}

// isWholeNumber reports whether v is a whole number that survives the way through an integer: not a NaN, not −0.
func isWholeNumber(v float64) bool {
	return v >= -maxWholeNumber && v <= maxWholeNumber && math.Float64bits(float64(int64(v))) == math.Float64bits(v)
}

func zigzagEncode(n int64) uint64 { return uint64(n<<1) ^ uint64(n>>63) }
func zigzagDecode(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }
