package e2e

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/test/harness/host"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// startStages are the moments in the start of a pod, in their order. Those of the runtime are from containerd's log, the others from a watch.
var startStages = []string{"created", "scheduled", "sandbox asked for", "sandbox runs", "container created", "container started", "seen running"}

// startMoments has the time of each stage by pod.
type startMoments struct {
	mu sync.Mutex // guards at
	at map[string]map[string]time.Time
}

// note notes the first time of a stage of a pod.
func (m *startMoments) note(pod, stage string, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.at[pod] == nil {
		m.at[pod] = map[string]time.Time{}
	}
	if m.at[pod][stage].IsZero() {
		m.at[pod][stage] = at
	}
}

// count returns the number of pods with a stage.
func (m *startMoments) count(stage string) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, stages := range m.at {
		if !stages[stage].IsZero() {
			n++
		}
	}
	return n
}

// watchStarts notes what the API server shows of the pods of a Deployment, until ctx ends.
func watchStarts(ctx context.Context, m *startMoments, name string) error {
	w, err := s.Client.CoreV1().Pods(stack.SampleNamespace).Watch(ctx, metav1.ListOptions{LabelSelector: "app=" + name})
	if err != nil {
		return err
	}
	go func() {
		defer w.Stop()
		for e := range w.ResultChan() {
			pod, ok := e.Object.(*corev1.Pod)
			if !ok {
				continue
			}
			now := time.Now()
			m.note(pod.Name, "created", now)
			if pod.Spec.NodeName != "" {
				m.note(pod.Name, "scheduled", now)
			}
			if c := pod.Status.ContainerStatuses; len(c) > 0 && c[0].State.Running != nil {
				m.note(pod.Name, "seen running", now)
			}
		}
	}()
	return nil
}

// The lines of containerd's log on a pod. Go writes the quotes inside a message with a backslash.
var (
	runtimeLine    = regexp.MustCompile(`^time="([^"]+)" level=info msg="(.*)"$`)
	sandboxAsked   = regexp.MustCompile(`^RunPodSandbox for &PodSandboxMetadata\{Name:([^,]+),.*\}$`)
	sandboxRuns    = regexp.MustCompile(`^RunPodSandbox for &PodSandboxMetadata\{Name:([^,]+),.*\} returns sandbox id \\"(\w+)\\"$`)
	containerMade  = regexp.MustCompile(`^CreateContainer within sandbox \\"(\w+)\\" for &ContainerMetadata\{.*\} returns container id \\"(\w+)\\"$`)
	containerStart = regexp.MustCompile(`^StartContainer for \\"(\w+)\\" returns successfully$`)
)

// readRuntimeLog notes what containerd's log says from an offset on.
func readRuntimeLog(m *startMoments, file string, offset int64) error {
	log, err := os.Open(file)
	if err != nil {
		return err
	}
	defer log.Close()
	if _, err := log.Seek(offset, 0); err != nil {
		return err
	}
	pods := map[string]string{} // by sandbox and by container
	for lines := bufio.NewScanner(log); lines.Scan(); {
		line := runtimeLine.FindStringSubmatch(lines.Text())
		if line == nil {
			continue
		}
		at, err := time.Parse(time.RFC3339Nano, line[1])
		if err != nil {
			return err
		}
		noteRuntimeLine(m, pods, line[2], at)
	}
	return nil
}

func noteRuntimeLine(m *startMoments, pods map[string]string, text string, at time.Time) {
	if f := sandboxAsked.FindStringSubmatch(text); f != nil {
		m.note(f[1], "sandbox asked for", at)
	}
	if f := sandboxRuns.FindStringSubmatch(text); f != nil {
		pods[f[2]] = f[1]
		m.note(f[1], "sandbox runs", at)
	}
	if f := containerMade.FindStringSubmatch(text); f != nil && pods[f[1]] != "" {
		pods[f[2]] = pods[f[1]]
		m.note(pods[f[1]], "container created", at)
	}
	if f := containerStart.FindStringSubmatch(text); f != nil && pods[f[1]] != "" {
		m.note(pods[f[1]], "container started", at)
	}
}

