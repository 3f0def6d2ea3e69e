// Package podpage finds the metrics page of a pod from its annotations and container ports, as the adapter scrapes it and kubectl shows it.
package podpage

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

// The pod annotations, which Prometheus setups commonly use. Values mean the same as in Prometheus's usual relabelling:
// an empty value says nothing, and a path is no URL. Space around a value has no meaning.
const (
	AnnotationScrape = "prometheus.io/scrape"
	AnnotationPort   = "prometheus.io/port"
	AnnotationPath   = "prometheus.io/path"
	AnnotationScheme = "prometheus.io/scheme"
	// AnnotationParam is the prefix of annotations that each add a parameter to the query.
	AnnotationParam = "prometheus.io/param"
)

// defaultPath is where Go services expose metrics by convention.
const defaultPath = "/metrics"

// metricsPortNames are the names of a container port for metrics, the most specific first.
var metricsPortNames = [...]string{"metrics", "http-metrics"}

// Annotation returns the value of an annotation; an empty value is the same as no annotation.
func Annotation(annotations map[string]string, name string) string {
	return strings.TrimSpace(annotations[name])
}

// IsWanted reads prometheus.io/scrape: it returns true for "true" only. An error means that the adapter never scrapes the pod, and
// names the reason.
func IsWanted(annotations map[string]string) (bool, error) {
	switch value := Annotation(annotations, AnnotationScrape); value {
	case "":
		return false, nil
	case "true":
		return true, nil
	case "false":
		return false, fmt.Errorf("annotation %s is \"false\"", AnnotationScrape)
	default:
		return false, fmt.Errorf("annotation %s is %q, neither \"true\" nor \"false\"", AnnotationScrape, strict.Shorten(value))
	}
}

// URL returns the URL of a pod's metrics page at the address ip, and its port. The error names the annotation or port to change.
func URL(ip string, annotations map[string]string, containers []corev1.Container) (*url.URL, int32, error) {
	scheme, err := Scheme(annotations)
	if err != nil {
		return nil, 0, err
	}
	port, err := Port(annotations, containers)
	if err != nil {
		return nil, 0, err
	}
	u := NewURL(scheme, ip, int(port.ContainerPort), Annotation(annotations, AnnotationPath))
	u.RawQuery = joinPageQuery(u.RawQuery, parsePageParams(annotations))
	return u, port.ContainerPort, nil
}

// Scheme returns the scheme of a pod's metrics page. The error names the annotation to change.
func Scheme(annotations map[string]string) (string, error) {
	switch scheme := strings.ToLower(Annotation(annotations, AnnotationScheme)); scheme {
	case "":
		return "http", nil
	case "http", "https":
		return scheme, nil
	default:
		return "", fmt.Errorf("annotation %s is %q, neither \"http\" nor \"https\"", AnnotationScheme, strict.Shorten(scheme))
	}
}

// NewURL returns the URL of a page with a path and query. They become fields of the URL and never a part of its
// text: behind the address, "@elsewhere" would send the scrape to another host. Escapes in them stay as they are,
// and a percent sign that begins no escape is a character like others.
func NewURL(scheme, ip string, port int, pathAndQuery string) *url.URL {
	path, query, _ := strings.Cut(pathAndQuery, "?")
	if path == "" {
		path = defaultPath
	}
	if path[0] != '/' {
		path = "/" + path
	}
	u := url.URL{Scheme: scheme, Host: net.JoinHostPort(ip, strconv.Itoa(port)), Path: path, RawQuery: escapePageQuery(query)}
	if unescaped, err := url.PathUnescape(path); err == nil {
		u.Path, u.RawPath = unescaped, path
	}
	return &u
}

// escapePageQuery escapes the bytes that would end the query or the request line.
func escapePageQuery(query string) string {
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

// parsePageParams returns the query parameters of prometheus.io/param_NAME annotations. Prometheus sees the name of
// an annotation with underscores only, so that param-NAME is the same.
func parsePageParams(annotations map[string]string) url.Values {
	params := url.Values{}
	for annotation, value := range annotations {
		rest, ok := strings.CutPrefix(annotation, AnnotationParam)
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

func joinPageQuery(query string, params url.Values) string {
	if query == "" || len(params) == 0 {
		return query + params.Encode()
	}
	return query + "&" + params.Encode()
}

// Port returns the annotated port, which need not be declared; else the port with a metrics name, else the only declared port. A name
// counts more than the container: the port named metrics of an exporter beside the service is where the metrics are.
func Port(annotations map[string]string, containers []corev1.Container) (corev1.ContainerPort, error) {
	if text := Annotation(annotations, AnnotationPort); text != "" {
		return parseAnnotatedPort(text, containers)
	}
	for _, name := range metricsPortNames {
		switch ports := DeclaredPorts(containers, name); len(ports) {
		case 0:
		case 1:
			return ports[0], nil
		default:
			return corev1.ContainerPort{}, fmt.Errorf("several ports are named %s (%s): annotate %s", name, joinPagePorts(ports), AnnotationPort)
		}
	}
	return chooseOnlyPagePort(DeclaredPorts(containers, ""))
}

// parseAnnotatedPort returns the port with the number, or with the name: Prometheus's usual relabelling ignores a name and scrapes
// all declared ports, so that such annotations exist.
func parseAnnotatedPort(text string, containers []corev1.Container) (corev1.ContainerPort, error) {
	if number := strict.ParsePort(text); number > 0 {
		return FindPort(containers, number), nil
	}
	switch ports := DeclaredPorts(containers, text); len(ports) {
	case 0:
		return corev1.ContainerPort{}, fmt.Errorf("annotation %s is %q, not a port number, and no port has this name", AnnotationPort, strict.Shorten(text))
	case 1:
		return ports[0], nil
	default:
		return corev1.ContainerPort{}, fmt.Errorf("annotation %s is %q, and several ports have this name (%s): write a number",
			AnnotationPort, strict.Shorten(text), joinPagePorts(ports))
	}
}

func chooseOnlyPagePort(ports []corev1.ContainerPort) (corev1.ContainerPort, error) {
	switch len(ports) {
	case 1:
		return ports[0], nil
	case 0:
		return corev1.ContainerPort{}, errors.New("no port is declared: annotate " + AnnotationPort + " or name a container port metrics")
	default:
		return corev1.ContainerPort{}, fmt.Errorf("several ports are declared (%s), none named metrics or http-metrics: annotate %s", joinPagePorts(ports), AnnotationPort)
	}
}

// joinPagePorts lists ports for a person: at most four of them, since the text is kept with the pod.
func joinPagePorts(ports []corev1.ContainerPort) string {
	var b strings.Builder
	for i, port := range ports {
		switch {
		case i == 4:
			return b.String() + ", …"
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(strconv.Itoa(int(port.ContainerPort)))
	}
	return b.String()
}
