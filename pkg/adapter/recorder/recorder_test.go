package recorder

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/replay"
)

// logOf returns the log of a service's autoscaler.
func logOf(t testing.TB, s *loadedService, since time.Time) *explainapi.DecisionLog {
	t.Helper()
	log, err := s.recorder.Log(types.NamespacedName{Namespace: "shop", Name: s.hpa.Name}, since)
	if err != nil || log == nil {
		t.Fatalf("no log: %v", err)
	}
	return log
}

// TestLogReproducesDecisions: an hour of waves with failing pods and errors, and a changed spec, is recorded such that the HPA's
// arithmetic gives each decision again.
func TestLogReproducesDecisions(t *testing.T) {
	t.Parallel()
	s := newLoadedService(t, "web", Options{})
	external := autoscalingv2.MetricSpec{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{
		Metric: autoscalingv2.MetricIdentifier{Name: "queue"},
		Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: new(resource.MustParse("45"))},
	}}
	var want []int32
	for i := range 240 {
		s.load = 600_000 + 500_000*math.Sin(float64(i)/12)
		s.missing, s.err = 0, nil
		switch {
		case i%40 == 17:
			s.err = errNoValue
		case i%10 == 3:
			s.missing = 1
		}
		if i == 120 {
			s.hpa.Spec.Metrics = append(s.hpa.Spec.Metrics, external)
			s.hpa.Spec.Behavior = &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleUp: &autoscalingv2.HPAScalingRules{
				Policies: []autoscalingv2.HPAScalingPolicy{{Type: autoscalingv2.PodsScalingPolicy, Value: 3, PeriodSeconds: 60}},
			}}
			s.recorder.ObserveAutoscaler(s.hpa.DeepCopy())
		}
		d := s.look()
		want = append(want, d.Status.DesiredReplicas)
	}
	log := logOf(t, s, noon)
	looks := replay.Reproduce(log, replay.Settings())
	var got []int32
	for _, l := range looks[1:] { // the first is the status before the first look
		if l.Missing != "" || l.Differs() {
			t.Errorf("look at %s: recorded %d, computed %d; missing: %q", l.Time, l.Recorded, l.Computed, l.Missing)
		}
		got = append(got, l.Recorded)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("decisions (-made +recorded):\n%s", diff)
	}
	if len(log.Specs) != 2 {
		t.Errorf("%d specs, want 2", len(log.Specs))
	}
	changes := map[int32]bool{}
	for _, n := range got {
		changes[n] = true
	}
	if len(changes) < 10 {
		t.Errorf("only %d different numbers: the load moved too little to prove anything", len(changes))
	}
}

// TestLogSince: a log from a time on begins with the pods and the status that were in force.
func TestLogSince(t *testing.T) {
	t.Parallel()
	s := newLoadedService(t, "web", Options{})
	s.load = 400_000
	for range 60 {
		s.look()
	}
	log := logOf(t, s, s.now.Add(-time.Minute))
	if len(log.Decisions) != 4 {
		t.Fatalf("%d decisions in the last minute, want 4", len(log.Decisions))
	}
	for _, d := range log.Decisions {
		if d.Status == nil || len(d.Pods) == 0 || len(d.Reads) != 1 || len(d.Reads[0].Values) != len(d.Pods) {
			t.Errorf("decision at %s is not whole: %+v", d.Time, d)
		}
	}
}

