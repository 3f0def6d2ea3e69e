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

	"tachometer/pkg/config"
	"tachometer/pkg/rule"
)

// configuration is a configuration that can be put in force, and the file's content that it came from.
type configuration struct {
	config *config.Config
	rules  *rule.Set
	data   []byte // nil without a file
}

// readConfig returns the configuration in the file at path, or the defaults where path is empty. The error lists
// every fault of the file, one a line.
func readConfig(path string) (*configuration, error) {
	if path == "" {
		cfg := config.Default()
		set, err := rule.Compile(&cfg)
		return &configuration{config: &cfg, rules: set}, err
	}
	data, err := config.ReadFile(path)
	if err != nil {
		return nil, err
	}
	cfg, set, err := rule.Load(data)
	if err != nil {
		return nil, fmt.Errorf("%s is refused:\n%w", path, err)
	}
	return &configuration{config: cfg, rules: set, data: data}, nil
}

// reloader follows the configuration file and puts good contents in force. What it says of itself may be asked
// concurrently.
type reloader struct {
	path  string
	start *configuration
	apply func(next *configuration)

	metrics *reloadMetrics

	mu      sync.Mutex // guards what follows
	since   time.Time
	refused error
	at      time.Time // when refused was read
}

// newReloader returns a reloader of the file at path, which may be empty; apply has been given start before.
func newReloader(path string, start *configuration, r prometheus.Registerer) *reloader {
	return &reloader{path: path, start: start, metrics: newReloadMetrics(r)}
}

// Run follows the file until ctx ends.
func (r *reloader) Run(ctx context.Context) error {
	now := time.Now()
	r.mu.Lock()
	r.since = now
	r.mu.Unlock()
	r.metrics.inForce(now)
	if r.path == "" {
		<-ctx.Done()
		return nil
	}
	return rule.Watch(ctx, r.path, r.start.data, func(cfg *config.Config, set *rule.Set, err error) {
		r.take(ctx, &configuration{config: cfg, rules: set}, err, time.Now())
	})
}

// take puts next in force, or, when it is faulty, leaves in force what is.
func (r *reloader) take(ctx context.Context, next *configuration, err error, now time.Time) {
	log := klog.FromContext(ctx).WithValues("file", r.path)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused, r.at = err, now
	if err != nil {
		r.metrics.faults.Set(float64(len(faultLines(err))))
		log.Error(err, "Configuration refused, the last good one stays in force")
		return
	}
	r.apply(next)
	r.since = now
	r.metrics.inForce(now)
	log.Info("Configuration in force", "rules", len(next.config.Rules))
}

// notes are the lines of /readyz?verbose.
func (r *reloader) notes() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	source := r.path
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
