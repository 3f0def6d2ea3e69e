// Command tachometer-scaler raises workloads before the load comes, verifies their new pods, and restores the original numbers.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // schedules name zones, and the image has no zone files

	"k8s.io/component-base/logs"
)

func main() { os.Exit(runScalerProgram(os.Args[1:], os.Stdout, os.Stderr)) }

// The exit codes. They are part of the interface: jobs and scripts branch on them.
const (
	exitDone       = 0 // success
	exitFailed     = 1 // failed, and no change is left: rejected, rolled back, or faults in the configuration file
	exitUsage      = 2 // wrong command line; the cluster is unchanged
	exitUnfinished = 3 // failed or interrupted, and NOT rolled back
)

// exitError is an error with an exit code.
type exitError struct {
	error
	code int
}

func (c exitError) Unwrap() error { return c.error }

// newScalerCommandUsageError returns an error with exit code exitUsage.
func newScalerCommandUsageError(format string, args ...any) error {
	return exitError{fmt.Errorf(format, args...), exitUsage}
}

// runScalerProgram runs the program and returns its exit code, so that its deferred calls run before the exit.
func runScalerProgram(args []string, out, errs io.Writer) int {
	defer logs.FlushLogs()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	g := &globalFlags{out: out}
	cmd := newScalerRootCommand(g)
	cmd.SetArgs(args)
	cmd.SetErr(errs)
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	fmt.Fprintf(errs, "tachometer-scaler: %v\n", err)
	if c := (exitError{}); errors.As(err, &c) {
		return c.code
	}
	if !g.commandStarted {
		return exitUsage // an unknown command, or a wrong or missing flag
	}
	return exitFailed
}
