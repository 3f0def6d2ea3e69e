// Reading the configuration, in the native format or in prometheus-adapter's.

package main

import (
	"fmt"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/promadapter"
	"github.com/tachometer-metrics/tachometer/pkg/adapter/rule"
	"github.com/tachometer-metrics/tachometer/pkg/filewatch"
)

// parsedConfig is a valid configuration: in the native format, with rules, or in prometheus-adapter's format, with legacy.
type parsedConfig struct {
	config *config.Config
	rules  *rule.Set
	legacy *promadapter.Config
	data   []byte // the content of the file; nil without a file
}

// countLiveRules returns the number of rules in either format.
func (c *parsedConfig) countLiveRules() int {
	if c.legacy != nil {
		return len(c.legacy.Rules) + len(c.legacy.ExternalRules)
	}
	return len(c.config.Rules)
}

// readConfigOrDefaults returns the configuration of the file in the options, or the defaults without a file. The error lists every fault
// of the file, one a line.
func readConfigOrDefaults(opts *commandLineOptions) (*parsedConfig, error) {
	if opts.configFile == "" {
		cfg := config.Default()
		set, err := rule.Compile(&cfg)
		return &parsedConfig{config: &cfg, rules: set}, err
	}
	data, err := filewatch.Read(opts.configFile)
	if err != nil {
		return nil, usageError{err}
	}
	c, err := opts.parseConfigOfEitherFormat(data)
	if err != nil {
		return nil, fmt.Errorf("%s:\n%w", opts.configFile, err)
	}
	return c, nil
}

// parseConfigOfEitherFormat reads a configuration in either format.
func (o *commandLineOptions) parseConfigOfEitherFormat(data []byte) (*parsedConfig, error) {
	if !promadapter.IsConfig(data) {
		if err := o.prometheus.rejectPrometheusFlags("with a configuration in Tachometer's own format"); err != nil {
			return nil, err
		}
		cfg, set, err := rule.Load(data)
		return &parsedConfig{config: cfg, rules: set, data: data}, err
	}
	legacy, err := promadapter.Load(data)
	if err != nil {
		return nil, err
	}
	backend, err := o.prometheus.newFlaggedBackend()
	if err != nil {
		return nil, err
	}
	cfg := config.Default()
	cfg.HasRules, cfg.Backends = true, []config.Backend{backend}
	return &parsedConfig{config: &cfg, legacy: legacy, data: data}, nil
}
