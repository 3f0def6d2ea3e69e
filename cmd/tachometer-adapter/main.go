// Command adapter serves the custom and external metrics APIs of Kubernetes from the /metrics pages of Go services.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/component-base/logs"
)

func main() { os.Exit(executeCommand()) }

// executeCommand is main with a return, so that what is deferred happens before the exit.
func executeCommand() int {
	defer logs.FlushLogs()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := newAdapterCommand(os.Stdout).ExecuteContext(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "adapter: %v\n", err)
		return 1
	}
	return 0
}
