package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	httpevent "github.com/tachometer-metrics/tachometer/pkg/scaler/event/http"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/hold"
	"github.com/tachometer-metrics/tachometer/test/harness/loopback"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// scaler is `tachometer-scaler run` as a process.
type scaler struct {
	process        *exec.Cmd
	health, events string // addresses
	config, log    string // files
}

const (
	saleSecret = "only-for-these-tests"
	saleConfig = `apiVersion: config.tachometer.dev/v1alpha1
kind: ScalerConfig
schedules:
- name: always
  namespace: NAMESPACE
  workloads: [deploy/shop]
  windows: [{start: "00:00", end: "24:00", minReplicas: 4}]
events:
  http: {address: EVENTS, secretFiles: [SECRET]}
  rules:
  - name: sale
    namespace: NAMESPACE
    type: START
    releaseOn: END
    workloads: [{workload: deploy/shop, replicas: 9}]
    within: 1m
`
)

// detectMutations makes a process end with a panic if it changes an object of a cache.
const detectMutations = "KUBE_CACHE_MUTATION_DETECTOR=true"

// buildProgram builds the scaler once for all tests.
var buildProgram = sync.OnceValues(func() (string, error) {
	root, err := stack.Root(context.Background())
	if err != nil {
		return "", err
	}
	program := filepath.Join(suiteDir, "scaler")
	build := exec.Command("go", "build", "-o", program, "./cmd/tachometer-scaler")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the scaler: %w: %s", err, out)
	}
	return program, nil
})

// buildScaler returns the scaler's program.
func buildScaler(t *testing.T) string {
	t.Helper()
	program, err := buildProgram()
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// startScaler starts one of several scalers that share a Lease in the namespace.
func startScaler(t *testing.T, program, namespace string) *scaler {
	t.Helper()
	return startScalerWith(t, program, namespace, saleConfig)
}

// startScalerWith starts a scaler with a configuration.
func startScalerWith(t *testing.T, program, namespace, config string) *scaler {
	t.Helper()
	return startScalerAs(t, program, namespace, namespace, config, shared.Kubeconfig())
}

// startScalerAs starts a scaler whose Lease is in a namespace, with the rights of a kubeconfig.
func startScalerAs(t *testing.T, program, leaseNamespace, namespace, config, kubeconfig string) *scaler {
	t.Helper()
	dir := t.TempDir()
	s := &scaler{health: loopback.MustChooseAddress(t), events: loopback.MustChooseAddress(t), config: filepath.Join(dir, "config.yaml"), log: filepath.Join(dir, "log")}
	secret := filepath.Join(dir, "secret")
	text := strings.NewReplacer("NAMESPACE", namespace, "EVENTS", s.events, "SECRET", secret).Replace(config)
	if err := errors.Join(os.WriteFile(secret, []byte(saleSecret), 0o600), os.WriteFile(s.config, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(s.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	s.process = exec.Command(program, "run", "--config="+s.config, "--kubeconfig="+kubeconfig, "--lease-namespace="+leaseNamespace,
		"--health-address="+s.health)
	s.process.Env = append(os.Environ(), "HOSTNAME="+filepath.Base(dir), detectMutations)
	s.process.Stdout, s.process.Stderr = log, log
	s.process.SysProcAttr = attributes()
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.kill()
		if t.Failed() {
			text, err := os.ReadFile(s.log)
			t.Logf("scaler (%v):\n%s", err, text)
		}
	})
	eventually(t, 30*time.Second, func(ctx context.Context) error { _, err := s.get(ctx, "/readyz"); return err })
	return s
}

// kill ends the process like a power cut.
func (s *scaler) kill() {
	_ = s.process.Process.Signal(syscall.SIGKILL)
	_, _ = s.process.Process.Wait()
}

func (s *scaler) get(ctx context.Context, path string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.health+path, nil)
	if err != nil {
		return "", err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s", answer.StatusCode, text)
	}
	return string(text), err
}

func (s *scaler) leads(ctx context.Context) bool {
	text, err := s.get(ctx, "/metrics")
	return err == nil && strings.Contains(text, "\ntachometer_scaler_leader 1\n")
}

// post sends a signed event.
func (s *scaler) post(ctx context.Context, id, kind string) error {
	event, err := json.Marshal(map[string]any{"id": id, "type": kind, "at": time.Now().UTC(), "ttl": "10m"})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.events+httpevent.Path, bytes.NewReader(event))
	if err != nil {
		return err
	}
	stamp, signature := httpevent.Sign([]byte(saleSecret), nil, event, time.Now())
	request.Header.Set(httpevent.TimestampHeader, stamp)
	request.Header.Set(httpevent.SignatureHeader, signature)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	taken := answer.StatusCode == http.StatusAccepted || answer.StatusCode == http.StatusOK // now, or by an earlier attempt
	if text, err := io.ReadAll(answer.Body); err != nil || !taken {
		return fmt.Errorf("status %d: %s, %w", answer.StatusCode, text, err)
	}
	return nil
}

