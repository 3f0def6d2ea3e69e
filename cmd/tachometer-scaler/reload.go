// The change of the configuration of a running controller.

package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/filewatch"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/command"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/config"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/event/kafka"
	"github.com/tachometer-metrics/tachometer/pkg/scaler/notify"
)

// componentReloader restarts the components at each change of the configuration.
type componentReloader struct {
	*runCommand
	*command.Connection
	lead   *leadership
	health *healthServer
	queue  *notify.MessageQueue // of the process: messages wait across changes of the configuration
}

// runConfigReloads watches the configuration, and restarts the components for each valid one.
func (s *componentReloader) runConfigReloads(ctx context.Context, cfg *config.Config) error {
	changes := make(chan *config.Config)
	group, ctx := errgroup.WithContext(ctx)
	data, err := filewatch.Read(s.runCommand.configFile)
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	group.Go(func() error {
		return filewatch.Watch(ctx, s.runCommand.configFile, data, func(data []byte, err error) {
			if next := s.loadChangedConfig(ctx, data, err); next != nil {
				select {
				case changes <- next:
				case <-ctx.Done():
				}
			}
		})
	})
	group.Go(func() error {
		r := configRunner{prepare: openPortsOfConfig, run: s.runConfiguredComponents, record: s.health.recordConfigLoad}
		return r.runEachConfig(ctx, cfg, changes)
	})
	return group.Wait()
}

// loadChangedConfig loads a changed configuration, or returns nil for an invalid file: the previous configuration stays.
func (s *componentReloader) loadChangedConfig(ctx context.Context, data []byte, err error) *config.Config {
	var next *config.Config
	if err == nil {
		next, err = config.Load(data)
	}
	if err != nil {
		s.health.recordConfigLoad(err, time.Now())
		klog.FromContext(ctx).Error(err, "Configuration rejected, keeping the previous one", "file", s.runCommand.configFile)
		return nil
	}
	return next
}

// preparedConfig is a configuration with open ports: its components can start.
type preparedConfig struct {
	*config.Config
	events *eventListener // nil: no events over HTTP
}

// openPortsOfConfig opens the ports that the components of a configuration need. It shares the ports of the running configuration.
func openPortsOfConfig(ctx context.Context, next *config.Config, running *preparedConfig) (*preparedConfig, error) {
	p := &preparedConfig{Config: next}
	if cfg := next.Events.Kafka; cfg != nil {
		if err := kafka.New(*cfg, nil, kafka.Options{}).Validate(); err != nil {
			return nil, err
		}
	}
	if next.Events.HTTP == nil || len(next.Events.Rules) == 0 {
		return p, nil
	}
	if running != nil && running.events != nil && running.events.address == next.Events.HTTP.Address {
		p.events = running.events
		return p, nil
	}
	var err error
	p.events, err = openEventListener(ctx, next.Events.HTTP.Address)
	return p, err
}

// configRetryInterval is the time between two attempts to start a configuration that could not start.
const configRetryInterval = 10 * time.Second

// configRunner runs the components of one configuration after the other. The next configuration is prepared before the running one stops: one
// that cannot start changes nothing, and is tried again.
type configRunner struct {
	prepare func(ctx context.Context, next *config.Config, running *preparedConfig) (*preparedConfig, error)
	run     func(ctx context.Context, cfg *preparedConfig) error
	record  func(err error, now time.Time) // a configuration was applied, or with an error not
}

// runEachConfig runs the configuration, and then each configuration from changes. It returns the error of the first one if that cannot
// start, and of components that end by themselves.
func (r *configRunner) runEachConfig(ctx context.Context, first *config.Config, changes <-chan *config.Config) error {
	running, err := r.prepare(ctx, first, nil)
	if err != nil {
		return err
	}
	defer func() { running.events.closeEventListener() }()
	r.record(nil, time.Now())
	for {
		componentsContext, stop := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func(cfg *preparedConfig) { done <- r.run(componentsContext, cfg) }(running)
		next, err := r.awaitStartableConfig(ctx, running, changes, done)
		stop()
		if next == nil {
			return err
		}
		if err := <-done; err != nil {
			klog.FromContext(ctx).Error(err, "Previous components stopped with errors")
		}
		if next.events != running.events {
			running.events.closeEventListener()
		}
		next.InheritFrom(running.Config)
		running = next
		r.record(nil, time.Now())
		klog.FromContext(ctx).Info("Configuration applied")
	}
}

// awaitStartableConfig waits for a configuration that can start, while the running one goes on. It returns nil after the running components
// ended, with their error.
func (r *configRunner) awaitStartableConfig(ctx context.Context, running *preparedConfig, changes <-chan *config.Config, done <-chan error) (*preparedConfig, error) {
	var next *config.Config
	var retry <-chan time.Time
	for {
		select {
		case err := <-done:
			return nil, err
		case next = <-changes:
		case <-retry:
		}
		prepared, err := r.prepare(ctx, next, running)
		if err == nil {
			return prepared, nil
		}
		r.record(err, time.Now())
		klog.FromContext(ctx).Error(err, "Configuration cannot start, keeping the previous one", "retryIn", configRetryInterval)
		retry = time.After(configRetryInterval)
	}
}
