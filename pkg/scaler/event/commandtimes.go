// This file applies the starts and ends of a hold by the times of their events, in any order of arrival.

package event

import (
	"sync"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// CommandTimes remembers, by key, the time of the latest event. Its methods are called concurrently, and do not block.
type CommandTimes interface {
	// LatestAt returns the time of the latest event; zero: none is remembered.
	LatestAt(key string) time.Time
	// NoteAt remembers the time of an event until the given moment, unless a later time is known.
	NoteAt(key string, at, until time.Time)
}

// holdCommandTimes are CommandTimes in memory.
type holdCommandTimes struct {
	mu    sync.Mutex // guards all below
	byKey map[string]notedTime
	prune int // number of keys at which expired keys are forgotten
}

type notedTime struct{ at, until time.Time }

// firstPrune is the number of keys that are kept without a look for expired keys.
const firstPrune = 1000

func newHoldCommandTimes() *holdCommandTimes {
	return &holdCommandTimes{byKey: map[string]notedTime{}, prune: firstPrune}
}

// LatestAt implements CommandTimes.
func (t *holdCommandTimes) LatestAt(key string) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byKey[key].at
}

// NoteAt implements CommandTimes.
func (t *holdCommandTimes) NoteAt(key string, at, until time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !at.After(t.byKey[key].at) {
		return
	}
	t.byKey[key] = notedTime{at, until}
	if len(t.byKey) < t.prune {
		return
	}
	now := time.Now()
	for k, n := range t.byKey {
		if !now.Before(n.until) {
			delete(t.byKey, k)
		}
	}
	t.prune = max(firstPrune, 2*len(t.byKey))
}

// formatHoldCommandKey returns the key of the starts or of the ends of a hold.
func formatHoldCommandKey(release bool, w hold.Workload, id string) string {
	verb := "raise "
	if release {
		verb = "release "
	}
	return verb + w.Namespace + " " + w.APIVersion + " " + w.Kind + " " + w.Name + " " + id
}

// noteCommandReleases notes the ends among commands, before their delivery: a start that is on its way must see them.
func (h *Handler) noteCommandReleases(commands []holdCommand) {
	for i := range commands {
		if c := &commands[i]; c.release {
			h.opts.Times.NoteAt(formatHoldCommandKey(true, c.workload, c.hold.ID), c.at, c.until)
		}
	}
}

// noteCommandRaise notes a delivered start: an earlier end that comes later must not end it.
func (h *Handler) noteCommandRaise(c *holdCommand) {
	if !c.release {
		h.opts.Times.NoteAt(formatHoldCommandKey(false, c.workload, c.hold.ID), c.at, c.until)
	}
}

// isEventCommandOutdated reports whether a later start or end of the hold is known. An end counts as later than a start of the same moment. An end
// after a later end is harmless.
func (h *Handler) isEventCommandOutdated(c *holdCommand) bool {
	latestAt := func(release bool) time.Time {
		return h.opts.Times.LatestAt(formatHoldCommandKey(release, c.workload, c.hold.ID))
	}
	return latestAt(false).After(c.at) || !c.release && !latestAt(true).Before(c.at)
}
