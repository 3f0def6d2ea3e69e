// Package inventory reads the objects that the plugin judges from a cluster or from manifests: it decodes, converts and checks
// autoscalers, workloads, pods, budgets, policies and rules.
package inventory

import (
	"fmt"
	"slices"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/tachometer-metrics/tachometer/pkg/domain"
	"github.com/tachometer-metrics/tachometer/pkg/replay"
)

// Inventory is a set of objects. Its slices are sorted by namespace and name.
type Inventory struct {
	HPAs            []autoscalingv2.HorizontalPodAutoscaler
	Workloads       []Workload
	Unscaled        []Workload   // with pods that no autoscaler can scale, such as Jobs and DaemonSets; only from files
	Pods            []corev1.Pod // none from files
	Budgets         []policyv1.PodDisruptionBudget
	NetworkPolicies []networkingv1.NetworkPolicy
	Namespaces      map[string]map[string]string // labels, by name
	ScaledObjects   []ScaledObject               // only from files
	LimitRanges     []corev1.LimitRange          // only from files
	AdapterConfigs  []AdapterConfig              // only from files
	// VerticalAutoscalers change the requests of pods.
	VerticalAutoscalers []VerticalAutoscaler
	// DuplicateKeys are the keys that manifests in files have twice.
	DuplicateKeys []DuplicateKey
	// UnknownFields are errors for fields of autoscalers in files that their API version does not have, by namespace/name.
	UnknownFields map[string][]string
	// Unread are the resources that could not be read. An absent object of such a resource proves nothing.
	Unread []Unread
	// unanswered is the error of reading autoscalers without an answer of kube-apiserver.
	unanswered error
	// scaleErrors are the errors of reading the scale of targets of other kinds, by namespace/name of the autoscaler.
	scaleErrors map[string]error
}

// Unread is a resource that could not be read, with the cause.
type Unread struct {
	Resource string `json:"resource"`
	Reason   string `json:"reason"`
}

// Workload is an object with pods, such as a Deployment or a StatefulSet.
type Workload struct {
	Kind, Namespace, Name string
	// Group is the API group; empty for apps.
	Group string
	// Replicas are nil where the manifest leaves the number to the autoscaler.
	Replicas *int32
	// StatusReplicas are the pods that the workload's status counts, also during a rolling update; 0 if unknown.
	StatusReplicas int32
	Selector       *metav1.LabelSelector
	Template       corev1.PodTemplateSpec
	// Surges: a rolling update has more pods than the spec for a while.
	Surges bool
	// Failure says why pods cannot be created, such as a quota; empty otherwise.
	Failure string
	// IsPaused: changes of the template reach no pod.
	IsPaused bool
	// Source is the file that the workload comes from; empty for a cluster.
	Source string
}

// Ref returns KIND/NAME as kubectl writes it: deployment/web.
func (w *Workload) Ref() string { return strings.ToLower(w.Kind) + "/" + w.Name }

// PodSelector returns the selector of the workload's pods. A selector that cannot be parsed matches nothing.
func (w *Workload) PodSelector() labels.Selector {
	s, err := metav1.LabelSelectorAsSelector(w.Selector)
	if err != nil {
		return labels.Nothing()
	}
	return s
}

// WorkloadOf returns the scale target of an autoscaler, or nil where the inventory lacks it.
func (i *Inventory) WorkloadOf(hpa *autoscalingv2.HorizontalPodAutoscaler) *Workload {
	ref := hpa.Spec.ScaleTargetRef
	for n := range i.Workloads {
		w := &i.Workloads[n]
		if w.Namespace == hpa.Namespace && w.isScaleTargetOf(ref) {
			return w
		}
	}
	return nil
}

// PodsOf returns the pods of a workload that have not ended.
func (i *Inventory) PodsOf(w *Workload) []*corev1.Pod {
	return slices.DeleteFunc(i.SelectedPodsOf(w), func(p *corev1.Pod) bool {
		return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
	})
}

// SelectedPodsOf returns all pods that a workload's selector matches, as the HPA controller lists them: a pod that has ended well counts as one
// without a value.
func (i *Inventory) SelectedPodsOf(w *Workload) []*corev1.Pod {
	if w == nil {
		return nil
	}
	selector := w.PodSelector()
	var pods []*corev1.Pod
	for n := range i.Pods {
		p := &i.Pods[n]
		if p.Namespace == w.Namespace && selector.Matches(labels.Set(p.Labels)) {
			pods = append(pods, p)
		}
	}
	return pods
}

