package inventory

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// The annotations that say how the adapter scrapes a pod.
const (
	AnnotationScrape = "prometheus.io/scrape"
	AnnotationPort   = "prometheus.io/port"
	AnnotationPath   = "prometheus.io/path"
)

// metricsPortNames are the names of a container port for metrics, as the adapter prefers them.
var metricsPortNames = []string{"metrics", "http-metrics"}

// RunningContainers returns the containers of a pod that run all the time: those of its spec, and native sidecars.
func RunningContainers(spec corev1.PodSpec) []corev1.Container {
	containers := slices.Clip(spec.Containers)
	for _, c := range spec.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			containers = append(containers, c)
		}
	}
	return containers
}

// DeclaredPorts returns the TCP ports of a pod's containers and native sidecars, different by number, with the name, or all if the name is
// empty.
func DeclaredPorts(spec corev1.PodSpec, name string) []corev1.ContainerPort {
	var ports []corev1.ContainerPort
	for _, c := range RunningContainers(spec) {
		for _, p := range c.Ports {
			known := slices.ContainsFunc(ports, func(o corev1.ContainerPort) bool { return o.ContainerPort == p.ContainerPort })
			if (p.Protocol == "" || p.Protocol == corev1.ProtocolTCP) && (name == "" || p.Name == name) && !known {
				ports = append(ports, p)
			}
		}
	}
	return ports
}

// ScrapedPort returns the port that the adapter scrapes: the annotated one, else a port with a metrics name, else the only one. An error
// says why it cannot choose. An annotated port need not be declared.
func ScrapedPort(annotations map[string]string, spec corev1.PodSpec) (corev1.ContainerPort, error) {
	all := DeclaredPorts(spec, "")
	if text := strings.TrimSpace(annotations[AnnotationPort]); text != "" {
		if named := DeclaredPorts(spec, text); len(named) == 1 {
			return named[0], nil
		}
		number, err := strconv.ParseUint(text, 10, 16)
		if err != nil || number == 0 {
			return corev1.ContainerPort{}, fmt.Errorf("annotation %s is %q, neither a port number nor the name of one declared port", AnnotationPort, text)
		}
		for _, p := range all {
			if uint64(p.ContainerPort) == number {
				return p, nil
			}
		}
		return corev1.ContainerPort{ContainerPort: int32(number)}, nil
	}
	for _, name := range metricsPortNames {
		switch named := DeclaredPorts(spec, name); len(named) {
		case 0:
		case 1:
			return named[0], nil
		default:
			return corev1.ContainerPort{}, fmt.Errorf("%d ports are named %s", len(named), name)
		}
	}
	switch len(all) {
	case 0:
		return corev1.ContainerPort{}, fmt.Errorf("no container declares a port, and none is annotated")
	case 1:
		return all[0], nil
	}
	return corev1.ContainerPort{}, fmt.Errorf("%d ports are declared, and none is named metrics", len(all))
}
