// This file derives a pod's metrics URL from its annotations and container ports.

package discovery

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// The pod annotations, which Prometheus setups commonly use. Prometheus's usual relabelling decides what a value means:
// an empty value says nothing, and a path is no URL. Space around a value has no meaning.
const (
	annotationScrape = "prometheus.io/scrape"
	annotationPort   = "prometheus.io/port"
	annotationPath   = "prometheus.io/path"
	annotationScheme = "prometheus.io/scheme"
	// annotationParam is the prefix of annotations that each add a parameter to the query.
	annotationParam = "prometheus.io/param"
)

// defaultMetricsPath is where Go services expose metrics by convention.
const defaultMetricsPath = "/metrics"

// metricsPortNames are the names of a container port for metrics, the most specific first.
var metricsPortNames = [...]string{"metrics", "http-metrics"}

// readDiscoveryAnnotation returns the value of an annotation; an empty value is the same as no annotation.
func readDiscoveryAnnotation(annotations map[string]string, name string) string {
	return strings.TrimSpace(annotations[name])
}

// parseDiscoveryScrapeAnnotation reads prometheus.io/scrape: wanted is true for "true" only. An error means that the adapter
// never scrapes the pod, and names the reason.
func parseDiscoveryScrapeAnnotation(annotations map[string]string) (wanted bool, err error) {
	switch value := readDiscoveryAnnotation(annotations, annotationScrape); value {
	case "":
		return false, nil
	case "true":
		return true, nil
	case "false":
		return false, fmt.Errorf("annotation %s is \"false\"", annotationScrape)
	default:
		return false, fmt.Errorf("annotation %s is %q, neither \"true\" nor \"false\"", annotationScrape, strict.Shorten(value))
	}
}

// buildDiscoveredEndpoint returns the URL of a pod's metrics endpoint at the address ip, and its port. The error names the
// annotation or port to change.
func buildDiscoveredEndpoint(ip string, annotations map[string]string, containers []corev1.Container) (address string, port int, err error) {
	scheme, err := parseDiscoveredEndpointScheme(annotations)
	if err != nil {
		return "", 0, err
	}
	port, err = chooseDiscoveredEndpointPort(annotations, containers)
	if err != nil {
		return "", 0, err
	}
	u := parseDiscoveryPathAnnotation(readDiscoveryAnnotation(annotations, annotationPath))
	u.Scheme, u.Host = scheme, net.JoinHostPort(ip, strconv.Itoa(port))
	u.RawQuery = joinDiscoveredEndpointQuery(u.RawQuery, parseDiscoveryParamAnnotations(annotations))
	return u.String(), port, nil
}

func parseDiscoveredEndpointScheme(annotations map[string]string) (string, error) {
	switch scheme := strings.ToLower(readDiscoveryAnnotation(annotations, annotationScheme)); scheme {
	case "":
		return "http", nil
	case "http", "https":
		return scheme, nil
	default:
		return "", fmt.Errorf("annotation %s is %q, neither \"http\" nor \"https\"", annotationScheme, strict.Shorten(scheme))
	}
}

// parseDiscoveryPathAnnotation returns the path and query of the endpoint. The text becomes fields of a URL and never a part of its
// text: behind the address, "@elsewhere" would send the scrape to another host. Escapes in the text stay as they are,
// and a percent sign that begins no escape is a character like others.
func parseDiscoveryPathAnnotation(text string) url.URL {
	path, query, _ := strings.Cut(text, "?")
	if path == "" {
		path = defaultMetricsPath
	}
	if path[0] != '/' {
		path = "/" + path
	}
	u := url.URL{Path: path, RawQuery: escapeDiscoveredEndpointQuery(query)}
	if unescaped, err := url.PathUnescape(path); err == nil {
		u.Path, u.RawPath = unescaped, path
	}
	return u
}

