// Package preflight checks the cluster and the receivers against the needs of a configuration before a sale does: rights, workloads,
// gates, notifiers and event sources.
package preflight

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/config"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/rollout"
)

// Status is the outcome of a check.
type Status string

// The outcomes.
const (
	OK      Status = "ok"
	Missing Status = "MISSING" // the configuration does not work without it
	Unknown Status = "unknown" // it could not be checked
)

// Result is the outcome of one check.
type Result struct {
	Check   string `json:"check"`   // cluster, crd, hold, kind, rights, workload, gate, watch, surge, notifier, kafka or http
	Subject string `json:"subject"` // which one
	Status  Status `json:"status"`
	Detail  string `json:"detail"`
	Fix     string `json:"fix,omitempty"` // for people; empty if nothing is missing
}

// Planner returns the effect of a hold. It only reads.
type Planner interface {
	PlanHold(ctx context.Context, t hold.Workload, h hold.Hold, now time.Time) (rollout.Plan, error)
}

// Inspection holds the configuration to check, and the cluster as the controller's user sees it. All fields but Send are required.
type Inspection struct {
	Config  *config.Config
	Client  kubernetes.Interface
	Dynamic dynamic.Interface
	Mapper  meta.RESTMapper
	Planner Planner
	// Watcher reads the numbers that gates are watched by.
	Watcher rollout.Watcher
	// LeaseNamespace and LeaseName name the controller's Lease.
	LeaseNamespace, LeaseName string
	// Send has a test message sent to every notifier. Without it, each receiver is only connected to.
	Send bool
	Now  time.Time
}

// checkTimeout bounds a check of a receiver or of a broker.
const checkTimeout = 10 * time.Second

// Run makes all checks, one after the other. It changes nothing in the cluster. If the API server does not answer, it leaves out the checks of the cluster, and
// says so once.
func Run(ctx context.Context, opts Inspection) []Result {
	all := opts.checkAPIServer()
	if len(all) == 0 {
		all = opts.checkCluster(ctx)
	}
	return slices.Concat(all, opts.checkNotifiersConnect(ctx), opts.checkEventSources(ctx))
}

// checkAPIServer returns a result if the API server does not answer; none: it does.
func (o *Inspection) checkAPIServer() []Result {
	kind := hold.GroupVersion.WithKind(hold.Kind)
	if _, err := o.Mapper.RESTMapping(kind.GroupKind(), kind.Version); hasNoClusterAnswer(err) {
		return []Result{{"cluster", "API server", Unknown, err.Error(), "nothing in the cluster was checked: make kubectl version work with the same flags, then check again"}}
	}
	return nil
}

// checkCluster makes the checks that ask the API server.
func (o *Inspection) checkCluster(ctx context.Context) (all []Result) {
	for _, check := range []func(context.Context) []Result{
		o.checkHoldResourceKind, o.checkTrialHolds, o.checkWorkloadKindsExist, o.reviewControllerRights, o.planLargestHolds, o.dryRunGatePatches,
		o.checkGateConflicts, o.checkGateWatches, o.checkSurgeRights,
	} {
		all = append(all, check(ctx)...)
	}
	return all
}

// Err returns an error if something is missing, or could not be checked; nil: all is there.
func Err(all []Result) error {
	missing, unknown := CountStatus(all, Missing), CountStatus(all, Unknown)
	switch {
	case missing > 0 && unknown > 0:
		return fmt.Errorf("%d of %d checks found something missing, and %d could not be made", missing, len(all), unknown)
	case missing > 0:
		return fmt.Errorf("%d of %d checks found something missing", missing, len(all))
	case unknown > 0:
		return fmt.Errorf("%d of %d checks could not be made", unknown, len(all))
	}
	return nil
}

// CountStatus counts the results with a status.
func CountStatus(all []Result, status Status) (n int) {
	for _, r := range all {
		if r.Status == status {
			n++
		}
	}
	return n
}

// newCheckResult returns a result: ok with a detail, or missing with an error and its fix.
func newCheckResult(check, subject, detail string, err error, fix string) Result {
	if err != nil {
		return Result{check, subject, Missing, err.Error(), fix}
	}
	return Result{check, subject, OK, detail, ""}
}

// newPreflightKindResult returns the result of a check of a kind: unknown if the cluster's kinds cannot be read.
func newPreflightKindResult(check, subject, detail string, err error, fix string) Result {
	r := newCheckResult(check, subject, detail, err, fix)
	if err != nil && !meta.IsNoMatchError(err) {
		r.Status, r.Fix = Unknown, "reach the API server: kubectl api-resources"
	}
	return r
}

// checkHoldResourceKind checks that the cluster has the custom resource of holds.
func (o *Inspection) checkHoldResourceKind(context.Context) []Result {
	kind := hold.GroupVersion.WithKind(hold.Kind)
	_, err := o.Mapper.RESTMapping(kind.GroupKind(), kind.Version)
	return []Result{newPreflightKindResult("crd", hold.Resource+"."+hold.GroupVersion.Group, "installed", err, hold.ApplySchema)}
}

// workloadKey names the kind of a workload in a namespace.
type workloadKey struct {
	namespace string
	kind      schema.GroupVersionKind
}

// listConfiguredKinds lists the kinds of the workloads of a configuration by namespace. A namespace without workloads has the kinds of apps/v1.
func listConfiguredKinds(cfg *config.Config) (all []workloadKey) {
	seen := map[string]bool{}
	add := func(namespace string, kind schema.GroupVersionKind) {
		seen[namespace] = true
		if key := (workloadKey{namespace, kind}); !slices.Contains(all, key) {
			all = append(all, key)
		}
	}
	for _, t := range listConfiguredWorkloads(cfg) {
		add(t.Namespace, t.GroupVersionKind())
	}
	for _, namespace := range cfg.Namespaces {
		if !seen[namespace] {
			for _, kind := range []string{"Deployment", "StatefulSet"} {
				add(namespace, schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: kind})
			}
		}
	}
	return all
}

// listConfiguredWorkloads lists the workloads of schedules and rules, each once.
func listConfiguredWorkloads(cfg *config.Config) (all []hold.Workload) {
	for i := range cfg.Schedules {
		all = append(all, cfg.Schedules[i].Workloads...)
	}
	for i := range cfg.Events.Rules {
		for _, w := range cfg.Events.Rules[i].Workloads {
			all = append(all, w.Workload)
		}
	}
	slices.SortFunc(all, func(a, b hold.Workload) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.APIVersion, b.APIVersion), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return slices.Compact(all)
}

// checkWorkloadKindsExist checks that the cluster has every kind of workload.
func (o *Inspection) checkWorkloadKindsExist(context.Context) (all []Result) {
	var checked []schema.GroupVersionKind
	for _, key := range listConfiguredKinds(o.Config) {
		if slices.Contains(checked, key.kind) {
			continue
		}
		checked = append(checked, key.kind)
		_, err := o.Mapper.RESTMapping(key.kind.GroupKind(), key.kind.Version)
		fix := fmt.Sprintf("install the custom resource %s, or take its workloads out of the configuration", key.kind.Kind)
		all = append(all, newPreflightKindResult("kind", key.kind.GroupVersion().String()+" "+key.kind.Kind, "served", err, fix))
	}
	return all
}
