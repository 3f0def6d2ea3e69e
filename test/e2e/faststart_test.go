package e2e

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tachometer-metrics/tachometer/test/harness/cluster"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

var fastStartRuns = flag.Int("faststart.runs", 0, "runs of each change in TestFastStart, of some 20 seconds each")

// fastStartPods are the pods of a run.
const fastStartPods = 20

// fastStartName is the name of the measured Deployment, and of its placeholders' PriorityClass.
const (
	fastStartName    = "faststart"
	placeholdersName = "faststart-placeholders"
)

// fastStartChange is one change of the sample's pods.
type fastStartChange struct {
	name   string
	change func(*corev1.Container)
}

func fastStartChanges() []fastStartChange {
	withoutJitter := func(c *corev1.Container) {
		for i := range c.Env {
			if c.Env[i].Name == "START_JITTER" {
				c.Env[i].Value = "0s"
			}
		}
	}
	withoutDelay := func(c *corev1.Container) { c.ReadinessProbe.InitialDelaySeconds = 0 }
	readyEverySecond := func(c *corev1.Container) { c.ReadinessProbe.PeriodSeconds = 1 }
	return []fastStartChange{
		{"as shipped", func(*corev1.Container) {}},
		{"startupProbe every 10 s, Kubernetes' default", func(c *corev1.Container) { c.StartupProbe.PeriodSeconds = 10 }},
		{"readinessProbe without initialDelaySeconds", withoutDelay},
		{"readinessProbe every second", readyEverySecond},
		{"START_JITTER=0s, and readinessProbe without initialDelaySeconds", func(c *corev1.Container) { withoutJitter(c); withoutDelay(c) }},
		{"these two, and readinessProbe every second", func(c *corev1.Container) { withoutJitter(c); withoutDelay(c); readyEverySecond(c) }},
		{"these three, and a CPU limit of 20m", func(c *corev1.Container) {
			withoutJitter(c)
			withoutDelay(c)
			readyEverySecond(c)
			c.Resources.Limits[corev1.ResourceCPU] = resource.MustParse("20m")
		}},
	}
}

// TestFastStart measures the seconds until 20 pods of the sample are ready, with one change of their manifest at a time, with
// placeholders in their place, and the seconds of an in-place resize. docs/fast-start.md has the table.
func TestFastStart(t *testing.T) {
	needNode(t)
	if *fastStartRuns == 0 {
		t.Skip("SKIPPED: -faststart.runs is not set: run `make fast-start`")
	}
	for _, c := range fastStartChanges() {
		t.Run(c.name, func(t *testing.T) {
			var seconds []float64
			for range *fastStartRuns {
				seconds = append(seconds, startFastPods(t, c.change))
				removeFastPods(t, fastStartName)
			}
			logFastStart(t, c.name, seconds)
		})
	}
	t.Run("resize", func(t *testing.T) {
		var seconds []float64
		for range *fastStartRuns {
			startFastPods(t, func(*corev1.Container) {})
			seconds = append(seconds, resizeFastPods(t))
			removeFastPods(t, fastStartName)
		}
		logFastStart(t, "all 20 pods have another CPU limit, in place", seconds)
	})
	t.Run("placeholders", func(t *testing.T) {
		createPlaceholders(t)
		var seconds []float64
		for range *fastStartRuns {
			awaitFullNode(t)
			seconds = append(seconds, startFastPods(t, func(*corev1.Container) {}))
			removeFastPods(t, fastStartName)
		}
		logFastStart(t, "as shipped, in place of placeholders", seconds)
	})
}

// TestFastStartOfNewImage measures what an image costs that the node does not have: the seconds from the begin of the import of its archive, of a
// file on the node's own disk, until 20 pods are ready. A pull adds the network.
func TestFastStartOfNewImage(t *testing.T) {
	needNode(t)
	if *fastStartRuns == 0 {
		t.Skip("SKIPPED: -faststart.runs is not set: run `make fast-start`")
	}
	program := filepath.Join(t.TempDir(), "sample")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, "./cmd/sample")
	build.Dir, build.Env = s.Root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the sample: %v: %s", err, out)
	}
	for _, padding := range []int{0, 100} {
		var present, imported []float64
		for run := range *fastStartRuns {
			tag := fmt.Sprintf("tachometer/faststart:%d-%d", padding, run)
			archive := packFastImage(t, tag, program, padding)
			change := func(c *corev1.Container) { c.Image, c.ImagePullPolicy = tag, corev1.PullNever }
			began := time.Now()
			if err := s.Cluster.LoadImage(t.Context(), archive); err != nil {
				t.Fatal(err)
			}
			startFastPods(t, change)
			imported = append(imported, time.Since(began).Seconds())
			removeFastPods(t, fastStartName)
			present = append(present, startFastPods(t, change))
			removeFastPods(t, fastStartName)
		}
		logFastStart(t, fmt.Sprintf("the sample's image and %d MB more, on the node", padding), present)
		logFastStart(t, fmt.Sprintf("the sample's image and %d MB more, imported from an archive first", padding), imported)
	}
}

