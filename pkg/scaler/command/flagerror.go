// Errors of flags and of the command completion, in the program's own words.

package command

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tachometer-metrics/tachometer/pkg/strict"
)

// DescribeFlagError returns the error of a flag of a command: an unknown one with the flag that was meant, or a wrong value with the form that it must
// have.
func DescribeFlagError(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	var cause *strconv.NumError
	switch {
	case errors.As(err, &unknown):
		return describeUnknownFlag(cmd, unknown)
	case !errors.As(err, &invalid):
		return err
	case !errors.As(err, &cause):
		return fmt.Errorf("--%s: %w", invalid.GetFlag().Name, invalid.Unwrap())
	}
	form := "a whole number such as 20"
	switch {
	case errors.Is(cause, strconv.ErrRange) && invalid.GetFlag().Value.Type() == "uint16":
		form = "a whole number from 0 to 65535"
	case errors.Is(cause, strconv.ErrRange):
		form = "a number closer to 0"
	case cause.Func == "ParseFloat":
		form = "a number such as 0.99"
	case cause.Func == "ParseBool":
		form = "true or false"
	}
	return fmt.Errorf("--%s must be %s, not %s", invalid.GetFlag().Name, form, strict.Quote(invalid.GetValue()))
}

// describeUnknownFlag adds the flag that was meant, or else the command with all flags.
func describeUnknownFlag(cmd *cobra.Command, unknown *pflag.NotExistError) error {
	if near := findNearestFlag(cmd.Flags(), unknown.GetSpecifiedName()); near != "" && unknown.GetSpecifiedShortnames() == "" {
		return fmt.Errorf("%w; did you mean --%s?", unknown, near)
	}
	return fmt.Errorf("%w; see %s --help", unknown, cmd.CommandPath())
}

// findNearestFlag returns the flag with the fewest edits, one for three letters at most, or the only flag that begins so; empty: there is none.
func findNearestFlag(flags *pflag.FlagSet, name string) string {
	best, fewest := "", len(name)/3+1
	var longer []string
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		if strings.HasPrefix(f.Name, name) {
			longer = append(longer, f.Name)
		}
		if n := strict.EditDistance(name, f.Name); n < fewest {
			best, fewest = f.Name, n
		}
	})
	if best == "" && len(longer) == 1 {
		return longer[0]
	}
	return best
}

// RejectUnknownShells makes the command completion fail for a shell that it has no script for. Cobra would print its help, which a shell then reads as the script.
func RejectUnknownShells(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	completion, _, err := root.Find([]string{"completion"})
	if err != nil {
		panic(err) // the root has no commands: a bug
	}
	var shells []string
	for _, shell := range completion.Commands() {
		shells = append(shells, shell.Name())
	}
	completion.Args = func(_ *cobra.Command, args []string) error {
		if len(args) > 0 {
			return UsageErrorf("no completion for %q; shells: %s", args[0], strings.Join(shells, ", "))
		}
		return nil
	}
	completion.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
}