// IsReady reports whether the kubelet says that a pod is ready.
func IsReady(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// BudgetsOf returns the budgets that select the pods of a workload.
func (i *Inventory) BudgetsOf(w *Workload) []*policyv1.PodDisruptionBudget {
	if w == nil {
		return nil
	}
	var budgets []*policyv1.PodDisruptionBudget
	for n := range i.Budgets {
		b := &i.Budgets[n]
		selector, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
		if err == nil && b.Namespace == w.Namespace && selector.Matches(labels.Set(w.Template.Labels)) {
			budgets = append(budgets, b)
		}
	}
	return budgets
}

// RivalsOf returns the other autoscalers of the same scale target.
func (i *Inventory) RivalsOf(hpa *autoscalingv2.HorizontalPodAutoscaler) []*autoscalingv2.HorizontalPodAutoscaler {
	var rivals []*autoscalingv2.HorizontalPodAutoscaler
	for n := range i.HPAs {
		other := &i.HPAs[n]
		if other.Namespace == hpa.Namespace && other.Name != hpa.Name && isSameScaleTarget(other, hpa) {
			rivals = append(rivals, other)
		}
	}
	return rivals
}

// isSameScaleTarget compares group, kind and name: two versions of an API name one object.
func isSameScaleTarget(a, b *autoscalingv2.HorizontalPodAutoscaler) bool {
	x, y := a.Spec.ScaleTargetRef, b.Spec.ScaleTargetRef
	return scaleTargetGroup(x) == scaleTargetGroup(y) && x.Kind == y.Kind && x.Name == y.Name
}

// IsUnread reports whether a resource, such as "pods", could not be read.
func (i *Inventory) IsUnread(resource string) bool {
	return slices.ContainsFunc(i.Unread, func(u Unread) bool { return u.Resource == resource })
}

// IsHeld reports whether a hold of the scaler sets the limits of an autoscaler, until the hold ends.
func IsHeld(hpa *autoscalingv2.HorizontalPodAutoscaler) bool {
	return slices.ContainsFunc(hpa.ManagedFields, func(m metav1.ManagedFieldsEntry) bool {
		return m.Manager == domain.ScalerManager && m.Subresource == ""
	})
}

// DescribeMetric returns the metric of a spec in words: "request_per_second of pods", "cpu of pods". A selector is part of the name, as in
// PromQL: "request_per_second{code=500} of pods".
func DescribeMetric(m autoscalingv2.MetricSpec) string {
	switch {
	case m.Pods != nil:
		return nameAutoscalerMetric(m.Pods.Metric) + podsWords
	case m.Object != nil:
		o := m.Object.DescribedObject
		return nameAutoscalerMetric(m.Object.Metric) + " of " + strings.ToLower(o.Kind) + "/" + o.Name
	case m.External != nil:
		return nameAutoscalerMetric(m.External.Metric) + externalWords
	case m.Resource != nil:
		return string(m.Resource.Name) + podsWords
	case m.ContainerResource != nil:
		return fmt.Sprintf("%s of container %s", m.ContainerResource.Name, m.ContainerResource.Container)
	}
	return "unknown type " + string(m.Type)
}

// externalWords follow the name of an external metric.
const externalWords = ", external"

// nameAutoscalerMetric returns the name of a metric with its selector.
func nameAutoscalerMetric(m autoscalingv2.MetricIdentifier) string {
	if m.Selector == nil || len(m.Selector.MatchLabels)+len(m.Selector.MatchExpressions) == 0 {
		return m.Name
	}
	s, err := metav1.LabelSelectorAsSelector(m.Selector)
	if err != nil {
		return m.Name + "{invalid selector}"
	}
	return m.Name + "{" + s.String() + "}"
}

// podsWords follow the name of a metric of pods.
const podsWords = " of pods"

// BareMetricName returns the name of a metric in words, with its selector: "cpu of pods" → "cpu". A container and an object stay: two metrics of an
// autoscaler may differ in that alone.
func BareMetricName(words string) string {
	return strings.TrimSuffix(strings.TrimSuffix(words, externalWords), podsWords)
}

// IsRateMetric reports whether a metric in words, or a bare name, is a rate per second by its name: it adds up over pods.
func IsRateMetric(words string) bool {
	if end := strings.IndexAny(words, "{, "); end >= 0 { // no name has one of these
		words = words[:end]
	}
	return replay.IsRateName(words)
}

// MinReplicasOf returns the minimum of an autoscaler; 1 where it has none, as Kubernetes defines it.
func MinReplicasOf(hpa *autoscalingv2.HorizontalPodAutoscaler) int32 {
	if hpa.Spec.MinReplicas == nil {
		return 1
	}
	return *hpa.Spec.MinReplicas
}

// sortAllObjects sorts every list by namespace and name.
func (i *Inventory) sortAllObjects() {
	sortObjectsByKey(i.HPAs, func(o *autoscalingv2.HorizontalPodAutoscaler) string { return o.Namespace + "/" + o.Name })
	sortObjectsByKey(i.Workloads, func(o *Workload) string { return o.Namespace + "/" + o.Kind + "/" + o.Name })
	sortObjectsByKey(i.Pods, func(o *corev1.Pod) string { return o.Namespace + "/" + o.Name })
	sortObjectsByKey(i.Budgets, func(o *policyv1.PodDisruptionBudget) string { return o.Namespace + "/" + o.Name })
	sortObjectsByKey(i.NetworkPolicies, func(o *networkingv1.NetworkPolicy) string { return o.Namespace + "/" + o.Name })
}

func sortObjectsByKey[T any](objects []T, key func(*T) string) {
	slices.SortStableFunc(objects, func(a, b T) int { return strings.Compare(key(&a), key(&b)) })
}
