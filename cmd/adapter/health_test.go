package main

import (
	"testing"
	"time"
)

func TestWarmup(t *testing.T) {
	t.Parallel()
	type step struct {
		after   time.Duration
		round   bool
		targets int
		ready   bool
	}
	for name, steps := range map[string][]step{
		"a round and three intervals": {{0, false, 5, false}, {time.Second, true, 5, false}, {6 * time.Second, true, 5, false}, {7 * time.Second, true, 5, true}},
		"no targets":                  {{0, false, 0, false}, {time.Second, true, 0, true}},
		"targets that come later":     {{0, true, 0, true}, {time.Second, true, 5, true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var now step
			w := &warmup{interval: 2 * time.Second, round: func() bool { return now.round }, targets: func() int { return now.targets }}
			for _, now = range steps {
				if err := w.test(time.Unix(1000, 0).Add(now.after)); (err == nil) != now.ready {
					t.Errorf("after %v: %v", now.after, err)
				}
			}
		})
	}
}
