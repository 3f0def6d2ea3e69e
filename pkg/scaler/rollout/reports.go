// Verification reports, kept in memory until the notification.

package rollout

import (
	"sync"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

// verifyReports keeps the verification reports of holds until their outcome is notified. They are figures for people, in memory. If
// another process notifies the outcome, its message has the verdict from the workload's annotation, without a report.
type verifyReports struct {
	mu     sync.Mutex // guards byHold
	byHold map[reportKey]verify.Report
}

// reportKey identifies a hold of a workload.
type reportKey struct {
	workload hold.Workload
	holdID   string
}

// keepRolloutReport stores the report of a hold.
func (r *verifyReports) keepRolloutReport(t hold.Workload, id string, report verify.Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.byHold[reportKey{t, id}] = report
}

// takeRolloutReport returns the report of a hold, or nil, and deletes it.
func (r *verifyReports) takeRolloutReport(t hold.Workload, id string) *verify.Report {
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
