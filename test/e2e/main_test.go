// Package e2e tests the promises on a real Kubernetes: a node with containers, the real HPA controller at its real period, the images
// from the Dockerfile and the shipped manifests.
package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tachometer-metrics/tachometer/test/harness/cluster"
	"github.com/tachometer-metrics/tachometer/test/harness/decisions"
	"github.com/tachometer-metrics/tachometer/test/harness/load"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

// s is the cluster that all tests share; nil if no node can run.
var s *stack.Stack

// why is the reason for s == nil.
var why error

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m)) //nolint:forbidigo // TestMain has no other way to return the code
}

func run(m *testing.M) int {
	if testing.Short() {
		why = errors.New("-short")
		return m.Run()
	}
	if flag.Lookup("test.list").Value.String() != "" {
		return m.Run()
	}
	ctx := context.Background()
	var err error
	s, err = stack.Up(ctx, stack.Options{Name: "e2e", Keep: os.Getenv("KEEP") == "1", Log: os.Stderr})
	if errors.Is(err, cluster.ErrNoNode) {
		why = err
		fmt.Fprintf(os.Stderr, "SKIPPED: the end-to-end suite: %v\n", err)
		return m.Run()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "start the stack: %v\n", err)
		return 1
	}
	code := 1
	if err := install(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "install: %v\n", err)
		dump(ctx)
	} else if code = runWitnessed(ctx, m); code != 0 {
		dump(ctx)
	}
	if os.Getenv("KEEP") == "1" {
		return code
	}
	if err := s.Down(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "remove the cluster: %v\n", err)
		return 1
	}
	return code
}

// Of at least leastDecisions decisions, maxUnjudgedShare may go without a judgement: 4 to 9 % did in three runs of parts of the suite. In fewer, the
// restarts of adapters weigh too much.
const (
	leastDecisions   = 100
	maxUnjudgedShare = 0.2
)

// runWitnessed runs the tests, and compares each decision that the HPA controller took meanwhile with the adapter's record.
func runWitnessed(ctx context.Context, m *testing.M) int {
	witness := decisions.NewWitness(s.Client, s.Get)
	watching, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- witness.Run(watching) }()
	code := m.Run()
	witness.ReadRecords(ctx)
	stop()
	if err := <-ended; err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	verdict, autoscalers := witness.Verdict()
	fmt.Fprintf(os.Stderr, "%d autoscalers: %v\n", autoscalers, verdict)
	for _, d := range append(verdict.ListReasons(), verdict.Differences...) {
		fmt.Fprintln(os.Stderr, d)
	}
	if len(verdict.Differences) > 0 || verdict.Agreed == 0 {
		return 1
	}
	if share := verdict.UnjudgedShare(); verdict.Decisions() >= leastDecisions && share > maxUnjudgedShare {
		fmt.Fprintf(os.Stderr, "%.1f %% of the decisions are not judged, want at most %.0f %%\n", 100*share, 100*maxUnjudgedShare)
		return 1
	}
	return code
}

func install(ctx context.Context) error {
	if err := s.InstallAdapter(ctx, "test/e2e/manifests/adapter"); err != nil {
		return err
	}
	if err := s.Apply(ctx, "test/e2e/manifests/sample"); err != nil {
		return err
	}
	return stack.Wait(ctx, 2*time.Minute, func(ctx context.Context) error { return exactly(ctx, 2) })
}

// dump prints the state of the cluster for a diagnosis.
func dump(ctx context.Context) {
	for _, args := range [][]string{
		{"get", "pods,hpa,apiservices,endpointslices", "-A", "-o", "wide"},
		{"-n", stack.SampleNamespace, "describe", "hpa"},
		{"-n", stack.AdapterNamespace, "describe", "pods"},
		{"-n", stack.AdapterNamespace, "logs", "-l", "app.kubernetes.io/name=tachometer-adapter", "--prefix", "--tail=60"},
	} {
		out, err := s.Kubectl(ctx, args...)
		fmt.Fprintf(os.Stderr, "--- kubectl %v (%v)\n%s\n", args, err, out)
	}
}

// needNode skips t if the end-to-end suite cannot run.
func needNode(t *testing.T) {
	t.Helper()
	if s == nil {
		t.Skipf("SKIPPED: needs a cluster with a node: %v", why)
	}
}

func exactly(ctx context.Context, n int) error {
	pods, err := s.ReadyPods(ctx)
	if err == nil && len(pods) != n {
		err = fmt.Errorf("%d pods of the sample are ready, want %d", len(pods), n)
	}
	return err
}

// sending is a load that runs until its test ends.
type sending struct {
	*load.Generator
	truth   *truth
	path    string       // on each pod
	rate    atomic.Int64 // requests per second
	targets atomic.Pointer[[]string]
}

// send sends rate requests per second until the test ends, spread evenly over the ready pods, like a Service. It looks up the ready
// pods every 200 ms.
func send(t *testing.T, rate int) *sending {
	t.Helper()
	return sendTo(t, rate, "")
}

// sendTo is send with a path of the sample.
func sendTo(t *testing.T, rate int, path string) *sending {
	t.Helper()
	l := &sending{truth: &truth{}, path: path}
	l.rate.Store(int64(rate))
	l.targets.Store(&[]string{})
	l.Generator = load.New(load.Options{
		Rate:    func(time.Time) float64 { return float64(l.rate.Load()) },
		Targets: func() []string { return *l.targets.Load() },
	})
	ctx, cancel := context.WithCancel(context.Background())
	l.retarget(ctx)
	done := make(chan struct{}, 3)
	for _, work := range []func(){
		func() { l.Run(ctx) },
		func() { l.truth.record(ctx, l.Generator) },
		func() { l.follow(ctx) },
	} {
		go func() { work(); done <- struct{}{} }()
	}
	t.Cleanup(func() {
		cancel()
		for range 3 {
			<-done
		}
	})
	return l
}

func (l *sending) follow(ctx context.Context) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			l.retarget(ctx)
		}
	}
}

func (l *sending) retarget(ctx context.Context) {
	pods, err := s.ReadyPods(ctx)
	if err != nil {
		return // the next look comes soon; until then requests go to the last known pods
	}
	urls := make([]string, len(pods))
	for i := range pods {
		urls[i] = fmt.Sprintf("http://%s:8080/%s", pods[i].Status.PodIP, l.path)
	}
	l.targets.Store(&urls)
}
