package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"net"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/tachometer-metrics/tachometer/pkg/retry"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/event"
)

// hostileBroker answers one kind of request as an attacker does, and the others as a broker of one topic.
type hostileBroker struct {
	address net.Addr
	key     kmsg.Key
	body    func(version int16) []byte // of the hostile responses
	sent    atomic.Int64               // hostile responses
}

func startHostileBroker(t *testing.T, key kmsg.Key, body func(int16) []byte) *hostileBroker {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	b := &hostileBroker{address: listener.Addr(), key: key, body: body}
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go b.serveConnection(c)
		}
	}()
	return b
}

func (b *hostileBroker) serveConnection(c net.Conn) {
	defer c.Close()
	for {
		var size [4]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		request := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(c, request); err != nil {
			return
		}
		key, version := kmsg.Key(binary.BigEndian.Uint16(request)), int16(binary.BigEndian.Uint16(request[2:]))
		response := append([]byte{}, request[4:8]...)
		if kind := kmsg.ResponseForKey(int16(key)); kind != nil && key != kmsg.ApiVersions {
			if kind.SetVersion(version); kind.IsFlexible() {
				response = append(response, 0)
			}
		}
		if key == b.key {
			b.sent.Add(1)
			response = append(response, b.body(version)...)
		} else {
			response = append(response, b.honestBody(key, version)...)
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(response))), response...)); err != nil {
			return
		}
	}
}

// honestBody returns the response of a broker of topic "events" with one partition.
func (b *hostileBroker) honestBody(key kmsg.Key, version int16) []byte {
	response := kmsg.ResponseForKey(int16(key))
	response.SetVersion(version)
	switch r := response.(type) {
	case *kmsg.ApiVersionsResponse:
		for _, known := range []kmsg.Key{kmsg.Fetch, kmsg.ListOffsets, kmsg.Metadata, kmsg.ApiVersions} {
			r.ApiKeys = append(r.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: int16(known), MaxVersion: min(12, kmsg.RequestForKey(int16(known)).MaxVersion())})
		}
	case *kmsg.MetadataResponse:
		host, port, _ := net.SplitHostPort(b.address.String())
		number, _ := net.LookupPort("tcp", port)
		r.Brokers = []kmsg.MetadataResponseBroker{{NodeID: 1, Host: host, Port: int32(number)}}
		r.Topics = []kmsg.MetadataResponseTopic{{Topic: kmsg.StringPtr("events"), TopicID: [16]byte{1}, Partitions: []kmsg.MetadataResponseTopicPartition{
			{Leader: 1, Replicas: []int32{1}, ISR: []int32{1}},
		}}}
	case *kmsg.ListOffsetsResponse:
		r.Topics = []kmsg.ListOffsetsResponseTopic{{Topic: "events", Partitions: []kmsg.ListOffsetsResponseTopicPartition{{Offset: 1, LeaderEpoch: -1}}}}
	}
	return response.AppendTo(nil)
}

// hostileSize is the size of the bodies with too many elements: the client reads no larger ones.
const hostileSize = 1_200_000