// processorTimes are seconds of all processors, since the start of the machine.
type processorTimes struct{ total, idle, nice float64 }

// readProcessorTimes reads /proc/stat.
func readProcessorTimes(t *testing.T) (p processorTimes) {
	t.Helper()
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(data), "\n")
	for i, field := range strings.Fields(line)[1:9] {
		ticks, err := strconv.ParseFloat(field, 64)
		if err != nil {
			t.Fatal(err)
		}
		p.total += ticks / 100
		switch i {
		case 1:
			p.nice = ticks / 100
		case 3, 4:
			p.idle += ticks / 100
		}
	}
	return p
}

// readComponentSeconds returns the processor seconds of each component of the cluster.
func readComponentSeconds(t *testing.T) map[string]float64 {
	t.Helper()
	pids, err := s.Cluster.Processes()
	if err != nil {
		t.Fatal(err)
	}
	seconds := map[string]float64{}
	for name, pid := range pids {
		used, err := host.CPUTime(pid)
		if err != nil {
			t.Fatal(err)
		}
		seconds[name] = used.Seconds()
	}
	return seconds
}

// startRun is a measured start of pods.
type startRun struct {
	last                      map[string]float64 // seconds until the last pod has a stage
	longest                   map[string]float64 // seconds of the slowest pod from the stage before
	busy, nice                float64            // shares of all processors until the last container started; nice: processes of a low priority
	components                map[string]float64 // their shares
	withinFive, sandboxMedian float64            // containers started within 5 s; seconds
}

