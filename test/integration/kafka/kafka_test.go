// Package kafka_test tests the consumer with kfake brokers, because a real broker cannot be installed everywhere.
package kafka_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/event"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/event/kafka"
	"github.com/tachometer-metrics/tachometer/test/harness/loopback"
)

const (
	topic = "sales"
	// reactionTimeout is far above any reaction time on a busy machine.
	reactionTimeout = 60 * time.Second
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// cluster starts brokers.
func cluster(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.SeedTopics(3, topic)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// reader is a consumer that runs until the test ends.
type reader struct {
	*kafka.Consumer
	registry *prometheus.Registry
	got      chan string
	stop     func()
}

func read(t *testing.T, cfg event.KafkaConfig) *reader {
	t.Helper()
	r := &reader{registry: prometheus.NewRegistry(), got: make(chan string, 100_000)}
	cfg.Topic = topic
	if cfg.Rewind == 0 {
		cfg.Rewind = time.Minute
	}
	r.Consumer = kafka.New(cfg, func(_ context.Context, m event.Message) error {
		r.got <- string(m.Data)
		return nil
	}, kafka.Options{Registerer: r.registry})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := r.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	r.stop = func() { cancel(); <-ended }
	t.Cleanup(r.stop)
	return r
}

// await reads until each of the values has come, and returns all received values.
func (r *reader) await(t *testing.T, values ...string) (all []string) {
	t.Helper()
	missing := slices.Clone(values)
	timeout := time.After(reactionTimeout)
	for len(missing) > 0 {
		select {
		case v := <-r.got:
			all = append(all, v)
			missing = slices.DeleteFunc(missing, func(m string) bool { return m == v })
		case <-timeout:
			t.Fatalf("not read: %q; read: %q", missing, all)
		}
	}
	return all
}

// failing waits until the reader reports a failure of the brokers.
func (r *reader) failing(t *testing.T) {
	t.Helper()
	until(t, "a failure is counted", func() bool { return counter(t, r.registry, "tachometer_scaler_kafka_failures_total") > 0 })
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for timeout := time.After(reactionTimeout); !ok(); {
		select {
		case <-tick.C:
		case <-timeout:
			t.Fatalf("not within %s: %s", reactionTimeout, what)
		}
	}
}

// writer appends records.
func writer(t *testing.T, addrs []string, opts ...kgo.Opt) func(partition int32, at time.Time, values ...string) {
	t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(addrs...), kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MetadataMinAge(50 * time.Millisecond),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return func(partition int32, at time.Time, values ...string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), reactionTimeout)
		defer cancel()
		var records []*kgo.Record
		for _, v := range values {
			records = append(records, &kgo.Record{Value: []byte(v), Partition: partition, Timestamp: at})
		}
		if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReadingBeginsAMinuteBack(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	write := writer(t, c.ListenAddrs())
	now := time.Now()
	for p := range int32(3) {
		write(p, now.Add(-2*time.Minute), fmt.Sprintf("old %d", p))
		write(p, now.Add(-30*time.Second), fmt.Sprintf("recent %d", p))
	}
	r := read(t, event.KafkaConfig{Brokers: c.ListenAddrs()})
	all := r.await(t, "recent 0", "recent 1", "recent 2")
	write(1, time.Now(), "new")
	all = append(all, r.await(t, "new")...)
	if len(all) != 4 {
		t.Errorf("read %q; want nothing else", all)
	}
}

// TestEveryConsumerReadsEverything: a second consumer reads the same records as the first: the consumers use no group, and commit no
// offsets.
func TestEveryConsumerReadsEverything(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	write := writer(t, c.ListenAddrs())
	write(0, time.Now(), "a", "b")
	for range 2 {
		r := read(t, event.KafkaConfig{Brokers: c.ListenAddrs()})
		if all := r.await(t, "a", "b"); !slices.Equal(all, []string{"a", "b"}) {
			t.Errorf("read %q", all)
		}
		r.stop()
	}
}

func TestBrokerDownAtTheStart(t *testing.T) {
	t.Parallel()
	address := loopback.MustChooseAddress(t)
	r := read(t, event.KafkaConfig{Brokers: []string{address}})
	r.failing(t)
	c := cluster(t, listenAt(address))
	writer(t, c.ListenAddrs())(2, time.Now(), "a")
	r.await(t, "a")
}

// listenAt is an option for a single broker at an address.
func listenAt(address string) kfake.Opt {
	return kfake.ListenFn(func(network, _ string) (net.Listener, error) { return net.Listen(network, address) })
}

func TestBrokerKilledAndRestarted(t *testing.T) {
	t.Parallel()
	address, dir := loopback.MustChooseAddress(t), t.TempDir()
	first := cluster(t, listenAt(address), kfake.DataDir(dir))
	r := read(t, event.KafkaConfig{Brokers: first.ListenAddrs()})
	writer(t, first.ListenAddrs())(0, time.Now(), "before")
	r.await(t, "before")
	first.Close()
	r.failing(t)
	second := cluster(t, listenAt(address), kfake.DataDir(dir))
	writer(t, second.ListenAddrs())(0, time.Now(), "after")
	if all := r.await(t, "after"); !slices.Equal(all, []string{"after"}) {
		t.Errorf("read %q; want it read on from where it was", all)
	}
}

func TestLeaderMoved(t *testing.T) {
	t.Parallel()
	c := cluster(t, kfake.NumBrokers(3))
	r := read(t, event.KafkaConfig{Brokers: c.ListenAddrs()[:1]})
	write := writer(t, c.ListenAddrs())
	for i := range 6 {
		v := fmt.Sprint(i)
		write(0, time.Now(), v)
		r.await(t, v) // and earlier records again, where the new leader's epoch does not cover them
		if err := c.MoveTopicPartition(topic, 0, (c.LeaderFor(topic, 0)+1)%3); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLogTruncatedAhead: records that are deleted before the read are lost; reading continues with the remaining records.
func TestLogTruncatedAhead(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	r := read(t, event.KafkaConfig{Brokers: c.ListenAddrs()})
	write := writer(t, c.ListenAddrs())
	write(0, time.Now(), "a")
	r.await(t, "a")
	down := c.Fault(fetchFault(-1))
	if err := down.Wait(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	write(0, time.Now(), "b", "c", "d")
	if err := c.DeleteRecords(topic, 0, 3); err != nil {
		t.Fatal(err)
	}
	down.Remove()
	if all := r.await(t, "d"); !slices.Equal(all, []string{"d"}) {
		t.Errorf("read %q", all)
	}
}

// TestBrokerLostRecords: a broker comes back without its last records. The consumer reads later records, although their offsets are
// lower than the offsets read before.
func TestBrokerLostRecords(t *testing.T) {
	t.Parallel()
	address := loopback.MustChooseAddress(t)
	first := cluster(t, listenAt(address))
	r := read(t, event.KafkaConfig{Brokers: first.ListenAddrs()})
	writer(t, first.ListenAddrs())(0, time.Now(), "a", "b", "c", "d", "e")
	r.await(t, "e")
	first.Close()
	r.failing(t)
	second := cluster(t, listenAt(address)) // its disk is empty
	write := writer(t, second.ListenAddrs())
	write(0, time.Now(), "f")
	r.await(t, "f")
	write(0, time.Now(), "g")
	r.await(t, "g")
}

func TestTopicComesLater(t *testing.T) {
	t.Parallel()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	r := read(t, event.KafkaConfig{Brokers: c.ListenAddrs()})
	r.failing(t)
	if err := c.CreateTopic(topic, 1, nil); err != nil {
		t.Fatal(err)
	}
	writer(t, c.ListenAddrs())(0, time.Now(), "a")
	r.await(t, "a")
}

func TestTopicMadeAnew(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	r := read(t, event.KafkaConfig{Brokers: c.ListenAddrs()})
	writer(t, c.ListenAddrs())(0, time.Now(), "a", "b", "c")
	r.await(t, "c")
	if err := c.DeleteTopic(topic); err != nil {
		t.Fatal(err)
	}
	if err := c.CreateTopic(topic, 3, nil); err != nil {
		t.Fatal(err)
	}
	writer(t, c.ListenAddrs())(0, time.Now(), "d")
	r.await(t, "d")
}

// TestBurst: a burst of 10,000 events is read completely, in the order of the partition. While no handler runs, the events stay with
// the broker.
func TestBurst(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	write := writer(t, c.ListenAddrs())
	const burst = 10_000
	values := make([]string, burst)
	for i := range values {
		values[i] = fmt.Sprintf(`{"id":"%d","type":"FLASH_SALE_START","at":"2026-11-27T08:00:00Z","ttl":"30m"}`, i)
	}
	write(0, time.Now(), values...)
	begun := time.Now()
	r := read(t, event.KafkaConfig{Brokers: c.ListenAddrs()})
	all := r.await(t, values[burst-1])
	took := time.Since(begun)
	if !slices.Equal(all, values) {
		t.Errorf("%d values read, or in another order; want %d", len(all), burst)
	}
	t.Logf("%d events in %s, from the start of the consumer: %.0f a second", burst, took.Round(time.Millisecond), burst/took.Seconds())
}

// TestLatency measures the time from the append of a record to its handling, which delays new pods.
func TestLatency(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	r := read(t, event.KafkaConfig{Brokers: c.ListenAddrs()})
	write := writer(t, c.ListenAddrs(), kgo.ProducerLinger(0))
	var all []time.Duration
	for i := range 50 {
		v := fmt.Sprint(i)
		begun := time.Now()
		write(int32(i%3), begun, v)
		r.await(t, v)
		if i > 0 { // the first record waits for connections and metadata
			all = append(all, time.Since(begun))
		}
	}
	slices.Sort(all)
	median, worst := all[len(all)/2], all[len(all)-1]
	t.Logf("from before the append until handled: median %s, longest %s of %d", median, worst, len(all))
	if median > 100*time.Millisecond {
		t.Errorf("median %s; want at most 100 ms", median)
	}
}
