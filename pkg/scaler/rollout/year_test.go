// A year in virtual time: schedules, events, edits, pauses, restarts, leader changes and outages, with the invariants of the walks.

package rollout

import (
	"context"
	"flag"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
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

	owed         map[string]string // the messages that holds ever owed, by key
	cache        *staleReader
	apiBack      time.Time
	receiverBack time.Time
}

// checkStatus is called after each write of a status: what is owed stays owed until it is told, and a failure is never forgotten.
func (s *soaker) checkStatus(before, after *hold.Object) {
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

// applyWindow stores the hold of the schedule's window now: a day with a ramp of three steps, and a night.
func (s *soaker) applyWindow() {
	day := time.Date(s.now.Year(), s.now.Month(), s.now.Day(), 0, 0, 0, 0, time.UTC)
	h := hold.Hold{ID: "schedule/hours", By: "scaler", Replicas: 2, Lower: true, Until: day.Add(8 * time.Hour), Notify: []string{"oncall"}}
	switch hour := s.now.Hour(); {
	case hour >= 22:
		h.Until = day.Add(32 * time.Hour)
	case hour >= 8:
		h.Replicas, h.Until, h.Verify = min(int32(hour)-4, 7), day.Add(22*time.Hour), &verify.Spec{URL: "/"}
	}
	if changed, err := s.engine.ApplyHold(s.t.Context(), memoryRef("shop"), h); changed || err != nil {
		s.note("schedule: %d replicas: %v", h.Replicas, err)
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
		delete(s.edits, h.HeldWorkload().Name+" "+fieldMinReplicas) // resumed, it states its number anew
	} else {
		h.Spec.Approved = true
	}
	_, err := s.UpdateHold(s.t.Context(), h)
	s.note("person sets %s: paused %v, approved %v: %v", h.Name, h.Spec.Paused, h.Spec.Approved, err)
}

// replaceLeader starts another process in the place of this one, which dies or hands over.
func (s *soaker) replaceLeader(handsOver bool) {
	if handsOver {
		_ = s.engine.SettleMessages(s.t.Context(), []string{"sale"})
	}
	s.restart()
	s.cache = &staleReader{memoryCluster: s.memoryCluster}
	s.engine.Reader = s.cache
}

// disturb makes one random event of the life.
func (s *soaker) disturb(work *memoryWorkload) {
	switch s.IntN(24) {
	case 0, 1:
		s.applyRandom()
	case 2, 3:
		_, err := s.engine.EndHolds(s.t.Context(), memoryRef(work.name), func(h *hold.Object) bool { return h.HoldID() != "schedule/hours" && s.IntN(2) == 0 })
		s.note("release on %s: %v", work.name, err)
	case 4:
		s.edit(work)
	case 5:
		s.writesLeft, s.afterWrite = s.IntN(8)+1, s.IntN(2) == 0
		s.note("a process that dies after %d writes", s.writesLeft)
		_ = s.pass(s.t.Context())
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
		s.cache.holds, _ = s.memoryCluster.ListHolds(s.t.Context(), "sale")
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
	s.cache.holds = nil
	s.applyWindow()
	s.disturb(work)
	work.follow(s.memoryCluster)
	if err := s.pass(s.t.Context()); err != nil && !s.away {
		s.fail("pass: %v", err)
	}
	if !s.away && s.cache.holds == nil {
		s.checkGates()
		s.checkBounds()
	}
	if len(s.log) > 400 {
		s.log = slices.Clone(s.log[200:])
	}
}

// TestYear lives through the days of -soak-days, and asserts the invariants of the walks; every message that a hold ever owed is told once.
func TestYear(t *testing.T) {
	t.Parallel()
	s := &soaker{
		walker: &walker{bench: newBench(), Rand: rand.New(rand.NewPCG(*soakSeed, 1)), t: t, edits: map[string]*edit{}, was: map[string]int32{}, last: map[string]string{}},
		owed:   map[string]string{},
	}
	s.replaceLeader(false)
	s.gates.plans = map[string]action.Plan{"a": {Steps: []int{10, 50, 100}, Pause: 15 * time.Minute}, "b": {Approval: true}}
	s.addWorkload("cart", 2, hold.ReplicaBounds{})
	s.addWorkload("shop", 3, hold.ReplicaBounds{MinReplicas: 2, MaxReplicas: 12})
	s.was["cart replicas"], s.was["shop minReplicas"], s.was["shop maxReplicas"] = 2, 2, 12
	s.onSet, s.gates.onOpen, s.onStatus = s.checkSet, s.checkOpen, s.checkStatus
	for range *soakDays * 24 * 6 {
		s.live()
	}
	s.away, s.notifier.down, s.cache.holds = false, false, nil
	s.replaceLeader(false) // the queue in memory does not retry what it posted while the receiver was away
	s.end()
	if len(s.owed) < *soakDays {
		t.Errorf("only %d messages in %d days", len(s.owed), *soakDays)
	}
	for key, message := range s.owed {
		if !s.notifier.taken["oncall "+key] {
			t.Errorf("nobody was told: %s", message)
		}
	}
	if n := len(s.engine.verdicts); n > 0 {
		t.Errorf("%d verdicts of holds that are gone", n)
	}
}
