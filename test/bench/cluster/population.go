// The Deployments, pods and autoscalers of the control plane without a node.

package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

const (
	// podsEach is the number of pods of each autoscaler, and the number that the load of the pages needs.
	podsEach = 5
	// groupsEach is the number of autoscalers in a namespace.
	groupsEach = 50
	// creators is the number of concurrent creations.
	creators = 16
)

// group is a Deployment with its pods and its autoscaler.
type group int

func (g group) groupNamespace() string         { return fmt.Sprintf("shop-%02d", g/groupsEach) }
func (g group) groupName() string              { return fmt.Sprintf("web-%04d", int(g)) }
func (g group) groupLabels() map[string]string { return map[string]string{"app": g.groupName()} }

// forEachGroup calls do for all groups, several at a time.
func (s *setting) forEachGroup(ctx context.Context, do func(context.Context, group) error) error {
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(creators)
	for i := range s.count {
		all.Go(func() error { return do(ctx, group(i)) })
	}
	return all.Wait()
}

// populateCluster creates all objects except the autoscalers.
func (s *setting) populateCluster(ctx context.Context) error {
	for first := 0; first < s.count; first += groupsEach {
		if err := s.makeGroupNamespace(ctx, group(first).groupNamespace()); err != nil {
			return err
		}
	}
	return s.forEachGroup(ctx, func(ctx context.Context, g group) error {
		if err := s.makeGroupDeployment(ctx, g); err != nil {
			return err
		}
		for i := range podsEach {
			if err := s.makeGroupPod(ctx, g, i); err != nil {
				return err
			}
		}
		return nil
	})
}

// makeGroupNamespace creates a namespace and waits for its ServiceAccount.
func (s *setting) makeGroupNamespace(ctx context.Context, name string) error {
	_, err := s.client.CoreV1().Namespaces().Create(ctx, &core.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create namespace %s: %w", name, err)
	}
	return stack.Wait(ctx, 30*time.Second, func(ctx context.Context) error {
		_, err := s.client.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

func (s *setting) makeGroupDeployment(ctx context.Context, g group) error {
	_, err := s.client.AppsV1().Deployments(g.groupNamespace()).Create(ctx, &apps.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: g.groupName()},
		Spec: apps.DeploymentSpec{
			Replicas: new(int32(podsEach)), Selector: &metav1.LabelSelector{MatchLabels: g.groupLabels()},
			Template: core.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: g.groupLabels()}, Spec: groupPodSpec()},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create Deployment %s: %w", g.groupName(), err)
	}
	return nil
}

func groupPodSpec() core.PodSpec {
	return core.PodSpec{
		Containers:                   []core.Container{{Name: "service", Image: "none"}},
		AutomountServiceAccountToken: new(false), TerminationGracePeriodSeconds: new(int64(0)),
	}
}

// makeGroupPod creates a pod without a node, and writes its status as a kubelet would.
func (s *setting) makeGroupPod(ctx context.Context, g group, i int) error {
	pods := s.client.CoreV1().Pods(g.groupNamespace())
	name := fmt.Sprintf("%s-7d4b9c6f58-%d", g.groupName(), i)
	made, err := pods.Create(ctx, &core.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: g.groupLabels(), Annotations: map[string]string{"prometheus.io/port": s.pages.line}},
		Spec:       groupPodSpec(),
	}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("create pod %s: %w", name, err)
	}
	now, ip := metav1.Now(), groupAddress(int(g)*podsEach+i)
	made.Status = core.PodStatus{
		Phase: core.PodRunning, PodIP: ip, PodIPs: []core.PodIP{{IP: ip}}, StartTime: &now,
		Conditions: []core.PodCondition{{Type: core.PodReady, Status: core.ConditionTrue, LastTransitionTime: now}},
	}
	if _, err := pods.UpdateStatus(ctx, made, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("write the status of pod %s: %w", name, err)
	}
	return nil
}

// makeGroupAutoscalers creates the autoscalers, spread evenly over a period of their controller, which keeps their distances.
func (s *setting) makeGroupAutoscalers(ctx context.Context) error {
	began := time.Now()
	return s.forEachGroup(ctx, func(ctx context.Context, g group) error {
		if err := sleepUntilBenchTime(ctx, began.Add(hpaPeriod*time.Duration(g)/time.Duration(s.count))); err != nil {
			return err
		}
		_, err := s.client.AutoscalingV2().HorizontalPodAutoscalers(g.groupNamespace()).Create(ctx, groupAutoscaler(g), metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("create autoscaler %s: %w", g.groupName(), err)
		}
		return nil
	})
}

func groupAutoscaler(g group) *autoscaling.HorizontalPodAutoscaler {
	return &autoscaling.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Name: g.groupName()},
		Spec: autoscaling.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscaling.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: g.groupName()},
			MinReplicas:    new(int32(1)), MaxReplicas: 2 * podsEach,
			Metrics: []autoscaling.MetricSpec{{
				Type: autoscaling.PodsMetricSourceType,
				Pods: &autoscaling.PodsMetricSource{
					Metric: autoscaling.MetricIdentifier{Name: "request_per_second"},
					Target: autoscaling.MetricTarget{Type: autoscaling.AverageValueMetricType, AverageValue: resource.NewQuantity(pageRate, resource.DecimalSI)},
				},
			}},
		},
	}
}
