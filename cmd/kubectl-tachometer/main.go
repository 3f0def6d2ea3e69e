// Command kubectl-tachometer is a kubectl plugin: it binds the flags of its commands, calls the packages below pkg/plugin, and draws
// their results on the terminal. It explains the decisions of autoscalers, and finds the broken part between an autoscaler and its
// metrics.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/plaintext"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/command"
)

func main() {
	utilruntime.ErrorHandlers = quietErrorHandlers(utilruntime.ErrorHandlers)
	os.Exit(runKubectlTachometer(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// quietErrorHandlers returns handlers that log only under -v: client-go's discovery logs each error that it also returns.
func quietErrorHandlers(handlers []utilruntime.ErrorHandler) []utilruntime.ErrorHandler {
	quiet := make([]utilruntime.ErrorHandler, len(handlers))
	for i, handle := range handlers {
		quiet[i] = func(ctx context.Context, err error, message string, fields ...any) {
			if klog.V(1).Enabled() {
				handle(ctx, err, message, fields...)
			}
		}
	}
	return quiet
}

// The exit codes. Scripts branch on them.
const (
	exitFine   = 0
	exitBroken = 1 // doctor found something broken, lint a fault, or the command failed
	exitUsage  = 2 // wrong command line; the plugin read nothing
)

// usageError marks a wrong command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// errFound ends a command that printed findings already.
var errFound = errors.New("findings")

// runKubectlTachometer runs the plugin and returns its exit code.
func runKubectlTachometer(args []string, in io.Reader, out, errs io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	p := &pluginProgram{in: in, out: out, errs: errs}
	cmd := newKubectlRootCommand(p)
	cmd.SetArgs(args)
	cmd.SetOut(out)
	cmd.SetErr(errs)
	err := cmd.ExecuteContext(ctx)
	switch {
	case err == nil, ctx.Err() != nil && p.watching:
		return exitFine // a watch ends with an interrupt
	case errors.Is(err, errFound):
		return exitBroken
	}
	fmt.Fprintln(errs, "error: "+plaintext.CleanLines(err.Error()))
	if u := (usageError{}); errors.As(err, &u) || !p.started {
		return exitUsage // an unknown command, or a wrong flag
	}
	if code, known := command.ExitCode(err); known {
		return code // of hold
	}
	return exitBroken
}
