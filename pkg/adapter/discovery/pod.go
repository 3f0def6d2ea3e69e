// This file reduces pods to the fields that discovery stores.

package discovery

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/podpage"
)

// Pod holds the fields of a pod that readers need.
type Pod struct {
	Namespace, Name string
	// UID tells a pod from a later pod with the same name.
	UID  string
	Node string
	// Created is the creation time, truncated to the second: earlier samples belong to an earlier pod.
	Created time.Time
	// Started is the time at which the container behind the metrics endpoint started, or else the pod; truncated to the
	// second, zero if unknown.
	Started time.Time
	// Finished is the time at which the process before ended in this container, truncated to the second; zero if unknown.
	Finished time.Time
	// Stopped is true while this container is known not to run.
	Stopped bool
	// Ready is the pod's Ready condition: Services send traffic to ready pods only.
	Ready bool
	// Readied is the time at which a ready pod became ready, Unreadied the time at which another stopped being ready, or was created; truncated
	// to the second, zero if unknown.
	Readied, Unreadied time.Time
	// Left is the time at which the deletion of the pod began, truncated to the second; zero if it did not.
	Left time.Time
	// Owner is the kind and the name of the pod's workload: its pods have pages with the same families. It is empty without one.
	Owner string
	// Live is true while the pod runs, has an address and is not being deleted: only a live pod's values count.
	Live bool
	// Departed is true if the pod is being deleted, has ended or is deleted, and its counts may still be within a window.
	Departed bool
	// Completed is true if the pod has ended well and exists: the HPA controller counts it as a pod without a value.
	Completed bool
	// Omission is the reason why the pod is not live; it is zero for a live pod.
	Omission metric.Omission
}

// Object returns the pod's namespace and name.
func (p *Pod) Object() metric.Object { return metric.Object{Namespace: p.Namespace, Name: p.Name} }

// storedPod is the stored part of a pod. stripPod drops the rest of the API object, most of its bytes. A storedPod is
// immutable: a change replaces it.
type storedPod struct {
	Pod
	labels map[string]string
	// url is the metrics endpoint of a running pod. It is empty while the pod has no address, and if skipReason is set.
	url        string
	skipReason string
	// ip is the address of a running pod.
	ip string
	// ofRule is true for a pod of a rule's own targets.
	ofRule bool
	// hostNetwork is true if the pod shares the address of its node.
	hostNetwork bool
	// annotated is true if the pod has prometheus.io/scrape: "true".
	annotated bool
	// ended is when the pod was last seen running, if it has ended or is deleted; zero if it was never seen running. The
	// table sets it once.
	ended time.Time
	// reported are Created, Started, Readied and Unreadied as the cluster tells them. The table sets them once.
	reported [4]time.Time
	// inserted is the pod's insertion number; the table sets it once.
	inserted uint64
}

// GetObjectMeta returns the pod's key for client-go's temporary stores.
func (p *storedPod) GetObjectMeta() metav1.Object {
	return &metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name}
}

var _ metav1.ObjectMetaAccessor = (*storedPod)(nil)

func (p *storedPod) storedPodKey() metric.Object { return p.Object() }

// ownsEndpointOf reports whether p, and not q, is behind the endpoint that both claim. An address goes to another pod when
// its pod has ended, which may be known later: the newer pod has it. Pods of one node's network are not told apart.
func (p *storedPod) ownsEndpointOf(q *storedPod) bool {
	switch {
	case p.ofRule != q.ofRule, p.ofRule && p.Namespace != q.Namespace: // a page may feed several sources
		return true
	case p.Live != q.Live:
		return p.Live
	case p.hostNetwork || q.hostNetwork:
		return false
	default:
		return p.Created.After(q.Created)
	}
}

func (p *storedPod) equalStoredPod(o *storedPod) bool {
	return p.Pod == o.Pod && p.url == o.url && p.ip == o.ip && p.hostNetwork == o.hostNetwork && p.skipReason == o.skipReason && p.annotated == o.annotated &&
		maps.Equal(p.labels, o.labels)
}

// stripPod reduces an API object to the fields that discovery reads.
func (e endpointPolicy) stripPod(obj any) (*storedPod, error) {
	switch o := obj.(type) {
	case *storedPod:
		return o, nil
	case *corev1.Pod:
		return e.newStoredPod(o), nil
	default:
		return nil, fmt.Errorf("strip pod: unexpected type %T", obj)
	}
}

func (e endpointPolicy) newStoredPod(o *corev1.Pod) *storedPod {
	p := &storedPod{
		Pod: Pod{
			Namespace: o.Namespace, Name: o.Name, UID: string(o.UID), Node: o.Spec.NodeName,
			Created: stripPodTimeLocation(o.CreationTimestamp), Departed: o.DeletionTimestamp != nil, Left: findDeletionTime(o), Owner: findPodOwner(o),
		},
		hostNetwork: o.Spec.HostNetwork,
	}
	labels, err := boundPodLabels(o.Labels)
	p.labels = labels
	if c := podReadyCondition(o); c != nil {
		if changed := stripPodTimeLocation(c.LastTransitionTime); c.Status == corev1.ConditionTrue {
			p.Ready, p.Readied = true, changed
		} else {
			p.Unreadied = changed
		}
	}
	if reason, detail := findPodInactiveReason(o); reason != "" {
		p.Omission = metric.Omission{Object: p.Object(), Reason: reason, Detail: detail}
	}
	p.Live = p.Omission.Reason == ""
	p.Completed = o.DeletionTimestamp == nil && o.Status.Phase == corev1.PodSucceeded
	p.setPodEndpoint(o, e)
	if err != nil {
		p.url, p.skipReason = "", err.Error()
	}
	return p
}

