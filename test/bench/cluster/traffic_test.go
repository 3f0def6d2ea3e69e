package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/test/harness/timeline"
)

// TestStepIsDated: the time of a step is not later than the first request at the new rate.
func TestStepIsDated(t *testing.T) {
	t.Parallel()
	served := make(chan time.Time, 1) // the time of the first request
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		select {
		case served <- time.Now():
		default:
		}
	}))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	began := time.Now()
	traffic := startTraffic(ctx, []string{server.URL})
	stepped, err := traffic.stepTrafficRate(ctx, 200)
	if err != nil {
		t.Fatal(err)
	}
	first := <-served
	cancel()
	// After a pause of this process, more requests are due than may be in flight: the others are Unsent.
	if sent := traffic.awaitTraffic(); sent.Total().OK == 0 {
		t.Errorf("sent %+v", sent)
	}
	if stepped.Before(began) || stepped.After(first) {
		t.Errorf("began at %v, stepped at %v, first request at %v", began, stepped, first)
	}
	if _, err := traffic.stepTrafficRate(ctx, 1); err == nil {
		t.Error("a step of traffic that has ended")
	}
}

func TestChainNotes(t *testing.T) {
	t.Parallel()
	var r chainRun
	for i, p := range []struct {
		served         float64
		desired, ready int
	}{{359, 2, 2}, {361, 10, 2}, {300, 18, 10}, {400, 20, 18}} {
		r.recordFirstChainChanges(time.Duration(i+1)*time.Second, timeline.Point{Served: p.served, Desired: p.desired, Ready: p.ready})
	}
	if r.right != 2*time.Second || r.desired != 3*time.Second || r.ready != 4*time.Second {
		t.Errorf("right %v, desired %v, ready %v", r.right, r.desired, r.ready)
	}
}
