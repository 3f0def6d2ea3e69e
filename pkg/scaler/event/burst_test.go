package event

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// TestFullQueue checks that Handle waits while a queue is full for a moment: memory is bounded, and no event is dropped.
func TestFullQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSaleRule()
		r.Key, r.Workloads = "sale", newWorkloadSpecs(20, "shop")
		b := newHandlerBench(t, nil, Options{MaxWaiting: 2}, r)
		b.sink.setFailure(func(hold.Workload, string) error { return errors.New("down") })
		for i := range 3 { // the worker holds the first
			b.acceptEvent(t, newEventJSON(fmt.Sprint(i), "START", "10m", fmt.Sprintf(`,"sale":"%d"`, i)))
			synctest.Wait()
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := b.Accept(short, newEventJSON("3", "START", "10m", `,"sale":"3"`), SourceHTTP); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a fourth: %v; want it to wait", err)
		}
		last := b.acceptEvent(t, newEventJSON("4", "END", "10m", `,"sale":"2"`)) // replaces a waiting command
		b.sink.setFailure(nil)
		if err := errors.Join(b.WaitDelivered(t.Context(), last), b.Handle(t.Context(), newEventJSON("3", "START", "10m", `,"sale":"3"`), SourceHTTP)); err != nil {
			t.Fatal(err)
		}
		want := []string{"raise shop event/sale/0 20", "raise shop event/sale/1 20", "release shop event/sale/2", "raise shop event/sale/3 20"}
		if diff := cmp.Diff(want, b.sink.listCalls()); diff != "" {
			t.Errorf("calls (-want +got):\n%s", diff)
		}
		if got := testutil.ToFloat64(b.metrics.waiting); got != 0 {
			t.Errorf("%v holds wait in the end", got)
		}
	})
}

// TestFullQueueTakesEnds: starts that fill the queue keep no end out, whose hold would stay raised.
func TestFullQueueTakesEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSaleRule()
		r.Key, r.Workloads = "sale", newWorkloadSpecs(20, "shop")
		b := newHandlerBench(t, nil, Options{MaxWaiting: 2}, r)
		if err := b.Handle(t.Context(), newEventJSON("old", "START", "10m", `,"sale":"old"`), SourceHTTP); err != nil {
			t.Fatal(err)
		}
		b.sink.setFailure(func(hold.Workload, string) error { return errors.New("down") })
		for i := range 3 { // the worker holds the first
			b.acceptEvent(t, newEventJSON(fmt.Sprint(i), "START", "10m", fmt.Sprintf(`,"sale":"%d"`, i)))
			synctest.Wait()
		}
		var rejected *OutcomeError
		if _, err := b.Accept(t.Context(), newEventJSON("3", "START", "10m", `,"sale":"3"`), SourceHTTP); !errors.As(err, &rejected) {
			t.Errorf("a fourth start: %v; want it rejected", err)
		}
		last := b.acceptEvent(t, newEventJSON("4", "END", "10m", `,"sale":"old"`))
		b.sink.setFailure(nil)
		if err := b.WaitDelivered(t.Context(), last); err != nil {
			t.Fatal(err)
		}
		if calls := b.sink.listCalls(); calls[len(calls)-1] != "release shop event/sale/old" {
			t.Errorf("calls %q", calls)
		}
	})
}

