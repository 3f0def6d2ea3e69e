// The containers of a pod and the ports that they declare.

package podpage

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Containers returns the containers that run as long as the pod: its containers, and the init containers that are restarted always
// (native sidecars).
func Containers(spec *corev1.PodSpec) []corev1.Container {
	containers := spec.Containers
	for i := range spec.InitContainers {
		if policy := spec.InitContainers[i].RestartPolicy; policy != nil && *policy == corev1.ContainerRestartPolicyAlways {
			containers = append(slices.Clip(containers), spec.InitContainers[i])
		}
	}
	return containers
}

// DeclaredPorts returns the different TCP ports of containers with the name, or all if the name is empty. Two declarations with one
// number are a single port: containers of a pod share their address.
func DeclaredPorts(containers []corev1.Container, name string) []corev1.ContainerPort {
	var ports []corev1.ContainerPort
	for i := range containers {
		for _, port := range containers[i].Ports {
			isTCP := port.Protocol == corev1.ProtocolTCP || port.Protocol == ""
			if isTCP && (name == "" || port.Name == name) && !hasPagePort(ports, port.ContainerPort) {
				ports = append(ports, port)
			}
		}
	}
	return ports
}

// FindPort returns the declared TCP port with a number, or one without a name.
func FindPort(containers []corev1.Container, number int32) corev1.ContainerPort {
	for _, port := range DeclaredPorts(containers, "") {
		if port.ContainerPort == number {
			return port
		}
	}
	return corev1.ContainerPort{ContainerPort: number}
}

// Declares reports whether a container declares a TCP port with the number.
func Declares(containers []corev1.Container, number int32) bool {
	return hasPagePort(DeclaredPorts(containers, ""), number)
}

func hasPagePort(ports []corev1.ContainerPort, number int32) bool {
	return slices.ContainsFunc(ports, func(p corev1.ContainerPort) bool { return p.ContainerPort == number })
}

// ServingContainer returns the name of the container that declares a TCP port, or else of the only container; empty if several
// containers may serve it.
func ServingContainer(containers []corev1.Container, number int32) string {
	var names []string
	for i := range containers {
		if Declares(containers[i:i+1], number) {
			names = append(names, containers[i].Name)
		}
	}
	switch {
	case len(names) == 1:
		return names[0]
	case len(names) == 0 && len(containers) == 1:
		return containers[0].Name
	default:
		return ""
	}
}
