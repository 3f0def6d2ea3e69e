package recorder

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
	"weak"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// newSpecOfMetrics returns an autoscaler with many metrics.
func newSpecOfMetrics(namespace, name string, metrics int) *autoscalingv2.HorizontalPodAutoscaler {
	h := &autoscalingv2.HorizontalPodAutoscaler{}
	h.Namespace, h.Name, h.UID = namespace, name, types.UID(namespace+name)
	for i := range metrics {
		h.Spec.Metrics = append(h.Spec.Metrics, autoscalingv2.MetricSpec{
			Type: autoscalingv2.PodsMetricSourceType,
			Pods: &autoscalingv2.PodsMetricSource{Metric: autoscalingv2.MetricIdentifier{Name: fmt.Sprintf("%s_%06d", strings.Repeat("m", 80), i)}},
		})
	}
	return h
}

// TestSpecsAreBounded: neither one large spec nor many of a namespace, nor one that changes for ever, fills the memory or takes a record from
// another namespace.
func TestSpecsAreBounded(t *testing.T) {
	t.Parallel()
	now := noon
	r := New(Options{Now: func() time.Time { return now }})
	known := func(namespace string) int { return len(r.List(namespace)) }
	r.ObserveAutoscaler(newSpecOfMetrics("shop", "web", 2))
	r.ObserveAutoscaler(newSpecOfMetrics("evil", "huge", 7000))
	if n := known("evil"); n != 0 {
		t.Errorf("an autoscaler with 7,000 metrics has %d records, want none", n)
	}
	const size = 200
	for i := range 1000 {
		r.ObserveAutoscaler(newSpecOfMetrics("evil", fmt.Sprint("many-", i), size))
	}
	if r.specBytes["evil"] > maxNamespaceSpecBytes || known("evil") < 100 {
		t.Errorf("%d specs of evil have %d bytes, want at most %d", known("evil"), r.specBytes["evil"], maxNamespaceSpecBytes)
	}
	for i := range 1000 {
		h := newSpecOfMetrics("evil", "many-0", size+i%2)
		h.Status.CurrentReplicas = int32(i)
		now = now.Add(time.Minute)
		r.ObserveAutoscaler(h)
	}
	rec := r.records[types.NamespacedName{Namespace: "evil", Name: "many-0"}]
	if n, most := len(rec.blocks), defaultRecordBytes/newSpecOfMetrics("", "", size).Spec.Size()+1; n > most {
		t.Errorf("a record keeps %d versions of its spec, want at most %d", n, most)
	}
	if known("shop") != 1 {
		t.Error("the record of another namespace is gone")
	}
	r.RetainAutoscalers(func(namespace, _ string) bool { return namespace == "shop" })
	if len(r.specBytes) != 1 {
		t.Errorf("without autoscalers specs have %v bytes", r.specBytes)
	}
}

// TestSpecsAreShared: many namespaces with long specs fill the bound of all, and take no record of a namespace with less.
func TestSpecsAreShared(t *testing.T) {
	t.Parallel()
	r := New(Options{Now: func() time.Time { return noon }})
	r.ObserveAutoscaler(newSpecOfMetrics("first", "web", 2))
	for i := range 6000 {
		r.ObserveAutoscaler(newSpecOfMetrics(fmt.Sprint("evil-", i%10), fmt.Sprint("many-", i), 20))
	}
	if r.allSpecBytes > maxAllSpecBytes || r.allSpecBytes < maxAllSpecBytes*9/10 {
		t.Errorf("all specs have %d bytes, want at most and nearly %d", r.allSpecBytes, maxAllSpecBytes)
	}
	r.ObserveAutoscaler(newSpecOfMetrics("last", "web", 2))
	for _, namespace := range []string{"first", "last"} {
		if n := len(r.List(namespace)); n != 1 {
			t.Errorf("namespace %s has %d records, want one", namespace, n)
		}
	}
	r.RetainAutoscalers(func(string, string) bool { return false })
	if r.allSpecBytes != 0 {
		t.Errorf("without autoscalers specs have %d bytes", r.allSpecBytes)
	}
}

// TestManyRecordsAreBounded: autoscalers with the shortest specs take no more memory than is counted for their records.
func TestManyRecordsAreBounded(t *testing.T) { //nolint:paralleltest // measures the heap
	now := noon
	r := New(Options{Now: func() time.Time { return now }})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for round := range 4 {
		for i := range 8000 {
			h := newSpecOfMetrics(fmt.Sprint("evil-", i%10), fmt.Sprint("small-", i), 1)
			h.Status.DesiredReplicas = int32(round)
			for c := range 3 {
				h.Status.Conditions = append(h.Status.Conditions, autoscalingv2.HorizontalPodAutoscalerCondition{
					Type: autoscalingv2.ScalingActive, Status: "False", Reason: "FailedGetPodsMetric", Message: fmt.Sprintf("%d-%d-%s", i, c, strings.Repeat("x", 240)),
				})
			}
			r.ObserveAutoscaler(h)
		}
		now = now.Add(time.Minute)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	got := int(after.HeapAlloc) - int(before.HeapAlloc) - r.used
	t.Logf("%d records take %d bytes beside their closed blocks, %d are counted", len(r.records), got, r.allSpecBytes)
	if got > maxAllSpecBytes*3/2 {
		t.Errorf("%d records take %d bytes, want about %d", len(r.records), got, maxAllSpecBytes)
	}
	runtime.KeepAlive(r)
}

// TestPagesAreNotKept: the record of one autoscaler does not keep the others of its page in memory.
func TestPagesAreNotKept(t *testing.T) {
	t.Parallel()
	r := New(Options{Now: func() time.Time { return noon }})
	page := []autoscalingv2.HorizontalPodAutoscaler{*newSpecOfMetrics("evil", "huge", 7000), *newSpecOfMetrics("shop", "web", 2)}
	kept := weak.Make(&page[0])
	for i := range page {
		r.ObserveAutoscaler(&page[i])
	}
	runtime.GC()
	if kept.Value() != nil {
		t.Error("the page is in memory after its autoscalers were observed")
	}
	if n := len(r.List("shop")); n != 1 {
		t.Errorf("%d records of shop, want one", n)
	}
	runtime.KeepAlive(r)
}

// TestStatusIsBounded: a status as large as etcd takes is recorded up to a bound.
func TestStatusIsBounded(t *testing.T) {
	t.Parallel()
	h := &autoscalingv2.HorizontalPodAutoscaler{}
	long := strings.Repeat("x", 10_000)
	for range 5000 {
		h.Status.Conditions = append(h.Status.Conditions, autoscalingv2.HorizontalPodAutoscalerCondition{
			Type: autoscalingv2.HorizontalPodAutoscalerConditionType(long), Status: core.ConditionStatus(long), Reason: long, Message: long,
		})
		h.Status.CurrentMetrics = append(h.Status.CurrentMetrics, autoscalingv2.MetricStatus{})
	}
	data, err := json.Marshal(newHPAStatus(h))
	if err != nil {
		t.Fatal(err)
	}
	if len(data) > 32<<10 {
		t.Errorf("the recorded status has %d bytes", len(data))
	}
}