// TestFloodOfAWorkloadDelaysNobody: a workload that gets holds faster than it takes them keeps its queue full. After a while it loses those above
// its rate, counted, and the events of other workloads no longer wait behind it. It takes holds all the time, and all again after the flood.
func TestFloodOfAWorkloadDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const flood, pause = 20_000, 100 * time.Millisecond
		one, two := newSaleRule(), newSaleRule()
		one.Key, one.Workloads = "sale", newWorkloadSpecs(20, "shop")
		two.Name, two.Type, two.Workloads = "cart", "CART", newWorkloadSpecs(5, "cart")
		b := newHandlerBench(t, nil, Options{}, one, two)
		b.sink.setFailure(func(w hold.Workload, _ string) error {
			if w.Name == "shop" {
				<-time.After(pause)
			}
			return nil
		})
		begun := time.Now()
		accepted := 0
		for i := range flood {
			_, err := b.Accept(t.Context(), newEventJSON(fmt.Sprint(i), "START", "10m", fmt.Sprintf(`,"sale":"%d"`, i)), SourceKafka)
			if err == nil {
				accepted++
			} else if got := errorOutcome(t, err); got != Undelivered {
				t.Fatalf("%v; want it undelivered", err)
			}
		}
		if err := b.Handle(t.Context(), newEventJSON("cart", "CART", "1h", ""), SourceKafka); err != nil {
			t.Error(err)
		}
		took := time.Since(begun)
		if took > maxFullWait+time.Second {
			t.Errorf("an event behind the flood waited %s; want at most %s", took, maxFullWait)
		}
		if want := DefaultMaxWaiting + int(took/pause); accepted < want-1 || accepted > want+2 || b.countOutcome(Undelivered) != flood-accepted {
			t.Errorf("%d holds of %d wait or are made, %d are counted as undelivered; want %d", accepted, flood, b.countOutcome(Undelivered), want)
		}
		<-time.After(DefaultMaxWaiting * pause) // the queue is empty
		if err := b.Handle(t.Context(), newEventJSON("after", "START", "10m", `,"sale":"after"`), SourceKafka); err != nil {
			t.Errorf("after the flood: %v", err)
		}
	})
}

// TestFullQueueIsOfOneWorkload: an event for two workloads, of which one has a full queue, makes the hold of the other.
func TestFullQueueIsOfOneWorkload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSaleRule()
		r.Key = "sale"
		b := newHandlerBench(t, nil, Options{MaxWaiting: 1}, r)
		b.sink.setFailure(func(w hold.Workload, _ string) error {
			if w.Name == "shop" {
				return errors.New("forbidden")
			}
			return nil
		})
		for i := range 3 {
			_, err := b.Accept(t.Context(), newEventJSON(fmt.Sprint(i), "START", "1h", fmt.Sprintf(`,"sale":"%d"`, i)), SourceKafka)
			want := Delivered
			if i == 2 {
				want = Undelivered
			}
			if got := errorOutcome(t, err); got != want {
				t.Errorf("event %d: %v; want it %s", i, err, want)
			}
			synctest.Wait()
		}
		want := []string{"raise cart event/sale/0 20", "raise cart event/sale/1 20", "raise cart event/sale/2 20"}
		if diff := cmp.Diff(want, b.sink.listCalls()); diff != "" {
			t.Errorf("calls (-want +got):\n%s", diff)
		}
	})
}

// TestBadEventsDoNotFloodTheLog checks that 10,000 bad events leave a few lines, and that each is counted.
func TestBadEventsDoNotFloodTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newHandlerBench(t, nil, Options{}, newSaleRule())
		var log bytes.Buffer
		ctx := klog.NewContext(t.Context(), textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(&log))))
		const burst = 10_000
		send := func(n int) {
			for range n {
				if got := errorOutcome(t, b.Handle(ctx, []byte("not an event"), SourceKafka)); got != Malformed {
					t.Fatal(got)
				}
			}
		}
		send(burst)
		if got := strings.Count(log.String(), "\n"); got != maxLinesPerOutcome {
			t.Errorf("%d lines; want %d", got, maxLinesPerOutcome)
		}
		time.Sleep(throttlePeriod) //nolint:forbidigo // the clock of the bubble
		send(1)
		if want := fmt.Sprintf("suppressed=%d", burst-maxLinesPerOutcome); !strings.Contains(log.String(), want) {
			t.Errorf("the next line does not say %s:\n%s", want, log.String())
		}
		if got := b.countOutcome(Malformed); got != burst+1 {
			t.Errorf("%d counted; want %d", got, burst+1)
		}
	})
}
