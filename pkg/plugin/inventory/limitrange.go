// Defaults of LimitRanges, which kube-apiserver would add to the workloads of files.

package inventory

import (
	corev1 "k8s.io/api/core/v1"
)

// applyLimitRanges gives the containers of workloads from files the requests and limits that kube-apiserver gives their pods.
func (i *Inventory) applyLimitRanges() {
	for n := range i.LimitRanges {
		for _, item := range i.LimitRanges[n].Spec.Limits {
			if item.Type != corev1.LimitTypeContainer {
				continue
			}
			for k := range i.Workloads {
				if w := &i.Workloads[k]; w.Namespace == i.LimitRanges[n].Namespace {
					applyContainerDefaults(w.Template.Spec.Containers, item)
					applyContainerDefaults(w.Template.Spec.InitContainers, item)
				}
			}
		}
	}
}

// applyContainerDefaults sets the amounts that containers leave open. A default limit is max where it is not set, and a default request the default
// limit, then min. A container with a limit of its own has that for its request.
func applyContainerDefaults(containers []corev1.Container, item corev1.LimitRangeItem) {
	limits := mergeResourceLists(item.Default, item.Max)
	requests := mergeResourceLists(item.DefaultRequest, limits, item.Min)
	for n := range containers {
		r := &containers[n].Resources
		r.Requests = mergeResourceLists(r.Requests, r.Limits, requests)
		r.Limits = mergeResourceLists(r.Limits, limits)
	}
}

// mergeResourceLists returns the amounts of all lists; the first list with a resource decides.
func mergeResourceLists(lists ...corev1.ResourceList) corev1.ResourceList {
	merged := corev1.ResourceList{}
	for _, list := range lists {
		for name, amount := range list {
			if _, known := merged[name]; !known {
				merged[name] = amount
			}
		}
	}
	return merged
}
