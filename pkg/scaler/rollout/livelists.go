// LiveCluster: lists of the API server, in pages, with the parts of the objects that the caches keep too.

package rollout

import (
	"context"
	"fmt"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/tachometer-metrics/tachometer/pkg/kube"
)

// maxLiveListBytes bounds the objects of a list without the parts that nobody reads: 16,000 usual pods. The scaler's container has 128 MiB.
const maxLiveListBytes = 16 << 20

// livePageSize is the number of objects in a page of them, whatever the pages before had: objects of a namespace may all have 1.5 MiB.
const livePageSize = 20

// errLargeList is the error of a list above maxLiveListBytes.
var errLargeList = fmt.Errorf("more than %d MiB are too many to list", maxLiveListBytes>>20)

// listBudget is the rest of maxLiveListBytes for a list.
type listBudget int

// takeListBytes takes an object's share.
func (b *listBudget) takeListBytes(object interface{ Size() int }) error {
	if *b -= listBudget(object.Size()); *b < 0 {
		return errLargeList
	}
	return nil
}

// ListAutoscalers implements Reader.
func (c *LiveCluster) ListAutoscalers(ctx context.Context, namespace string) (all []*autoscalingv2.HorizontalPodAutoscaler, err error) {
	budget, list := listBudget(maxLiveListBytes), c.Client.AutoscalingV2().HorizontalPodAutoscalers(namespace).List
	err = kube.EachListPage(ctx, metav1.ListOptions{Limit: livePageSize}, list, func(page *autoscalingv2.HorizontalPodAutoscalerList) error {
		for i := range page.Items {
			hpa := &page.Items[i]
			_, _ = stripHeldAutoscaler(hpa) // which has no errors
			if err := budget.takeListBytes(hpa); err != nil {
				return err
			}
			all = append(all, hpa)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list autoscalers: %w", err)
	}
	return all, nil
}

// ListPods implements Reader.
func (c *LiveCluster) ListPods(ctx context.Context, namespace, selector string) (all []corev1.Pod, err error) {
	if selector == "" {
		return nil, nil
	}
	parsed, err := labels.Parse(selector)
	if err != nil {
		parsed = labels.Everything() // the API server rejects the selector
	}
	budget, list := listBudget(maxLiveListBytes), c.Client.CoreV1().Pods(namespace).List
	err = kube.EachListPage(ctx, metav1.ListOptions{LabelSelector: selector, Limit: livePageSize}, list, func(page *corev1.PodList) error {
		for i := range page.Items {
			pod := &page.Items[i]
			_, _ = stripHeldPod(pod) // which has no errors
			if !parsed.Matches(labels.Set(pod.Labels)) {
				continue
			}
			if err := budget.takeListBytes(pod); err != nil {
				return err
			}
			all = append(all, *pod)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	return all, nil
}
