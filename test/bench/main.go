// Command bench measures this repository's programs beside their peers, on this machine, in one run. It writes the results into
// REPORT.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tachometer-metrics/tachometer/test/harness/host"

	"github.com/tachometer-metrics/tachometer/test/harness/stack"
)

func main() {
	if err := runBench(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

// settings are the command-line flags.
type settings struct {
	role string
	task task
	cpus processors

	parts      string
	sizes      string
	peerLimit  int
	interval   time.Duration
	steady     time.Duration
	prometheus string
	adapter    string
	profiles   string

	report   string
	load     float64
	patience time.Duration
}

func (s *settings) benchFlags() *flag.FlagSet {
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.StringVar(&s.parts, "parts", "scraping,answering,lane,evaluating", "what to measure, a `list`")
	fs.StringVar(&s.sizes, "sizes", "3000,10000", "numbers of targets to scrape, a `list`; these take 10 minutes")
	fs.IntVar(&s.peerLimit, "peer-limit", 3000, "most targets that the peers are given; with 10000, Prometheus needs two processors")
	fs.DurationVar(&s.interval, "interval", 5*time.Second, "time between two scrapes of a target")
	fs.DurationVar(&s.steady, "steady", 30*time.Second, "how long each is measured")
	fs.StringVar(&s.prometheus, "prometheus", "prometheus", "the Prometheus to compare with, a `program`; Debian's is 2.42")
	fs.StringVar(&s.adapter, "adapter", "", "the adapter, a `program`; empty: built from this repository, as make build does")
	fs.StringVar(&s.profiles, "profiles", "", "`folder` to put CPU profiles in, taken after each measurement")
	fs.StringVar(&s.report, "report", "", "`file` whose sections are written anew; empty: figures are only shown")
	fs.Float64Var(&s.load, "load", 1, "greatest load average at which measuring begins")
	fs.DurationVar(&s.patience, "patience", 10*time.Minute, "how long to wait for that load")

	fs.StringVar(&s.role, "role", "", "internal: be one of the processes of a benchmark")
	fs.StringVar(&s.task.mode, "mode", wholePages, "internal: how targets answer")
	fs.StringVar(&s.task.port, "port", "", "internal: port of the targets")
	fs.IntVar(&s.task.targets, "targets", 0, "internal: number of targets")
	return fs
}

func runBench(args []string, out io.Writer) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var s settings
	if err := s.benchFlags().Parse(args); err != nil {
		return err
	}
	if s.role == roleFamilies {
		return serveFamilies(ctx, s.task.targets)
	}
	if s.role != "" {
		s.task.interval = s.interval
		return s.task.playBenchRole(ctx, s.role)
	}
	dir, err := os.MkdirTemp("", "tachometer-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := s.prepareBenchRun(ctx, dir); err != nil {
		return err
	}
	return s.measureBenchParts(ctx, dir, out)
}

// prepareBenchRun does work such as builds before a measurement, which it would disturb.
func (s *settings) prepareBenchRun(ctx context.Context, dir string) (err error) {
	if s.profiles != "" {
		if s.profiles, err = filepath.Abs(s.profiles); err != nil {
			return err
		}
		if err := os.MkdirAll(s.profiles, 0o755); err != nil {
			return err
		}
	}
	readsAdapter := func(part string) bool { return part == "answering" || part == "lane" || part == "memory" }
	if s.adapter == "" && slices.ContainsFunc(strings.Split(s.parts, ","), readsAdapter) {
		s.adapter = filepath.Join(dir, "adapter")
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", s.adapter, "./cmd/tachometer-adapter")
		if build.Dir, err = stack.Root(ctx); err != nil {
			return err
		}
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build the adapter: %w: %s", err, out)
		}
	}
	if s.cpus, err = divideProcessors(); err != nil {
		return err
	}
	return s.cpus.leaveMeasuredProcessor()
}

// measureBenchParts runs the selected parts, each when the machine is quiet.
func (s *settings) measureBenchParts(ctx context.Context, dir string, out io.Writer) error {
	parts := map[string]func(context.Context, string, float64, io.Writer) (string, error){
		"scraping": s.reportScraping, "answering": s.reportAnswering, "lane": s.reportLane, "memory": s.reportMemory, "evaluating": s.reportEvaluating,
	}
	for _, name := range strings.Split(s.parts, ",") {
		part := parts[name]
		if part == nil {
			return fmt.Errorf("no part %q", name)
		}
		load, err := host.Quiet(ctx, s.load, s.patience)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s, load average %.2f\n", name, load)
		text, err := part(ctx, dir, load, out)
		if err != nil {
			return err
		}
		fmt.Fprint(out, "\n", text)
		if s.report == "" {
			continue
		}
		if err := replaceBenchSection(s.report, name, text); err != nil {
			return err
		}
	}
	return nil
}

func (s *settings) reportScraping(ctx context.Context, dir string, load float64, out io.Writer) (string, error) {
	version, err := benchPrometheusVersion(ctx, s.prometheus)
	if err != nil {
		return "", err
	}
	part := &scraping{
		cpus: s.cpus, dir: dir, prometheus: s.prometheus, peerLimit: s.peerLimit, interval: s.interval, steady: s.steady,
		profiles: s.profiles, log: out, client: newBenchHTTPClient(),
	}
	for _, size := range strings.Split(s.sizes, ",") {
		n, err := strconv.Atoi(size)
		if err != nil || n <= 0 {
			return "", fmt.Errorf("-sizes: %q is no number of targets", size)
		}
		part.sizes = append(part.sizes, n)
	}
	slices.Sort(part.sizes)
	head := describeBenchMachine(time.Now(), load, version)
	results, err := part.measureScraping(ctx)
	if err != nil {
		return "", err
	}
	return head + "\n\n" + part.formatScraping(results), nil
}

// newBenchHTTPClient returns a client without kept-alive connections, for control requests.
func newBenchHTTPClient() *http.Client {
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
}

// freeBenchAddress returns an unused loopback address.
func freeBenchAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
