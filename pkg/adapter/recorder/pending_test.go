package recorder

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
)

func countReadsInLog(log *explainapi.DecisionLog) (reads int) {
	for _, d := range log.Decisions {
		reads += len(d.Reads)
	}
	return reads
}

// TestReadDoesNotWaitForRecord: an answer is given while somebody holds the record, as one does who reads the log.
func TestReadDoesNotWaitForRecord(t *testing.T) {
	t.Parallel()
	s := newLoadedService(t, "web", Options{})
	s.load = 100_000
	rec := s.recorder.records[types.NamespacedName{Namespace: "shop", Name: "web"}]
	rec.mu.Lock()
	for range maxPendingAnswers {
		s.read(s.hpa.Spec.Metrics[0]) // waits for ever if it needs the lock
	}
	if n := rec.looks.begin; n != 0 {
		t.Errorf("a read was encoded at %d, before its answer was given", n)
	}
	rec.mu.Unlock()
	if n := countReadsInLog(logOf(t, s, noon)); n != maxPendingAnswers {
		t.Errorf("%d reads in the log, want %d: a log has all that was answered", n, maxPendingAnswers)
	}
	if n := s.recorder.pending.Load(); n != 0 {
		t.Errorf("%d values are still counted as waiting", n)
	}
}

// TestNoAnswerIsLost: more answers than may wait are all recorded, in their order, and before the status that follows them.
func TestNoAnswerIsLost(t *testing.T) {
	t.Parallel()
	for name, bound := range map[string]func(*loadedService){
		"one record":  func(*loadedService) {},
		"all records": func(s *loadedService) { s.recorder.pending.Store(maxPendingValues - 10) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newLoadedService(t, "web", Options{})
			bound(s)
			const reads = 3*maxPendingAnswers + 5
			for i := range reads {
				s.load = float64(i+1) * 1000
				s.read(s.hpa.Spec.Metrics[0])
				s.now = s.now.Add(15 * time.Second)
				if n := len(s.recorder.records[types.NamespacedName{Namespace: "shop", Name: "web"}].answers); n > maxPendingAnswers {
					t.Fatalf("%d answers wait", n)
				}
			}
			s.hpa.Status.DesiredReplicas = 7
			s.recorder.ObserveAutoscaler(s.hpa.DeepCopy())
			log := logOf(t, s, noon)
			if n := countReadsInLog(log); n != reads {
				t.Errorf("%d reads in the log, want %d", n, reads)
			}
			for i := 1; i < len(log.Decisions); i++ {
				if log.Decisions[i].Time.Before(log.Decisions[i-1].Time) {
					t.Errorf("the decision at %s comes after the one at %s", log.Decisions[i].Time, log.Decisions[i-1].Time)
				}
			}
			if last := log.Decisions[len(log.Decisions)-1]; last.Status == nil || last.Status.DesiredReplicas != 7 {
				t.Errorf("the newest decision is %+v, want the status with 7 replicas", last)
			}
		})
	}
}

// TestForgottenAnswers: with its autoscaler go the answers that wait, and nothing of them stays counted.
func TestForgottenAnswers(t *testing.T) {
	t.Parallel()
	s := newLoadedService(t, "web", Options{})
	rec := s.recorder.records[types.NamespacedName{Namespace: "shop", Name: "web"}]
	s.read(s.hpa.Spec.Metrics[0])
	if s.recorder.pending.Load() == 0 {
		t.Fatal("no answer waits: the test proves nothing")
	}
	s.recorder.ForgetAutoscaler("shop", "web")
	s.recorder.queueOrEncodeAnswer(rec, pendingAnswer{at: noon, values: 3}) // of a read that found the record before
	if n := s.recorder.pending.Load(); n != 0 || len(rec.answers) != 0 {
		t.Errorf("%d values are counted as waiting, and %d answers wait", n, len(rec.answers))
	}
}

// TestRunEncodes: answers do not wait for a reader of the log.
func TestRunEncodes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newLoadedService(t, "web", Options{})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.recorder.Run(ctx) }()
		for range 3 {
			s.read(s.hpa.Spec.Metrics[0])
			time.Sleep(encodeInterval) //nolint:forbidigo // in a synctest bubble
			synctest.Wait()
			if n := s.recorder.pending.Load(); n != 0 {
				t.Errorf("%d values still wait after a round", n)
			}
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestConcurrentAnswers: reads, statuses, logs and rounds at once lose nothing. The race detector watches.
func TestConcurrentAnswers(t *testing.T) {
	t.Parallel()
	s := newLoadedService(t, "web", Options{})
	rec := s.recorder.records[types.NamespacedName{Namespace: "shop", Name: "web"}]
	const readers, reads = 4, 200
	var all sync.WaitGroup
	for range readers {
		all.Go(func() {
			for i := range reads {
				s.recorder.queueOrEncodeAnswer(rec, pendingAnswer{at: noon.Add(time.Duration(i) * time.Second), err: "no value"})
			}
		})
	}
	all.Go(func() {
		for range reads {
			s.recorder.encodeAllPendingAnswers()
		}
	})
	all.Go(func() {
		for range reads / 10 {
			if _, err := s.recorder.Log(rec.key, noon); err != nil {
				t.Error(err)
			}
		}
	})
	all.Wait()
	if n := countReadsInLog(logOf(t, s, time.Time{})); n != readers*reads {
		t.Errorf("%d reads in the log, want %d", n, readers*reads)
	}
}
