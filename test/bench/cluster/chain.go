// Measures the chain from a step of the load to ready pods, with each of the compared behaviors.

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	"github.com/tachometer-metrics/tachometer/test/harness/host"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
	"github.com/tachometer-metrics/tachometer/test/harness/timeline"
)

// The load of the chain, in requests per second. At perPod, low needs two pods and high twenty. The load is light, so that one small
// machine carries twenty pods, the cluster and the load.
const (
	perPod   = 20
	fewPods  = low / perPod
	manyPods = high / perPod
	enough   = 18 // of twenty pods: the HPA's tolerance is a tenth
)

const (
	// hpaPeriod is the HPA controller's period; the load steps at any phase of it.
	hpaPeriod = 15 * time.Second
	lookEvery = 250 * time.Millisecond
	// lead and tail are the drawn times before the step and after the end.
	lead, tail = 5 * time.Second, 5 * time.Second
	// chainPatience bounds a run, with any adapter.
	chainPatience = 5 * time.Minute
)

// The compared behaviors.
const (
	shippedBehavior = "shipped behavior"
	defaultBehavior = "Kubernetes' default behavior"
	laneBehavior    = "shipped behavior, with the surge lane"
)

// chainRun has the results of a run; times count from the step.
type chainRun struct {
	behavior              string
	right, desired, ready time.Duration
	points                []timeline.Point
	failed                int // requests without a 2xx response, of
	sent                  int
}

// reportChain measures the time from a step of the load to the pods for it.
func (b *bench) reportChain(ctx context.Context, load float64) (string, error) {
	head := host.Describe(time.Now(), load, b.node.version)
	c := &chain{node: b.node, behaviors: b.chainBehaviors()}
	if err := c.measureChain(ctx, b.runs); err != nil {
		b.node.dumpNode(ctx)
		return "", err
	}
	if err := c.drawMedianRuns(b.picture); err != nil {
		return "", err
	}
	return head + "\n\n" + c.formatChain(b.settings), nil
}

type chain struct {
	*node
	behaviors []string
	traffic   *traffic
	runs      []*chainRun
}

// measureChain makes the given number of runs with each behavior, in turns.
func (c *chain) measureChain(ctx context.Context, runs int) (err error) {
	if err := c.makeRoomOnNode(ctx); err != nil {
		return err
	}
	if err := c.scaleSampleService(ctx, fewPods); err != nil {
		return err
	}
	if slices.Contains(c.behaviors, laneBehavior) {
		if err := c.installSurgeLane(ctx); err != nil {
			return fmt.Errorf("install the surge lane: %w", err)
		}
		defer func() { err = errors.Join(err, c.removeSurgeLane(context.WithoutCancel(ctx))) }()
	}
	urls, err := c.readySampleURLs(ctx)
	if err != nil {
		return err
	}
	sending, stop := context.WithCancel(ctx)
	c.traffic = startTraffic(sending, urls)
	defer c.traffic.awaitTraffic()
	defer stop()
	for i := range runs {
		for _, behavior := range c.behaviors {
			r := &chainRun{behavior: behavior}
			if err := c.measureChainRun(ctx, r, fmt.Sprintf("chain-%d-%d", i, len(c.runs))); err != nil {
				return fmt.Errorf("run %d with %s: %w", i+1, behavior, err)
			}
			fmt.Fprintf(c.out, "run %d of %d, %s: metric right after %.1f s, %d desired after %.1f s, ready after %.1f s, %d of %d requests failed\n",
				i+1, runs, behavior, r.right.Seconds(), enough, r.desired.Seconds(), r.ready.Seconds(), r.failed, r.sent)
			c.runs = append(c.runs, r)
		}
	}
	return c.removeAutoscalers(ctx)
}

