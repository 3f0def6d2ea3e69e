package main

import (
	"fmt"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/promadapter"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/pkg/filewatch"
)

// parsedConfig is a configuration that can be put in force, and the file's content that it came from. It is in the
// native format, with rules, or in that of prometheus-adapter, with legacy.
type parsedConfig struct {
	config *config.Config
	rules  *rule.Set
	legacy *promadapter.Config
	data   []byte // nil without a file
}

// ruleCount is the number of rules.
func (c *parsedConfig) ruleCount() int {
	if c.legacy != nil {
		return len(c.legacy.Rules) + len(c.legacy.ExternalRules)
	}
	return len(c.config.Rules)
}

// readAdapterConfig returns the configuration in the file that the options name, or the defaults where they name none. The
// error lists every fault of the file, one a line.
func readAdapterConfig(opts *adapterOptions) (*parsedConfig, error) {
	if opts.configFile == "" {
		cfg := config.Default()
		set, err := rule.Compile(&cfg)
		return &parsedConfig{config: &cfg, rules: set}, err
	}
	data, err := filewatch.Read(opts.configFile)
	if err != nil {
		return nil, usageError{err}
	}
	c, err := opts.parseConfig(data)
	if err != nil {
		return nil, fmt.Errorf("%s:\n%w", opts.configFile, err)
	}
	return c, nil
}

// parseConfig reads a configuration in either format.
func (o *adapterOptions) parseConfig(data []byte) (*parsedConfig, error) {
	if !promadapter.IsConfig(data) {
		if err := o.prometheus.rejectGivenFlags("with a configuration in Tachometer's own format"); err != nil {
			return nil, err
		}
		cfg, set, err := rule.Load(data)
		return &parsedConfig{config: cfg, rules: set, data: data}, err
	}
	legacy, err := promadapter.Load(data)
	if err != nil {
		return nil, err
	}
	backend, err := o.prometheus.newBackendConfig()
	if err != nil {
		return nil, err
	}
	cfg := config.Default()
	cfg.HasRules, cfg.Backends = true, []config.Backend{backend}
	return &parsedConfig{config: &cfg, legacy: legacy, data: data}, nil
}
