// Measures a sale: the time from an event on Kafka to new running pods and an open gate.

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/tachometer-metrics/tachometer/test/harness/host"
	"github.com/tachometer-metrics/tachometer/test/harness/sale"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// saleRest is the time between two sales, in which the node cleans up the previous sale.
const saleRest = 5 * time.Second

// saleTimes are the times of one sale, from the publication of its event.
type saleTimes struct{ minReplicas, scale, created, running, ready, open time.Duration }

// reportSale measures the time from an event on Kafka to twenty new running containers and an open gate.
func (b *bench) reportSale(ctx context.Context, load float64) (string, error) {
	head := host.Describe(time.Now(), load, b.node.version)
	all, err := b.node.measureSales(ctx, b.sales)
	if err != nil {
		b.node.dumpNode(ctx)
		return "", err
	}
	return head + "\n\n" + formatSales(all), nil
}

func (n *node) measureSales(ctx context.Context, runs int) (all []saleTimes, err error) {
	if err := n.makeRoomOnNode(ctx); err != nil {
		return nil, err
	}
	err = n.addAutoscaler(ctx, "sales", func(hpa *autoscaling.HorizontalPodAutoscaler) {
		hpa.Spec.Behavior = &autoscaling.HorizontalPodAutoscalerBehavior{ScaleDown: &autoscaling.HPAScalingRules{StabilizationWindowSeconds: new(int32(0))}}
	})
	if err != nil {
		return nil, err
	}
	market, err := sale.Up(ctx, n.stack)
	if err != nil {
		return nil, err
	}
	defer func() {
		err = errors.Join(err, market.Down(context.WithoutCancel(ctx)), n.removeAutoscalers(context.WithoutCancel(ctx)))
	}()
	for i := range runs {
		if err := n.scaleSampleService(ctx, 2); err != nil {
			return nil, err
		}
		if err := sleepUntilBenchTime(ctx, time.Now().Add(saleRest)); err != nil {
			return nil, err
		}
		times, err := n.measureSale(ctx, market, fmt.Sprintf("sale-%d", i))
		if err != nil {
			return nil, fmt.Errorf("sale %d: %w", i+1, err)
		}
		all = append(all, times)
		fmt.Fprintf(n.out, "sale %d of %d: %d new containers run after %.1f s, open after %.1f s\n", i+1, runs, sale.NewPods, times.running.Seconds(), times.open.Seconds())
	}
	return all, nil
}

// measureSale publishes the start, watches until the gate is open, and ends the sale.
func (n *node) measureSale(ctx context.Context, market *sale.Sale, id string) (saleTimes, error) {
	watching, stop := context.WithTimeout(ctx, 2*time.Minute)
	defer stop()
	seen := &saleSeen{times: map[string]time.Time{}}
	watchers, err := n.watchSale(watching, seen)
	if err != nil {
		return saleTimes{}, err
	}
	began := time.Now()
	if err := market.Publish(ctx, sale.Event(id, sale.Start, 10*time.Minute)); err != nil {
		return saleTimes{}, err
	}
	err = stack.Wait(watching, 2*time.Minute, func(context.Context) error {
		return seen.missingSaleMoments("minReplicas", "scale", "created", "running", "ready", "open")
	})
	stop()
	watchers.Wait()
	if err != nil {
		return saleTimes{}, err
	}
	if err := market.Publish(ctx, sale.Event(id+"-end", sale.End, 10*time.Minute)); err != nil {
		return saleTimes{}, err
	}
	err = stack.Wait(ctx, time.Minute, func(ctx context.Context) error {
		if gate, err := market.Gate(ctx); err != nil || gate == "true" {
			return fmt.Errorf("the gate's open is %q, %w", gate, err)
		}
		return nil
	})
	after := func(what string) time.Duration { return seen.times[what].Sub(began) }
	return saleTimes{after("minReplicas"), after("scale"), after("created"), after("running"), after("ready"), after("open")}, err
}

// saleSeen has the first time of each change.
type saleSeen struct {
	mu    sync.Mutex // guards times
	times map[string]time.Time
}

func (s *saleSeen) recordSaleMoment(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.times[what].IsZero() {
		s.times[what] = time.Now()
	}
}

func (s *saleSeen) missingSaleMoments(all ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, what := range all {
		if s.times[what].IsZero() {
			return fmt.Errorf("not seen yet: %s", what)
		}
	}
	return nil
}

