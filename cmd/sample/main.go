// Command sample runs the sample service: an autoscaled Go service with the least code for the whole contract.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/redis/go-redis/v9"

	"github.com/tachometer-metrics/tachometer/pkg/sample"
	"github.com/tachometer-metrics/tachometer/pkg/version"
)

func main() {
	if err := runSampleCommand(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "sample: %v\n", err)
		os.Exit(1)
	}
}

func runSampleCommand(args []string) error {
	flags := flag.NewFlagSet("sample", flag.ExitOnError)
	showVersion := flags.Bool("version", false, "print the version and exit")
	flags.Usage = func() {
		fmt.Fprintln(os.Stderr, "Usage: sample [--version]")
		sample.Usage(os.Stderr)
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *showVersion {
		fmt.Println(version.String())
		return nil
	}
	cfg, err := sample.LoadConfig(os.LookupEnv)
	if err != nil {
		return fmt.Errorf("read environment:\n%w", err)
	}
	log := sample.NewLogger(os.Stderr, cfg.LogLevel)
	redis.SetLogger(sample.RedisLogger{Log: log}) // go-redis has one logger for the process, so only main sets it

	// After the first signal, signals have their default effect again: the second ends the process at once.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	context.AfterFunc(ctx, stop)
	return sample.New(cfg, sample.Options{Log: log}).Run(ctx)
}
