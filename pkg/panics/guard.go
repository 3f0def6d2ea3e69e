// Package panics keeps a panic within the piece of work that it ended.
package panics

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/retry"
)

// logInterval is the shortest time between two stacks in the log: work that repeats panics again and again.
const logInterval = 10 * time.Minute

// Guard counts the panics of one kind of work, and logs their stacks. It may be used concurrently.
type Guard struct {
	counter  prometheus.Counter
	work     string
	throttle retry.Throttle
}

// NewGuard returns a guard of work, such as "scrape". It counts panics in counter.
func NewGuard(work string, counter prometheus.Counter) *Guard {
	return &Guard{counter: counter, work: work, throttle: retry.Throttle{Interval: logInterval}}
}

// Counter returns the counter of the panics.
func (g *Guard) Counter() prometheus.Counter { return g.counter }

// Catch ends a panic of the calling function and makes *err its error. It must be deferred itself. The error shows nothing of the
// panic, which may carry text of others; the log has the stack, with the keys and values of logKeys, which runs after a panic only.
func (g *Guard) Catch(ctx context.Context, err *error, logKeys func() []any) {
	if fault := recover(); fault != nil {
		*err = g.Report(ctx, fault, logKeys()...)
	}
}

// Report counts a recovered panic, logs its stack unless another was logged just before, and returns the error for the work.
// It must run while the panic's stack is still there, in the deferred function.
func (g *Guard) Report(ctx context.Context, fault any, keysAndValues ...any) error {
	g.counter.Inc()
	if g.throttle.Allow(g.work, time.Now()) {
		klog.FromContext(ctx).Error(fmt.Errorf("panic: %v", fault), "Work ended in a panic",
			append([]any{"work", g.work, "stack", string(debug.Stack())}, keysAndValues...)...)
	}
	return fmt.Errorf("the %s ended in a panic, which is a bug of this program: its log has the stack", g.work)
}
