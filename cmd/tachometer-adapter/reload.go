// The reloader: it watches the configuration file, and applies or rejects each new content.

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

// configReloader applies each valid content of the configuration file. describeReloads may be called while Run runs.
type configReloader struct {
	opts    *commandLineOptions
	initial *parsedConfig
	apply   func(next *parsedConfig) error

	metrics *filewatch.Metrics

	mu          sync.Mutex // guards the fields below
	activeSince time.Time
	rejected    error
	rejectedAt  time.Time // when the rejected content was read
}

// newConfigReloader returns a reloader of the file in the options, if they name one. The caller has applied start.
func newConfigReloader(opts *commandLineOptions, start *parsedConfig, apply func(*parsedConfig) error, r prometheus.Registerer) *configReloader {
	return &configReloader{opts: opts, initial: start, apply: apply, metrics: filewatch.NewMetrics(r, "adapter")}
}

// Run watches the file until ctx ends.
func (r *configReloader) Run(ctx context.Context) error {
	now := time.Now()
	r.mu.Lock()
	r.activeSince = now
	r.mu.Unlock()
	r.metrics.RecordApplied(now)
	if r.opts.configFile == "" {
		<-ctx.Done()
		return nil
	}
	return filewatch.Watch(ctx, r.opts.configFile, r.initial.data, func(data []byte, err error) {
		var next *parsedConfig
		if err == nil {
			next, err = r.opts.parseConfigOfEitherFormat(data) //nolint:contextcheck // a rule's trial evaluates in memory
		}
		if err == nil && (next.legacy == nil) != (r.initial.legacy == nil) {
			err = errors.New("the file has another format than at the start; restart the adapter to change the format")
		}
		r.applyOrRejectConfig(ctx, next, err, time.Now())
	})
}

// applyOrRejectConfig applies next. With an error it keeps the previous configuration.
func (r *configReloader) applyOrRejectConfig(ctx context.Context, next *parsedConfig, err error, now time.Time) {
	log := klog.FromContext(ctx).WithValues("file", r.opts.configFile)
	if err == nil {
		err = r.apply(next)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rejected, r.rejectedAt = err, now
	if err != nil {
		r.metrics.RecordRejected(len(splitReloadFaults(err)))
		log.Error(err, "Configuration rejected, keeping the previous one")
		return
	}
	r.activeSince = now
	r.metrics.RecordApplied(now)
	log.Info("Configuration applied", "rules", next.countLiveRules())
}

// describeReloads returns the lines about the configuration in /readyz?verbose.
func (r *configReloader) describeReloads() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	source := r.opts.configFile
	if source == "" {
		source = "built-in rules"
	}
	notes := []string{fmt.Sprintf("config: %s active since %s", source, r.activeSince.UTC().Format(time.RFC3339))}
	for _, line := range splitReloadFaults(r.rejected) {
		notes = append(notes, fmt.Sprintf("config: rejected at %s: %s", r.rejectedAt.UTC().Format(time.RFC3339), line))
	}
	return notes
}

// splitReloadFaults returns the faults in err, one a line; none for nil.
func splitReloadFaults(err error) []string {
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
