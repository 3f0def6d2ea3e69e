package remote

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// health is whether a backend answers, for logs and self-metrics.
type health struct {
	mu       sync.Mutex // guards all below
	failures int        // in a row
	since    time.Time
	down     *fault // nil: up
}

// manyFailures in a row are not those of one question.
const manyFailures = 3

// note takes the outcome of a question. It logs when the backend goes down and when it is back, and nothing between.
func (h *health) note(ctx context.Context, b *Backend, f *fault) {
	if f != nil && f.outcome == cancelled {
		return
	}
	now := time.Now()
	answered := f == nil || f.kind() == metric.KindInternal // what is wrong then is the rule
	h.mu.Lock()
	defer h.mu.Unlock()
	log := klog.FromContext(ctx).WithValues("backend", b.name)
	if answered {
		if h.down != nil {
			log.Info("Backend is back", "after", now.Sub(h.since).Round(time.Second).String(), "lastErr", h.down.text)
		}
		h.failures, h.down = 0, nil
		b.metrics.health(b.name, true, now)
		return
	}
	if h.failures++; h.failures == 1 {
		h.since = earlier(now, f.since)
	}
	if h.down == nil && (f.whole || h.failures >= manyFailures) {
		h.down = f
		log.Info("Backend is down", "err", f.text)
		b.metrics.health(b.name, false, now)
	}
}

func (h *health) text() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down == nil {
		return "up"
	}
	return fmt.Sprintf("down since %s: %s", clock(h.since), h.down.text)
}

// Notes are lines for a person who wants to know how the backend is: its state, and that of each of its servers.
func (b *Backend) Notes() []string {
	b.mu.Lock()
	questions := len(b.questions)
	b.mu.Unlock()
	state := fmt.Sprintf("backend %s: %s; questions refreshed every %v: %d", b.name, b.health.text(), b.config.Refresh, questions)
	notes := []string{state}
	for _, s := range b.client.servers {
		notes = append(notes, fmt.Sprintf("backend %s: %s", b.name, s.note()))
	}
	return notes
}
