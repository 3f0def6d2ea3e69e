package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// cronJobsAccount is the ServiceAccount of the shipped CronJobs.
const cronJobsAccount = "system:serviceaccount:" + stack.SampleNamespace + ":tachometer-scaler-cronjobs"

// installCronJobs applies manifests/scaler/cronjobs-alerts with `kubectl apply -k`, and returns its CronJobs as the API server has them.
func installCronJobs(t *testing.T) []batchv1.CronJob {
	t.Helper()
	root, err := stack.Root(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: stack.SampleNamespace}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	if _, err := shared.Kubectl(t.Context(), "apply", "-k", filepath.Join(root, "manifests", "scaler", "cronjobs-alerts")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := shared.Kubectl(context.WithoutCancel(t.Context()), "-n", stack.SampleNamespace, "delete", "cronjobs", "--all"); err != nil {
			t.Error(err)
		}
	})
	list, err := client.BatchV1().CronJobs(stack.SampleNamespace).List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 2 {
		t.Fatalf("%d CronJobs, %v; want 2", len(list.Items), err)
	}
	return list.Items
}

// newSample creates the Deployment of the CronJobs with two ready pods, which answer the request of the verification.
func newSample(t *testing.T) {
	t.Helper()
	spec := podSpec()
	spec.Containers[0].ReadinessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/metrics", Port: intstr.FromInt32(pagePort)}}}
	newDeployment(t, stack.SampleNamespace, "sample", 2, spec)
	t.Cleanup(func() {
		if err := client.AppsV1().Deployments(stack.SampleNamespace).Delete(context.WithoutCancel(t.Context()), "sample", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	newKubelet(t, stack.SampleNamespace)
	awaitSample(t, 2)
}

// awaitSample waits until the Deployment has n ready replicas.
func awaitSample(t *testing.T, n int32) {
	t.Helper()
	eventually(t, time.Minute, func(ctx context.Context) error {
		d, err := client.AppsV1().Deployments(stack.SampleNamespace).Get(ctx, "sample", metav1.GetOptions{})
		if err == nil && (*d.Spec.Replicas != n || d.Status.ReadyReplicas != n) {
			err = fmt.Errorf("%d replicas, %d ready; want %d", *d.Spec.Replicas, d.Status.ReadyReplicas, n)
		}
		return err
	})
}

// messageReceiver is a receiver of messages as Slack has them.
type messageReceiver struct {
	*httptest.Server

	mu    sync.Mutex // guards texts
	texts []string
}

func newMessageReceiver(t *testing.T) *messageReceiver {
	t.Helper()
	r := &messageReceiver{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, request *http.Request) {
		body, _ := io.ReadAll(request.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.texts = append(r.texts, string(body))
	}))
	t.Cleanup(r.Close)
	return r
}

// takeMessages returns the messages since the last call.
func (r *messageReceiver) takeMessages() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	texts := r.texts
	r.texts = nil
	return texts
}

// runJob runs the arguments of a Job with the rights of its ServiceAccount. The file of its Secret is another one here.
func runJob(t *testing.T, program, secret string, args []string) (out string, code int) {
	t.Helper()
	args = slices.Clone(args)
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "/etc/tachometer-secrets/slack", secret)
	}
	cmd := exec.CommandContext(t.Context(), program, append(args, "--kubeconfig="+shared.Kubeconfig(), "--as="+cronJobsAccount, "-n="+stack.SampleNamespace)...)
	text, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

// TestCronJobsAlerts: the overlay cronjobs-alerts, as kubectl applies it. With the rights of its ServiceAccount each Job verifies the new pods, and tells; a Job whose pods
// never become ready, or answer wrongly, rolls back, tells, and fails.
func TestCronJobsAlerts(t *testing.T) {
	requireCluster(t)
	jobs := map[string]*corev1.PodSpec{}
	for _, j := range installCronJobs(t) {
		jobs[j.Name] = &j.Spec.JobTemplate.Spec.Template.Spec
	}
	begin, end := jobs["office-hours-begin"], jobs["office-hours-end"]
	if begin == nil || end == nil {
		t.Fatalf("CronJobs %v", jobs)
	}
	for name, job := range jobs {
		if len(job.Volumes) != 1 || job.Volumes[0].Secret == nil || job.Volumes[0].Secret.SecretName != "tachometer-scaler-cronjobs" ||
			len(job.Containers[0].VolumeMounts) != 1 || job.Containers[0].VolumeMounts[0].MountPath != "/etc/tachometer-secrets" || job.ServiceAccountName != "tachometer-scaler-cronjobs" {
			t.Errorf("%s: volumes %+v, mounts %+v, account %s", name, job.Volumes, job.Containers[0].VolumeMounts, job.ServiceAccountName)
		}
	}
	newSample(t)
	program, receiver := buildScaler(t), newMessageReceiver(t)
	secret := filepath.Join(t.TempDir(), "slack")
	if err := os.WriteFile(secret, []byte(receiver.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args []string, wantCode int, want string, replicas int32, more ...string) {
		t.Helper()
		out, code := runJob(t, program, secret, append(slices.Clone(args), more...))
		told := receiver.takeMessages()
		if code != wantCode || len(told) != 1 || !strings.Contains(told[0], want) {
			t.Fatalf("exit code %d, told %q; want %d and one message with %q:\n%s", code, told, wantCode, want, out)
		}
		awaitSample(t, replicas)
	}
	run(begin.Containers[0].Args, 0, "up: 8 replicas", 8)
	run(end.Containers[0].Args, 0, "up: 2 replicas", 2)
	if _, err := shared.Kubectl(t.Context(), "-n", stack.SampleNamespace, "create", "quota", "few", "--hard=pods=4"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = shared.Kubectl(context.WithoutCancel(t.Context()), "-n", stack.SampleNamespace, "delete", "quota", "few", "--ignore-not-found")
	})
	run(begin.Containers[0].Args, 1, "failed: 2 replicas", 2, "--within=8s")
	if _, err := shared.Kubectl(t.Context(), "-n", stack.SampleNamespace, "delete", "quota", "few"); err != nil {
		t.Fatal(err)
	}
	run(begin.Containers[0].Args, 0, "up: 8 replicas", 8) // the next attempt of the same Job
	run(end.Containers[0].Args, 0, "up: 2 replicas", 2)
	wrong := slices.Clone(begin.Containers[0].Args)
	for i := range wrong {
		wrong[i] = strings.Replace(wrong[i], "--url=/work?ms=1", "--url=/nowhere", 1)
	}
	run(wrong, 1, "failed: 2 replicas", 2)
}