// setPodEndpoint sets the endpoint of a running pod. A pod that is being deleted serves its last requests, so that it keeps
// its endpoint for as long as it runs.
func (p *storedPod) setPodEndpoint(o *corev1.Pod, policy endpointPolicy) {
	wanted, err := podpage.IsWanted(o.Annotations)
	p.annotated = wanted
	if o.Status.Phase == corev1.PodRunning {
		p.ip = o.Status.PodIP
	}
	if err == nil && p.ip != "" {
		containers := podpage.Containers(&o.Spec)
		u, port, fault := podpage.URL(o.Status.PodIP, o.Annotations, containers)
		if err = fault; err == nil {
			p.url = u.String()
		}
		if err = cmp.Or(err, validateEndpointSize(p.url), policy.validatePodAddress(o.Status.PodIP), policy.validateHostPort(o, containers, port)); err != nil {
			p.url = ""
		}
		container := podpage.ServingContainer(containers, port)
		p.Started, p.Stopped = findPodStartTime(o, container)
		p.Finished = findPodFinishTime(o, container)
	}
	if err != nil {
		p.skipReason = err.Error()
	}
}

// findPodStartTime returns the time at which the container started. It returns the pod's start time if the container is not
// known, and zero while the container does not run, or if one that may be it has restarted. stopped reports that the container does not run.
func findPodStartTime(o *corev1.Pod, container string) (at time.Time, stopped bool) {
	restarted := false
	for _, s := range slices.Concat(o.Status.ContainerStatuses, o.Status.InitContainerStatuses) {
		switch {
		case container == "":
			restarted = restarted || s.RestartCount > 0
		case s.Name == container && s.State.Running == nil:
			return time.Time{}, true
		case s.Name == container:
			return stripPodTimeLocation(s.State.Running.StartedAt), false
		}
	}
	if restarted || o.Status.StartTime == nil {
		return time.Time{}, false
	}
	return stripPodTimeLocation(*o.Status.StartTime), false
}

// findPodFinishTime returns the time at which the newest process that has ended in a container ended; zero if none has, or if the
// container is not known.
func findPodFinishTime(o *corev1.Pod, container string) time.Time {
	for _, s := range slices.Concat(o.Status.ContainerStatuses, o.Status.InitContainerStatuses) {
		ended := cmp.Or(s.State.Terminated, s.LastTerminationState.Terminated)
		if s.Name == container && ended != nil {
			return stripPodTimeLocation(ended.FinishedAt)
		}
	}
	return time.Time{}
}

// podReadyCondition returns the Ready condition of a pod, or nil.
func podReadyCondition(o *corev1.Pod) *corev1.PodCondition {
	i := slices.IndexFunc(o.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.PodReady })
	if i < 0 {
		return nil
	}
	return &o.Status.Conditions[i]
}

// findPodOwner returns the pod's controller. Of the ReplicaSets of a Deployment it returns the common part of their names, because
// they follow each other in a rollout.
func findPodOwner(o *corev1.Pod) string {
	owner := metav1.GetControllerOfNoCopy(o)
	if owner == nil || max(len(owner.Kind), len(owner.Name)) > maxObjectNameBytes {
		return ""
	}
	return owner.Kind + "/" + strings.TrimSuffix(owner.Name, "-"+o.Labels[appsv1.DefaultDeploymentUniqueLabelKey])
}

// stripPodTimeLocation returns an API server's time without its location, so that pods are equal by ==.
func stripPodTimeLocation(t metav1.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return time.Unix(t.Unix(), 0)
}

// findDeletionTime returns the time at which a pod was deleted; zero if it was not. The API object has the time at which the pod is
// to be gone.
func findDeletionTime(o *corev1.Pod) time.Time {
	if o.DeletionTimestamp == nil {
		return time.Time{}
	}
	at := o.DeletionTimestamp.Time
	if grace := o.DeletionGracePeriodSeconds; grace != nil {
		at = at.Add(-time.Duration(*grace) * time.Second)
	}
	return stripPodTimeLocation(metav1.NewTime(at))
}

// findPodInactiveReason returns the reason why a pod is not live; an empty reason means that it is live.
func findPodInactiveReason(o *corev1.Pod) (reason metric.Reason, detail string) {
	switch {
	case o.DeletionTimestamp != nil:
		return metric.ReasonTerminating, ""
	case o.Status.Phase == corev1.PodSucceeded:
		return metric.ReasonTerminating, "pod has succeeded"
	case o.Status.Phase == corev1.PodFailed:
		return metric.ReasonTerminating, "pod has failed"
	case o.Status.Phase == corev1.PodPending, o.Status.Phase == "":
		return metric.ReasonNotScraped, "pod is pending"
	case o.Status.Phase != corev1.PodRunning:
		return metric.ReasonNotScraped, "pod's phase is unknown"
	case o.Status.PodIP == "":
		return metric.ReasonNotScraped, "pod has no address yet"
	default:
		return "", ""
	}
}
