// Package controller applies schedules, and reconciles every held workload, including the holds of other processes.
package controller

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/rollout"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/schedule"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

// Options are the parts of a Controller.
type Options struct {
	Engine        *rollout.Engine
	Namespaces    []string // searched for held workloads
	Kinds         []schema.GroupVersionKind
	Schedules     []schedule.Schedule
	Verifications map[string]verify.Spec // of schedules, by name
	HoldsBy       string                 // owner of the schedules' holds; the controller ends all other schedule holds of this owner
	Metrics       *Metrics               // nil: not registered
}

// Controller is the work of the leader. It starts with Run.
type Controller struct {
	Options

	mu             sync.Mutex      // guards the fields below
	runContext     context.Context //nolint:containedctx // context of Run, nil before and after: workers come and go with the held workloads
	workers        map[hold.Workload]*workloadWorker
	runningWorkers sync.WaitGroup
}

// workloadWorker reconciles one workload.
type workloadWorker struct {
	wake       chan struct{} // holds one wake-up: further wake-ups are the same
	wokenAgain bool          // a wake-up came after the last reconciliation began
}

// New returns a controller.
func New(opts Options) *Controller {
	if opts.Metrics == nil {
		opts.Metrics = NewMetrics(nil)
	}
	return &Controller{Options: opts, workers: map[hold.Workload]*workloadWorker{}}
}

// Run applies schedules and reconciles held workloads until ctx ends. It returns after all its goroutines have ended. The workloads'
// annotations keep the progress of their holds, and the next controller continues.
func (c *Controller) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.mu.Lock()
	c.runContext = ctx
	c.mu.Unlock()
	defer c.runningWorkers.Wait()
	defer func() { // from here on no worker starts
		c.mu.Lock()
		c.runContext = nil
		c.mu.Unlock()
		cancel()
	}()
	stop, err := c.watchControllerObjects(ctx)
	if err != nil {
		return err
	}
	defer stop()
	return c.runControllerSchedules(ctx)
}

// Raise writes a hold to a workload and, if this controller runs, wakes its worker.
func (c *Controller) Raise(ctx context.Context, t hold.Workload, h hold.Hold) error {
	_, err := c.Engine.ApplyHold(ctx, t, h, controllerTimeNow())
	if err == nil {
		c.wakeControllerWorker(t)
	}
	return err
}

// Release ends a hold of a workload. A missing hold is not an error.
func (c *Controller) Release(ctx context.Context, t hold.Workload, id, message string) error {
	_, err := c.Engine.EndHolds(ctx, t, []string{id}, message, controllerTimeNow())
	if err == nil {
		c.wakeControllerWorker(t)
	}
	return err
}

// wakeControllerWorker makes the workload's worker start a pass at once, and starts the worker if necessary.
func (c *Controller) wakeControllerWorker(t hold.Workload) {
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
		c.runningWorkers.Go(func() { c.runControllerWorkerUntilReleased(c.runContext, t, w) })
		return
	}
	w.wokenAgain = true
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// runControllerWorkerUntilReleased reconciles a workload until it carries no more marks of the scaler.
func (c *Controller) runControllerWorkerUntilReleased(ctx context.Context, t hold.Workload, w *workloadWorker) {
	log := klog.FromContext(ctx).WithValues("workload", t.String())
	observer := rollout.NewLogObserver(log)
	observer.Wake = w.wake
	for {
		_, err := c.Engine.Reconcile(ctx, t, func(r rollout.Result) bool { return !r.Held }, observer)
		if ctx.Err() == nil && err != nil {
			log.Error(err, "Workload cannot be scaled", "retryIn", permanentErrorPause)
			c.waitForControllerWakeUp(ctx, w)
		}
		if c.removeFinishedControllerWorker(ctx, t, w, err) {
			return
		}
	}
}

// removeFinishedControllerWorker removes the worker, unless a wake-up came meanwhile or the reconciliation failed. It reports whether it did.
func (c *Controller) removeFinishedControllerWorker(ctx context.Context, t hold.Workload, w *workloadWorker, err error) bool {
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
