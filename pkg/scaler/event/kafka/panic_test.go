package kafka

import (
	"context"
	"errors"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/event"
)

// TestPanicEndsOneRecord: a record that makes the handler panic is counted, and reading goes on behind it: else the scaler would read it again
// after each restart.
func TestPanicEndsOneRecord(t *testing.T) {
	t.Parallel()
	var handled []string
	c := New(event.KafkaConfig{Topic: "sales"}, func(_ context.Context, m event.Message) error {
		if string(m.Data) == "bad" {
			panic("text of a record")
		}
		handled = append(handled, string(m.Data))
		return nil
	}, Options{})
	s := &kafkaSession{Consumer: c, next: map[int32]int64{}}
	for i, text := range []string{"bad", "good"} {
		s.handleKafkaRecord(t.Context(), &kgo.Record{Value: []byte(text), Partition: 3, Offset: int64(i)})
	}
	if len(handled) != 1 || s.next[3] != 2 || testutil.ToFloat64(c.metrics.panics.Counter()) != 1 {
		t.Errorf("handled %q, next offset %d", handled, s.next[3])
	}
}

// TestPanicEndsOneBatch: the client calls the decompressor in its own goroutines. A batch over which it panics is one to skip.
func TestPanicEndsOneBatch(t *testing.T) {
	t.Parallel()
	m := newMetrics(nil)
	d := &boundedDecompressor{panics: m.panics, decompress: func([]byte, kgo.CompressionCodecType) ([]byte, error) { panic("a bug in a codec") }}
	if _, err := d.Decompress([]byte("x"), kgo.CodecZstd); !errors.Is(err, kgo.ErrMaxDecompress) || testutil.ToFloat64(m.panics.Counter()) != 1 {
		t.Errorf("%v, %v panics counted", err, testutil.ToFloat64(m.panics.Counter()))
	}
	d.decompress = nil
	if _, err := d.Decompress(compressTestBatch(t, kgo.CodecZstd, newRecordBytes(1, 9)), kgo.CodecZstd); err != nil {
		t.Errorf("the next batch: %v", err)
	}
}
