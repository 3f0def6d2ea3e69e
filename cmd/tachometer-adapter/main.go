// Command tachometer-adapter serves the custom and external metrics APIs of Kubernetes: its command line, the start and reload of its
// components, and the wait for first values.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/component-base/logs"

	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
)

func main() { os.Exit(executeAdapterCommandLine()) }

// executeAdapterCommandLine runs the command line and returns the exit code. It is apart from main because os.Exit skips deferred calls.
func executeAdapterCommandLine() int {
	defer logs.FlushLogs()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := newAdapterCommandLine(os.Stdout).ExecuteContext(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "tachometer-adapter: %s\n", plaintext.CleanLines(err.Error()))
		return getExitCodeOfError(err)
	}
	return 0
}

// getExitCodeOfError returns the exit code of an error: 2 for a wrong use of the program, else 1.
func getExitCodeOfError(err error) int {
	if errors.As(err, new(usageError)) {
		return 2
	}
	return 1
}
