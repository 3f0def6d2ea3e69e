package discovery

import (
	"hash/fnv"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/metric"
	"github.com/tachometer-metrics/tachometer/pkg/podpage"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// podAddress returns an address of the pod's own. That of shop/web-1 is 10.0.0.7.
func podAddress(namespace, name string) string {
	if namespace+"/"+name == "shop/web-1" {
		return "10.0.0.7"
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(namespace + "/" + name))
	n := h.Sum32()
	return net.IPv4(10, byte(n>>16)|1, byte(n>>8), byte(n)).String()
}

func withAddress(ip string) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Status.PodIP = ip } }

func withCreated(second int64) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.CreationTimestamp = metav1.Unix(second, 0) }
}

func onHostNetwork(p *corev1.Pod) { p.Spec.HostNetwork = true }

// apiPod returns a live and ready pod with one port; changes are applied to it.
func apiPod(namespace, name string, changes ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name, UID: "uid-1", Labels: map[string]string{"app": "web"},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubelet"}},
		},
		Spec: corev1.PodSpec{NodeName: "node-1", Containers: []corev1.Container{newContainer("8080")}},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: podAddress(namespace, name),
			Conditions: []corev1.PodCondition{
				{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}, {Type: corev1.PodReady, Status: corev1.ConditionTrue},
			},
		},
	}
	for _, change := range changes {
		change(p)
	}
	return p
}

func withLabels(labels map[string]string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Labels = labels }
}

func withAnnotations(pairs ...string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Annotations = map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			p.Annotations[pairs[i]] = pairs[i+1]
		}
	}
}

func inPhase(phase corev1.PodPhase) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Status.Phase = phase }
}

func withoutAddress(p *corev1.Pod) { p.Status.PodIP = "" }

func markUnready(p *corev1.Pod) { p.Status.Conditions[1].Status = corev1.ConditionFalse }

func markTerminating(p *corev1.Pod) {
	at := metav1.NewTime(time.Unix(31, 0))
	p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &at, new(int64(30))
}

// withRunning sets the start of the pod at second 100, and of its containers at the seconds given; 0 is a container that
// does not run.
func withRunning(startedAt map[string]int64) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		start := metav1.Unix(100, 5)
		p.Status.StartTime = &start
		for name, at := range startedAt {
			s := corev1.ContainerStatus{Name: name}
			if at > 0 {
				s.State.Running = &corev1.ContainerStateRunning{StartedAt: metav1.Unix(at, 7)}
			}
			p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, s)
		}
	}
}

// newContainer declares ports written as "number" or "name:number".
func newContainer(ports ...string) corev1.Container {
	var c corev1.Container
	for _, text := range ports {
		name, number, isNamed := strings.Cut(text, ":")
		if !isNamed {
			name, number = "", text
		}
		c.Ports = append(c.Ports, corev1.ContainerPort{Name: name, ContainerPort: strict.ParsePort(number)})
	}
	return c
}

// withContainers replaces the containers by app and proxy with the ports.
func withContainers(app, proxy corev1.Container) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		app.Name, proxy.Name = "app", "proxy"
		p.Spec.Containers = []corev1.Container{app, proxy}
	}
}

func withInitContainer(policy *corev1.ContainerRestartPolicy, ports ...string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		c := newContainer(ports...)
		c.Name, c.RestartPolicy = "exporter", policy
		p.Spec.InitContainers = append(p.Spec.InitContainers, c)
	}
}

func combine(changes ...func(*corev1.Pod)) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		for _, change := range changes {
			change(p)
		}
	}
}

