// The objects of a cluster, read with the user's rights.

package inventory

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/pager"
)

// autoscalerResource is the Unread resource of autoscalers.
const autoscalerResource = "horizontalpodautoscalers"

// AutoscalerError returns the error of reading autoscalers, or nil.
func AutoscalerError(unread []Unread) error {
	for _, u := range unread {
		if u.Resource == autoscalerResource {
			return fmt.Errorf("read %s: %s", u.Resource, u.Reason)
		}
	}
	return nil
}

// ReadScaled reads the autoscalers, workloads and pods of a namespace, or of all if it is empty. A resource that the user may not read,
// or that fails, becomes an Unread: the rest is still worth having.
func ReadScaled(ctx context.Context, client kubernetes.Interface, namespace string) *Inventory {
	i := &Inventory{Namespaces: map[string]map[string]string{}}
	if scalers, isRead := readResource[autoscalingv2.HorizontalPodAutoscaler](ctx, i, autoscalerResource, client.AutoscalingV2().HorizontalPodAutoscalers(namespace).List); isRead {
		i.HPAs = scalers
	}
	i.readClusterWorkloads(ctx, client, namespace)
	if pods, isRead := readResource[corev1.Pod](ctx, i, "pods", client.CoreV1().Pods(namespace).List); isRead {
		i.Pods = pods
	}
	i.sortAllObjects()
	return i
}

// ReadCluster reads as ReadScaled does, and the objects around: budgets, policies and the labels of namespaces.
func ReadCluster(ctx context.Context, client kubernetes.Interface, namespace string) *Inventory {
	i := ReadScaled(ctx, client, namespace)
	if budgets, isRead := readResource[policyv1.PodDisruptionBudget](ctx, i, "poddisruptionbudgets", client.PolicyV1().PodDisruptionBudgets(namespace).List); isRead {
		i.Budgets = budgets
	}
	if policies, isRead := readResource[networkingv1.NetworkPolicy](ctx, i, "networkpolicies", client.NetworkingV1().NetworkPolicies(namespace).List); isRead {
		i.NetworkPolicies = policies
	}
	if namespaces, isRead := readResource[corev1.Namespace](ctx, i, "namespaces", client.CoreV1().Namespaces().List); isRead {
		for _, n := range namespaces {
			i.Namespaces[n.Name] = n.Labels
		}
	}
	i.sortAllObjects()
	return i
}

func (i *Inventory) readClusterWorkloads(ctx context.Context, client kubernetes.Interface, namespace string) {
	if deployments, isRead := readResource[appsv1.Deployment](ctx, i, "deployments", client.AppsV1().Deployments(namespace).List); isRead {
		for n := range deployments {
			i.Workloads = append(i.Workloads, newDeploymentWorkload(&deployments[n]))
		}
	}
	if sets, isRead := readResource[appsv1.StatefulSet](ctx, i, "statefulsets", client.AppsV1().StatefulSets(namespace).List); isRead {
		for n := range sets {
			i.Workloads = append(i.Workloads, newStatefulSetWorkload(&sets[n]))
		}
	}
}

// readResource returns the objects of a resource, and whether they were read. Without an answer to the read of the autoscalers it asks no more:
// each read would wait as long.
func readResource[T any, L runtime.Object](ctx context.Context, i *Inventory, resource string, list func(context.Context, metav1.ListOptions) (L, error)) ([]T, bool) {
	if i.unanswered != nil {
		return nil, i.noteResourceRead(resource, i.unanswered)
	}
	items, err := listObjectPages[T](ctx, list)
	if resource == autoscalerResource && err != nil && !errors.As(err, new(apierrors.APIStatus)) {
		i.unanswered = err
	}
	return items, i.noteResourceRead(resource, err)
}

