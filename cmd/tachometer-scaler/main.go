// Command scaler raises targets before the load comes, verifies what it raised, and gives back what was there.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // schedules name zones, and the image has none

	"k8s.io/component-base/logs"
)

func main() { os.Exit(runProgram(os.Args[1:], os.Stdout, os.Stderr)) }

// The exit codes. They are part of the interface: jobs and scripts branch on them.
const (
	exitDone       = 0 // what was asked for is done
	exitFailed     = 1 // it failed, and nothing is left of it: never begun, or rolled back
	exitUsage      = 2 // the command line or the configuration is wrong; nothing was done
	exitUnfinished = 3 // it failed or was interrupted, and what it raised is NOT rolled back
)

// exitError is an error with the exit code that it ends the program with.
type exitError struct {
	error
	code int
}

func (c exitError) Unwrap() error { return c.error }

// newUsageError marks an error as a wrong use of the program.
func newUsageError(format string, args ...any) error {
	return exitError{fmt.Errorf(format, args...), exitUsage}
}

// runProgram is main with a return, so that what is deferred happens before the exit.
func runProgram(args []string, out, errs io.Writer) int {
	defer logs.FlushLogs()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	g := &globalFlags{out: out}
	cmd := newRootCommand(g)
	cmd.SetArgs(args)
	cmd.SetErr(errs)
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	fmt.Fprintf(errs, "scaler: %v\n", err)
	if c := (exitError{}); errors.As(err, &c) {
		return c.code
	}
	if !g.commandStarted {
		return exitUsage // an unknown command, a flag that is wrong or missing
	}
	return exitFailed
}
