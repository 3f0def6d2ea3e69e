package discovery

import (
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
)

// Pod is what readers need to know of a pod.
type Pod struct {
	Namespace, Name string
	// UID tells a pod from a later one of the same name.
	UID  string
	Node string
	// Created is when the pod was created, to the second below: samples from before it are of an earlier pod.
	Created time.Time
	// Live is true while the pod runs, has an address and is not being deleted: only a live pod's values count.
	Live bool
	// Omission says why the pod is not live; it is zero for a live one.
	Omission metric.Omission
}

// Object names the pod among all pods.
func (p Pod) Object() metric.Object { return metric.Object{Namespace: p.Namespace, Name: p.Name} }

// storedPod is all that is kept of a pod: the rest of the API object, most of its bytes, is dropped before it is
// stored. It is never changed; a changed pod is a new one.
type storedPod struct {
	Pod
	labels map[string]string
	// url is the metrics endpoint; empty where refused says why there is none, and while there is no address.
	url        string
	skipReason string
	// annotated is true where the pod asks to be scraped.
	annotated bool
	// inserted orders pods by when the table took them; the table sets it, once.
	inserted uint64
}

// GetObjectMeta gives client-go's temporary stores the key of the pod.
func (p *storedPod) GetObjectMeta() metav1.Object {
	return &metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name}
}

var _ metav1.ObjectMetaAccessor = (*storedPod)(nil)

func (p *storedPod) podKey() metric.Object { return p.Object() }

func (p *storedPod) equal(o *storedPod) bool {
	return p.Pod == o.Pod && p.url == o.url && p.skipReason == o.skipReason && p.annotated == o.annotated &&
		maps.Equal(p.labels, o.labels)
}

// stripPod keeps of an API object what discovery reads.
func stripPod(obj any) (*storedPod, error) {
	switch o := obj.(type) {
	case *storedPod:
		return o, nil
	case *corev1.Pod:
		return newStoredPod(o), nil
	default:
		return nil, fmt.Errorf("strip pod: unexpected type %T", obj)
	}
}

func newStoredPod(o *corev1.Pod) *storedPod {
	p := &storedPod{
		Pod: Pod{
			Namespace: o.Namespace, Name: o.Name, UID: string(o.UID), Node: o.Spec.NodeName,
			Created: time.Unix(o.CreationTimestamp.Unix(), 0), // without a location, so that equal is ==
		},
		labels: o.Labels,
	}
	if reason, detail := inactiveReason(o); reason != "" {
		p.Omission = metric.Omission{Object: p.Object(), Reason: reason, Detail: detail}
	}
	p.Live = p.Omission.Reason == ""
	annotated, err := parseScrapeAnnotation(o.Annotations)
	p.annotated = annotated
	if err == nil && p.Live {
		p.url, err = buildEndpoint(o.Status.PodIP, o.Annotations, o.Spec.Containers)
	}
	if err != nil {
		p.skipReason = err.Error()
	}
	return p
}

// inactiveReason returns why a pod is not live; no reason means that it is.
func inactiveReason(o *corev1.Pod) (reason metric.Reason, detail string) {
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
