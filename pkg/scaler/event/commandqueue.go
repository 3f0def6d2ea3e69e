// This file queues commands until Run delivers them, and drops commands that a later command supersedes.

package event

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"
)

// holdCommandQueue holds the waiting commands of a workload, in the order of delivery. Many goroutines append; a single goroutine takes.
type holdCommandQueue struct {
	maxWaiting int

	mu           sync.Mutex // guards all below
	waiting      *list.List // of *queuedCommand
	latestByHold map[string]*list.Element
	changed      chan struct{} // closed and replaced whenever a command comes or goes
	failingSince time.Time     // zero: the sink took or rejected the last command
	fullSince    time.Time     // when a command first found no place; zero: half of the places were free since then
}

// maxFullWait is how long the sink may fail, or the queue be full, before a full queue takes no further command: longer than most outages of an
// API server, and short enough for the events of other workloads, which wait behind it.
const maxFullWait = 10 * time.Second

// errQueueFull is the error of a command for a workload that takes no holds, or takes them more slowly than they come.
var errQueueFull = fmt.Errorf("the queue of the workload was full for %s: it gets more holds than it takes", maxFullWait)

// queuedCommand is a command of a delivery.
type queuedCommand struct {
	command  holdCommand
	delivery *Delivery
}

// supersedesEventCommand reports whether c makes an earlier command for the same hold needless. A raise that expires before the earlier
// command does not: if c expired undelivered, the earlier command would be lost too. Only the later by its event's time counts; of one moment, the end. An
// end before a later one may be before a start, too, which it would not end.
func (c *queuedCommand) supersedesEventCommand(earlier *queuedCommand) bool {
	if order := c.command.at.Compare(earlier.command.at); order < 0 || order == 0 && earlier.command.release && !c.command.release {
		return false
	}
	return c.command.release || !c.command.fresh.Before(earlier.command.fresh)
}

func newHoldCommandQueue(maxWaiting int) *holdCommandQueue {
	return &holdCommandQueue{maxWaiting: maxWaiting, waiting: list.New(), latestByHold: map[string]*list.Element{}, changed: make(chan struct{})}
}

// appendQueuedCommand appends c, and returns the command that it replaces, or nil. It waits while the queue is full; its error is the error of
// ctx, or ErrStopped. It returns errQueueFull if that lasts too long.
func (q *holdCommandQueue) appendQueuedCommand(ctx context.Context, stopped <-chan struct{}, c *queuedCommand) (*queuedCommand, error) {
	for {
		replaced, since, changed := q.tryAppendQueuedCommand(c)
		if changed == nil {
			return replaced, nil
		}
		left := maxFullWait - time.Since(since)
		if left <= 0 {
			return nil, errQueueFull
		}
		timer := time.NewTimer(left)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		case <-stopped:
			timer.Stop()
			return nil, ErrStopped
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// tryAppendQueuedCommand appends c, and returns no channel. If the queue is full, it returns the channel to wait for, and since when the queue
// has been full or the sink failing.
func (q *holdCommandQueue) tryAppendQueuedCommand(c *queuedCommand) (replaced *queuedCommand, since time.Time, changed <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	id := c.command.hold.ID
	if at := q.latestByHold[id]; at != nil && c.supersedesEventCommand(at.Value.(*queuedCommand)) {
		replaced = q.waiting.Remove(at).(*queuedCommand)
	} else if q.waiting.Len() >= q.countQueuePlaces(c) {
		if q.fullSince.IsZero() {
			q.fullSince = time.Now()
		}
		if since = q.fullSince; !q.failingSince.IsZero() && q.failingSince.Before(since) {
			since = q.failingSince
		}
		return nil, since, q.changed
	}
	q.latestByHold[id] = q.waiting.PushBack(c)
	q.signalQueueChange()
	return replaced, time.Time{}, nil
}

// countQueuePlaces returns how many commands may wait when c comes. Ends have as many places again: a hold without its end stays for its time.
func (q *holdCommandQueue) countQueuePlaces(c *queuedCommand) int {
	if c.command.release {
		return 2 * q.maxWaiting
	}
	return q.maxWaiting
}

// takeQueuedCommand removes and returns the first command. It waits for a command, and returns nil when ctx has ended.
func (q *holdCommandQueue) takeQueuedCommand(ctx context.Context) *queuedCommand {
	for ctx.Err() == nil {
		c, changed := q.tryTakeQueuedCommand()
		if c != nil {
			return c
		}
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
	return nil
}

func (q *holdCommandQueue) tryTakeQueuedCommand() (*queuedCommand, <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := q.waiting.Front()
	if at == nil {
		return nil, q.changed
	}
	c := q.waiting.Remove(at).(*queuedCommand)
	if id := c.command.hold.ID; q.latestByHold[id] == at {
		delete(q.latestByHold, id)
	}
	if q.waiting.Len() <= q.maxWaiting/2 {
		q.fullSince = time.Time{}
	}
	q.signalQueueChange()
	return c, nil
}

// requeueLateEventCommand puts a command back behind the others, if it is no longer fresh and a fresh one waits. It reports whether it did.
func (q *holdCommandQueue) requeueLateEventCommand(c *queuedCommand) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	now, fresh := time.Now(), false
	for at := q.waiting.Front(); at != nil && !fresh; at = at.Next() {
		fresh = now.Before(at.Value.(*queuedCommand).command.fresh)
	}
	if now.Before(c.command.fresh) || !fresh {
		return false
	}
	at := q.waiting.PushBack(c)
	if id := c.command.hold.ID; q.latestByHold[id] == nil {
		q.latestByHold[id] = at
	}
	return true
}

// isEventCommandSuperseded reports whether a waiting command supersedes c, which was taken before.
func (q *holdCommandQueue) isEventCommandSuperseded(c *queuedCommand) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := q.latestByHold[c.command.hold.ID]
	return at != nil && at.Value.(*queuedCommand).supersedesEventCommand(c)
}

// recordSinkResult records whether the sink took or rejected a command, or failed.
func (q *holdCommandQueue) recordSinkResult(failed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case !failed:
		q.failingSince = time.Time{}
	case q.failingSince.IsZero():
		q.failingSince = time.Now()
	}
}

// signalQueueChange wakes all waiting goroutines. The caller holds mu.
func (q *holdCommandQueue) signalQueueChange() {
	close(q.changed)
	q.changed = make(chan struct{})
}
