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

// reloader follows the configuration file and puts good contents in force. What it says of itself may be asked
// concurrently.
type reloader struct {
	opts  *options
	start *configuration
	apply func(next *configuration) error

	metrics *reloadMetrics

	mu      sync.Mutex // guards what follows
	since   time.Time
	refused error
	at      time.Time // when refused was read
}

// newReloader returns a reloader of the file that the options may name; apply has been given start before.
func newReloader(opts *options, start *configuration, apply func(*configuration) error, r prometheus.Registerer) *reloader {
	return &reloader{opts: opts, start: start, apply: apply, metrics: newReloadMetrics(r)}
}

// Run follows the file until ctx ends.
func (r *reloader) Run(ctx context.Context) error {
	now := time.Now()
	r.mu.Lock()
	r.since = now
	r.mu.Unlock()
	r.metrics.inForce(now)
	if r.opts.configFile == "" {
		<-ctx.Done()
		return nil
	}
	return filewatch.Watch(ctx, r.opts.configFile, r.start.data, func(data []byte, err error) {
		var next *configuration
		if err == nil {
			next, err = r.opts.load(data)
		}
		if err == nil && (next.legacy == nil) != (r.start.legacy == nil) {
			err = errors.New("the file has another format than when the adapter started; that needs a restart")
		}
		r.take(ctx, next, err, time.Now())
	})
}

// take puts next in force, or, when it is faulty, leaves in force what is.
func (r *reloader) take(ctx context.Context, next *configuration, err error, now time.Time) {
	log := klog.FromContext(ctx).WithValues("file", r.opts.configFile)
	if err == nil {
		err = r.apply(next)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused, r.at = err, now
	if err != nil {
		r.metrics.faults.Set(float64(len(faultLines(err))))
		log.Error(err, "Configuration refused, the last good one stays in force")
		return
	}
	r.since = now
	r.metrics.inForce(now)
	log.Info("Configuration in force", "rules", next.count())
}

// notes are the lines of /readyz?verbose.
func (r *reloader) notes() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	source := r.opts.configFile
	if source == "" {
		source = "built-in rules"
	}
	notes := []string{fmt.Sprintf("config: %s in force since %s", source, r.since.UTC().Format(time.RFC3339))}
	for _, line := range faultLines(r.refused) {
		notes = append(notes, fmt.Sprintf("config: refused at %s: %s", r.at.UTC().Format(time.RFC3339), line))
	}
	return notes
}

// faultLines are the faults in err, one a line; none for nil.
func faultLines(err error) []string {
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

type reloadMetrics struct {
	generation, success, faults prometheus.Gauge
}

func newReloadMetrics(r prometheus.Registerer) *reloadMetrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "tachometer_config_" + name, Help: help})
	}
	m := &reloadMetrics{
		generation: gauge("generation", "Number of configurations put in force since the start; the first is 1."),
		success:    gauge("last_success_timestamp_seconds", "Time at which the configuration in force was read, in seconds since the epoch."),
		faults:     gauge("faults", "Faults in the newest content of the configuration file; while there are any, the last good one stays in force."),
	}
	if r != nil {
		r.MustRegister(m.generation, m.success, m.faults)
	}
	return m
}

func (m *reloadMetrics) inForce(now time.Time) {
	m.generation.Inc()
	m.success.Set(float64(now.Unix()))
	m.faults.Set(0)
}
