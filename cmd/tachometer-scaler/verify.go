package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/verify"
	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// verifyFlags are the flags that say what pods are asked and what is good enough.
type verifyFlags struct {
	file                   string
	url                    string
	requests, concurrency  int
	timeout, p50, p95, p99 time.Duration
	success, slower        float64
	readiness              bool
	flagSet                *pflag.FlagSet
}

func (c *verifyFlags) addVerifyFlags(f *pflag.FlagSet) {
	f.StringVar(&c.file, "verify", "", "`file` that says what new pods are asked and what is good enough; or the flags below")
	f.BoolVar(&c.readiness, "verify-readiness", false, "ask the readiness address of each new pod, with the defaults of the flags below")
	f.StringVar(&c.url, "url", "", "`path`, or whole URL whose host is replaced by the pod's address, to ask besides the readiness address")
	f.IntVar(&c.requests, "requests", 0, "`number` of requests to each pod")
	f.IntVar(&c.concurrency, "concurrency", 0, "`number` of them at a time")
	f.DurationVar(&c.timeout, "timeout", 0, "`time` within which each must be answered")
	f.Float64Var(&c.success, "success", 0, "least `share` of them that must be answered well, from 0 to 1")
	f.DurationVar(&c.p50, "p50", 0, "greatest `time` that half of them may take")
	f.DurationVar(&c.p95, "p95", 0, "greatest `time` that 95 of 100 may take")
	f.DurationVar(&c.p99, "p99", 0, "greatest `time` that 99 of 100 may take")
	f.Float64Var(&c.slower, "slower", 0, "how many `times` the latencies of the old pods those of the new ones may be; 0: not compared")
	c.flagSet = f
}

// hasRequestFlags tells whether a flag about the requests was given.
func (c *verifyFlags) hasRequestFlags() bool {
	for _, name := range []string{"url", "requests", "concurrency", "timeout", "success", "p50", "p95", "p99", "slower", "verify-readiness"} {
		if c.flagSet.Changed(name) {
			return true
		}
	}
	return false
}

// buildVerifySpec is what the flags say; nil: nothing is to be verified.
func (c *verifyFlags) buildVerifySpec() (*verify.Spec, error) {
	switch {
	case c.file != "" && c.hasRequestFlags():
		return nil, newUsageError("--verify takes the whole of it from a file: leave out the other flags about requests")
	case c.file != "":
		return readVerifySpec(c.file)
	case !c.hasRequestFlags():
		return nil, nil //nolint:nilnil // nothing to verify is no error
	}
	spec := verify.Spec{
		URL: c.url, Requests: c.requests, Concurrency: c.concurrency, Timeout: toMetaDuration(c.timeout), Success: c.success,
		P50: toMetaDuration(c.p50), P95: toMetaDuration(c.p95), P99: toMetaDuration(c.p99), Slower: c.slower,
	}.WithDefaults()
	if err := spec.Validate(); err != nil {
		return nil, exitError{err, exitUsage}
	}
	return &spec, nil
}

func toMetaDuration(d time.Duration) metav1.Duration { return metav1.Duration{Duration: d} }

// readVerifySpec reads a file with the keys that a verification has in the controller's configuration.
func readVerifySpec(file string) (*verify.Spec, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, newUsageError("read --verify: %w", err)
	}
	d := strict.NewDecoder()
	node := d.ParseDocument(data)
	if node == nil {
		return nil, newUsageError("%s: %w", file, d.Faults.Err())
	}
	spec := verify.Decode(d, "", node)
	if err := d.Faults.Err(); err != nil {
		return nil, newUsageError("%s: %w", file, err)
	}
	return &spec, nil
}

func newVerifyCommand(g *globalFlags) *cobra.Command {
	c := &verifyFlags{}
	cmd := &cobra.Command{
		Use: "verify TARGET", Short: "ask every ready pod of a target, and judge the answers",
		Long: `Verify asks all pods of a target what scaler set --verify asks the new ones, and changes nothing.

  scaler verify deploy/shop --url /work --requests 50 --p99 200ms`,
		Args: requireOneArg("KIND/NAME"),
		RunE: func(cmd *cobra.Command, args []string) error { return g.runVerify(cmd.Context(), args[0], c) },
	}
	c.addVerifyFlags(cmd.Flags())
	return cmd
}

func (g *globalFlags) runVerify(ctx context.Context, text string, flags *verifyFlags) error {
	c, err := g.connectCluster()
	if err != nil {
		return err
	}
	target, err := c.parseWorkload(text)
	if err != nil {
		return err
	}
	out, err := g.newOutputPrinter(target)
	if err != nil {
		return err
	}
	spec, err := flags.buildVerifySpec()
	if err != nil {
		return err
	}
	if spec == nil {
		plain := verify.Spec{}.WithDefaults()
		spec = &plain
	}
	report, err := newCommandEngine(c, nil).VerifyPods(ctx, target, *spec)
	if err != nil {
		return err
	}
	f := holdProgress{outputPrinter: out}
	f.showReport(report)
	if !report.Passed {
		return fmt.Errorf("not as wanted: %s", report.SummaryLine())
	}
	out.printEvent("verified", "", report.SummaryLine(), nil)
	return nil
}
