package explain

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/authentication/user"
	apirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/metrics/pkg/apis/external_metrics"
	metricsprovider "sigs.k8s.io/custom-metrics-apiserver/pkg/provider"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/discovery"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/recorder"
	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/replay/replaytest"
)

var watchedHPA = types.NamespacedName{Namespace: "shop", Name: "web"}

// watchingReplica is a replica of the adapter with a real recorder, and with a watch and a clock of its own.
type watchingReplica struct {
	metricsprovider.ExternalMetricsProvider
	metricsprovider.CustomMetricsProvider
	now      *time.Time
	recorder *recorder.Recorder
	provider metricsprovider.MetricsProvider
	clock    time.Duration                                    // its difference to the true time
	behind   bool                                             // its watch is interrupted
	waiting  []*autoscalingv2.HorizontalPodAutoscaler         // not yet delivered
	watched  map[int64]*autoscalingv2.HorizontalPodAutoscaler // by version, since its start
	reads    int
}

func newWatchingReplica(now *time.Time, clock time.Duration) *watchingReplica {
	r := &watchingReplica{now: now, clock: clock}
	r.restart(nil)
	return r
}

// restart loses the record; the new one begins with the newest object.
func (r *watchingReplica) restart(newest *autoscalingv2.HorizontalPodAutoscaler) {
	r.recorder = recorder.New(recorder.Options{Now: func() time.Time { return r.now.Add(r.clock) }, Autoscalers: []string{"hpa"}})
	r.recorder.SetScaleTargets(r)
	r.provider = r.recorder.Record(r)
	r.watched, r.waiting, r.behind, r.reads = map[int64]*autoscalingv2.HorizontalPodAutoscaler{}, nil, false, 0
	if newest != nil {
		r.observe(newest.DeepCopy())
	}
}

func (*watchingReplica) ScaleTargetSelector(string, string) labels.Selector { return nil }

func (*watchingReplica) Pods(string, labels.Selector) []discovery.Pod { return nil }

func (r *watchingReplica) GetExternalMetric(context.Context, string, labels.Selector, metricsprovider.ExternalMetricInfo) (*external_metrics.ExternalMetricValueList, error) {
	return &external_metrics.ExternalMetricValueList{Items: []external_metrics.ExternalMetricValue{{Value: resource.MustParse("90")}}}, nil
}

func (r *watchingReplica) observe(h *autoscalingv2.HorizontalPodAutoscaler) {
	version := int64(0)
	_, _ = fmt.Sscan(h.ResourceVersion, &version)
	r.watched[version] = h
	r.recorder.ObserveAutoscaler(h)
}

// deliver hands over a change, or keeps it while the watch is interrupted.
func (r *watchingReplica) deliver(h *autoscalingv2.HorizontalPodAutoscaler) {
	if r.behind {
		r.waiting = append(r.waiting, h)
		return
	}
	r.observe(h)
}

// resume ends an interruption: the watch goes on with each change, or begins anew with the newest object.
func (r *watchingReplica) resume(anew bool) {
	if anew && len(r.waiting) > 1 {
		r.waiting = r.waiting[len(r.waiting)-1:]
	}
	for _, h := range r.waiting {
		r.observe(h)
	}
	r.waiting, r.behind = nil, false
}

func (r *watchingReplica) read(t *testing.T) {
	t.Helper()
	ctx := apirequest.WithUser(t.Context(), &user.DefaultInfo{Name: "hpa"})
	if _, err := r.provider.GetExternalMetric(ctx, "shop", labels.Everything(), metricsprovider.ExternalMetricInfo{Metric: "orders"}); err != nil {
		t.Fatal(err)
	}
	r.reads++
}

// log returns the replica's record as another replica reads it.
func (r *watchingReplica) log(t *testing.T) *explainapi.DecisionLog {
	t.Helper()
	log, err := r.recorder.Log(watchedHPA, time.Time{})
	if err != nil || log == nil {
		t.Fatalf("log %v: %v", log, err)
	}
	log.Shorten()
	data, err := json.Marshal(log)
	if err != nil {
		t.Fatal(err)
	}
	log = &explainapi.DecisionLog{}
	if err := json.Unmarshal(data, log); err != nil {
		t.Fatal(err)
	}
	log.Complete()
	return log
}

// watchedWorld is an autoscaler, its controller, and the replicas of the adapter.
type watchedWorld struct {
	random   *rand.Rand
	now      time.Time
	version  int64
	hpa      *autoscalingv2.HorizontalPodAutoscaler
	replicas []*watchingReplica
	witness  *watchingReplica // gets all reads; nil: none
}

func newWatchedWorld(seed uint64) *watchedWorld {
	w := &watchedWorld{random: rand.New(rand.NewPCG(seed, 3)), now: replaytest.Begin, version: 98}
	w.hpa = &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "1"},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{MaxReplicas: 9, Metrics: []autoscalingv2.MetricSpec{{
			Type: autoscalingv2.ExternalMetricSourceType, External: &autoscalingv2.ExternalMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: "orders"}},
		}}},
	}
	for i := range 3 {
		w.replicas = append(w.replicas, newWatchingReplica(&w.now, time.Duration(i*3)*time.Millisecond))
	}
	w.write()
	return w
}

