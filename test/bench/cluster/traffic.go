// The load on the sample service, with steps at exactly known times.

package main

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/tachometer-metrics/tachometer/test/harness/load"
)

// traffic is a load on the sample's pods with exactly known step times.
type traffic struct {
	generator *load.Generator
	targets   atomic.Pointer[[]string]
	next      chan change
	current   float64 // requests per second; used by the generator's goroutine only
	ended     chan struct{}
}

// change is a step of the load; at receives its time.
type change struct {
	rate float64
	at   chan time.Time
}

// startTraffic sends no request before the first step. It ends with ctx; awaitTraffic returns after the end.
func startTraffic(ctx context.Context, urls []string) *traffic {
	t := &traffic{next: make(chan change), ended: make(chan struct{})}
	t.aimTrafficAt(urls)
	t.generator = load.New(load.Options{
		Targets: func() []string { return *t.targets.Load() },
		Rate:    t.trafficRateAt,
	})
	go func() { defer close(t.ended); t.generator.Run(ctx) }()
	return t
}

// trafficRateAt returns the current rate. The generator calls it every few milliseconds; the first request at a new rate follows
// within the distance between two requests.
func (t *traffic) trafficRateAt(now time.Time) float64 {
	select {
	case c := <-t.next:
		t.current = c.rate
		c.at <- now
	default:
	}
	return t.current
}

// aimTrafficAt changes the targets of the requests.
func (t *traffic) aimTrafficAt(urls []string) { t.targets.Store(&urls) }

// stepTrafficRate changes the rate and returns the time of the change. Only one goroutine may call it.
func (t *traffic) stepTrafficRate(ctx context.Context, rate float64) (time.Time, error) {
	c := change{rate, make(chan time.Time, 1)}
	select {
	case t.next <- c:
	case <-ctx.Done():
		return time.Time{}, ctx.Err()
	}
	select {
	case at := <-c.at:
		return at, nil
	case <-ctx.Done():
		return time.Time{}, ctx.Err()
	}
}

// awaitTraffic returns after the last response, once the context has ended.
func (t *traffic) awaitTraffic() load.Result {
	<-t.ended
	return t.generator.Result()
}