// makeRoomOnNode lowers the CPU requests of the sample, so that twenty pods fit on a node with two processors. The sample needs less
// than its shipped requests.
func (n *node) makeRoomOnNode(ctx context.Context) error {
	deployments := n.stack.Client.AppsV1().Deployments(stack.SampleNamespace)
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		d, err := deployments.Get(ctx, sample, metav1.GetOptions{})
		if err != nil {
			return err
		}
		d.Spec.Template.Spec.Containers[0].Resources.Requests[core.ResourceCPU] = resource.MustParse("20m")
		_, err = deployments.Update(ctx, d, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("lower the sample's requests: %w", err)
	}
	return stack.Wait(ctx, 2*time.Minute, func(ctx context.Context) error {
		d, err := deployments.Get(ctx, sample, metav1.GetOptions{})
		if err == nil && !isDeploymentRolledOut(d) {
			err = errors.New("the sample's Deployment is not rolled out")
		}
		return err
	})
}

func isDeploymentRolledOut(d *apps.Deployment) bool {
	return d.Status.ObservedGeneration >= d.Generation && d.Status.UpdatedReplicas == *d.Spec.Replicas && d.Status.Replicas == *d.Spec.Replicas
}

// measureChainRun measures a run: a calm time at the low load, then the step.
func (c *chain) measureChainRun(ctx context.Context, r *chainRun, name string) (err error) {
	if err := c.settleChainLoad(ctx, r.behavior, name); err != nil {
		return fmt.Errorf("calm down: %w", err)
	}
	began := time.Now()
	seen := func() bool { return time.Since(began) > lead }
	if err := c.observeChain(ctx, r, began, low, seen); err != nil {
		return err
	}
	before := c.traffic.generator.Result().Total()
	stepped, err := c.traffic.stepTrafficRate(ctx, high)
	if err != nil {
		return err
	}
	var last time.Time // time when all three were reached
	if r.behavior == laneBehavior {
		defer func() {
			if err == nil {
				err = errors.Join(c.checkSurgeLaneRaised(ctx, name), c.awaitEndOfHolds(ctx))
			}
		}()
	}
	err = c.observeChain(ctx, r, began, high, func() bool {
		r.recordFirstChainChanges(time.Since(stepped), r.points[len(r.points)-1])
		if last.IsZero() && r.right > 0 && r.desired > 0 && r.ready > 0 {
			last = time.Now()
		}
		return !last.IsZero() && time.Since(last) > tail
	})
	after := c.traffic.generator.Result().Total()
	r.sent, r.failed = after.Sent-before.Sent, after.Failed-before.Failed
	return err
}

// settleChainLoad waits for two pods under the low load and an autoscaler that requests two, and then for a random part of the
// controller's period.
func (c *chain) settleChainLoad(ctx context.Context, behavior, name string) error {
	if err := c.removeAutoscalers(ctx); err != nil {
		return err
	}
	if _, err := c.traffic.stepTrafficRate(ctx, low); err != nil {
		return err
	}
	stop := c.followReadyPods(ctx)
	err := c.scaleSampleService(ctx, fewPods)
	stop()
	if err != nil {
		return err
	}
	err = c.addAutoscaler(ctx, name, func(hpa *autoscaling.HorizontalPodAutoscaler) {
		hpa.Spec.MinReplicas, hpa.Spec.MaxReplicas = new(int32(fewPods)), manyPods
		hpa.Spec.Metrics[0].Pods.Target.AverageValue = resource.NewQuantity(perPod, resource.DecimalSI)
		switch behavior {
		case defaultBehavior:
			hpa.Spec.Behavior = nil
		case laneBehavior:
			enterSurgeLane(hpa)
		}
	})
	if err != nil {
		return err
	}
	err = stack.Wait(ctx, chainPatience, func(ctx context.Context) error {
		p, _, err := c.readChain(ctx)
		if err == nil && (p.Desired != fewPods || !isNearOfferedLoad(p.Served, low)) {
			err = fmt.Errorf("%d pods are desired and the metric is %.1f (%s)", p.Desired, p.Served, p.Reason)
		}
		return err
	})
	if err != nil {
		return err
	}
	settles := time.Now().Add(rand.N(hpaPeriod))
	if behavior == laneBehavior {
		settles = settles.Add(laneSettles)
	}
	return sleepUntilBenchTime(ctx, settles)
}

// isNearOfferedLoad reports whether a total is within a tenth of the truth.
func isNearOfferedLoad(total, truth float64) bool { return math.Abs(total-truth) <= 0.1*truth }