// TestReadDetails: values in thousandths with age and window, omissions with their reason, and errors in their own words.
func TestReadDetails(t *testing.T) {
	t.Parallel()
	s := newLoadedService(t, "web", Options{})
	s.load, s.missing = 100_000, 1
	s.look()
	s.err = errNoValue
	s.look()
	log := logOf(t, s, noon)
	last := log.Decisions[len(log.Decisions)-2:]
	read := last[0].Reads[0]
	if v := read.Values[0]; len(read.Values) != 1 || v.Milli < 47_000 || v.AgeMillis < 0 || v.AgeMillis > 2000 || v.WindowSeconds != 10 || v.Pod == "" {
		t.Errorf("values %+v", read.Values)
	}
	if want := []explainapi.Omission{{Pod: s.pods[0].Name, Reason: "scrape_failed", Detail: "connection refused"}}; !cmp.Equal(read.Omitted, want) {
		t.Errorf("omissions %+v, want %+v", read.Omitted, want)
	}
	if got := last[1].Reads[0]; got.Error != errNoValue.Error() || len(got.Values) != 0 {
		t.Errorf("read %+v, want the error %q", got, errNoValue)
	}
	if !last[1].Status.HasReason("FailedGetPodsMetric") {
		t.Errorf("status %+v does not say that the metric failed", last[1].Status)
	}
}

// TestOnlyControllersAreRecorded: a person's read is no look of the controller.
func TestOnlyControllersAreRecorded(t *testing.T) {
	t.Parallel()
	s := newLoadedService(t, "web", Options{})
	s.user = "jane"
	s.read(s.hpa.Spec.Metrics[0])
	for _, d := range logOf(t, s, noon).Decisions {
		if len(d.Reads) > 0 {
			t.Errorf("recorded %+v", d)
		}
	}
}

// TestSharedMetric: of two autoscalers with one metric, a read belongs to the one that selects the pods. Where both select the same,
// or the metric is external, it is marked as shared.
func TestSharedMetric(t *testing.T) {
	t.Parallel()
	a := newLoadedService(t, "web", Options{})
	b := &loadedService{t: t, now: noon, random: a.random, user: controller}
	b.join("api", a.recorder)
	b.hpa.Spec.Metrics = a.hpa.Spec.Metrics
	a.recorder.ObserveAutoscaler(b.hpa)
	a.load = 100_000
	a.look()
	count := func(s *loadedService) (reads int, shared bool) {
		for _, d := range logOf(t, s, noon).Decisions {
			for _, r := range d.Reads {
				reads, shared = reads+1, shared || r.Shared
			}
		}
		return reads, shared
	}
	if n, shared := count(a); n != 1 || shared {
		t.Errorf("web: %d reads, shared %v; want 1 of its own", n, shared)
	}
	if n, _ := count(b); n != 0 {
		t.Errorf("api: %d reads, want none", n)
	}
	external := autoscalingv2.MetricSpec{Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{
		Metric: autoscalingv2.MetricIdentifier{Name: "queue"},
		Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: new(resource.MustParse("45"))},
	}}
	for _, s := range []*loadedService{a, b} {
		s.hpa.Spec.Metrics = []autoscalingv2.MetricSpec{external}
		a.recorder.ObserveAutoscaler(s.hpa.DeepCopy())
	}
	a.look()
	if n, shared := count(b); n != 1 || !shared {
		t.Errorf("api: %d reads, shared %v; want 1 that is shared", n, shared)
	}
}

// TestRecordEndsWithItsAutoscaler: a deleted autoscaler, one that a new list lacks, and one of another UID leave nothing behind.
func TestRecordEndsWithItsAutoscaler(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*loadedService){
		"deleted":     func(s *loadedService) { s.recorder.ForgetAutoscaler("shop", "web") },
		"not listed":  func(s *loadedService) { s.recorder.RetainAutoscalers(func(string, string) bool { return false }) },
		"another UID": func(s *loadedService) { s.hpa.UID = "other"; s.recorder.ObserveAutoscaler(s.hpa.DeepCopy()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newLoadedService(t, "web", Options{})
			s.load = 900_000
			for range 100 {
				s.look()
			}
			if s.recorder.used == 0 {
				t.Fatal("no block was closed: the test proves nothing")
			}
			end(s)
			if s.recorder.used != 0 || len(s.recorder.usage) != 0 {
				t.Errorf("%d bytes are still counted, %v", s.recorder.used, s.recorder.usage)
			}
			log, err := s.recorder.Log(types.NamespacedName{Namespace: "shop", Name: "web"}, noon)
			if err != nil || log != nil && len(log.Decisions) > 1 {
				t.Errorf("log %+v, error %v", log, err)
			}
		})
	}
}

