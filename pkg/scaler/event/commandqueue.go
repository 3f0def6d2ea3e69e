package event

import (
	"container/list"
	"context"
	"sync"
)

// This file queues commands until Run delivers them, and drops commands that a later command supersedes.

// commandQueue holds the waiting commands of a workload, in the order of delivery. Many goroutines append; a single goroutine takes.
type commandQueue struct {
	maxWaiting int

	mu           sync.Mutex // guards all below
	waiting      *list.List // of *queuedCommand
	latestByHold map[string]*list.Element
	changed      chan struct{} // closed and replaced whenever a command comes or goes
}

// queuedCommand is a command of a delivery.
type queuedCommand struct {
	command  holdCommand
	delivery *Delivery
}

// supersedesEventCommand reports whether c makes an earlier command for the same hold needless. A raise that expires before the earlier
// command does not: if c expired undelivered, the earlier command would be lost too.
func (c *queuedCommand) supersedesEventCommand(earlier *queuedCommand) bool {
	return c.command.release || !c.command.expiresAt.Before(earlier.command.expiresAt)
}

func newEventCommandQueue(maxWaiting int) *commandQueue {
	return &commandQueue{maxWaiting: maxWaiting, waiting: list.New(), latestByHold: map[string]*list.Element{}, changed: make(chan struct{})}
}

// appendEventCommand appends c, and returns the command that it replaces, or nil. It waits while the queue is full; its error is the error of
// ctx, or ErrStopped.
func (q *commandQueue) appendEventCommand(ctx context.Context, stopped <-chan struct{}, c *queuedCommand) (*queuedCommand, error) {
	for {
		replaced, ok, changed := q.tryAppendEventCommand(c)
		if ok {
			return replaced, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-stopped:
			return nil, ErrStopped
		case <-changed:
		}
	}
}

func (q *commandQueue) tryAppendEventCommand(c *queuedCommand) (replaced *queuedCommand, ok bool, changed <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	id := c.command.hold.ID
	if at := q.latestByHold[id]; at != nil && c.supersedesEventCommand(at.Value.(*queuedCommand)) {
		replaced = q.waiting.Remove(at).(*queuedCommand)
	} else if q.waiting.Len() >= q.maxWaiting {
		return nil, false, q.changed
	}
	q.latestByHold[id] = q.waiting.PushBack(c)
	q.signalEventQueueChange()
	return replaced, true, nil
}

// takeEventCommand removes and returns the first command. It waits for a command, and returns nil when ctx has ended.
func (q *commandQueue) takeEventCommand(ctx context.Context) *queuedCommand {
	for ctx.Err() == nil {
		c, changed := q.tryTakeEventCommand()
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

func (q *commandQueue) tryTakeEventCommand() (*queuedCommand, <-chan struct{}) {
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
	q.signalEventQueueChange()
	return c, nil
}

// isEventCommandSuperseded reports whether a waiting command supersedes c, which was taken before.
func (q *commandQueue) isEventCommandSuperseded(c *queuedCommand) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := q.latestByHold[c.command.hold.ID]
	return at != nil && at.Value.(*queuedCommand).supersedesEventCommand(c)
}

// signalEventQueueChange wakes all waiting goroutines. The caller holds mu.
func (q *commandQueue) signalEventQueueChange() {
	close(q.changed)
	q.changed = make(chan struct{})
}
