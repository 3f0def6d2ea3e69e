package kafka

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kgo"
)

// newRecordBytes returns records as a batch has them.
func newRecordBytes(count, size int) []byte {
	var b []byte
	for range count {
		b = binary.AppendVarint(b, int64(size))
		b = append(b, make([]byte, size)...)
	}
	return b
}

func compressTestBatch(t *testing.T, codec kgo.CompressionCodecType, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser
	switch codec {
	case kgo.CodecGzip:
		w = gzip.NewWriter(&b)
	case kgo.CodecLz4:
		w = lz4.NewWriter(&b)
	case kgo.CodecZstd:
		z, err := zstd.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		w = z
	case kgo.CodecSnappy:
		return s2.EncodeSnappy(nil, data)
	case kgo.CodecNone:
		return data
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// frameSnappy returns data in the framing of Java's producers.
func frameSnappy(data []byte) []byte {
	framed := append(bytes.Clone(snappyHeader), 0, 0, 0, 1, 0, 0, 0, 1)
	for len(data) > 0 {
		n := min(len(data), 32<<10)
		block := s2.EncodeSnappy(nil, data[:n])
		framed = append(binary.BigEndian.AppendUint32(framed, uint32(len(block))), block...)
		data = data[n:]
	}
	return framed
}

// TestS11EachCodecIsBounded: whatever the codec, a batch with too many bytes or records is an error of which the client says where it ends.
func TestS11EachCodecIsBounded(t *testing.T) {
	t.Parallel()
	for name, codec := range map[string]kgo.CompressionCodecType{"gzip": kgo.CodecGzip, "lz4": kgo.CodecLz4, "zstd": kgo.CodecZstd, "snappy": kgo.CodecSnappy} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for what, c := range map[string]struct {
				count, size int
				want        error
			}{
				"usual": {100, 300, nil}, "the most records": {maxBatchRecords, 7, nil}, "too many records": {maxBatchRecords + 1, 7, kgo.ErrMaxDecompress},
				"almost all bytes": {8, 1<<20 - 10, nil}, "too many bytes": {8, 1 << 20, kgo.ErrMaxDecompress},
			} {
				plain := newRecordBytes(c.count, c.size)
				forms := [][]byte{compressTestBatch(t, codec, plain)}
				if codec == kgo.CodecSnappy {
					forms = append(forms, frameSnappy(plain))
				}
				for _, form := range forms {
					got, err := new(boundedDecompressor).Decompress(form, codec)
					if !errors.Is(err, c.want) || err == nil && !bytes.Equal(got, plain) {
						t.Errorf("%s: %d bytes, %v; want %d and %v", what, len(got), err, len(plain), c.want)
					}
				}
			}
			if _, err := new(boundedDecompressor).Decompress([]byte("nonsense"), codec); err == nil || errors.Is(err, kgo.ErrMaxDecompress) {
				t.Errorf("nonsense: %v", err)
			}
		})
	}
}

// TestS11WaitingBatchesAreBounded: batches wait for the handler when many others do, and are read after it.
func TestS11WaitingBatchesAreBounded(t *testing.T) {
	t.Parallel()
	for name, batch := range map[string][]byte{
		"of many bytes":   compressTestBatch(t, kgo.CodecGzip, newRecordBytes(1, 7<<20)),
		"of many records": compressTestBatch(t, kgo.CodecGzip, newRecordBytes(maxBatchRecords, 0)),
	} {
		d := new(boundedDecompressor)
		taken := 0
		for range 1000 {
			if _, err := d.Decompress(batch, kgo.CodecGzip); errors.Is(err, errBufferFull) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			taken++
		}
		if taken < 2 || taken > 4 || d.buffered.Load() > maxBufferedBytes+maxBatchBytes+maxBatchRecords*recordBytes {
			t.Errorf("%s: %d batches are taken, %d bytes", name, taken, d.buffered.Load())
		}
		if plain, err := d.Decompress([]byte("x"), kgo.CodecNone); err != nil || string(plain) != "x" {
			t.Errorf("not compressed: %q, %v", plain, err)
		}
		d.forgetHandledKafkaRecords()
		if _, err := d.Decompress(batch, kgo.CodecGzip); err != nil {
			t.Errorf("%s: after the handler: %v", name, err)
		}
	}
}

func FuzzDecompress(f *testing.F) {
	f.Add([]byte("x"), byte(kgo.CodecZstd))
	f.Add(frameSnappy([]byte("some records")), byte(kgo.CodecSnappy))
	f.Add(s2.EncodeSnappy(nil, []byte("some records")), byte(kgo.CodecSnappy))
	f.Fuzz(func(t *testing.T, data []byte, codec byte) {
		out, err := new(boundedDecompressor).Decompress(data, kgo.CompressionCodecType(codec%6))
		if err == nil && codec%6 != byte(kgo.CodecNone) && len(out) > maxBatchBytes {
			t.Errorf("%d bytes", len(out))
		}
	})
}
