// Command load sends HTTP requests at a known rate and prints the counts of requests and responses once a second.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/tachometer-metrics/tachometer/test/harness/load"
)

func main() {
	if err := runLoad(os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "load: %v\n", err)
		os.Exit(1)
	}
}

type settings struct {
	steps    []load.Step
	targets  []string
	duration time.Duration
	opts     load.Options
}

func runLoad(args []string) error {
	s, err := parseSettings(args)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if s.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.duration)
		defer cancel()
	}
	s.opts.Targets = func() []string { return s.targets }
	s.opts.Rate = load.StepRate(time.Now(), s.steps)
	generator := load.New(s.opts)
	done := make(chan struct{})
	go func() {
		defer close(done)
		generator.Run(ctx)
	}()
	reportProgress(generator, done)
	return printSummary(generator.Result())
}

func parseSettings(args []string) (settings, error) {
	var s settings
	flags := flag.NewFlagSet("load", flag.ExitOnError)
	rate := flags.String("rate", "10", "requests per second, or steps RATE:DURATION,… such as 40:30s,400:60s,40:30s")
	url := flags.String("url", "", "the URL to send to")
	targets := flags.String("targets", "", "several URLs, separated by commas, each in its turn")
	flags.DurationVar(&s.duration, "duration", 0, "how long to send; 0: until the steps end, or an interrupt")
	flags.DurationVar(&s.opts.Timeout, "timeout", 10*time.Second, "bound of one request")
	flags.IntVar(&s.opts.MaxInFlight, "max-in-flight", 512, "most requests waiting for their answer")
	flags.BoolVar(&s.opts.NewConnections, "new-connections", false, "one connection per request: spreads over the pods behind a Service")
	if err := flags.Parse(args); err != nil {
		return settings{}, err
	}
	for _, u := range append([]string{*url}, strings.Split(*targets, ",")...) {
		if u = strings.TrimSpace(u); u != "" {
			s.targets = append(s.targets, u)
		}
	}
	if len(s.targets) == 0 || flags.NArg() > 0 {
		return settings{}, errors.New("give --url or --targets, and nothing beside flags")
	}
	var err error
	if s.steps, err = load.ParseSteps(*rate); err != nil {
		return settings{}, fmt.Errorf("read --rate: %w", err)
	}
	if length, ends := load.Length(s.steps); ends && s.duration == 0 {
		s.duration = length
	}
	return s, nil
}

// reportProgress prints a line every second until done is closed.
func reportProgress(g *load.Generator, done <-chan struct{}) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	before, at := g.Result().Total(), time.Now()
	for {
		select {
		case <-done:
			return
		case now := <-ticker.C:
			total := g.Result().Total()
			span := now.Sub(at).Seconds()
			fmt.Printf("%s  sent %7.1f/s  ok %7.1f/s  failed %7.1f/s  waiting %d\n", now.Format(time.TimeOnly),
				float64(total.Sent-before.Sent)/span, float64(total.OK-before.OK)/span,
				float64(total.Failed-before.Failed)/span, total.Sent-total.OK-total.Failed)
			before, at = total, now
		}
	}
}

func printSummary(r load.Result) error {
	for _, url := range slices.Sorted(maps.Keys(r.URLs)) {
		c := r.URLs[url]
		fmt.Printf("%s  sent %d  ok %d  failed %d\n", url, c.Sent, c.OK, c.Failed)
	}
	total := r.Total()
	fmt.Printf("total  sent %d  ok %d  failed %d  unsent %d\n", total.Sent, total.OK, total.Failed, r.Unsent)
	for _, cause := range slices.Sorted(maps.Keys(total.Causes)) {
		fmt.Printf("  %6d  %s\n", total.Causes[cause], cause)
	}
	if total.Failed > 0 || r.Unsent > 0 {
		return fmt.Errorf("%d requests failed, %d were not sent", total.Failed, r.Unsent)
	}
	return nil
}
