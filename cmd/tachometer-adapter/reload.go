package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/klog/v2"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
	"github.com/tachometer-metrics/tachometer/pkg/filewatch"
)

// configReloader follows the configuration file and puts good contents in force. What it says of itself may be asked
// concurrently.
type configReloader struct {
	opts    *adapterOptions
	initial *parsedConfig
	apply   func(next *parsedConfig) error

	metrics *metrics

	mu          sync.Mutex // guards what follows
	activeSince time.Time
	rejected    error
	rejectedAt  time.Time // when refused was read
}

// newConfigReloader returns a reloader of the file that the options may name; apply has been given start before.
func newConfigReloader(opts *adapterOptions, start *parsedConfig, apply func(*parsedConfig) error, r prometheus.Registerer) *configReloader {
	return &configReloader{opts: opts, initial: start, apply: apply, metrics: newMetrics(r)}
}

// Run follows the file until ctx ends.
func (r *configReloader) Run(ctx context.Context) error {
	now := time.Now()
	r.mu.Lock()
	r.activeSince = now
	r.mu.Unlock()
	r.metrics.recordApplied(now)
	if r.opts.configFile == "" {
		<-ctx.Done()
		return nil
	}
	return filewatch.Watch(ctx, r.opts.configFile, r.initial.data, func(data []byte, err error) {
		var next *parsedConfig
		if err == nil {
			next, err = r.opts.parseConfig(data)
		}
		if err == nil && (next.legacy == nil) != (r.initial.legacy == nil) {
			err = errors.New("the file has another format than when the adapter started; that needs a restart")
		}
		r.applyOrReject(ctx, next, err, time.Now())
	})
}

// applyOrReject puts next in force, or, when it is faulty, leaves in force what is.
func (r *configReloader) applyOrReject(ctx context.Context, next *parsedConfig, err error, now time.Time) {
	log := klog.FromContext(ctx).WithValues("file", r.opts.configFile)
	if err == nil {
		err = r.apply(next)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rejected, r.rejectedAt = err, now
	if err != nil {
		r.metrics.faults.Set(float64(len(errorLines(err))))
		log.Error(err, "Configuration refused, the last good one stays in force")
		return
	}
	r.activeSince = now
	r.metrics.recordApplied(now)
	log.Info("Configuration in force", "rules", next.ruleCount())
}

// describeReloads are the lines of /readyz?verbose.
func (r *configReloader) describeReloads() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	source := r.opts.configFile
	if source == "" {
		source = "built-in rules"
	}
	notes := []string{fmt.Sprintf("config: %s in force since %s", source, r.activeSince.UTC().Format(time.RFC3339))}
	for _, line := range errorLines(r.rejected) {
		notes = append(notes, fmt.Sprintf("config: refused at %s: %s", r.rejectedAt.UTC().Format(time.RFC3339), line))
	}
	return notes
}

// errorLines are the faults in err, one a line; none for nil.
func errorLines(err error) []string {
	if err == nil {
		return nil
	}
	var faults config.Faults
	if !errors.As(err, &faults) {
		return strings.Split(err.Error(), "\n")
	}
	lines := make([]string, len(faults))
	for i, f := range faults {
		lines[i] = f.String()
	}
	return lines
}

type metrics struct {
	generation, success, faults prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) *metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "tachometer_config_" + name, Help: help})
	}
	m := &metrics{
		generation: gauge("generation", "Number of configurations put in force since the start; the first is 1."),
		success:    gauge("last_success_timestamp_seconds", "Time at which the configuration in force was read, in seconds since the epoch."),
		faults:     gauge("faults", "Faults in the newest content of the configuration file; while there are any, the last good one stays in force."),
	}
	if r != nil {
		r.MustRegister(m.generation, m.success, m.faults)
	}
	return m
}

func (m *metrics) recordApplied(now time.Time) {
	m.generation.Inc()
	m.success.Set(float64(now.Unix()))
	m.faults.Set(0)
}
