// Package controller is the work of the leader: it stores the holds of schedules, and starts package rollout for every held workload.
package controller

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/retry"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/event"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/rollout"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/schedule"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

// Options are the parts of a Controller.
type Options struct {
	Engine *rollout.Engine // its Reader is Caches
	Caches *rollout.CachedCluster
	// Namespaces are watched for holds, besides the namespaces with holds that Engine.Owner made earlier.
	Namespaces    []string
	Schedules     []schedule.Schedule
	Verifications map[string]verify.Spec // of schedules, by name
	Rules         []event.HoldRule
	HoldsBy       string   // owner of the schedules' holds, for people
	Metrics       *Metrics // nil: not registered
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
	for i := range opts.Schedules {
		opts.Metrics.setWorkloadPaused("schedule", opts.Schedules[i].Name, opts.Schedules[i].Paused)
	}
	for i := range opts.Rules {
		opts.Metrics.setWorkloadPaused("rule", opts.Rules[i].Name, opts.Rules[i].Paused)
	}
	return &Controller{Options: opts, workers: map[hold.Workload]*workloadWorker{}}
}

// Run applies schedules and reconciles held workloads until ctx ends. It returns after all its goroutines have ended. The holds' statuses
// keep their progress, and the next controller continues.
func (c *Controller) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.mu.Lock()
	c.runContext = ctx
	c.mu.Unlock()
	defer c.Metrics.countFailingGates(nil) // the next leader counts them
	var owing []string
	defer func() { c.handOverPendingMessages(ctx, owing) }()
	defer c.runningWorkers.Wait()
	defer func() { // from here on no worker starts
		c.mu.Lock()
		c.runContext = nil
		c.mu.Unlock()
		cancel()
	}()
	stop := c.Caches.Start(ctx, c.Namespaces, c.wakeWorkloadWorker)
	defer stop()
	defer func() { owing = c.listOwingNamespaces() }()
	c.watchOwnedNamespaces(ctx)
	c.waitForHolds(ctx)
	return c.applySchedulesAtChanges(ctx)
}

// holdsTimeout bounds the wait for the holds of all namespaces: one in which the scaler has no rights must not stop the windows of all others. It is above
// the time of an API server that answers.
const holdsTimeout = 10 * time.Second

// waitForHolds waits up to holdsTimeout until the holds of all namespaces are read.
func (c *Controller) waitForHolds(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, holdsTimeout)
	defer cancel()
	if unread := c.Caches.WaitForHolds(limited); len(unread) > 0 && ctx.Err() == nil {
		klog.FromContext(ctx).Error(nil, "Holds of namespaces cannot be read yet, applying the schedules", "namespaces", unread)
	}
}

// ownedListTimeout bounds the search for holds in all namespaces.
const ownedListTimeout = 10 * time.Second

// watchOwnedNamespaces watches the namespaces with holds that this controller acted on under an earlier configuration. While the API server does not list
// them, it tries again in the background: nobody else restores what these holds changed.
func (c *Controller) watchOwnedNamespaces(ctx context.Context) {
	if c.tryWatchOwnedNamespaces(ctx) {
		return
	}
	c.runningWorkers.Go(func() {
		for retry.Sleep(ctx, reapplyRetryInterval) && !c.tryWatchOwnedNamespaces(ctx) {
		}
	})
}

// tryWatchOwnedNamespaces reports whether it needs no other try. Without the right to list the holds of all namespaces, the configuration's are all.
func (c *Controller) tryWatchOwnedNamespaces(ctx context.Context) bool {
	limited, cancel := context.WithTimeout(ctx, ownedListTimeout)
	defer cancel()
	namespaces, err := c.Caches.ListNamespacesWithLabel(limited, hold.ControllerLabel+"="+c.Engine.Owner)
	if err != nil && ctx.Err() == nil {
		klog.FromContext(ctx).Info("Holds of all namespaces cannot be listed, watching the namespaces of the configuration", "err", err, "retried", !rollout.IsPermanentError(err))
	}
	c.Caches.WatchHolds(namespaces) //nolint:contextcheck // informers live as long as the caches, not as the call
	return err == nil || rollout.IsPermanentError(err)
}

// settleTimeout bounds the wait for receivers at the end of Run: a change of the configuration waits for it too.
const settleTimeout = time.Second

// handOverPendingMessages leaves the messages to the next leader, after the messages that receivers are getting.
func (c *Controller) handOverPendingMessages(ctx context.Context, namespaces []string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	if err := c.Engine.SettleMessages(ctx, namespaces); err != nil {
		klog.FromContext(ctx).Error(err, "Messages cannot be confirmed, the next leader may send them again")
	}
}

