// Package rollout scales a workload to the numbers of its holds, step by step, and restores the original numbers at their end.
//
// Everything is level-triggered: a pass observes the workload, its scale and its autoscaler, and makes the changes of its record. The next pass, of this process or of another, finishes an interrupted pass. Every write names the observed
// resource version, so that two processes do not overwrite each other.
package rollout

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/retry"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/notify"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

// Checker sends test requests to pods and judges the responses.
type Checker interface {
	// Run returns an error if it cannot test the pods at all; a verdict against them is in the report.
	Run(ctx context.Context, spec verify.Spec, now, old []corev1.Pod) (verify.Report, error)
}

// ActionRunner runs the actions after the success and before the end of a hold. Running them twice is harmless.
type ActionRunner interface {
	Do(ctx context.Context, namespace string, actions []action.Action) error
}

// Notifier sends messages to people. Post does not block, and may be called concurrently.
type Notifier interface {
	Post(names []string, m notify.Message) error
}

// Options are the parts of an Engine. All except Metrics and Identity are required.
type Options struct {
	Client   kubernetes.Interface
	Dynamic  dynamic.Interface
	Mapper   meta.RESTMapper
	Checker  Checker
	Actions  ActionRunner
	Notifier Notifier
	Metrics  *Metrics // nil: not registered
	Identity string   // reporting instance of Events: the name of a pod or a user
}

// Engine moves workloads through the states of their holds. It keeps no state between passes for another process. Its methods may
// be called concurrently, also for the same workload.
type Engine struct {
	Options
	reports verifyReports
}

// New returns an engine.
func New(opts Options) *Engine {
	if opts.Metrics == nil {
		opts.Metrics = NewMetrics(nil)
	}
	return &Engine{Options: opts, reports: verifyReports{byHold: map[reportKey]verify.Report{}}}
}

// Result is the state of a workload after a pass.
type Result struct {
	Record hold.Record
	// Held is set if the workload or its autoscaler still carries the scaler's marks: another pass must follow.
	Held bool
	// NextPass is the latest time of the next pass; zero: after the next change of a hold.
	NextPass time.Time
	// HoldToVerify is the hold that needs Engine.VerifyHold; empty: no hold does.
	HoldToVerify string
	// Autoscaler is the name of the workload's autoscaler; empty: it has no autoscaler.
	Autoscaler string
	Bounds     hold.ReplicaBounds
	Replicas   int32 // of the scale
	ReadyPods  int32 // ready pods of the workload; known while a hold waits for them
	// Gone is set if the workload does not exist.
	Gone bool
	// EndedHolds are the holds that this pass ended, in their last state.
	EndedHolds []hold.Hold
}

// The intervals between two passes over a workload.
const (
	// readyPollInterval applies while a hold waits for ready pods; a pass then costs a few reads.
	readyPollInterval = 250 * time.Millisecond
	// restingInterval applies while holds only wait for their end. A user's change is seen within it.
	restingInterval = 15 * time.Second
	// retryInterval applies after a failure of a gate or a scale.
	retryInterval = 2 * time.Second
)

// maxPassAttempts bounds the tries of one pass with conflicting writes. The last conflict is returned as an error.
const maxPassAttempts = 12

// ReconcileOnce makes all changes that a workload needs now, without waiting. It returns an error if the API server is away or rejects a
// request. The changes until then stay, and the next pass continues.
func (e *Engine) ReconcileOnce(ctx context.Context, t hold.Workload, now time.Time) (Result, error) {
	var r Result
	err := e.retryRolloutOnConflict(ctx, func() error {
		p, err := e.observeRolloutWorkload(ctx, t, now)
		if err == nil {
			err = p.runRolloutSteps(ctx)
		}
		if p != nil {
			p.writeRolloutEvents(ctx)
			r = p.buildRolloutResult()
		}
		return err
	})
	if err != nil {
		return r, fmt.Errorf("scale %s: %w", t, err)
	}
	return r, nil
}

// retryRolloutOnConflict repeats do while it conflicts with other clients' writes.
func (e *Engine) retryRolloutOnConflict(ctx context.Context, do func() error) error {
	for i := 1; ; i++ {
		err := do()
		if !apierrors.IsConflict(err) || i == maxPassAttempts {
			return err
		}
		e.Metrics.conflicts.Inc()
		if !retry.Sleep(ctx, rolloutConflictBackoff(i)) {
			return context.Cause(ctx)
		}
	}
}

// rolloutConflictBackoff returns the delay after the i-th try, from 1: 10 ms, doubling up to half a second.
func rolloutConflictBackoff(i int) time.Duration {
	return retry.Backoff{First: 10 * time.Millisecond, Max: 500 * time.Millisecond}.Delay(i)
}

// runRolloutSteps makes one pass over the observed workload. The order makes an interruption safe: the record has a change before the change
// is made, and loses it after the change is undone.
func (p *reconcilePass) runRolloutSteps(ctx context.Context) error {
	if p.object == nil {
		return p.restoreOrphanRolloutBounds(ctx)
	}
	steps := []func(context.Context) error{p.rewriteRolloutRecord, p.closeRolloutGates, p.rejectOversizedRolloutHolds, p.raiseRolloutBounds, p.scaleRolloutHolds, p.undoRolledBackRolloutHolds, p.checkRolloutReady, p.openRolloutGates, p.removeEndedRolloutHolds}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	p.requestRestingRolloutPass()
	return nil
}

// rolloutPassLogger returns the logger of a pass.
func (p *reconcilePass) rolloutPassLogger(ctx context.Context) klog.Logger {
	return klog.FromContext(ctx).WithValues("workload", p.workload.String())
}
