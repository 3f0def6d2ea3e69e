// The life of the adapter: the start, the supervision and the order of stopping of its components.

package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"k8s.io/klog/v2"
)

// runAdapter runs an adapter until ctx ends or a component fails. Several may run in one process, each with its own options.
func runAdapter(ctx context.Context, opts *commandLineOptions) error {
	start, err := readConfigOrDefaults(opts) //nolint:contextcheck // a rule's trial evaluates in memory
	if err != nil {
		return err
	}
	if err := opts.server.SignCertificate(); err != nil {
		return err
	}
	cluster, err := loadClusterConfig(opts.kubeconfig)
	if err != nil {
		return err
	}
	opts.setClientLimits(cluster)
	if reason := opts.prometheus.describeUnusedAuth(); reason != "" {
		klog.FromContext(ctx).Info("Credentials are not used", "reason", reason)
	}
	a, err := newAdapter(opts, start, cluster, prometheus.NewRegistry()) //nolint:contextcheck // client-go calls the strip functions without a context
	if err != nil {
		return err
	}
	return a.Run(ctx)
}

// Run runs all components until ctx ends or one of them fails.
func (a *adapter) Run(ctx context.Context) error {
	// Measuring stops after serving: while the server drains, its values must not grow old.
	measuring, stopMeasuring := context.WithCancel(context.WithoutCancel(ctx))
	defer stopMeasuring()
	if a.recorder != nil {
		a.recorder.RestoreRecords(ctx) // before discovery observes autoscalers
	}
	parts, measuring := errgroup.WithContext(measuring)
	start := func(name string, run func(context.Context) error) {
		parts.Go(func() error { return superviseComponent(measuring, name, run) })
	}
	start("resource mapping", a.mapper.Run)
	start("discovery", func(ctx context.Context) error {
		// Without the mapping no scale target is found, and the first list of targets would be empty.
		a.mapper.Wait(ctx)
		return a.discovery.Run(ctx)
	})
	start("scrape", a.scraper.Run)
	start("store", a.store.Run)
	start("warm-up", a.warmup.Run)
	start("configuration", a.reloader.Run)
	start("remote backends", a.components.Run)
	start("prefetch", a.provider.RunPrefetch)
	if a.usage != nil {
		start("pods and nodes", a.usage.objects.Run)
		if a.usage.kubelets != nil {
			start("kubelets", a.usage.kubelets.Run)
		}
	}
	if a.recorder != nil {
		start("records", a.recorder.Run)
		if a.opts.recordDirectory != "" {
			start("saves of records", a.recorder.RunSaves)
		}
	}
	if a.events != nil {
		start("events about metrics", a.events.Run)
	}
	if a.keeper != nil {
		start("certificate", a.keeper.Run)
	}
	// A component that fails ends the program. It is a bug of this program; the other replica serves meanwhile.
	serving, stopServing := context.WithCancel(ctx)
	defer stopServing()
	defer context.AfterFunc(measuring, stopServing)()
	err := a.server.Run(serving)
	klog.FromContext(ctx).Info("Server stopped")
	stopMeasuring()
	return errors.Join(err, parts.Wait())
}

// superviseComponent runs a component, and returns an error if it ends before ctx.
func superviseComponent(ctx context.Context, name string, run func(context.Context) error) error {
	err := run(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("run %s: %w", name, err)
	case ctx.Err() == nil:
		return fmt.Errorf("run %s: ended by itself", name)
	}
	return nil
}
