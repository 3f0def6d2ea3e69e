package e2e

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/retry"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

var (
	alwaysUp      = flag.Bool("alwaysup", false, "run TestAlwaysUp, which takes minutes")
	alwaysUpTable = flag.String("alwaysup.table", "", "file for TestAlwaysUp's table, in Markdown")
)

// disruption is what may happen to two replicas of the adapter, and the greatest number of seconds in which a read may fail.
type disruption struct {
	name     string
	most     int
	duration time.Duration // of what ends by the function that cause returns
	cause    func(*testing.T, *rand.Rand) (end func())
}

func over(cause func(*testing.T)) func(*testing.T, *rand.Rand) func() {
	return func(t *testing.T, _ *rand.Rand) func() { cause(t); return func() {} }
}

func ofChaos(inject func(*testing.T, *witness, *rand.Rand) func()) func(*testing.T, *rand.Rand) func() {
	return func(t *testing.T, random *rand.Rand) func() { return inject(t, nil, random) }
}

// disruptions: what somebody does on purpose costs no read. The bound of the others is the time in which Kubernetes notices them, doubled.
var disruptions = []disruption{
	{"rolling update", 0, 0, over(rollAdapter)},
	{"node drain: every replica evicted", 0, 0, over(evictAdapters)},
	{"SIGTERM", 0, 0, signalAdapter(syscall.SIGTERM)},
	{"SIGKILL", 10, 0, signalAdapter(syscall.SIGKILL)},
	{"SIGSTOP for 20 s", 60, 20 * time.Second, ofChaos(freezeAdapter)},
	{"out of memory", 10, 0, over(exhaustAdapterMemory)},
	{"a replica without network for 20 s", 60, 20 * time.Second, ofChaos(dropAdapterTraffic("drop"))},
	{"etcd frozen for 8 s", 20, 8 * time.Second, ofChaos(freezeControlPlane("etcd"))},
	{"kube-apiserver frozen for 8 s", 20, 8 * time.Second, ofChaos(freezeControlPlane("kube-apiserver"))},
	{"kube-apiserver restarted", 60, 0, over(restartControlPlane("kube-apiserver"))}, // the last: the harness does not know the new process
}

// TestAlwaysUp counts the seconds in which a read through kube-apiserver fails while something happens to one of two replicas.
func TestAlwaysUp(t *testing.T) {
	needNode(t)
	if !*alwaysUp {
		t.Skip("SKIPPED: -alwaysup is not set: run `make alwaysup`")
	}
	send(t, 40)
	awaitAlwaysUpReads(t)
	random := rand.New(rand.NewPCG(1, 1))
	var table strings.Builder
	table.WriteString("| what happens | reads | failed | seconds with a failed read | bound | slowest read |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, d := range disruptions {
		t.Run(d.name, func(t *testing.T) {
			reads := startHPAReads(t)
			retry.Sleep(t.Context(), 2*time.Second)
			end := d.cause(t, random)
			retry.Sleep(t.Context(), d.duration)
			end()
			retry.Sleep(t.Context(), 10*time.Second) // what follows
			r := reads.stop()
			t.Logf("%+v", r)
			fmt.Fprintf(&table, "| %s | %d | %d | %d | %d | %.1f s |\n", d.name, r.all, r.failed, len(r.seconds), d.most, r.slowest.Seconds())
			if len(r.seconds) > d.most {
				t.Errorf("reads failed in %d seconds, bound %d, such as: %v", len(r.seconds), d.most, r.failure)
			}
			awaitAlwaysUpReads(t)
		})
	}
	t.Logf("\n%s", table.String())
	if *alwaysUpTable != "" {
		if err := os.WriteFile(*alwaysUpTable, []byte(table.String()), 0o600); err != nil {
			t.Error(err)
		}
	}
}

// hpaReads are reads as an HPA's, five a second. Each has its own goroutine: a read that waits delays no other.
type hpaReads struct {
	stop func() hpaReadResults
}

// hpaReadResults count reads, and the seconds in which one began that failed.
type hpaReadResults struct {
	all, failed int
	seconds     map[int64]bool
	failure     error
	slowest     time.Duration
}

// hpaReadTimeout bounds a read. A sync of an HPA comes every 15 s: an answer that comes later is none.
const hpaReadTimeout = 15 * time.Second

