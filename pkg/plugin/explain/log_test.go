package explain

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/golden"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
	"github.com/tachometer-metrics/tachometer/pkg/replay/replaytest"
)

// TestLog: each decision has its cause, and looks that decide the same are one line.
func TestLog(t *testing.T) {
	t.Parallel()
	log := replaytest.Log(replaytest.Spec("request_per_second"), slices.Concat(
		replaytest.Repeat(90, 4), replaytest.Repeat(400, 4), []float64{-1}, replaytest.Repeat(120, 24), replaytest.Repeat(900, 3))...)
	var out bytes.Buffer
	if err := NewLog(log).Print(&out, output.TableOptions{}); err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, "testdata/log.golden", out.String())
}

// TestLogTellsDifferences: a decision that its inputs do not give says so.
func TestLogTellsDifferences(t *testing.T) {
	t.Parallel()
	log := replaytest.Log(replaytest.Spec("request_per_second"), replaytest.Repeat(90, 2)...)
	log.Decisions[1].Status.DesiredReplicas = 5
	d := NewLog(log).Decisions
	if len(d) != 2 || !strings.Contains(d[1].Cause, "by its inputs it would be 2") {
		t.Errorf("decisions %+v", d)
	}
	log.Source.Gaps = []explainapi.Gap{{From: replaytest.Begin, Until: log.Decisions[1].Time}}
	if d = NewLog(log).Decisions; len(d) != 2 || !strings.HasSuffix(d[1].Cause, "; not judged: the record has a gap") {
		t.Errorf("decisions soon after a gap %+v", d)
	}
}

// TestLogOfFailedScale: a look whose number could not be written says why, and is no difference.
func TestLogOfFailedScale(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]string{
		"the HPA controller was unable to update the target scale: admission webhook denied the request": "; 4 could not be written: admission webhook denied the request",
		"": "; 4 could not be written: FailedUpdateScale",
	} {
		log := replaytest.Log(replaytest.Spec("request_per_second"), 90, 200)
		s := log.Decisions[1].Status
		s.DesiredReplicas, s.Conditions = 2, []explainapi.Condition{{Type: "AbleToScale", Status: "False", Reason: "FailedUpdateScale", Message: message}}
		if d := NewLog(log).Decisions; len(d) != 2 || d[1].Wanted != 2 || !strings.HasSuffix(d[1].Cause, want) {
			t.Errorf("decisions %+v, want the cause %q", d, want)
		}
	}
}

// TestLogFromZero: with no pods the log shows the total, and no infinite share.
func TestLogFromZero(t *testing.T) {
	t.Parallel()
	for total, want := range map[int64]string{
		330_000: "orders_waiting 330 over 0 pods, target 50 → 7; the rate of scale-up permits 4",
		0:       "orders_waiting 0 over 0 pods, target 50 → 0",
	} {
		d := NewLog(replaytest.ZeroLog(total)).Decisions[1]
		if d.Cause != want {
			t.Errorf("cause %q, want %q", d.Cause, want)
		}
		if text := fmt.Sprint(d.Metrics[0].Ratio, d.Metrics[0].Steps); strings.Contains(text, "Inf") || strings.Contains(text, "NaN") {
			t.Errorf("metric %s", text)
		}
	}
}

// TestLogFromTheMiddle: numbers before the first known status are unknown, and not 0.
func TestLogFromTheMiddle(t *testing.T) {
	t.Parallel()
	log := replaytest.Log(replaytest.Spec("request_per_second"), replaytest.Repeat(90, 4)...)
	log.Decisions[0].Status, log.Decisions[1].Status = nil, nil
	var out bytes.Buffer
	if err := NewLog(log).Print(&out, output.TableOptions{NoHeaders: true}); err != nil {
		t.Fatal(err)
	}
	if want := "12:00:00   2   ?   ?   not computed: the status is not known\n"; !strings.HasPrefix(out.String(), want) {
		t.Errorf("got\n%s\nwant first %s", out.String(), want)
	}
}

// TestRecordedWish: with the adapter's record, the sentence names the wish that holds and its end. Without it, the reason is told.
func TestRecordedWish(t *testing.T) {
	t.Parallel()
	e := &Explanation{}
	e.addRecordedRead(Recorded{Missing: "the adapter is older"})
	if !strings.Contains(e.Unknown[0], "the record cannot be read: the adapter is older") {
		t.Errorf("unknown %q", e.Unknown)
	}
	away := explainapi.Source{Replica: "a", UnknownBefore: replaytest.Begin, Replicas: []explainapi.ReplicaRecord{{Name: "a", UnknownBefore: replaytest.Begin}, {Name: "b", Error: "connection refused"}}}
	partly := &Explanation{}
	partly.addRecordedRead(Recorded{Explanation: &explainapi.Explanation{Source: away, Computed: &explainapi.Computed{}}})
	if want := "b gave no record (connection refused): looks whose reads reached it are missing"; partly.Unknown[0] != want {
		t.Errorf("unknown %q, want first %q", partly.Unknown, want)
	}
	held := &explainapi.HeldWish{Replicas: 9, Time: replaytest.Begin, Until: replaytest.Begin.Add(replaytest.Period * 20)}
	l := load{rates: []string{"38", "38", "38", "38", "38", "38", "38", "38", "38"}, wanted: 9, reasons: []string{"ScaleDownStabilized", "ValidMetricFound"}, recorded: Recorded{
		Explanation: &explainapi.Explanation{Source: explainapi.Source{Replica: "tachometer-adapter-1", UnknownBefore: replaytest.Begin}, Computed: &explainapi.Computed{Holding: held}},
	}}
	if got, want := l.explain(t).Sentence, "scale-down waits until 12:05:00 UTC for the 9 wanted at 12:00:00."; !strings.HasSuffix(got, want) {
		t.Errorf("sentence %q, want its end %q", got, want)
	}
}

// TestLogOfAnotherDay: times of another day than the present have their dates.
func TestLogOfAnotherDay(t *testing.T) {
	t.Parallel()
	log := replaytest.Log(replaytest.Spec("request_per_second"), 90, 400)
	log.Source.Time = replaytest.Begin.Add(24 * time.Hour)
	var out bytes.Buffer
	if err := NewLog(log).Print(&out, output.TableOptions{NoHeaders: true}); err != nil {
		t.Fatal(err)
	}
	if want := "2026-11-28 12:00:00   1   2   2 "; !strings.HasPrefix(out.String(), want) {
		t.Errorf("got\n%s\nwant first %s", out.String(), want)
	}
}

// TestExplainedAmounts: an amount has the unit of its target, and a rate is a number per second.
func TestExplainedAmounts(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		metric, target string
		milli          int64
		want           string
	}{
		{"cpu of pods", "50m", 61, "61m"}, {"jobs of pods", "10", 12500, "12.5"}, {"request_per_second of pods", "100m", 343, "0.343/s"}, {"request_per_second of pods", "50", 343000, "343/s"},
	} {
		m := MetricSteps{Name: tc.metric, Target: tc.target}
		if got := m.formatExplainedAmount(tc.milli); got != tc.want {
			t.Errorf("%d of %s beside %s: %s, want %s", tc.milli, tc.metric, tc.target, got, tc.want)
		}
	}
}
