// The rights of the controller.

package preflight

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	custommetrics "k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	externalmetrics "k8s.io/metrics/pkg/apis/external_metrics/v1beta1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/action"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/config"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
)

// Right is a verb on a resource in a namespace, with the name of a single object or without. An empty namespace means all namespaces.
type Right struct {
	Namespace                    string
	Group, Resource, Subresource string
	Verb, Name                   string
	// Optional marks a right without which the controller works, except for holds of namespaces that the configuration no longer names.
	Optional bool
}

// String returns the right as kubectl auth can-i takes it: patch deployments.apps/scale in namespace shop.
func (r Right) String() string {
	text := r.Verb + " " + r.Resource
	if r.Group != "" {
		text += "." + r.Group
	}
	if r.Subresource != "" {
		text += "/" + r.Subresource
	}
	if r.Name != "" {
		text += " " + r.Name
	}
	if r.Namespace == "" {
		return text + " in all namespaces"
	}
	return text + " in namespace " + r.Namespace
}

// listRightsForVerbs returns a right for each verb.
func listRightsForVerbs(of Right, verbs ...string) (all []Right) {
	for _, verb := range verbs {
		of.Verb = verb
		all = append(all, of)
	}
	return all
}

// listControllerRights lists the rights that the controller needs for a configuration. A kind that the mapper does not know is left out.
func listControllerRights(cfg *config.Config, mapper meta.RESTMapper, leaseNamespace, leaseName string) []Right {
	lease := Right{Namespace: leaseNamespace, Group: "coordination.k8s.io", Resource: "leases"}
	named := lease
	named.Name = leaseName
	all := slices.Concat(listRightsForVerbs(lease, "create"), listRightsForVerbs(named, "get", "update"))
	if len(cfg.Events.Rules) > 0 {
		ids := Right{Namespace: leaseNamespace, Resource: "configmaps"}
		all = append(all, listRightsForVerbs(ids, "create")...)
		ids.Name = leaseName + "-events"
		all = append(all, listRightsForVerbs(ids, "get", "update")...)
	}
	all = append(all, Right{Group: hold.GroupVersion.Group, Resource: hold.Resource, Verb: "list", Optional: true})
	for _, namespace := range cfg.Namespaces {
		all = append(all, listNamespaceRights(namespace)...)
	}
	for _, key := range listConfiguredKinds(cfg) {
		all = append(all, listKindRights(key, mapper)...)
	}
	return slices.Concat(all, listGateRights(cfg, mapper), listWatchRights(cfg))
}

// listKindRights lists the rights on the workloads of a kind. A kind that the mapper does not know has none: checkWorkloadKindsExist reports it.
func listKindRights(key workloadKey, mapper meta.RESTMapper) []Right {
	mapping, err := mapper.RESTMapping(key.kind.GroupKind(), key.kind.Version)
	if err != nil {
		return nil
	}
	object := newNamespaceRight(key.namespace, mapping.Resource)
	all := listRightsForVerbs(object, "get", "list", "watch")
	object.Subresource = "scale"
	all = append(all, listRightsForVerbs(object, "patch")...)
	if object.Group != "apps" { // the objects of apps have their replicas and selector themselves
		all = append(all, listRightsForVerbs(object, "get")...)
	}
	return all
}

func newNamespaceRight(namespace string, resource schema.GroupVersionResource) Right {
	return Right{Namespace: namespace, Group: resource.Group, Resource: resource.Resource}
}

// listNamespaceRights lists the rights in a namespace with workloads, besides the rights on the workloads.
func listNamespaceRights(namespace string) []Right {
	holds := Right{Namespace: namespace, Group: hold.GroupVersion.Group, Resource: hold.Resource}
	status := holds
	status.Subresource = "status"
	return slices.Concat(
		listRightsForVerbs(holds, "list", "watch", "create", "update", "delete"),
		listRightsForVerbs(status, "update"),
		listRightsForVerbs(Right{Namespace: namespace, Group: "autoscaling", Resource: "horizontalpodautoscalers"}, "list", "watch", "patch"),
		listRightsForVerbs(Right{Namespace: namespace, Resource: "pods"}, "list", "watch"),
		listRightsForVerbs(Right{Namespace: namespace, Resource: "events"}, "create"),
	)
}

