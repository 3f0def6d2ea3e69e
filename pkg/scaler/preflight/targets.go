// The workloads and the gates of a configuration.

package preflight

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/config"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/rollout"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/schedule"
)

// plannedHold is the largest hold of a schedule or of a rule on a workload.
type plannedHold struct {
	source   string // schedule office-hours
	workload hold.Workload
	hold     hold.Hold
}

// listLargestHolds lists the largest holds of each schedule and rule on each of its workloads.
func listLargestHolds(cfg *config.Config) (all []plannedHold) {
	for i := range cfg.Schedules {
		s := &cfg.Schedules[i]
		for _, w := range listLargestWindows(s) {
			h := hold.Hold{ID: hold.SchedulePrefix + s.Name, Replicas: w.MinReplicas, MinReplicas: w.MinReplicas, MaxReplicas: w.MaxReplicas, Lower: true}
			for _, t := range s.Workloads {
				all = append(all, plannedHold{"schedule " + s.Name, t, h})
			}
		}
	}
	for i := range cfg.Events.Rules {
		r := &cfg.Events.Rules[i]
		for _, w := range r.Workloads {
			h := hold.Hold{ID: hold.EventPrefix + r.Name, Replicas: w.Replicas.Highest(), MinReplicas: w.MinReplicas.Highest(), MaxReplicas: w.MaxReplicas.Highest()}
			all = append(all, plannedHold{"rule " + r.Name, w.Workload, h})
		}
	}
	return all
}

// listLargestWindows lists the largest window of a schedule and, if that one has a maxReplicas of its own, the largest without: the autoscaler
// may allow the first alone.
func listLargestWindows(s *schedule.Schedule) []schedule.Window {
	bySize := func(a, b schedule.Window) int { return int(a.MinReplicas - b.MinReplicas) }
	largest := slices.MaxFunc(s.Windows, bySize)
	unlimited := slices.DeleteFunc(slices.Clone(s.Windows), func(w schedule.Window) bool { return w.MaxReplicas > 0 })
	if largest.MaxReplicas == 0 || len(unlimited) == 0 {
		return []schedule.Window{largest}
	}
	return []schedule.Window{largest, slices.MaxFunc(unlimited, bySize)}
}

// planLargestHolds plans the largest holds: each workload exists, and its autoscaler lets the hold have its number.
func (o *Inspection) planLargestHolds(ctx context.Context) (all []Result) {
	for _, p := range listLargestHolds(o.Config) {
		r := Result{Check: "workload", Subject: fmt.Sprintf("%s: %s", p.source, p.workload), Status: OK}
		plan, err := o.Planner.PlanHold(ctx, p.workload, p.hold, o.Now)
		switch {
		case errors.Is(err, rollout.ErrGone):
			r.Status, r.Detail, r.Fix = Missing, "does not exist", "create it, or take it out of the configuration"
		case meta.IsNoMatchError(err):
			r.Status, r.Detail = Unknown, "the cluster does not have its kind"
		case apierrors.IsForbidden(err):
			r.Status, r.Detail = Unknown, "a right is missing: "+err.Error()
		case hasNoClusterAnswer(err):
			r.Status, r.Detail = Unknown, err.Error()
		case err != nil:
			r.Status, r.Detail, r.Fix = Missing, err.Error(), "mend that, or take it out of the configuration" // the reason says how
		case plan.RejectReason != "":
			r.Status, r.Detail, r.Fix = Missing, plan.RejectReason, "mend that, or change the "+p.source
		default:
			r.Detail = fmt.Sprintf("up to %d replicas (now %d)", p.hold.Replicas, plan.Replicas)
		}
		all = append(all, r)
	}
	return all
}

// hasNoClusterAnswer reports whether a request got no answer of the API server, or none about the cluster.
func hasNoClusterAnswer(err error) bool {
	var unanswered *url.Error
	return errors.As(err, &unanswered) || apierrors.IsServerTimeout(err) || apierrors.IsServiceUnavailable(err) || apierrors.IsTooManyRequests(err) ||
		apierrors.IsInternalError(err) || apierrors.IsUnauthorized(err)
}

