package event

import (
	"container/list"
	"context"
	"sync"
)

// commandQueue are the orders that wait for one target, in the order of delivery. Any number of callers put, one takes.
type commandQueue struct {
	maxWaiting int

	mu           sync.Mutex // guards all below
	waiting      *list.List // of *entry
	latestByHold map[string]*list.Element
	changed      chan struct{} // closed, and made anew, whenever an entry comes or goes
}

// queuedCommand is one order of a delivery.
type queuedCommand struct {
	command  holdCommand
	delivery *Delivery
}

// supersedesCommand tells whether a later order for the same hold makes an earlier one needless: not a raise that expires before
// it, since then neither might be delivered.
func (e *queuedCommand) supersedesCommand(earlier *queuedCommand) bool {
	return e.command.release || !e.command.expiresAt.Before(earlier.command.expiresAt)
}

func newCommandQueue(most int) *commandQueue {
	return &commandQueue{maxWaiting: most, waiting: list.New(), latestByHold: map[string]*list.Element{}, changed: make(chan struct{})}
}

// appendCommand adds e at the end, and returns the one that it supersedes, nil if none. It waits for room; the error is ctx's, or ErrStopped.
func (q *commandQueue) appendCommand(ctx context.Context, stopped <-chan struct{}, e *queuedCommand) (*queuedCommand, error) {
	for {
		replaced, ok, changed := q.tryAppendCommand(e)
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

func (q *commandQueue) tryAppendCommand(e *queuedCommand) (replaced *queuedCommand, ok bool, changed <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	id := e.command.hold.ID
	if at := q.latestByHold[id]; at != nil && e.supersedesCommand(at.Value.(*queuedCommand)) {
		replaced = q.waiting.Remove(at).(*queuedCommand)
	} else if q.waiting.Len() >= q.maxWaiting {
		return nil, false, q.changed
	}
	q.latestByHold[id] = q.waiting.PushBack(e)
	q.signalChange()
	return replaced, true, nil
}

// takeCommand removes and returns the first, nil when ctx has ended. It waits for one.
func (q *commandQueue) takeCommand(ctx context.Context) *queuedCommand {
	for ctx.Err() == nil {
		e, changed := q.tryTakeCommand()
		if e != nil {
			return e
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
	e := q.waiting.Remove(at).(*queuedCommand)
	if id := e.command.hold.ID; q.latestByHold[id] == at {
		delete(q.latestByHold, id)
	}
	q.signalChange()
	return e, nil
}

// isSuperseded tells whether an order that was taken is superseded by one that waits.
func (q *commandQueue) isSuperseded(e *queuedCommand) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	at := q.latestByHold[e.command.hold.ID]
	return at != nil && at.Value.(*queuedCommand).supersedesCommand(e)
}

// signalChange wakes who waits. The caller holds mu.
func (q *commandQueue) signalChange() {
	close(q.changed)
	q.changed = make(chan struct{})
}
