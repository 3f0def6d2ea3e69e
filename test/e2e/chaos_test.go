package e2e

import (
	"context"
	"flag"
	"fmt"
	"io/fs"
	"maps"
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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/retry"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

var (
	chaosDuration = flag.Duration("chaos.duration", 90*time.Second, "time for which TestChaos injects faults")
	// The default begins with what releases, evictions and changed configurations do every day.
	chaosSeed  = flag.Uint64("chaos.seed", 153643, "seed of the order of faults, their victims and durations")
	chaosTable = flag.String("chaos.table", "", "file for TestChaos's table, in Markdown")
)

// chaosFault is a fault of TestChaos. It is injected, lasts for a random time up to longest, and ends by the function that inject
// returns. Faults that restart something have ended when inject returns, and their longest is 0.
type chaosFault struct {
	name    string
	longest time.Duration
	inject  func(*testing.T, *witness, *rand.Rand) (end func())
}

func ended(inject func(*testing.T)) func(*testing.T, *witness, *rand.Rand) func() {
	return func(t *testing.T, _ *witness, _ *rand.Rand) func() { inject(t); return func() {} }
}

var chaosFaults = []chaosFault{
	{"an adapter pod killed", 0, ended(func(t *testing.T) { killAdapters(t, 1) })},
	{"both adapter pods killed", 0, ended(func(t *testing.T) { killAdapters(t, 2) })},
	{"an adapter frozen", 12 * time.Second, freezeAdapter},
	{"an adapter with 1 % of a processor", 12 * time.Second, starveAdapter},
	{"an adapter cut off from the pods", 12 * time.Second, dropAdapterTraffic("tcp dport 8080 drop")},
	{"30 % of an adapter's packets to the pods lost", 12 * time.Second, dropAdapterTraffic("tcp dport 8080 numgen random mod 10 < 3 drop")},
	{"an adapter cut off from kube-apiserver", 12 * time.Second, dropAdapterTraffic("tcp dport { 443, 6443 } drop")},
	{"a pod killed", 0, ended(killSample)},
	{"a pod frozen", 3 * time.Second, freezeSample},
	{"a container restarted in place", 0, restartSampleContainer},
	{"a rolling update", 0, ended(rollSample)},
	{"kube-apiserver frozen", 8 * time.Second, freezeControlPlane("kube-apiserver")},
	{"etcd frozen", 8 * time.Second, freezeControlPlane("etcd")},
	{"kube-apiserver restarted", 0, ended(restartControlPlane("kube-apiserver"))},
	{"etcd restarted", 0, ended(restartControlPlane("etcd"))},
	{"the certificate's Secret emptied", 0, ended(rotateCertificate)},
	{"the configuration changed back and forth", 0, ended(flapConfiguration)},
	{"a server of a backend lying", 15 * time.Second, lyingChaosBackend},
	{"a server of a backend slow", 20 * time.Second, setChaosBackendFault(answerChaosBackendLate)},
	{"a server of a backend gone", 20 * time.Second, setChaosBackendFault(breakChaosBackendConnection)},
	{"a rule added, then a faulty configuration", 0, ended(func(t *testing.T) { goodConfiguration(t); badConfiguration(t) })},
}

// chaosRow is what was answered in all rounds of one fault.
type chaosRow struct {
	rounds, right, refused, wrong int
	recovery                      time.Duration // the longest time from the start of a fault to the last refused answer
}

// TestChaos injects faults in a random order under a steady load that needs five pods, and checks every value that is served
// meanwhile. The HPA must never scale down. `make e2e` plays it for 90 seconds, `make chaos` for half an hour.
func TestChaos(t *testing.T) {
	needNode(t)
	const replicas = 5
	random := rand.New(rand.NewPCG(*chaosSeed, 0))
	load := send(t, high)
	if err := stack.Wait(t.Context(), 90*time.Second, func(ctx context.Context) error { return steady(ctx, replicas) }); err != nil {
		t.Fatal(err)
	}
	stabilize(t.Context(), t, 300)
	t.Cleanup(func() { stabilize(context.Background(), t, 15) })
	w := &witness{truth: load.truth, backend: startChaosBackend(t), refused: map[string]int{}, lowest: replicas}
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() { w.watch(ctx) })
	defer watching.Wait()
	defer cancel()

	rows := map[string]*chaosRow{}
	began := time.Now()
	for round := 0; time.Since(began) < *chaosDuration; round++ {
		if round%len(chaosFaults) == 0 { // each fault once before any comes again
			random.Shuffle(len(chaosFaults), func(i, j int) { chaosFaults[i], chaosFaults[j] = chaosFaults[j], chaosFaults[i] })
		}
		f := chaosFaults[round%len(chaosFaults)]
		t.Run(fmt.Sprintf("%02d %s", round, f.name), func(t *testing.T) { runChaosRound(t, w, f, random, rows, replicas) })
	}
	writeChaosTable(t, rows)
}

