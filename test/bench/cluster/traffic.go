package main

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/tachometer-metrics/tachometer/test/harness/load"
)

// traffic is a load on the sample's pods whose steps are known to the moment.
type traffic struct {
	generator *load.Generator
	targets   atomic.Pointer[[]string]
	next      chan change
	current   float64 // requests per second; of the generator's goroutine
	ended     chan struct{}
}

// change is a step of the load; at gets the time of it.
type change struct {
	rate float64
	at   chan time.Time
}

// startTraffic sends nothing before the first step. It ends with ctx; wait returns when it has.
func startTraffic(ctx context.Context, urls []string) *traffic {
	t := &traffic{next: make(chan change), ended: make(chan struct{})}
	t.aimAt(urls)
	t.generator = load.New(load.Options{
		Targets: func() []string { return *t.targets.Load() },
		Rate:    t.rateAt,
	})
	go func() { defer close(t.ended); t.generator.Run(ctx) }()
	return t
}

// rateAt is asked by the generator every few milliseconds; the first request at a new rate follows within a request's
// distance.
func (t *traffic) rateAt(now time.Time) float64 {
	select {
	case c := <-t.next:
		t.current = c.rate
		c.at <- now
	default:
	}
	return t.current
}

// aimAt changes where requests go.
func (t *traffic) aimAt(urls []string) { t.targets.Store(&urls) }

// stepRate changes the rate and returns when that was. Only one goroutine may step.
func (t *traffic) stepRate(ctx context.Context, rate float64) (time.Time, error) {
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

// awaitTraffic returns when the last answer has come, after the end of the context.
func (t *traffic) awaitTraffic() load.Result {
	<-t.ended
	return t.generator.Result()
}
