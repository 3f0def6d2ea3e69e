// The requests that compute, by which HPAs' reads come first.

package apiserver

import (
	"runtime"
	"sync"
	"time"
)

// processorLoad counts the HPAs' reads and other requests that compute. While each processor has one, no further request of a reader or stranger,
// and no handshake, begins to compute: it waits for a limited time, so that it is late but never kept out. HPAs' reads never wait.
type processorLoad struct {
	processors int

	mu        sync.Mutex // guards the rest
	computing int
	freed     chan struct{} // closed when a processor becomes free
}

func newProcessorLoad() *processorLoad {
	return &processorLoad{processors: runtime.GOMAXPROCS(0), freed: make(chan struct{})}
}

// beginRequestComputation counts a request until end is called, at most maxProcessorTime: a request computes no longer, so it waits for something.
// End may be called again.
func (l *processorLoad) beginRequestComputation() (end func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.computing++
	endOnce := sync.OnceFunc(l.endRequestComputation)
	timer := time.AfterFunc(maxProcessorTime, endOnce)
	return func() {
		timer.Stop()
		endOnce()
	}
}

func (l *processorLoad) endRequestComputation() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.computing--; l.computing == l.processors-1 {
		close(l.freed)
		l.freed = make(chan struct{})
	}
}

// awaitFreeProcessor returns when a processor is free, after limit, or when given up.
func (l *processorLoad) awaitFreeProcessor(limit time.Duration, givenUp <-chan struct{}) {
	var end <-chan time.Time // of the limit; nil until there is something to wait for
	for {
		l.mu.Lock()
		busy, freed := l.computing >= l.processors, l.freed
		l.mu.Unlock()
		if !busy {
			return
		}
		if end == nil {
			end = time.After(limit)
		}
		select {
		case <-freed:
		case <-end:
			return
		case <-givenUp:
			return
		}
	}
}
