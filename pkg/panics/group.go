package panics

import (
	"fmt"
	"runtime/debug"
	"sync"
)

// Group runs functions in goroutines. A panic in a goroutine ends the program whatever its starter defers, so Wait panics in its place, and the
// starter's Guard ends that. The zero Group is ready for use.
type Group struct {
	running sync.WaitGroup

	mu    sync.Mutex // guards fault
	fault *groupFault
}

// groupFault is the first panic of a Group, with the stack of its goroutine.
type groupFault struct {
	fault any
	stack []byte
}

// String returns the panic and the stack, for the log.
func (f *groupFault) String() string { return fmt.Sprintf("%v\n%s", f.fault, f.stack) }

// Go runs work in a goroutine.
func (g *Group) Go(work func()) {
	g.running.Go(func() {
		defer func() {
			if fault := recover(); fault != nil {
				g.keepFirstFault(&groupFault{fault, debug.Stack()})
			}
		}()
		work()
	})
}

func (g *Group) keepFirstFault(f *groupFault) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fault == nil {
		g.fault = f
	}
}

// Wait waits until all goroutines have ended, and panics if one of them did.
func (g *Group) Wait() {
	g.running.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fault != nil {
		panic(g.fault)
	}
}