// TestBoundOfARecord: beyond its bound a record drops its oldest blocks, and says from when on it knows.
func TestBoundOfARecord(t *testing.T) {
	t.Parallel()
	s := newLoadedService(t, "web", Options{MaxRecordBytes: 20_000})
	s.load = 900_000
	for range 500 {
		s.look()
	}
	log := logOf(t, s, noon)
	if s.recorder.used > 20_000 || s.recorder.used == 0 {
		t.Errorf("%d bytes, want at most 20,000", s.recorder.used)
	}
	if since := log.Source.UnknownBefore; !since.After(noon) || log.Decisions[0].Time.Before(since) {
		t.Errorf("the record is unknown before %s and begins at %s", since, log.Decisions[0].Time)
	}
	if last := log.Decisions[len(log.Decisions)-1].Time; s.now.Sub(last) > 15*time.Second {
		t.Errorf("the newest decision is of %s, now is %s", last, s.now)
	}
}

// TestBoundOfAll: beyond the bound of all records, the namespace with the most loses.
func TestBoundOfAll(t *testing.T) {
	t.Parallel()
	s := newLoadedService(t, "web", Options{MaxBytes: 60_000})
	quiet := &loadedService{t: t, now: noon, random: s.random, user: controller}
	quiet.join("quiet", s.recorder)
	s.recorder.ForgetAutoscaler("shop", "quiet")
	quiet.hpa.Namespace = "calm"
	s.recorder.ObserveAutoscaler(quiet.hpa)
	rec := s.recorder.records[types.NamespacedName{Namespace: "calm", Name: "quiet"}]
	for i := range 100 { // a few blocks of another namespace
		at := noon.Add(time.Duration(i) * time.Second)
		s.recorder.queueOrEncodeAnswer(rec, pendingAnswer{at: at, err: fmt.Sprintf("error %d %s", i, strings.Repeat("x", 200))})
	}
	s.recorder.encodeAllPendingAnswers()
	before := rec.bytes
	s.load = 900_000
	for range 500 {
		s.look()
	}
	if s.recorder.used > 60_000 || rec.bytes != before || before == 0 {
		t.Errorf("%d bytes in all, want at most 60,000; the quiet namespace has %d of %d", s.recorder.used, rec.bytes, before)
	}
}

// TestBlocks: entries of any content are decoded as they were written.
func TestBlocks(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	text := func() string { return strings.Repeat("a", random.IntN(3)) + fmt.Sprint(random.IntN(5)) }
	number := func() int64 { return int64(random.Uint64()) >> random.IntN(64) }
	for range 200 {
		rec := &record{spec: &specVersion{}, packer: &blockPacker{}}
		var want []entry
		for range 1 + random.IntN(10) {
			e := entry{at: noon.UnixMilli() + number()>>30}
			if random.IntN(3) == 0 {
				e.status = &explainapi.Status{CurrentReplicas: int32(number()), DesiredReplicas: int32(number()), LastScaleTime: noon.Add(time.Duration(number()>>40) * time.Second)}
				for range random.IntN(3) {
					e.status.Conditions = append(e.status.Conditions, explainapi.Condition{Type: text(), Status: text(), Reason: text(), Message: text()})
					e.status.Current = append(e.status.Current, number())
				}
			} else {
				e.read = &explainapi.Read{Metric: random.IntN(3), Shared: random.IntN(2) == 0, Truncated: random.IntN(2) == 0}
				for range random.IntN(4) {
					e.read.Values = append(e.read.Values, explainapi.Value{Pod: text(), Milli: number(), AgeMillis: number() / ageUnit * ageUnit, WindowSeconds: number()})
					e.read.Omitted = append(e.read.Omitted, explainapi.Omission{Pod: text(), Reason: text(), Detail: text()})
					e.pods = append(e.pods, podEntry{name: text(), state: int64(random.IntN(4)), created: number(), readied: number()})
				}
			}
			want = append(want, e)
			rec.appendBlockEntry(&e)
		}
		got, err := rec.copyOpenBlock().decodeBlockEntries()
		if err != nil {
			t.Fatal(err)
		}
		for i := range want { // no pods and unknown pods are the same on the wire
			if len(want[i].pods) == 0 {
				want[i].pods = nil
			}
			if len(got[i].pods) == 0 {
				got[i].pods = nil
			}
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(entry{}, podEntry{})); diff != "" {
			t.Fatalf("(-written +read):\n%s", diff)
		}
	}
}

