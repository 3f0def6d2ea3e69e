package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
)

const configHeader = "apiVersion: config.tachometer.dev/v1alpha1\nkind: AdapterConfig\n"

func TestBadConfigurationLeavesTheLastGoodOne(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "config.yaml")
	write := func(text string) {
		t.Helper()
		// As a mounted ConfigMap: the new content is there at once or not at all.
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	write(configHeader + "scrape: {interval: 2s}\n")
	opts := newDefaultOptions()
	opts.configFile = path
	start, err := readConfigOrDefaults(opts)
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	applied := make(chan time.Duration, 10)
	apply := func(next *parsedConfig) error {
		if len(next.config.Backends) > 0 {
			return errors.New("the backend's files cannot be read")
		}
		applied <- next.config.Scrape.Interval
		return nil
	}
	r := newConfigReloader(opts, start, apply, registry)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()

	write(configHeader + "scrape: {interval: never}\n")
	waitUntil(t, func() bool { return gaugeValue(t, registry, "tachometer_config_faults") == 1 })
	if notes := strings.Join(r.describeReloads(), "\n"); !strings.Contains(notes, "rejected at") || !strings.Contains(notes, "scrape.interval") {
		t.Errorf("notes do not name the fault: %s", notes)
	}
	write(configHeader + "backends: [{name: a, url: http://a}]\n")
	waitUntil(t, func() bool {
		return strings.Contains(strings.Join(r.describeReloads(), "\n"), "cannot be read")
	})
	write("rules: []\n")
	waitUntil(t, func() bool {
		return strings.Contains(strings.Join(r.describeReloads(), "\n"), "another format")
	})
	if g := gaugeValue(t, registry, "tachometer_config_generation"); g != 1 || len(applied) != 0 {
		t.Errorf("generation %v, %d applied: a rejected file was taken into force", g, len(applied))
	}

	write(configHeader + "scrape: {interval: 7s}\n")
	if got := <-applied; got != 7*time.Second {
		t.Errorf("applied an interval of %v, want 7s", got)
	}
	waitUntil(t, func() bool { return gaugeValue(t, registry, "tachometer_config_generation") == 2 })
	if f := gaugeValue(t, registry, "tachometer_config_faults"); f != 0 {
		t.Errorf("%v faults after a good file", f)
	}
	if notes := r.describeReloads(); len(notes) != 1 {
		t.Errorf("notes still name the fault: %q", notes)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run = %v", err)
	}
}

func TestBuiltInRulesWithoutAFile(t *testing.T) {
	t.Parallel()
	c, err := readConfigOrDefaults(newDefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	d := demandRules{c.rules}
	if got := d.Families("pods", "request_per_second", false); len(got) != 1 || got[0] != "http_requests_total" {
		t.Errorf("families of request_per_second: %q", got)
	}
	if got := d.Families("", "orders_waiting", true); got != nil {
		t.Errorf("families of an external metric without a rule: %q", got)
	}
	if got := d.Namespaces("orders_waiting", "shop"); len(got) != 1 || got[0] != "shop" {
		t.Errorf("a metric without a rule reads namespaces %q", got)
	}
	if c.config.Scrape.Interval != config.Default().Scrape.Interval {
		t.Errorf("interval %v", c.config.Scrape.Interval)
	}
}

// waitUntil asks until the answer is yes: files are watched in real time. The timeout of the whole run is its only bound.
func waitUntil(t *testing.T, yes func() bool) {
	t.Helper()
	for !yes() {
		<-time.After(10 * time.Millisecond)
	}
}

// gaugeValue returns the value of a registered gauge.
func gaugeValue(t *testing.T, registry *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}
