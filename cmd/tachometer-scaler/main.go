// Command tachometer-scaler raises workloads before the load comes: its command line, the election of a leader, the ports for events and
// health, and reloads of its configuration.
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

	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/component-base/logs"

	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/command"
)

func main() { runScalerProgram() }

// runScalerProgram runs the program as a process of its own, and ends the process.
func runScalerProgram() {
	utilruntime.ErrorHandlers = dropDiscoveryErrors(utilruntime.ErrorHandlers)
	os.Exit(executeProgram(os.Args[1:], os.Stdout, os.Stderr))
}

// dropDiscoveryErrors returns handlers that leave out the errors of client-go's cached discovery: it returns each of them too, and a command prints it once.
func dropDiscoveryErrors(handlers []utilruntime.ErrorHandler) []utilruntime.ErrorHandler {
	const discoveryPrefix = "Couldn't get " // the group list, or a resource list
	kept := make([]utilruntime.ErrorHandler, len(handlers))
	for i, handle := range handlers {
		kept[i] = func(ctx context.Context, err error, message string, fields ...any) {
			if !strings.HasPrefix(message, discoveryPrefix) {
				handle(ctx, err, message, fields...)
			}
		}
	}
	return kept
}

// executeProgram runs the program and returns its exit code, so that its deferred calls run before the exit.
func executeProgram(args []string, out, errs io.Writer) int {
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