// packFastImage writes an archive of the sample's image with some megabytes more, at random: no node has its layer.
func packFastImage(t *testing.T, tag, program string, padding int) (archive string) {
	t.Helper()
	dir := t.TempDir()
	random, err := os.Create(filepath.Join(dir, "padding"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.CopyN(random, rand.Reader, int64(padding)*1_000_000+8)
	if err := errors.Join(err, random.Close()); err != nil {
		t.Fatal(err)
	}
	archive = filepath.Join(dir, "image.tar")
	err = cluster.PackImage(archive, cluster.Image{
		Tag: tag, Files: map[string]string{"/sample": program, "/padding": random.Name()}, Entrypoint: []string{"/sample"}, User: "65532",
	})
	if err != nil {
		t.Fatal(err)
	}
	return archive
}

// logFastStart logs a row of the table.
func logFastStart(t *testing.T, name string, seconds []float64) {
	t.Helper()
	slices.Sort(seconds)
	t.Logf("| %s | %.1f | %.1f to %.1f |", name, seconds[(len(seconds)-1)/2], seconds[0], seconds[len(seconds)-1])
}

// newFastDeployment returns the sample's Deployment with a name of its own and little CPU, so that one node has room.
func newFastDeployment(ctx context.Context, name string, change func(*corev1.Container)) (*appsv1.Deployment, error) {
	d, err := s.Client.AppsV1().Deployments(stack.SampleNamespace).Get(ctx, "sample", metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	labels := map[string]string{"app": name}
	template := d.Spec.Template
	template.Labels, template.Annotations, template.Spec.TopologySpreadConstraints = labels, nil, nil
	container := &template.Spec.Containers[0]
	container.Resources.Requests[corev1.ResourceCPU] = resource.MustParse("20m")
	change(container)
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: d.Namespace, Name: name},
		Spec:       appsv1.DeploymentSpec{Replicas: new(int32(fastStartPods)), Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: template},
	}, nil
}

// startFastPods creates the pods and returns the seconds until all are ready.
func startFastPods(t *testing.T, change func(*corev1.Container)) float64 {
	t.Helper()
	d, err := newFastDeployment(t.Context(), fastStartName, change)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeFastPods(t, fastStartName) })
	stages := fastStages{began: time.Now(), seen: map[string][]float64{}}
	if _, err := s.Client.AppsV1().Deployments(d.Namespace).Create(t.Context(), d, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	err = stack.Wait(t.Context(), 3*time.Minute, func(ctx context.Context) error {
		if err := stages.notePods(ctx); err != nil {
			return err
		}
		d, err := s.Client.AppsV1().Deployments(stack.SampleNamespace).Get(ctx, fastStartName, metav1.GetOptions{})
		if err == nil && d.Status.ReadyReplicas < fastStartPods {
			err = fmt.Errorf("%d pods are ready", d.Status.ReadyReplicas)
		}
		return err
	})
	if err != nil {
		pods, _ := s.Kubectl(context.WithoutCancel(t.Context()), "-n", stack.SampleNamespace, "describe", "pods", "-l", "app="+fastStartName)
		t.Fatalf("%v:\n%s", err, pods)
	}
	took := time.Since(stages.began).Seconds()
	t.Log(stages.describe())
	return took
}

// fastStages are the seconds at which pods of a run came to each stage of their start.
type fastStages struct {
	began time.Time
	seen  map[string][]float64 // by stage
}

// The stages of a pod, in their order. The startupProbe succeeds before a pod is started.
var fastStageOrder = []string{"created", "on a node", "running", "started", "ready"}

// notePods notes how many pods came to each stage.
func (f *fastStages) notePods(ctx context.Context) error {
	pods, err := s.Client.CoreV1().Pods(stack.SampleNamespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + fastStartName})
	if err != nil {
		return err
	}
	counts := map[string]int{"created": len(pods.Items)}
	for i := range pods.Items {
		if p := &pods.Items[i]; p.Spec.NodeName != "" {
			counts["on a node"]++
		}
		for _, c := range pods.Items[i].Status.ContainerStatuses {
			for stage, isThere := range map[string]bool{"running": c.State.Running != nil, "started": c.Started != nil && *c.Started, "ready": c.Ready} {
				if isThere {
					counts[stage]++
				}
			}
		}
	}
	for stage, n := range counts {
		for len(f.seen[stage]) < n {
			f.seen[stage] = append(f.seen[stage], time.Since(f.began).Seconds())
		}
	}
	return nil
}

