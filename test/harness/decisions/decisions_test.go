package decisions

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/replay/replaytest"
)

// newRisingLog returns the record of an autoscaler that goes from 2 to 8 pods and back to 3.
func newRisingLog() *explainapi.DecisionLog {
	loads := append(replaytest.Repeat(90, 4), replaytest.Repeat(400, 8)...)
	return replaytest.Log(replaytest.Spec("request_per_second"), append(loads, replaytest.Repeat(120, 40)...)...)
}

func TestJudge(t *testing.T) {
	t.Parallel()
	const all = 52
	if v := Judge(newRisingLog(), time.Time{}); v.Agreed != all || len(v.Differences) != 0 {
		t.Errorf("an honest record: %v", v)
	}
	if v := Judge(newRisingLog(), replaytest.Begin.Add(40*replaytest.Period)); v.Agreed != all-40 {
		t.Errorf("the end of an honest record: %v", v)
	}
	log := newRisingLog()
	log.Decisions[45].Status.DesiredReplicas = 10
	if v := Judge(log, time.Time{}); len(v.Differences) != 1 || !strings.Contains(v.Differences[0], "the controller decided 10, by the record it would be 3") {
		t.Errorf("a decision that no input gives: %v %v", v, v.Differences)
	} else if !strings.Contains(v.Differences[0], `"desiredReplicas":10`) {
		t.Errorf("a difference without its status: %s", v.Differences[0])
	}
	log.Decisions[40].Reads = nil
	if v := Judge(log, time.Time{}); v.Unrecorded != 1 || v.Remembered != 1 || len(v.Differences) != 0 {
		t.Errorf("the same after a look that is not recorded: %v %v", v, v.Differences)
	} else if got := v.ListReasons(); len(got) != 1 || got[0] != "1 not judged: no read of request_per_second is in the record" {
		t.Errorf("reasons %q", got)
	}
}

// TestJudgeGivenUp: a look that the controller gave up, as its status tells, keeps the wish of before, whatever the adapter saw of it.
func TestJudgeGivenUp(t *testing.T) {
	t.Parallel()
	const given = 20
	for name, c := range map[string]struct {
		change func(*explainapi.Status)
		want   Verdict
	}{
		"no read reached the adapter": {func(*explainapi.Status) {}, Verdict{Agreed: 40}},
		"another wish":                {func(s *explainapi.Status) { s.DesiredReplicas = 5 }, Verdict{Agreed: 39, Unrecorded: 1}}, // a watch may have shown two statuses as one
		"no scale": {func(s *explainapi.Status) {
			s.Conditions = []explainapi.Condition{{Type: "AbleToScale", Status: "False", Reason: "FailedGetScale"}, {Type: "ScalingActive", Status: "True", Reason: "ValidMetricFound"}}
		}, Verdict{Agreed: 40}},
		"a look with a wish": {func(s *explainapi.Status) {
			s.Conditions = []explainapi.Condition{{Type: "AbleToScale", Status: "True"}, {Type: "ScalingActive", Status: "True", Reason: "ValidMetricFound"}}
		}, Verdict{Agreed: 39, Unrecorded: 1}},
	} {
		log := replaytest.Log(replaytest.Spec("request_per_second"), slices.Concat(replaytest.Repeat(200, given), []float64{-1}, replaytest.Repeat(200, 19))...)
		look := &log.Decisions[given]
		look.Reads, look.WrittenAfter = nil, nil
		status := *look.Status
		c.change(&status)
		look.Status = &status
		v := Judge(log, time.Time{})
		if v.Agreed != c.want.Agreed || v.Unrecorded != c.want.Unrecorded || len(v.Differences) != len(c.want.Differences) || v.Decisions() != 40 {
			t.Errorf("%s: %v %v", name, v, v.Differences)
		}
	}
}

// TestJudgeSpecChange: a floor that is raised between the controller's read and its decision explains the number below it, and no other.
func TestJudgeSpecChange(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		decided              int32
		changed, differences int
	}{
		"by the spec before":    {3, 1, 0},
		"by the spec after":     {7, 0, 0},
		"by none of both specs": {5, 0, 1},
	} {
		log := newRisingLog()
		raised := log.Specs[0]
		raised.Spec.MinReplicas = new(int32(7))
		log.Specs = append(log.Specs, raised)
		last := len(log.Decisions) - 1
		log.Decisions = slices.Clone(log.Decisions)
		log.Decisions[last].Spec = 1
		log.Decisions[last].Status.DesiredReplicas = c.decided
		if v := Judge(log, log.Decisions[last].Time); v.Changed != c.changed || len(v.Differences) != c.differences {
			t.Errorf("%s: %v %v", name, v, v.Differences)
		}
	}
}

