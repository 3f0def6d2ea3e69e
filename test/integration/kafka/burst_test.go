package kafka_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/event"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/event/kafka"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// sink counts the raised holds, and reports the release.
type sink struct {
	mu       sync.Mutex
	raised   map[string]int
	released chan string
	slow     time.Duration
	reg      *prometheus.Registry
	calls    int
	most     float64 // maximum of the waiting holds, sampled
}

func (s *sink) Raise(_ context.Context, _ hold.Workload, h hold.Hold) error {
	if s.slow > 0 {
		<-time.After(s.slow)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.raised[h.ID]++
	if s.calls++; s.calls%100 == 0 {
		s.most = max(s.most, waiting(s.reg))
	}
	return nil
}

// waiting returns the number of holds that wait for a sink.
func waiting(reg *prometheus.Registry) float64 {
	families, _ := reg.Gather()
	for _, f := range families {
		if f.GetName() == "tachometer_scaler_events_waiting" {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	return -1
}

func (s *sink) Release(_ context.Context, _ hold.Workload, id, _ string) error {
	s.released <- id
	return nil
}

// seen remembers IDs in memory, without expiry.
type seen struct{ sync.Map }

func (s *seen) Has(_ context.Context, id string) (bool, error) {
	_, ok := s.Load(id)
	return ok, nil
}

func (s *seen) Add(id string, until time.Time) { s.Store(id, until) }

// TestBurstReachesTheSink sends 10,000 events in a burst from the broker through the handler. The last event reaches the sink after
// all other events, or after they were superseded, and the number of waiting events in memory is bounded.
func TestBurstReachesTheSink(t *testing.T) {
	const burst = 10_000
	for name, c := range map[string]struct {
		key  string // key of each event
		slow time.Duration
		all  bool // every hold is raised
	}{
		"of one sale, a slow sink": {"friday", time.Millisecond, false},
		"of 10,000 sales":          {"", 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			c1 := cluster(t)
			write := writer(t, c1.ListenAddrs())
			s := &sink{raised: map[string]int{}, released: make(chan string, burst), slow: c.slow, reg: prometheus.NewRegistry()}
			workload := hold.Workload{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "sale", Name: "shop"}
			h := event.NewHandler([]event.HoldRule{{
				Name: "sale", Type: "START", ReleaseOn: "END", Key: "sale", Workloads: []event.WorkloadSpec{{Workload: workload, Replicas: event.ReplicaCount{Value: 20}}},
			}}, s, &seen{}, event.Options{Registerer: s.reg})
			values := make([]string, burst)
			for i := range values {
				key := c.key
				if key == "" {
					key = fmt.Sprint(i)
				}
				values[i] = fmt.Sprintf(`{"id":"%d","type":"START","at":%q,"ttl":"30m","sale":%q}`, i, time.Now().UTC().Format(time.RFC3339Nano), key)
			}
			values = append(values, fmt.Sprintf(`{"id":"last","type":"END","at":%q,"ttl":"30m","sale":"friday"}`, time.Now().UTC().Format(time.RFC3339Nano)))
			write(0, time.Now(), values...)

			ctx, cancel := context.WithCancel(t.Context())
			var all sync.WaitGroup
			all.Go(func() { _ = h.Run(ctx) })
			consumer := kafka.New(event.KafkaConfig{Brokers: c1.ListenAddrs(), Topic: topic, Rewind: time.Minute}, func(ctx context.Context, m event.Message) error {
				_, err := h.AcceptMessage(ctx, m)
				return err
			}, kafka.Options{})
			begun := time.Now()
			all.Go(func() { _ = consumer.Run(ctx) })
			select {
			case id := <-s.released:
				if id != "event/sale/friday" {
					t.Errorf("released %s", id)
				}
			case <-time.After(reactionTimeout):
				t.Error("the last event did not reach the sink")
			}
			took := time.Since(begun)
			cancel()
			all.Wait()
			s.mu.Lock()
			defer s.mu.Unlock()
			if c.all && len(s.raised) != burst {
				t.Errorf("%d holds were raised; want %d", len(s.raised), burst)
			}
			if s.most > event.DefaultMaxWaiting+1 { // one hold is in the sink
				t.Errorf("%.0f holds waited in memory; want at most %d", s.most, event.DefaultMaxWaiting+1)
			}
			t.Logf("%d events in %s, %.0f a second; %d holds in the sink; up to about %.0f waited", burst+1, took.Round(time.Millisecond), float64(burst+1)/took.Seconds(), len(s.raised), s.most)
		})
	}
}
