// A year in virtual time: schedules, events, edits, pauses, restarts, leader changes and outages, with the invariants of the walks.

package rollout

import (
	"context"
	"encoding/json"
	"flag"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/schedule"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

var (
	soakDays = flag.Int("soak-days", 7, "days of the scaler's life in virtual time")
	soakSeed = flag.Uint64("soak-seed", 1, "seed of the scaler's life")
)

// staleReader lists the holds as they were a moment ago, as a cache that is late does.
type staleReader struct {
	*memoryCluster

	holds []hold.Object
}

func (r *staleReader) ListHolds(ctx context.Context, namespace string) ([]hold.Object, error) {
	if r.holds == nil {
		return r.memoryCluster.ListHolds(ctx, namespace)
	}
	return r.holds, nil
}

// soaker is a walker with a life of its own.
type soaker struct {
	*walker

	schedules    []schedule.Schedule
	owed         map[string]string // the messages that holds ever owed, by key
	deaths       int               // of processes that may have sent a message without a note of it
	arrived      map[string]int    // the deaths before each message that arrived, by notifier and key
	repeated     int
	reader       *staleReader
	apiBack      time.Time
	receiverBack time.Time
}

// checkStatus is called after each write of a status: what is owed stays owed until it is told, and a failure is never forgotten.
func (s *soaker) checkStatus(before, after *hold.Object) {
	s.noteStatus(before, after)
	for _, m := range after.Status.Outbox {
		s.owed[m.Key] = after.Name + " " + m.Outcome
	}
	for _, m := range before.Status.Outbox {
		if !slices.ContainsFunc(after.Status.Outbox, func(other hold.OutboxMessage) bool { return other.Key == m.Key }) && !s.notifier.taken["oncall "+m.Key] {
			s.fail("%s forgets %s, and nobody was told", after.Name, m.Key)
		}
	}
	failed := string(hold.RolledBack)
	if before.Status.State == hold.RolledBack && after.Status.State != hold.RolledBack && len(before.Spec.Notify) > 0 && !slices.Contains(before.Status.Told, failed) &&
		!slices.ContainsFunc(after.Status.Outbox, func(m hold.OutboxMessage) bool { return m.Outcome == failed }) {
		s.fail("%s failed, and goes on without a word", after.Name)
	}
}

// yearSchedules are in two zones with daylight saving at other dates, with windows in the hours that the clocks skip and repeat, windows over each other,
// ramps, holidays with windows that stand in, and a season.
const yearSchedules = `
apiVersion: config.tachometer.dev/v1alpha1
kind: ScalerConfig
schedules:
- name: hours
  namespace: sale
  workloads: [deploy/shop]
  zone: Europe/Berlin
  notify: [oncall]
  windows:
  - {name: day, start: "08:00", end: "22:00", days: [mon-fri], minReplicas: 7, ramp: {over: 1h, steps: 3}}
  - {name: night, start: "22:00", end: "08:00", minReplicas: 2}
  - {name: weekend, start: "08:00", end: "22:00", days: [sat, sun], minReplicas: 4, maxReplicas: 14}
  - {name: lunch, cron: "30 11 * * 1-5", for: 2h, minReplicas: 9}
  - {name: clocks, cron: "15 2 * * 0", for: 1h30m, minReplicas: 6}
  - {name: season, from: "2027-06-01 00:00", to: "2027-07-01 00:00", minReplicas: 3}
  except: [2026-12-25, {date: 2026-12-31, use: weekend}, {date: 2027-01-01, use: none}, 2027-03-26, 2027-03-29, 2027-10-31]
- name: trade
  namespace: sale
  workloads: [deploy/shop, deploy/cart]
  zone: America/New_York
  notify: [oncall]
  windows:
  - {name: open, start: "09:30", end: "16:00", days: [mon-fri], minReplicas: 5}
  - {name: clocks, cron: "30 1 * * 0", for: 2h, minReplicas: 8, ramp: {over: 30m, steps: 2}}
  except: [2026-11-26, 2027-07-05]
`

// loadYearSchedules returns the schedules of the year.
func loadYearSchedules(t *testing.T) []schedule.Schedule {
	t.Helper()
	all, err := schedule.LoadCalendar([]byte(yearSchedules))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// applySchedules stores the holds of the schedules' windows now, and ends the others, as the controller does each minute.
func (s *soaker) applySchedules() {
	applied := map[string]bool{}
	for i := range s.schedules {
		for _, t := range s.schedules[i].Workloads {
			if w, on := s.activeWindow(&s.schedules[i], t); on {
				h := newYearHold(&s.schedules[i], w)
				applied[hold.ObjectName(t, h.ID)] = true
				if changed, err := s.engine.ApplyHold(s.t.Context(), t, h); changed || err != nil {
					s.note("%s on %s, window %s: %d replicas: %v", h.ID, t.Name, h.Reason, h.Replicas, err)
				}
			}
		}
	}
	for _, name := range []string{"shop", "cart"} {
		_, _ = s.engine.EndHolds(s.t.Context(), memoryRef(name), func(h *hold.Object) bool {
			return strings.HasPrefix(h.HoldID(), hold.SchedulePrefix) && h.DeletionTimestamp == nil && !applied[h.Name] && !h.IsPaused(s.now)
		})
	}
}

// activeWindow returns the window of a schedule for a workload now. A ramp from nothing begins at the workload's own number.
func (s *soaker) activeWindow(own *schedule.Schedule, t hold.Workload) (schedule.ActiveWindow, bool) {
	var others []*schedule.Schedule
	for i := range s.schedules {
		if slices.ContainsFunc(s.schedules[i].Workloads, t.IsSameObject) {
			others = append(others, &s.schedules[i])
		}
	}
	w, on := own.ActiveBeside(others, s.now)
	was, known, err := s.engine.GetOriginalReplicas(s.t.Context(), t, s.now)
	switch {
	case !on || err != nil || !known:
		return w, on
	case own.RampsBesideWindow(others, s.now):
		w, on = own.ActiveFrom(others, s.now, was)
	default:
		w = w.From(was)
	}
	w.Ramping = false
	return w, on
}

// newYearHold returns the hold of a schedule's window.
func newYearHold(s *schedule.Schedule, w schedule.ActiveWindow) hold.Hold {
	return hold.Hold{
		ID: hold.SchedulePrefix + s.Name, Reason: w.Window, By: "scaler", Replicas: w.Replicas, MinReplicas: w.MinReplicas, MaxReplicas: w.MaxReplicas, Lower: !w.Ramping,
		Until: w.Until.Add(hold.WindowOverlap), WindowStart: w.Start, Notify: s.Notify, Verify: &verify.Spec{URL: "/"},
	}
}

// pauseOrApprove changes the pause or the approval of a random hold, as a person does.
func (s *soaker) pauseOrApprove() {
	all, _ := s.memoryCluster.ListHolds(s.t.Context(), "sale")
	if len(all) == 0 {
		return
	}
	h := &all[s.IntN(len(all))]
	if h.DeletionTimestamp != nil {
		return
	}
	if s.IntN(2) == 0 {
		h.Spec.Paused = !h.Spec.Paused
		s.forgetEdits(h.HeldWorkload().Name) // resumed, it states its number anew
	} else {
		h.Spec.Approved = true
	}
	_, err := s.UpdateHold(s.t.Context(), h)
	s.note("person sets %s: paused %v, approved %v: %v", h.Name, h.Spec.Paused, h.Spec.Approved, err)
}

// forgetEdits forgets the edits of a workload.
func (s *soaker) forgetEdits(workload string) {
	for _, field := range []string{fieldMinReplicas, fieldMaxReplicas, fieldReplicas} {
		delete(s.edits, workload+" "+field)
	}
}

// replaceLeader starts another process in the place of this one, which dies or hands over.
func (s *soaker) replaceLeader(handsOver bool) {
	if handsOver && s.away {
		s.deaths++ // it cannot note what it sent
	}
	if handsOver {
		_ = s.engine.SettleMessages(s.t.Context(), []string{"sale"})
	}
	s.restart()
	s.reader = &staleReader{memoryCluster: s.memoryCluster}
	s.engine.Reader = s.reader
}

// disturb makes one random event of the life.
func (s *soaker) disturb(work *memoryWorkload) {
	switch s.IntN(26) {
	case 0, 1:
		s.applyRandom()
	case 2, 3:
		_, err := s.engine.EndHolds(s.t.Context(), memoryRef(work.name), func(h *hold.Object) bool {
			return !strings.HasPrefix(h.HoldID(), hold.SchedulePrefix) && s.IntN(2) == 0
		})
		s.note("release on %s: %v", work.name, err)
	case 4:
		if !s.away { // a person needs the API server too
			s.edit(work)
		}
	case 5:
		s.writesLeft, s.afterWrite = s.IntN(8)+1, s.IntN(2) == 0
		s.note("a process that dies after %d writes", s.writesLeft)
		_ = s.pass(s.t.Context())
		s.deaths++
		s.replaceLeader(false)
	case 6:
		s.replaceLeader(true)
	case 7:
		s.apiBack = s.now.Add(time.Duration(s.IntN(120)) * time.Minute)
	case 8:
		s.receiverBack = s.now.Add(time.Duration(s.IntN(240)) * time.Minute)
	case 9:
		work.setReady(s.memoryCluster, int32(s.IntN(int(work.replicas)+1)))
	case 10, 11:
		s.pauseOrApprove()
	case 12:
		s.checker.passed = s.IntN(4) > 0
	case 13:
		s.reader.holds, _ = s.memoryCluster.ListHolds(s.t.Context(), "sale")
	case 15:
		_, err := s.engine.PauseWorkload(s.t.Context(), memoryRef(work.name), "soak", s.now.Add(time.Duration(s.IntN(12))*time.Hour))
		s.note("person pauses %s: %v", work.name, err)
	case 14:
		s.now = s.now.Add(time.Duration(s.IntN(300)) * time.Second)
	}
}

// live makes ten minutes of the life.
func (s *soaker) live() {
	s.now = s.now.Add(10 * time.Minute)
	s.away, s.notifier.down = s.now.Before(s.apiBack), s.now.Before(s.receiverBack)
	work := s.workloads[[]string{"shop", "cart"}[s.IntN(2)]]
	if s.IntN(4) > 0 {
		work.setReady(s.memoryCluster, work.replicas)
	}
	s.reader.holds = nil
	s.applySchedules()
	s.disturb(work)
	work.follow(s.memoryCluster)
	if err := s.pass(s.t.Context()); err != nil && !s.away {
		s.fail("pass: %v", err)
	}
	if !s.away && s.reader.holds == nil {
		s.checkGates()
		s.checkBounds()
	}
	s.checkMemory()
	if len(s.log) > 400 {
		s.log = slices.Clone(s.log[200:])
	}
}

// The bounds of what a scaler keeps: two workloads have few holds, and a hold few outcomes.
const (
	maxYearHolds       = 20
	maxYearStatusBytes = 16 << 10
)

// checkMemory is called at any time: neither the holds nor their statuses nor the process grow.
func (s *soaker) checkMemory() {
	if results := s.engine.countResults(); len(s.holds) > maxYearHolds || !s.away && results > len(s.holds) {
		s.fail("%d holds, %d results of holds", len(s.holds), results)
	}
	for _, h := range s.holds {
		if text, err := json.Marshal(h.Status); err != nil || len(text) > maxYearStatusBytes {
			s.fail("the status of %s has %d bytes: %v", h.Name, len(text), err)
		}
	}
}

// countResults counts the verdicts and readings that the process keeps.
func (e *Engine) countResults() (n int) {
	for _, r := range e.results {
		n += len(r.verdicts) + len(r.readings)
	}
	return n
}

// checkArrival is called with each message that arrives: one comes again only after a process died, which may have had no time to note it.
func (s *soaker) checkArrival(address string, isNew bool) {
	if isNew {
		s.arrived[address] = s.deaths
		return
	}
	if s.repeated++; s.arrived[address] == s.deaths {
		s.fail("message %s comes again, and no process has died since", address)
	}
}

// checkToldOnce is called at the end: the receiver has each message that was ever owed.
func (s *soaker) checkToldOnce() {
	for key, message := range s.owed {
		if _, told := s.arrived["oncall "+key]; !told {
			s.t.Errorf("nobody was told: %s", message)
		}
	}
	s.t.Logf("%d messages, %d again after one of %d deaths", len(s.owed), s.repeated, s.deaths)
}

// TestYear lives through the days of -soak-days, and asserts the invariants of the walks; every message that a hold ever owed is told once.
func TestYear(t *testing.T) {
	t.Parallel()
	s := &soaker{walker: newWalker(t, *soakSeed, 1), schedules: loadYearSchedules(t), owed: map[string]string{}, arrived: map[string]int{}}
	s.replaceLeader(false)
	s.gates.plans = map[string]action.Plan{"a": {Steps: []int{10, 50, 100}, Pause: 15 * time.Minute}, "b": {Approval: true}}
	s.addOldWorkload("cart", 2, hold.ReplicaBounds{})
	s.addOldWorkload("shop", 3, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 12})
	s.was["cart replicas"], s.was["shop minReplicas"], s.was["shop maxReplicas"] = 2, 2, 12
	s.onSet, s.onStatus, s.notifier.onArrival = s.checkSet, s.checkStatus, s.checkArrival
	for range *soakDays * 24 * 6 {
		s.live()
	}
	s.away, s.notifier.down, s.reader.holds = false, false, nil
	s.replaceLeader(false) // the queue in memory does not retry what it posted while the receiver was away
	s.end()
	if len(s.owed) < *soakDays {
		t.Errorf("only %d messages in %d days", len(s.owed), *soakDays)
	}
	s.checkToldOnce()
	if n := s.engine.countResults(); n > 0 {
		t.Errorf("%d results of holds that are gone", n)
	}
}