func TestPodStarted(t *testing.T) {
	t.Parallel()
	app, proxy := newContainer("8080"), newContainer("metrics:9090")
	restart := func(p *corev1.Pod) { p.Status.ContainerStatuses[0].RestartCount = 1 }
	for name, tc := range map[string]struct {
		change func(*corev1.Pod)
		want   int64
	}{
		"unknown":                         {combine(), 0},
		"container with the port":         {combine(withContainers(app, proxy), withRunning(map[string]int64{"app": 110, "proxy": 120})), 120},
		"annotated, declared":             {combine(withContainers(app, proxy), withAnnotations(podpage.AnnotationPort, "8080"), withRunning(map[string]int64{"app": 110, "proxy": 120})), 110},
		"annotated, not declared":         {combine(withContainers(app, proxy), withAnnotations(podpage.AnnotationPort, "7070"), withRunning(map[string]int64{"app": 110, "proxy": 120})), 100},
		"not declared, one restarted":     {combine(withContainers(app, proxy), withAnnotations(podpage.AnnotationPort, "7070"), withRunning(map[string]int64{"app": 110}), restart), 0},
		"declared, other restarted":       {combine(withContainers(app, proxy), withRunning(map[string]int64{"app": 110}), restart, withRunning(map[string]int64{"proxy": 120})), 120},
		"container waits for its restart": {combine(withContainers(app, proxy), withRunning(map[string]int64{"proxy": 0})), 0},
		"no status of the container":      {combine(withContainers(app, proxy), withRunning(nil)), 100},
		"native sidecar": {combine(withInitContainer(new(corev1.ContainerRestartPolicyAlways), "metrics:15090"), func(p *corev1.Pod) {
			p.Status.InitContainerStatuses = []corev1.ContainerStatus{{
				Name: "exporter", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Unix(90, 0)}},
			}}
		}), 90},
	} {
		p := endpointPolicy{}.newStoredPod(apiPod("shop", "web-1", tc.change))
		if want := stripPodTimeLocation(metav1.Unix(tc.want, 0)); tc.want == 0 && !p.Started.IsZero() || tc.want != 0 && p.Started != want {
			t.Errorf("%s: Started = %v, want %v", name, p.Started, tc.want)
		}
		if want := name == "container waits for its restart"; p.Stopped != want {
			t.Errorf("%s: Stopped = %v, want %v", name, p.Stopped, want)
		}
	}
}

// TestPodFinished: the end of the process before is that in the container with the port.
func TestPodFinished(t *testing.T) {
	t.Parallel()
	ended := func(at int64) corev1.ContainerState {
		return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{FinishedAt: metav1.Unix(at, 0)}}
	}
	for name, tc := range map[string]struct {
		status corev1.ContainerStatus
		want   time.Time
	}{
		"never":             {corev1.ContainerStatus{Name: "proxy"}, time.Time{}},
		"once":              {corev1.ContainerStatus{Name: "proxy", LastTerminationState: ended(105)}, time.Unix(105, 0)},
		"now, and before":   {corev1.ContainerStatus{Name: "proxy", State: ended(108), LastTerminationState: ended(105)}, time.Unix(108, 0)},
		"another container": {corev1.ContainerStatus{Name: "app", LastTerminationState: ended(105)}, time.Time{}},
	} {
		p := endpointPolicy{}.newStoredPod(apiPod("shop", "web-1", withContainers(newContainer("8080"), newContainer("metrics:9090")), func(p *corev1.Pod) {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{tc.status}
			p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{Name: "other", LastTerminationState: ended(109)})
		}))
		if p.Finished != tc.want {
			t.Errorf("%s: Finished = %v, want %v", name, p.Finished, tc.want)
		}
	}
}

// TestPodOwnerAndReadyChange: pods of a Deployment have one owner, whatever their ReplicaSet.
func TestPodOwnerAndReadyChange(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		owners []metav1.OwnerReference
		hash   string
		want   string
	}{
		"of a Deployment":        {[]metav1.OwnerReference{{Kind: "ReplicaSet", Name: "web-5d8f", Controller: new(true)}}, "5d8f", "ReplicaSet/web"},
		"of a StatefulSet":       {[]metav1.OwnerReference{{Kind: "StatefulSet", Name: "web", Controller: new(true)}}, "", "StatefulSet/web"},
		"owned, not controlled":  {[]metav1.OwnerReference{{Kind: "Thing", Name: "web"}}, "", ""},
		"of nobody, with a hash": {nil, "5d8f", ""},
	} {
		got := endpointPolicy{}.newStoredPod(apiPod("shop", "web-1", markUnready, func(p *corev1.Pod) {
			p.OwnerReferences = tc.owners
			if tc.hash != "" {
				p.Labels[appsv1.DefaultDeploymentUniqueLabelKey] = tc.hash
			}
			p.Status.Conditions[1].LastTransitionTime = metav1.NewTime(time.Unix(77, 5))
		}))
		if got.Owner != tc.want || got.Ready || !got.Unreadied.Equal(time.Unix(77, 0)) || !got.Readied.IsZero() {
			t.Errorf("%s: owner %q, ready %v, since %v or %v", name, got.Owner, got.Ready, got.Readied, got.Unreadied)
		}
	}
}

