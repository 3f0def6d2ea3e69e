package lint

import (
	"cmp"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tachometer-metrics/tachometer/pkg/podpage"
)

// listWorkloadRules returns the rules about the pods that an autoscaler scales.
func listWorkloadRules() []Rule {
	return []Rule{
		{
			"liveness-is-readiness", SeverityWarning,
			"Under overload both probes fail, and the kubelet kills the pods.",
			"Give the livenessProbe a page without dependencies, or a higher failureThreshold.", findSharedProbes,
		},
		{
			"metrics-opt-out", SeverityError,
			"The adapter scrapes no pod with another value of prometheus.io/scrape than \"true\".",
			"Remove the annotation.", findScrapeOptOut,
		},
		{
			"metrics-port-ambiguous", SeverityError,
			"The pod has several ports, none annotated or named metrics: the adapter cannot choose.",
			"Annotate prometheus.io/port, or name one container port metrics.", findAmbiguousPort,
		},
		{
			"metrics-port-undeclared", SeverityWarning,
			"No container declares the annotated port.",
			"Annotate a declared port, or declare it.", findUndeclaredPort,
		},
		{
			"no-readiness-probe", SeverityWarning,
			"The pod gets traffic, and counts as ready, as soon as it starts.",
			"Add a readinessProbe.", findMissingReadiness,
		},
		{
			"ready-while-starting", SeverityWarning,
			"The autoscaler takes the CPU of the start for load.",
			"Add a startupProbe, or initialDelaySeconds to the readinessProbe.", findReadyWhileStarting,
		},
		{
			"replicas-in-manifest", SeverityWarning,
			"Each apply resets the autoscaler's number.",
			"Remove spec.replicas from the manifest.", findManifestReplicas,
		},
	}
}

// lintedPodTemplate returns the pod template of a subject, or nil.
func lintedPodTemplate(s subject) *corev1.PodTemplateSpec {
	if s.workload == nil {
		return nil
	}
	return &s.workload.Template
}

func findManifestReplicas(s subject) []string {
	if !s.files || s.workload == nil || s.workload.Replicas == nil {
		return nil // in a cluster, every workload has a number
	}
	return newLintFinding(true, "%s sets replicas: %d (%s)", s.workload.Ref(), *s.workload.Replicas, s.workload.Source)
}

func findMissingReadiness(s subject) []string {
	t := lintedPodTemplate(s)
	if t == nil {
		return nil
	}
	for _, c := range t.Spec.Containers {
		if c.ReadinessProbe != nil {
			return nil
		}
	}
	return newLintFinding(true, "no container of %s has one", s.workload.Ref())
}

// findReadyWhileStarting looks at autoscalers on CPU: the CPU of a start is no load.
func findReadyWhileStarting(s subject) []string {
	t := lintedPodTemplate(s)
	if t == nil {
		return nil
	}
	for _, c := range podpage.Containers(&t.Spec) {
		if isScaledOnCPU(s, c.Name) && c.ReadinessProbe != nil && c.StartupProbe == nil && c.ReadinessProbe.InitialDelaySeconds == 0 {
			return newLintFinding(true, "container %s is ready without a delay, and the autoscaler looks at CPU", c.Name)
		}
	}
	return nil
}

// isScaledOnCPU reports whether a metric is the CPU of the pods or of a container.
func isScaledOnCPU(s subject, container string) bool {
	for _, m := range s.hpa.Spec.Metrics {
		if name, of, _ := lintedResourceMetric(m); name == corev1.ResourceCPU && (of == "" || of == container) {
			return true
		}
	}
	return false
}

func findSharedProbes(s subject) []string {
	t := lintedPodTemplate(s)
	if t == nil {
		return nil
	}
	for _, c := range t.Spec.Containers {
		live, ready := c.LivenessProbe, c.ReadinessProbe
		if live == nil || ready == nil || live.HTTPGet == nil || ready.HTTPGet == nil {
			continue
		}
		same := comparedProbePath(live) == comparedProbePath(ready) && lintedPortNumber(c, live.HTTPGet.Port) == lintedPortNumber(c, ready.HTTPGet.Port)
		if same && probeFailureSeconds(live) <= probeFailureSeconds(ready) {
			return newLintFinding(true, "container %s: both ask %s, and liveness gives up after %d s", c.Name, comparedProbePath(live), probeFailureSeconds(live))
		}
	}
	return nil
}

// comparedProbePath returns the path of a probe; Kubernetes' default is /.
func comparedProbePath(p *corev1.Probe) string { return cmp.Or(p.HTTPGet.Path, "/") }

// lintedPortNumber returns the number of a container's port, or the text of an undeclared port.
func lintedPortNumber(c corev1.Container, port intstr.IntOrString) string {
	for _, p := range c.Ports {
		if port.Type == intstr.String && p.Name == port.StrVal {
			return strconv.Itoa(int(p.ContainerPort))
		}
	}
	return port.String()
}

// probeFailureSeconds returns the time until a probe gives up, with Kubernetes' defaults: every 10 s, three times.
func probeFailureSeconds(p *corev1.Probe) int64 {
	period, failures := int64(p.PeriodSeconds), int64(p.FailureThreshold)
	if period == 0 {
		period = 10
	}
	if failures == 0 {
		failures = 3
	}
	return period * failures
}

func findScrapeOptOut(s subject) []string {
	t := lintedPodTemplate(s)
	if t == nil || !isScaledOnPods(s) {
		return nil
	}
	text := podpage.Annotation(t.Annotations, podpage.AnnotationScrape)
	return newLintFinding(text != "" && text != "true", "the pods opt out of scraping: %q", text)
}

// isScaledOnPods reports whether a metric comes from the pods' own pages.
func isScaledOnPods(s subject) bool {
	for _, m := range s.hpa.Spec.Metrics {
		if m.Pods != nil {
			return true
		}
	}
	return false
}

func findAmbiguousPort(s subject) []string {
	t := lintedPodTemplate(s)
	if t == nil || !isScaledOnPods(s) {
		return nil
	}
	if _, err := podpage.Port(t.Annotations, podpage.Containers(&t.Spec)); err != nil {
		return []string{err.Error()}
	}
	return nil
}

func findUndeclaredPort(s subject) []string {
	t := lintedPodTemplate(s)
	if t == nil || !isScaledOnPods(s) {
		return nil
	}
	text, containers := podpage.Annotation(t.Annotations, podpage.AnnotationPort), podpage.Containers(&t.Spec)
	port, err := podpage.Port(t.Annotations, containers)
	if text == "" || len(podpage.DeclaredPorts(containers, "")) == 0 || err != nil { // the adapter cannot choose: another rule's
		return nil
	}
	return newLintFinding(!podpage.Declares(containers, port.ContainerPort), "prometheus.io/port is %q, which no container declares", text)
}
