package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/test/harness/sale"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// standing is the state of the sample that the scaler changes and must restore.
type standing struct {
	MinReplicas, MaxReplicas int32
	Notes                    string
}

func sampleStands(ctx context.Context) (standing, error) {
	h, err := hpa(ctx, "sample")
	if err != nil {
		return standing{}, err
	}
	st := standing{MinReplicas: *h.Spec.MinReplicas, MaxReplicas: h.Spec.MaxReplicas}
	for _, m := range h.ManagedFields {
		if m.Manager == hold.Manager {
			st.Notes += "field manager " + m.Manager + " "
		}
	}
	all, err := sampleHolds(ctx)
	for i := range all {
		st.Notes += all[i].HoldID() + " "
	}
	return st, err
}

// sampleHolds lists the holds of the sample's namespace.
func sampleHolds(ctx context.Context) ([]hold.Object, error) {
	out, err := s.Kubectl(ctx, "-n", stack.SampleNamespace, "get", "holds", "-o", "json")
	if err != nil {
		return nil, err
	}
	var list hold.ObjectList
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return nil, fmt.Errorf("read holds: %w", err)
	}
	return list.Items, nil
}

// light installs the resource of holds, makes room on the node for the pods of a sale, and waits until two of them are ready.
func light(t *testing.T) {
	t.Helper()
	const patch = `{"spec":{"template":{"spec":{"containers":[{"name":"sample","resources":{"requests":{"cpu":"10m"}}}]}}}}`
	for _, args := range [][]string{
		{"apply", "-f", filepath.Join(s.Root, "manifests/scaler/crd/crd.yaml")},
		{"wait", "--for=condition=Established", "--timeout=60s", "crd/holds." + hold.GroupVersion.Group},
		{"-n", stack.SampleNamespace, "patch", "deploy/sample", "--type=strategic", "-p", patch},
		{"-n", stack.SampleNamespace, "rollout", "status", "deploy/sample", "--timeout=120s"},
	} {
		if _, err := s.Kubectl(t.Context(), args...); err != nil {
			t.Fatal(err)
		}
	}
	if err := stack.Wait(t.Context(), 3*time.Minute, func(ctx context.Context) error { return exactly(ctx, 2) }); err != nil {
		t.Fatal(err)
	}
}

