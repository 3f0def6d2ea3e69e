package store

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"

	"github.com/prometheus/prometheus/model/value"
)

// samplePoint is a sample with the bits of its value, so that NaNs are comparable.
type samplePoint struct {
	t    int64
	bits uint64
}

func newSamplePoint(t int64, v float64) samplePoint {
	return samplePoint{t: t, bits: math.Float64bits(v)}
}

// encodeChunks appends points to as many chunks as they need.
func encodeChunks(points []samplePoint) (chunks []sampleChunk) {
	var c chunkCursor
	for _, p := range points {
		v := math.Float64frombits(p.bits)
		if n := len(chunks); n == 0 || !chunks[n-1].encodeSample(&c, p.t, v) {
			chunks = append(chunks, newSampleChunk(&c, p.t, v))
		}
	}
	return chunks
}

func decodeChunks(chunks []sampleChunk) (points []samplePoint) {
	var c chunkCursor
	for _, ch := range chunks {
		pos := ch.decodeFirstSample(&c)
		points = append(points, newSamplePoint(c.t, c.v))
		for pos < len(ch) {
			pos = ch.decodeNextSample(&c, pos)
			points = append(points, newSamplePoint(c.t, c.v))
		}
	}
	return points
}

// decodeChunkRanges returns the samples of chunks by decodeChunkRange.
func decodeChunkRanges(chunks []sampleChunk) (points []samplePoint) {
	for _, ch := range chunks {
		times, values := ch.decodeChunkRange(nil, nil, math.MinInt64, math.MaxInt64)
		for i, at := range times {
			points = append(points, newSamplePoint(at, values[i]))
		}
	}
	return points
}

func checkRoundTrip(t *testing.T, points []samplePoint) {
	t.Helper()
	chunks := encodeChunks(points)
	got := decodeChunks(chunks)
	if !slices.Equal(got, decodeChunkRanges(chunks)) {
		t.Fatalf("read at once: %v, want %v", decodeChunkRanges(chunks), got)
	}
	if len(got) != len(points) {
		t.Fatalf("read %d of %d points", len(got), len(points))
	}
	for i := range points {
		if got[i] != points[i] {
			t.Fatalf("point %d is %v, want %v", i, got[i], points[i])
		}
	}
	n := 0
	for _, ch := range chunks {
		n += ch.countChunkSamples()
		if cap(ch) != chunkBytes {
			t.Errorf("a chunk of %d bytes, want %d", cap(ch), chunkBytes)
		}
	}
	if n != len(points) {
		t.Errorf("chunks count %d points, want %d", n, len(points))
	}
}

func TestChunkRoundTrip(t *testing.T) {
	t.Parallel()
	values := map[string][]float64{
		"counter":            {0, 80, 160, 161, 1 << 40, 5},
		"negative":           {-1, -80, 3, -maxWholeNumber, maxWholeNumber},
		"at the whole limit": {maxWholeNumber, maxWholeNumber + 2, maxWholeNumber, -maxWholeNumber - 2, 0},
		"fractions":          {0.1, 0.2, 1, 0.3, math.Pi},
		"special": {
			0, math.Copysign(0, -1), 0, math.NaN(), math.Inf(1), math.Inf(-1), 7,
			math.Float64frombits(value.StaleNaN), math.MaxFloat64, math.SmallestNonzeroFloat64,
		},
	}
	times := map[string]func(i int) int64{
		"regular":  func(i int) int64 { return int64(i) * 2000 },
		"jittered": func(i int) int64 { return int64(i)*2000 + int64(i*i%7) },
		"sparse":   func(i int) int64 { return int64(i) * int64(i) * 1_000_000_007 },
		"extreme":  func(i int) int64 { return math.MinInt64 + int64(i)*(math.MaxInt64/8) },
	}
	for vName, vs := range values {
		for tName, at := range times {
			t.Run(vName+", "+tName, func(t *testing.T) {
				t.Parallel()
				var points []samplePoint
				for i, v := range vs {
					points = append(points, newSamplePoint(at(i), v))
				}
				checkRoundTrip(t, points)
			})
		}
	}
}

// Bytes of a chunk that a reader has seen must never change: a reader decodes without a lock.
func TestChunkIsOnlyAppendedTo(t *testing.T) {
	t.Parallel()
	var c chunkCursor
	ch := newSampleChunk(&c, 1, 1)
	if !ch.encodeSample(&c, 2, 2) {
		t.Fatal("a new chunk is full")
	}
	seen := ch
	before := string(seen)
	for i := int64(3); ch.encodeSample(&c, i, float64(i)); i++ {
	}
	if string(seen) != before {
		t.Error("bytes that were read have changed")
	}
	if &seen[0] != &ch[0] {
		t.Error("the block was moved")
	}
}

func FuzzChunk(f *testing.F) {
	seed := func(pairs ...float64) {
		var b []byte
		for _, p := range pairs {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(p))
		}
		f.Add(int64(1_700_000_000_000), b)
	}
	seed(2000, 0, 2000, 80, 2001, 160, 1999, 240)
	seed(2000, 0.5, 2000, math.NaN(), 2000, math.Inf(-1))
	seed(1, maxWholeNumber, 1, -maxWholeNumber, 1, 0)
	f.Fuzz(func(t *testing.T, start int64, data []byte) {
		var points []samplePoint
		at := start
		for len(data) >= 16 {
			step := math.Abs(math.Float64frombits(binary.LittleEndian.Uint64(data)))
			if !(step >= 1 && step < 1<<62) {
				step = 1
			}
			next := at + int64(step)
			if next <= at {
				break // beyond the end of time
			}
			at = next
			points = append(points, samplePoint{t: at, bits: binary.LittleEndian.Uint64(data[8:])})
			data = data[16:]
		}
		checkRoundTrip(t, points)
	})
}