// awaitMinReplicas waits until the workload's autoscaler has minReplicas, and the workload at least as many replicas.
func awaitMinReplicas(t *testing.T, namespace string, minReplicas int32) {
	t.Helper()
	eventually(t, time.Minute, func(ctx context.Context) error {
		w, err := readWorld(ctx, namespace)
		if err == nil && (w.MinReplicas != minReplicas || w.Replicas < minReplicas) {
			err = fmt.Errorf("%+v; want minReplicas %d", w, minReplicas)
		}
		return err
	})
}

// TestTwoScalers: a schedule holds minReplicas. The leader acts on an event that the standby receives. When the leader is killed in
// the middle, the other scaler finishes. The end of the event restores the schedule's minReplicas.
func TestTwoScalers(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	newWorkload(t, namespace, true)
	program := buildScaler(t)
	both := []*scaler{startScaler(t, program, namespace), startScaler(t, program, namespace)}
	awaitMinReplicas(t, namespace, 4)
	leader, standby := both[0], both[1]
	if !leader.leads(t.Context()) {
		leader, standby = standby, leader
	}
	if standby.leads(t.Context()) {
		t.Fatal("both lead")
	}
	if err := standby.post(t.Context(), "one", "START"); err != nil {
		t.Fatal(err)
	}
	awaitMinReplicas(t, namespace, 9)
	if err := leader.post(t.Context(), "one-end", "END"); err != nil {
		t.Fatal(err)
	}
	awaitMinReplicas(t, namespace, 4)
	if err := leader.post(t.Context(), "two", "START"); err != nil {
		t.Fatal(err)
	}
	leader.kill() // with the hold recorded, but little more
	awaitMinReplicas(t, namespace, 9)
	if err := standby.post(t.Context(), "two-end", "END"); err != nil {
		t.Fatal(err)
	}
	awaitMinReplicas(t, namespace, 4)
}

// TestReload: a bad configuration changes nothing and is reported. A good configuration is applied, also to workloads that it no
// longer names.
func TestReload(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	newWorkload(t, namespace, true)
	before := mustReadWorld(t, namespace)
	s := startScaler(t, buildScaler(t), namespace)
	awaitMinReplicas(t, namespace, 4)
	const head = "apiVersion: config.tachometer.dev/v1alpha1\nkind: ScalerConfig\n"
	six := head + "schedules: [{name: always, namespace: " + namespace + ", workloads: [deploy/shop], windows: [{start: \"00:00\", end: \"24:00\", minReplicas: 6}]}]\n"
	for _, step := range []struct {
		config      string
		faulty      bool
		minReplicas int32
	}{{head + "schedules: [{name: always}]\n", true, 4}, {six, false, 6}} {
		s.configure(t, step.config)
		eventually(t, 30*time.Second, func(ctx context.Context) error {
			text, err := s.get(ctx, "/metrics")
			const faults = "\ntachometer_config_faults{program=\"scaler\"} "
			if err == nil && (!strings.Contains(text, faults) || strings.Contains(text, faults+"0\n") == step.faulty) {
				err = fmt.Errorf("faulty: %v, but the metrics are\n%s", step.faulty, text)
			}
			return err
		})
		awaitMinReplicas(t, namespace, step.minReplicas)
	}
	s.configure(t, head)
	awaitWorld(t, namespace, before)
}

// TestForgottenNamespace: a restart together with a configuration that no longer names a namespace releases the schedules' holds there, and a
// person can still end theirs.
func TestForgottenNamespace(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	newWorkload(t, namespace, true)
	before := mustReadWorld(t, namespace)
	program := buildScaler(t)
	s := startScaler(t, program, namespace)
	awaitMinReplicas(t, namespace, 4)
	if err := shared.Apply(t.Context(), strings.ReplaceAll(launchHold, "NAMESPACE", namespace)); err != nil {
		t.Fatal(err)
	}
	awaitMinReplicas(t, namespace, 7)
	s.kill()
	startScalerWith(t, program, namespace, "apiVersion: config.tachometer.dev/v1alpha1\nkind: ScalerConfig\n")
	if _, err := shared.Kubectl(t.Context(), "-n", namespace, "delete", "hold", "launch", "--timeout=60s"); err != nil {
		t.Fatal(err)
	}
	awaitWorld(t, namespace, before)
}

// launchHold is a Hold as a team keeps it in Git.
const launchHold = `apiVersion: scaler.tachometer.dev/v1alpha1
kind: Hold
metadata: {name: launch, namespace: NAMESPACE}
spec: {workload: {apiVersion: apps/v1, kind: Deployment, name: shop}, replicas: 7, by: team}
`

