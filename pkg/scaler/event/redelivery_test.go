package event

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

func TestLaterEventsSupersede(t *testing.T) {
	t.Parallel()
	type sent struct{ id, kind, ttl string }
	for name, c := range map[string]struct {
		events []sent
		want   []string
		super  int
	}{
		"an end, its start":                            {[]sent{{"1", "START", "10m"}, {"2", "END", "1m"}}, []string{"release shop event/sale"}, 1},
		"a start, the start before":                    {[]sent{{"1", "START", "10m"}, {"2", "START", "10m"}, {"3", "START", "10m"}}, []string{"raise shop event/sale 20"}, 2},
		"a start, the end before":                      {[]sent{{"1", "END", "10m"}, {"2", "START", "10m"}}, []string{"raise shop event/sale 20"}, 1},
		"not a start that expires later than the last": {[]sent{{"1", "START", "10m"}, {"2", "START", "2m"}}, []string{"raise shop event/sale 20", "raise shop event/sale 20"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newSaleRule()
				r.Workloads = newWorkloadSpecs(20, "shop")
				b := newHandlerBench(t, nil, Options{}, r)
				b.sink.setFailure(func(hold.Workload, string) error { return errors.New("down") })
				var last *Delivery
				for _, s := range c.events {
					last = b.acceptEvent(t, newEventJSON(s.id, s.kind, s.ttl, ""))
					time.Sleep(time.Second) //nolint:forbidigo // the clock of the bubble
				}
				b.sink.setFailure(nil)
				if err := b.WaitDelivered(t.Context(), last); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(c.want, b.sink.listCalls()); diff != "" {
					t.Errorf("calls (-want +got):\n%s", diff)
				}
				if got := b.countOutcome(Superseded); got != c.super {
					t.Errorf("%d superseded; want %d", got, c.super)
				}
				for _, s := range c.events {
					if known, _ := b.seen.Has(t.Context(), s.kind+" "+s.id); !known {
						t.Errorf("id %s is not remembered", s.id)
					}
				}
			})
		})
	}
}

// TestDuplicateOnItsWay checks that a sender that repeats an event during its delivery waits for the first delivery.
func TestDuplicateOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newHandlerBench(t, nil, Options{}, newSaleRule())
		b.sink.setFailure(func(hold.Workload, string) error { return errors.New("down") })
		first, second := b.acceptEvent(t, newEventJSON("1", "START", "10m", "")), b.acceptEvent(t, newEventJSON("1", "START", "10m", ""))
		b.sink.setFailure(nil)
		if err := errors.Join(b.WaitDelivered(t.Context(), first), b.WaitDelivered(t.Context(), second)); err != nil {
			t.Fatal(err)
		}
		if got := b.sink.listCalls(); len(got) != 2 {
			t.Errorf("calls %q; want one for each workload", got)
		}
	})
}

// TestCrash reads the event again after a crash. The second handler has the ids that the first wrote.
func TestCrash(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fail    func(t hold.Workload, id string) error
		written bool
		first   []string
		second  []string
	}{
		"before the sink took it": {
			func(hold.Workload, string) error { return errors.New("down") }, true, nil,
			[]string{"raise cart event/sale 20", "raise shop event/sale 20"},
		},
		"after one workload of two": {
			func(t hold.Workload, _ string) error {
				if t.Name == "cart" {
					return errors.New("down")
				}
				return nil
			}, true, []string{"raise shop event/sale 20"},
			[]string{"raise cart event/sale 20", "raise shop event/sale 20"},
		},
		"before its id was written": {
			nil, false, []string{"raise cart event/sale 20", "raise shop event/sale 20"},
			[]string{"raise cart event/sale 20", "raise shop event/sale 20"},
		},
		"after its id was written": {nil, true, []string{"raise cart event/sale 20", "raise shop event/sale 20"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := newHandlerBench(t, nil, Options{}, newSaleRule())
				b.sink.setFailure(c.fail)
				data := newEventJSON("1", "START", "10m", "")
				b.acceptEvent(t, data)
				synctest.Wait()
				b.stop()
				if !c.written {
					b.seen = nil
				}
				again := newHandlerBench(t, b.seen, Options{}, newSaleRule())
				if d, err := again.Accept(t.Context(), data, SourceKafka); err == nil {
					if err := again.WaitDelivered(t.Context(), d); err != nil {
						t.Fatal(err)
					}
				} else if errorOutcome(t, err) != Duplicate {
					t.Fatal(err)
				}
				for _, s := range []struct {
					b    *handlerBench
					want []string
				}{{b, c.first}, {again, c.second}} {
					got := s.b.sink.listCalls()
					slices.Sort(got)
					if diff := cmp.Diff(s.want, got); diff != "" {
						t.Errorf("calls (-want +got):\n%s", diff)
					}
				}
				if c.second != nil && !c.written {
					if diff := cmp.Diff(b.sink.holds[0], again.sink.holds[0]); diff != "" {
						t.Errorf("the hold of the second delivery differs, so that the sink takes it for another:\n%s", diff)
					}
				}
			})
		})
	}
}
