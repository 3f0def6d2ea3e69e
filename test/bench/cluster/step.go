// Measures the time until a step of the load is visible in the metric.

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	autoscaling "k8s.io/api/autoscaling/v2"

	"github.com/tachometer-metrics/tachometer/test/harness/host"
)

// The loads of the steps, in requests per second, and the number of pods.
const (
	low       = 40
	high      = 400
	fixedPods = 4
)

const (
	// pollEvery is the time between two reads of the metric, the same as for DESIGN's figure for prometheus-adapter.
	pollEvery = 100 * time.Millisecond
	// lowFor is the minimum duration of the low load. A random time up to lowMore is added, so that steps fall on all phases of the
	// scrapes.
	lowFor  = 16 * time.Second
	lowMore = 4 * time.Second
	// highFor is the duration of the high load after it became visible.
	highFor = 2 * time.Second
	// stepPatience suits adapters that show a step only after minutes.
	stepPatience = 5 * time.Minute
)

// steps has the results of the steps.
type steps struct {
	up, down figures
	refused  int // reads without a value, and
	reason   error
}

// reportStep measures the time until a step of the load is visible.
func (b *bench) reportStep(ctx context.Context, load float64) (string, error) {
	head := host.Describe(time.Now(), load, b.node.version)
	s, err := b.node.measureSteps(ctx, b.steps)
	if err != nil {
		b.node.dumpNode(ctx)
		return "", err
	}
	return head + "\n\n" + s.formatSteps(b.settings), nil
}

func (n *node) measureSteps(ctx context.Context, count int) (*steps, error) {
	err := n.addAutoscaler(ctx, "fixed", func(hpa *autoscaling.HorizontalPodAutoscaler) {
		hpa.Spec.MinReplicas, hpa.Spec.MaxReplicas = new(int32(fixedPods)), fixedPods
	})
	if err != nil {
		return nil, err
	}
	if err := n.scaleSampleService(ctx, fixedPods); err != nil {
		return nil, err
	}
	urls, err := n.readySampleURLs(ctx)
	if err != nil {
		return nil, err
	}
	sending, stop := context.WithCancel(ctx)
	t := startTraffic(sending, urls)
	s := &steps{}
	err = n.measureLoadSteps(ctx, t, s, count)
	stop()
	if sent := t.awaitTraffic(); err == nil && (sent.Unsent > 0 || sent.Total().Failed > 0) {
		err = fmt.Errorf("the load was not the one meant: %d requests were not sent, %d failed: %v", sent.Unsent, sent.Total().Failed, sent.Total().Causes)
	}
	if err != nil {
		return nil, err
	}
	return s, n.removeAutoscalers(ctx)
}

func (n *node) measureLoadSteps(ctx context.Context, t *traffic, s *steps, count int) error {
	if _, err := t.stepTrafficRate(ctx, low); err != nil {
		return err
	}
	const near = low + (high-low)/10
	if _, err := n.awaitSampleMetric(ctx, s, func(sum float64) bool { return sum > 0.9*low && sum < near }); err != nil {
		return err
	}
	for i := range count {
		if err := sleepUntilBenchTime(ctx, time.Now().Add(lowFor+rand.N(lowMore))); err != nil {
			return err
		}
		up, err := n.measureLoadStep(ctx, t, s, high, func(sum float64) bool { return sum >= 0.9*high })
		if err != nil {
			return err
		}
		if err := sleepUntilBenchTime(ctx, time.Now().Add(highFor)); err != nil {
			return err
		}
		down, err := n.measureLoadStep(ctx, t, s, low, func(sum float64) bool { return sum <= near })
		if err != nil {
			return err
		}
		s.up, s.down = append(s.up, up), append(s.down, down)
		fmt.Fprintf(n.out, "step %d of %d: %.1f s up, %.1f s down\n", i+1, count, up.Seconds(), down.Seconds())
	}
	return nil
}

// measureLoadStep changes the load and returns the time until the change is visible.
func (n *node) measureLoadStep(ctx context.Context, t *traffic, s *steps, rate float64, right func(float64) bool) (time.Duration, error) {
	began, err := t.stepTrafficRate(ctx, rate)
	if err != nil {
		return 0, err
	}
	seen, err := n.awaitSampleMetric(ctx, s, right)
	if err != nil {
		return 0, fmt.Errorf("step to %.0f requests/s: %w", rate, err)
	}
	return seen.Sub(began), nil
}

// awaitSampleMetric returns the time when the metric of all pods is first right.
func (n *node) awaitSampleMetric(ctx context.Context, s *steps, right func(sum float64) bool) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, stepPatience)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		sum, pods, err := n.sumSampleMetric(ctx)
		switch {
		case err == nil && pods == fixedPods && right(sum):
			return time.Now(), nil
		case err != nil && ctx.Err() == nil:
			s.refused, s.reason = s.refused+1, err
		}
		select {
		case <-ctx.Done():
			return time.Time{}, errors.Join(fmt.Errorf("wait for the metric: %w: it is %.1f over %d pods", context.Cause(ctx), sum, pods), s.reason)
		case <-tick.C:
		}
	}
}

func (s *steps) formatSteps(set settings) string {
	var w strings.Builder
	fmt.Fprint(&w, set.describeForeignAdapter())
	fmt.Fprintf(&w, `The sample with %d pods, and the adapter as shipped. The load steps from %d to %d requests/s and back, the low one held for %v to %v. A read every %v
through kube-apiserver. Seconds until the sum over all pods has gone nine tenths of the way.

| step | steps | median, s | p95, s | greatest, s |
| --- | --- | --- | --- | --- |
| %d → %d | %d | %s |
| %d → %d | %d | %s |
`, fixedPods, low, high, lowFor, lowFor+lowMore, pollEvery,
		low, high, len(s.up), s.up.summarizeFigures(), high, low, len(s.down), s.down.summarizeFigures())
	if s.refused > 0 {
		fmt.Fprintf(&w, "\n%d reads got an error, the last: %v.\n", s.refused, s.reason)
	}
	return w.String()
}