func startHPAReads(t *testing.T) hpaReads {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex // guards results
	results := hpaReadResults{seconds: map[int64]bool{}}
	read := func(began time.Time) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), hpaReadTimeout)
		defer cancel()
		_, err := answer(ctx, stack.PodsMetric(fixed))
		mu.Lock()
		defer mu.Unlock()
		results.all++
		results.slowest = max(results.slowest, time.Since(began))
		if err != nil {
			results.failed++
			results.seconds[began.Unix()] = true
			results.failure = err
		}
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		for retry.Sleep(ctx, 200*time.Millisecond) {
			reading.Go(func() { read(time.Now()) })
		}
	})
	t.Cleanup(func() { cancel(); reading.Wait() })
	return hpaReads{stop: func() hpaReadResults { cancel(); reading.Wait(); return results }}
}

// awaitAlwaysUpReads waits until two replicas are ready and ten reads in a row succeed.
func awaitAlwaysUpReads(t *testing.T) {
	t.Helper()
	err := stack.Wait(t.Context(), 3*time.Minute, func(ctx context.Context) error {
		d, err := s.Client.AppsV1().Deployments(stack.AdapterNamespace).Get(ctx, "tachometer-adapter", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if d.Status.ReadyReplicas != 2 || d.Status.Replicas != 2 {
			return fmt.Errorf("%d of %d replicas of the adapter are ready, want 2", d.Status.ReadyReplicas, d.Status.Replicas)
		}
		for range 10 {
			if _, err := answer(ctx, stack.PodsMetric(fixed)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func rollAdapter(t *testing.T) {
	t.Helper()
	if _, err := s.Kubectl(t.Context(), "-n", stack.AdapterNamespace, "rollout", "restart", "deployment/tachometer-adapter"); err != nil {
		t.Fatal(err)
	}
	rollout(t, stack.AdapterNamespace, "tachometer-adapter")
}

// evictAdapters evicts each replica as `kubectl drain` does: again until the PodDisruptionBudget permits it.
func evictAdapters(t *testing.T) {
	t.Helper()
	pods, err := adapters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, pod := range pods {
		err := stack.Wait(t.Context(), 2*time.Minute, func(ctx context.Context) error {
			return s.Client.PolicyV1().Evictions(pod.Namespace).Evict(ctx, &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name}})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	rollout(t, stack.AdapterNamespace, "tachometer-adapter")
}

// chooseAdapterProcess returns a random replica and its process.
func chooseAdapterProcess(t *testing.T, random *rand.Rand) (pod corev1.Pod, pid int) {
	t.Helper()
	pods, err := adapters(t.Context())
	pods = slices.DeleteFunc(pods, func(pod corev1.Pod) bool { return pod.DeletionTimestamp != nil })
	if err != nil || len(pods) == 0 {
		t.Fatalf("%d adapter pods: %v", len(pods), err)
	}
	pod = pods[random.IntN(len(pods))]
	pids, err := podProcesses(pod)
	if err != nil {
		t.Fatal(err)
	}
	return pod, pids[0]
}

// signalAdapter sends a signal to a replica, whose container then starts again, and waits for that.
func signalAdapter(signal syscall.Signal) func(*testing.T, *rand.Rand) func() {
	return func(t *testing.T, random *rand.Rand) func() {
		t.Helper()
		pod, pid := chooseAdapterProcess(t, random)
		if err := syscall.Kill(pid, signal); err != nil {
			t.Fatal(err)
		}
		awaitAdapterRestart(t, pod)
		return func() {}
	}
}

// awaitAdapterRestart waits until the container of a pod has started again and is ready.
func awaitAdapterRestart(t *testing.T, before corev1.Pod) {
	t.Helper()
	err := stack.Wait(t.Context(), 2*time.Minute, func(ctx context.Context) error {
		pod, err := s.Client.CoreV1().Pods(before.Namespace).Get(ctx, before.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for i, c := range pod.Status.ContainerStatuses {
			if c.RestartCount == before.Status.ContainerStatuses[i].RestartCount || !c.Ready {
				return fmt.Errorf("the container of %s has not started again: %+v", pod.Name, c.State)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// exhaustAdapterMemory has a process in a replica's memory cgroup take what the adapter leaves. The kernel then kills the adapter, because
// the kubelet gives containers a greater oom_score_adj than that process has.
func exhaustAdapterMemory(t *testing.T) {
	t.Helper()
	pod, pid := chooseAdapterProcess(t, rand.New(rand.NewPCG(2, 2)))
	group, err := findControlGroup(pid, "memory", "memory.limit_in_bytes", "memory.max")
	if err != nil {
		t.Fatal(err)
	}
	limit := pod.Spec.Containers[0].Resources.Limits.Memory().Value()
	hog := exec.Command("sh", "-c", `echo $$ > "$0"/cgroup.procs && head -c "$1" /dev/zero | tail -c "$1" | sleep 60`,
		group, strconv.FormatInt(limit-8<<20, 10))
	var said bytes.Buffer
	hog.Stderr = &said
	hog.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := hog.Start(); err != nil {
		t.Fatal(err)
	}
	err = stack.Wait(t.Context(), time.Minute, func(context.Context) error {
		if killed := syscall.Kill(pid, 0); killed == nil {
			return errors.New("the adapter lives, although its memory is full")
		}
		return nil
	})
	_ = syscall.Kill(-hog.Process.Pid, syscall.SIGKILL)
	_ = hog.Wait() // by the signal
	if err != nil {
		t.Fatalf("%v; the process in its cgroup said %q", err, said.String())
	}
	awaitAdapterRestart(t, pod)
}

// findControlGroup returns the folder of a process's cgroup with the given controller, as memory, in either version of cgroups. It has one
// of the files.
func findControlGroup(pid int, controller string, files ...string) (string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		root := map[string]string{controller: "/sys/fs/cgroup/" + controller, "": "/sys/fs/cgroup"}[parts[1]]
		folder := filepath.Join(root, parts[2])
		for _, file := range files {
			if _, err := os.Stat(filepath.Join(folder, file)); root != "" && err == nil {
				return folder, nil
			}
		}
	}
	return "", fmt.Errorf("process %d has no %s cgroup: %s", pid, controller, text)
}

// restartControlPlane returns a fault: a component of the control plane is killed, and starts again after three seconds with the arguments
// and in the namespaces that it had.
func restartControlPlane(component string) func(*testing.T) {
	return func(t *testing.T) {
		t.Helper()
		pid, supervisor := mustFindControlPlane(t, component)
		folder := fmt.Sprintf("/proc/%d/", pid)
		line, err := os.ReadFile(folder + "cmdline")
		if err != nil {
			t.Fatal(err)
		}
		working, err := os.Readlink(folder + "cwd")
		if err != nil {
			t.Fatal(err)
		}
		command := strings.Split(string(bytes.TrimRight(line, "\x00")), "\x00")
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		retry.Sleep(t.Context(), 3*time.Second)
		inside := []string{"--target", strconv.Itoa(supervisor), "--mount", "--net", "--pid", "--wd=" + working, "--"}
		again := exec.Command("nsenter", append(inside, command...)...)
		if err := again.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { go func() { _ = again.Wait() }() }) // it ends with the cluster
		err = stack.Wait(t.Context(), 2*time.Minute, func(ctx context.Context) error { _, err := s.Get(ctx, "/readyz"); return err })
		if err != nil {
			t.Fatal(err)
		}
	}
}

// mustFindControlPlane returns the process of a component, and the supervisor's.
func mustFindControlPlane(t *testing.T, component string) (pid, supervisor int) {
	t.Helper()
	processes, err := s.Cluster.Processes()
	if err != nil {
		t.Fatal(err)
	}
	if pid, err = findControlPlane(processes, component); err != nil {
		t.Fatal(err)
	}
	return pid, processes["supervisor"]
}

// findControlPlane returns the process of a component among the cluster's: that of the harness or, after a restart by
// restartControlPlane, the one beside the supervisor.
func findControlPlane(processes map[string]int, component string) (int, error) {
	if pid := processes[component]; pid > 0 {
		return pid, nil
	}
	namespace, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", processes["supervisor"]))
	if err != nil {
		return 0, err
	}
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return 0, err
	}
	for _, file := range lines {
		line, _ := os.ReadFile(file) // the command and its arguments: one program holds the whole control plane
		link, _ := os.Readlink(filepath.Join(filepath.Dir(file), "ns/pid"))
		if words := strings.Split(string(line), "\x00"); len(words) > 1 && words[1] == component && link == namespace {
			return strconv.Atoi(filepath.Base(filepath.Dir(file)))
		}
	}
	return 0, fmt.Errorf("no %s among %v", component, processes)
}