// TestJudgePods: pods that left between the adapter's answer and the controller's decision explain the number without them, and no other.
func TestJudgePods(t *testing.T) {
	t.Parallel()
	for decided, want := range map[int32]Verdict{
		8: {Agreed: 1},  // with all four pods at twice the target
		6: {Changed: 1}, // without one of them
		4: {Changed: 1}, // without both
		5: {Differences: []string{""}},
		7: {Differences: []string{""}},
		9: {Differences: []string{""}},
	} {
		log := replaytest.Log(replaytest.Spec("request_per_second"), replaytest.Repeat(200, 40)...)
		log.Decisions = slices.Clone(log.Decisions[:40])
		look, after := &log.Decisions[38], &log.Decisions[39]
		for i := range look.Reads[0].Values {
			look.Reads[0].Values[i].Milli = 100_000
		}
		status := *look.Status
		status.DesiredReplicas = decided
		look.Status = &status
		after.Pods = slices.Clone(after.Pods)
		for i := range 2 {
			after.Pods[i].State = explainapi.PodDeparted
		}
		after.Reads = nil
		v := Judge(log, look.Time)
		v.Unrecorded-- // the look after, whose own wish explains nothing
		if v.Agreed != want.Agreed || v.Changed != want.Changed || len(v.Differences) != len(want.Differences) || v.UnjudgedShare() != 0 {
			t.Errorf("%d of %d pods: %v", decided, len(look.Pods), v)
		}
	}
}

// TestUnjudgedShare: looks without inputs count, those that follow from a neighbour do not.
func TestUnjudgedShare(t *testing.T) {
	t.Parallel()
	v := Verdict{Agreed: 70, Changed: 9, Unrecorded: 10, Remembered: 6, Rounded: 4, Differences: []string{"one"}}
	if got := v.UnjudgedShare(); got != 0.2 {
		t.Errorf("share %v, want 0.2", got)
	}
	if got := (Verdict{}).UnjudgedShare(); got != 0 {
		t.Errorf("share of none %v", got)
	}
}

// watched returns the wishes that a watch saw of a record.
func watched(log *explainapi.DecisionLog) []wish {
	all := listRecordedWishes(log)
	for i := range all {
		all[i].seen = replaytest.Begin
	}
	return all
}

func TestLostWishes(t *testing.T) {
	t.Parallel()
	log := newRisingLog()
	whole := watched(log)
	if len(whole) < 4 {
		t.Fatalf("wishes %v", whole)
	}
	late := wish{replicas: 9, seen: log.Source.Time}
	for name, c := range map[string]struct {
		wishes []wish
		lost   bool
	}{
		"all":                        {whole, false},
		"the watch began later":      {whole[1:], false},
		"the watch went on":          {append(whole[:len(whole):len(whole)], late), false},
		"the record began later":     {append([]wish{{replicas: 7}}, whole...), false},
		"one is not in the record":   {append([]wish{whole[0], {replicas: 7}}, whole[1:]...), true},
		"the newest is not recorded": {append(whole[:len(whole):len(whole)], wish{replicas: 7}), true},
		"one is not in the watch":    {append([]wish{whole[0]}, whole[2:]...), true},
	} {
		if got := (&testimony{wishes: c.wishes}).findLostWish(log); (got != "") != c.lost {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func passFakeTime(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // fake time
	synctest.Wait()
}

// TestWitness: the records of an autoscaler are judged as they were read, also from before the adapter lost them, and after the
// autoscaler is gone.
func TestWitness(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		passFakeTime(time.Until(replaytest.Begin))
		log := newRisingLog()
		h := &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "1", CreationTimestamp: metav1.NewTime(replaytest.Begin)}}
		h.Status.DesiredReplicas = log.Decisions[0].Status.DesiredReplicas
		client := fake.NewClientset(h)
		var served atomic.Pointer[explainapi.DecisionLog]
		w := NewWitness(client, func(_ context.Context, path string) ([]byte, error) {
			log := served.Load()
			if log == nil || path != "/apis/explain.tachometer.dev/v1alpha1/namespaces/shop/horizontalpodautoscalers/web/decisions?since=3h" {
				return nil, errors.New("not found")
			}
			return json.Marshal(log)
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		published := 0
		read := func(first, end int) {
			part := newRisingLog()
			part.Decisions = part.Decisions[first:end]
			part.Source.UnknownBefore = part.Decisions[0].Time
			part.Source.Time = part.Decisions[end-first-1].Time
			served.Store(part)
			for ; published < end; published++ {
				passFakeTime(time.Until(log.Decisions[published].Time))
				h = h.DeepCopy()
				h.Status.DesiredReplicas = log.Decisions[published].Status.DesiredReplicas
				if _, err := client.AutoscalingV2().HorizontalPodAutoscalers("shop").UpdateStatus(ctx, h, metav1.UpdateOptions{}); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
			}
			passFakeTime(pollInterval)
		}
		passFakeTime(time.Millisecond)
		read(0, 20)
		read(0, 30)
		read(30, 52)      // restarted
		served.Store(nil) // deleted
		passFakeTime(pollInterval)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		v, autoscalers := w.Verdict()
		if autoscalers != 1 || v.Agreed+v.Changed+v.Remembered != 52 || v.Agreed < 30 || len(v.Differences) != 0 {
			t.Errorf("%d autoscalers: %v %v", autoscalers, v, v.Differences)
		}
	})
}
