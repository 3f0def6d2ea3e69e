package inventory

import (
	"cmp"
	"fmt"
	"net/url"
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
	AnnotationScheme = "prometheus.io/scheme"
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

// ScrapedPage returns the path of a pod's metrics page below kube-apiserver's root. An error says why the pod has none.
func ScrapedPage(pod *corev1.Pod) (string, error) {
	port, err := ScrapedPort(pod.Annotations, pod.Spec)
	if err != nil {
		return "", err
	}
	scheme := strings.ToLower(strings.TrimSpace(pod.Annotations[AnnotationScheme]))
	switch scheme {
	case "", "http":
		scheme = ""
	case "https":
		scheme = "https:"
	default:
		return "", fmt.Errorf("annotation %s is %q, neither \"http\" nor \"https\"", AnnotationScheme, scheme)
	}
	path, query, _ := strings.Cut(cmp.Or(strings.TrimSpace(pod.Annotations[AnnotationPath]), "/metrics"), "?")
	page := url.URL{Path: "/" + strings.TrimPrefix(path, "/"), RawQuery: strings.ReplaceAll(query, " ", "%20")}
	if unescaped, err := url.PathUnescape(page.Path); err == nil {
		page.Path, page.RawPath = unescaped, page.Path
	}
	if slices.Contains(strings.Split(page.Path, "/"), "..") {
		return "", fmt.Errorf("annotation %s is %q, which leaves the pod", AnnotationPath, path)
	}
	return fmt.Sprintf("/api/v1/namespaces/%s/pods/%s%s:%d/proxy%s", pod.Namespace, scheme, pod.Name, port.ContainerPort, page.RequestURI()), nil
}
