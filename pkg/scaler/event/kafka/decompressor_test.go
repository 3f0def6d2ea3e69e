package kafka

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/event"
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
			// Without an end in the client's error the partition would stand still at this batch.
			if _, err := new(boundedDecompressor).Decompress([]byte("nonsense"), codec); !errors.Is(err, kgo.ErrMaxDecompress) {
				t.Errorf("nonsense: %v", err)
			}
		})
	}
}

// newHeaderRecordBytes returns a record as a batch has it, with empty headers.
func newHeaderRecordBytes(claimed, headers int) []byte {
	record := []byte{0, 0, 0, 1, 1} // no key, no value
	record = binary.AppendVarint(record, int64(claimed))
	for range headers {
		record = append(record, 0, 1) // no name, no value
	}
	return append(binary.AppendVarint(nil, int64(len(record))), record...)
}

// TestS11HeadersAreBounded: headers of two bytes, of which a batch has millions, are no way around the bounds, nor are claims of them.
func TestS11HeadersAreBounded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		batch []byte
		want  error
	}{
		"usual":             {bytes.Repeat(newHeaderRecordBytes(3, 3), 100), nil},
		"the most":          {newHeaderRecordBytes(maxBatchHeaders, maxBatchHeaders), nil},
		"too many":          {newHeaderRecordBytes(maxBatchHeaders+1, maxBatchHeaders+1), kgo.ErrMaxDecompress},
		"of many records":   {bytes.Repeat(newHeaderRecordBytes(100, 100), maxBatchHeaders/100+1), kgo.ErrMaxDecompress},
		"claimed":           {newHeaderRecordBytes(1<<30, maxBatchHeaders), kgo.ErrMaxDecompress},
		"claimed, no bytes": {newHeaderRecordBytes(1<<30, 0), nil},
		"negative":          {newHeaderRecordBytes(-5, 0), nil},
	} {
		d := new(boundedDecompressor)
		if _, err := d.Decompress(compressTestBatch(t, kgo.CodecZstd, c.batch), kgo.CodecZstd); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	d := new(boundedDecompressor)
	batch := compressTestBatch(t, kgo.CodecZstd, newHeaderRecordBytes(maxBatchHeaders, maxBatchHeaders))
	for range 1000 {
		if _, err := d.Decompress(batch, kgo.CodecZstd); errors.Is(err, errBufferFull) {
			return
		}
	}
	t.Errorf("the memory of headers is not counted: %d bytes", d.buffered.Load())
}

// TestS11LargeRecordsAreNoEvents: a record whose key or headers are larger than an event is one of too many bytes, whatever its value.
func TestS11LargeRecordsAreNoEvents(t *testing.T) {
	t.Parallel()
	value := []byte(`{"id":"1","type":"SALE"}`)
	many := make([]kgo.RecordHeader, 100_000)
	for name, c := range map[string]struct {
		record kgo.Record
		large  bool
	}{
		"usual":        {kgo.Record{Key: []byte("shop"), Headers: []kgo.RecordHeader{{Key: "ce_id", Value: []byte("1")}}}, false},
		"key":          {kgo.Record{Key: make([]byte, 1<<20)}, true},
		"header":       {kgo.Record{Headers: []kgo.RecordHeader{{Key: "ce_x", Value: make([]byte, 1<<20)}}}, true},
		"name":         {kgo.Record{Headers: []kgo.RecordHeader{{Key: strings.Repeat("x", 1<<20)}}}, true},
		"many headers": {kgo.Record{Headers: many}, true},
	} {
		c.record.Value = value
		m := newKafkaMessage(&c.record)
		if got := len(m.Data) > event.MaxBytes; got != c.large || c.large && (m.Key != "" || len(m.Headers) > 0) {
			t.Errorf("%s: %d bytes of data, %d of a key, %d headers; want too large: %t", name, len(m.Data), len(m.Key), len(m.Headers), c.large)
		}
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
		d.forgetHandledRecords()
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

// FuzzLargeBatch reads batches of brokers that are not what they say: they name their end, behind their begin, or are none.
func FuzzLargeBatch(f *testing.F) {
	batch := make([]byte, 61, 80)
	batch[11], batch[16], batch[26] = 49+19, 2, 1 // its length, magic and last offset
	f.Add(append(batch, newRecordBytes(1, 18)...), int64(0))
	f.Add(batch[:60], int64(5))
	f.Fuzz(func(t *testing.T, data []byte, offset int64) {
		response := &kmsg.FetchResponseTopicPartition{RecordBatches: data}
		b := newLargeBatch(response, offset)
		if b == nil {
			return
		}
		records, _, err := b.decodeBatchRecords("topic", nil)
		if err == nil && len(records) > maxBatchRecords {
			t.Errorf("%d records", len(records))
		}
		if len(b.response.RecordBatches) > len(data) {
			t.Errorf("a batch of %d bytes in a response of %d", len(b.response.RecordBatches), len(data))
		}
	})
}
