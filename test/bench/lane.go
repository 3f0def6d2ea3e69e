// Measures the reads of the surge lane: the processor time of the adapter with the lane on each autoscaler, and without it.

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/rollout"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/surge"
)

// reportLane measures the lane on all groups.
func (s *settings) reportLane(ctx context.Context, dir string, load float64, out io.Writer) (string, error) {
	a := &answering{cpus: s.cpus, dir: dir, program: s.adapter, groups: groups, steady: s.steady, log: out}
	a.measure = a.measureLane
	head := describeBenchMachine(time.Now(), load)
	answers, err := a.measureAnswering(ctx)
	if err != nil {
		return "", err
	}
	return head + "\n\n" + a.formatLane(answers), nil
}

// measureLane measures the real lane, once for each of the metrics that the autoscalers name.
func (a *answering) measureLane(ctx context.Context) ([]*answer, error) {
	var all []*answer
	for _, name := range []string{fewSeries, manySeries} {
		one := &answer{name: name, protocol: http2, rate: a.groups}
		if err := a.measureLaneReads(ctx, one); err != nil {
			return nil, fmt.Errorf("measure the lane's reads of %s: %w", name, err)
		}
		fmt.Fprintf(a.log, "%s: %.0f reads a second, p99 %v, CPU %v a read\n", name, one.apiReadsPerSecond(), one.apiLatencyQuantile(0.99), one.cpuPerAPIRead(a.idle))
		all = append(all, one)
	}
	return all, nil
}

func (a *answering) measureLaneReads(ctx context.Context, one *answer) error {
	metric := orderRate
	if one.name == manySeries {
		metric = requestRate
	}
	readings, err := surge.NewLaneMetricReader(&rest.Config{
		Host: a.base, QPS: -1, Transport: scalerTransport{&http.Transport{TLSClientConfig: a.trust.Clone(), ForceAttemptHTTP2: true}},
	}, nil)
	if err != nil {
		return err
	}
	w := &laneBench{metric: metric, groups: a.groups, readings: readings}
	m := meter{measured: a.adapter, serving: a.pages}
	for _, d := range []time.Duration{a.steady / 5, a.steady} { // the first warms up connections and caches
		w.latencies = nil
		if one.usage, err = m.measureBenchWork(ctx, d, func(ctx context.Context) error { return w.runLaneFor(ctx, d) }); err != nil {
			return err
		}
	}
	slices.Sort(w.latencies)
	one.latencies = w.latencies
	return w.fault
}

func (a *answering) formatLane(answers []*answer) string {
	var w bytes.Buffer
	fmt.Fprintf(&w, `A fake kube-apiserver has %d autoscalers on groups of %d pods, and the real lane looks at each of them each second for %v, over TLS with the front proxy's
certificate. The adapter has its defaults and a processor to itself, and scrapes every 2 s. *CPU* is of one read, beyond the time without the lane.

| an autoscaler's metric | reads/s | p99, ms | adapter without the lane, %% of a processor | with it | CPU of a read, ms |
| --- | --- | --- | --- | --- | --- |
`, a.groups, podsPerGroup, a.steady)
	share := func(u usage) float64 { return 100 * u.cpu.Seconds() / u.elapsed.Seconds() }
	for _, one := range answers {
		fmt.Fprintf(&w, "| %s | %.0f | %.2f | %.1f | %.1f | %.3f |\n", one.name, one.apiReadsPerSecond(), 1000*one.apiLatencyQuantile(0.99).Seconds(),
			share(a.idle), share(one.usage), 1000*one.cpuPerAPIRead(a.idle).Seconds())
	}
	return w.String()
}

// scalerTransport names the scaler as the user of a request, as the front proxy does.
type scalerTransport struct{ next http.RoundTripper }

func (t scalerTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.Header.Set("X-Remote-User", "system:serviceaccount:tachometer:tachometer-scaler")
	request.Header["X-Remote-Group"] = []string{"system:serviceaccounts", "system:serviceaccounts:tachometer", "system:authenticated"}
	return t.next.RoundTrip(request)
}

// laneBench is the cluster of a measured lane: an autoscaler and its pods for each group. It times the reads.
type laneBench struct {
	metric   string
	groups   int
	readings surge.MetricsReader

	mu        sync.Mutex // guards the rest
	latencies latencies
	fault     error // of a read or of a raise
}

var (
	_ rollout.Reader      = (*laneBench)(nil)
	_ surge.MetricsReader = (*laneBench)(nil)
	_ surge.Raiser        = (*laneBench)(nil)
	_ surge.EventWriter   = (*laneBench)(nil)
)

func (b *laneBench) runLaneFor(ctx context.Context, d time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return surge.New(surge.Options{Config: surge.Config{Mode: surge.ModeAct}, Namespaces: []string{namespace}, Reader: b, Readings: b, Raiser: b, Events: b}).Run(ctx)
}

func (b *laneBench) ReadMetrics(ctx context.Context, a *autoscalingv2.HorizontalPodAutoscaler, selector, otherThan string) []surge.Reading {
	begin := time.Now()
	all := b.readings.ReadMetrics(ctx, a, selector, otherThan)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.latencies = append(b.latencies, time.Since(begin))
	for _, r := range all {
		if ctx.Err() == nil && (r.Err != nil || len(r.Pods) != podsPerGroup) {
			b.fault = fmt.Errorf("read the metrics of %s: %d pods, %w", a.Name, len(r.Pods), r.Err)
		}
	}
	return all
}

// Raise implements surge.Raiser. Each autoscaler has room for the load: a raise would measure another thing.
func (b *laneBench) Raise(_ context.Context, t hold.Workload, _ hold.Hold) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fault = fmt.Errorf("the lane raised %s", t)
	return b.fault
}

func (b *laneBench) WriteEvent(context.Context, *corev1.Event) error { return nil }

func (b *laneBench) ListHolds(context.Context, string) ([]hold.Object, error) { return nil, nil }

func (b *laneBench) GetScale(_ context.Context, t hold.Workload) (*rollout.Scale, error) {
	return &rollout.Scale{Replicas: podsPerGroup, Selector: "app=" + t.Name}, nil
}

func (b *laneBench) ListPods(context.Context, string, string) ([]corev1.Pod, error) { return nil, nil }

func (b *laneBench) ListAutoscalers(_ context.Context, namespace string) (all []*autoscalingv2.HorizontalPodAutoscaler, err error) {
	for group := range b.groups {
		name := benchGroupName(group)
		all = append(all, &autoscalingv2.HorizontalPodAutoscaler{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(name), Annotations: map[string]string{surge.Annotation: ""}},
			Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
				ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: name}, MaxReplicas: podsPerGroup,
				Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{
					Metric: autoscalingv2.MetricIdentifier{Name: b.metric},
					Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: resource.NewQuantity(1_000_000, resource.DecimalSI)},
				}}},
			},
		})
	}
	return all, nil
}