func runChaosRound(t *testing.T, w *witness, f chaosFault, random *rand.Rand, rows map[string]*chaosRow, replicas int32) {
	t.Helper()
	began := time.Now()
	end := f.inject(t, w, random)
	if f.longest > 0 {
		retry.Sleep(t.Context(), time.Duration(float64(f.longest)*(0.3+0.7*random.Float64())))
	}
	end()
	// What follows a fault counts too: the last windows that contain it end within 15 s.
	retry.Sleep(t.Context(), 15*time.Second)
	row := rows[f.name]
	if row == nil {
		row = &chaosRow{}
		rows[f.name] = row
	}
	w.mu.Lock()
	row.rounds++
	row.right += w.right
	for _, n := range w.refused {
		row.refused += n
	}
	row.wrong += len(w.wrong)
	if !w.lastRefused.IsZero() {
		row.recovery = max(row.recovery, w.lastRefused.Sub(began))
	}
	w.lastRefused = time.Time{}
	w.mu.Unlock()
	w.report(t, replicas)
	if err := stack.Wait(t.Context(), 2*time.Minute, func(ctx context.Context) error { return steady(ctx, replicas) }); err != nil {
		t.Fatalf("the service is not as before after the fault: %v", err)
	}
}

func writeChaosTable(t *testing.T, rows map[string]*chaosRow) {
	t.Helper()
	var table strings.Builder
	table.WriteString("| fault | rounds | right | error | wrong | last error after |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		r := rows[name]
		after := "–"
		if r.refused > 0 {
			after = fmt.Sprintf("%.1f s", r.recovery.Seconds())
		}
		fmt.Fprintf(&table, "| %s | %d | %d | %d | %d | %s |\n", name, r.rounds, r.right, r.refused, r.wrong, after)
	}
	t.Logf("seed %d, %v:\n%s", *chaosSeed, *chaosDuration, table.String())
	if *chaosTable != "" {
		if err := os.WriteFile(*chaosTable, []byte(table.String()), 0o600); err != nil {
			t.Error(err)
		}
	}
}

// podProcesses returns the processes of a pod's containers, without its pause process. Their control groups carry the pod's UID.
func podProcesses(pod corev1.Pod) ([]int, error) {
	var pids []int
	folders, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	for _, folder := range folders {
		groups, err := os.ReadFile(filepath.Join(folder, "cgroup"))
		if err != nil || !strings.Contains(string(groups), string(pod.UID)) {
			continue // another process, or one that ended meanwhile
		}
		name, err := os.ReadFile(filepath.Join(folder, "comm"))
		if err != nil || strings.TrimSpace(string(name)) == "pause" {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(folder))
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	if len(pids) == 0 {
		return nil, fmt.Errorf("pod %s has no process: %w", pod.Name, fs.ErrNotExist)
	}
	return pids, nil
}

// chooseProcesses returns the processes of a random one of the pods.
func chooseProcesses(t *testing.T, random *rand.Rand, pods []corev1.Pod, err error) []int {
	t.Helper()
	if err != nil || len(pods) == 0 {
		t.Fatalf("%d pods: %v", len(pods), err)
	}
	pids, err := podProcesses(pods[random.IntN(len(pods))])
	if err != nil {
		t.Fatal(err)
	}
	return pids
}

// stopProcesses stops processes until end is called, or the test ends.
func stopProcesses(t *testing.T, pids []int) (end func()) {
	t.Helper()
	started := slices.Clone(pids)
	for _, pid := range pids {
		started = append(started, parentProcess(pid)) // nsenter stops itself with its child
	}
	var once sync.Once
	end = func() {
		once.Do(func() {
			for _, pid := range started {
				_ = syscall.Kill(pid, syscall.SIGCONT) // gone, if a probe had it killed meanwhile
			}
		})
	}
	t.Cleanup(end)
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	return end
}

// parentProcess returns the parent of a process, or the process itself if it is gone.
func parentProcess(pid int) int {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		if text, ok := strings.CutPrefix(line, "PPid:"); ok {
			if parent, err := strconv.Atoi(strings.TrimSpace(text)); err == nil && parent > 1 {
				return parent
			}
		}
	}
	return pid
}

