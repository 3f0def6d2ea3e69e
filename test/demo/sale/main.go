// Command sale shows a flash sale on a real cluster: an event raises the sample by twenty pods, which are verified before the gate
// opens in steps; when the event expires, the scaler restores the original state. Then the same with a bad release: rolled back, with an alert.
package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/domain"
	"github.com/tachometer-metrics/tachometer/pkg/retry"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/notify"
	"github.com/tachometer-metrics/tachometer/test/harness/load"
	"github.com/tachometer-metrics/tachometer/test/harness/sale"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

const (
	name = "demo-sale"
	// visitors is the load during the sale, in requests per second: the two original pods could serve it.
	visitors = 60
	// lasts is the time to live of the sale's event.
	lasts = 45 * time.Second
	// shut is the state of the gate before the sale.
	shut = "false"
)

// config is the scaler's configuration: the gate opens in steps.
//
//go:embed config.yaml
var config string

func main() {
	if err := runDemo(); err != nil {
		fmt.Fprintf(os.Stderr, "demo-sale: %v\n", err)
		os.Exit(1)
	}
}

func runDemo() (err error) {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s, err := stack.Up(ctx, stack.Options{Name: name, Log: os.Stdout})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Down(context.WithoutCancel(ctx))) }()
	d := &demo{stack: s, out: os.Stdout, began: time.Now()}
	return d.playBoth(ctx)
}

// demo is one run.
type demo struct {
	stack   *stack.Stack
	market  *sale.Sale
	out     io.Writer
	began   time.Time
	targets atomic.Pointer[[]string]
	seen    map[string]bool // names of the Events already printed
}

func (d *demo) playBoth(ctx context.Context) (err error) {
	if err := d.installSample(ctx); err != nil {
		return err
	}
	if d.market, err = sale.UpWith(ctx, d.stack, func(string) string { return config }); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.market.Down(context.WithoutCancel(ctx))) }()
	visiting, home := context.WithCancel(ctx)
	done := d.sendVisitors(visiting)
	defer func() { home(); <-done }()
	if err := d.playHealthyRelease(ctx); err != nil {
		return err
	}
	return d.playBadRelease(ctx)
}

func (d *demo) installSample(ctx context.Context) error {
	d.printLine("kubectl apply -k manifests/adapter, manifests/sample/overlays/demo")
	if err := d.stack.InstallAdapter(ctx, "manifests/adapter"); err != nil {
		return err
	}
	if err := d.stack.Apply(ctx, "manifests/sample/overlays/demo"); err != nil {
		return err
	}
	const room = `{"spec":{"template":{"spec":{"containers":[{"name":"sample","resources":{"requests":{"cpu":"10m"}}}]}}}}`
	if _, err := d.runKubectl(ctx, "patch", "deploy/sample", "--type=strategic", "-p", room); err != nil { // makes room for the sale on one small node
		return err
	}
	_, err := d.runKubectl(ctx, "rollout", "status", "deploy/sample", "--timeout=120s")
	return err
}

func (d *demo) runKubectl(ctx context.Context, args ...string) (string, error) {
	return d.stack.Kubectl(ctx, append([]string{"-n", stack.SampleNamespace}, args...)...)
}

// sendVisitors sends the load to the ready pods until ctx ends.
func (d *demo) sendVisitors(ctx context.Context) <-chan struct{} {
	d.targets.Store(&[]string{})
	g := load.New(load.Options{Rate: func(time.Time) float64 { return visitors }, Targets: func() []string { return *d.targets.Load() }})
	done := make(chan struct{})
	go func() {
		defer close(done)
		var aiming sync.WaitGroup
		aiming.Go(func() { d.aimVisitors(ctx) })
		g.Run(ctx)
		aiming.Wait()
		total := g.Result().Total()
		d.printLine("visitors: %d requests succeeded, %d failed", total.OK, total.Failed)
		for _, cause := range slices.Sorted(maps.Keys(total.Causes)) {
			d.printLine("  %d × %s", total.Causes[cause], cause)
		}
	}()
	return done
}

// aimVisitors sends the load to the pods that are ready, until ctx ends: a pod that leaves gets no more, as behind a Service.
func (d *demo) aimVisitors(ctx context.Context) {
	for ctx.Err() == nil {
		if pods, err := d.stack.ReadyPods(ctx); err == nil {
			urls := make([]string, len(pods))
			for i := range pods {
				urls[i] = "http://" + pods[i].Status.PodIP + ":8080/"
			}
			d.targets.Store(&urls)
		}
		retry.Sleep(ctx, 200*time.Millisecond)
	}
}

// playHealthyRelease runs a sale on a healthy release.
func (d *demo) playHealthyRelease(ctx context.Context) error {
	d.printLine("an event on Kafka: the sale begins, for %s", lasts)
	if err := d.market.Publish(ctx, sale.Event("sale-1", sale.Start, lasts)); err != nil {
		return err
	}
	if err := d.printUntil(ctx, 2*time.Minute, func(w world) bool { return w.gate == "100" }); err != nil {
		return err
	}
	d.printLine("the holds, and the answers of the pods:")
	if err := d.runScalerCommand(ctx, "status"); err != nil {
		return err
	}
	if err := d.runScalerCommand(ctx, "verify", "deploy/sample", "--url", "/work?ms=1", "--requests", "10", "--concurrency", "2"); err != nil {
		d.printLine("%v", err)
	}
	d.printLine("the sale lasts until the event expires")
	if err := d.printUntil(ctx, 4*time.Minute, func(w world) bool { return w.gate == shut && w.minReplicas == 2 && w.ready <= 2 }); err != nil {
		return err
	}
	d.printLine("the original state is restored: %s", d.describeWorld(ctx))
	return nil
}

