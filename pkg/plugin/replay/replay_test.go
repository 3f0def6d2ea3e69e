package replay

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/golden"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
	"github.com/tachometer-metrics/tachometer/pkg/replay/replaytest"
)

// TestPrint: the recorded spec gives its decisions again, and another spec has other numbers.
func TestPrint(t *testing.T) {
	t.Parallel()
	loads := slices.Concat(replaytest.Repeat(90, 4), replaytest.Repeat(400, 20), replaytest.Repeat(120, 60), replaytest.Repeat(300, 10))
	log := replaytest.Log(replaytest.Spec("request_per_second"), loads...)
	other := replaytest.Spec("request_per_second")
	other.MaxReplicas = 6
	other.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleDown: &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: new(int32(60))}}
	c, err := Compare(log, &other)
	if err != nil {
		t.Fatal(err)
	}
	if c.Reproduced != len(loads) || len(c.NotReproduced) > 0 {
		t.Errorf("%d of %d decisions are given again", c.Reproduced, len(loads))
	}
	var out bytes.Buffer
	if err := c.Print(&out, output.TableOptions{}); err != nil {
		t.Fatal(err)
	}
	golden.Compare(t, "testdata/other.golden", out.String())
}

// TestSecondsShortInJSON: a program reads the seconds of both specs.
func TestSecondsShortInJSON(t *testing.T) {
	t.Parallel()
	other := replaytest.Spec("request_per_second")
	other.MaxReplicas = 6
	c, err := Compare(replaytest.Log(replaytest.Spec("request_per_second"), 90, 400, 400, 400), &other)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := output.PrintTemplate(&out, "{.recorded.secondsShort} {.other.secondsShort}", "Replay", c); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != "15 30" {
		t.Errorf("%q seconds short, want 15 30", got)
	}
}

// TestReturningDifferences: a difference that comes again after looks without one is listed again.
func TestReturningDifferences(t *testing.T) {
	t.Parallel()
	at := func(look int) Difference {
		return Difference{Time: time.Date(2026, 11, 28, 12, look, 0, 0, time.UTC), Recorded: 4, Computed: 3, look: look}
	}
	var out bytes.Buffer
	if err := (&Comparison{Differences: []Difference{at(1), at(2), at(30), at(31)}}).Print(&out, output.TableOptions{NoHeaders: true}); err != nil {
		t.Fatal(err)
	}
	if got := regexp.MustCompile(`12:\d\d:00`).FindAllString(out.String(), -1); !slices.Equal(got, []string{"12:01:00", "12:30:00"}) {
		t.Errorf("differences listed at %v in\n%s", got, out.String())
	}
}

// TestEmptyRecord: without a decision there is nothing to compare, and the error says from when on the record knows.
func TestEmptyRecord(t *testing.T) {
	t.Parallel()
	_, err := Compare(replaytest.Log(replaytest.Spec("request_per_second")), nil)
	if want := "there is no recorded decision of hpa/web in this time; the record is unknown before 2026-11-28 12:00:00 UTC"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// TestLooksAfterGapAreNotJudged: a look that an unrecorded wish may decide is not called different. Without the gap it is.
func TestLooksAfterGapAreNotJudged(t *testing.T) {
	t.Parallel()
	for _, hasGap := range []bool{true, false} {
		log := replaytest.Log(replaytest.Spec("request_per_second"), slices.Concat(replaytest.Repeat(90, 4), replaytest.Repeat(400, 8), replaytest.Repeat(120, 10))...)
		log.Decisions[20].Status.DesiredReplicas = 9
		if hasGap {
			log.Source.Gaps = []explainapi.Gap{{From: replaytest.Begin, Until: log.Decisions[12].Time}}
		}
		c, err := Compare(log, nil)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := c.Print(&out, output.TableOptions{}); err != nil {
			t.Fatal(err)
		}
		want := "gives 21 of 21 recorded decisions again.\nNot judged, since the record has a gap before them: 1 look.\n"
		if !hasGap {
			want = "gives 21 of 22 recorded decisions again.\n"
		}
		if !strings.Contains(out.String(), want) || strings.Contains(out.String(), "Not given again") == hasGap {
			t.Errorf("with a gap: %v\n%s", hasGap, out.String())
		}
	}
}

// TestReplayTellsItsBegin: a replay says from when on the record knows, and its times have dates where they are of two days.
func TestReplayTellsItsBegin(t *testing.T) {
	t.Parallel()
	log := replaytest.Log(replaytest.Spec("request_per_second"), 90, 400, 400, 400)
	other := replaytest.Spec("request_per_second")
	other.MaxReplicas = 6
	for i := range log.Decisions {
		log.Decisions[i].Time = log.Decisions[i].Time.Add(12*time.Hour - 20*time.Second)
	}
	c, err := Compare(log, &other)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := c.Print(&out, output.TableOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"hpa/web from 2026-11-28 23:59:40 to 2026-11-29 00:00:25 UTC: 4 looks, ",
		"\nRecorded by tachometer-adapter-1; unknown before 2026-11-28 12:00:00 UTC.\n",
		"\n2026-11-29 00:00:10   ",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}
