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

// supersedesCommand reports whether c makes an earlier command for the same hold needless. A raise that expires before the earlier
// command does not: if c expired undelivered, the earlier command would be lost too.
func (c *queuedCommand) supersedesCommand(earlier *queuedCommand) bool {
	return c.command.release || !c.command.expiresAt.Before(earlier.command.expiresAt)
}

func newCommandQueue(maxWaiting int) *commandQueue {
	return &commandQueue{maxWaiting: maxWaiting, waiting: list.New(), latestByHold: map[string]*list.Element{}, changed: make(chan struct{})}
}

// appendCommand appends c, and returns the command that it replaces, or nil. It waits while the queue is full; its error is the error of
// ctx, or ErrStopped.
func (q *commandQueue) appendCommand(ctx context.Context, stopped <-chan struct{}, c *queuedCommand) (*queuedCommand, error) {
	for {
		replaced, ok, changed := q.tryAppendCommand(c)
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

func (q *commandQueue) tryAppendCommand(c *queuedCommand) (replaced *queuedCommand, ok bool, changed <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	id := c.command.hold.ID
	if at := q.latestByHold[id]; at != nil && c.supersedesCommand(at.Value.(*queuedCommand)) {
		replaced = q.waiting.Remove(at).(*queuedCommand)
	} else if q.waiting.Len() >= q.maxWaiting {
		return nil, false, q.changed
	}
	q.latestByHold[id] = q.waiting.PushBack(c)
	q.signalChange()
	return replaced, true, nil
}

// takeCommand removes and returns the first command. It waits for a command, and returns nil when ctx has ended.
func (q *commandQueue) takeCommand(ctx context.Context) *queuedCommand {
	for ctx.Err() == nil {
		c, changed := q.tryTakeCommand()
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

func (q *commandQueue) tryTakeCommand() (*queuedCommand, <-chan struct{}) {
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
	q.signalChange()
	return c, nil
}

// isSuperseded reports whether a waiting command supersedes c, which was taken before.
func (q *commandQueue) isSuperseded(c *queuedCommand) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := q.latestByHold[c.command.hold.ID]
	return at != nil && at.Value.(*queuedCommand).supersedesCommand(c)
}

// signalChange wakes all waiting goroutines. The caller holds mu.
func (q *commandQueue) signalChange() {
	close(q.changed)
	q.changed = make(chan struct{})
}