// followReadyPods sends requests to the ready pods until stop.
func (c *chain) followReadyPods(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			if urls, err := c.readySampleURLs(ctx); err == nil && len(urls) > 0 {
				c.traffic.aimTrafficAt(urls)
			}
			_ = sleepUntilBenchTime(ctx, time.Now().Add(lookEvery)) // ends with ctx
		}
	}()
	return func() { cancel(); <-ended }
}

// observeChain looks repeatedly, and makes the load follow the pods, until done returns true.
func (c *chain) observeChain(ctx context.Context, r *chainRun, began time.Time, offered float64, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, chainPatience)
	defer cancel()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		p, urls, err := c.readChain(ctx)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("observe: %w: %s", context.Cause(ctx), r.describeChainRun())
		case err != nil:
			return fmt.Errorf("observe: %w", err)
		}
		c.traffic.aimTrafficAt(urls)
		p.At, p.Offered = time.Since(began), offered
		r.points = append(r.points, p)
		if done() {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// readChain reads the metric, the autoscaler and the pods once.
func (c *chain) readChain(ctx context.Context) (timeline.Point, []string, error) {
	var p timeline.Point
	urls, err := c.readySampleURLs(ctx)
	if err != nil {
		return p, nil, err
	}
	hpas, err := c.stack.Client.AutoscalingV2().HorizontalPodAutoscalers(stack.SampleNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return p, nil, fmt.Errorf("list autoscalers: %w", err)
	}
	if len(hpas.Items) != 1 {
		return p, nil, fmt.Errorf("%d autoscalers target the sample, want 1", len(hpas.Items))
	}
	d, err := c.stack.Client.AppsV1().Deployments(stack.SampleNamespace).Get(ctx, sample, metav1.GetOptions{})
	if err != nil {
		return p, nil, fmt.Errorf("read the sample's Deployment: %w", err)
	}
	p.Ready, p.Desired = len(urls), int(*d.Spec.Replicas)
	if p.Served, _, err = c.sumSampleMetric(ctx); err != nil {
		p.Served, p.Reason = math.NaN(), stack.Reason(err)
	}
	return p, urls, nil
}

// recordFirstChainChanges records the time when each change is first visible.
func (r *chainRun) recordFirstChainChanges(since time.Duration, p timeline.Point) {
	first := func(d *time.Duration, seen bool) {
		if *d == 0 && seen {
			*d = since
		}
	}
	first(&r.right, isNearOfferedLoad(p.Served, high))
	first(&r.desired, p.Desired >= enough)
	first(&r.ready, p.Ready >= enough)
}

func (r *chainRun) describeChainRun() string {
	if len(r.points) == 0 {
		return "nothing was seen"
	}
	p := r.points[len(r.points)-1]
	return fmt.Sprintf("the metric is %.1f (%s), %d pods are desired, %d ready", p.Served, p.Reason, p.Desired, p.Ready)
}

// chainRunsWith returns the runs with a behavior, in order.
func (c *chain) chainRunsWith(behavior string) []*chainRun {
	return slices.DeleteFunc(slices.Clone(c.runs), func(r *chainRun) bool { return r.behavior != behavior })
}

// drawMedianRuns draws the run with the median time, for each behavior.
func (c *chain) drawMedianRuns(path string) error {
	var runs []timeline.Run
	for _, behavior := range c.behaviors {
		of := c.chainRunsWith(behavior)
		slices.SortFunc(of, func(a, b *chainRun) int { return int(a.ready - b.ready) })
		runs = append(runs, timeline.Run{Name: behavior, Points: of[(len(of)-1)/2].points})
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("draw the runs: %w", err)
	}
	title := fmt.Sprintf("%d → %d requests/s, %d a pod, the HPA at its real period", low, high, perPod)
	if err := errors.Join(timeline.WriteRuns(f, title, runs), f.Close()); err != nil {
		return fmt.Errorf("draw the runs: %w", err)
	}
	fmt.Fprintf(c.out, "picture: %s\n", path)
	return nil
}
