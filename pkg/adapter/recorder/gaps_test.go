package recorder

import (
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/replay"
)

// recreatePods gives each pod another name, as a rollout does.
func (s *loadedService) recreatePods() {
	n := len(s.pods)
	s.pods = nil
	s.scaleTo(n)
}

// lookWithoutAdapter is a look of which the adapter's replica learns nothing: another replica answers it.
func (s *loadedService) lookWithoutAdapter() {
	kept, recorded := s.recorder, s.recorded
	s.recorder, s.recorded = New(Options{Now: kept.opts.Now}), s
	s.look()
	s.recorder, s.recorded = kept, recorded
}

// TestGapsAreReproduced: the record gives each decision again over restarts, looks that it lacks, edits of the spec and new pods, but for those looks
// that an unrecorded wish may hold: these lie within the controller's memory after a gap, and a replay knows it.
func TestGapsAreReproduced(t *testing.T) {
	t.Parallel()
	decided, afterGap, held, gaps, rollouts, edits := 0, 0, 0, 0, 0, 0
	for seed := range uint64(24) {
		random := newRandom(seed)
		s := newLoadedService(t, "web", Options{MaxRecordBytes: 1 << 20, Directory: t.TempDir()})
		setRandomSpec(random, s)
		s.recorder.ObserveAutoscaler(s.hpa.DeepCopy())
		var ends []time.Time // of gaps
		for range 160 {
			if random.IntN(8) == 0 {
				s.load = float64(random.IntN(2_000_000))
			}
			edits += changeSpecSometimes(random, s)
			switch random.IntN(80) {
			case 0, 3, 4, 5:
				s.recreatePods()
				rollouts++
			case 1:
				if err := s.recorder.saveRecords(); err != nil {
					t.Fatal(err)
				}
				for range random.IntN(4) {
					s.lookWithoutAdapter()
				}
				s.restart()
				s.observeList()
				ends = append(ends, s.now)
			case 2:
				s.lookWithoutAdapter()
				ends = append(ends, s.now)
			}
			s.look()
		}
		gaps += len(ends)
		log := logOf(t, s, noon)
		for i, l := range replay.Reproduce(log, replay.Settings())[1:] {
			memory := replay.Memory(&log.Specs[log.Decisions[i+1].Spec].Spec)
			inMemory := false
			for _, end := range ends {
				isInside := end.Sub(log.Source.UnknownBefore) > 20*time.Second // the first look may come a period after the begin
				inMemory = inMemory || isInside && !l.Time.Before(end.Add(-time.Second)) && l.Time.Sub(end) < memory
			}
			switch {
			case len(log.Decisions[i+1].Reads) == 0: // a status of a look that it lacks
			case l.Missing != "":
				t.Errorf("seed %d, look at %s: missing %q", seed, l.Time, l.Missing)
			case l.AfterGap != inMemory:
				t.Errorf("seed %d, look at %s: soon after a gap is %v, want %v", seed, l.Time, l.AfterGap, inMemory)
			case l.Differs() && !l.AfterGap:
				t.Errorf("seed %d, look at %s: recorded %d, computed %d", seed, l.Time, l.Recorded, l.Computed)
			case l.Differs():
				held++
			case inMemory:
				afterGap++
			default:
				decided++
			}
		}
	}
	t.Logf("%d decisions agree, %d more soon after a gap, of which %d differ; %d gaps, %d rollouts, %d edits", decided, afterGap+held, held, gaps, rollouts, edits)
	if decided < 1500 || gaps < 60 || rollouts < 120 || edits < 200 || held > afterGap/50 {
		t.Error("the looks prove too little")
	}
}
