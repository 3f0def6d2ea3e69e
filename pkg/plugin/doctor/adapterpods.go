// The pods of the adapter: that they are there, have the port, and are ready.

package doctor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/inventory"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/output"
)

// takeAdapterPods keeps the pods with the Service's port, the adapter's: another program's may have its labels. Without any it keeps all.
func (d *doctor) takeAdapterPods(target intstr.IntOrString) {
	a := &d.adapter
	var own, foreign []corev1.Pod
	for i := range a.pods {
		if port := findAdapterPodPort(&a.pods[i], target); port != 0 {
			a.podPort = port
			own = append(own, a.pods[i])
		} else {
			foreign = append(foreign, a.pods[i])
		}
	}
	if len(own) == 0 {
		return
	}
	a.pods = own
	for i := range foreign {
		d.addDoctorCheck("pods", a.namespace+"/"+foreign[i].Name, StatusWarning,
			fmt.Sprintf("it has the labels of the Service and no port %s: it belongs to another program", target.String()),
			fmt.Sprintf("kubectl -n %s get pod %s --show-labels", a.namespace, foreign[i].Name))
	}
}

// checkAdapterPods checks that the Service selects pods, that they have its port and that they are ready.
func (d *doctor) checkAdapterPods(ctx context.Context, service *corev1.Service, port corev1.ServicePort) {
	a := &d.adapter
	subject := a.namespace + "/" + a.service
	if len(a.pods) == 0 {
		cause, command := d.explainMissingPods(ctx, service)
		d.addDoctorCheck("pods", subject, StatusFail, "no pod has the labels "+labels.FormatLabels(service.Spec.Selector)+cause, command)
		return
	}
	if a.podPort == 0 {
		d.addDoctorCheck("pods", subject, StatusFail,
			fmt.Sprintf("the Service goes to port %s, and the pods have no such port", port.TargetPort.String()), applyAdapterCommand)
		return
	}
	for i := range a.pods {
		if reason := describePodTrouble(&a.pods[i]); reason != "" {
			d.addDoctorCheck("pods", a.namespace+"/"+a.pods[i].Name, d.podTroubleStatus(), reason,
				formatPodCommand(&a.pods[i]))
			continue
		}
		d.addDoctorCheck("pods", a.namespace+"/"+a.pods[i].Name, StatusOK, "ready", "")
	}
}

// isAdapterPodOver reports whether a pod has ended, by an eviction for example: no Service goes to it.
func isAdapterPodOver(pod corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// explainMissingPods returns why a Service has no pods, as far as the adapter's Deployment says it, and the command that gives it some.
func (d *doctor) explainMissingPods(ctx context.Context, service *corev1.Service) (cause, command string) {
	deployment, err := d.Client.AppsV1().Deployments(service.Namespace).Get(ctx, service.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return "", applyAdapterCommand
	case err != nil, deployment.Spec.Replicas != nil && *deployment.Spec.Replicas == 0:
		return "", fmt.Sprintf("kubectl -n %s scale deployment/%s --replicas=2", service.Namespace, service.Name)
	case !labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(deployment.Spec.Template.Labels)):
		return "", applyAdapterCommand // one of the two has other labels
	}
	failure := inventory.DescribeReplicaFailure(deployment)
	if failure != "" {
		cause = ", and kube-apiserver rejects new ones: " + failure
	}
	return cause, fmt.Sprintf("kubectl -n %s %s", service.Namespace, chooseRejectionCommand(failure))
}

// chooseRejectionCommand returns the command that shows why kube-apiserver rejects new pods.
func chooseRejectionCommand(failure string) string {
	if strings.Contains(failure, "exceeded quota") {
		return "describe resourcequotas"
	}
	return "describe replicasets"
}

// podTroubleStatus is a warning while another pod of the adapter is ready.
func (d *doctor) podTroubleStatus() Status {
	for i := range d.adapter.pods {
		if describePodTrouble(&d.adapter.pods[i]) == "" {
			return StatusWarning
		}
	}
	return StatusFail
}

// findAdapterPodPort returns the number of a Service's target port in a pod, or 0.
func findAdapterPodPort(pod *corev1.Pod, target intstr.IntOrString) int32 {
	if target.Type == intstr.Int {
		return target.IntVal
	}
	for _, c := range pod.Spec.Containers {
		for _, p := range c.Ports {
			if p.Name == target.StrVal {
				return p.ContainerPort
			}
		}
	}
	return 0
}

// describePodTrouble says why a pod is not ready, or nothing.
func describePodTrouble(pod *corev1.Pod) string {
	for _, s := range listContainerStatuses(pod) {
		if w := s.State.Waiting; w != nil {
			text := strings.TrimSuffix(fmt.Sprintf("container %s is waiting: %s: %s", s.Name, w.Reason, w.Message), ": ")
			if last := s.LastTerminationState.Terminated; last != nil {
				text += "; it " + describeContainerEnd(last)
			}
			return text
		}
	}
	switch {
	case inventory.IsReady(pod):
		return ""
	case pod.DeletionTimestamp != nil:
		return "not ready: it is being deleted"
	}
	if s := findRestartedContainer(pod); s != nil {
		return fmt.Sprintf("not ready: container %s %s after %s", s.Name, describeContainerEnd(s.LastTerminationState.Terminated), output.Count(int(s.RestartCount), "restart"))
	}
	for _, c := range pod.Status.Conditions {
		if c.Status == corev1.ConditionFalse && c.Message != "" {
			return "not ready: " + c.Message
		}
	}
	return "not ready, in phase " + string(pod.Status.Phase)
}

func describeContainerEnd(end *corev1.ContainerStateTerminated) string {
	return fmt.Sprintf("ended with %s, exit code %d", cmp.Or(end.Reason, "an error"), end.ExitCode)
}

// findRestartedContainer returns a container that is not ready and ran before, or nil.
func findRestartedContainer(pod *corev1.Pod) *corev1.ContainerStatus {
	for _, s := range listContainerStatuses(pod) {
		if !s.Ready && s.LastTerminationState.Terminated != nil {
			return &s
		}
	}
	return nil
}

// listContainerStatuses returns the states of a pod's init containers, then of its containers.
func listContainerStatuses(pod *corev1.Pod) []corev1.ContainerStatus {
	return slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses)
}

// formatPodCommand returns the command that shows the cause of a pod's trouble: the logs of a container that ran, else the pod's events.
func formatPodCommand(pod *corev1.Pod) string {
	for _, s := range listContainerStatuses(pod) {
		switch {
		case s.State.Waiting != nil && s.LastTerminationState.Terminated != nil:
			return fmt.Sprintf("kubectl -n %s logs %s -c %s --previous --tail=50", pod.Namespace, pod.Name, s.Name)
		case s.State.Waiting != nil:
			return fmt.Sprintf("kubectl -n %s describe pod %s", pod.Namespace, pod.Name)
		}
	}
	if s := findRestartedContainer(pod); s != nil {
		return fmt.Sprintf("kubectl -n %s logs %s -c %s --previous --tail=50", pod.Namespace, pod.Name, s.Name)
	}
	if pod.Status.Phase != corev1.PodRunning || pod.DeletionTimestamp != nil {
		return fmt.Sprintf("kubectl -n %s describe pod %s", pod.Namespace, pod.Name)
	}
	return fmt.Sprintf("kubectl -n %s logs %s --tail=50", pod.Namespace, pod.Name)
}
