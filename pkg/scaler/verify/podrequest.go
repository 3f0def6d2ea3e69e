package verify

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// podRequest is one thing to ask a pod.
type podRequest struct {
	url     string // with the pod's address as its host
	host    string // sent as the Host header and as the server name of TLS; empty: that of url
	header  http.Header
	timeout time.Duration
}

// podChecks are what one pod is asked.
type podChecks struct {
	podName    string
	readiness  []podRequest // of the readiness probes of its containers
	skipReason string       // why there is nothing in ready
	load       *podRequest  // nil: nothing but the readiness
}

// resolvePodChecks says where a pod is asked what the spec says.
func resolvePodChecks(spec Spec, pod *corev1.Pod) (podChecks, error) {
	a := podChecks{podName: pod.Name, skipReason: "skipped: no httpGet readiness probe"}
	if net.ParseIP(pod.Status.PodIP) == nil {
		return a, fmt.Errorf("pod %s has no address", pod.Name)
	}
	for _, c := range probedContainers(pod) {
		get := c.ReadinessProbe.HTTPGet
		switch {
		case get == nil:
			continue
		case get.Host != "":
			a.skipReason = "skipped: the readiness probe asks the host " + get.Host + ", not the pod"
			continue
		}
		one, err := buildReadinessRequest(pod, c, spec.Timeout.Duration)
		if err != nil {
			return a, err
		}
		a.readiness = append(a.readiness, one)
	}
	if spec.URL == "" {
		return a, nil
	}
	load, err := buildLoadRequest(spec, pod)
	a.load = load
	return a, err
}

// probedContainers are the containers with readiness probes, those that run beside them from the start included.
func probedContainers(pod *corev1.Pod) []*corev1.Container {
	var all []*corev1.Container
	for _, list := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range list {
			if list[i].ReadinessProbe != nil {
				all = append(all, &list[i])
			}
		}
	}
	return all
}

// buildReadinessRequest is the readiness address of a container, as the kubelet asks it. It asks from the same machine; from another, a pod
// has at least as long as for any other request.
func buildReadinessRequest(pod *corev1.Pod, c *corev1.Container, timeout time.Duration) (podRequest, error) {
	get := c.ReadinessProbe.HTTPGet
	port, err := resolveProbePort(pod, c, get.Port)
	if err != nil {
		return podRequest{}, err
	}
	u, err := url.Parse(get.Path)
	if err != nil {
		return podRequest{}, fmt.Errorf("pod %s: the path of its readiness probe is none: %q", pod.Name, get.Path)
	}
	target := url.URL{Scheme: probeScheme(get), Host: net.JoinHostPort(pod.Status.PodIP, port), Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery}
	a := podRequest{url: target.String(), header: http.Header{}, timeout: max(timeout, time.Duration(c.ReadinessProbe.TimeoutSeconds)*time.Second)}
	for _, h := range get.HTTPHeaders {
		if strings.EqualFold(h.Name, "Host") {
			a.host = h.Value
			continue
		}
		a.header.Add(h.Name, h.Value)
	}
	return a, nil
}

func probeScheme(get *corev1.HTTPGetAction) string {
	return strings.ToLower(string(cmp.Or(get.Scheme, corev1.URISchemeHTTP)))
}

// resolveProbePort is the number of a port, which a container may have a name for.
func resolveProbePort(pod *corev1.Pod, c *corev1.Container, port intstr.IntOrString) (string, error) {
	number := int64(port.IntVal)
	if port.Type == intstr.String {
		i := slices.IndexFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.Name == port.StrVal })
		if i >= 0 {
			number = int64(c.Ports[i].ContainerPort)
		} else if n, err := strconv.ParseInt(port.StrVal, 10, 32); err == nil {
			number = n
		} else {
			return "", fmt.Errorf("pod %s: the readiness probe of container %s names the port %q, which it has not", pod.Name, c.Name, port.StrVal)
		}
	}
	if number < 1 || number > 65535 {
		return "", fmt.Errorf("pod %s: the readiness probe of container %s has no port", pod.Name, c.Name)
	}
	return strconv.FormatInt(number, 10), nil
}

// buildLoadRequest is the address of the URL in the spec.
func buildLoadRequest(spec Spec, pod *corev1.Pod) (*podRequest, error) {
	u, err := url.Parse(spec.URL)
	if err != nil {
		return nil, fmt.Errorf("parse the URL: %w", err)
	}
	a := podRequest{host: u.Host, timeout: spec.Timeout.Duration}
	port := u.Port()
	switch {
	case u.Host == "":
		if u.Scheme, port, err = findMainPort(pod); err != nil {
			return nil, err
		}
	case port == "" && u.Scheme == "https":
		port = "443"
	case port == "":
		port = "80"
	}
	u.Host = net.JoinHostPort(pod.Status.PodIP, port)
	a.url = u.String()
	return &a, nil
}

// findMainPort is that of the first readiness probe with one.
func findMainPort(pod *corev1.Pod) (urlScheme, port string, err error) {
	for _, c := range probedContainers(pod) {
		switch {
		case c.ReadinessProbe.HTTPGet != nil:
			port, err = resolveProbePort(pod, c, c.ReadinessProbe.HTTPGet.Port)
			return probeScheme(c.ReadinessProbe.HTTPGet), port, err
		case c.ReadinessProbe.TCPSocket != nil:
			port, err = resolveProbePort(pod, c, c.ReadinessProbe.TCPSocket.Port)
			return "http", port, err
		}
	}
	return "", "", fmt.Errorf("pod %s has no readiness probe to take the port from: give a whole URL, such as http://HOST:8080/PATH", pod.Name)
}
