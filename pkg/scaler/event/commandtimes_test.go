package event

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// newEventAt returns an event of a time, in seconds from now.
func newEventAt(id, kind string, seconds int) []byte {
	at := time.Now().Add(time.Duration(seconds) * time.Second).UTC().Format(time.RFC3339Nano)
	return fmt.Appendf(nil, `{"id":%q,"type":%q,"at":%q,"ttl":"4h"}`, id, kind, at)
}

// TestD21EndBeatsEarlierStart: of a start and an end, the later counts, whichever comes first, also after a restart.
func TestD21EndBeatsEarlierStart(t *testing.T) {
	t.Parallel()
	type sent struct {
		id, kind string
		at       int
	}
	for name, c := range map[string]struct {
		events  []sent
		restart bool
		want    []string
	}{
		"the end comes first":                   {[]sent{{"1", "END", 3}, {"2", "START", 0}}, false, []string{"release shop event/sale"}},
		"the end came before a restart":         {[]sent{{"1", "END", 3}, {"2", "START", 0}}, true, []string{"release shop event/sale"}},
		"the next start":                        {[]sent{{"1", "END", 3}, {"2", "START", 4}}, false, []string{"release shop event/sale", "raise shop event/sale 20"}},
		"a late end does not end the next":      {[]sent{{"1", "START", 4}, {"2", "END", 3}}, false, []string{"raise shop event/sale 20"}},
		"a late end after a restart":            {[]sent{{"1", "START", 4}, {"2", "END", 3}}, true, []string{"raise shop event/sale 20"}},
		"of one moment, the end counts":         {[]sent{{"1", "END", 3}, {"2", "START", 3}}, false, []string{"release shop event/sale"}},
		"of one moment, after a restart":        {[]sent{{"1", "END", 3}, {"2", "START", 3}}, true, []string{"release shop event/sale"}},
		"of one moment, the start comes first":  {[]sent{{"1", "START", 3}, {"2", "END", 3}}, true, []string{"raise shop event/sale 20", "release shop event/sale"}},
		"an earlier start comes late":           {[]sent{{"1", "START", 4}, {"2", "START", 3}}, false, []string{"raise shop event/sale 20"}},
		"an earlier start after a restart":      {[]sent{{"1", "START", 4}, {"2", "START", 3}}, true, []string{"raise shop event/sale 20"}},
		"a later start replaces the first":      {[]sent{{"1", "START", 3}, {"2", "START", 4}}, false, []string{"raise shop event/sale 20", "raise shop event/sale 20"}},
		"start, end, and the start again":       {[]sent{{"1", "START", 0}, {"2", "END", 3}, {"3", "START", 0}}, false, []string{"raise shop event/sale 20", "release shop event/sale"}},
		"three in the wrong order":              {[]sent{{"3", "START", 5}, {"2", "END", 3}, {"1", "START", 0}}, true, []string{"raise shop event/sale 20"}},
		"start and end with the id of the sale": {[]sent{{"1", "START", 0}, {"1", "END", 3}}, false, []string{"raise shop event/sale 20", "release shop event/sale"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newSaleRule()
				r.Workloads = newWorkloadSpecs(20, "shop")
				times := newHoldCommandTimes()
				b := newHandlerBench(t, nil, Options{Times: times}, r)
				var calls []string
				for i, s := range c.events {
					if i > 0 && c.restart {
						calls = append(calls, b.sink.listCalls()...)
						b.stop()
						b = newHandlerBench(t, b.seen, Options{Times: times}, r)
					}
					if err := b.Handle(t.Context(), newEventAt(s.id, s.kind, s.at), SourceKafka); err != nil {
						t.Error(err)
					}
				}
				if diff := cmp.Diff(c.want, append(calls, b.sink.listCalls()...)); diff != "" {
					t.Errorf("calls (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestD21WhileTheyWait: an end and an earlier start wait together. The end stays, because an older hold may be there.
func TestD21WhileTheyWait(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		first, second string
		at            [2]int
		want          []string
	}{
		"an end, then an earlier start":  {"END", "START", [2]int{3, 0}, []string{"release shop event/sale"}},
		"a start, then an earlier end":   {"START", "END", [2]int{3, 0}, []string{"raise shop event/sale 20"}},
		"a start, then its end":          {"START", "END", [2]int{0, 3}, []string{"release shop event/sale"}},
		"an end, then the start of more": {"END", "START", [2]int{0, 3}, []string{"raise shop event/sale 20"}},
		"a start, then an earlier one":   {"START", "START", [2]int{3, 0}, []string{"raise shop event/sale 20"}},
		"an end, a start of that moment": {"END", "START", [2]int{3, 3}, []string{"release shop event/sale"}},
		"an end, then an earlier one":    {"END", "END", [2]int{3, 0}, []string{"release shop event/sale", "release shop event/sale"}},
		"an end, then a later one":       {"END", "END", [2]int{0, 3}, []string{"release shop event/sale"}},
		"two ends of that moment":        {"END", "END", [2]int{3, 3}, []string{"release shop event/sale"}},
		"a start, an end of that moment": {"START", "END", [2]int{3, 3}, []string{"release shop event/sale"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newSaleRule()
				r.Workloads = newWorkloadSpecs(20, "shop")
				b := newHandlerBench(t, nil, Options{}, r)
				b.sink.setFailure(func(hold.Workload, string) error { return errors.New("down") })
				first := b.acceptEvent(t, newEventAt("1", c.first, c.at[0]))
				synctest.Wait()
				second := b.acceptEvent(t, newEventAt("2", c.second, c.at[1]))
				synctest.Wait()
				b.sink.setFailure(nil)
				if err := errors.Join(b.WaitDelivered(t.Context(), first), b.WaitDelivered(t.Context(), second)); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(c.want, b.sink.listCalls()); diff != "" {
					t.Errorf("calls (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestD20EndAfterAnAbsence: an end whose ttl is over still ends its hold, for as long as the hold may last: nothing else would. A start does not count
// after its ttl.
func TestD20EndAfterAnAbsence(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		kind string
		away time.Duration
		want []string
	}{
		"an end within its ttl":         {"END", 20 * time.Minute, []string{"release shop event/sale"}},
		"an end after its ttl":          {"END", 2 * time.Hour, []string{"release shop event/sale"}},
		"an end after the longest hold": {"END", 5 * time.Hour, nil},
		"a start within its ttl":        {"START", 20 * time.Minute, []string{"raise shop event/sale 20"}},
		"a start after its ttl":         {"START", 2 * time.Hour, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newSaleRule()
				r.MaxFor, r.Workloads = 4*time.Hour, newWorkloadSpecs(20, "shop")
				b := newHandlerBench(t, nil, Options{}, r)
				data := newEventJSON("1", c.kind, "30m", "")
				time.Sleep(c.away) //nolint:forbidigo // the clock of the bubble
				for range 2 {      // it is read once more after a restart: its id is known
					if err := b.Handle(t.Context(), data, SourceKafka); err != nil {
						if o := errorOutcome(t, err); o != Expired && o != Duplicate {
							t.Fatal(err)
						}
					}
				}
				if diff := cmp.Diff(c.want, b.sink.listCalls()); diff != "" {
					t.Errorf("calls (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestD20LateEndDelaysNobody: an end that the sink does not take is retried for as long as its hold may last, and after its ttl behind the other events
// of the workload.
func TestD20LateEndDelaysNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSaleRule()
		r.Key, r.MaxFor, r.Workloads = "sale", 4*time.Hour, newWorkloadSpecs(20, "shop")
		b := newHandlerBench(t, nil, Options{}, r)
		b.sink.setFailure(func(_ hold.Workload, id string) error {
			if id == "event/sale/first" || id == "event/sale/other" {
				return errors.New("forbidden")
			}
			return nil
		})
		end := b.acceptEvent(t, newEventJSON("1", "END", "10m", `,"sale":"first"`))
		other := b.acceptEvent(t, newEventJSON("2", "END", "10m", `,"sale":"other"`)) // the two do not drive each other in circles
		time.Sleep(time.Hour)                                                         //nolint:forbidigo // the clock of the bubble
		for _, sale := range []string{"second", "third"} {
			if err := b.Handle(t.Context(), newEventJSON(sale, "START", "30m", fmt.Sprintf(`,"sale":%q`, sale)), SourceKafka); err != nil {
				t.Error(err)
			}
		}
		b.sink.setFailure(nil)
		if err := errors.Join(b.WaitDelivered(t.Context(), end), b.WaitDelivered(t.Context(), other)); err != nil {
			t.Error(err)
		}
		want := []string{"raise shop event/sale/second 20", "raise shop event/sale/third 20", "release shop event/sale/first", "release shop event/sale/other"}
		got := b.sink.listCalls()
		slices.Sort(got[min(2, len(got)):])
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("calls (-want +got):\n%s", diff)
		}
	})
}

// TestD24NumbersAreCut: fields that conflict at the sale ask for as many replicas as are permitted, and not for none.
func TestD24NumbersAreCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newSaleRule()
		r.Workloads = []WorkloadSpec{{
			Workload: newDeployment("shop"), Replicas: ReplicaCount{Field: "pods", MaxValue: 50}, MinReplicas: ReplicaCount{Value: 42}, MaxReplicas: ReplicaCount{Field: "most", MaxValue: 50},
		}}
		b := newHandlerBench(t, nil, Options{}, r)
		if err := b.Handle(t.Context(), newEventJSON("a", "START", "1h", `,"pods":45,"most":40`), SourceKafka); err != nil {
			t.Fatal(err)
		}
		if h := b.sink.holds[0]; h.Replicas != 40 || h.MinReplicas != 40 || h.MaxReplicas != 40 || h.Validate() != nil {
			t.Errorf("%+v; want 40 of everything", h)
		}
	})
}

// TestFullQueueBlocksNobody: a workload that takes no holds does not keep the events of others.
func TestFullQueueBlocksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := newSaleRule(), newSaleRule()
		one.Key, one.Workloads = "sale", newWorkloadSpecs(20, "shop")
		two.Name, two.Type, two.Workloads = "cart", "CART", newWorkloadSpecs(5, "cart")
		b := newHandlerBench(t, nil, Options{MaxWaiting: 2}, one, two)
		b.sink.setFailure(func(w hold.Workload, _ string) error {
			if w.Name == "shop" {
				return errors.New("forbidden")
			}
			return nil
		})
		for i := range 3 { // one is in the sink
			b.acceptEvent(t, newEventJSON(fmt.Sprint(i), "START", "1h", fmt.Sprintf(`,"sale":"%d"`, i)))
			synctest.Wait()
		}
		_, err := b.Accept(t.Context(), newEventJSON("3", "START", "1h", `,"sale":"3"`), SourceKafka)
		if got := errorOutcome(t, err); got != Undelivered || !strings.Contains(err.Error(), "queue") {
			t.Errorf("%v; want it undelivered, because the queue is full", err)
		}
		if err := b.Handle(t.Context(), newEventJSON("4", "CART", "1h", ""), SourceKafka); err != nil {
			t.Error(err)
		}
	})
}

// TestTimesAreBounded: expired times are forgotten.
func TestTimesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		times := newHoldCommandTimes()
		for i := range 10 * firstPrune {
			times.NoteAt(fmt.Sprint(i), time.Now(), time.Now().Add(time.Second))
			time.Sleep(10 * time.Millisecond) //nolint:forbidigo // the clock of the bubble
		}
		if len(times.byKey) > firstPrune {
			t.Errorf("%d times are kept", len(times.byKey))
		}
	})
}
