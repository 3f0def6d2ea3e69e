// Load: from the text of a configuration, or the built-in rules, to a Set.

package rule

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/tachometer-metrics/tachometer/pkg/adapter/config"
)

// builtinYAML is the configuration with the rules for a configuration that has none.
//
//go:embed builtin.yaml
var builtinYAML string

// loadBuiltinRules returns the built-in rules, with the defaults that follow from cfg.
func loadBuiltinRules(cfg *config.Config) []config.Rule {
	b, err := config.Load([]byte(builtinYAML))
	if err != nil {
		panic(fmt.Sprintf("built-in rules: %v", err)) // a bug of this repository
	}
	for i := range b.Rules {
		b.Rules[i].MaxAge = cfg.MaxAge
	}
	return b.Rules
}

// Load reads a configuration and compiles its rules. The error is config.Faults with every fault of either, in the
// order of the file.
func Load(data []byte) (*config.Config, *Set, error) {
	cfg, faults := config.Decode(data)
	set, more := compileRuleSet(context.Background(), cfg)
	if err := mergeRuleFaults(faults, more).Err(); err != nil {
		return nil, nil, err
	}
	return cfg, set, nil
}

// mergeRuleFaults adds to faults the faults of further values. A value keeps its first fault.
func mergeRuleFaults(faults, more config.Faults) config.Faults {
	known := map[string]bool{}
	for _, f := range faults {
		known[f.Path] = true
	}
	for _, f := range more {
		if !known[f.Path] {
			faults = append(faults, f)
		}
	}
	return faults
}
