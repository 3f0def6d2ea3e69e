package panics

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestGroupPanicsInItsStarter: the starter's guard catches the panic of a goroutine, after all others have ended.
func TestGroupPanicsInItsStarter(t *testing.T) {
	t.Parallel()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "panics"})
	guard := NewGuard("work", counter)
	var ended atomic.Int64
	work := func() (err error) {
		defer guard.Catch(t.Context(), &err, func() []any { return nil })
		var group Group
		for i := range 10 {
			group.Go(func() {
				defer ended.Add(1)
				if i%2 == 0 {
					panic("text of a response")
				}
			})
		}
		group.Wait()
		return nil
	}
	if err := work(); err == nil || !strings.Contains(err.Error(), "ended in a panic") || strings.Contains(err.Error(), "text of a response") {
		t.Error(err)
	}
	if n := testutil.ToFloat64(counter); n != 1 || ended.Load() != 10 {
		t.Errorf("%v panics counted, %d goroutines ended", n, ended.Load())
	}
}

// TestFaultHasTheStackOfItsGoroutine: the log shows where the panic was, not where it was waited for.
func TestFaultHasTheStackOfItsGoroutine(t *testing.T) {
	t.Parallel()
	defer func() {
		fault, ok := recover().(*groupFault)
		if !ok || !strings.Contains(fault.String(), "parseBrokenPage") || !strings.HasPrefix(fault.String(), "text") {
			t.Error(fault)
		}
	}()
	var group Group
	group.Go(parseBrokenPage)
	group.Wait()
}

func parseBrokenPage() { panic("text") }
