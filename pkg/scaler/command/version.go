// The command version.

package command

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tachometer-metrics/tachometer/pkg/version"
)

func newVersionCommand(p *Program) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "print the version", Args: RejectArgs,
		RunE: func(*cobra.Command, []string) error {
			format, err := p.OutputFormat(outputAuto, outputText, outputJSON, outputYAML)
			if err != nil {
				return err
			}
			if format == outputJSON || format == outputYAML {
				return WriteObject(p.Out, format, map[string]string{"version": version.String()})
			}
			fmt.Fprintln(p.Out, version.String())
			return nil
		},
	}
}
