// The memory of decompressed records. The client's own limit applies to each batch alone. A response may have a thousand batches, and a batch a
// million empty records.

package kafka

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tachometer-metrics/tachometer/pkg/panics"
)

const (
	// maxBatchBytes limits the decompressed size of a batch: a hundred of the largest events, and a small part of the pod's memory.
	maxBatchBytes = 8 << 20
	// maxBatchRecords bounds the records of a compressed batch: far above the batches of a producer of events.
	maxBatchRecords = 20_000
	// maxBufferedBytes bounds the decompressed batches that wait for the handler. The batch that exceeds it is read again later.
	maxBufferedBytes = 16 << 20
	// recordBytes is the memory of a record beside its data, and headerBytes the memory of a header: on the wire it takes two bytes.
	recordBytes, headerBytes = 256, 40
	// maxBatchHeaders bounds the headers of a compressed batch: ten for each of its records.
	maxBatchHeaders = 10 * maxBatchRecords
)

// errBufferFull is the error of a batch that must wait for the handler.
var errBufferFull = errors.New("the decompressed records that wait are many; reading again after them")

// boundedDecompressor is the decompressor of a client. The client calls it concurrently.
type boundedDecompressor struct {
	panics   *panics.Guard // of the consumer
	buffered atomic.Int64
	// decompress replaces decompressBatch in tests.
	decompress func([]byte, kgo.CompressionCodecType) ([]byte, error)
}

var _ kgo.Decompressor = (*boundedDecompressor)(nil)

// Decompress implements kgo.Decompressor. Its error is errBufferFull, or wraps kgo.ErrMaxDecompress: the consumer skips a batch that is too
// large by itself, is damaged, or makes a library panic. The client would read it again and again, and end the program with the panic.
func (d *boundedDecompressor) Decompress(src []byte, codec kgo.CompressionCodecType) ([]byte, error) {
	if codec == kgo.CodecNone {
		return src, nil
	}
	if d.buffered.Load() >= maxBufferedBytes {
		return nil, errBufferFull
	}
	out, records, headers, err := d.decompressCountedBatch(src, codec)
	switch {
	case errors.Is(err, kgo.ErrMaxDecompress):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: %w", kgo.ErrMaxDecompress, err)
	}
	if records > maxBatchRecords || headers > maxBatchHeaders {
		return nil, fmt.Errorf("more than %d records or %d headers: %w", maxBatchRecords, maxBatchHeaders, kgo.ErrMaxDecompress)
	}
	d.buffered.Add(int64(len(out) + records*recordBytes + headers*headerBytes))
	return out, nil
}

// decompressCountedBatch returns the records of a batch, their number and that of their headers. A panic is its error.
func (d *boundedDecompressor) decompressCountedBatch(src []byte, codec kgo.CompressionCodecType) (out []byte, records, headers int, err error) {
	defer d.panics.Catch(context.Background(), &err, func() []any { return []any{"codec", codec, "bytes", len(src)} })
	decompress := decompressBatch
	if d.decompress != nil {
		decompress = d.decompress
	}
	if out, err = decompress(src, codec); err != nil {
		return nil, 0, 0, err
	}
	records, headers = countBatchRecords(out)
	return out, records, headers, nil
}

// forgetHandledRecords makes room after the handler has had all records.
func (d *boundedDecompressor) forgetHandledRecords() { d.buffered.Store(0) }

// decompressBatch decompresses the records of a batch, up to maxBatchBytes.
func decompressBatch(src []byte, codec kgo.CompressionCodecType) ([]byte, error) {
	var r io.Reader
	switch codec {
	case kgo.CodecGzip:
		unzip, err := gzip.NewReader(bytes.NewReader(src))
		if err != nil {
			return nil, fmt.Errorf("decompress gzip: %w", err)
		}
		r = unzip
	case kgo.CodecLz4:
		r = lz4.NewReader(bytes.NewReader(src))
	case kgo.CodecZstd:
		unzip, err := zstd.NewReader(bytes.NewReader(src), zstd.WithDecoderLowmem(true), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxBatchBytes))
		if err != nil {
			return nil, fmt.Errorf("decompress zstd: %w", err)
		}
		defer unzip.Close()
		r = unzip
	case kgo.CodecSnappy:
		return decompressSnappy(src)
	case kgo.CodecNone:
		return src, nil
	default:
		return nil, fmt.Errorf("decompress: unknown codec %d", codec)
	}
	out, err := io.ReadAll(io.LimitReader(r, maxBatchBytes+1))
	switch {
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		return nil, fmt.Errorf("decompress: %w: %w", kgo.ErrMaxDecompress, err)
	case err != nil:
		return nil, fmt.Errorf("decompress: %w", err)
	case len(out) > maxBatchBytes:
		return nil, kgo.ErrMaxDecompress
	}
	return out, nil
}

// snappyHeader begins the framing of Java's producers: it, two versions of four bytes, and then blocks that begin with their length.
var snappyHeader = []byte("\x82SNAPPY\x00")

// decompressSnappy decompresses a block, or the blocks of Java's framing.
func decompressSnappy(src []byte) ([]byte, error) {
	if !bytes.HasPrefix(src, snappyHeader) || len(src) < len(snappyHeader)+8 {
		return appendSnappyBlock(nil, src)
	}
	var out []byte
	for src = src[len(snappyHeader)+8:]; len(src) > 0; {
		if len(src) < 4 {
			return nil, io.ErrUnexpectedEOF
		}
		length := int64(binary.BigEndian.Uint32(src))
		if src = src[4:]; length > int64(len(src)) {
			return nil, io.ErrUnexpectedEOF
		}
		var err error
		if out, err = appendSnappyBlock(out, src[:length]); err != nil {
			return nil, err
		}
		src = src[length:]
	}
	return out, nil
}

func appendSnappyBlock(out, block []byte) ([]byte, error) {
	n, err := s2.DecodedLen(block)
	switch {
	case err != nil:
		return nil, fmt.Errorf("decompress snappy: %w", err)
	case n > maxBatchBytes-len(out):
		return nil, kgo.ErrMaxDecompress
	}
	plain, err := s2.Decode(nil, block)
	if err != nil {
		return nil, fmt.Errorf("decompress snappy: %w", err)
	}
	return append(out, plain...), nil
}

// countBatchRecords counts the records of a batch, each of which begins with its length, and the headers that they claim to have. Of data in
// another form it returns smaller numbers: the client rejects it later.
func countBatchRecords(data []byte) (records, headers int) {
	for len(data) > 0 {
		length, size := binary.Varint(data)
		if size <= 0 || length < 0 || length > int64(len(data)-size) {
			return records, headers
		}
		record := data[size : int64(size)+length]
		data = data[int64(size)+length:]
		records, headers = records+1, headers+countRecordHeaders(record)
	}
	return records, headers
}

// countRecordHeaders returns the number of headers that a record claims to have, at most as many as it has bytes: the client makes room for
// them before it reads the first. A record is its attributes, two deltas, key, value, and the number of headers.
func countRecordHeaders(record []byte) int {
	if len(record) == 0 {
		return 0
	}
	record = record[1:]
	for field := range 4 {
		n, size := binary.Varint(record)
		if size <= 0 {
			return 0
		}
		record = record[size:]
		if isText := field >= 2; isText && n > 0 {
			if n > int64(len(record)) {
				return 0
			}
			record = record[n:]
		}
	}
	claimed, size := binary.Varint(record)
	if size <= 0 || claimed < 0 {
		return 0
	}
	return int(min(claimed, int64(len(record)-size)))
}
