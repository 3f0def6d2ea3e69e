package rollout

import (
	"sync"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

// reports are what was verified of the holds whose outcome nobody has been told yet. They are figures for people, in the memory
// of whoever verified: where another process tells the outcome, it tells the verdict, which is on the target, without them.
type reports struct {
	mu  sync.Mutex
	all map[reported]verify.Report
}

type reported struct {
	target hold.Target
	id     string
}

func (r *reports) keep(t hold.Target, id string, report verify.Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all[reported{t, id}] = report
}

// take returns the report of a hold, nil if there is none, and forgets it.
func (r *reports) take(t hold.Target, id string) *verify.Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := reported{t, id}
	report, ok := r.all[key]
	delete(r.all, key)
	if !ok {
		return nil
	}
	return &report
}