func freezeAdapter(t *testing.T, _ *witness, random *rand.Rand) func() {
	t.Helper()
	pods, err := adapters(t.Context())
	return stopProcesses(t, chooseProcesses(t, random, pods, err))
}

// starveAdapter leaves an adapter 1 ms of each 100 ms of a processor, until end is called, or the test ends.
func starveAdapter(t *testing.T, _ *witness, random *rand.Rand) (end func()) {
	t.Helper()
	pods, err := adapters(t.Context())
	group, err := findControlGroup(chooseProcesses(t, random, pods, err)[0], "cpu", "cpu.cfs_quota_us", "cpu.max")
	if err != nil {
		t.Fatal(err)
	}
	file, quota := filepath.Join(group, "cpu.cfs_quota_us"), "1000"
	if _, err := os.Stat(file); err != nil {
		file, quota = filepath.Join(group, "cpu.max"), "1000 100000"
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	end = func() { once.Do(func() { _ = os.WriteFile(file, before, 0) }) } // gone, if a probe had the container killed meanwhile
	t.Cleanup(end)
	if err := os.WriteFile(file, []byte(quota), 0); err != nil {
		t.Fatal(err)
	}
	return end
}

func freezeSample(t *testing.T, _ *witness, random *rand.Rand) func() {
	t.Helper()
	pods, err := s.ReadyPods(t.Context())
	return stopProcesses(t, chooseProcesses(t, random, pods, err))
}

func freezeControlPlane(component string) func(*testing.T, *witness, *rand.Rand) func() {
	return func(t *testing.T, _ *witness, _ *rand.Rand) func() {
		t.Helper()
		pid, _ := mustFindControlPlane(t, component)
		return stopProcesses(t, []int{pid})
	}
}

// restartSampleContainer kills a container's process; the kubelet starts it again in the same pod. What the process counted after its
// last scrape is on no page.
func restartSampleContainer(t *testing.T, w *witness, _ *rand.Rand) func() {
	t.Helper()
	pods, err := s.ReadyPods(t.Context())
	if err != nil || len(pods) == 0 {
		t.Fatalf("%d pods: %v", len(pods), err)
	}
	pids, err := podProcesses(pods[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	w.truth.lose(pods[0].Status.PodIP, time.Now())
	err = stack.Wait(t.Context(), time.Minute, func(ctx context.Context) error {
		pod, err := s.Client.CoreV1().Pods(pods[0].Namespace).Get(ctx, pods[0].Name, metav1.GetOptions{})
		if err == nil && (len(pod.Status.ContainerStatuses) == 0 || pod.Status.ContainerStatuses[0].RestartCount == pods[0].Status.ContainerStatuses[0].RestartCount) {
			err = fmt.Errorf("the container of %s is not restarted", pod.Name)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return func() {}
}

// dropAdapterTraffic returns a fault that drops what an adapter sends by a rule of nftables, in the network namespace of its pod.
func dropAdapterTraffic(rule string) func(*testing.T, *witness, *rand.Rand) func() {
	return func(t *testing.T, _ *witness, random *rand.Rand) func() {
		t.Helper()
		pods, err := adapters(t.Context())
		return filterPodTraffic(t, chooseProcesses(t, random, pods, err)[0], rule)
	}
}

// filterPodTraffic applies a rule of nftables to what a process sends, until end is called, or the test ends.
func filterPodTraffic(t *testing.T, pid int, rule string) (end func()) {
	t.Helper()
	enter := func(text string) error {
		cmd := exec.Command("nsenter", "--target", strconv.Itoa(pid), "--net", "nft", "-f", "-")
		cmd.Stdin = strings.NewReader(text)
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("nft: %w: %s", err, out)
		}
		return nil
	}
	if err := enter("table inet chaos {\nchain output {\ntype filter hook output priority 0\n" + rule + "\n}\n}\n"); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	end = func() {
		once.Do(func() {
			if err := enter("delete table inet chaos"); err != nil {
				t.Logf("the pod is gone with its rule: %v", err)
			}
		})
	}
	t.Cleanup(end)
	return end
}

// flapConfiguration changes the configuration five times within some seconds: a rule more, a fault, as before.
func flapConfiguration(t *testing.T) {
	t.Helper()
	good := configuration(t)
	more := good + "\n- metric: flapping_requests\n  resource: pods\n  query: sum by (namespace, pod) (rate(http_requests_total[$window]))\n  window: 10s\n"
	for _, text := range []string{more, good + "\n- metrik: typo\n", more, good} {
		configure(t.Context(), t, text)
		retry.Sleep(t.Context(), time.Second)
	}
	configure(t.Context(), t, good)
}