// TestRoundRecordedAge: ages are recorded in tenths of a second, also those of clocks apart.
func TestRoundRecordedAge(t *testing.T) {
	t.Parallel()
	for millis, want := range map[int64]int64{
		0: 0, 49: 0, 50: 1, 149: 1, 150: 2, 1999: 20, -49: 0, -50: -1, -151: -2, math.MaxInt64: 92233720368547758, math.MinInt64: -92233720368547758,
	} {
		if got := roundRecordedAge(millis); got != want {
			t.Errorf("%d ms are %d units, want %d", millis, got, want)
		}
	}
}

// FuzzDecodeBlock: no bytes make the decoder panic or allocate beyond its input.
func FuzzDecodeBlock(f *testing.F) {
	s := newLoadedService(f, "web", Options{})
	s.load = 300_000
	for range 5 {
		s.look()
	}
	b := s.recorder.records[types.NamespacedName{Namespace: "shop", Name: "web"}].copyOpenBlock()
	f.Add(b.data, 5)
	f.Fuzz(func(_ *testing.T, data []byte, entries int) {
		broken := &block{data: data, texts: b.texts, entries: min(max(entries, 0), 100)}
		_, _ = broken.decodeBlockEntries()
	})
}

// TestSelfMetrics: decisions are counted by reason, and the stages of a reaction are observed by rule, also behind a first metric that never has a
// value.
func TestSelfMetrics(t *testing.T) {
	t.Parallel()
	for name, failing := range map[string]string{"one metric": "", "a first metric that fails": "other_per_second"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := prometheus.NewRegistry()
			s := newLoadedService(t, "web", Options{Registerer: reg, RuleName: func(namespace, resource, metric string, external bool) string {
				return fmt.Sprint(namespace, " ", resource, " ", metric, " ", external)
			}})
			if failing != "" {
				s.failing, s.err = failing, errNoValue
				other := *s.hpa.Spec.Metrics[0].DeepCopy()
				other.Pods.Metric.Name = failing
				s.hpa.Spec.Metrics = append([]autoscalingv2.MetricSpec{other}, s.hpa.Spec.Metrics...)
				s.recorder.ObserveAutoscaler(s.hpa.DeepCopy())
			}
			s.load = 100_000
			s.look()
			s.load = 200_000 // twice the target on 2 pods
			s.look()
			s.look()
			if n := testutil.ToFloat64(s.recorder.metrics.decisions.WithLabelValues("scaled_up")); n != 1 {
				t.Errorf("%v decisions to scale up, want 1", n)
			}
			want := map[string]uint64{stageSample: 3, stagePeriod: 2, stageDecision: 1, stageStart: 2}
			if got := gatherReactions(t, reg, "shop pods web_per_second false"); !cmp.Equal(want, got) {
				t.Errorf("observations by stage %v, want %v", got, want)
			}
		})
	}
}

// gatherReactions returns the number of observations by stage, all of which must be of a rule.
func gatherReactions(t *testing.T, reg prometheus.Gatherer, rule string) map[string]uint64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	observed := map[string]uint64{}
	for _, f := range families {
		if f.GetName() != "tachometer_reaction_seconds" {
			continue
		}
		for _, x := range f.GetMetric() {
			if got := x.GetLabel()[0].GetValue(); got != rule {
				t.Errorf("observations of rule %q", got)
			}
			observed[x.GetLabel()[1].GetValue()] = x.GetHistogram().GetSampleCount()
		}
	}
	return observed
}