// hostileBodies are bodies of few bytes, or of zeros, that claim many elements.
var hostileBodies = map[string]struct {
	key  kmsg.Key
	body func(version int16) []byte
}{
	"four billion tags": {kmsg.Metadata, func(int16) []byte {
		broker := make([]byte, 4+1+4+1)
		return binary.AppendUvarint(append([]byte{0, 0, 0, 0, 2}, broker...), math.MaxUint32)
	}},
	"a million versions": {kmsg.ApiVersions, func(int16) []byte {
		return append(binary.AppendUvarint([]byte{0, 0}, hostileSize), make([]byte, hostileSize)...)
	}},
	"a million brokers": {kmsg.Metadata, func(int16) []byte {
		return append(binary.AppendUvarint([]byte{0, 0, 0, 0}, hostileSize), make([]byte, hostileSize)...)
	}},
	"a million topics": {kmsg.Metadata, func(int16) []byte {
		return append(binary.AppendUvarint([]byte{0, 0, 0, 0, 1, 0, 0, 0, 0, 0}, hostileSize), make([]byte, hostileSize)...)
	}},
	"a million topics of a fetch": {kmsg.Fetch, func(int16) []byte {
		return append(binary.AppendUvarint(make([]byte, 4+2+4), hostileSize), make([]byte, hostileSize)...)
	}},
	"a million partitions of a fetch": {kmsg.Fetch, func(int16) []byte {
		body := append(make([]byte, 4+2+4), 2, 7, 'e', 'v', 'e', 'n', 't', 's')
		return append(binary.AppendUvarint(body, hostileSize), make([]byte, hostileSize)...)
	}},
	"tags in a tag": {kmsg.Fetch, func(int16) []byte {
		partition := make([]byte, 4+2+8+8+8+1+4+1)
		tag := binary.AppendUvarint(make([]byte, 8), math.MaxUint32)
		body := append(make([]byte, 4+2+4), 2, 7, 'e', 'v', 'e', 'n', 't', 's', 2)
		body = append(append(body, partition...), 1, 1, byte(len(tag)))
		return append(append(body, tag...), 0, 0)
	}},
}

// TestHostileBroker: a broker that was taken over fills no memory and takes no processor, and the consumer ends when it is told to.
func TestHostileBroker(t *testing.T) {
	for name, hostile := range hostileBodies {
		t.Run(name, func(t *testing.T) {
			broker := startHostileBroker(t, hostile.key, hostile.body)
			consumer := New(event.KafkaConfig{Brokers: []string{broker.address.String()}, Topic: "events", Rewind: time.Hour}, func(context.Context, event.Message) error { return nil }, Options{})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error, 1)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			processor := readProcessorTime(t)
			go func() { done <- consumer.Run(ctx) }()
			for broker.sent.Load() < 2 && retry.Sleep(ctx, 10*time.Millisecond) {
			}
			retry.Sleep(ctx, 100*time.Millisecond)
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			runtime.ReadMemStats(&after)
			responses := uint64(broker.sent.Load())
			each, spent := (after.TotalAlloc-before.TotalAlloc)/responses, readProcessorTime(t)-processor
			t.Logf("%d responses, %d KiB each, %v of a processor", responses, each>>10, spent)
			if each > 8<<20 {
				t.Errorf("a response took %d MiB", each>>20)
			}
			if spent > 5*time.Second {
				t.Errorf("%d responses took %v of a processor", responses, spent)
			}
		})
	}
}

// readProcessorTime returns the time that this process has computed.
func readProcessorTime(t *testing.T) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// TestResponsesOfEachVersion: the check reads a response of each version that the client knows to its last byte, and finds no fault.
func TestResponsesOfEachVersion(t *testing.T) {
	t.Parallel()
	for key := range responseBodies {
		for version := int16(0); version <= kmsg.RequestForKey(int16(key)).MaxVersion(); version++ {
			body := append(make([]byte, 4), newFullResponse(t, key, version)...)
			if key != kmsg.ApiVersions && isFlexibleResponse(key, version) {
				body = append(make([]byte, 4+1), body[4:]...)
			}
			overlooked := 0
			r := newTestReader(body, &overlooked)
			r.readResponse(brokerRequest{int16(key), version})
			if r.fault != nil || r.left != 0 {
				t.Errorf("%v version %d: %v, %d bytes left", key.Name(), version, r.fault, r.left)
			}
			cut := newTestReader(append(body, 0), &overlooked)
			responseBodies[key](skipTestHeader(cut, key, version))
			if cut.fault != nil || cut.left != 1 {
				t.Errorf("%v version %d: %v; the body ends %d bytes before the end", key.Name(), version, cut.fault, cut.left-1)
			}
			short := newTestReader(body[:len(body)-1], &overlooked)
			if short.readResponse(brokerRequest{int16(key), version}); !errors.Is(short.fault, errMalformedResponse) {
				t.Errorf("%v version %d: a response without its last byte has the fault %v", key.Name(), version, short.fault)
			}
		}
	}
}

