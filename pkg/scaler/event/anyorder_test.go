package event

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// orderWalker sends starts and ends of one sale in any order, often twice, while the sink fails and the scaler restarts.
type orderWalker struct {
	*rand.Rand
	*handlerBench

	times   *holdCommandTimes
	rule    HoldRule
	events  [][]byte // sent so far
	waiting []*Delivery
	calls   []string // of the handlers before
	log     []string
}

// sendEvent accepts an event: a duplicate has no delivery.
func (w *orderWalker) sendEvent(t *testing.T, data []byte) {
	t.Helper()
	d, err := w.Accept(t.Context(), data, SourceKafka)
	var outcome *OutcomeError
	if err != nil && !errors.As(err, &outcome) {
		t.Fatal(err)
	}
	if d != nil {
		w.waiting = append(w.waiting, d)
	}
}

// restart replaces the handler by another process's, which reads the whole topic again.
func (w *orderWalker) restart(t *testing.T) {
	t.Helper()
	synctest.Wait()
	w.stop()
	w.calls, w.waiting = append(w.calls, w.sink.listCalls()...), nil
	w.log = append(w.log, "restart")
	w.handlerBench = newHandlerBench(t, w.seen, Options{Times: w.times}, w.rule)
	for _, data := range w.events {
		w.sendEvent(t, data)
	}
}

// step makes one random move.
func (w *orderWalker) step(t *testing.T) {
	t.Helper()
	switch w.IntN(6) {
	case 0:
		w.restart(t)
	case 1:
		down := w.IntN(2) == 0
		w.log = append(w.log, fmt.Sprint("the sink is down: ", down))
		w.sink.setFailure(func(to hold.Workload, _ string) error {
			if down && to.Name == "shop" {
				return errors.New("down")
			}
			return nil
		})
	case 2:
		synctest.Wait()
	default:
		i := w.IntN(len(w.events) + 1)
		if i == len(w.events) {
			w.events = append(w.events, newEventAt(fmt.Sprint(i), []string{"START", "END"}[w.IntN(2)], w.IntN(12)))
		}
		w.log = append(w.log, string(w.events[i]))
		w.sendEvent(t, w.events[i])
	}
}

// isLastEventStart reports whether the latest event is a start; of one moment, the end counts.
func (w *orderWalker) isLastEventStart(t *testing.T) bool {
	t.Helper()
	var last Event
	for _, data := range w.events {
		e, err := parseOrderedEvent(data)
		if err != nil {
			t.Fatal(err)
		}
		if e.At.After(last.At) || e.At.Equal(last.At) && e.Type == "END" {
			last = e
		}
	}
	return last.Type == "START"
}

// parseOrderedEvent parses an event in the default format.
func parseOrderedEvent(data []byte) (Event, error) {
	return Format{}.ParseMessage(Message{Data: data})
}

// TestD21AnyOrder: whatever the order of arrival, the repetitions, the failures and the restarts, the latest of all starts and ends counts in the end.
func TestD21AnyOrder(t *testing.T) {
	t.Parallel()
	for seed := range uint64(400) {
		synctest.Test(t, func(t *testing.T) {
			w := &orderWalker{Rand: rand.New(rand.NewPCG(seed, 0)), times: newHoldCommandTimes(), rule: newSaleRule()} //nolint:gosec // a test that repeats itself
			w.handlerBench = newHandlerBench(t, nil, Options{Times: w.times}, w.rule)
			for range 25 {
				w.step(t)
			}
			w.sink.setFailure(nil)
			for _, d := range w.waiting {
				if err := w.WaitDelivered(t.Context(), d); err != nil {
					t.Fatal(err)
				}
			}
			calls, want := slices.Concat(w.calls, w.sink.listCalls()), w.isLastEventStart(t)
			w.stop()
			for _, name := range []string{"shop", "cart"} {
				raised := false
				for _, c := range calls {
					if strings.Contains(c, " "+name+" ") {
						raised = strings.HasPrefix(c, "raise")
					}
				}
				if raised != want {
					t.Fatalf("seed %d: %s raised %v, want %v\n%s\n%s", seed, name, raised, want, strings.Join(w.log, "\n"), strings.Join(calls, "\n"))
				}
			}
		})
	}
}
