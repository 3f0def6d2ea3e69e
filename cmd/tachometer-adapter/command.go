// The command line: its arguments, its errors of use, and the choice between version, check and run.

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	cliflag "k8s.io/component-base/cli/flag"
	_ "k8s.io/component-base/metrics/prometheus/restclient" // registers rest_client_requests_total
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/logging"
	"github.com/tachometer-metrics/tachometer/pkg/version"
)

const adapterDescription = `tachometer-adapter serves custom.metrics.k8s.io and external.metrics.k8s.io to the HorizontalPodAutoscaler. Rules
compute the metrics from the /metrics pages of pods, or by queries to a Prometheus-compatible server.

tachometer-adapter import --help: translate a configuration of prometheus-adapter into native rules.

Exit codes: 0 done; 1 failed, or faults in the configuration; 2 wrong use.`

// newAdapterCommandLine returns the command line of the adapter, which prints to out.
func newAdapterCommandLine(out io.Writer) *cobra.Command {
	opts := newDefaultOptions()
	cmd := &cobra.Command{
		Use:           "tachometer-adapter",
		Long:          adapterDescription,
		Args:          wrapArgsErrorAsUsage(validateProgramArgs),
		SilenceUsage:  true, // a fault is easier to see without two screens of flags below it
		SilenceErrors: true, // main prints it
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runAdapterCommandLine(cmd.Context(), opts, out)
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	groups := opts.newFlagSets()
	for _, name := range groups.Order {
		cmd.Flags().AddFlagSet(groups.FlagSets[name])
	}
	cmd.SetOut(out)
	cmd.AddCommand(newImportCommand(out))
	cmd.CompletionOptions.DisableDefaultCmd = true
	cliflag.SetUsageAndHelpFunc(cmd, *groups, detectTerminalWidth(out))
	return cmd
}

// usageError marks a wrong use of the program; its exit code is 2.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// wrapArgsErrorAsUsage turns the errors of an argument check into usage errors.
func wrapArgsErrorAsUsage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{err}
		}
		return nil
	}
}

// validateProgramArgs permits one argument, the program's name or prometheus-adapter's: that adapter's chart passes /adapter.
func validateProgramArgs(cmd *cobra.Command, args []string) error {
	for _, arg := range args {
		if name := path.Base(arg); name != cmd.Name() && name != "adapter" {
			return fmt.Errorf("unexpected argument %q; see %s --help", arg, cmd.CommandPath())
		}
	}
	return nil
}

// detectTerminalWidth returns the columns of a terminal; 0, which does not wrap lines, if out is no terminal.
func detectTerminalWidth(out io.Writer) int {
	f, ok := out.(*os.File)
	if !ok {
		return 0
	}
	columns, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return columns
}

// printConfigFaults prints the warnings about the configuration. The error lists its faults, one a line.
func printConfigFaults(opts *commandLineOptions, out io.Writer) error {
	c, err := readConfigOrDefaults(opts)
	if err != nil {
		return err
	}
	if unused := opts.prometheus.describeUnusedAuth(); unused != "" {
		fmt.Fprintf(out, "%s: warning: %s\n", opts.configFile, unused)
	}
	if c.legacy != nil {
		report := c.legacy.CheckRules()
		for _, w := range report.Warnings {
			fmt.Fprintf(out, "%s: warning: %s\n", opts.configFile, w)
		}
		for _, n := range report.Notes {
			fmt.Fprintf(out, "%s: note: %s\n", opts.configFile, n)
		}
		if err := report.Faults.Err(); err != nil {
			return fmt.Errorf("%s:\n%w", opts.configFile, err)
		}
	}
	fmt.Fprintf(out, "%s: no faults\n", opts.configFile)
	return nil
}

// runAdapterCommandLine prints the version, checks the configuration, or runs the adapter, as the flags say.
func runAdapterCommandLine(ctx context.Context, opts *commandLineOptions, out io.Writer) error {
	if opts.version {
		fmt.Fprintln(out, version.String())
		return nil
	}
	if err := opts.validateAllFlags(); err != nil {
		return usageError{err}
	}
	if opts.checkConfig {
		return printConfigFaults(opts, out) //nolint:contextcheck // a rule's trial evaluates in memory
	}
	if err := logging.Apply(opts.logging); err != nil {
		return usageError{err}
	}
	klog.FromContext(ctx).Info("Adapter starts", "version", version.String())
	if err := runAdapter(ctx, opts); err != nil {
		return err
	}
	klog.FromContext(ctx).Info("Adapter ended")
	return nil
}