// listGateRights lists the rights to patch the objects of gates, and to read the ones to restore.
func listGateRights(cfg *config.Config, mapper meta.RESTMapper) (all []Right) {
	for _, p := range listGatePatches(cfg) {
		mapping, err := mapper.RESTMapping(p.kind.GroupKind(), p.kind.Version)
		if err != nil {
			continue // dryRunGatePatches reports it
		}
		right := newNamespaceRight(p.namespace, mapping.Resource)
		if mapping.Scope.Name() != meta.RESTScopeNameNamespace {
			right.Namespace = ""
		}
		right.Name = p.name
		for _, right := range listRightsForVerbs(right, "patch", "get") {
			if !slices.Contains(all, right) && (right.Verb == "patch" || p.isRecorded) {
				all = append(all, right)
			}
		}
	}
	return all
}

// listWatchRights lists the rights to read the metrics that watch gates.
func listWatchRights(cfg *config.Config) (all []Right) {
	gates := cfg.Gates()
	for _, name := range slices.Sorted(maps.Keys(gates)) {
		g := gates[name]
		if g.After == nil || g.After.Metric == "" {
			continue
		}
		right := Right{Group: externalmetrics.GroupName, Resource: g.After.Metric, Verb: "list"}
		if g.After.Of == action.WatchPods {
			right = Right{Group: custommetrics.GroupName, Resource: "pods", Subresource: g.After.Metric, Verb: "get"}
		}
		for _, right.Namespace = range g.Namespaces {
			if !slices.Contains(all, right) {
				all = append(all, right)
			}
		}
	}
	return all
}

// reviewControllerRights asks the API server for each right. It reports the missing ones, and for the rest their number by namespace.
func (o *Inspection) reviewControllerRights(ctx context.Context) (all []Result) {
	granted := map[string]int{}
	var namespaces []string
	missing, bound := map[int]Right{}, map[string]bool{} // by index in all; the namespaces with a right of the workloads' role
	for _, r := range listControllerRights(o.Config, o.Mapper, o.LeaseNamespace, o.LeaseName) {
		if _, known := granted[r.Namespace]; !known {
			namespaces = append(namespaces, r.Namespace)
			granted[r.Namespace] = 0
		}
		result := o.reviewRight(ctx, r)
		if result.Status == OK && result.Detail == "" {
			granted[r.Namespace]++
			bound[r.Namespace] = bound[r.Namespace] || r.isOfWorkloadsRole() && !r.isHoldList() // another shipped role lists the holds of all namespaces
			continue
		}
		if result.Status == Missing {
			missing[len(all)] = r
		}
		all = append(all, result)
	}
	o.addGrantingCommands(ctx, all, missing, bound)
	return append(all, countGrantedRights(namespaces, granted)...)
}

// addGrantingCommands adds to the results of missing rights the command that grants them.
func (o *Inspection) addGrantingCommands(ctx context.Context, all []Result, missing map[int]Right, bound map[string]bool) {
	if len(missing) == 0 {
		return
	}
	subject := o.describeSubject(ctx)
	for i, r := range missing {
		all[i].Fix = describeGrantingCommand(r, subject, o.LeaseNamespace, bound[r.Namespace])
	}
}

// countGrantedRights returns a result for each namespace with rights that are granted.
func countGrantedRights(namespaces []string, granted map[string]int) (all []Result) {
	for _, namespace := range namespaces {
		if n := granted[namespace]; n > 0 {
			subject := "namespace " + namespace
			if namespace == "" {
				subject = "all namespaces"
			}
			all = append(all, Result{Check: "rights", Subject: subject, Status: OK, Detail: fmt.Sprintf("%d rights granted", n)})
		}
	}
	return all
}

// reviewRight asks the API server for one right.
func (o *Inspection) reviewRight(ctx context.Context, r Right) Result {
	review, err := o.Client.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: r.Namespace, Group: r.Group, Resource: r.Resource, Subresource: r.Subresource, Verb: r.Verb, Name: r.Name,
		}},
	}, metav1.CreateOptions{})
	result := Result{Check: "rights", Subject: r.String(), Status: OK}
	switch {
	case err != nil:
		result.Status, result.Detail = Unknown, fmt.Sprintf("the API server does not answer: %v", err)
	case !review.Status.Allowed && r.Optional:
		result.Detail = "optional, and not granted: holds of namespaces that the configuration no longer names stay"
	case !review.Status.Allowed:
		result.Status, result.Detail = Missing, strings.TrimSuffix("not granted: "+review.Status.Reason, ": ")
	}
	return result
}