// measureStart creates a Deployment of pods and measures their stages.
func measureStart(t *testing.T, pods int32) startRun {
	t.Helper()
	log := filepath.Join(s.Cluster.Dir(), "logs", "containerd.log")
	info, err := os.Stat(log)
	if err != nil {
		t.Fatal(err)
	}
	d, err := newFastDeployment(t.Context(), fastStartName, func(*corev1.Container) {})
	if err != nil {
		t.Fatal(err)
	}
	d.Spec.Replicas = &pods
	t.Cleanup(func() { removeFastPods(t, fastStartName) })
	m := &startMoments{at: map[string]map[string]time.Time{}}
	watching, stop := context.WithCancel(t.Context())
	defer stop()
	if err := watchStarts(watching, m, fastStartName); err != nil {
		t.Fatal(err)
	}
	processors, components, began := readProcessorTimes(t), readComponentSeconds(t), time.Now()
	if _, err := s.Client.AppsV1().Deployments(d.Namespace).Create(t.Context(), d, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	err = stack.Wait(t.Context(), 3*time.Minute, func(context.Context) error {
		if n := m.count("seen running"); n < int(pods) {
			return fmt.Errorf("%d of %d containers run", n, pods)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	run := newStartRun(processors, readProcessorTimes(t), components, readComponentSeconds(t))
	if err := readRuntimeLog(m, log, info.Size()); err != nil {
		t.Fatal(err)
	}
	run.addMoments(t, m, began, int(pods))
	removeFastPods(t, fastStartName)
	return run
}

func newStartRun(before, after processorTimes, components, componentsAfter map[string]float64) startRun {
	total := after.total - before.total
	r := startRun{last: map[string]float64{}, longest: map[string]float64{}, components: map[string]float64{}}
	r.busy, r.nice = 1-(after.idle-before.idle)/total, (after.nice-before.nice)/total
	for name, seconds := range componentsAfter {
		r.components[name] = (seconds - components[name]) / total
	}
	return r
}

// addMoments adds what the moments of the pods say.
func (r *startRun) addMoments(t *testing.T, m *startMoments, began time.Time, pods int) {
	t.Helper()
	var sandboxes []float64
	counted := 0
	for name, at := range m.at {
		if at["created"].IsZero() { // of another workload
			continue
		}
		counted++
		before := began
		for _, stage := range startStages {
			if at[stage].IsZero() {
				t.Fatalf("pod %s has no %s", name, stage)
			}
			r.last[stage] = max(r.last[stage], at[stage].Sub(began).Seconds())
			r.longest[stage] = max(r.longest[stage], at[stage].Sub(before).Seconds())
			before = at[stage]
		}
		sandboxes = append(sandboxes, at["sandbox runs"].Sub(at["sandbox asked for"]).Seconds())
		if at["container started"].Sub(began) <= 5*time.Second {
			r.withinFive++
		}
	}
	if counted != pods {
		t.Fatalf("%d pods, want %d", counted, pods)
	}
	slices.Sort(sandboxes)
	r.sandboxMedian = sandboxes[len(sandboxes)/2]
}

// logStartRuns logs a table of runs: the median and the greatest second of each stage, and the processors.
func logStartRuns(t *testing.T, name string, runs []startRun) {
	t.Helper()
	of := func(value func(startRun) float64) (median, greatest float64) {
		var all []float64
		for _, r := range runs {
			all = append(all, value(r))
		}
		slices.Sort(all)
		return all[(len(all)-1)/2], all[len(all)-1]
	}
	for _, stage := range startStages {
		median, greatest := of(func(r startRun) float64 { return r.last[stage] })
		one, slowest := of(func(r startRun) float64 { return r.longest[stage] })
		t.Logf("%s | %s | all pods %.2f, at most %.2f | slowest pod from the stage before %.2f, at most %.2f", name, stage, median, greatest, one, slowest)
	}
	busy, _ := of(func(r startRun) float64 { return r.busy })
	nice, _ := of(func(r startRun) float64 { return r.nice })
	sandbox, slowest := of(func(r startRun) float64 { return r.sandboxMedian })
	t.Logf("%s | %d runs | processors busy %.0f %%, by low priorities %.0f %% | a pod's sandbox %.2f s, at most %.2f", name, len(runs), 100*busy, 100*nice, sandbox, slowest)
	for component := range runs[0].components {
		share, _ := of(func(r startRun) float64 { return r.components[component] })
		t.Logf("%s | %s %.0f %% of the processors", name, component, 100*share)
	}
	for i, r := range runs {
		t.Logf("%s | run %d | last container started after %.2f s, %.0f within 5 s, busy %.0f %%", name, i+1, r.last["container started"], r.withinFive, 100*r.busy)
	}
}

// burnProcessors keeps every processor busy with a process of normal priority, until stop.
func burnProcessors(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var all []*exec.Cmd
	for range runtime.NumCPU() {
		cmd := exec.CommandContext(ctx, "sh", "-c", "while :; do :; done")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		all = append(all, cmd)
	}
	return func() {
		cancel()
		for _, cmd := range all {
			_ = cmd.Wait()
		}
	}
}

// TestFastStartStages measures where the seconds go between the request for twenty pods and their containers: the stages of each pod, and the processors' share. It does
// the same with forty pods, and beside a busy process for each processor.
func TestFastStartStages(t *testing.T) {
	needNode(t)
	if *fastStartRuns == 0 {
		t.Skip("SKIPPED: -faststart.runs is not set: run `make fast-start`")
	}
	for _, c := range []struct {
		name   string
		pods   int32
		runs   int
		burned bool
	}{
		{"20 pods", fastStartPods, *fastStartRuns, false},
		{"40 pods", 2 * fastStartPods, max(*fastStartRuns/3, 1), false},
		{"20 pods beside busy processes", fastStartPods, max(*fastStartRuns/3, 1), true},
	} {
		var runs []startRun
		for range c.runs {
			stop := func() {}
			if c.burned {
				stop = burnProcessors(t)
			}
			runs = append(runs, measureStart(t, c.pods))
			stop()
		}
		logStartRuns(t, c.name, runs)
	}
}