// escapeDiscoveredEndpointQuery escapes the bytes that would end the query or the request line.
func escapeDiscoveredEndpointQuery(query string) string {
	var b strings.Builder
	for _, c := range []byte(query) {
		if c <= ' ' || c >= 0x7f || c == '#' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// parseDiscoveryParamAnnotations returns the query parameters of prometheus.io/param_NAME annotations. Prometheus sees the name of
// an annotation with underscores only, so that param-NAME is the same.
func parseDiscoveryParamAnnotations(annotations map[string]string) url.Values {
	params := url.Values{}
	for annotation, value := range annotations {
		rest, ok := strings.CutPrefix(annotation, annotationParam)
		if !ok || len(rest) < 2 || !strings.ContainsRune("_-.", rune(rest[0])) {
			continue
		}
		params.Add(strings.NewReplacer("-", "_", ".", "_").Replace(rest[1:]), value)
	}
	for _, values := range params {
		slices.Sort(values) // two annotations may differ in their dashes only
	}
	return params
}

func joinDiscoveredEndpointQuery(query string, params url.Values) string {
	if query == "" || len(params) == 0 {
		return query + params.Encode()
	}
	return query + "&" + params.Encode()
}

// chooseDiscoveredEndpointPort returns the annotated port, else the port with a metrics name, else the only declared port. A name
// counts more than the container: the port named metrics of an exporter beside the service is where the metrics are.
func chooseDiscoveredEndpointPort(annotations map[string]string, containers []corev1.Container) (int, error) {
	if text := readDiscoveryAnnotation(annotations, annotationPort); text != "" {
		return parseDiscoveryPortAnnotation(text, containers)
	}
	for _, name := range metricsPortNames {
		switch ports := listDiscoveredPodTCPPorts(containers, name); len(ports) {
		case 0:
		case 1:
			return ports[0], nil
		default:
			return 0, fmt.Errorf("several ports are named %s (%s): annotate %s", name, joinDiscoveredPorts(ports), annotationPort)
		}
	}
	return chooseOnlyDiscoveredPort(listDiscoveredPodTCPPorts(containers, ""))
}

// parseDiscoveryPortAnnotation returns the port with the number, or with the name: Prometheus's usual relabelling ignores a name and scrapes
// all declared ports, so that such annotations exist.
func parseDiscoveryPortAnnotation(text string, containers []corev1.Container) (int, error) {
	if port, err := strconv.ParseUint(text, 10, 16); err == nil && port > 0 {
		return int(port), nil
	}
	switch ports := listDiscoveredPodTCPPorts(containers, text); len(ports) {
	case 0:
		return 0, fmt.Errorf("annotation %s is %q, not a port number, and no port has this name", annotationPort, strict.Shorten(text))
	case 1:
		return ports[0], nil
	default:
		return 0, fmt.Errorf("annotation %s is %q, and several ports have this name (%s): write a number",
			annotationPort, strict.Shorten(text), joinDiscoveredPorts(ports))
	}
}

// listDiscoveredPodTCPPorts returns the different TCP ports of a pod's containers with the name, or all if the name is empty. Two
// declarations with one number are a single port: containers of a pod share their address.
func listDiscoveredPodTCPPorts(containers []corev1.Container, name string) []int {
	var ports []int
	for i := range containers {
		for _, port := range containers[i].Ports {
			number := int(port.ContainerPort)
			if isDiscoverableTCPPort(port) && (name == "" || port.Name == name) && !slices.Contains(ports, number) {
				ports = append(ports, number)
			}
		}
	}
	return ports
}

func chooseOnlyDiscoveredPort(ports []int) (int, error) {
	switch len(ports) {
	case 1:
		return ports[0], nil
	case 0:
		return 0, errors.New("no port is declared: annotate " + annotationPort + " or name a container port metrics")
	default:
		return 0, fmt.Errorf("several ports are declared (%s), none named metrics or http-metrics: annotate %s", joinDiscoveredPorts(ports), annotationPort)
	}
}

// joinDiscoveredPorts lists ports for a person: at most four of them, since the text is kept with the pod.
func joinDiscoveredPorts(ports []int) string {
	var b strings.Builder
	for i, port := range ports {
		switch {
		case i == 4:
			return b.String() + ", …"
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(strconv.Itoa(port))
	}
	return b.String()
}

func isDiscoverableTCPPort(port corev1.ContainerPort) bool {
	return port.Protocol == corev1.ProtocolTCP || port.Protocol == ""
}

// listDiscoveredPodContainers returns the containers that run as long as the pod: its containers, and the init containers
// that are restarted always (native sidecars).
func listDiscoveredPodContainers(spec *corev1.PodSpec) []corev1.Container {
	containers := spec.Containers
	for i := range spec.InitContainers {
		if policy := spec.InitContainers[i].RestartPolicy; policy != nil && *policy == corev1.ContainerRestartPolicyAlways {
			containers = append(slices.Clip(containers), spec.InitContainers[i])
		}
	}
	return containers
}

// findDiscoveredPortContainer returns the name of the container that declares a TCP port, or else of the only container; empty if
// several containers may serve it.
func findDiscoveredPortContainer(containers []corev1.Container, port int) string {
	var names []string
	for i := range containers {
		if slices.Contains(listDiscoveredPodTCPPorts(containers[i:i+1], ""), port) {
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
