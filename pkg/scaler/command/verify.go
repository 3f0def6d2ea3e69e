// The command verify, and the flags of a verification.

package command

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

// verifyFlags holds the flags of a verification: its requests and thresholds.
type verifyFlags struct {
	file                   string
	url                    string
	requests, concurrency  int
	timeout, p50, p95, p99 time.Duration
	success, slower        float64
	readiness              bool
	flagSet                *pflag.FlagSet
}

// addVerifyFlags adds the flags. A zero value means the default of the verification.
func (c *verifyFlags) addVerifyFlags(f *pflag.FlagSet) {
	f.StringVar(&c.file, "verify", "", "`file` with the verification, in place of --verify-readiness, --url and the limits of its requests")
	f.BoolVar(&c.readiness, "verify-readiness", false, "request only the readiness address of each new pod, unless --url adds another")
	f.StringVar(&c.url, "url", "", "`path`, or a URL whose host becomes the Host header, requested besides the readiness address")
	f.IntVar(&c.requests, "requests", 0, fmt.Sprintf("`number` of requests to each pod, by default %d", verify.DefaultRequests))
	f.IntVar(&c.concurrency, "concurrency", 0, fmt.Sprintf("`number` of concurrent requests, by default %d", verify.DefaultConcurrency))
	addDurationFlag(f, &c.timeout, "timeout", 0, fmt.Sprintf("`duration` in which each request must finish, by default %s", verify.DefaultTimeout))
	f.Float64Var(&c.success, "success", 0, fmt.Sprintf("least `share` of successful requests, up to 1, by default %v", verify.DefaultSuccess))
	addDurationFlag(f, &c.p50, "p50", 0, "greatest median `duration` of the requests; 0: not limited")
	addDurationFlag(f, &c.p95, "p95", 0, "greatest 95th percentile of the `duration` of the requests; 0: not limited")
	addDurationFlag(f, &c.p99, "p99", 0, "greatest 99th percentile of the `duration` of the requests; 0: not limited")
	f.Float64Var(&c.slower, "slower", 0, "greatest `ratio` of the new pods' latency to the old pods'; 0: not compared")
	c.flagSet = f
}

// hasRequestFlags reports whether a flag besides --verify is set.
func (c *verifyFlags) hasRequestFlags() bool {
	for _, name := range []string{"url", "requests", "concurrency", "timeout", "success", "p50", "p95", "p99", "slower", "verify-readiness"} {
		if c.flagSet.Changed(name) {
			return true
		}
	}
	return false
}

// buildVerifySpec returns the verification that the flags describe; nil: no verification.
func (c *verifyFlags) buildVerifySpec() (*verify.Spec, error) {
	switch {
	case c.file != "" && c.hasRequestFlags():
		return nil, UsageErrorf("--verify excludes the other flags of a verification; put them into the file")
	case c.file != "":
		return readVerifySpec(c.file)
	case !c.hasRequestFlags():
		return nil, nil //nolint:nilnil // a hold without verification is valid
	}
	if zero := c.findZeroFlag(); zero != "" {
		return nil, UsageErrorf("--%s must be above 0; leave it out for the default", zero)
	}
	spec := verify.Spec{
		URL: c.url, Requests: c.requests, Concurrency: c.concurrency, Timeout: toMetaDuration(c.timeout), Success: c.success,
		P50: toMetaDuration(c.p50), P95: toMetaDuration(c.p95), P99: toMetaDuration(c.p99), Slower: c.slower,
	}.WithDefaults()
	if err := spec.Validate(); err != nil {
		return nil, WithExitCode(err, ExitUsage)
	}
	return &spec, nil
}

// findZeroFlag returns a flag that was given as 0 and must not be: for the verification, 0 is the default. Empty: there is none.
func (c *verifyFlags) findZeroFlag() string {
	zeros := map[string]bool{"requests": c.requests == 0, "concurrency": c.concurrency == 0, "timeout": c.timeout == 0, "success": c.success == 0}
	for _, name := range []string{"requests", "concurrency", "timeout", "success"} {
		if zeros[name] && c.flagSet.Changed(name) {
			return name
		}
	}
	return ""
}

func toMetaDuration(d time.Duration) metav1.Duration { return metav1.Duration{Duration: d} }

// readVerifySpec reads a file with the keys of a verification in the controller's configuration.
func readVerifySpec(file string) (*verify.Spec, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, UsageErrorf("read --verify: %w", err)
	}
	d := strict.NewDecoder()
	node := d.ParseDocument(data)
	if node == nil {
		return nil, UsageErrorf("%s: %w", file, d.Faults.Err())
	}
	spec := verify.Decode(d, "", node)
	if err := d.Faults.Err(); err != nil {
		return nil, UsageErrorf("%s: %w", file, err)
	}
	return &spec, nil
}

func newVerifyCommand(p *Program) *cobra.Command {
	c := &verifyFlags{}
	cmd := &cobra.Command{
		Use: "verify " + workloadUse, Short: "send test requests to every ready pod of a workload",
		Long: `Verify sends the requests of set --verify to all ready pods of a workload, and compares the responses with the thresholds.
It only reads from the cluster.

` + workloadHelp + "\n\n" + ReadExitCodesHelp,
		Example: p.formatCommandExample("verify deploy/shop --url /work --requests 50 --p99 200ms"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.runVerifyCommand(cmd.Context(), args, c)
		},
		Args:              requireWorkloadArgs,
		ValidArgsFunction: p.completeWorkloads,
	}
	c.addVerifyFlags(cmd.Flags())
	return cmd
}

func (p *Program) runVerifyCommand(ctx context.Context, args []string, flags *verifyFlags) error {
	c, err := p.Connect()
	if err != nil {
		return err
	}
	workload, err := c.parseWorkloadArg(args)
	if err != nil {
		return err
	}
	out, err := p.newOutputPrinter(workload)
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
	report, err := c.NewEngine(c.Holds).VerifyPods(ctx, workload, *spec)
	if err != nil {
		return err
	}
	f := holdProgressPrinter{outputPrinter: out}
	f.showVerifyReport(report)
	if !report.Passed {
		return fmt.Errorf("verification failed: %s", report.SummaryLine())
	}
	out.printCommandEvent("passed", "", report.SummaryLine(), nil)
	return nil
}
