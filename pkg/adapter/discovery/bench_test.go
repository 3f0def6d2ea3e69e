package discovery

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

// largeCluster has that many pods in groups of five, each group a deployment with an autoscaler that is read,
// ten groups to a namespace. Every second group has an external metric besides.
func largeCluster(b *testing.B, count int) (*watchedPodTable, demandPlanner, []*storedAutoscaler, []Demand) {
	b.Helper()
	pods, selectors := newWatchedPodTable(), map[string]labels.Selector{}
	var hpas []*storedAutoscaler
	var readers []Demand
	for i := range count {
		group := i / 5
		namespace, app := fmt.Sprint("team-", group/10), fmt.Sprint("app-", group)
		p := endpointPolicy{}.newStoredPod(apiPod(namespace, fmt.Sprintf("%s-7d9f5c-%05d", app, i), withLabels(map[string]string{
			"app": app, "pod-template-hash": "7d9f5c", "tier": "backend", "team": namespace,
		})))
		pods.upsertWatchedObject(p)
		if i%5 != 0 {
			continue
		}
		selectors["deployments.apps "+namespace+"/"+app] = parseSelector(b, "app="+app)
		h := newHPA(namespace, app, app, podsMetric("rps"))
		if group%2 == 0 {
			h.Spec.Metrics = append(h.Spec.Metrics, externalMetric("waiting", nil))
		}
		hpas = append(hpas, newStoredAutoscaler(h))
		readers = append(readers, Demand{Resource: "pods", Metric: "rps", Namespace: namespace, Selector: parseSelector(b, "app="+app)})
	}
	p := demandPlanner{rules: prefixRules{}, resourceOf: mapTestKind, selectorOf: func(key objectKey) resolvedSelector {
		return resolvedSelector{selector: selectors[key.String()], attempted: true}
	}}
	return pods, p, hpas, readers
}

// BenchmarkPlan measures the cost of a change of an autoscaler, a selector, a demand or the rules before the targets
// are chosen.
func BenchmarkPlan(b *testing.B) {
	_, p, hpas, readers := largeCluster(b, 5000)
	for b.Loop() {
		p.planDemands(hpas, readers)
	}
}

// BenchmarkChoose measures the cost of a change of pods: at most ten happen in a second.
func BenchmarkChoose(b *testing.B) {
	for _, count := range []int{500, 5000} {
		b.Run(fmt.Sprintf("pods=%d/hpas=%d", count, count/5), func(b *testing.B) {
			pods, p, hpas, readers := largeCluster(b, count)
			plan := p.planDemands(hpas, readers)
			for b.Loop() {
				if s := chooseTargets(plan, pods); len(s.targets) != count {
					b.Fatalf("%d targets", len(s.targets))
				}
			}
		})
	}
}

// BenchmarkPods measures the cost of one read: a group of 20 pods in a namespace of 1,000.
func BenchmarkPods(b *testing.B) {
	d := New(Clients{}, Options{})
	for i := range 1000 {
		d.pods.upsertWatchedObject(endpointPolicy{}.newStoredPod(apiPod("shop", fmt.Sprintf("web-%04d", i), withLabels(map[string]string{
			"app": fmt.Sprint("app-", i/20), "tier": "backend",
		}))))
	}
	selector := parseSelector(b, "app=app-7,tier=backend")
	for b.Loop() {
		if got := d.Pods("shop", selector); len(got) != 20 {
			b.Fatalf("%d pods", len(got))
		}
	}
}

// BenchmarkDemand measures the cost that Demand adds to every read.
func BenchmarkDemand(b *testing.B) {
	r, now := newReaderDemands(), time.Now()
	demand := Demand{Resource: "pods", Metric: "rps", Namespace: "shop", Selector: parseSelector(b, "app=app-7,tier=backend")}
	for b.Loop() {
		_, _ = r.rememberReaderDemand(demand.newDemandKey(), demand, now)
	}
}

// BenchmarkPut is a pod's event, from the API object to the indexes.
func BenchmarkPut(b *testing.B) {
	pods, _, _, _ := largeCluster(b, 5000)
	one, other := apiPod("team-1", "churn"), apiPod("team-1", "churn", markUnready)
	for b.Loop() {
		pods.upsertWatchedObject(endpointPolicy{}.newStoredPod(one))
		pods.upsertWatchedObject(endpointPolicy{}.newStoredPod(other))
	}
}

// BenchmarkTableMemory reports the bytes that a known pod takes, with what of its API object it holds on to: pods come from
// their protobuf, as from the API server, so that each has strings of its own.
func BenchmarkTableMemory(b *testing.B) {
	const count = 5000
	for b.Loop() {
		before := measureHeap()
		pods := newWatchedPodTable()
		for i := range count {
			app, namespace := fmt.Sprint("app-", i/5), fmt.Sprint("team-", i/50)
			p := apiPod(namespace, fmt.Sprintf("%s-7d9f5c-%05d", app, i), withLabels(map[string]string{
				"app.kubernetes.io/name": app, "app.kubernetes.io/part-of": "shop", "pod-template-hash": "7d9f5c", "team": namespace,
			}))
			p.UID, p.Spec.NodeName = types.UID(fmt.Sprintf("6c84fb90-12c4-11e1-840d-%012d", i)), fmt.Sprint("node-", i%50)
			pods.upsertWatchedObject(endpointPolicy{}.newStoredPod(decodePod(b, p)))
		}
		b.ReportMetric(float64(measureHeap()-before)/count, "B/pod")
		runtime.KeepAlive(pods)
	}
}

// decodePod is the pod as it comes from the API server.
func decodePod(b *testing.B, p *corev1.Pod) *corev1.Pod {
	b.Helper()
	data, err := p.Marshal()
	if err != nil {
		b.Fatal(err)
	}
	decoded := new(corev1.Pod)
	if err := decoded.Unmarshal(data); err != nil {
		b.Fatal(err)
	}
	return decoded
}

func measureHeap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