// listObjectPages returns the objects of a resource. It reads pages, as kubectl does: one answer with all objects of a large cluster takes
// kube-apiserver's memory and time.
func listObjectPages[T any, L runtime.Object](ctx context.Context, list func(context.Context, metav1.ListOptions) (L, error)) ([]T, error) {
	pages := pager.New(func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) { return list(ctx, opts) })
	found, _, err := pages.List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	items := make([]T, 0, meta.LenList(found))
	err = meta.EachListItem(found, func(object runtime.Object) error {
		item, isItem := any(object).(*T)
		if !isItem {
			return fmt.Errorf("the answer has a %T", object)
		}
		items = append(items, *item)
		return nil
	})
	return items, err
}

// SelectorReader returns the pod selector of a scale target of any kind.
type SelectorReader interface {
	ReadScaleSelector(ctx context.Context, namespace string, target autoscalingv2.CrossVersionObjectReference) (string, error)
}

// AddScaleTargets adds scale targets of other kinds, such as custom resources, over their scale subresource. A pod of theirs gives
// the template.
func (i *Inventory) AddScaleTargets(ctx context.Context, reader SelectorReader) {
	for n := range i.HPAs {
		hpa := &i.HPAs[n]
		ref := hpa.Spec.ScaleTargetRef
		if IsAppsTarget(ref) || i.WorkloadOf(hpa) != nil {
			continue
		}
		text, err := reader.ReadScaleSelector(ctx, hpa.Namespace, ref)
		if err != nil {
			i.noteResourceRead(fmt.Sprintf("scale of %s %s", ref.Kind, ref.Name), err)
			i.noteScaleError(hpa, err)
			continue
		}
		selector, err := metav1.ParseToLabelSelector(text)
		if !i.noteResourceRead(fmt.Sprintf("selector of %s %s", ref.Kind, ref.Name), err) {
			continue
		}
		w := Workload{Group: scaleTargetGroup(ref), Kind: ref.Kind, Namespace: hpa.Namespace, Name: ref.Name, Selector: selector}
		if pods := i.PodsOf(&w); len(pods) > 0 {
			w.Template.ObjectMeta.Labels, w.Template.ObjectMeta.Annotations, w.Template.Spec = pods[0].Labels, pods[0].Annotations, pods[0].Spec
		}
		i.Workloads = append(i.Workloads, w)
	}
	i.sortAllObjects()
}

// noteResourceRead reports whether a resource was read, and notes the error if not.
func (i *Inventory) noteResourceRead(resource string, err error) bool {
	if err != nil {
		i.Unread = append(i.Unread, Unread{Resource: resource, Reason: err.Error()})
	}
	return err == nil
}

func newDeploymentWorkload(d *appsv1.Deployment) Workload {
	return Workload{
		Kind: "Deployment", Namespace: d.Namespace, Name: d.Name,
		Replicas: d.Spec.Replicas, StatusReplicas: d.Status.Replicas, Selector: d.Spec.Selector, Template: d.Spec.Template, Surges: isSurgingDeployment(d),
		Failure: DescribeReplicaFailure(d), IsPaused: d.Spec.Paused,
	}
}

// DescribeReplicaFailure returns the error of kube-apiserver for a new pod of a Deployment, or nothing.
func DescribeReplicaFailure(d *appsv1.Deployment) string {
	for _, c := range d.Status.Conditions {
		if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
			return cmp.Or(c.Message, c.Reason)
		}
	}
	return ""
}

// isSurgingDeployment reports whether a rolling update has more pods than the spec for a while. The default is 25 % more.
func isSurgingDeployment(d *appsv1.Deployment) bool {
	rolling := d.Spec.Strategy.RollingUpdate
	if d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType || rolling == nil || rolling.MaxSurge == nil {
		return d.Spec.Strategy.Type != appsv1.RecreateDeploymentStrategyType
	}
	most, err := intstr.GetScaledValueFromIntOrPercent(rolling.MaxSurge, 100, true)
	return err == nil && most > 0
}

func newStatefulSetWorkload(s *appsv1.StatefulSet) Workload {
	return Workload{
		Kind: "StatefulSet", Namespace: s.Namespace, Name: s.Name,
		Replicas: s.Spec.Replicas, StatusReplicas: s.Status.Replicas, Selector: s.Spec.Selector, Template: s.Spec.Template,
	}
}
