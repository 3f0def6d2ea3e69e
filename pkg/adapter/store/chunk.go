package store

// The encoding of samples.

import (
	"encoding/binary"
	"math"
)

// sampleChunk is a run of samples of a series in a fixed block of bytes. Appending never changes bytes already
// read, so a snapshot of a series is a copy of its slice headers.
//
// The first sample is raw: 8 bytes of time (milliseconds, little endian) and 8 bytes of value. Each further sample is two
// variable-length integers:
//
//   - zigzag(step − step before), where step is the time since the sample before it (0 for the first);
//   - zigzag(value − value before) << 1 if both are whole numbers that a float64 holds exactly, as in most counters;
//     otherwise 1, followed by the 8 bytes of the value.
//
// A counter scraped on time takes 2 to 4 bytes a sample instead of 16.
type sampleChunk []byte

const (
	// chunkBytes is the size of a block. A minute of a counter with a sample every 2 s fits in a block; smaller blocks cost
	// more in slice headers than they save, larger blocks keep samples long after their retention.
	chunkBytes = 112
	// firstSampleBytes is the size of a chunk's first sample.
	firstSampleBytes = 16
	// maxSampleBytes bounds a further sample: a 10-byte step, and 9 bytes of value.
	maxSampleBytes = 2*binary.MaxVarintLen64 + 8
	// maxWholeNumber bounds the range in which a float64 holds every whole number.
	maxWholeNumber = 1 << 53
	// rawValueCode is the value code before a raw value; codes of whole numbers are even.
	rawValueCode = 1
)

// chunkCursor is a position in a chunk: its sample, and the step that led to it. Encoder and decoder share this state.
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

// encodeSample appends a sample behind c, the chunk's last sample, and moves c to it. It returns false, without a change, if the
// block is full. t must be later than c's.
func (ch *sampleChunk) encodeSample(c *chunkCursor, t int64, v float64) bool {
	var buf [maxSampleBytes]byte
	step := t - c.t
	b := binary.AppendVarint(buf[:0], step-c.step)
	if isWholeSampleValue(c.v) && isWholeSampleValue(v) {
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

// decodeFirstSample moves c to the chunk's first sample and returns the position of the next.
func (ch sampleChunk) decodeFirstSample(c *chunkCursor) int {
	*c = chunkCursor{t: ch.chunkStartTime(), v: math.Float64frombits(binary.LittleEndian.Uint64(ch[8:]))}
	return firstSampleBytes
}

// decodeNextSample moves c to the sample at pos, which must be less than the chunk's length, and returns the position of the next
// sample. It is most of the cost of a query. Most steps take one byte and most increments two: it decodes both in
// place, so that a Select takes a third less time than with binary.Uvarint.
func (ch sampleChunk) decodeNextSample(c *chunkCursor, pos int) int {
	change := uint64(ch[pos])
	pos++
	if change >= 0x80 {
		change, pos = ch.decodeChunkUvarint(pos - 1)
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
			code, pos = ch.decodeChunkUvarint(pos - 1)
		}
	}
	if code != rawValueCode {
		c.v = float64(int64(c.v) + zigzagDecode(code>>1))
		return pos
	}
	c.v = math.Float64frombits(binary.LittleEndian.Uint64(ch[pos:]))
	return pos + 8
}

// decodeChunkRange appends the samples in [mint, maxt] to times and values. It decodes like decodeFirstSample and decodeNextSample, but with the
// fields of the cursor in registers; calls would cost its speed.
func (ch sampleChunk) decodeChunkRange(times []int64, values []float64, mint, maxt int64) ([]int64, []float64) {
	var c chunkCursor
	pos := ch.decodeFirstSample(&c)
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
				change, pos = ch.decodeChunkUvarint(pos - 1)
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
				code, pos = ch.decodeChunkUvarint(pos - 1)
			}
		}
		if code == rawValueCode {
			v = math.Float64frombits(binary.LittleEndian.Uint64(ch[pos:]))
			whole = int64(v) // used only if v is a whole number
			pos += 8
			continue
		}
		whole += zigzagDecode(code >> 1)
		v = float64(whole)
	}
}

// decodeChunkUvarint decodes the integer at pos and returns the position behind it.
func (ch sampleChunk) decodeChunkUvarint(pos int) (uint64, int) {
	u, n := binary.Uvarint(ch[pos:])
	return u, pos + n
}

// chunkStartTime returns the time of the chunk's first sample, in milliseconds.
func (ch sampleChunk) chunkStartTime() int64 { return int64(binary.LittleEndian.Uint64(ch)) }

// countChunkSamples returns the number of samples in the chunk.
func (ch sampleChunk) countChunkSamples() int {
	var c chunkCursor
	n := 1
	for pos := ch.decodeFirstSample(&c); pos < len(ch); n++ {
		pos = ch.decodeNextSample(&c, pos)
	}
	return n
}

// isWholeSampleValue reports whether v is a whole number that a conversion to an integer and back preserves: not a NaN, not −0.
func isWholeSampleValue(v float64) bool {
	return v >= -maxWholeNumber && v <= maxWholeNumber && math.Float64bits(float64(int64(v))) == math.Float64bits(v)
}

func zigzagEncode(n int64) uint64 { return uint64(n<<1) ^ uint64(n>>63) }
func zigzagDecode(u uint64) int64 { return int64(u>>1) ^ -int64(u&1) }
