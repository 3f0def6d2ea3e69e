// Reads of a workload that keep failing: after a time they are trouble of the workload, which its holds and people are told.

package rollout

import (
	"context"
	"sync"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// lastingFaultAfter is the time after which a read that fails is no outage of a moment. A rolling restart of a control plane or of a webhook takes less.
const lastingFaultAfter = time.Minute

// The reads of a workload that may fail one by one.
const (
	readOfScale = "scale"
	readOfPods  = "pods"
)

// failedRead identifies a read of a workload.
type failedRead struct {
	workload hold.Workload
	read     string
}

// readFault is the first failure of a read since its last success.
type readFault struct {
	since time.Time
	text  string
}

// readFaults are the reads that fail now. They are of one process: another one waits anew.
type readFaults struct {
	mu     sync.Mutex
	failed map[failedRead]readFault
}

// describeLastingFault records the outcome of a read, and returns the text of its first failure once it has failed for lastingFaultAfter; else nothing.
// The text stays the same, so that a hold is told once.
func (f *readFaults) describeLastingFault(ctx context.Context, r failedRead, err error, now time.Time) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	r.workload = r.workload.WithoutVersion()
	if err == nil {
		delete(f.failed, r)
		return ""
	}
	if ctx.Err() != nil { // the read was given up
		return ""
	}
	first, found := f.failed[r]
	if !found {
		first = readFault{now, err.Error()}
		f.failed[r] = first
	}
	if now.Sub(first.since) < lastingFaultAfter {
		return ""
	}
	return first.text
}

// forgetReadFaults forgets the failed reads of a workload without holds.
func (f *readFaults) forgetReadFaults(t hold.Workload) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, read := range []string{readOfScale, readOfPods} {
		delete(f.failed, failedRead{t.WithoutVersion(), read})
	}
}
