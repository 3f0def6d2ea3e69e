// Package rollout takes a target to where its holds want it, one step after the other, and back to what it was.
//
// Everything is level-triggered: a pass reads the target, its scale and its autoscaler, and does what is missing between
// what it sees and what the record on the target asks for. A pass that was cut off anywhere is finished by the next, of this
// process or of another; passes of two processes at once are kept apart by the resource versions that every write names.
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

	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/notify"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
)

// Checker asks pods and judges their answers.
type Checker interface {
	// Run returns an error where the pods could not be asked at all; a verdict against them is in the report.
	Run(ctx context.Context, spec verify.Spec, now, old []corev1.Pod) (verify.Report, error)
}

// Gate does what follows success or the end of a hold. Doing it twice is harmless.
type Gate interface {
	Do(ctx context.Context, namespace string, actions []action.Action) error
}

// Notifier tells people. It does not block and may be called concurrently.
type Notifier interface {
	Post(names []string, m notify.Message) error
}

// Options are what an Engine works with. All but Metrics are needed.
type Options struct {
	Client   kubernetes.Interface
	Dynamic  dynamic.Interface
	Mapper   meta.RESTMapper
	Checker  Checker
	Gate     Gate
	Notifier Notifier
	Metrics  *Metrics // nil: none
	Identity string   // who reports the Events: a pod's or a user's name
}

// Engine takes targets through their holds. It starts nothing, and keeps nothing between passes that another would need; its
// methods may be called concurrently, for one target too.
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

// Result is how a target stands after a pass.
type Result struct {
	Record hold.Record
	// Held tells that the target or its autoscaler still carries something of ours: a pass is to follow.
	Held bool
	// Again is when the next pass is worth while, at the latest; zero: when something is asked for.
	Again time.Time
	// Judge is the hold whose pods are to be verified; empty: none. See Engine.Judge.
	Judge string
	// Autoscaler is the name of the one that points at the target; empty: none.
	Autoscaler string
	Limits     hold.Limits
	Replicas   int32 // asked for
	Ready      int32 // pods of the target that are ready; known while a hold waits for them
	// Gone tells that the target is not there.
	Gone bool
	// Ended are the holds that this pass ended, in their last state.
	Ended []hold.Hold
}

// How often a target is looked at.
const (
	// readyPollInterval: pods become ready; a look is two reads.
	readyPollInterval = 250 * time.Millisecond
	// restingInterval: a hold rests; a person's change in between is seen within this.
	restingInterval = 15 * time.Second
	// retryInterval: a gate or a scale that refused.
	retryInterval = 2 * time.Second
)

// maxPassAttempts at one pass that others' writes cut off: a storm of conflicts is over, or shown as what it is.
const maxPassAttempts = 12

// Pass does all that can be done for a target now, without waiting for anything. It returns an error where the API server
// could not be asked or refused; what was done until then stays, and the next pass goes on.
func (e *Engine) Pass(ctx context.Context, t hold.Target, now time.Time) (Result, error) {
	var r Result
	err := e.retryOnConflict(ctx, func() error {
		p, err := e.observeWorkload(ctx, t, now)
		if err == nil {
			err = p.runSteps(ctx)
		}
		if p != nil {
			p.writeEvents(ctx)
			r = p.buildResult()
		}
		return err
	})
	if err != nil {
		return r, fmt.Errorf("scale %s: %w", t, err)
	}
	return r, nil
}

// retryOnConflict repeats do while others' writes get in between.
func (e *Engine) retryOnConflict(ctx context.Context, do func() error) error {
	for i := 1; ; i++ {
		err := do()
		if !apierrors.IsConflict(err) || i == maxPassAttempts {
			return err
		}
		e.Metrics.conflicts.Inc()
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(conflictBackoff(i)):
		}
	}
}

// conflictBackoff is how long the i-th try waits, from 1: 10 ms, doubling up to half a second.
func conflictBackoff(i int) time.Duration {
	return min(10*time.Millisecond<<(i-1), 500*time.Millisecond)
}

// runSteps is one pass over what was seen. The order is what makes it safe to be cut off: nothing is raised that the record does
// not hold, and the record forgets nothing that is still raised.
func (p *reconcilePass) runSteps(ctx context.Context) error {
	if p.object == nil {
		return p.restoreOrphanBounds(ctx)
	}
	steps := []func(context.Context) error{p.rewriteRecord, p.closeGates, p.rejectOversizedHolds, p.raiseBounds, p.scaleHolds, p.undoRolledBackHolds, p.checkReady, p.openGates, p.removeEndedHolds}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	p.requestRestingPass()
	return nil
}

// passLogger is the logger of a pass.
func (p *reconcilePass) passLogger(ctx context.Context) klog.Logger {
	return klog.FromContext(ctx).WithValues("target", p.workload.String())
}
