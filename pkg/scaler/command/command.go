// Package command builds the commands on holds (set, release, pause, approve, status, verify) with their flags, completion and output,
// for tachometer-scaler and the kubectl plugin.
package command

import (
	"io"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
)

// Program is the program around the commands, and the value of --output.
type Program struct {
	// Name is the command line before a subcommand, such as tachometer-scaler. Help and errors name it.
	Name      string
	Out, Errs io.Writer
	// LoadConfig returns the configuration of the cluster, and the namespace of commands without one.
	LoadConfig func() (config *rest.Config, namespace string, err error)

	output string
}

// AddOutputFlag adds --output.
func (p *Program) AddOutputFlag(flags *pflag.FlagSet) {
	flags.StringVarP(&p.output, "output", "o", outputAuto,
		"output `format`: text, wide, json, yaml, name or jsonpath=TEMPLATE; auto: text, and in a pipe or a file progress as JSON lines with timestamps")
}

// NewHoldCommands returns the commands that show and change holds.
func (p *Program) NewHoldCommands() []*cobra.Command {
	return p.discardCommandLogs(newSetCommand(p), newReleaseCommand(p), newStatusCommand(p),
		newPauseCommand(p), newResumeCommand(p), newApproveCommand(p))
}

// NewOtherCommands returns the commands verify and version.
func (p *Program) NewOtherCommands() []*cobra.Command {
	return p.discardCommandLogs(newVerifyCommand(p), newVersionCommand(p))
}

// discardCommandLogs discards the logs of packages, since a command prints its own progress.
func (p *Program) discardCommandLogs(all ...*cobra.Command) []*cobra.Command {
	for _, cmd := range all {
		run := cmd.RunE
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			cmd.SetContext(klog.NewContext(cmd.Context(), logr.Discard()))
			return run(cmd, args)
		}
	}
	return all
}

// formatCommandExample returns lines of examples, each with the program's name in front.
func (p *Program) formatCommandExample(lines ...string) string {
	text := ""
	for i, line := range lines {
		if i > 0 {
			text += "\n"
		}
		text += "  " + p.Name + " " + line
	}
	return text
}

// RejectArgs rejects all arguments.
func RejectArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return UsageErrorf("unexpected argument %q", args[0])
	}
	return nil
}
