package main

// This file tells the autoscaler's decisions, as `kubectl tachometer explain --since` does.

import (
	"context"
	"fmt"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/explain"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/records"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// sampleScaler is the sample's autoscaler.
const sampleScaler = "sample"

// decisionTeller prints each decision once.
type decisionTeller struct {
	told   time.Time // of the newest decision that was printed
	failed string    // the error that was printed last
}

// stackReader reads as the stack's user.
type stackReader struct{ stack *stack.Stack }

var _ reading.Reader = stackReader{}

// Read implements reading.Reader.
func (r stackReader) Read(ctx context.Context, path string) ([]byte, error) {
	return r.stack.Get(ctx, path)
}

// tellDecisions prints the decisions since the last call that changed the wish.
func (d *demo) tellDecisions(ctx context.Context, s *stack.Stack, teller *decisionTeller) {
	log, err := records.ReadLog(ctx, stackReader{s}, stack.SampleNamespace, sampleScaler, time.Minute)
	if err != nil {
		if text := err.Error(); text != teller.failed && ctx.Err() == nil {
			fmt.Fprintf(d.out, "explain: %s\n", text)
			teller.failed = text
		}
		return
	}
	for _, line := range teller.listNewDecisions(explain.NewLog(log)) {
		fmt.Fprintln(d.out, line)
	}
}

// listNewDecisions returns a line for each decision that is newer than those before and wants another number of pods than there are.
func (t *decisionTeller) listNewDecisions(log *explain.Log) []string {
	var lines []string
	for _, decision := range log.Decisions {
		if decision.Wanted == decision.Replicas || !decision.Time.After(t.told) {
			continue
		}
		t.told = decision.Time
		lines = append(lines, fmt.Sprintf("  %s  %d → %d pods: %s.", decision.Time.UTC().Format("15:04:05"), decision.Replicas, decision.Wanted, plaintext.Clean(decision.Cause)))
	}
	return lines
}