func isFlexibleResponse(key kmsg.Key, version int16) bool {
	kind := kmsg.ResponseForKey(int16(key))
	kind.SetVersion(version)
	return kind.IsFlexible()
}

// newTestReader returns a reader of a response whose bytes arrive one by one.
func newTestReader(response []byte, next *int) *brokerResponseReader {
	*next = 0
	return &brokerResponseReader{left: len(response), awaitData: func() ([]byte, bool) {
		if *next == len(response) {
			return nil, false
		}
		*next++
		return response[*next-1 : *next], true
	}}
}

// skipTestHeader reads the header of a response.
func skipTestHeader(r *brokerResponseReader, key kmsg.Key, version int16) *brokerResponseReader {
	r.version, r.flexible = version, isFlexibleResponse(key, version)
	r.skipBytes(4)
	if key != kmsg.ApiVersions {
		r.skipTags()
	}
	return r
}

// newFullResponse returns a response with an element in each array.
func newFullResponse(t *testing.T, key kmsg.Key, version int16) []byte {
	t.Helper()
	response := kmsg.ResponseForKey(int16(key))
	response.SetVersion(version)
	switch r := response.(type) {
	case *kmsg.ApiVersionsResponse:
		r.ApiKeys = []kmsg.ApiVersionsResponseApiKey{{ApiKey: 1}}
		r.SupportedFeatures = []kmsg.ApiVersionsResponseSupportedFeature{{Name: "f"}}
		r.FinalizedFeatures = []kmsg.ApiVersionsResponseFinalizedFeature{{Name: "f"}}
		r.FinalizedFeaturesEpoch, r.ZkMigrationReady = 7, true
	case *kmsg.FetchResponse:
		r.Topics = []kmsg.FetchResponseTopic{{Topic: "events", Partitions: []kmsg.FetchResponseTopicPartition{{
			RecordBatches: []byte("records"), AbortedTransactions: []kmsg.FetchResponseTopicPartitionAbortedTransaction{{ProducerID: 1}},
			CurrentLeader: kmsg.FetchResponseTopicPartitionCurrentLeader{LeaderID: 3}, SnapshotID: kmsg.FetchResponseTopicPartitionSnapshotID{EndOffset: 3},
			DivergingEpoch: kmsg.FetchResponseTopicPartitionDivergingEpoch{Epoch: 3},
		}}}}
		r.Brokers = []kmsg.FetchResponseBroker{{Host: "broker", Rack: kmsg.StringPtr("rack")}}
	case *kmsg.ListOffsetsResponse:
		r.Topics = []kmsg.ListOffsetsResponseTopic{{Topic: "events", Partitions: []kmsg.ListOffsetsResponseTopicPartition{{OldStyleOffsets: []int64{1}}}}}
	case *kmsg.MetadataResponse:
		r.Brokers = []kmsg.MetadataResponseBroker{{Host: "broker", Rack: kmsg.StringPtr("rack")}}
		r.ClusterID = kmsg.StringPtr("cluster")
		r.Topics = []kmsg.MetadataResponseTopic{{Topic: kmsg.StringPtr("events"), Partitions: []kmsg.MetadataResponseTopicPartition{
			{Replicas: []int32{1, 2}, ISR: []int32{1}, OfflineReplicas: []int32{3, 4, 5}},
		}}}
	case *kmsg.OffsetForLeaderEpochResponse:
		r.Topics = []kmsg.OffsetForLeaderEpochResponseTopic{{Topic: "events", Partitions: []kmsg.OffsetForLeaderEpochResponseTopicPartition{{Partition: 1}}}}
	case *kmsg.SASLHandshakeResponse:
		r.SupportedMechanisms = []string{"PLAIN", "SCRAM-SHA-256"}
	case *kmsg.SASLAuthenticateResponse:
		r.ErrorMessage, r.SASLAuthBytes = kmsg.StringPtr("wrong"), []byte("bytes")
	default:
		t.Fatalf("no response of %s", key.Name())
	}
	return response.AppendTo(nil)
}