// playBadRelease runs a sale on a bad release: probes pass, but users wait.
func (d *demo) playBadRelease(ctx context.Context) error {
	d.printLine("a bad release: FAULT=slow")
	for _, args := range [][]string{{"set", "env", "deploy/sample", "FAULT=slow"}, {"rollout", "status", "deploy/sample", "--timeout=180s"}} {
		if _, err := d.runKubectl(ctx, args...); err != nil {
			return err
		}
	}
	told := len(d.market.Alerts())
	d.printLine("an event on Kafka: the next sale begins")
	if err := d.market.Publish(ctx, sale.Event("sale-2", sale.Start, lasts)); err != nil {
		return err
	}
	err := d.printUntil(ctx, 3*time.Minute, func(w world) bool { return findRollback(d.market.Alerts()[told:]) != "" && w.minReplicas == 2 })
	if err != nil {
		return err
	}
	if err := d.printEvents(ctx); err != nil {
		return err
	}
	d.printLine("rolled back, the gate stayed shut: %s", d.describeWorld(ctx))
	d.printLine("the alert:")
	return d.printAlert(findRollback(d.market.Alerts()[told:]))
}

// findRollback returns the first alert about a rollback; empty: none has come.
func findRollback(alerts []string) string {
	for _, alert := range alerts {
		var m notify.Message
		if json.Unmarshal([]byte(alert), &m) == nil && m.Kind == notify.KindRolledBack {
			return alert
		}
	}
	return ""
}

func (d *demo) printAlert(alert string) error {
	var v any
	if err := json.Unmarshal([]byte(alert), &v); err != nil {
		return fmt.Errorf("the alert is not valid JSON: %w", err)
	}
	text, err := json.MarshalIndent(v, "  ", "  ")
	fmt.Fprintf(d.out, "  %s\n", text)
	return err
}

// runScalerCommand runs a command of tachometer-scaler and prints the command line and its output.
func (d *demo) runScalerCommand(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{
		"run", "github.com/tachometer-metrics/tachometer/cmd/tachometer-scaler", "--kubeconfig", d.stack.Cluster.Kubeconfig(), "-n", stack.SampleNamespace, "-o", "text",
	}, args...)...)
	cmd.Dir = d.stack.Root
	cmd.Stdout, cmd.Stderr = d.out, d.out
	fmt.Fprintf(d.out, "\n$ tachometer-scaler %s\n", strings.Join(args, " "))
	err := cmd.Run()
	fmt.Fprintln(d.out)
	return err
}

// world is the state in a printed line.
type world struct {
	pods, ready        int
	minReplicas, scale int32
	gate               string
}

func (w world) String() string {
	gate := "shut"
	if w.gate != shut {
		gate = "open at " + w.gate + " %"
	}
	return fmt.Sprintf("minReplicas %d, %d replicas, %d pods, %d ready, gate %s", w.minReplicas, w.scale, w.pods, w.ready, gate)
}

func (d *demo) describeWorld(ctx context.Context) string {
	w, err := d.readWorld(ctx)
	if err != nil {
		return err.Error()
	}
	return w.String()
}

// printUntil prints each change until right accepts the state.
func (d *demo) printUntil(ctx context.Context, atMost time.Duration, right func(world) bool) error {
	var shown world
	return stack.Wait(ctx, atMost, func(ctx context.Context) error {
		w, err := d.readWorld(ctx)
		if err != nil {
			return err
		}
		if err := d.printEvents(ctx); err != nil {
			return err
		}
		if w != shown {
			shown = w
			d.printLine("  %s", w)
		}
		if !right(w) {
			return fmt.Errorf("still %s", w)
		}
		return nil
	})
}

func (d *demo) readWorld(ctx context.Context) (world, error) {
	var w world
	hpa, err := d.stack.Client.AutoscalingV2().HorizontalPodAutoscalers(stack.SampleNamespace).Get(ctx, "sample", metav1.GetOptions{})
	if err != nil {
		return w, err
	}
	deployment, err := d.stack.Client.AppsV1().Deployments(stack.SampleNamespace).Get(ctx, "sample", metav1.GetOptions{})
	if err != nil {
		return w, err
	}
	pods, err := d.stack.ReadyPods(ctx)
	if err != nil {
		return w, err
	}
	w.gate, err = d.market.Gate(ctx)
	w.minReplicas, w.scale, w.pods, w.ready = *hpa.Spec.MinReplicas, *deployment.Spec.Replicas, int(deployment.Status.Replicas), len(pods)
	return w, err
}

// printEvents prints the scaler's Events on the sample.
func (d *demo) printEvents(ctx context.Context) error {
	list, err := d.stack.Client.CoreV1().Events(stack.SampleNamespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	if d.seen == nil {
		d.seen = map[string]bool{}
	}
	for i := range list.Items {
		e := &list.Items[i]
		if e.ReportingController == domain.ScalerController && !d.seen[e.Name] {
			d.seen[e.Name] = true
			d.printLine("Event %-9s %s", e.Reason, e.Message)
		}
	}
	return nil
}

func (d *demo) printLine(format string, args ...any) {
	fmt.Fprintf(d.out, "%6.1f s  %s\n", time.Since(d.began).Seconds(), fmt.Sprintf(format, args...))
}
