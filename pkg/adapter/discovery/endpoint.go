// This file derives a pod's metrics URL from its annotations and container ports.

package discovery

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"

	corev1 "k8s.io/api/core/v1"
)

// The pod annotations, which Prometheus setups commonly use.
const (
	annotationScrape = "prometheus.io/scrape"
	annotationPort   = "prometheus.io/port"
	annotationPath   = "prometheus.io/path"
	annotationScheme = "prometheus.io/scheme"
)

// defaultMetricsPath is where Go services expose metrics by convention.
const defaultMetricsPath = "/metrics"

// metricsPortNames are the names of a container port for metrics, the most specific first.
var metricsPortNames = [...]string{"metrics", "http-metrics"}

// parseScrapeAnnotation reads prometheus.io/scrape: wanted is true for "true" only. An error means that the adapter
// never scrapes the pod, and names the reason.
func parseScrapeAnnotation(annotations map[string]string) (wanted bool, err error) {
	switch value, ok := annotations[annotationScrape]; {
	case !ok:
		return false, nil
	case value == "true":
		return true, nil
	case value == "false":
		return false, fmt.Errorf("annotation %s is \"false\"", annotationScrape)
	default:
		return false, fmt.Errorf("annotation %s is %q, neither \"true\" nor \"false\"", annotationScrape, value)
	}
}

// buildEndpoint returns the URL of a pod's metrics endpoint at the address ip. The error names the annotation or port to
// change.
func buildEndpoint(ip string, annotations map[string]string, containers []corev1.Container) (string, error) {
	scheme, err := parseEndpointScheme(annotations)
	if err != nil {
		return "", err
	}
	port, err := chooseEndpointPort(annotations, containers)
	if err != nil {
		return "", err
	}
	path, err := parseEndpointPath(annotations)
	if err != nil {
		return "", err
	}
	path.Scheme = scheme
	path.Host = net.JoinHostPort(ip, strconv.Itoa(port))
	return path.String(), nil
}

func parseEndpointScheme(annotations map[string]string) (string, error) {
	switch scheme, ok := annotations[annotationScheme]; {
	case !ok:
		return "http", nil
	case scheme == "http", scheme == "https":
		return scheme, nil
	default:
		return "", fmt.Errorf("annotation %s is %q, neither \"http\" nor \"https\"", annotationScheme, scheme)
	}
}

// parseEndpointPath returns the path and query of the endpoint. A path must begin with a slash: without one,
// "@elsewhere" behind the address would send the scrape to another host.
func parseEndpointPath(annotations map[string]string) (url.URL, error) {
	text, ok := annotations[annotationPath]
	if !ok {
		return url.URL{Path: defaultMetricsPath}, nil
	}
	if text == "" || text[0] != '/' {
		return url.URL{}, fmt.Errorf("annotation %s is %q, which does not begin with a slash", annotationPath, text)
	}
	parsed, err := url.ParseRequestURI(text)
	if err != nil {
		return url.URL{}, fmt.Errorf("annotation %s is %q, which is not a path", annotationPath, text)
	}
	return url.URL{Path: parsed.Path, RawPath: parsed.RawPath, RawQuery: parsed.RawQuery}, nil
}

// chooseEndpointPort returns the annotated port, else the port with a metrics name, else the only declared port.
func chooseEndpointPort(annotations map[string]string, containers []corev1.Container) (int, error) {
	if text, ok := annotations[annotationPort]; ok {
		port, err := strconv.ParseUint(text, 10, 16)
		if err != nil || port == 0 {
			return 0, fmt.Errorf("annotation %s is %q, not a port number", annotationPort, text)
		}
		return int(port), nil
	}
	for _, name := range metricsPortNames {
		if port, ok := findNamedPort(containers, name); ok {
			return port, nil
		}
	}
	return findOnlyPort(containers)
}

func findNamedPort(containers []corev1.Container, name string) (int, bool) {
	for i := range containers {
		for _, port := range containers[i].Ports {
			if port.Name == name && isTCPPort(port) {
				return int(port.ContainerPort), true
			}
		}
	}
	return 0, false
}

// findOnlyPort returns the only TCP port of the pod's containers. Two declarations with one number are a single port:
// containers of a pod share their address.
func findOnlyPort(containers []corev1.Container) (int, error) {
	only, count := 0, 0
	for i := range containers {
		for _, port := range containers[i].Ports {
			if number := int(port.ContainerPort); isTCPPort(port) && number != only {
				only, count = number, count+1
			}
		}
	}
	switch count {
	case 1:
		return only, nil
	case 0:
		return 0, errors.New("no port is declared: annotate " + annotationPort + " or name a container port metrics")
	default:
		return 0, errors.New("several ports are declared, none named metrics or http-metrics: annotate " + annotationPort)
	}
}

func isTCPPort(port corev1.ContainerPort) bool {
	return port.Protocol == corev1.ProtocolTCP || port.Protocol == ""
}
