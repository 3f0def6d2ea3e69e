package world

// This file is the adapter's record of the world's autoscalers.

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/explainapi"
	"github.com/tachometer-metrics/tachometer/pkg/hpa"
	"github.com/tachometer-metrics/tachometer/pkg/replay"
)

// recordDecision records a decision with what the controller read.
func (a *app) recordDecision(now time.Time, in hpa.Input, d hpa.Decision) {
	out := explainapi.Decision{
		Time: now, WrittenAfter: &metav1.Duration{Duration: 40 * time.Millisecond},
		Status: &explainapi.Status{CurrentReplicas: d.Status.CurrentReplicas, DesiredReplicas: d.Status.DesiredReplicas},
	}
	for _, c := range d.Status.Conditions {
		out.Status.Conditions = append(out.Status.Conditions, explainapi.Condition{Type: string(c.Type), Status: string(c.Status), Reason: c.Reason})
	}
	for i, m := range a.metrics {
		out.Status.Current = append(out.Status.Current, recordedUsage(d, i))
		if m.spec.Resource == nil { // another API serves it
			read := newRecordedRead(now, i, in.Answers[i])
			for _, p := range a.pods[:min(a.mute, len(a.pods))] {
				if m.spec.External == nil && read.Error == "" {
					read.Omitted = append(read.Omitted, explainapi.Omission{Pod: p.name, Reason: "scrape_failed", Detail: "connection refused"})
				}
			}
			out.Reads = append(out.Reads, read)
		}
	}
	for _, p := range a.pods {
		pod := explainapi.Pod{Name: p.name, State: explainapi.PodUnready, Created: p.created}
		if p.isReady(now) {
			pod.State, pod.Readied = explainapi.PodReady, p.created.Add(startTime)
		}
		out.Pods = append(out.Pods, pod)
	}
	a.record = append(a.record, out)
}

// recordedUsage returns a metric's value as the status has it.
func recordedUsage(d hpa.Decision, metric int) int64 {
	if metric >= len(d.Metrics) {
		return 0
	}
	return d.Metrics[metric].Usage
}

func newRecordedRead(now time.Time, metric int, answer hpa.Answer) explainapi.Read {
	read := explainapi.Read{Metric: metric, Time: now}
	if answer.Err != nil {
		read.Error = answer.Err.Error()
		return read
	}
	for _, v := range answer.External {
		read.Values = append(read.Values, explainapi.Value{Milli: v, AgeMillis: sampleAge.Milliseconds()})
	}
	for _, name := range slices.Sorted(maps.Keys(answer.Pods)) {
		read.Values = append(read.Values, explainapi.Value{Pod: name, Milli: answer.Pods[name].Value, AgeMillis: sampleAge.Milliseconds(), WindowSeconds: 10})
	}
	return read
}

// readRecord answers a read of an autoscaler's decisions, or of the autoscaler as the record has it now.
func (w *World) readRecord(path string) ([]byte, error) {
	if strings.HasSuffix(path, "/"+explainapi.Targets) && !w.older {
		return json.Marshal(w.newTargetList())
	}
	if strings.HasSuffix(path, "/namespaces/shop/"+explainapi.Metrics) && !w.older {
		return json.Marshal(newFamilyList())
	}
	for _, a := range w.apps {
		place, isLog := strings.CutSuffix(path, "/decisions")
		if w.older || !strings.HasSuffix(place, "/namespaces/"+a.namespace+"/horizontalpodautoscalers/"+a.name) {
			continue
		}
		log := w.newRecordedLog(a)
		if isLog {
			return json.Marshal(log)
		}
		e := explainapi.Explanation{ObjectMeta: log.ObjectMeta, Source: log.Source, Spec: a.autoscaler.Spec, Computed: replay.Compute(log, replay.Settings())}
		if n := len(log.Decisions); n > 0 {
			e.Latest = &log.Decisions[n-1]
		}
		return json.Marshal(e)
	}
	return nil, apierrors.NewGenericServerResponse(http.StatusNotFound, "get", corev1.Resource("horizontalpodautoscalers"), path, "no such API", 0, false)
}

// newTargetList returns the pods as targets. Those without a value refuse connections.
func (w *World) newTargetList() *explainapi.TargetList {
	list := &explainapi.TargetList{Source: explainapi.Source{Replica: "tachometer-adapter-1", Time: w.now}}
	for _, a := range w.apps {
		isRefused := slices.ContainsFunc(a.metrics, func(m metricModel) bool { return strings.Contains(m.failureAt(w.now.Sub(w.started)), "refused") })
		for i, p := range a.pods {
			t := explainapi.Target{ObjectMeta: metav1.ObjectMeta{Namespace: a.namespace, Name: p.name}, URL: "http://10.0.0.7:8080/metrics", State: explainapi.TargetUp}
			if isRefused || i < a.mute {
				t.State, t.Error = "scrape_failed", "connection refused"
			}
			list.Items = append(list.Items, t)
		}
	}
	return list
}

// newRecordedLog returns the whole record of an app.
func (w *World) newRecordedLog(a *app) *explainapi.DecisionLog {
	log := &explainapi.DecisionLog{
		Source: explainapi.Source{Replica: "tachometer-adapter-1", Time: w.now, UnknownBefore: w.started},
		Specs:  []explainapi.SpecVersion{{From: w.started, Spec: a.autoscaler.Spec}}, Decisions: a.record,
	}
	log.Namespace, log.Name = a.namespace, a.name
	return log
}

// HostileText is the help of a family, and a part of its name.
const HostileText = `<img src=x onerror="document.title='taken'"><script>document.title='taken'</script>`

// newFamilyList returns the families of namespace shop: those of its services, three hundred of a library, and one with hostile texts.
func newFamilyList() *explainapi.MetricList {
	list := &explainapi.MetricList{Source: explainapi.Source{Replica: "tachometer-adapter-1"}, Pages: []explainapi.MetricPage{
		{Workload: "ReplicaSet/web", Pod: "web-5d8f7c9b4-x", Targets: 5, Families: 3}, {Workload: "Pod/import", Pod: "import", Targets: 1, Error: "connection refused"},
	}}
	add := func(name, kind, help string, metrics ...string) *explainapi.Metric {
		m := explainapi.Metric{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Type: kind, Help: help, Targets: 5}
		for _, metric := range metrics {
			m.Metrics = append(m.Metrics, explainapi.ServedMetric{Name: metric, Resource: "pods"})
		}
		list.Items = append(list.Items, m)
		return &list.Items[len(list.Items)-1]
	}
	took := "http_request_duration_seconds"
	add(took, "histogram", "Time from the first byte of a request to the last byte of its response.", took+"_sum_per_second", took+"_count_per_second",
		took+"_p50", took+"_p90", took+"_p95", took+"_p99")
	requests := add("http_requests_total", "counter", "Requests by code and method.", "request_per_second", "http_requests_per_second")
	requests.Demands = []explainapi.MetricDemand{{Metric: "request_per_second", Resource: "pods", Autoscaled: true}}
	add("queries_in_flight", "gauge", "", "queries_in_flight")
	for i := range 300 {
		name := fmt.Sprintf("library_cache_of_shards_%03d", i)
		add(name, "gauge", "Entries of a shard. "+strings.Repeat("They are counted once a second. ", 5), name)
	}
	add(HostileText+strings.Repeat("x", 150), "gauge", HostileText+strings.Repeat("y", 100))
	return list
}
