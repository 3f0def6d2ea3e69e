package kafka_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/event"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/event/kafka"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// handle runs a consumer with a handler of whole messages until the test ends, and returns the messages.
func handle(t *testing.T, cfg event.KafkaConfig, accept kafka.MessageHandler, reg prometheus.Registerer) <-chan event.Message {
	t.Helper()
	got := make(chan event.Message, 1000)
	cfg.Topic, cfg.Rewind = topic, time.Minute
	consumer := kafka.New(cfg, func(ctx context.Context, m event.Message) error {
		m.Data = bytes.Clone(m.Data)
		got <- m
		if accept == nil {
			return nil
		}
		return accept(ctx, m)
	}, kafka.Options{Registerer: reg})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- consumer.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return got
}

func next(t *testing.T, messages <-chan event.Message) event.Message {
	t.Helper()
	select {
	case m := <-messages:
		return m
	case <-time.After(reactionTimeout):
		t.Fatal("no message")
		return event.Message{}
	}
}

// TestS11BombIsSkipped: a batch that decompresses to 200 MiB is skipped and counted as malformed, and the event behind it is delivered.
func TestS11BombIsSkipped(t *testing.T) {
	t.Parallel()
	c := cluster(t, kfake.BrokerConfigs(map[string]string{"message.max.bytes": "400000000"}))
	bomb := writer(t, c.ListenAddrs(), kgo.ProducerBatchCompression(kgo.ZstdCompression()), kgo.ProducerBatchMaxBytes(300<<20), kgo.BrokerMaxWriteBytes(400<<20))
	write := writer(t, c.ListenAddrs())
	write(1, time.Now(), "START")
	bomb(1, time.Now(), string(bytes.Repeat([]byte("a"), 200<<20)))
	write(1, time.Now(), "END")

	s := &sink{raised: map[string]int{}, released: make(chan string, 1), reg: prometheus.NewRegistry()}
	workload := hold.Workload{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "sale", Name: "shop"}
	h := event.NewHandler([]event.HoldRule{{
		Name: "sale", Type: "START", ReleaseOn: "END", Workloads: []event.WorkloadSpec{{Workload: workload, Replicas: event.ReplicaCount{Value: 20}}},
	}}, s, &seen{}, event.Options{Registerer: s.reg})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	messages := handle(t, event.KafkaConfig{Brokers: c.ListenAddrs()}, func(ctx context.Context, m event.Message) error {
		_, err := h.AcceptMessage(ctx, m)
		return err
	}, s.reg)
	for _, want := range []int{len("START"), event.MaxBytes + 1, len("END")} {
		if got := next(t, messages); len(got.Data) != want {
			t.Errorf("%d bytes; want %d", len(got.Data), want)
		}
	}
	select {
	case <-s.released:
	case <-time.After(reactionTimeout):
		t.Fatal("the event behind the bomb was not delivered")
	}
	if got := outcomes(t, s.reg, "malformed"); got != 1 {
		t.Errorf("%v malformed; want the bomb", got)
	}
}

// TestS11ManyBatchesAreReadInTurn: batches that together decompress to much more than the consumer holds in memory are all read, in every codec.
func TestS11ManyBatchesAreReadInTurn(t *testing.T) {
	t.Parallel()
	for name, codec := range map[string]kgo.CompressionCodec{
		"gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := cluster(t)
			large := writer(t, c.ListenAddrs(), kgo.ProducerBatchCompression(codec), kgo.ProducerBatchMaxBytes(16<<20))
			const batches, size = 12, 3 << 20
			for range batches {
				large(0, time.Now(), string(make([]byte, size)))
			}
			large(0, time.Now(), "START")
			messages := handle(t, event.KafkaConfig{Brokers: c.ListenAddrs()}, nil, nil)
			for i := range batches {
				if m := next(t, messages); len(m.Data) != size {
					t.Fatalf("batch %d: %d bytes; want %d", i, len(m.Data), size)
				}
			}
			if m := next(t, messages); string(m.Data) != "START" {
				t.Errorf("after them: %d bytes", len(m.Data))
			}
		})
	}
}

// outcomes returns how many events had the outcome.
func outcomes(t *testing.T, reg *prometheus.Registry, outcome string) (n float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == "tachometer_scaler_events_total" && l.GetValue() == outcome {
					n += m.GetCounter().GetValue()
				}
			}
		}
	}
	return n
}

// TestD23RecordsAreMessages: the handler gets the key, the headers and the time of a record, and a position that no other record has.
func TestD23RecordsAreMessages(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	at := time.Now().Truncate(time.Millisecond)
	r := kgo.Record{
		Partition: 2, Key: []byte("friday"), Value: []byte("START"), Timestamp: at,
		Headers: []kgo.RecordHeader{{Key: "CE_Type", Value: []byte("sale.start")}},
	}
	second := r
	if err := client.ProduceSync(t.Context(), &r, &second).FirstErr(); err != nil {
		t.Fatal(err)
	}
	messages := handle(t, event.KafkaConfig{Brokers: c.ListenAddrs()}, nil, nil)
	for i := range 2 {
		m := next(t, messages)
		want := fmt.Sprintf("%s/2/%d@%d", topic, i, at.UnixMilli())
		if m.Key != "friday" || m.Headers["ce_type"] != "sale.start" || !m.Time.Equal(at) || m.Position != want || m.Source != event.SourceKafka {
			t.Errorf("%+v; want position %s and time %s", m, want, at)
		}
	}
}