// watchSale records the changes of the sample, its autoscaler, its pods and the gate, until ctx ends.
func (n *node) watchSale(ctx context.Context, seen *saleSeen) (*sync.WaitGroup, error) {
	var all sync.WaitGroup
	follow := func(w watch.Interface, err error, see func(watch.Event)) error {
		if err != nil {
			return fmt.Errorf("watch the sale: %w", err)
		}
		all.Go(func() {
			for e := range w.ResultChan() {
				see(e)
			}
		})
		context.AfterFunc(ctx, w.Stop)
		return nil
	}
	client, in := n.stack.Client, stack.SampleNamespace
	hpas, err := client.AutoscalingV2().HorizontalPodAutoscalers(in).Watch(ctx, metav1.ListOptions{})
	err = follow(hpas, err, func(e watch.Event) {
		if h, ok := e.Object.(*autoscaling.HorizontalPodAutoscaler); ok && *h.Spec.MinReplicas == sale.Pods {
			seen.recordSaleMoment("minReplicas")
		}
	})
	if err != nil {
		return &all, err
	}
	scales, err := client.AppsV1().Deployments(in).Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + sample})
	if err := follow(scales, err, watchScale(seen)); err != nil {
		return &all, err
	}
	there, err := client.CoreV1().Pods(in).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=" + sample})
	if err != nil {
		return &all, fmt.Errorf("list the pods before the sale: %w", err)
	}
	pods, err := client.CoreV1().Pods(in).Watch(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=" + sample, ResourceVersion: there.ResourceVersion})
	if err := follow(pods, err, watchNewPods(seen, there.Items)); err != nil {
		return &all, err
	}
	gates, err := client.CoreV1().ConfigMaps(in).Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=gate"})
	return &all, follow(gates, err, func(e watch.Event) {
		if m, ok := e.Object.(*core.ConfigMap); ok && m.Data["open"] == "true" {
			seen.recordSaleMoment("open")
		}
	})
}

// watchScale records the time when the replicas are requested.
func watchScale(seen *saleSeen) func(watch.Event) {
	return func(e watch.Event) {
		if d, ok := e.Object.(*apps.Deployment); ok && *d.Spec.Replicas == sale.Pods {
			seen.recordSaleMoment("scale")
		}
	}
}

// watchNewPods records the times when twenty pods besides those before exist, run and are ready.
func watchNewPods(seen *saleSeen, before []core.Pod) func(watch.Event) {
	pods := map[string]*core.Pod{}
	return func(e watch.Event) {
		pod, ok := e.Object.(*core.Pod)
		if !ok || slices.ContainsFunc(before, func(p core.Pod) bool { return p.UID == pod.UID }) {
			return
		}
		pods[pod.Name] = pod
		if e.Type == watch.Deleted || pod.DeletionTimestamp != nil {
			delete(pods, pod.Name)
		}
		running, ready := countContainers(pods)
		for what, count := range map[string]int{"created": len(pods), "running": running, "ready": ready} {
			if count >= sale.NewPods {
				seen.recordSaleMoment(what)
			}
		}
	}
}

// countContainers returns the numbers of running and of ready containers.
func countContainers(pods map[string]*core.Pod) (running, ready int) {
	for _, p := range pods {
		for _, c := range p.Status.ContainerStatuses {
			if c.State.Running != nil {
				running++
			}
			if c.Ready {
				ready++
			}
		}
	}
	return running, ready
}

func formatSales(all []saleTimes) string {
	var b strings.Builder
	fmt.Fprintf(&b, `The sample with two pods and its autoscaler, and the scaler as shipped; the node has the images, and room for %d pods. An event on Kafka asks for
%d pods: %d new ones. Seconds from its publication; %d runs.

| until | median | p95 | greatest |
| --- | --- | --- | --- |
`, sale.Pods, sale.Pods, sale.NewPods, len(all))
	for _, part := range []struct {
		name string
		of   func(saleTimes) time.Duration
	}{
		{"the autoscaler's minReplicas is raised", func(t saleTimes) time.Duration { return t.minReplicas }},
		{"the replicas are asked for", func(t saleTimes) time.Duration { return t.scale }},
		{"all new pods are created", func(t saleTimes) time.Duration { return t.created }},
		{"all new containers run", func(t saleTimes) time.Duration { return t.running }},
		{"all new pods are ready", func(t saleTimes) time.Duration { return t.ready }},
		{"all new pods are verified, and the gate is open", func(t saleTimes) time.Duration { return t.open }},
	} {
		var f figures
		for _, t := range all {
			f = append(f, part.of(t))
		}
		fmt.Fprintf(&b, "| %s | %.2f | %.2f | %.2f |\n", part.name,
			f.nearestFigureRank(0.5).Seconds(), f.nearestFigureRank(0.95).Seconds(), f.nearestFigureRank(1).Seconds())
	}
	return b.String()
}