func TestNewPod(t *testing.T) {
	t.Parallel()
	why := func(reason metric.Reason, detail string) metric.Omission {
		return metric.Omission{Object: metric.Object{Namespace: "shop", Name: "web-1"}, Reason: reason, Detail: detail}
	}
	const url = "http://10.0.0.7:8080/metrics"
	for name, tc := range map[string]struct {
		change    func(*corev1.Pod)
		live      bool
		why       metric.Omission
		url       string
		rejected  string
		annotated bool
		unready   bool
		departed  bool
	}{
		"live":                       {change: func(*corev1.Pod) {}, live: true, url: url},
		"not ready":                  {change: markUnready, live: true, url: url, unready: true},
		"annotated":                  {change: withAnnotations(podpage.AnnotationScrape, "true"), live: true, url: url, annotated: true},
		"barred":                     {change: withAnnotations(podpage.AnnotationScrape, "false"), live: true, rejected: `annotation prometheus.io/scrape is "false"`},
		"bad annotation":             {change: withAnnotations(podpage.AnnotationPort, "x"), live: true, rejected: `annotation prometheus.io/port is "x", not a port number, and no port has this name`},
		"terminating":                {change: markTerminating, why: why(metric.ReasonTerminating, ""), url: url, departed: true},
		"ended while terminating":    {change: combine(markTerminating, inPhase(corev1.PodSucceeded)), why: why(metric.ReasonTerminating, ""), departed: true},
		"barred, terminating":        {change: combine(markTerminating, withAnnotations(podpage.AnnotationScrape, "false")), why: why(metric.ReasonTerminating, ""), rejected: `annotation prometheus.io/scrape is "false"`, departed: true},
		"native sidecar":             {change: withInitContainer(new(corev1.ContainerRestartPolicyAlways), "metrics:15090"), live: true, url: "http://10.0.0.7:15090/metrics"},
		"native sidecar's only port": {change: combine(func(p *corev1.Pod) { p.Spec.Containers[0].Ports = nil }, withInitContainer(new(corev1.ContainerRestartPolicyAlways), "15090")), live: true, url: "http://10.0.0.7:15090/metrics"},
		"plain init container":       {change: withInitContainer(nil, "metrics:15090"), live: true, url: url},
		"succeeded":                  {change: inPhase(corev1.PodSucceeded), why: why(metric.ReasonTerminating, "pod has succeeded")},
		"failed":                     {change: inPhase(corev1.PodFailed), why: why(metric.ReasonTerminating, "pod has failed")},
		"pending":                    {change: inPhase(corev1.PodPending), why: why(metric.ReasonNotScraped, "pod is pending")},
		"no phase":                   {change: inPhase(""), why: why(metric.ReasonNotScraped, "pod is pending")},
		"unknown":                    {change: inPhase(corev1.PodUnknown), why: why(metric.ReasonNotScraped, "pod's phase is unknown")},
		"no address":                 {change: withoutAddress, why: why(metric.ReasonNotScraped, "pod has no address yet")},
		"on host network":            {change: func(p *corev1.Pod) { p.Spec.HostNetwork, p.Status.PodIP = true, "192.168.0.1" }, live: true, url: "http://192.168.0.1:8080/metrics"},
		"without readines":           {change: func(p *corev1.Pod) { p.Status.Conditions = nil }, live: true, url: url, unready: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := &storedPod{
				Pod: Pod{
					Namespace: "shop", Name: "web-1", UID: "uid-1", Node: "node-1",
					Ready: !tc.unready, Live: tc.live, Departed: tc.departed, Completed: name == "succeeded", Omission: tc.why,
				},
				labels: map[string]string{"app": "web"}, url: tc.url, skipReason: tc.rejected, annotated: tc.annotated,
				hostNetwork: name == "on host network",
			}
			if tc.departed {
				want.Left = time.Unix(1, 0)
			}
			o := apiPod("shop", "web-1", tc.change)
			if o.Status.Phase == corev1.PodRunning {
				want.ip = o.Status.PodIP
			}
			got, err := endpointPolicy{}.stripPod(o)
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(storedPod{})); err != nil || diff != "" {
				t.Errorf("stripPod: %v (-want +got):\n%s", err, diff)
			}
			if again, err := (endpointPolicy{}).stripPod(got); again != got || err != nil {
				t.Errorf("stripPod(stripped) = %v, %v; want the same pod", again, err)
			}
		})
	}
	if _, err := (endpointPolicy{}).stripPod(&corev1.Node{}); err == nil {
		t.Error("stripPod(node) = nil error")
	}
}
