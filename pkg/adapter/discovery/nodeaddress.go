// This file keeps scrapes away from addresses and ports that are the node's, and not a pod's.

package discovery

import (
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/tachometer-metrics/tachometer/pkg/podpage"
	"github.com/tachometer-metrics/tachometer/pkg/reserved"
)

// endpointPolicy says which endpoints of pods the adapter scrapes.
type endpointPolicy struct {
	// allowHostNetwork permits loopback addresses and every port of pods on the node's network.
	allowHostNetwork bool
}

// nodePorts are the ports of Kubernetes's own services on a node: kubelet, etcd, kube-apiserver, kube-controller-manager and
// kube-scheduler. A pod of a tenant must not lend the adapter's reach to them.
var nodePorts = []int32{2379, 2380, 6443, 10250, 10255, 10256, 10257, 10259}

// validatePodAddress returns an error for an address that is no pod's own.
func (e endpointPolicy) validatePodAddress(ip string) error {
	address, err := netip.ParseAddr(ip)
	if err != nil {
		return fmt.Errorf("pod's address %q is not an IP address", ip)
	}
	switch kind := reserved.Classify(address); {
	case kind == "", kind == reserved.Metadata: // one cloud's metadata has an address that another cloud's pods may have
		return nil
	case kind == reserved.Loopback && e.allowHostNetwork:
		return nil
	case kind == reserved.Loopback:
		return fmt.Errorf("pod's address %s is a loopback address: --allow-host-network permits it", ip)
	default:
		return fmt.Errorf("pod's address %s is a %s address: such an address is never scraped", ip, kind)
	}
}

// validateHostPort returns an error for a port of a pod on the node's network that the pod does not declare, or that belongs to
// a service of the node.
func (e endpointPolicy) validateHostPort(o *corev1.Pod, containers []corev1.Container, port int32) error {
	switch {
	case !o.Spec.HostNetwork || e.allowHostNetwork:
		return nil
	case slices.Contains(nodePorts, port):
		return fmt.Errorf("port %d on the node's network belongs to a service of the node: --allow-host-network permits it", port)
	case !podpage.Declares(containers, port):
		return fmt.Errorf("port %d on the node's network is not a container port of the pod: declare it, or permit it by --allow-host-network", port)
	default:
		return nil
	}
}