// gatePatch is a patch of a gate, in the namespace of its object.
type gatePatch struct {
	gate, namespace, name string
	kind                  schema.GroupVersionKind
	merge                 json.RawMessage
	isRecorded            bool // its object is read before the gate opens
}

// listGatePatches lists the patches of all gates, for each namespace with holds that may use them.
func listGatePatches(cfg *config.Config) (all []gatePatch) {
	gates := cfg.Gates()
	for _, name := range slices.Sorted(maps.Keys(gates)) {
		g := gates[name]
		namespaces := slices.Sorted(slices.Values(g.Namespaces))
		for _, namespace := range slices.Compact(namespaces) {
			for _, a := range slices.Concat(g.Open, g.Shut) {
				if a.Patch != nil {
					p := newGatePatch(name, namespace, a.Patch)
					p.isRecorded = len(g.Shut) == 0
					all = append(all, p)
				}
			}
		}
	}
	return all
}

// newGatePatch returns the patch of a gate in its last step.
func newGatePatch(gate, namespace string, p *action.Patch) gatePatch {
	if p.Namespace != "" {
		namespace = p.Namespace
	}
	merge, err := p.RenderMerge(100)
	if err != nil {
		merge = p.Merge // the API server names its fault
	}
	return gatePatch{gate: gate, namespace: namespace, name: p.Name, kind: schema.FromAPIVersionAndKind(p.APIVersion, p.Kind), merge: merge}
}

// dryRunGatePatches has the API server check each patch of a gate, without storing it: the object exists, the right is there, and the patch
// is valid.
func (o *Inspection) dryRunGatePatches(ctx context.Context) (all []Result) {
	for _, p := range listGatePatches(o.Config) {
		r := Result{Check: "gate", Subject: fmt.Sprintf("%s: %s %s in namespace %s", p.gate, p.kind.Kind, p.name, p.namespace), Status: OK, Detail: "the API server takes the patch"}
		err := o.dryRunGatePatch(ctx, p)
		switch {
		case meta.IsNoMatchError(err):
			r.Status, r.Detail, r.Fix = Missing, err.Error(), "install the kind "+p.kind.Kind+", or change the action"
		case apierrors.IsNotFound(err):
			r.Status, r.Detail, r.Fix = Missing, "does not exist", "create it: an action patches an object that is there"
		case apierrors.IsForbidden(err):
			r.Status, r.Detail, r.Fix = Missing, err.Error(), "bind a role like the ClusterRole tachometer-scaler-gates in the namespace, narrowed to this object"
		case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
			r.Status, r.Detail, r.Fix = Missing, err.Error(), "mend the patch of the action"
		case err != nil:
			r.Status, r.Detail = Unknown, err.Error()
		}
		if !slices.Contains(all, r) { // the gate's two actions patch one object
			all = append(all, r)
		}
	}
	return all
}

// checkGateConflicts finds gates that would shut a cluster-scoped object for each other. The configuration alone does not tell the scope of every kind.
func (o *Inspection) checkGateConflicts(context.Context) (all []Result) {
	gates := o.Config.Gates()
	runner := action.New(o.Dynamic, o.Mapper, action.Options{Gates: gates})
	for _, name := range slices.Sorted(maps.Keys(gates)) {
		if conflict := runner.Conflict(name); conflict != "" {
			all = append(all, Result{Check: "gate", Subject: name, Status: Missing, Detail: conflict, Fix: "change the object from the gates of one namespace"})
		}
	}
	return all
}

// dryRunGatePatch sends a patch as a dry run.
func (o *Inspection) dryRunGatePatch(ctx context.Context, p gatePatch) error {
	mapping, err := o.Mapper.RESTMapping(p.kind.GroupKind(), p.kind.Version)
	if err != nil {
		return err
	}
	var objects dynamic.ResourceInterface = o.Dynamic.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		objects = o.Dynamic.Resource(mapping.Resource).Namespace(p.namespace)
	}
	_, err = objects.Patch(ctx, p.name, types.MergePatchType, p.merge, metav1.PatchOptions{FieldManager: action.FieldManager, DryRun: []string{metav1.DryRunAll}})
	return err
}
