// Whether a backend responds, for logs, self-metrics and /readyz?verbose.

package remote

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// backendHealth records whether a backend responds.
type backendHealth struct {
	mu           sync.Mutex // guards all below
	failures     int        // in a row
	failingSince time.Time
	downCause    *backendRequestFailure // nil: up
}

// failuresUntilDown is the number of failures in a row that a single query does not explain.
const failuresUntilDown = 3

// recordRequestOutcome records the outcome of a request. It logs when the backend goes down and when it is back, but no failure between.
func (h *backendHealth) recordRequestOutcome(ctx context.Context, b *Backend, f *backendRequestFailure) {
	if f != nil && f.outcome == outcomeCancelled {
		return
	}
	now := time.Now()
	responded := f == nil || f.chooseErrorKind() == metric.KindInternal // then the rule is at fault
	h.mu.Lock()
	defer h.mu.Unlock()
	log := klog.FromContext(ctx).WithValues("backend", b.name)
	if responded {
		if h.downCause != nil {
			log.Info("Backend is back", "downFor", now.Sub(h.failingSince).Round(time.Second).String(), "reason", h.downCause.text)
		}
		h.failures, h.downCause = 0, nil
		b.metrics.setBackendUp(b.name, true, now)
		return
	}
	if h.failures++; h.failures == 1 {
		h.failingSince = chooseEarlierResultTime(now, f.since)
	}
	if h.downCause == nil && (f.serverWide || h.failures >= failuresUntilDown) {
		h.downCause = f
		log.Info("Backend is down", "reason", f.text)
		b.metrics.setBackendUp(b.name, false, now)
	}
}

func (h *backendHealth) describeBackendHealth() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.downCause == nil {
		return "up"
	}
	return fmt.Sprintf("down since %s: %s", formatServerTime(h.failingSince), h.downCause.text)
}

// Notes returns lines for people: the state of the backend, then the state of each server.
func (b *Backend) Notes() []string {
	b.mu.Lock()
	queries := len(b.queries)
	b.mu.Unlock()
	state := fmt.Sprintf("backend %s: %s; queries refreshed every %v: %d", b.name, b.health.describeBackendHealth(), b.config.Refresh, queries)
	notes := []string{state}
	for _, s := range b.client.servers {
		notes = append(notes, fmt.Sprintf("backend %s: %s", b.name, s.describeServerState()))
	}
	return notes
}
