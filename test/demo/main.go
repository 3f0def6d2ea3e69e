// Command demo shows the main job on a real cluster: the load rises, the HPA reads request_per_second and adds pods; the load falls,
// and the HPA removes them. It prints a line each second and draws the run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/tachometer-metrics/tachometer/test/harness/cluster"
	"github.com/tachometer-metrics/tachometer/test/harness/load"
	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

const name = "demo"

func main() {
	if err := runDemo(); err != nil {
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		os.Exit(1)
	}
}

func runDemo() error {
	down := flag.Bool("down", false, "remove the cluster of an earlier run with KEEP=1")
	picture := flag.String("svg", "out/demo.svg", "`file` for the picture of the run")
	withSurge := os.Getenv("SURGE") == "1"
	defaultLoad := "60:20s,500:75s,60:85s"
	if withSurge {
		defaultLoad = surgeLoad
	}
	steps := flag.String("load", defaultLoad, "offered load as RATE:DURATION,…; rates in requests per second")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	d := demo{picture: *picture, keep: os.Getenv("KEEP") == "1", withSurge: withSurge, out: os.Stdout}
	if err := d.parseSteps(*steps); err != nil {
		return err
	}
	if *down {
		return d.removeKeptCluster(ctx)
	}
	return d.playDemo(ctx)
}

type demo struct {
	steps   []load.Step
	length  time.Duration
	picture string
	keep    bool
	// withSurge lets the scaler's surge lane act.
	withSurge bool
	out       io.Writer
}

func (d *demo) parseSteps(steps string) error {
	var err error
	if d.steps, err = load.ParseSteps(steps); err != nil {
		return err
	}
	var ends bool
	if d.length, ends = load.Length(d.steps); !ends {
		return fmt.Errorf("load %q never ends: give the last step a duration", steps)
	}
	return nil
}

func (d *demo) removeKeptCluster(ctx context.Context) error {
	c, err := cluster.Open("", name)
	if errors.Is(err, os.ErrNotExist) {
		fmt.Fprintln(d.out, "no demo cluster found")
		return nil
	}
	if err != nil {
		return err
	}
	return c.Down(ctx)
}

func (d *demo) playDemo(ctx context.Context) error {
	s, err := d.startStack(ctx)
	if err != nil {
		return err
	}
	points, err := d.playLoad(ctx, s)
	if err == nil {
		err = d.drawDemoRun(points)
	}
	if err == nil && d.withSurge {
		err = d.printSurges(ctx, s)
	}
	if d.keep {
		d.printNextCommands()
		return err
	}
	fmt.Fprintln(d.out, "removing the cluster (KEEP=1 keeps it)")
	return errors.Join(err, s.Down(context.WithoutCancel(ctx)))
}

// startStack starts a cluster or, where no node can run, uses the user's cluster.
func (d *demo) startStack(ctx context.Context) (*stack.Stack, error) {
	s, err := stack.Up(ctx, stack.Options{Name: name, Keep: d.keep, Log: d.out})
	if errors.Is(err, cluster.ErrNoNode) {
		fmt.Fprintf(d.out, "%v\n", err)
		s, err = d.useOwnCluster(ctx)
	}
	if err != nil {
		return nil, adviseOnKeptCluster(err)
	}
	fmt.Fprintln(d.out, "kubectl apply -k manifests/adapter")
	if err := s.InstallAdapter(ctx, "manifests/adapter"); err != nil {
		return nil, d.abandonStack(ctx, s, err)
	}
	fmt.Fprintln(d.out, "kubectl apply -k manifests/sample/overlays/demo")
	if err := s.Apply(ctx, "manifests/sample/overlays/demo"); err != nil {
		return nil, d.abandonStack(ctx, s, err)
	}
	if d.withSurge {
		if err := d.installSurgeLane(ctx, s); err != nil {
			return nil, d.abandonStack(ctx, s, err)
		}
	}
	return s, nil
}

// adviseOnKeptCluster adds the way out to the error of a cluster that an earlier run kept.
func adviseOnKeptCluster(err error) error {
	if errors.Is(err, cluster.ErrExists) {
		return fmt.Errorf("%w; an earlier run kept it: make demo-down removes it", err)
	}
	return err
}

func (d *demo) abandonStack(ctx context.Context, s *stack.Stack, err error) error {
	if d.keep {
		d.printNextCommands()
		return err
	}
	return errors.Join(err, s.Down(context.WithoutCancel(ctx)))
}

func (d *demo) useOwnCluster(ctx context.Context) (*stack.Stack, error) {
	kubeconfig := os.Getenv("KUBECONFIG")
	if kubeconfig == "" {
		return nil, errors.New("set KUBECONFIG to a cluster with the images " + stack.AdapterImage + " and " + stack.SampleImage +
			" and pod addresses reachable from this machine")
	}
	fmt.Fprintf(d.out, "running against %s\n", kubeconfig)
	return stack.On(ctx, kubeconfig, d.out)
}

// printNextCommands prints commands to explore the kept cluster.
func (d *demo) printNextCommands() {
	fmt.Fprintf(d.out, `
The cluster stays. To use it:
  eval "$(go -C test/harness/cluster run ./cmd/cluster env --name %s)"
Three commands to try:
  go run ./cmd/kubectl-tachometer explain hpa/%s -n %s --since 1h
  go run ./cmd/kubectl-tachometer doctor hpa/%[2]s -n %[3]s
  go run ./cmd/kubectl-tachometer dashboard -n %[3]s
To remove it:
  make demo-down
`, name, sampleScaler, stack.SampleNamespace)
}

func createDemoFile(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	return os.Create(path)
}
