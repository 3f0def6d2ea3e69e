package inventory

import (
	"cmp"
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
)

// ReadScaled reads the autoscalers, workloads and pods of a namespace, or of all if it is empty. A resource that the user may not read,
// or that fails, becomes an Unread: the rest is still worth having.
func ReadScaled(ctx context.Context, client kubernetes.Interface, namespace string) *Inventory {
	i := &Inventory{Namespaces: map[string]map[string]string{}}
	all := metav1.ListOptions{}
	if list, err := client.AutoscalingV2().HorizontalPodAutoscalers(namespace).List(ctx, all); i.noteInventoryRead("horizontalpodautoscalers", err) {
		i.HPAs = list.Items
	}
	i.readInventoryWorkloads(ctx, client, namespace)
	if list, err := client.CoreV1().Pods(namespace).List(ctx, all); i.noteInventoryRead("pods", err) {
		i.Pods = list.Items
	}
	i.sortInventory()
	return i
}

// ReadCluster reads as ReadScaled does, and the objects around: budgets, policies and the labels of namespaces.
func ReadCluster(ctx context.Context, client kubernetes.Interface, namespace string) *Inventory {
	i := ReadScaled(ctx, client, namespace)
	all := metav1.ListOptions{}
	if list, err := client.PolicyV1().PodDisruptionBudgets(namespace).List(ctx, all); i.noteInventoryRead("poddisruptionbudgets", err) {
		i.Budgets = list.Items
	}
	if list, err := client.NetworkingV1().NetworkPolicies(namespace).List(ctx, all); i.noteInventoryRead("networkpolicies", err) {
		i.NetworkPolicies = list.Items
	}
	if list, err := client.CoreV1().Namespaces().List(ctx, all); i.noteInventoryRead("namespaces", err) {
		for _, n := range list.Items {
			i.Namespaces[n.Name] = n.Labels
		}
	}
	i.sortInventory()
	return i
}

func (i *Inventory) readInventoryWorkloads(ctx context.Context, client kubernetes.Interface, namespace string) {
	all := metav1.ListOptions{}
	if list, err := client.AppsV1().Deployments(namespace).List(ctx, all); i.noteInventoryRead("deployments", err) {
		for n := range list.Items {
			i.Workloads = append(i.Workloads, newDeploymentWorkload(&list.Items[n]))
		}
	}
	if list, err := client.AppsV1().StatefulSets(namespace).List(ctx, all); i.noteInventoryRead("statefulsets", err) {
		for n := range list.Items {
			i.Workloads = append(i.Workloads, newStatefulSetWorkload(&list.Items[n]))
		}
	}
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
			i.noteInventoryRead(fmt.Sprintf("scale of %s %s", ref.Kind, ref.Name), err)
			i.noteScaleError(hpa, err)
			continue
		}
		selector, err := metav1.ParseToLabelSelector(text)
		if !i.noteInventoryRead(fmt.Sprintf("selector of %s %s", ref.Kind, ref.Name), err) {
			continue
		}
		w := Workload{Group: targetGroup(ref), Kind: ref.Kind, Namespace: hpa.Namespace, Name: ref.Name, Selector: selector}
		if pods := i.PodsOf(&w); len(pods) > 0 {
			w.Template.ObjectMeta.Labels, w.Template.ObjectMeta.Annotations, w.Template.Spec = pods[0].Labels, pods[0].Annotations, pods[0].Spec
		}
		i.Workloads = append(i.Workloads, w)
	}
	i.sortInventory()
}

// noteInventoryRead reports whether a resource was read, and notes the error if not.
func (i *Inventory) noteInventoryRead(resource string, err error) bool {
	if err != nil {
		i.Unread = append(i.Unread, Unread{Resource: resource, Reason: err.Error()})
	}
	return err == nil
}

func newDeploymentWorkload(d *appsv1.Deployment) Workload {
	return Workload{
		Kind: "Deployment", Namespace: d.Namespace, Name: d.Name,
		Replicas: d.Spec.Replicas, StatusReplicas: d.Status.Replicas, Selector: d.Spec.Selector, Template: d.Spec.Template, Surges: isSurgingDeployment(d),
		Failure: DescribeReplicaFailure(d),
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