// write stores a change of the autoscaler, and the replicas see it some milliseconds apart.
func (w *watchedWorld) write() {
	w.version++
	w.hpa.ResourceVersion = fmt.Sprint(w.version)
	if w.witness != nil {
		w.witness.deliver(w.hpa)
	}
	for _, i := range w.random.Perm(len(w.replicas)) {
		w.now = w.now.Add(time.Duration(w.random.IntN(6)) * time.Millisecond)
		w.replicas[i].deliver(w.hpa)
	}
	w.hpa = w.hpa.DeepCopy() // for the next change
}

// look is one look of the controller: a read that one replica gets, and often a status, or two of them within milliseconds.
func (w *watchedWorld) look(t *testing.T) {
	t.Helper()
	w.replicas[w.random.IntN(len(w.replicas))].read(t)
	if w.witness != nil {
		w.witness.read(t)
	}
	w.now = w.now.Add(20 * time.Millisecond)
	for range w.random.IntN(3) {
		w.hpa.Status.DesiredReplicas = 1 + int32(w.random.IntN(3))
		w.hpa.Status.Conditions = []autoscalingv2.HorizontalPodAutoscalerCondition{{Type: autoscalingv2.AbleToScale}}
		w.write()
	}
	w.now = w.now.Add(15*time.Second - time.Duration(w.random.IntN(20))*time.Millisecond)
}

// trouble interrupts, resumes and restarts replicas, and lets people annotate the autoscaler.
func (w *watchedWorld) trouble() {
	r := w.replicas[w.random.IntN(len(w.replicas))]
	switch w.random.IntN(12) {
	case 0:
		r.restart(w.hpa)
	case 1, 2:
		r.behind = true
	case 3, 4, 5:
		r.resume(w.random.IntN(2) == 0)
	case 6:
		w.write()
	}
}

// listWatchedChanges returns the numbers of the statuses that any replica has in its record, by their versions.
func (w *watchedWorld) listWatchedChanges() []int32 {
	all := map[int64]*autoscalingv2.HorizontalPodAutoscaler{}
	var versions []int64
	for _, r := range w.replicas {
		for version, h := range r.watched {
			if all[version] == nil {
				versions = append(versions, version)
			}
			all[version] = h
		}
	}
	slices.Sort(versions)
	var changes []int32
	for _, v := range versions {
		changes = append(changes, all[v].Status.DesiredReplicas)
	}
	return slices.Compact(changes)
}

func listMergedChanges(log *explainapi.DecisionLog) (changes []int32, reads int) {
	for _, d := range log.Decisions {
		reads += len(d.Reads)
		if d.Status != nil {
			changes = append(changes, d.Status.DesiredReplicas)
		}
	}
	return slices.Compact(changes), reads
}

// TestMergeIsTheRecordOfAllReads: replicas with some of the reads, of which one has an orderly watch, have together the looks of a replica that gets
// all reads.
func TestMergeIsTheRecordOfAllReads(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100) {
		w := newWatchedWorld(seed)
		w.witness = newWatchingReplica(&w.now, 0)
		w.write()
		for range 40 {
			w.look(t)
			if r := w.replicas[1+w.random.IntN(2)]; r.behind {
				r.resume(w.random.IntN(2) == 0)
			} else {
				r.behind = w.random.IntN(4) == 0
			}
		}
		want := w.witness.log(t).Decisions
		got := mergeDecisionLogs([]*explainapi.DecisionLog{w.replicas[1].log(t), w.replicas[0].log(t), w.replicas[2].log(t)}).Decisions
		got = got[len(got)-min(len(got), len(want)):] // the witness came after the first write
		for i := range want {
			if i >= len(got) || !isSameWatchedLook(&got[i], &want[i]) {
				t.Fatalf("seed %d: decision %d is %+v, want %+v", seed, i, got[min(i, len(got)-1)], want[i])
			}
		}
	}
}

// isSameWatchedLook compares the decisions of replicas that watch some milliseconds apart.
func isSameWatchedLook(a, b *explainapi.Decision) bool {
	const apart = 20 * time.Millisecond
	if a.Time.Sub(b.Time).Abs() > apart || len(a.Reads) != len(b.Reads) || a.Status.DesiredReplicas != b.Status.DesiredReplicas {
		return false
	}
	if a.WrittenAfter == nil || b.WrittenAfter == nil {
		return a.WrittenAfter == b.WrittenAfter
	}
	return (a.WrittenAfter.Duration - b.WrittenAfter.Duration).Abs() <= apart
}

// TestMergeHasEachStatusOnce: interrupted watches, restarts and writes without a change neither double a status nor lose one, and the statuses are in
// the order of their writes.
func TestMergeHasEachStatusOnce(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		w := newWatchedWorld(seed)
		for range 40 {
			w.look(t)
			w.trouble()
		}
		var logs []*explainapi.DecisionLog
		reads := 0
		for _, i := range w.random.Perm(len(w.replicas)) {
			logs, reads = append(logs, w.replicas[i].log(t)), reads+w.replicas[i].reads
		}
		want := w.listWatchedChanges()
		log := mergeDecisionLogs(logs)
		got, gotReads := listMergedChanges(log)
		if !slices.Equal(got, want) || gotReads != reads {
			t.Errorf("seed %d: statuses %v and %d reads, want %v and %d", seed, got, gotReads, want, reads)
		}
		if !slices.IsSortedFunc(log.Decisions, func(a, b explainapi.Decision) int { return a.Time.Compare(b.Time) }) {
			t.Errorf("seed %d: the decisions are not in the order of time", seed)
		}
	}
}