// TestReactionRulesAreBounded: rules beyond the bound share their observations, and a metric without a rule has none.
func TestReactionRulesAreBounded(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	m := New(Options{Registerer: reg}).metrics
	for i := range 3 * maxReactionRules {
		m.observeReaction(fmt.Sprint("rule ", i), stageSample, time.Second)
	}
	m.observeReaction("rule 0", stageSample, time.Second)
	m.observeReaction("", stageSample, time.Second)
	if n := testutil.CollectAndCount(m.reaction); n != maxReactionRules+1 {
		t.Errorf("%d rules with observations, want %d", n, maxReactionRules+1)
	}
	for rule, want := range map[string]uint64{"rule 0": 2, otherRules: 2 * maxReactionRules} {
		var got dto.Metric
		if err := m.reaction.WithLabelValues(rule, stageSample).(prometheus.Metric).Write(&got); err != nil || got.GetHistogram().GetSampleCount() != want {
			t.Errorf("%s: %d observations, want %d: %v", rule, got.GetHistogram().GetSampleCount(), want, err)
		}
	}
}

// TestMemoryOfAnHour: an hour of 1,000 autoscalers of 20 pods stays under 100 MB, and a decision under 1 KB. A closed decision takes less than 80 bytes:
// --record-size=16Mi keeps the hour.
func TestMemoryOfAnHour(t *testing.T) {
	t.Parallel()
	s := newLoadedService(t, "web", Options{})
	for i := range 240 {
		s.load = 1_000_000 + 100_000*math.Sin(float64(i)/20) // about 20 pods
		s.look()
	}
	rec := s.recorder.records[types.NamespacedName{Namespace: "shop", Name: "web"}]
	bytes := rec.bytes + rec.copyOpenBlock().bytes + cap(rec.writer.data)
	t.Logf("%d bytes an hour, %d a decision at %d pods", bytes, bytes/240, len(s.pods))
	if bytes/240 > 1000 || bytes > 100_000 {
		t.Errorf("%d bytes an hour of one autoscaler, %d a decision; want less than 100,000 and 1,000", bytes, bytes/240)
	}
	looks := 0
	for _, b := range rec.blocks {
		looks += b.entries / 2 // a read and a status
	}
	if looks < 100 || rec.bytes/looks > 80 {
		t.Errorf("%d bytes of %d closed decisions, want less than 80 for each of 100 or more", rec.bytes, looks)
	}
}

// observeSpec shows the recorder another floor.
func (s *loadedService) observeSpec(floor int32) {
	s.hpa.Spec.MinReplicas = &floor
	s.now = s.now.Add(5 * time.Millisecond)
	s.recorder.ObserveAutoscaler(s.hpa.DeepCopy())
}

// observeWish shows the recorder another wish of the controller.
func (s *loadedService) observeWish(replicas int32) {
	s.hpa.Status.DesiredReplicas = replicas
	s.now = s.now.Add(5 * time.Millisecond)
	s.recorder.ObserveAutoscaler(s.hpa.DeepCopy())
}

