// The autoscalers of the surge lane.

package preflight

import (
	"context"
	"fmt"
	"slices"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	custommetrics "k8s.io/metrics/pkg/apis/custom_metrics/v1beta2"
	externalmetrics "k8s.io/metrics/pkg/apis/external_metrics/v1beta1"

	"github.com/tachometer-metrics/tachometer/pkg/kube"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/surge"
)

// checkSurgeRights finds the autoscalers in the surge lane, and asks for the rights that the lane needs for each.
func (o *Inspection) checkSurgeRights(ctx context.Context) (all []Result) {
	if o.Config.Surge.ModeOrDefault() == surge.ModeOff {
		return nil
	}
	asked := map[Right]bool{}
	for _, r := range listControllerRights(o.Config, o.Mapper, o.LeaseNamespace, o.LeaseName) {
		asked[r] = true // by reviewControllerRights
	}
	for _, namespace := range o.Config.Namespaces {
		var found []autoscalingv2.HorizontalPodAutoscaler
		list := o.Client.AutoscalingV2().HorizontalPodAutoscalers(namespace).List
		err := kube.EachListPage(ctx, metav1.ListOptions{}, list, func(page *autoscalingv2.HorizontalPodAutoscalerList) error {
			found = append(found, page.Items...)
			return nil
		})
		if err != nil {
			all = append(all, Result{Check: "surge", Subject: "namespace " + namespace, Status: Unknown, Detail: "its autoscalers cannot be read: " + err.Error()})
			continue
		}
		for i := range found {
			all = append(all, o.checkSurgeMemberRights(ctx, &found[i], asked)...)
		}
		all = append(all, o.checkSurgeRuleMatches(namespace, found)...)
	}
	return all
}

// checkSurgeRuleMatches finds the rules of a namespace that match no autoscaler.
func (o *Inspection) checkSurgeRuleMatches(namespace string, found []autoscalingv2.HorizontalPodAutoscaler) (all []Result) {
	for _, r := range o.Config.Surge.Autoscalers {
		isMatched := slices.ContainsFunc(found, func(a autoscalingv2.HorizontalPodAutoscaler) bool { return r.Selector.Matches(labels.Set(a.Labels)) })
		if r.Namespace == namespace && !isMatched {
			subject := fmt.Sprintf("autoscalers %s in namespace %s", r.Selector, namespace)
			all = append(all, Result{"surge", subject, Missing, "no autoscaler has these labels", "label one, or take the selector out of surge.autoscalers"})
		}
	}
	return all
}

// checkSurgeMemberRights checks an autoscaler, if it is in the lane. It asks for no right twice.
func (o *Inspection) checkSurgeMemberRights(ctx context.Context, a *autoscalingv2.HorizontalPodAutoscaler, asked map[Right]bool) (all []Result) {
	r := Result{Check: "surge", Subject: fmt.Sprintf("autoscaler %s in namespace %s", a.Name, a.Namespace), Status: OK}
	_, isIn, err := o.Config.Surge.FindTerms(a)
	if err != nil {
		return []Result{newCheckResult("surge", r.Subject, "", err, "mend the annotation, or set it to off")}
	}
	if !isIn {
		return nil
	}
	rights := listSurgeMetricRights(a, o.Mapper)
	if r.Detail = fmt.Sprintf("%d metrics to read", len(rights)); len(rights) == 0 {
		r.Status, r.Detail = Missing, "has no metric that the surge lane reads: it reads Pods, Object and External metrics"
		r.Fix = "add such a metric, or take the autoscaler out of the lane"
	}
	all = append(all, r)
	target := workloadKey{a.Namespace, schema.FromAPIVersionAndKind(a.Spec.ScaleTargetRef.APIVersion, a.Spec.ScaleTargetRef.Kind)}
	for _, right := range slices.Concat(rights, listKindRights(target, o.Mapper)) {
		if asked[right] || right.Verb == "patch" && o.Config.Surge.ModeOrDefault() == surge.ModeObserve { // it changes nothing
			continue
		}
		asked[right] = true
		if result := o.reviewRight(ctx, right); result.Status != OK {
			if result.Status == Missing {
				result.Fix = describeGrantingCommand(right, o.describeSubject(ctx), o.LeaseNamespace, true)
			}
			all = append(all, result)
		}
	}
	return all
}

// listSurgeMetricRights lists the rights to read the metrics of an autoscaler that the surge lane reads.
func listSurgeMetricRights(a *autoscalingv2.HorizontalPodAutoscaler, mapper meta.RESTMapper) (all []Right) {
	for _, m := range a.Spec.Metrics {
		right := Right{Namespace: a.Namespace, Group: custommetrics.GroupName, Verb: "get"}
		switch {
		case m.Pods != nil:
			right.Resource, right.Subresource = "pods", m.Pods.Metric.Name
		case m.External != nil:
			right.Group, right.Resource, right.Verb = externalmetrics.GroupName, m.External.Metric.Name, "list"
		case m.Object != nil:
			kind := schema.FromAPIVersionAndKind(m.Object.DescribedObject.APIVersion, m.Object.DescribedObject.Kind)
			mapping, err := mapper.RESTMapping(kind.GroupKind(), kind.Version)
			if err != nil {
				continue // the autoscaler does not find it either
			}
			right.Resource, right.Subresource = mapping.Resource.GroupResource().String(), m.Object.Metric.Name
			if right.Resource == "namespaces" {
				right.Resource, right.Subresource = "metrics", ""
			} else if mapping.Scope.Name() != meta.RESTScopeNameNamespace {
				right.Namespace = ""
			}
		default:
			continue
		}
		all = append(all, right)
	}
	return all
}
