package remote

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// backendHealth is whether a backend answers, for logs and self-metrics.
type backendHealth struct {
	mu           sync.Mutex // guards all below
	failures     int        // in a row
	failingSince time.Time
	downCause    *requestFailure // nil: up
}

// failuresUntilDown in a row are not those of one question.
const failuresUntilDown = 3

// recordBackendOutcome takes the outcome of a question. It logs when the backend goes down and when it is back, and nothing between.
func (h *backendHealth) recordBackendOutcome(ctx context.Context, b *Backend, f *requestFailure) {
	if f != nil && f.outcome == outcomeCancelled {
		return
	}
	now := time.Now()
	answered := f == nil || f.errorKind() == metric.KindInternal // what is wrong then is the rule
	h.mu.Lock()
	defer h.mu.Unlock()
	log := klog.FromContext(ctx).WithValues("backend", b.name)
	if answered {
		if h.downCause != nil {
			log.Info("Backend is back", "after", now.Sub(h.failingSince).Round(time.Second).String(), "lastErr", h.downCause.text)
		}
		h.failures, h.downCause = 0, nil
		b.metrics.setBackendUp(b.name, true, now)
		return
	}
	if h.failures++; h.failures == 1 {
		h.failingSince = earlierTime(now, f.since)
	}
	if h.downCause == nil && (f.serverWide || h.failures >= failuresUntilDown) {
		h.downCause = f
		log.Info("Backend is down", "err", f.text)
		b.metrics.setBackendUp(b.name, false, now)
	}
}

func (h *backendHealth) describeBackendHealth() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.downCause == nil {
		return "up"
	}
	return fmt.Sprintf("down since %s: %s", formatClockTime(h.failingSince), h.downCause.text)
}

// Notes are lines for a person who wants to know how the backend is: its state, and that of each of its servers.
func (b *Backend) Notes() []string {
	b.mu.Lock()
	questions := len(b.queries)
	b.mu.Unlock()
	state := fmt.Sprintf("backend %s: %s; questions refreshed every %v: %d", b.name, b.health.describeBackendHealth(), b.config.Refresh, questions)
	notes := []string{state}
	for _, s := range b.client.servers {
		notes = append(notes, fmt.Sprintf("backend %s: %s", b.name, s.describeServerState()))
	}
	return notes
}
