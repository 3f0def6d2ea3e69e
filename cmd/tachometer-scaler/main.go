// Command tachometer-scaler raises workloads before the load comes, verifies their new pods, and restores the original numbers.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	_ "time/tzdata" // schedules name zones, and the image has no zone files

	"k8s.io/component-base/logs"

	"github.com/tachometer-metrics/tachometer/pkg/scaler/command"
)

func main() { os.Exit(runScalerProgram(os.Args[1:], os.Stdout, os.Stderr)) }

// runScalerProgram runs the program and returns its exit code, so that its deferred calls run before the exit.
func runScalerProgram(args []string, out, errs io.Writer) int {
	defer logs.FlushLogs()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	g := newScalerProgramFlags(out, errs)
	cmd := newScalerRootCommand(g)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return command.ExitDone
	}
	fmt.Fprintf(errs, "tachometer-scaler: %s\n", cleanScalerProgramError(err))
	code, known := command.ExitCode(err)
	if !known && !g.commandStarted {
		return command.ExitUsage // an unknown command, or a wrong or missing flag
	}
	return code
}

// cleanScalerProgramError keeps the lines of an error, one for each fault, and cleans them: parts of it are texts of others.
func cleanScalerProgramError(err error) string {
	lines := strings.Split(err.Error(), "\n")
	for i, line := range lines {
		lines[i] = command.CleanText(line)
	}
	return strings.Join(lines, "\n")
}
