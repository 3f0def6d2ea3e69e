package hpa

// This file sorts pods into the groups that the arithmetic treats differently, and adds up their requests.

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	resourcehelpers "k8s.io/component-helpers/resource"
)

// groupPodsByReadiness returns the pods by group. The resource is empty for a custom metric.
func groupPodsByReadiness(pods []*corev1.Pod, values map[string]PodValue, resource corev1.ResourceName, now time.Time, s Settings) PodGroups {
	var g PodGroups
	known := map[string]bool{}
	for _, pod := range pods {
		known[pod.Name] = true
		value, found := values[pod.Name]
		switch {
		case pod.DeletionTimestamp != nil, pod.Status.Phase == corev1.PodFailed:
			g.Ignored = append(g.Ignored, pod.Name)
		case pod.Status.Phase == corev1.PodPending:
			g.Unready = append(g.Unready, pod.Name)
		case !found:
			g.Missing = append(g.Missing, pod.Name)
		case resource == corev1.ResourceCPU && isStartingOnCPU(pod, value, now, s):
			g.Unready = append(g.Unready, pod.Name)
		default:
			g.Ready = append(g.Ready, pod.Name)
		}
	}
	for name := range values {
		if !known[name] {
			g.Unknown = append(g.Unknown, name)
		}
	}
	slices.Sort(g.Unknown)
	return g
}

// isStartingOnCPU reports whether a pod's CPU usage says nothing about load yet. Within the CPU initialization period a pod must be
// ready for a whole window of the value. Later it must have been ready at some time after its initial readiness delay.
func isStartingOnCPU(pod *corev1.Pod, value PodValue, now time.Time, s Settings) bool {
	ready := findReadyCondition(pod)
	if ready == nil || pod.Status.StartTime == nil {
		return true
	}
	started, isUnready := pod.Status.StartTime.Time, ready.Status == corev1.ConditionFalse
	if started.Add(s.CPUInitializationPeriod).After(now) {
		return isUnready || value.Time.Before(ready.LastTransitionTime.Add(value.Window))
	}
	return isUnready && started.Add(s.InitialReadinessDelay).After(ready.LastTransitionTime.Time)
}

// findReadyCondition returns the condition Ready of a pod, or nil.
func findReadyCondition(pod *corev1.Pod) *corev1.PodCondition {
	for i := range pod.Status.Conditions {
		if pod.Status.Conditions[i].Type == corev1.PodReady {
			return &pod.Status.Conditions[i]
		}
	}
	return nil
}

// countReadyPods returns the number of running, ready pods. Pods that are being deleted count while they are ready.
func countReadyPods(pods []*corev1.Pod) (int64, error) {
	if len(pods) == 0 {
		return 0, fmt.Errorf("unable to calculate ready pods: %w", errNoPods)
	}
	count := int64(0)
	for _, pod := range pods {
		if c := findReadyCondition(pod); pod.Status.Phase == corev1.PodRunning && c != nil && c.Status == corev1.ConditionTrue {
			count++
		}
	}
	return count, nil
}

// sumPodRequests returns the requests of each pod in thousandths by the pod's name.
func sumPodRequests(pods []*corev1.Pod, container string, resource corev1.ResourceName) (map[string]int64, error) {
	requests := make(map[string]int64, len(pods))
	for _, pod := range pods {
		sum := sumContainerRequests
		if container == "" && resourcehelpers.IsPodLevelRequestsSet(pod) {
			sum = readPodLevelRequest
		}
		request, err := sum(pod, container, resource)
		if err != nil {
			return nil, err
		}
		requests[pod.Name] = request
	}
	return requests, nil
}

// readPodLevelRequest returns the request of a pod that sets requests for the pod as a whole (KEP-2837).
func readPodLevelRequest(pod *corev1.Pod, _ string, resource corev1.ResourceName) (int64, error) {
	request, found := resourcehelpers.PodRequests(pod, resourcehelpers.PodResourcesOptions{})[resource]
	if !found {
		return 0, fmt.Errorf("missing pod-level request for %s in Pod %s", resource, pod.Name)
	}
	return request.MilliValue(), nil
}

// sumContainerRequests adds up the requests of a pod's containers and sidecars, or returns the named container's.
func sumContainerRequests(pod *corev1.Pod, name string, resource corev1.ResourceName) (int64, error) {
	containers := slices.Clone(pod.Spec.Containers)
	for _, c := range pod.Spec.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			containers = append(containers, c)
		}
	}
	sum := int64(0)
	for _, c := range containers {
		if name != "" && name != c.Name {
			continue
		}
		request, ok := c.Resources.Requests[resource]
		if !ok {
			return 0, fmt.Errorf("missing request for %s in container %s of Pod %s", resource, c.Name, pod.Name)
		}
		if name != "" {
			return request.MilliValue(), nil
		}
		sum += request.MilliValue()
	}
	if name != "" {
		return 0, fmt.Errorf("container %s not found in Pod %s", name, pod.Name)
	}
	return sum, nil
}
