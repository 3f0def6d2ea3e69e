// Package controller keeps schedules true and takes every held target on, whoever held it.
package controller

import (
	"context"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/rollout"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/schedule"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

// Options are what a Controller works with.
type Options struct {
	Engine        *rollout.Engine
	Namespaces    []string // where targets are looked for
	Kinds         []schema.GroupVersionKind
	Schedules     []schedule.Schedule
	Verifications map[string]verify.Spec // by name, for schedules
	HoldsBy       string                 // whose holds those of schedules are; others of them, made by the same, are ended
	Metrics       *Metrics               // nil: none
}

// Controller is what the leader does. It starts nothing before Run.
type Controller struct {
	Options

	mu             sync.Mutex      // guards what follows
	runContext     context.Context //nolint:containedctx // that of Run, while it runs: workers come and go with what is held
	workers        map[hold.Workload]*workloadWorker
	runningWorkers sync.WaitGroup
}

// workloadWorker drives one target.
type workloadWorker struct {
	wake       chan struct{} // of one element: more wakes are the same
	wokenAgain bool          // woken after its drive was done
}

// New returns a controller.
func New(opts Options) *Controller {
	if opts.Metrics == nil {
		opts.Metrics = NewMetrics(nil)
	}
	return &Controller{Options: opts, workers: map[hold.Workload]*workloadWorker{}}
}

// Metrics are those of a controller.
type Metrics struct{ heldWorkloads prometheus.Gauge }

// NewMetrics returns metrics that are registered with reg; nil: with none.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{heldWorkloads: prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "tachometer_scaler_workloads_held", Help: "Held workloads, and workloads that are being given back what they were.",
	})}
	if reg != nil {
		reg.MustRegister(m.heldWorkloads)
	}
	return m
}

// Run keeps schedules true and drives what is held, until ctx ends. It returns when all that it started has ended; what is on
// its way then is noted on the targets, and goes on where the next controller runs.
func (c *Controller) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.mu.Lock()
	c.runContext = ctx
	c.mu.Unlock()
	defer c.runningWorkers.Wait()
	defer func() { // no worker is started any more
		c.mu.Lock()
		c.runContext = nil
		c.mu.Unlock()
		cancel()
	}()
	stop, err := c.watchHeldObjects(ctx)
	if err != nil {
		return err
	}
	defer stop()
	return c.runSchedules(ctx)
}

// Raise notes a hold on a target and, where this controller runs, takes it on at once.
func (c *Controller) Raise(ctx context.Context, t hold.Workload, h hold.Hold) error {
	_, err := c.Engine.ApplyHold(ctx, t, h, timeNow())
	if err == nil {
		c.wakeWorker(t)
	}
	return err
}

// Release ends a hold of a target; there being none is no error.
func (c *Controller) Release(ctx context.Context, t hold.Workload, id, why string) error {
	_, err := c.Engine.EndHolds(ctx, t, []string{id}, why, timeNow())
	if err == nil {
		c.wakeWorker(t)
	}
	return err
}

// wakeWorker makes the target's worker look at once, and starts one if there is none.
func (c *Controller) wakeWorker(t hold.Workload) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.runContext == nil || c.runContext.Err() != nil {
		return
	}
	w := c.workers[t]
	if w == nil {
		w = &workloadWorker{wake: make(chan struct{}, 1)}
		c.workers[t] = w
		c.Metrics.heldWorkloads.Set(float64(len(c.workers)))
		c.runningWorkers.Go(func() { c.reconcileUntilReleased(c.runContext, t, w) })
		return
	}
	w.wokenAgain = true
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// reconcileUntilReleased drives a target until nothing of ours is left on it.
func (c *Controller) reconcileUntilReleased(ctx context.Context, t hold.Workload, w *workloadWorker) {
	log := klog.FromContext(ctx).WithValues("target", t.String())
	follower := rollout.NewLogObserver(log)
	follower.Wake = w.wake
	for {
		_, err := c.Engine.Reconcile(ctx, t, func(r rollout.Result) bool { return !r.Held }, follower)
		if ctx.Err() == nil && err != nil {
			log.Error(err, "Target cannot be scaled", "again in", permanentErrorPause)
			c.waitToReconcile(ctx, w)
		}
		if c.removeFinishedWorker(ctx, t, w, err) {
			return
		}
	}
}

// removeFinishedWorker removes the worker, unless it was woken since its drive began or has not done its work.
func (c *Controller) removeFinishedWorker(ctx context.Context, t hold.Workload, w *workloadWorker, err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ctx.Err() == nil && (w.wokenAgain || err != nil) {
		w.wokenAgain = false
		return false
	}
	delete(c.workers, t)
	c.Metrics.heldWorkloads.Set(float64(len(c.workers)))
	return true
}
