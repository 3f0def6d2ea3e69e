// Exit codes, and errors that carry one.

package command

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

// The exit codes. They are part of the interface: jobs and scripts branch on them.
const (
	ExitDone       = 0 // success
	ExitFailed     = 1 // failed, and no change is left: rejected, rolled back, or faults in the configuration file
	ExitUsage      = 2 // wrong command line, or a file of it that is faulty or cannot be read; the cluster is unchanged
	ExitUnfinished = 3 // failed or interrupted, and NOT rolled back; or only some of several holds changed; or a message is lost
)

// ExitCodesHelp ends the help of every command that changes a cluster.
const ExitCodesHelp = `Exit codes:
  0  success
  1  failed, and no change is left: rejected, or rolled back
  2  wrong command line or verification file; the cluster is unchanged
  3  failed or interrupted, and NOT rolled back; only some of several holds changed; or no receiver took a message of --notify`

// ReadExitCodesHelp ends the help of every command that only reads.
const ReadExitCodesHelp = `Exit codes:
  0  success
  1  failed, or faults in the configuration file
  2  wrong command line, or a file that cannot be read`

// exitError is an error with an exit code.
type exitError struct {
	error
	code int
}

func (e exitError) Unwrap() error { return e.error }

// WithExitCode returns an error with an exit code.
func WithExitCode(err error, code int) error { return exitError{err, code} }

// UsageErrorf returns an error with ExitUsage.
func UsageErrorf(format string, args ...any) error {
	return exitError{fmt.Errorf(format, args...), ExitUsage}
}

// UnknownCommandError returns the error of an argument of a command that names none of its own: with the command that was meant, if one is alike. path is
// the command as a person types it.
func UnknownCommandError(cmd *cobra.Command, path, name string) error {
	cmd.SuggestionsMinimumDistance = 2
	if alike := cmd.SuggestionsFor(name); len(alike) > 0 {
		return UsageErrorf("unknown command %q; did you mean %s %s?", name, path, alike[0])
	}
	return UsageErrorf("unknown command %q; see %s --help", name, path)
}

// ExitCode returns the exit code that an error carries; known is false for any other error.
func ExitCode(err error) (code int, known bool) {
	if e := (exitError{}); errors.As(err, &e) {
		return e.code, true
	}
	return ExitFailed, false
}

// joinWorkloadErrors joins the errors of a command about its workloads. If a workload was changed and another one failed, a change is left.
func joinWorkloadErrors(failed []error, changed bool) error {
	err := errors.Join(failed...)
	if err != nil && changed {
		return WithExitCode(err, ExitUnfinished)
	}
	return err
}