// TestHoldFromGit: a hold that a team applies is raised, opened and, when the team deletes it, given back. Large annotations of the team stay.
func TestHoldFromGit(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	newWorkload(t, namespace, true)
	before := mustReadWorld(t, namespace)
	startScalerWith(t, buildScaler(t), namespace, "apiVersion: config.tachometer.dev/v1alpha1\nkind: ScalerConfig\nnamespaces: [NAMESPACE]\n")
	note := strings.Repeat("why ", 2000)
	noted := strings.Replace(launchHold, "metadata: {", `metadata: {annotations: {note: "`+note+`"}, `, 1)
	if err := shared.Apply(t.Context(), strings.ReplaceAll(noted, "NAMESPACE", namespace)); err != nil {
		t.Fatal(err)
	}
	awaitMinReplicas(t, namespace, 7)
	eventually(t, time.Minute, func(ctx context.Context) error {
		out, err := shared.Kubectl(ctx, "-n", namespace, "get", "holds")
		if err == nil && !bytes.Contains(out, []byte("Open")) {
			err = errors.New(string(out))
		}
		return err
	})
	kept, err := shared.Kubectl(t.Context(), "-n", namespace, "get", "hold", "launch", "-o", "jsonpath={.metadata.annotations.note}{.metadata.finalizers}{.metadata.labels}")
	if err != nil || !bytes.HasPrefix(kept, []byte(note)) || !bytes.Contains(kept, []byte(hold.Finalizer)) || !bytes.Contains(kept, []byte(hold.ControllerLabel)) {
		t.Errorf("metadata %s, %v", bytes.TrimPrefix(kept, []byte(note)), err)
	}
	if _, err := shared.Kubectl(t.Context(), "-n", namespace, "delete", "hold", "launch", "--timeout=60s"); err != nil {
		t.Fatal(err)
	}
	wantWorld(t, namespace, before)
}

// configure replaces a running scaler's configuration in one rename, like a mounted ConfigMap.
func (s *scaler) configure(t *testing.T, text string) {
	t.Helper()
	if err := errors.Join(os.WriteFile(s.config+".new", []byte(text), 0o600), os.Rename(s.config+".new", s.config)); err != nil {
		t.Fatal(err)
	}
}

// TestScalerOutage: kube-apiserver hangs for half a minute during a hold. Afterwards the scaler finishes the hold and releases it. No
// other test runs beside it, because all need kube-apiserver.
func TestScalerOutage(t *testing.T) {
	requireCluster(t)
	namespace := newNamespace(t)
	workload := newWorkload(t, namespace, true)
	before := mustReadWorld(t, namespace)
	e := newEngine(t, workload, &heard{})
	plain := sale()
	plain.Gates, plain.Verify, plain.Notify = nil, nil, nil // the program's configuration has none of them
	e.mustApply(plain)
	program := buildScaler(t)
	s := startScaler(t, program, namespace)
	resume := freeze(t)
	<-time.After(30 * time.Second)
	resume()
	awaitMinReplicas(t, namespace, 20)
	eventually(t, 30*time.Second, func(ctx context.Context) error { _, err := s.get(ctx, "/readyz"); return err })
	if _, err := e.EndHolds(t.Context(), workload, func(h *hold.Object) bool { return h.HoldID() == "event/sale" }); err != nil {
		t.Fatal(err)
	}
	awaitMinReplicas(t, namespace, 4) // the schedule's minReplicas
	s.kill()
	e.drive(settled)
	if _, err := e.EndHolds(t.Context(), workload, all); err != nil {
		t.Fatal(err)
	}
	e.drive(unheld)
	wantWorld(t, namespace, before)
}

// TestInterrupted: an interrupted command reports, with exit code 3, that nothing is rolled back; the user can release.
func TestInterrupted(t *testing.T) {
	requireCluster(t)
	t.Parallel()
	namespace := newNamespace(t)
	newWorkload(t, namespace, true)
	before := mustReadWorld(t, namespace)
	limitPods(t, namespace, "2") // the new pods never start
	program := buildScaler(t)
	command := func(args ...string) (*exec.Cmd, *bytes.Buffer) {
		cmd := exec.CommandContext(t.Context(), program, append([]string{"--kubeconfig", shared.Kubeconfig(), "-n", namespace}, args...)...)
		out := &bytes.Buffer{}
		cmd.Stdout, cmd.Stderr = out, out
		return cmd, out
	}
	set, out := command("set", "deploy/shop", "--replicas", "6", "--wait")
	if err := set.Start(); err != nil {
		t.Fatal(err)
	}
	awaitMinReplicas(t, namespace, 6)
	if err := set.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = set.Wait()
	if set.ProcessState.ExitCode() != 3 || !strings.Contains(out.String(), "NOT rolled back") {
		t.Errorf("exit code %d: %s", set.ProcessState.ExitCode(), out)
	}
	release, out := command("release", "deploy/shop")
	if err := release.Run(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	wantWorld(t, namespace, before)
}
