package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/explain"
	"github.com/tachometer-metrics/tachometer/pkg/replay/replaytest"
	"github.com/tachometer-metrics/tachometer/test/harness/cluster"
)

// TestDecisionsAreToldOnce: each decision that moves pods is one line, however often the record is read.
func TestDecisionsAreToldOnce(t *testing.T) {
	t.Parallel()
	loads := slices.Concat(replaytest.Repeat(90, 2), replaytest.Repeat(400, 4), replaytest.Repeat(120, 24))
	teller := &decisionTeller{}
	var told []string
	for n := 1; n <= len(loads); n++ {
		told = append(told, teller.listNewDecisions(explain.NewLog(replaytest.Log(replaytest.Spec("request_per_second"), loads[:n]...)))...)
	}
	want := []string{
		"  12:00:30  2 → 4 pods: request_per_second 200/s per pod, target 50 → 8; the rate of scale-up permits 4.",
		"  12:00:45  4 → 8 pods: request_per_second 100/s per pod, target 50 → 8.",
		"  12:06:30  8 → 3 pods: request_per_second 15/s per pod, target 50 → 3.",
	}
	if !slices.Equal(told, want) {
		t.Errorf("told:\n%s\nwant:\n%s", strings.Join(told, "\n"), strings.Join(want, "\n"))
	}
}

// TestKeptClusterNamesTheWayOut: a second run with KEEP=1 says how to remove the cluster of the first one.
func TestKeptClusterNamesTheWayOut(t *testing.T) {
	t.Parallel()
	err := adviseOnKeptCluster(fmt.Errorf("start cluster demo: %w (/clusters/demo)", cluster.ErrExists))
	if want := "start cluster demo: cluster runs already (/clusters/demo); an earlier run kept it: make demo-down removes it"; err.Error() != want || !errors.Is(err, cluster.ErrExists) {
		t.Errorf("error %q, want %q", err, want)
	}
	if other := errors.New("no space"); !errors.Is(adviseOnKeptCluster(other), other) {
		t.Errorf("another error is changed: %v", adviseOnKeptCluster(other))
	}
}