// TestSpecOfADecision: a decision has the spec that the controller decided by, also if the adapter learned of it after the read, it was in force for less than
// a look, or the change of it came with the status.
func TestSpecOfADecision(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(s *loadedService, floor, wish int32)
		want   int32 // the floor of the first decision
	}{
		"the status tells of the spec": {func(s *loadedService, floor, wish int32) {
			s.observeSpec(floor)
			s.observeWish(wish)
			s.observeSpec(6)
		}, 2},
		"the spec came after the status": {func(s *loadedService, floor, wish int32) {
			s.observeWish(wish)
			s.observeSpec(floor)
		}, 6},
		"both came at once, the status last": {func(s *loadedService, floor, wish int32) {
			s.hpa.Spec.MinReplicas = &floor
			s.hpa.Generation, s.hpa.Status.ObservedGeneration = 3, new(int64(3))
			s.observeWish(wish)
		}, 2},
		"both came at once, the spec last": {func(s *loadedService, floor, wish int32) {
			s.hpa.Spec.MinReplicas = &floor
			s.hpa.Generation, s.hpa.Status.ObservedGeneration = 3, new(int64(2))
			s.observeWish(wish)
		}, 6},
		"another metric": {func(s *loadedService, floor, wish int32) {
			s.hpa.Spec.Metrics[0].Pods.Metric.Name = "other"
			s.observeSpec(floor)
			s.observeWish(wish)
		}, 6},
	} {
		s := newLoadedService(t, "web", Options{})
		s.observeSpec(6)
		s.observeWish(6)
		s.now = s.now.Add(15 * time.Second)
		s.read(s.hpa.Spec.Metrics[0])
		c.change(s, 2, 4)
		s.now = s.now.Add(15 * time.Second)
		s.read(s.hpa.Spec.Metrics[0])
		log := logOf(t, s, noon.Add(time.Second))
		if d := log.Decisions[0]; *log.Specs[d.Spec].Spec.MinReplicas != c.want || d.Status.DesiredReplicas != 4 || d.WrittenAfter == nil {
			t.Errorf("%s: a floor of %d: %+v", name, *log.Specs[d.Spec].Spec.MinReplicas, d)
		}
	}
}

// TestStatusVersions: a status and a spec have the version that first had them, at any length of the record.
func TestStatusVersions(t *testing.T) {
	t.Parallel()
	s := newLoggedVersions(t)
	log, err := s.recorder.Log(types.NamespacedName{Namespace: "shop", Name: "web"}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range log.Decisions[1:] { // the first is without a version
		want := fmt.Sprint(1_000_000_000_000 + 2*int64(d.Status.DesiredReplicas))
		if d.Status.ResourceVersion != want {
			t.Fatalf("status of %d replicas at version %s, want %s", d.Status.DesiredReplicas, d.Status.ResourceVersion, want)
		}
	}
	if got := log.Specs[len(log.Specs)-1].ResourceVersion; got != "1000000000300" || log.UID != "web" {
		t.Errorf("the newest spec at version %s of UID %s", got, log.UID)
	}
}

// newLoggedVersions returns a service with many statuses: that of N replicas is written at version 10^12 + 2N, and annotated at the next.
func newLoggedVersions(t *testing.T) *loadedService {
	t.Helper()
	s := newLoadedService(t, "web", Options{})
	for i := 1; i <= 500; i++ {
		s.now = s.now.Add(time.Second)
		s.hpa.Status.DesiredReplicas = int32(i)
		if i == 150 {
			s.hpa.Spec.MaxReplicas = 1000
		}
		for _, version := range []int{2 * i, 2*i + 1} {
			s.hpa.ResourceVersion = fmt.Sprint(1_000_000_000_000 + version)
			s.recorder.ObserveAutoscaler(s.hpa.DeepCopy())
		}
	}
	return s
}

// TestRecordedPodStates: the record has each pod as the HPA controller counts it, also one that has ended well.
func TestRecordedPodStates(t *testing.T) {
	t.Parallel()
	s := newLoadedService(t, "web", Options{})
	s.pods[0].Ready = false
	gone := metric.Omission{Reason: metric.ReasonTerminating}
	s.pods = append(s.pods, discovery.Pod{Name: "job", Completed: true, Omission: gone}, discovery.Pod{Name: "old", Omission: gone},
		discovery.Pod{Name: "new", Omission: metric.Omission{Reason: metric.ReasonNotScraped}})
	s.look()
	var states []string
	decisions := logOf(t, s, noon).Decisions
	for _, p := range decisions[len(decisions)-1].Pods {
		states = append(states, p.State)
	}
	if want := []string{explainapi.PodUnready, explainapi.PodReady, explainapi.PodCompleted, explainapi.PodDeparted, explainapi.PodPending}; !cmp.Equal(states, want) {
		t.Errorf("states %v, want %v", states, want)
	}
}
