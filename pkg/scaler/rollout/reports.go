package rollout

import (
	"sync"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

// verifyReports are what was verified of the holds whose outcome nobody has been told yet. They are figures for people, in the memory
// of whoever verified: where another process tells the outcome, it tells the verdict, which is on the target, without them.
type verifyReports struct {
	mu     sync.Mutex
	byHold map[reportKey]verify.Report
}

type reportKey struct {
	workload hold.Target
	holdID   string
}

func (r *verifyReports) keepReport(t hold.Target, id string, report verify.Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.byHold[reportKey{t, id}] = report
}

// takeReport returns the report of a hold, nil if there is none, and forgets it.
func (r *verifyReports) takeReport(t hold.Target, id string) *verify.Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := reportKey{t, id}
	report, ok := r.byHold[key]
	delete(r.byHold, key)
	if !ok {
		return nil
	}
	return &report
}