// describe returns the seconds of the first, the middle and the last pod at each stage.
func (f *fastStages) describe() string {
	text := "stages, first, middle and last pod:"
	for _, stage := range fastStageOrder {
		if all := f.seen[stage]; len(all) > 0 {
			text += fmt.Sprintf(" %s %.1f %.1f %.1f s;", stage, all[0], all[len(all)/2], all[len(all)-1])
		}
	}
	return text
}

// removeFastPods removes a Deployment and its pods at once.
func removeFastPods(t *testing.T, name string) {
	t.Helper()
	for _, args := range [][]string{
		{"-n", stack.SampleNamespace, "delete", "deploy", name, "--ignore-not-found", "--timeout=60s"},
		{"-n", stack.SampleNamespace, "delete", "pods", "-l", "app=" + name, "--grace-period=1", "--timeout=120s"},
	} {
		if _, err := s.Kubectl(context.WithoutCancel(t.Context()), args...); err != nil {
			t.Error(err)
		}
	}
}

// resizeFastPods gives the pods another CPU limit, and returns the seconds until all containers have it.
func resizeFastPods(t *testing.T) float64 {
	t.Helper()
	limit := resource.MustParse("500m")
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"containers": []any{map[string]any{
		"name": "sample", "resources": map[string]any{"limits": map[string]any{"cpu": limit.String()}},
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	client := s.Client.CoreV1().Pods(stack.SampleNamespace)
	pods, err := client.List(t.Context(), metav1.ListOptions{LabelSelector: "app=" + fastStartName})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for i := range pods.Items {
		if _, err := client.Patch(t.Context(), pods.Items[i].Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "resize"); err != nil {
			t.Fatal(err)
		}
	}
	err = stack.Wait(t.Context(), 3*time.Minute, func(ctx context.Context) error {
		pods, err := client.List(ctx, metav1.ListOptions{LabelSelector: "app=" + fastStartName})
		if err != nil {
			return err
		}
		for i := range pods.Items {
			for _, c := range pods.Items[i].Status.ContainerStatuses {
				if c.Resources == nil || c.Resources.Limits.Cpu().Cmp(limit) != 0 || c.RestartCount > 0 {
					return fmt.Errorf("pod %s has the resources %v after %d restarts", pods.Items[i].Name, c.Resources, c.RestartCount)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return time.Since(began).Seconds()
}

// createPlaceholders fills the node with pods of a low priority, until the test ends.
func createPlaceholders(t *testing.T) {
	t.Helper()
	classes := s.Client.SchedulingV1().PriorityClasses()
	_, err := classes.Create(t.Context(), &schedulingv1.PriorityClass{
		ObjectMeta: metav1.ObjectMeta{Name: placeholdersName}, Value: -10, PreemptionPolicy: new(corev1.PreemptNever),
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		removeFastPods(t, placeholdersName)
		if err := classes.Delete(context.WithoutCancel(t.Context()), placeholdersName, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	d, err := newFastDeployment(t.Context(), placeholdersName, func(c *corev1.Container) {
		c.Resources.Requests[corev1.ResourceCPU] = resource.MustParse("100m")
		c.StartupProbe, c.ReadinessProbe, c.LivenessProbe = nil, nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	d.Spec.Template.Spec.PriorityClassName, d.Spec.Template.Spec.TerminationGracePeriodSeconds = placeholdersName, new(int64(1))
	if _, err := s.Client.AppsV1().Deployments(d.Namespace).Create(t.Context(), d, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// awaitFullNode waits until placeholders run, and one has no room.
func awaitFullNode(t *testing.T) {
	t.Helper()
	err := stack.Wait(t.Context(), 2*time.Minute, func(ctx context.Context) error {
		pods, err := s.Client.CoreV1().Pods(stack.SampleNamespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + placeholdersName})
		if err != nil {
			return err
		}
		phases := map[corev1.PodPhase]int{}
		for i := range pods.Items {
			phases[pods.Items[i].Status.Phase]++
		}
		waiting := slices.ContainsFunc(pods.Items, func(p corev1.Pod) bool { return p.Spec.NodeName == "" })
		if phases[corev1.PodRunning] == 0 || !waiting {
			return fmt.Errorf("placeholders by phase: %v; want some running, and the node full", phases)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
