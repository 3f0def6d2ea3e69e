// The chain's runs with the scaler's surge lane.

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	autoscaling "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/surge"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

const (
	// laneManifests is the folder of the scaler with the lane, for the sample.
	laneManifests = "test/e2e/manifests/surge"
	// laneSettles is the time of the low load before a step: the lane reads an autoscaler for a minute, and for half a minute over the
	// longest window.
	laneSettles = 100 * time.Second
	holdEnds    = 2 * time.Minute
)

// chainBehaviors are the compared behaviors. The lane belongs to the shipped adapter.
func (s settings) chainBehaviors() []string {
	behaviors := []string{shippedBehavior, defaultBehavior}
	if isShippedAdapter(s.adapter) {
		behaviors = append(behaviors, laneBehavior)
	}
	return behaviors
}

// installSurgeLane installs the scaler with the lane.
func (n *node) installSurgeLane(ctx context.Context) error {
	if err := n.stack.Apply(ctx, laneManifests); err != nil {
		return err
	}
	_, err := n.stack.Kubectl(ctx, "-n", stack.AdapterNamespace, "rollout", "status", "deploy/tachometer-scaler", "--timeout=120s")
	return err
}

// removeSurgeLane removes the scaler, so that later parts have the node as they expect it.
func (n *node) removeSurgeLane(ctx context.Context) error {
	_, err := n.stack.Kubectl(ctx, "delete", "--ignore-not-found", "-n", stack.AdapterNamespace,
		"deploy/tachometer-scaler", "configmap/tachometer-scaler-config", "lease/tachometer-scaler")
	return err
}

// enterSurgeLane puts an autoscaler into the lane.
func enterSurgeLane(hpa *autoscaling.HorizontalPodAutoscaler) {
	metav1.SetMetaDataAnnotation(&hpa.ObjectMeta, surge.Annotation, "")
}

// awaitEndOfHolds waits until no hold of an earlier run is left.
func (n *node) awaitEndOfHolds(ctx context.Context) error {
	return stack.Wait(ctx, holdEnds, func(ctx context.Context) error {
		names, err := n.stack.Kubectl(ctx, "-n", stack.SampleNamespace, "get", "holds", "-o", "name")
		if err == nil && strings.TrimSpace(names) != "" {
			err = fmt.Errorf("left: %s", strings.Fields(names))
		}
		return err
	})
}

// checkSurgeLaneRaised returns an error unless the lane raised for the autoscaler.
func (n *node) checkSurgeLaneRaised(ctx context.Context, name string) error {
	events, err := n.stack.Client.CoreV1().Events(stack.SampleNamespace).List(ctx, metav1.ListOptions{
		FieldSelector: "reason=" + surge.ReasonRaised + ",involvedObject.name=" + name,
	})
	if err == nil && len(events.Items) == 0 {
		err = errors.New("the surge lane did not raise")
	}
	return err
}
