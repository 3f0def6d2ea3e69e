package main

import (
	"testing"
	"time"
)

func TestWarmup(t *testing.T) {
	t.Parallel()
	type step struct {
		after   time.Duration
		unknown bool // the targets
		round   bool
		targets int
		ready   bool
	}
	for name, steps := range map[string][]step{
		"a round and three intervals":        {{0, false, false, 5, false}, {time.Second, false, true, 5, false}, {6 * time.Second, false, true, 5, false}, {7 * time.Second, false, true, 5, true}},
		"no targets":                         {{0, false, false, 0, false}, {time.Second, false, true, 0, true}},
		"asked before the targets are known": {{0, true, true, 0, false}, {time.Second, false, true, 5, false}, {7 * time.Second, false, true, 5, true}},
		"targets that come later":            {{0, false, true, 0, true}, {time.Second, false, true, 5, true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var now step
			w := &warmupCheck{
				interval: 2 * time.Second, synced: func() bool { return !now.unknown },
				firstRoundDone: func() bool { return now.round }, targets: func() int { return now.targets },
			}
			for _, now = range steps {
				if err := w.checkAdapterProgramWarm(time.Unix(1000, 0).Add(now.after)); (err == nil) != now.ready {
					t.Errorf("after %v: %v", now.after, err)
				}
			}
		})
	}
}
