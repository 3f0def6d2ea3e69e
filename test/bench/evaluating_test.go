package main

import (
	"io"
	"strings"
	"testing"
	"time"
)

// TestEvaluating: every evaluator finds all values, and the report has a row for each.
func TestEvaluating(t *testing.T) {
	t.Parallel()
	e := &evaluating{series: []int{3, 10}, samples: 45, steady: time.Millisecond, log: io.Discard, now: time.Now()}
	all, err := e.measureEvaluators(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if text := e.formatEvaluating(all); strings.Count(text, "\n| 3 |") != 3 || strings.Count(text, "\n| 10 |") != 3 {
		t.Error(text)
	}
}
