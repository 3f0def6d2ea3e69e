//go:build unix

// Command cluster runs a real Kubernetes on this machine; see usage.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/tachometer-metrics/tachometer/test/harness/cluster"
)

const usage = `A real Kubernetes on this machine, for tests and demonstrations.

  cluster build                compile the programs of clusters, once, and report whether a node can run here
  cluster up [--node]          start a cluster; with --node it runs pods (root, Linux)
  cluster down                 remove it and all of its resources, also after a crash
  cluster env                  print shell exports for kubectl: eval "$(cluster env)"
  cluster load-image FILE...   import image archives (docker-archive) into the node
  cluster build-image          build a target of a Dockerfile into an archive, without a registry (buildah)
  cluster status               list the running processes

Each takes --help. Several clusters run side by side under different --name.
The first start compiles Kubernetes unless build has done so, which takes minutes; the user's cache folder keeps the programs.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := runClusterCommand(ctx, os.Args[1:], os.Stdout)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

// runClusterCommand runs one command. Results go to out, progress to standard error.
func runClusterCommand(ctx context.Context, args []string, out io.Writer) error {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		fmt.Fprint(out, usage)
		return nil
	}
	command, ok := clusterCommands()[args[0]]
	if !ok {
		return fmt.Errorf("no command %q; cluster --help lists them", args[0])
	}
	return command(ctx, args[1:], out)
}

func clusterCommands() map[string]func(context.Context, []string, io.Writer) error {
	return map[string]func(context.Context, []string, io.Writer) error{
		"build": buildKubernetes, "up": upCommand, "down": downCommand, "env": envCommand, "load-image": loadImage, "build-image": buildImage, "status": statusCommand,
	}
}

// flags holds the flags shared by all commands on a cluster.
type flags struct {
	*flag.FlagSet
	name, dir string
}

func newFlags(command string) *flags {
	f := &flags{FlagSet: flag.NewFlagSet("cluster "+command, flag.ContinueOnError)}
	f.StringVar(&f.name, "name", "tachometer", "name of the cluster")
	f.StringVar(&f.dir, "dir", "", "folder of the clusters' folders (default tachometer/clusters in the user's cache folder)")
	return f
}

func (f *flags) openCluster(args []string) (*cluster.Cluster, error) {
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	return cluster.Open(f.dir, f.name)
}

func buildKubernetes(ctx context.Context, args []string, out io.Writer) error {
	if err := flag.NewFlagSet("cluster build", flag.ContinueOnError).Parse(args); err != nil {
		return err
	}
	if err := cluster.Build(ctx, os.Stderr); err != nil {
		return err
	}
	if err := cluster.CheckNode(); err != nil {
		fmt.Fprintf(out, "SKIPPED: tests on a cluster with a node: %v\n", err)
	}
	return nil
}

func upCommand(ctx context.Context, args []string, out io.Writer) error {
	f := newFlags("up")
	opts := cluster.Options{Install: true, Detach: true, Log: os.Stderr}
	f.BoolVar(&opts.Node, "node", false, "with a node that runs pods")
	f.DurationVar(&opts.HPASyncPeriod, "hpa-sync-period", 0, "period of the horizontal pod autoscaler (default Kubernetes' own, 15s)")
	f.DurationVar(&opts.HPAInitialReadinessDelay, "hpa-initial-readiness-delay", 0, "period after the start of a pod in which the horizontal pod autoscaler treats readiness changes as initial readiness (default Kubernetes' own, 30s)")
	f.DurationVar(&opts.HPACPUInitializationPeriod, "hpa-cpu-initialization-period", 0, "period after the start of a pod in which the horizontal pod autoscaler may skip its CPU samples (default Kubernetes' own, 5m)")
	f.BoolVar(&opts.ExternalNameRouting, "external-name-routing", false, "route APIServices to Services of type ExternalName rather than to endpoints")
	if err := f.Parse(args); err != nil {
		return err
	}
	opts.Name, opts.Dir = f.name, f.dir
	c, err := cluster.Start(ctx, opts)
	if err != nil {
		return err
	}
	printEnv(c, out)
	return nil
}

func downCommand(ctx context.Context, args []string, _ io.Writer) error {
	c, err := newFlags("down").openCluster(args)
	if errors.Is(err, os.ErrNotExist) {
		return nil // already removed
	}
	if err != nil {
		return err
	}
	return c.Down(ctx)
}

func envCommand(_ context.Context, args []string, out io.Writer) error {
	c, err := newFlags("env").openCluster(args)
	if err != nil {
		return err
	}
	printEnv(c, out)
	return nil
}

// printEnv writes export commands for a POSIX shell.
func printEnv(c *cluster.Cluster, out io.Writer) {
	for _, setting := range c.Env() {
		name, value, _ := strings.Cut(setting, "=")
		fmt.Fprintf(out, "export %s='%s'\n", name, strings.ReplaceAll(value, "'", `'\''`))
	}
}

func loadImage(ctx context.Context, args []string, _ io.Writer) error {
	f := newFlags("load-image")
	c, err := f.openCluster(args)
	if err != nil {
		return err
	}
	if f.NArg() == 0 {
		return errors.New("load-image: give at least one archive")
	}
	for _, archive := range f.Args() {
		if err := c.LoadImage(ctx, archive); err != nil {
			return err
		}
	}
	return nil
}

func statusCommand(_ context.Context, args []string, out io.Writer) error {
	c, err := newFlags("status").openCluster(args)
	if err != nil {
		return err
	}
	pids, err := c.Processes()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s %s\n", c.Name(), c.Server())
	for _, name := range slices.Sorted(maps.Keys(pids)) {
		fmt.Fprintf(out, "  %-24s process %d\n", name, pids[name])
	}
	return nil
}

// arguments collects the values of a repeatable flag.
type arguments map[string]string

func (a arguments) String() string { return "" }

func (a arguments) Set(value string) error {
	name, argument, ok := strings.Cut(value, "=")
	if !ok {
		return errors.New("want NAME=VALUE")
	}
	a[name] = argument
	return nil
}

func buildImage(ctx context.Context, args []string, _ io.Writer) error {
	f := flag.NewFlagSet("cluster build-image", flag.ContinueOnError)
	build := cluster.ImageBuild{Args: arguments{}, Install: true, Log: os.Stderr}
	f.StringVar(&build.Context, "context", ".", "folder of the Dockerfile")
	f.StringVar(&build.Target, "target", "", "stage of the Dockerfile (default the last)")
	f.StringVar(&build.Tag, "tag", "", "NAME:TAG of the image")
	f.StringVar(&build.Archive, "output", "", "archive to write")
	f.Var(arguments(build.Args), "build-arg", "NAME=VALUE for the Dockerfile; may be given several times")
	if err := f.Parse(args); err != nil {
		return err
	}
	if build.Tag == "" || build.Archive == "" {
		return errors.New("build-image: --tag and --output are required")
	}
	return cluster.BuildImage(ctx, build)
}
