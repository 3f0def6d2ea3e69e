// Command dashboard shows the dashboard of a made-up cluster, for work on the page: `go -C test/dashboard run .`
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"time"

	"github.com/tachometer-metrics/tachometer/pkg/plugin/dashboard"
	"github.com/tachometer-metrics/tachometer/pkg/plugin/reading"
	"github.com/tachometer-metrics/tachometer/test/dashboard/world"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := previewDashboard(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// previewDashboard serves a world that has run for twenty minutes, and goes on in real time.
func previewDashboard(ctx context.Context) error {
	const past = 20 * time.Minute
	w := world.New(time.Now().Add(-past).Truncate(time.Second))
	now := func() time.Time {
		w.Advance(time.Since(w.Now()))
		return w.Now()
	}
	server := dashboard.New(dashboard.Options{
		Client: w.Client(), Metrics: reading.MetricReader{Reader: w}, Context: "example", Now: now, Decisions: dashboard.NewRecordedDecisions(w, now), Calendars: w,
	})
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("http://%s%s\n", listener.Addr(), server.Path())
	return server.Run(ctx, listener)
}
