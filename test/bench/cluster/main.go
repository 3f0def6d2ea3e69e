// Command cluster measures the adapter on a real local Kubernetes: the time until a change of the load is visible, the time until its
// pods are ready, and the cost of a thousand autoscalers. It writes the results into docs/benchmarks.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/tachometer-metrics/tachometer/test/bench/internal/report"
	"github.com/tachometer-metrics/tachometer/test/harness/host"
)

func main() {
	if err := runClusterBench(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "bench-cluster: %v\n", err)
		os.Exit(1)
	}
}

// settings are the command-line flags.
type settings struct {
	parts    string
	report   string
	load     float64
	patience time.Duration

	adapter string
	images  string
	metric  string

	steps       int
	runs        int
	sales       int
	picture     string
	autoscalers autoscalersOptions

	role string
}

func (s *settings) clusterBenchFlags() *flag.FlagSet {
	fs := flag.NewFlagSet("bench-cluster", flag.ContinueOnError)
	fs.StringVar(&s.parts, "parts", "step,chain,sale,autoscalers", "what to measure, a `list`")
	fs.StringVar(&s.report, "report", "", "`file` whose sections are written anew; empty: figures are only shown")
	fs.Float64Var(&s.load, "load", 1, "greatest load average at which measuring begins")
	fs.DurationVar(&s.patience, "patience", 10*time.Minute, "how long to wait for that load")
	fs.StringVar(&s.adapter, "adapter", shipped, "kustomize `folder` of the adapter, for step and chain, absolute or relative to the repository; another adapter can be put in the place of ours")
	fs.StringVar(&s.images, "images", "", "archives of images that such an adapter needs on the node, a `list`")
	fs.StringVar(&s.metric, "metric", "request_per_second", "what the adapter calls the pods' requests per second")
	fs.IntVar(&s.steps, "steps", 20, "steps of the load, for step")
	fs.IntVar(&s.runs, "runs", 5, "runs with each behavior, for chain")
	fs.IntVar(&s.sales, "sales", 10, "events, for sale")
	fs.StringVar(&s.picture, "svg", "../out/chain.svg", "`file` for the picture of chain")
	s.autoscalers.autoscalersFlags(fs)
	fs.StringVar(&s.role, "role", "", "internal: be one of the processes of a benchmark")
	return fs
}

func parseClusterBenchSettings(args []string) (s settings, err error) {
	err = s.clusterBenchFlags().Parse(args)
	return s, err
}

func runClusterBench(args []string, out io.Writer) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s, err := parseClusterBenchSettings(args)
	if err != nil {
		return err
	}
	if s.role == rolePages {
		return serveGroupPages(ctx)
	}
	b := &bench{settings: s, out: out}
	defer func() { err = errors.Join(err, b.removeBenchNode(ctx)) }()
	return b.measureClusterParts(ctx)
}

// bench is the run of all parts.
type bench struct {
	settings
	out  io.Writer
	node *node // nil before the first part that needs it
}

// part is one section of the report.
type part struct {
	name, title string
	node        bool // needs a node; otherwise no other cluster may run
	measure     func(ctx context.Context, load float64) (string, error)
}

func (b *bench) clusterBenchParts() []part {
	return []part{
		{"step", "Seconds until a step of the load shows", true, b.reportStep},
		{"chain", "Seconds until there are pods for the load", true, b.reportChain},
		{"sale", "Seconds from an event to twenty new pods", true, b.reportSale},
		{"autoscalers", "A thousand autoscalers on five thousand pods", false, b.manyAutoscalers},
	}
}

// measureClusterParts runs the selected parts, each when the machine is quiet.
func (b *bench) measureClusterParts(ctx context.Context) error {
	all := b.clusterBenchParts()
	for _, name := range strings.Split(b.parts, ",") {
		i := slices.IndexFunc(all, func(p part) bool { return p.name == name })
		if i < 0 {
			return fmt.Errorf("no part %q", name)
		}
		err := b.measureClusterPart(ctx, all[i])
		if ctx.Err() != nil {
			err = context.Cause(ctx) // the part's own error says less
		}
		if err != nil {
			return fmt.Errorf("measure %s: %w", name, err)
		}
	}
	return nil
}

func (b *bench) measureClusterPart(ctx context.Context, p part) error {
	if !p.node {
		if err := b.removeBenchNode(ctx); err != nil {
			return err
		}
	}
	load, err := host.Quiet(ctx, b.load, b.patience)
	if err != nil {
		return err
	}
	fmt.Fprintf(b.out, "%s, load average %.2f\n", p.name, load)
	if p.node && b.node == nil {
		if b.node, err = newBenchNode(ctx, b.settings, b.out); err != nil {
			return err
		}
	}
	text, err := p.measure(ctx, load)
	if err != nil {
		return err
	}
	fmt.Fprint(b.out, "\n", text)
	if b.report == "" {
		return nil
	}
	return report.Section{Command: "test/bench/cluster", Part: p.name, Title: p.title}.Write(b.report, text)
}

// removeBenchNode ends the cluster with a node, if it exists.
func (b *bench) removeBenchNode(ctx context.Context) error {
	if b.node == nil {
		return nil
	}
	n := b.node
	b.node = nil
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	return n.stack.Down(ctx)
}
