package panics

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"
)

// Every panic is counted and becomes an error. One stack is logged, and its error shows nothing of the panic's text.
func TestGuard(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	ctx := klog.NewContext(t.Context(), textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(&log))))
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "panics_total"})
	guard := NewGuard("scrape", counter)
	work := func(ctx context.Context, fault any) (err error) {
		defer guard.Catch(ctx, &err, func() []any { return []any{"pod", "web-1"} })
		if fault != nil {
			panic(fault)
		}
		return nil
	}
	if err := work(ctx, nil); err != nil || testutil.ToFloat64(counter) != 0 {
		t.Errorf("work without a panic: %v, %v counted", err, testutil.ToFloat64(counter))
	}
	for range 3 {
		if err := work(ctx, "text of a page"); err == nil || strings.Contains(err.Error(), "text of a page") {
			t.Errorf("the error of a panic is %v", err)
		}
	}
	if got := testutil.ToFloat64(counter); got != 3 {
		t.Errorf("%v panics counted, want 3", got)
	}
	if n := strings.Count(log.String(), "Work ended in a panic"); n != 1 || !strings.Contains(log.String(), `pod="web-1"`) || !strings.Contains(log.String(), "guard_test.go") {
		t.Errorf("%d stacks in the log:\n%s", n, log.String())
	}
}
