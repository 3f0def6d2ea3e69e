package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/test/harness/load"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
	"github.com/tachometer-metrics/tachometer/test/harness/timeline"
)

const metricName = "request_per_second"

// playLoad sends the load, prints a point each second, and returns the points.
func (d *demo) playLoad(ctx context.Context, s *stack.Stack) ([]timeline.Point, error) {
	fmt.Fprintln(d.out, "waiting for the sample's pods")
	if err := stack.Wait(ctx, 2*time.Minute, func(ctx context.Context) error { return checkReadySamplePods(ctx, s, 2) }); err != nil {
		return nil, err
	}
	if err := d.awaitSteadyMetric(ctx, s); err != nil {
		return nil, err
	}
	var targets atomic.Pointer[[]string]
	start := time.Now()
	rate := load.StepRate(start, d.steps)
	generator := load.New(load.Options{Rate: rate, Targets: func() []string {
		if t := targets.Load(); t != nil {
			return *t
		}
		return nil
	}})
	sending, stop := context.WithDeadline(ctx, start.Add(d.length))
	defer stop()
	sent := make(chan struct{})
	go func() { defer close(sent); generator.Run(sending) }()

	fmt.Fprintf(d.out, "\n%s\n", timeline.Header)
	points := d.watchReaction(sending, s, func(at time.Time, urls []string) float64 {
		targets.Store(&urls)
		return rate(at)
	})
	stop()
	<-sent
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("stopped by the user: %w", err)
	}
	d.summarizeDemoRun(points, generator.Result())
	return points, nil
}

// awaitSteadyMetric sends the first load until both replicas of the adapter show it: counters of new pods have no rate, and then that of
// an idle time.
func (d *demo) awaitSteadyMetric(ctx context.Context, s *stack.Stack) error {
	rate := d.demoStepAt(0).Rate
	fmt.Fprintf(d.out, "sending %.0f requests/s until the metric shows them\n", rate)
	_, urls, err := observeSample(ctx, s)
	if err != nil {
		return err
	}
	sending, stop := context.WithCancel(ctx)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		load.Run(sending, load.Options{Rate: func(time.Time) float64 { return rate }, Targets: func() []string { return urls }})
	}()
	err = stack.Wait(ctx, 2*time.Minute, func(ctx context.Context) error {
		for range 5 { // five reads reach both replicas with high probability
			p, _, err := observeSample(ctx, s)
			if err != nil {
				return err
			}
			if !(math.Abs(p.Served-rate) <= 0.05*rate) { // also without a value
				return fmt.Errorf("the metric is %.1f requests/s of %.0f: %s", p.Served, rate, p.Reason)
			}
		}
		return nil
	})
	stop()
	<-sent
	return err
}

func checkReadySamplePods(ctx context.Context, s *stack.Stack, n int) error {
	pods, err := s.ReadyPods(ctx)
	if err == nil && len(pods) < n {
		err = fmt.Errorf("%d pods of the sample are ready, want %d", len(pods), n)
	}
	return err
}

// watchReaction observes once a second until ctx ends. Each second it sends the load to the ready pods, like the endpoints of a
// Service.
func (d *demo) watchReaction(ctx context.Context, s *stack.Stack, offer func(time.Time, []string) float64) []timeline.Point {
	var points []timeline.Point
	start := time.Now()
	teller := &decisionTeller{told: start}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		p, urls, err := observeSample(ctx, s)
		if ctx.Err() != nil {
			return points
		}
		if err != nil {
			fmt.Fprintf(d.out, "observe: %v\n", err)
		} else {
			now := time.Now()
			p.At, p.Offered = now.Sub(start), offer(now, urls)
			points = append(points, p)
			fmt.Fprintln(d.out, p.Row())
			d.tellDecisions(ctx, s, teller)
		}
		select {
		case <-ctx.Done():
			return points
		case <-tick.C:
		}
	}
}

// observeSample reads the metric, the Deployment and its pods once.
func observeSample(ctx context.Context, s *stack.Stack) (timeline.Point, []string, error) {
	var p timeline.Point
	pods, err := s.ReadyPods(ctx)
	if err != nil {
		return p, nil, err
	}
	urls := make([]string, len(pods))
	for i := range pods {
		urls[i] = fmt.Sprintf("http://%s:8080/", pods[i].Status.PodIP)
	}
	deployment, err := s.Client.AppsV1().Deployments(stack.SampleNamespace).Get(ctx, "sample", metav1.GetOptions{})
	if err != nil {
		return p, nil, fmt.Errorf("get the sample's Deployment: %w", err)
	}
	p.Ready, p.Desired = len(pods), int(*deployment.Spec.Replicas)
	values, err := s.Custom(ctx, stack.PodsMetric(metricName))
	if err != nil {
		p.Served, p.Reason = math.NaN(), stack.Reason(err)
		return p, urls, nil
	}
	now := time.Now()
	for _, v := range values {
		p.PerPod = append(p.PerPod, v.Value.AsApproximateFloat64())
		p.Served += v.Value.AsApproximateFloat64()
		p.Age = max(p.Age, now.Sub(v.Timestamp.Time))
	}
	return p, urls, nil
}

// summarizeDemoRun prints the totals of the run.
func (d *demo) summarizeDemoRun(points []timeline.Point, sent load.Result) {
	total := sent.Total()
	most := slices.MaxFunc(points, func(a, b timeline.Point) int { return a.Ready - b.Ready })
	last := points[len(points)-1]
	fmt.Fprintf(d.out, "\nsummary\n  requests   %d sent, %d answered, %d failed, %d not sent\n", total.Sent, total.OK, total.Failed, sent.Unsent)
	for cause, n := range total.Causes {
		fmt.Fprintf(d.out, "             %d × %s\n", n, cause)
	}
	fmt.Fprintf(d.out, "  pods       %d at the start, %d at most (after %.0f s), %d at the end\n",
		points[0].Ready, most.Ready, most.At.Seconds(), last.Ready)
	for at := time.Duration(0); at < d.length; {
		step, before := d.demoStepAt(at), d.demoStepAt(at-1)
		if at > 0 {
			d.printReaction(points, at, before.Rate, step.Rate)
		}
		at += step.For
	}
}

func (d *demo) demoStepAt(at time.Duration) load.Step {
	for _, s := range d.steps {
		if at < s.For {
			return s
		}
		at -= s.For
	}
	return d.steps[len(d.steps)-1]
}

// printReaction prints how long after a step the served metric shows 90 % of it.
func (d *demo) printReaction(points []timeline.Point, at time.Duration, from, to float64) {
	for _, p := range points {
		if p.At > at && (p.Served-from)/(to-from) >= 0.9 {
			fmt.Fprintf(d.out, "  %4.0f → %.0f requests/s: the metric shows 90 %% of the step after %.1f s\n", from, to, (p.At - at).Seconds())
			return
		}
	}
	fmt.Fprintf(d.out, "  %4.0f → %.0f requests/s: the metric never showed 90 %% of the step\n", from, to)
}

// drawDemoRun writes the picture of the run.
func (d *demo) drawDemoRun(points []timeline.Point) error {
	f, err := createDemoFile(d.picture)
	if err != nil {
		return fmt.Errorf("draw the run: %w", err)
	}
	title := "A Go service, its own metric, the real HorizontalPodAutoscaler"
	if err := errors.Join(timeline.WriteSVG(f, title, points), f.Close()); err != nil {
		return fmt.Errorf("draw the run: %w", err)
	}
	fmt.Fprintf(d.out, "  picture    %s\n", d.picture)
	return nil
}