// containers counts the sample's running containers.
func containers(ctx context.Context) (int, error) {
	pods, err := s.Client.CoreV1().Pods(stack.SampleNamespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=sample"})
	if err != nil {
		return 0, err
	}
	n := 0
	for i := range pods.Items {
		for _, c := range pods.Items[i].Status.ContainerStatuses {
			if c.State.Running != nil && pods.Items[i].DeletionTimestamp == nil {
				n++
			}
		}
	}
	return n, nil
}

// beginSale starts the parts of a sale, until the test ends. It returns the sample as it was before.
func beginSale(t *testing.T, up func(context.Context, *stack.Stack) (*sale.Sale, error)) (standing, *sale.Sale) {
	t.Helper()
	before, err := sampleStands(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	market, err := up(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			dumpScaler()
		}
		if err := market.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return before, market
}

// TestSale: an event on Kafka raises the sample by twenty pods, which are verified before the gate opens. The HPA, which needs only
// two, does not undo it. The end of the sale restores exactly the original state. Then a bad release is rolled back, with a
// notification.
func TestSale(t *testing.T) {
	needNode(t)
	ctx := t.Context()
	light(t)
	before, market := beginSale(t, sale.Up)

	began := time.Now()
	if err := market.Publish(ctx, sale.Event("sale-1", sale.Start, 10*time.Minute)); err != nil {
		t.Fatal(err)
	}
	err := stack.Wait(ctx, time.Minute, func(ctx context.Context) error {
		if n, err := containers(ctx); err != nil || n < sale.Pods {
			return fmt.Errorf("%d containers run, %w", n, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("from the event to %d new running containers: %.1f s", sale.NewPods, time.Since(began).Seconds())
	gateSays(t, market, "true")
	t.Logf("from the event to the open gate: %.1f s", time.Since(began).Seconds())
	if err := market.Publish(ctx, sale.Event("sale-1", sale.Start, 10*time.Minute)); err != nil { // the repeated event has no effect
		t.Fatal(err)
	}
	stays(t, 32*time.Second) // two periods of the HPA controller

	if err := market.Publish(ctx, sale.Event("sale-1-end", sale.End, 10*time.Minute)); err != nil {
		t.Fatal(err)
	}
	gateSays(t, market, "false")
	givenBack(t, before)
	if err := stack.Wait(ctx, 2*time.Minute, func(ctx context.Context) error { return exactly(ctx, 2) }); err != nil {
		t.Fatal(err)
	}
	badSale(t, market, before)
}

// badSale runs a sale on a bad release: its probes pass, but its users wait. The event comes over HTTP.
func badSale(t *testing.T, market *sale.Sale, before standing) {
	t.Helper()
	ctx := t.Context()
	setFault(t, "FAULT=slow")
	defer setFault(t, "FAULT-")
	event := sale.Event("sale-2", sale.Start, 10*time.Minute)
	if code, answer, err := market.Post(ctx, event, "a guess"); err != nil || code != 401 {
		t.Fatalf("with a wrong secret: %d %s, %v", code, answer, err)
	}
	if code, answer, err := market.Post(ctx, event, sale.Secret); err != nil || code != 202 {
		t.Fatalf("%d %s, %v", code, answer, err)
	}
	told := len(market.Alerts())
	err := stack.Wait(ctx, 2*time.Minute, func(context.Context) error {
		all := market.Alerts()
		if len(all) > told && strings.Contains(all[len(all)-1], "rolled back") && strings.Contains(all[len(all)-1], "p99") {
			return nil
		}
		return fmt.Errorf("alerts: %v", all)
	})
	if err != nil {
		t.Fatal(err)
	}
	gateSays(t, market, "false")
	if code, answer, err := market.Post(ctx, sale.Event("sale-2-end", sale.End, time.Minute), sale.Secret); err != nil || code != 202 {
		t.Fatalf("%d %s, %v", code, answer, err)
	}
	givenBack(t, before)
}

func setFault(t *testing.T, fault string) {
	t.Helper()
	for _, args := range [][]string{
		{"-n", stack.SampleNamespace, "set", "env", "deploy/sample", fault},
		{"-n", stack.SampleNamespace, "rollout", "status", "deploy/sample", "--timeout=180s"},
	} {
		if _, err := s.Kubectl(context.WithoutCancel(t.Context()), args...); err != nil {
			t.Error(err)
		}
	}
}

func gateSays(t *testing.T, market *sale.Sale, want string) {
	t.Helper()
	err := stack.Wait(t.Context(), time.Minute, func(ctx context.Context) error {
		if got, err := market.Gate(ctx); err != nil || got != want {
			return fmt.Errorf("the gate's open is %q, %w", got, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// stays checks for a while that the raise is not undone.
func stays(t *testing.T, d time.Duration) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		h, err := hpa(t.Context(), "sample")
		if err != nil {
			t.Fatal(err)
		}
		n, err := containers(t.Context())
		if err != nil || n < sale.Pods || *h.Spec.MinReplicas != sale.Pods {
			t.Fatalf("while held: %d containers, minReplicas %d, %v", n, *h.Spec.MinReplicas, err)
		}
		<-time.After(time.Second)
	}
}

func givenBack(t *testing.T, before standing) {
	t.Helper()
	err := stack.Wait(t.Context(), time.Minute, func(ctx context.Context) error {
		now, err := sampleStands(ctx)
		if diff := cmp.Diff(before, now); err == nil && diff != "" {
			err = errors.New("not what was there (-want +got):\n" + diff)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func dumpScaler() {
	for _, args := range [][]string{
		{"-n", stack.AdapterNamespace, "get", "pods", "-o", "wide"},
		{"-n", stack.AdapterNamespace, "logs", "-l", "app.kubernetes.io/name=tachometer-scaler", "--prefix", "--tail=80"},
		{"-n", stack.SampleNamespace, "describe", "deploy/sample"},
	} {
		out, err := s.Kubectl(context.Background(), args...)
		fmt.Fprintf(os.Stderr, "--- kubectl %v (%v)\n%s\n", args, err, out)
	}
}

// scaler is the command, built once, run against the cluster like a user does.
type scaler struct{ path string }

func newScaler(t *testing.T) scaler {
	t.Helper()
	path := filepath.Join(t.TempDir(), "scaler")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", path, "github.com/tachometer-metrics/tachometer/cmd/tachometer-scaler")
	build.Dir = s.Root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the scaler: %v: %s", err, out)
	}
	return scaler{path}
}

// run returns the command's output and its exit code. It works in a cleanup, too, when the test's context has ended.
func (c scaler) run(t *testing.T, args ...string) (string, int) {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), c.path, append([]string{"--kubeconfig", s.Cluster.Kubeconfig(), "-n", stack.SampleNamespace}, args...)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	t.Logf("$ scaler %s → %d\n%s", strings.Join(args, " "), cmd.ProcessState.ExitCode(), out.String())
	return out.String(), cmd.ProcessState.ExitCode()
}

// TestScalerCommands: each command, its output and its exit code.
func TestScalerCommands(t *testing.T) {
	needNode(t)
	light(t)
	before, err := sampleStands(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := newScaler(t)
	for _, step := range []struct {
		args []string
		code int
		want []string // parts of the output
	}{
		{[]string{"status", "-o", "text"}, 0, []string{"no holds"}},
		{[]string{"set", "deploy/sample"}, 2, []string{"replicas"}},
		{[]string{"set", "deployment.apps", "sample", "--replicas", "6", "--dry-run=server", "-o", "text"}, 0, []string{"would set 6 replicas (now 2)", "6..10 (now 2..10)"}},
		{[]string{"set", "deploy/nobody", "--replicas", "6"}, 1, []string{"does not exist"}},
		{[]string{"set", "deploy/sample", "--replicas", "12"}, 1, []string{"at most 10 replicas"}},
		{[]string{"verify", "deploy/sample", "--url", "/work?ms=1", "--p99", "2s", "-o", "text"}, 0, []string{"passed"}},
		{[]string{"verify", "deploy/sample", "--url", "/work?ms=50", "--p50", "10ms", "-o", "text"}, 1, []string{"p50"}},
		{[]string{"set", "deploy/sample", "--replicas", "5", "--for", "1h", "--wait", "--url", "/work?ms=1", "--p99", "2s", "-o", "text"}, 0, []string{"Open", "5 replicas are up"}},
		{[]string{"set", "deploy/sample", "--replicas", "5", "--wait"}, 0, nil},
		{[]string{"status", "-o", "text"}, 0, []string{"deployment/sample", "set", "Open", "sample 2..10"}},
		{[]string{"status", "-o", "json"}, 0, []string{`"kind": "Hold"`}},
		{[]string{"set", "deploy/sample", "--replicas", "7", "--reason", "bad", "--wait", "--url", "/work?ms=50", "--p50", "10ms", "-o", "text"}, 1, []string{"rolled back", "p50"}},
		{[]string{"set", "deploy/sample", "--replicas", "4", "--reason", "low", "-o", "json"}, 0, []string{`"event":"Open"`}},
		{[]string{"release", "deploy/sample", "--reason", "low", "-o", "text"}, 0, []string{"still held by 1 other hold"}},
		{[]string{"release", "deploy/sample", "--reason", "low"}, 1, []string{"no hold low"}},
		{[]string{"release", "deploy/sample", "-o", "text"}, 0, []string{"Released"}},
		{[]string{"status", "deploy/nobody"}, 1, []string{"does not exist"}},
		{[]string{"release", "deploy/nobody"}, 1, []string{"does not exist"}},
		{[]string{"release", "--expired"}, 0, nil},
		{[]string{"schedule", "preview", "--config", filepath.Join(s.Root, "manifests/scaler/config.yaml"), "--next", "2d", "-o", "text"}, 0, []string{"office-hours", "8"}},
		{[]string{"schedule", "preview", "--config", "/nowhere"}, 2, []string{"/nowhere"}},
	} {
		out, code := c.run(t, step.args...)
		if code != step.code {
			t.Errorf("scaler %v: exit code %d, want %d", step.args, code, step.code)
		}
		for _, part := range step.want {
			if !strings.Contains(out, part) {
				t.Errorf("scaler %v: no %q in\n%s", step.args, part, out)
			}
		}
	}
	givenBack(t, before)
}

// TestImageMissing: pods that cannot start make the hold fail with Kubernetes' reason, and all changes are rolled back.
func TestImageMissing(t *testing.T) {
	needNode(t)
	light(t)
	before, err := sampleStands(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Kubectl(t.Context(), "-n", stack.SampleNamespace, "set", "image", "deploy/sample", "sample=tachometer/nothing:none"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		for _, args := range [][]string{{"set", "image", "deploy/sample", "sample=" + stack.SampleImage}, {"rollout", "status", "deploy/sample", "--timeout=120s"}} {
			if _, err := s.Kubectl(context.WithoutCancel(t.Context()), append([]string{"-n", stack.SampleNamespace}, args...)...); err != nil {
				t.Error(err)
			}
		}
	}()
	out, code := newScaler(t).run(t, "set", "deploy/sample", "--replicas", "6", "--wait", "--within", "15s", "-o", "text")
	if code != 1 || !strings.Contains(out, "rolled back") || !strings.Contains(out, "Image") {
		t.Errorf("exit code %d: %s", code, out)
	}
	givenBack(t, before)
}

// TestShippedSchedule: the shipped manifests, with their office hours, hold the replicas of the current time. Without the controller,
// tachometer-scaler release restores the original numbers.
func TestShippedSchedule(t *testing.T) {
	needNode(t)
	light(t)
	ctx := t.Context()
	before, err := sampleStands(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { // while the context for the scaler still exists
		if t.Failed() {
			dumpScaler()
		}
		for _, args := range [][]string{
			{"delete", "--ignore-not-found", "-n", stack.AdapterNamespace, "deploy/tachometer-scaler", "configmap/tachometer-scaler-config", "lease/tachometer-scaler"},
			{"wait", "--for=delete", "--timeout=60s", "-n", stack.AdapterNamespace, "pod", "-l", "app.kubernetes.io/name=tachometer-scaler"},
		} {
			if _, err := s.Kubectl(context.Background(), args...); err != nil {
				t.Error(err)
			}
		}
		if _, code := newScaler(t).run(t, "release", "deploy/sample", "--all"); code != 0 {
			t.Errorf("release: exit code %d", code)
		}
		givenBack(t, before)
	}()
	if err := s.Apply(ctx, "manifests/scaler"); err != nil {
		t.Fatal(err)
	}
	if err := stack.Wait(ctx, 2*time.Minute, officeHours); err != nil {
		t.Fatal(err)
	}
}

// officeHours returns an error unless the sample has the replicas of the shipped schedule.
func officeHours(ctx context.Context) error {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		return err
	}
	minReplicas := int32(2)
	if hour := time.Now().In(zone).Hour(); hour >= 8 && hour < 22 {
		minReplicas = 8
	}
	d, err := s.Client.AppsV1().Deployments(stack.SampleNamespace).Get(ctx, "sample", metav1.GetOptions{})
	if err != nil {
		return err
	}
	all, err := sampleHolds(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(h hold.Object) bool { return h.HoldID() == "schedule/office-hours" })
	if i < 0 || all[i].Status.State != hold.Open || all[i].Spec.Replicas != minReplicas || *d.Spec.Replicas < minReplicas {
		return fmt.Errorf("the schedule wants %d; %d replicas, %+v", minReplicas, *d.Spec.Replicas, all)
	}
	autoscaler, err := hpa(ctx, "sample")
	if err == nil && *autoscaler.Spec.MinReplicas != minReplicas {
		err = fmt.Errorf("the schedule wants %d; the autoscaler's minReplicas is %d", minReplicas, *autoscaler.Spec.MinReplicas)
	}
	return err
}

// TestCronJobs: the shipped CronJobs, the alternative to the controller, work with their shipped rights.
func TestCronJobs(t *testing.T) {
	needNode(t)
	light(t)
	ctx := t.Context()
	before, err := sampleStands(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(ctx, "manifests/scaler/cronjobs"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = s.Kubectl(context.Background(), "-n", stack.SampleNamespace, "delete", "cronjobs,jobs", "--all") // not the folder: the resource stays
	})
	for _, job := range []struct {
		name        string
		minReplicas int32
	}{{"begin", 8}, {"end", 2}} {
		name, minReplicas := job.name, job.minReplicas
		_, err := s.Kubectl(ctx, "-n", stack.SampleNamespace, "create", "job", "--from=cronjob/office-hours-"+name, "office-"+name)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := s.Kubectl(ctx, "-n", stack.SampleNamespace, "wait", "--for=condition=complete", "--timeout=90s", "job/office-"+name); err != nil {
			logs, _ := s.Kubectl(ctx, "-n", stack.SampleNamespace, "logs", "job/office-"+name)
			t.Fatalf("%v: %s\n%s", err, out, logs)
		}
		if now, err := sampleStands(ctx); err != nil || now.MinReplicas != minReplicas {
			t.Errorf("office hours %s: %+v, %v; want minReplicas %d", name, now, err, minReplicas)
		}
	}
	if _, code := newScaler(t).run(t, "release", "deploy/sample"); code != 0 {
		t.Errorf("release: exit code %d", code)
	}
	givenBack(t, before)
}
