// This file builds the requests to a pod from its readiness probes and the URL of the spec.

package verify

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tachometer-metrics/tachometer/pkg/reserved"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// podRequest is a request to a pod.
type podRequest struct {
	url     string // with the pod's address as its host
	host    string // Host header and TLS server name; empty: the host of url
	header  http.Header
	timeout time.Duration
}

// podChecks are the requests to a pod.
type podChecks struct {
	podName    string
	readiness  []podRequest // of the readiness probes of its containers
	skipReason string       // reason of an empty readiness
	load       *podRequest  // nil: only the readiness is tested
}

// resolveVerifiedPodChecks returns the requests to a pod.
func resolveVerifiedPodChecks(spec Spec, pod *corev1.Pod) (podChecks, error) {
	a := podChecks{podName: pod.Name, skipReason: "skipped: no httpGet readiness probe"}
	if ip, err := netip.ParseAddr(pod.Status.PodIP); err != nil {
		return a, fmt.Errorf("pod %s has no IP address", pod.Name)
	} else if kind := reserved.Classify(ip); kind != "" && kind != reserved.Loopback && kind != reserved.Metadata {
		return a, fmt.Errorf("pod %s has the address %s, which no pod has", pod.Name, ip)
	}
	for _, c := range probeContainers(pod) {
		get := c.ReadinessProbe.HTTPGet
		switch {
		case get == nil:
			continue
		case get.Host != "":
			a.skipReason = fmt.Sprintf("skipped: the readiness probe asks the host %q, not the pod", strict.Shorten(get.Host))
			continue
		}
		readiness, err := buildProbeRequest(pod, c, spec.Timeout.Duration)
		if err != nil {
			return a, err
		}
		a.readiness = append(a.readiness, readiness)
	}
	if spec.URL == "" {
		return a, nil
	}
	load, err := buildLoadRequest(spec, pod)
	a.load = load
	return a, err
}

// probeContainers returns the containers with readiness probes, including sidecars among the init containers.
func probeContainers(pod *corev1.Pod) []*corev1.Container {
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

// buildProbeRequest returns the request of a container's readiness probe, as the kubelet sends it. The kubelet runs on the pod's
// machine; from another machine the timeout is at least the timeout of any other request. It is bounded, because the pod's owner chooses it.
func buildProbeRequest(pod *corev1.Pod, c *corev1.Container, timeout time.Duration) (podRequest, error) {
	get := c.ReadinessProbe.HTTPGet
	port, err := resolveProbePort(pod, c, get.Port)
	if err != nil {
		return podRequest{}, err
	}
	u, err := url.Parse(get.Path)
	if err != nil { // such as /100%, which the kubelet escapes
		u = &url.URL{Path: get.Path}
	}
	probeURL := url.URL{Scheme: probeURLScheme(get), Host: net.JoinHostPort(pod.Status.PodIP, port), Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery}
	a := podRequest{url: probeURL.String(), header: http.Header{}, timeout: max(timeout, min(maxReadinessTimeout, time.Duration(c.ReadinessProbe.TimeoutSeconds)*time.Second))}
	for _, h := range get.HTTPHeaders {
		if strings.EqualFold(h.Name, "Host") {
			a.host = h.Value
			continue
		}
		a.header.Add(h.Name, h.Value)
	}
	return a, nil
}

func probeURLScheme(get *corev1.HTTPGetAction) string {
	return strings.ToLower(string(cmp.Or(get.Scheme, corev1.URISchemeHTTP)))
}

// resolveProbePort returns the number of a port. A name is looked up in the container.
func resolveProbePort(pod *corev1.Pod, c *corev1.Container, port intstr.IntOrString) (string, error) {
	number := port.IntVal
	if port.Type == intstr.String {
		i := slices.IndexFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.Name == port.StrVal })
		if i >= 0 {
			number = c.Ports[i].ContainerPort
		} else if number = strict.ParsePort(port.StrVal); number == 0 {
			return "", fmt.Errorf("pod %s: the readiness probe of container %s names the unknown port %q", pod.Name, c.Name, strict.Shorten(port.StrVal))
		}
	}
	if number < 1 || number > 65535 {
		return "", fmt.Errorf("pod %s: the readiness probe of container %s has no port", pod.Name, c.Name)
	}
	return strconv.Itoa(int(number)), nil
}

// buildLoadRequest returns the request to the URL of the spec, with the pod's address.
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

// findMainPort returns the scheme and port of the first readiness probe with a port.
func findMainPort(pod *corev1.Pod) (urlScheme, port string, err error) {
	for _, c := range probeContainers(pod) {
		switch {
		case c.ReadinessProbe.HTTPGet != nil:
			port, err = resolveProbePort(pod, c, c.ReadinessProbe.HTTPGet.Port)
			return probeURLScheme(c.ReadinessProbe.HTTPGet), port, err
		case c.ReadinessProbe.TCPSocket != nil:
			port, err = resolveProbePort(pod, c, c.ReadinessProbe.TCPSocket.Port)
			return "http", port, err
		}
	}
	return "", "", fmt.Errorf("pod %s has no readiness probe to take the port from: give a complete URL, such as http://HOST:8080/PATH", pod.Name)
}