// listOwingNamespaces lists the namespaces with holds that owe messages.
func (c *Controller) listOwingNamespaces() (all []string) {
	for _, h := range c.Caches.ListAllHolds() {
		if len(h.Status.Outbox) > 0 && !slices.Contains(all, h.Namespace) {
			all = append(all, h.Namespace)
		}
	}
	return all
}

// Raise stores a hold and, if this controller runs, wakes the workload's worker.
func (c *Controller) Raise(ctx context.Context, t hold.Workload, h hold.Hold) error {
	changed, err := c.Engine.ApplyHold(ctx, t, h)
	if err == nil && changed {
		c.wakeWorkloadWorker(t)
	}
	return err
}

// Release ends a hold of a workload and, with the hold of a rule, the holds that the rule made before the configuration changed. A missing hold is not an error.
func (c *Controller) Release(ctx context.Context, t hold.Workload, id, reason string) error {
	ended, err := c.Engine.EndHold(ctx, t, id)
	if err == nil && c.isFirstWorkloadOfRule(t, id) { // one list for all workloads of an end
		var former []hold.Object
		former, err = c.endFormerHolds(ctx, t.Namespace, func(h *hold.Object) bool { return h.DeletionTimestamp == nil && c.isHoldOfFormerRule(h, id) })
		ended = append(ended, former...)
	}
	for i := range ended {
		held := ended[i].HeldWorkload()
		klog.FromContext(ctx).Info("Hold released", "workload", held.String(), "hold", ended[i].HoldID(), "reason", reason)
		c.wakeWorkloadWorker(held)
	}
	if err != nil {
		return fmt.Errorf("release %s: %w", t, err)
	}
	return nil
}

// wakeWorkloadWorker makes the workload's worker start a pass at once, and starts the worker if necessary.
func (c *Controller) wakeWorkloadWorker(t hold.Workload) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.runContext == nil || c.runContext.Err() != nil {
		return
	}
	w := c.workers[t.WithoutVersion()]
	if w == nil {
		w = &workloadWorker{wake: make(chan struct{}, 1)}
		c.workers[t.WithoutVersion()] = w
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

// permanentErrorPause is the delay after an error that a retry cannot mend: a person must change the workload or the rights first.
const permanentErrorPause = 30 * time.Second

// reconcileUntilReleased reconciles a workload until it has no more holds.
func (c *Controller) reconcileUntilReleased(ctx context.Context, t hold.Workload, w *workloadWorker) {
	log := klog.FromContext(ctx).WithValues("workload", t.String())
	observer := rollout.NewLogObserver(log)
	observer.Wake = w.wake
	for {
		_, err := c.reconcileWithoutPanic(ctx, t, observer)
		if ctx.Err() == nil && err != nil {
			log.Error(err, "Workload cannot be scaled", "retryIn", permanentErrorPause)
			c.waitForWorkerWakeUp(ctx, w)
		}
		if c.removeFinishedWorker(ctx, t, w, err) {
			return
		}
	}
}

// reconcileWithoutPanic reconciles a workload. A panic is the trouble of this workload alone: all others go on.
func (c *Controller) reconcileWithoutPanic(ctx context.Context, t hold.Workload, f rollout.Observer) (r rollout.Result, err error) {
	defer c.Engine.Metrics.Panics.Catch(ctx, &err, func() []any { return []any{"workload", t.String()} })
	return c.Engine.Reconcile(ctx, t, func(r rollout.Result) bool { return !r.IsHeld() }, f)
}

// waitForWorkerWakeUp waits for a wake-up or permanentErrorPause.
func (c *Controller) waitForWorkerWakeUp(ctx context.Context, w *workloadWorker) {
	timer := time.NewTimer(permanentErrorPause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-w.wake:
		retry.Sleep(ctx, time.Second) // a write of our own may have been the wake-up
	case <-timer.C:
	}
}

// removeFinishedWorker removes the worker, unless a wake-up came meanwhile or the reconciliation failed. It reports whether it did.
func (c *Controller) removeFinishedWorker(ctx context.Context, t hold.Workload, w *workloadWorker, err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ctx.Err() == nil && (w.wokenAgain || err != nil) {
		w.wokenAgain = false
		return false
	}
	delete(c.workers, t.WithoutVersion())
	c.Metrics.heldWorkloads.Set(float64(len(c.workers)))
	return true
}
