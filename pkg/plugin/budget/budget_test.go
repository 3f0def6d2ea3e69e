package budget

import (
	"bytes"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/golden"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
	"github.com/tachometer-metrics/tachometer/pkg/replay/replaytest"
)

// TestMeasure: each stage is measured from the record, and the longest is named.
func TestMeasure(t *testing.T) {
	t.Parallel()
	log := replaytest.Log(replaytest.Spec("request_per_second"), slices.Concat(replaytest.Repeat(90, 4), replaytest.Repeat(200, 4))...)
	b := Measure(log)
	want := []Stage{
		{Sample, 8, 400 * time.Millisecond, 600 * time.Millisecond},
		{Period, 7, 15 * time.Second, 15 * time.Second},
		{Decision, 1, 40 * time.Millisecond, 40 * time.Millisecond},
		{Start, 2, 6 * time.Second, 6 * time.Second},
	}
	if diff := cmp.Diff(want, b.Stages); diff != "" || b.Longest != Period {
		t.Errorf("longest %s, stages (-want +got):\n%s", b.Longest, diff)
	}
	var out bytes.Buffer
	if err := Print(&out, []Budget{b, {Name: "idle", Stages: Measure(replaytest.Log(replaytest.Spec("x"))).Stages}}, output.TableOptions{}); err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, "testdata/budget.golden", out.String())
}

// TestGapsAreNoPeriods: a gap of the record is not the controller's period.
func TestGapsAreNoPeriods(t *testing.T) {
	t.Parallel()
	log := replaytest.Log(replaytest.Spec("request_per_second"), replaytest.Repeat(90, 20)...)
	log.Decisions = slices.Delete(log.Decisions, 5, 15)
	if s := Measure(log).Stages[1]; s.Count != 8 || s.P95 != 15*time.Second {
		t.Errorf("period %+v", s)
	}
}

// TestClocksApart: times that run backwards are no reaction times.
func TestClocksApart(t *testing.T) {
	t.Parallel()
	log := replaytest.Log(replaytest.Spec("request_per_second"), 90, 400, 400)
	log.Decisions[1].Time = log.Decisions[0].Time.Add(-time.Second)
	log.Decisions[1].WrittenAfter = &metav1.Duration{Duration: -time.Minute}
	log.Decisions[2].Status = nil
	for _, s := range Measure(log).Stages {
		if s.P50 < 0 || s.Name == Decision && s.Count != 0 {
			t.Errorf("stage %+v", s)
		}
	}
}

// TestAgesOfFiles: an age that no duration holds is bounded.
func TestAgesOfFiles(t *testing.T) {
	t.Parallel()
	for _, millis := range []int64{math.MaxInt64, math.MaxInt64/1_000_000 + 1, 13_000_000_000_000} {
		if got, found := findOldestSample(explainapi.Read{Values: []explainapi.Value{{AgeMillis: millis}}}); got != maxSampleAge || !found {
			t.Errorf("%d ms: %v, %t; want %v", millis, got, found, maxSampleAge)
		}
	}
}
