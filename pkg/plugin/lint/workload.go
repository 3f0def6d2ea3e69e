package lint

import (
	"cmp"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tachometer-metrics/tachometer/pkg/podpage"
)

// listLintWorkloadRules returns the rules about the pods that an autoscaler scales.
func listLintWorkloadRules() []Rule {
	return []Rule{
		{
			"liveness-is-readiness", SeverityWarning,
			"Under overload both probes fail, and the kubelet kills the pods.",
			"Give the livenessProbe a page without dependencies, or a higher failureThreshold.", lintLivenessIsReadiness,
		},
		{
			"metrics-opt-out", SeverityError,
			"The adapter scrapes no pod with another value of prometheus.io/scrape than \"true\".",
			"Remove the annotation.", lintScrapeOptOut,
		},
		{
			"metrics-port-ambiguous", SeverityError,
			"The pod has several ports, none annotated or named metrics: the adapter cannot choose.",
			"Annotate prometheus.io/port, or name one container port metrics.", lintAmbiguousPort,
		},
		{
			"metrics-port-undeclared", SeverityWarning,
			"No container declares the annotated port.",
			"Annotate a declared port, or declare it.", lintUndeclaredPort,
		},
		{
			"no-readiness-probe", SeverityWarning,
			"The pod gets traffic, and counts as ready, as soon as it starts.",
			"Add a readinessProbe.", lintReadinessProbe,
		},
		{
			"ready-while-starting", SeverityWarning,
			"The autoscaler takes the CPU of the start for load.",
			"Add a startupProbe, or initialDelaySeconds to the readinessProbe.", lintReadyWhileStarting,
		},
		{
			"replicas-in-manifest", SeverityWarning,
			"Each apply resets the autoscaler's number.",
			"Remove spec.replicas from the manifest.", lintReplicasInManifest,
		},
	}
}

// lintedTemplate returns the pod template of a subject, or nil.
func lintedTemplate(s subject) *corev1.PodTemplateSpec {
	if s.workload == nil {
		return nil
	}
	return &s.workload.Template
}

func lintReplicasInManifest(s subject) []string {
	if !s.files || s.workload == nil || s.workload.Replicas == nil {
		return nil // in a cluster, every workload has a number
	}
	return newLintMessage(true, "%s sets replicas: %d (%s)", s.workload.Ref(), *s.workload.Replicas, s.workload.Source)
}

func lintReadinessProbe(s subject) []string {
	t := lintedTemplate(s)
	if t == nil {
		return nil
	}
	for _, c := range t.Spec.Containers {
		if c.ReadinessProbe != nil {
			return nil
		}
	}
	return newLintMessage(true, "no container of %s has one", s.workload.Ref())
}

// lintReadyWhileStarting looks at autoscalers on CPU: the CPU of a start is no load.
func lintReadyWhileStarting(s subject) []string {
	t := lintedTemplate(s)
	if t == nil {
		return nil
	}
	for _, c := range podpage.Containers(&t.Spec) {
		if isLintedOnCPU(s, c.Name) && c.ReadinessProbe != nil && c.StartupProbe == nil && c.ReadinessProbe.InitialDelaySeconds == 0 {
			return newLintMessage(true, "container %s is ready without a delay, and the autoscaler looks at CPU", c.Name)
		}
	}
	return nil
}

// isLintedOnCPU reports whether a metric is the CPU of the pods or of a container.
func isLintedOnCPU(s subject, container string) bool {
	for _, m := range s.hpa.Spec.Metrics {
		if name, of, _ := lintedResource(m); name == corev1.ResourceCPU && (of == "" || of == container) {
			return true
		}
	}
	return false
}

func lintLivenessIsReadiness(s subject) []string {
	t := lintedTemplate(s)
	if t == nil {
		return nil
	}
	for _, c := range t.Spec.Containers {
		live, ready := c.LivenessProbe, c.ReadinessProbe
		if live == nil || ready == nil || live.HTTPGet == nil || ready.HTTPGet == nil {
			continue
		}
		same := lintedProbePath(live) == lintedProbePath(ready) && lintedPortNumber(c, live.HTTPGet.Port) == lintedPortNumber(c, ready.HTTPGet.Port)
		if same && lintedProbeSeconds(live) <= lintedProbeSeconds(ready) {
			return newLintMessage(true, "container %s: both ask %s, and liveness gives up after %d s", c.Name, lintedProbePath(live), lintedProbeSeconds(live))
		}
	}
	return nil
}

// lintedProbePath returns the path of a probe; Kubernetes' default is /.
func lintedProbePath(p *corev1.Probe) string { return cmp.Or(p.HTTPGet.Path, "/") }

// lintedPortNumber returns the number of a container's port, or the text of an undeclared port.
func lintedPortNumber(c corev1.Container, port intstr.IntOrString) string {
	for _, p := range c.Ports {
		if port.Type == intstr.String && p.Name == port.StrVal {
			return strconv.Itoa(int(p.ContainerPort))
		}
	}
	return port.String()
}

// lintedProbeSeconds returns the time until a probe gives up, with Kubernetes' defaults: every 10 s, three times.
func lintedProbeSeconds(p *corev1.Probe) int64 {
	period, failures := int64(p.PeriodSeconds), int64(p.FailureThreshold)
	if period == 0 {
		period = 10
	}
	if failures == 0 {
		failures = 3
	}
	return period * failures
}

func lintScrapeOptOut(s subject) []string {
	t := lintedTemplate(s)
	if t == nil || !isLintedOnPods(s) {
		return nil
	}
	text := podpage.Annotation(t.Annotations, podpage.AnnotationScrape)
	return newLintMessage(text != "" && text != "true", "the pods opt out of scraping: %q", text)
}

// isLintedOnPods reports whether a metric comes from the pods' own pages.
func isLintedOnPods(s subject) bool {
	for _, m := range s.hpa.Spec.Metrics {
		if m.Pods != nil {
			return true
		}
	}
	return false
}

func lintAmbiguousPort(s subject) []string {
	t := lintedTemplate(s)
	if t == nil || !isLintedOnPods(s) {
		return nil
	}
	if _, err := podpage.Port(t.Annotations, podpage.Containers(&t.Spec)); err != nil {
		return []string{err.Error()}
	}
	return nil
}

func lintUndeclaredPort(s subject) []string {
	t := lintedTemplate(s)
	if t == nil || !isLintedOnPods(s) {
		return nil
	}
	text, containers := podpage.Annotation(t.Annotations, podpage.AnnotationPort), podpage.Containers(&t.Spec)
	port, err := podpage.Port(t.Annotations, containers)
	if text == "" || len(podpage.DeclaredPorts(containers, "")) == 0 || err != nil { // the adapter cannot choose: another rule's
		return nil
	}
	return newLintMessage(!podpage.Declares(containers, port.ContainerPort), "prometheus.io/port is %q, which no container declares", text)
}
