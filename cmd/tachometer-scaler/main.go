// Command tachometer-scaler raises workloads before the load comes, verifies their new pods, and restores the original numbers.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // schedules name zones, and the image has no zone files

	"k8s.io/component-base/logs"

	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/command"
)

func main() { os.Exit(executeScaler(os.Args[1:], os.Stdout, os.Stderr)) }

// executeScaler runs the program and returns its exit code, so that its deferred calls run before the exit.
func executeScaler(args []string, out, errs io.Writer) int {
	defer logs.FlushLogs()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	g := newScalerFlags(out, errs)
	cmd := newScalerRootCommand(g)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return command.ExitDone
	}
	fmt.Fprintf(errs, "tachometer-scaler: %s\n", plaintext.CleanLines(err.Error()))
	code, known := command.ExitCode(err)
	if !known && !g.commandStarted {
		return command.ExitUsage // an unknown command, or a wrong or missing flag
	}
	return code
}
