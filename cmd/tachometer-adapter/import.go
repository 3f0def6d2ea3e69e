// The import command: prometheus-adapter's configuration in the native format.

package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/promadapter"
	"github.com/tachometer-metrics/tachometer/pkg/filewatch"
)

// legacyFormat is the one format that import reads.
const legacyFormat = "prometheus-adapter"

// newImportCommand returns the command that translates another adapter's configuration.
func newImportCommand(out io.Writer) *cobra.Command {
	var from, url string
	cmd := &cobra.Command{
		Use:   "import --from prometheus-adapter [--url URL] FILE",
		Short: "translate prometheus-adapter's configuration into a native one, with a comment for each rule left out",
		Args:  wrapArgsErrorAsUsage(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			if from != legacyFormat {
				return usageError{fmt.Errorf("--from is %q; the one known format is %s", from, legacyFormat)}
			}
			return importConfigOfPrometheusAdapter(out, args[0], url)
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "`format` of FILE: "+legacyFormat)
	cmd.Flags().StringVar(&url, "url", "", "base `url` of the server, as in --prometheus-url; empty: a placeholder")
	plain := &cobra.Command{} // the parent's functions show the parent's flags
	cmd.SetUsageFunc(plain.UsageFunc())
	cmd.SetHelpFunc(plain.HelpFunc())
	return cmd
}

func importConfigOfPrometheusAdapter(out io.Writer, file, url string) error {
	data, err := filewatch.Read(file)
	if err != nil {
		return usageError{err}
	}
	legacy, err := promadapter.Load(data)
	if err != nil {
		return fmt.Errorf("%s:\n%w", file, err)
	}
	native, _, failure := promadapter.Import(legacy, url)
	if _, err := out.Write(native); err != nil {
		return err
	}
	if failure != nil {
		return fmt.Errorf("translate %s: %w; the comments in the output have the reasons", file, failure)
	}
	return nil
}
