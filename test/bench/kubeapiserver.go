// The objects of the minimal kube-apiserver: Deployments, their pods and autoscalers.

package main

import (
	"fmt"

	"github.com/tachometer-metrics/tachometer/test/harness/kubeapi"
)

const (
	namespace    = "shop"
	podsPerGroup = 20
)

// The metrics that the autoscalers name.
const (
	requestRate = "http_requests_per_second"
	orderRate   = "orders_per_second"
)

func benchGroupName(group int) string { return fmt.Sprintf("web-%03d", group) }

// startBenchKube serves that many Deployments of podsPerGroup pods, each with an autoscaler. The pages of the pods are at a port.
func startBenchKube(groups int, port string) (*kubeapi.Server, error) {
	kube, err := kubeapi.Start(kubeapi.Options{})
	if err != nil {
		return nil, err
	}
	for group := range groups {
		app := benchGroupName(group)
		kube.AddDeployment(namespace, app, podsPerGroup)
		kube.SetAutoscaler(kubeapi.NewAutoscaler(namespace, app, requestRate, orderRate))
		for i := range podsPerGroup {
			target := group*podsPerGroup + i
			pod := kubeapi.NewPod(namespace, fmt.Sprintf("%s-7d4b9c6f58-%05d", app, target), app, benchTargetAddress(target, port))
			pod.Labels["pod-template-hash"] = "7d4b9c6f58"
			pod.Spec.NodeName = fmt.Sprintf("node-%03d", target/100)
			kube.SetPod(pod)
		}
	}
	return kube, nil
}
